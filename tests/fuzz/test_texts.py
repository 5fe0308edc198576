"""Any bytes where a kernel's text is expected: symbols, formats, tracefs' README, the trace itself."""

import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from surftrace.compiler.plan import Plan
from surftrace.errors import SurftraceError
from surftrace.kernel.features import features_of_readme, features_of_release
from surftrace.kernel.formats import parse_format
from surftrace.kernel.symbols import Symbols, read_symbols
from surftrace.output.color import plain
from surftrace.output.text import Layout, make_formatter
from surftrace.tracing.decode import make_decoder
from tests.fuzz.checks import check_records
from tests.fuzz.kernels import EVENT_FORMATS, SYMBOL_TEXT
from tests.fuzz.limits import fuzzing, limited_memory, limited_time
from tests.unit.compiling import compile_plan, shapes_btf

_READMES = sorted((Path(__file__).parents[1] / "data" / "readme").iterdir())


@st.composite
def _damaged(draw: st.DrawFn, samples: tuple[bytes, ...], pieces: tuple[bytes, ...]) -> bytes:
    """One of the samples with pieces put in, bytes taken out, and parts of it many times over."""
    text = draw(st.sampled_from(samples))
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 40)))
        match draw(st.integers(0, 3)):
            case 0:
                text = text[:start] + draw(st.sampled_from(pieces) | st.binary(max_size=5)) + text[end:]
            case 1:
                text = text[:start] + text[end:]
            case 2:
                text = text[:end] + text[start:end] * draw(st.integers(1, 2000)) + text[end:]
            case _:
                other = draw(st.sampled_from(samples))
                text = text[:start] + other[draw(st.integers(0, len(other))) :]
    return text


_SYMBOL_PIECES = (b"\n", b"\t[", b"]", b" T ", b"\0", b"\r\n", b"\x7fELF", b"ffffffffffffffffff", b"0 t .isra.0\n")
_GLOBS = st.text("a*?[]!^-_p\\\n\u00e9\udcff", max_size=12) | st.sampled_from(
    ["*" * 500, "*a" * 300, "[" * 999, "[!]a]*"]
)


@fuzzing(200)
@given(st.binary(max_size=40) | _damaged((SYMBOL_TEXT, b"ffff T a\n"), _SYMBOL_PIECES), _GLOBS)
def test_symbols(text: bytes, glob: str) -> None:
    with tempfile.NamedTemporaryFile() as file, limited_time():
        file.write(text)
        file.flush()
        try:
            symbols = read_symbols(file.name)
        except SurftraceError as error:
            assert error.message
            symbols = Symbols(text)
        for name in ("plain", "clone", glob, ""):
            symbols.named(name)
            symbols.clones(name)
            symbols.has_module(name)
        names = set(symbols.function_names()) | set(symbols.variable_names())
        assert all(not any(character in name for character in " \n") for name in names)
        symbols.matching(glob)


_FORMAT_PIECES = (
    b"\tfield:",
    b";\t",
    b"offset:",
    b"[",
    b"]",
    b"*",
    b"__data_loc ",
    b"\n",
    b"signed:2",
    b"size:99999999",
)


@fuzzing(200)
@given(st.binary(max_size=40) | _damaged(tuple(text.encode() for text in EVENT_FORMATS), _FORMAT_PIECES))
def test_formats(text: bytes) -> None:
    with limited_time():
        fields = parse_format(text.decode(errors="replace"))
        assert all(field.name.isidentifier() and field.size >= 0 for field in fields)
        assert not any(field.is_string and field.is_number and "*" not in field.type for field in fields)


@fuzzing(60)
@given(
    st.binary(max_size=40)
    | _damaged(tuple(path.read_bytes() for path in _READMES), (b"\n", b"$arg<N>", b"\\[", b"  e[:")),
    st.text("0123456789.-rcv \u0661", max_size=12),
)
def test_readmes(readme: bytes, release: str) -> None:
    with limited_time():
        features_of_readme(readme.decode(errors="replace"), release)
        try:
            features_of_release(release)
        except SurftraceError as error:
            assert error.message


def _plans() -> tuple[Plan, ...]:
    probes = (
        'p plain s->name s->alias n s->colour s->bytes b16=n:u16 f:s->alias=="x"&&s->level==1',
        "r plain $retval:symbol n:char s->name:string[2] ip_a=(u32)n",
        "p many a0 $comm s=!(char *)a1 t=!(char *)a2 u=!(char *)a3",
    )
    return (*(compile_plan(shapes_btf(), probe) for probe in probes), compile_plan(shapes_btf(), *probes, "e sched/x"))


_PLANS = _plans()
_HEAD = b"            task-1       [000] d..2.     1.000001: "
_TRACE = (
    _HEAD
    + b'f0: (plain+0x0/0x10) name="a" alias="b" n=1 colour=7 bytes={1,2,3,4} b16=2 __h0=0xff00000000000001 __h1=0x0\n',
    _HEAD + b'f0: (plain+0x0/0x10) name=(fault) alias="b" n=-1 colour=1 bytes=(fault) b16=2 __h4=3 __h3="<fault>"\n',
    _HEAD + b'f1: (a+0x1/0x2 <- plain) retval=plain+0x0/0x10 n=\'x\' name={"a","b"} ip_a=1\n',
    _HEAD + b'f2: (many+0x0/0x10) a0=1 comm="c" s="" t="" t="" u="" __h0=0x1\n',
    _HEAD + b"<stack trace>\n => f+0x1/0x2\n => g\n\n",
    b"CPU:1 [LOST 9 EVENTS]\n",
    _HEAD + b"x: a=1\n",
)
_TRACE_PIECES = (
    b'"',
    b'" s="',
    b" n=",
    b"=",
    b"(fault)",
    b"<fault>",
    b"{",
    b"}",
    b"\n",
    _HEAD,
    b"f0: (",
    b") ",
    b" __h0=",
    b"9" * 5000,
)


@fuzzing(250)
@given(
    st.sampled_from(_PLANS),
    st.lists(_damaged(_TRACE, _TRACE_PIECES), max_size=4).map(b"".join) | st.binary(max_size=60),
)
def test_traces(plan: Plan, text: bytes) -> None:
    with limited_time():
        records = list(make_decoder(plan)(text))
        format_record = make_formatter(plan.byteorder, plain, Layout())
        for record in records:
            assert format_record(record).replace("\n", "").isprintable()
    check_records(plan, records)


@fuzzing(10)
@given(st.sampled_from(_PLANS), _damaged(_TRACE, _TRACE_PIECES))
def test_memory_of_traces(plan: Plan, text: bytes) -> None:
    with limited_memory():
        list(make_decoder(plan)(text))
