"""Probes on programs with DWARF: gcc's and g++'s programs in, and what gdb, nm and c++filt say of them."""

import random
import re
import shutil
import subprocess
import time
from functools import cache
from pathlib import Path

import pytest

from surftrace.compiler.fetch import render_fetch
from surftrace.compiler.programs import resolve_program
from surftrace.compiler.resolved import ResolvedProbe
from surftrace.kernel.elf import ObjectError
from surftrace.kernel.machine import X86_64
from surftrace.kernel.objects import Places, find_object
from surftrace.kernel.target import Target
from surftrace.kernel.userfunctions import find_function
from surftrace.lang.script import parse_script
from surftrace.lang.source import CompileError, Diagnostic
from surftrace.lang.syntax import UserTarget
from tests.programs import C_SOURCES, CPP_SOURCES, build, line_of
from tests.unit import gdb
from tests.unit.compiling import offline_kernel, shapes_btf

pytestmark = pytest.mark.skipif(
    not all(shutil.which(program) for program in ("gcc", "g++", "gdb", "objcopy")), reason="needs gcc, g++, gdb"
)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for all built programs, which tests do not change."""
    return tmp_path_factory.mktemp("programs")


@cache
def _built(folder: Path, name: str, *flags: str, sources: tuple[str, ...] = C_SOURCES) -> Path:
    (folder / name).mkdir()
    return build(folder / name, name, *flags, sources=sources)


def _compiled(text: str, places: Places | None = None) -> tuple[list[ResolvedProbe], list[Diagnostic]]:
    (probe,) = parse_script([text]).probes
    assert isinstance(probe.target, UserTarget)
    warnings: list[Diagnostic] = []
    target = Target(X86_64, offline_kernel(shapes_btf()))
    probes = resolve_program(probe, probe.target, "f0", target, False, warnings, places or Places())
    return probes, warnings


def _fetches(text: str, places: Places | None = None) -> dict[str, str]:
    """The fetch argument of each value of a probe with one place, by its name."""
    (probe,), warnings = _compiled(text, places)
    assert not [each for each in warnings if "objdump" not in each.message]
    return {field.name: render_fetch(field.fetch) for field in probe.fields}


def _error(text: str) -> Diagnostic:
    with pytest.raises(CompileError) as caught:
        _compiled(text)
    (diagnostic,) = caught.value.diagnostics
    return diagnostic


# Members, against gdb.

_MEMBERS = (
    *("a", "b", "name", "in.x", "in.tag", "next", "weight", "ratio", "flag", "low", "wide", "tint", "color", "as_int"),
    *("as_bytes", "left", "right", "call", "numbers", "numbers[2]", "many[1].x", "many[1].tag", "is_set", "words"),
    *("count", "there", "ratios", "ratios[1]", "named.nested.deep"),
)
_BIT_FIELD = re.compile(r"b(\d+)@(\d+)/\d+")


@pytest.mark.parametrize("version", ["-gdwarf-3", "-gdwarf-4", "-gdwarf-5", "-gdwarf-4 -fdebug-types-section"])
def test_members_are_where_gdb_has_them(folder: Path, version: str) -> None:
    program = _built(folder, f"members{version.replace(' ', '')}", "-O1", *version.split())
    places = _places_in_gdb(program)
    assert {"flag", "low", "wide", "tint"} < places.keys()
    arguments = " ".join(f"m{number}=p->{member}" for number, member in enumerate(_MEMBERS))
    ours = _fetches(f"P {program}:func {arguments}")
    found = {member: _bits(ours[f"m{number}"]) for number, member in enumerate(_MEMBERS)}
    assert found == places


def _bits(fetch: str) -> tuple[int, int | None]:
    """The first bit, and the width of a bit field, of a member behind %si, be it the place or a string there."""
    match = re.fullmatch(r"(?:\+0x0\()?\+(0x[0-9a-f]+)\(%si\)\)?:(.*)", fetch)
    assert match is not None, fetch
    first = 8 * int(match[1], 16)
    if bits := _BIT_FIELD.fullmatch(match[2]):
        return first + int(bits[2]), int(bits[1])
    return first, None


def _places_in_gdb(program: Path) -> dict[str, tuple[int, int | None]]:
    layout = gdb.run(program, "break *func", "run", "ptype /o *p")
    places: dict[str, tuple[int, int | None]] = {}
    for match in re.finditer(r"/\* +(\d+)(?:: *(\d+))? .*\b(\w+) : (\d+);", layout):
        places[match[3]] = 8 * int(match[1]) + int(match[2] or 0), int(match[4])
    plain = [member for member in _MEMBERS if member not in places]
    shown = [f"print/d (long)&p->{member} - (long)p" for member in plain]
    offsets = gdb.values(gdb.run(program, "break *func", "run", *shown))
    places.update({member: (8 * int(offset), None) for member, offset in zip(plain, offsets, strict=True)})
    return places


# Values at the places where functions begin, in a process that gdb runs.

_VALUES = {
    "func": {
        "v": 7,
        "p->a": 17,
        "p->b": 1 << 40,
        "p->in.x": 5,
        "p->next->a": -3,
        "p->count": 4000000000,
        "text[0]": 104,
    },
    "mix": {"n": 3, "m": 9, "k": 13},
    "many": dict(a=-1, b=-2, c=3, d=1 << 33, e=250, f=1, g=-77, k=-11, **{"h[1]": 105, "i->b": 99}),
    "by_value": {"s.s": -4, "s.n": 44, "n": 45, "u.number": 70, "m": 46},
    "variadic": {"format[1]": 100},
    "takes": {"yes": 1, "p->a": 17, "numbers[2]": 33, "*v": -9},
    "declared": {"there->secret": 4242, "there->pair->a": 18},
    "returns_small": {"n": 4},
    "returns_two": {"n": 5},
    "returns_large": {"n": 8, "m": 9},
    "recursive": {"depth": 3, "p->next->b": 99},
    "second": {"seed": 5},
    "takes_mine": {"p->a": 18, "p->title[2]": 116, "color": 5},
}


_LINKS = ("-pie -fPIE", "-no-pie -fno-pie")
_LEVELS = [("gcc", "-O0"), ("gcc", "-O1"), ("gcc", "-O2"), ("clang-16", "-O0"), ("clang-16", "-O2")]


@pytest.mark.parametrize("link", _LINKS)
@pytest.mark.parametrize(("compiler", "level"), _LEVELS)
def test_parameters_are_what_gdb_reads_there(folder: Path, compiler: str, level: str, link: str) -> None:
    if not shutil.which(compiler):
        pytest.skip(f"needs {compiler}")
    own = folder / f"values{compiler}{level}{link.partition(' ')[0]}"
    own.mkdir()
    program = build(own, "values", level, *link.split(), compiler=compiler)
    places, expected = [], []
    for function, known in _VALUES.items():
        arguments = " ".join(f"m{number}={expression}" for number, expression in enumerate(known))
        fetches = [gdb.expression(fetch) for fetch in _fetches(f"P {program}:{function} {arguments}").values()]
        places.append((f"*{function}", fetches))
        expected.append((function, list(known.values())))
    seen = gdb.at_places(program, places)
    assert [(function, _numbers(values)) for (function, _), values in zip(expected, seen, strict=True)] == expected


def _numbers(values: list[str]) -> list[int]:
    return [int(each.partition(" ")[0]) for each in values]


_COMPILERS = [("g++", "-O0"), ("g++", "-O1"), ("clang++-16", "-O0"), ("clang++-16", "-O2")]


@pytest.mark.parametrize(("compiler", "level"), _COMPILERS)
def test_parameters_behind_classes_and_vectors(folder: Path, compiler: str, level: str) -> None:
    """How a class is passed follows from its constructors: the numbers behind it are where the program has them."""
    if not shutil.which(compiler):
        pytest.skip(f"needs {compiler}")
    program = folder / f"passing{compiler}{level}"
    program.mkdir()
    program = build(program, "passing", level, sources=("passing.cc",), compiler=compiler)
    names = re.findall(
        r"\b((?:takes|gives)\d+)\(", (program.parent / "passing.cc").read_text().partition("int main")[2]
    )
    assert len(names) > 40
    symbols = _addresses(program)
    places = []
    for name in names:
        (symbol,) = [each for each in symbols if re.match(rf"{name}\(", each)]
        fetches = _fetches(f"P {program}:{name} n m")
        places.append((f"*'{symbol}'", [gdb.expression(fetch) for fetch in fetches.values()]))
    seen = dict(zip(names, gdb.at_places(program, places), strict=True))
    assert seen == {name: [str(0x1111), str(0x2222)] for name in names}


def _addresses(program: Path) -> dict[str, int]:
    """The functions of a file by their names as c++filt has them."""
    text = subprocess.run(["nm", "-C", program], capture_output=True, text=True, check=True).stdout
    return {name: int(address, 16) for address, name in re.findall(r"^([0-9a-f]+) [tTwW] (.*)$", text, re.MULTILINE)}


# Functions that the compiler changed.

_CLONES = {
    "by_member": {"p->a": 7, "used": 0x51},
    "with_constant": {"a": 0x61, "b": 0x62},
    "dead_first": {"live": 0x71, "other": 0x72},
    "exported": {"live": 0x81},
    "no_result": {"a": 0x91, "p->b": 8},
    "seventh": {"a": 0x11, "b": 0x12, "f": 0x16, "g": 0x17, "h": 0x19},
    "both.constprop.0": {"a": 0xA1},
}
_GONE = {"by_member": "unused", "with_constant": "always", "dead_first": "dead", "both.constprop.0": "mode"}


@pytest.mark.parametrize("compiler", ["gcc", "clang-16"])
def test_parameters_of_clones_are_where_they_went(folder: Path, compiler: str) -> None:
    if not shutil.which(compiler):
        pytest.skip(f"needs {compiler}")
    (folder / f"clones{compiler}").mkdir()
    level = "-O3" if compiler == "gcc" else "-O2"
    flags = (level, "-no-pie", "-fno-pie")
    program = build(folder / f"clones{compiler}", "clones", *flags, sources=("clones.c",), compiler=compiler)
    symbols = _addresses(program)
    places, expected = [], {}
    for function, known in _CLONES.items():
        symbol = next((each for each in symbols if each.partition(".")[0] == function), function)
        if symbol not in symbols:  # Clang makes none of that one
            continue
        arguments = [f"m{number}={expression}" for number, expression in enumerate(known)]
        (probe,), _ = _compiled(" ".join([f"P {program}:{symbol}", *arguments]))
        fetches = [gdb.expression(render_fetch(field.fetch)) for field in probe.fields]
        places.append((f"*'{symbol}'" if "." not in symbol else f"*{symbols[symbol]:#x}", fetches))
        expected[function] = list(known.values())
        if compiler == "gcc" and function in _GONE:
            assert "is passed nowhere: it is " in _error(f"P {program}:{symbol} {_GONE[function]}").message
    assert len(expected) >= 6
    assert dict(zip(expected, map(_numbers, gdb.at_places(program, places)), strict=True)) == expected


def test_positions_of_parameters_are_those_of_the_source(folder: Path) -> None:
    program = _built(folder, "positions", "-O3", sources=("clones.c",))
    (probe,), warnings = _compiled(f"P {program}:by_member a=%0->a used=%2")
    assert [render_fetch(field.fetch) for field in probe.fields] == ["+0x0(%di):s32", "%si:s32"]
    assert [each.message for each in warnings] == ["the compiler renamed by_member: tracing by_member.constprop.0"]
    _, warnings = _compiled(f"P {program}:both a mode")
    assert [each.message for each in warnings] == [
        "the compiler also made both.constprop.0 of both: what calls these is not seen"
    ]


# What cannot be read.

_ERRORS = [
    ("P {p}:func p->nothing", "struct pair has no member 'nothing'"),
    ("P {p}:func p.a", "this struct pair * is a pointer"),
    ("P {p}:func nothing", "func has no parameter 'nothing'"),
    ("P {p}:func local", "'local' has no value yet where func begins"),
    ("P {p}:func p->exact", "the kernel cannot fetch a long double"),
    ("P {p}:func p->in", "this is a whole struct inner: name a member of it"),
    ("P {p}:func @per_thread", "'per_thread' is each thread's own: no probe can tell where"),
    ("P {p}:func @nothing", "{p} has no variable 'nothing'"),
    ("P {p}:func @func", "{p} has no variable 'func'"),
    ("P {p}:main @hidden.x", "a long has no members"),
    ("P {p}:func f:p->weight>1", "'p->weight' is a floating-point number: the kernel cannot compare it"),
    ("P {p}:func Sp->weight", "a floating-point number has a sign and a fraction: X shows its bits, S nothing"),
    ("P {p}:mix d", "argument 0 of mix, a double, is passed in a floating-point register, which probes cannot read"),
    ("P {p}:mix e", "argument 4 of mix, a long double, is passed on the stack"),
    ("P {p}:by_value t.last", "argument 2 of by_value, a struct two, is passed in two registers, %dx and %cx"),
    ("P {p}:by_value l.end", "argument 3 of by_value, a struct large, is passed on the stack"),
    (
        "P {p}:by_value f.y",
        "argument 4 of by_value, a struct floats, is passed in a floating-point register, which probes cannot read",
    ),
    ("P {p}:variadic %1", "variadic has 1 argument"),
    ("P {p}:func v=!(struct none *)p->x", "neither {p} nor the kernel has a type 'struct none *'"),
    ("P {p}:twin first", "{p} has 2 functions 'twin': which one is not clear"),
    ("R {p}:func v", "arguments are gone when a function returns"),
    ("R {p}:returns_double $retval", "returns_double returns a double in registers that probes cannot read"),
    ("R {p}:returns_nothing $retval", "returns_nothing returns nothing"),
    ("R {p}:returns_two $retval", "this is a whole struct two: name a member of it"),
    (
        "R {p}:returns_large $retval.end",
        "returns_large returns a struct large in memory, at an address that its caller passed",
    ),
    ("P {p}:plain.c:9999", "there is no code of line plain.c:9999"),
    ("P {p}:other.c:1", "no code of {p} is compiled of 'other.c'"),
    ("P {p}:nothing:1", "{p} has no function 'nothing'"),
    ("R {p}:func:1", "a return probe watches a whole function"),
    ("P {p}:func:6 nothing", "nothing is called 'nothing' at func+"),
    ("P {p}:func:6 v f:nothing==1", "no field 'nothing' to filter on"),
]


@pytest.mark.parametrize(("text", "message"), _ERRORS, ids=[error[0].partition(":")[2] for error in _ERRORS])
def test_what_cannot_be_read(folder: Path, text: str, message: str) -> None:
    program = _built(folder, "errors", "-O0")
    shown = _error(text.format(p=program)).message
    assert shown == message.format(p=program) or (message.endswith("+") and shown.startswith(message))


def test_a_struct_that_no_unit_defines(folder: Path) -> None:
    (folder / "declared").mkdir()
    library = build(folder / "declared", "libsecond.so", "-shared", "-fPIC", sources=("second.c",))
    program = build(folder / "declared", "prog", str(library), sources=("plain.c",))
    error = _error(f"P {program}:func p->there->secret")
    assert error.message == "the program's type information only declares struct elsewhere"


# Variables of one name in two units, and types.


@pytest.mark.parametrize("flags", ["gcc -O0", "gcc -O2 -flto", "gcc -O0 -flto", "clang-16 -O1"])
def test_the_unit_of_the_function_goes_first(folder: Path, flags: str) -> None:
    compiler, *options = flags.split()
    if not shutil.which(compiler):
        pytest.skip(f"needs {compiler}")
    own = folder / f"units{'_'.join(flags.split())}"
    own.mkdir()
    program = build(own, "units", *options, compiler=compiler)
    first = _fetches(f"P {program}:func v=@hidden a=!(struct pair *)p->a c=calls")
    second = _fetches(f"P {program}:takes_mine v=@hidden a=!(struct pair *)p->a c=calls")
    assert (first["a"], second["a"]) == ("+0x0(%si):s32", "+0x18(%di):s16")
    addresses = [int(each[name].removeprefix("@+").partition(":")[0], 16) for each in (first, second) for name in "vc"]
    shown = [f"print *({kind} *){address:#x}" for kind, address in zip(("long", "int") * 2, addresses, strict=True)]
    assert gdb.values(gdb.run(program, *shown)) == ["7", "100", "700", "500"]
    assert (first["v"].partition(":")[2], first["c"].partition(":")[2]) == ("s64", "s32")


# Programs that were built otherwise.


def test_lines_of_a_program_that_was_optimised_as_a_whole(folder: Path) -> None:
    program = _built(folder, "whole", "-O0", "-flto")
    usual = _built(folder, "errors", "-O0")
    line = line_of("plain.c", "after")
    for place in (f"plain.c:{line}", f"func:{line - line_of('plain.c', 'func')}"):
        assert _fetches(f"P {program}:{place} local v") == _fetches(f"P {usual}:{place} local v")


def test_units_without_a_table_of_addresses(folder: Path) -> None:
    """Clang makes none of its own accord: there may be GCC's beside them."""
    (folder / "mixed").mkdir()
    build(folder / "mixed", "plain.o", "-c", "-O1", sources=("plain.c",))
    second = build(folder / "mixed", "second.o", "-c", "-O1", sources=("second.c",))
    subprocess.run(["objcopy", "-R", ".debug_aranges", "-R", ".rela.debug_aranges", second], check=True)
    subprocess.run(["gcc", "-o", "mixed", "plain.o", "second.o"], cwd=folder / "mixed", check=True)
    assert _fetches(f"P {folder}/mixed/mixed:takes_mine p->a") == {"a": "+0x18(%di):s16"}
    assert _fetches(f"P {folder}/mixed/mixed:func p->a") == {"a": "+0x0(%si):s32"}


@pytest.mark.parametrize("version", ["-gdwarf-4", "-gdwarf-5"])
def test_split_dwarf_is_told(folder: Path, version: str) -> None:
    program = _built(folder, f"split{version}", "-gsplit-dwarf", version)
    with pytest.raises(CompileError) as caught:
        _compiled(f"P {program}:func p->a")
    assert re.fullmatch(r"what DWARF tells of func is in \S+\.dwo", caught.value.diagnostics[0].message)
    assert caught.value.diagnostics[0].hints == ("surftrace reads no .dwo files: compile it without -gsplit-dwarf",)
    assert re.fullmatch(r"what DWARF tells of \S+ is in \S+\.dwo", _error(f"P {program}:plain.c:90").message)
    (probe,), warnings = _compiled(f"P {program}:func %di")
    assert (render_fetch(probe.fields[0].fetch), len(warnings)) == ("%di:u64", 1)


def test_functions_without_types(folder: Path) -> None:
    """-g1 tells of lines alone."""
    program = _built(folder, "lines_alone", "-g1", "-O0")
    assert _fetches(f"R {program}:func r=$retval") == {"r": "$retval:u64"}
    assert _fetches(f"P {program}:func v=%0") == {"v": "%di:u64"}
    assert "no prototype of func" in _error(f"P {program}:func p->a").message
    assert _compiled(f"P {program}:plain.c:{line_of('plain.c', 'after')}")[0]


@pytest.mark.parametrize("flag", ["-gz=zlib", "-g3", "-static", "-fcf-protection=full", "-ffunction-sections"])
def test_other_ways_to_build(folder: Path, flag: str) -> None:
    program = _built(folder, f"other{flag}", flag, "-O1")
    fetches = _fetches(f"P {program}:func p->low p->there->secret calls x=@shared_array[1]")
    assert (fetches["low"], fetches["secret"]) == ("+0x3c(%si):b5@3/8", "+0x8(+0xb0(%si)):s64")
    assert _fetches(f"P {program}:plain.c:{line_of('plain.c', 'after')} local")


# Debug files.

_PROBE = "P {p}:func p->low c=@counter calls"


@pytest.mark.parametrize("how", ["build-id", "link", "link in .debug", "small table"])
def test_dwarf_of_another_file(folder: Path, tmp_path: Path, how: str) -> None:
    program = _built(folder, "separate", "-O1")
    expected = _fetches(_PROBE.format(p=program))
    line = _fetches(f"P {program}:plain.c:{line_of('plain.c', 'after')} local v")
    stripped, debug = tmp_path / "prog", tmp_path / "prog.debug"
    shutil.copy(program, stripped)
    subprocess.run(["objcopy", "--only-keep-debug", program, debug], check=True)
    subprocess.run(["strip", "--strip-unneeded", stripped], check=True)
    if how == "build-id":
        notes = subprocess.run(["readelf", "-n", program], capture_output=True, text=True, check=True).stdout
        build_id = re.findall(r"Build ID: ([0-9a-f]+)", notes)[0]
        (tmp_path / ".build-id" / build_id[:2]).mkdir(parents=True)
        debug.rename(tmp_path / ".build-id" / build_id[:2] / f"{build_id[2:]}.debug")
    elif how.startswith("link"):
        subprocess.run(["objcopy", f"--add-gnu-debuglink={debug}", stripped], check=True)
        if how.endswith(".debug"):
            (tmp_path / ".debug").mkdir()
            debug.rename(tmp_path / ".debug" / "prog.debug")
    places = Places(debug_folder=str(tmp_path))
    if how == "small table":  # a stripped program whose debug file is not there
        with pytest.raises(CompileError, match="has no symbols"):
            _compiled(_PROBE.format(p=stripped), places)
        return
    assert _fetches(_PROBE.format(p=stripped), places) == expected
    assert _fetches(f"P {stripped}:plain.c:{line_of('plain.c', 'after')} local v", places) == line


def test_what_dwz_moved_to_a_common_file(folder: Path, tmp_path: Path) -> None:
    if not shutil.which("dwz"):
        pytest.skip("needs dwz")
    program = _built(folder, "separate", "-O1")
    for name in ("one", "two"):
        shutil.copy(program, tmp_path / name)
    subprocess.run(["dwz", "-m", "common", "one", "two"], cwd=tmp_path, check=True)
    assert _fetches(_PROBE.format(p=tmp_path / "one")) == _fetches(_PROBE.format(p=program))


# Damage.


def test_damaged_dwarf_is_told_and_never_hangs(folder: Path, tmp_path: Path) -> None:
    """Each byte that is changed makes an error, a warning, or an answer: no traceback, no endless walk."""
    program = _built(folder, "separate", "-O1")
    content, draw = program.read_bytes(), random.Random(11)
    headers = subprocess.run(["readelf", "-SW", program], capture_output=True, text=True, check=True).stdout
    sections = {
        name: (int(offset, 16), int(size, 16))
        for name, offset, size in re.findall(r"(\.debug_\w+|\.eh_frame) +\w+ +\w+ (\w+) (\w+)", headers)
    }
    assert {".debug_info", ".debug_abbrev", ".debug_loclists", ".debug_line"} <= sections.keys()
    line = line_of("plain.c", "after")
    probes = (":func p->low c=@counter", ":takes_mine p->title h=@hidden", f":plain.c:{line} local v", ":many g h k")
    refused = 0
    for number in range(120):
        data = bytearray(content)
        name = (".debug_info", ".debug_abbrev")[number % 2] if number < 60 else draw.choice(sorted(sections))
        start, size = sections[name]
        for _ in range(draw.choice((1, 1, 3))):
            data[start + draw.randrange(size)] = draw.choice((0, 0xFF, 0x80, draw.randrange(256)))
        path = tmp_path / f"damaged{number}"
        path.write_bytes(data)
        begin = time.monotonic()
        try:
            _compiled(f"P {path}{probes[number // 2 % len(probes)]}")
        except CompileError:
            refused += 1
        assert time.monotonic() - begin < 5, (name, number)
        path.unlink()
    assert 5 < refused < 115


def test_frames_are_those_of_pyelftools() -> None:
    from elftools.dwarf.callframe import FDE
    from elftools.elf.elffile import ELFFile

    from surftrace.dwarf.frames import frame_rule

    path = find_object("libc", X86_64)
    with Path(path).open("rb") as file:
        info = ELFFile(file).get_dwarf_info()
        entries = [entry for entry in info.EH_CFI_entries() if isinstance(entry, FDE)]
        for entry in random.Random(3).sample(entries, 40):
            for row in entry.get_decoded().table:
                rule = row["cfa"]
                expected = (rule.reg, rule.offset) if rule.reg is not None else None
                assert frame_rule([info], row["pc"]) == expected
        assert frame_rule([info], 1) is None


# C++.

_INHERITED = "id label stamp cost next kind old sold weight nested.depth text"


@pytest.mark.parametrize("level", ["-O0", "-O2"])
def test_members_of_classes_are_where_gdb_has_them(folder: Path, level: str) -> None:
    program = _built(folder, f"shop{level}", level, sources=CPP_SOURCES)
    members = [*(member for member in _INHERITED.split() if member != "text"), "text._M_string_length"]
    arguments = [f"m{number}=this->{member}" for number, member in enumerate(members)]
    ours = _fetches(" ".join([f"P {program}:Item::hidden_name", *arguments]))
    shown = [f"print/d (long)&this->{member} - (long)this" for member in members]
    offsets = gdb.values(gdb.run(program, "break *'shop::Item::hidden_name'", "run", *shown))
    places = [re.search(r"\+(0x[0-9a-f]+)\(%di\)", fetch) for fetch in ours.values()]
    assert [str(int(place[1], 16)) for place in places if place] == offsets
    both = _fetches(f"P {program}:of_both both->l both->r both->b v=odd->v")
    shown = ["print/d (long)&both->r - (long)both", "print/d (long)&odd->v - (long)odd"]
    offsets = gdb.values(gdb.run(program, "break *'shop::of_both'", "run", *shown))
    assert (both["r"], both["v"]) == (f"+{int(offsets[0]):#x}(%di):s32", f"+{int(offsets[1]):#x}(%si):s32")


@pytest.mark.parametrize("compiler", ["g++", "clang++-16"])
def test_every_cpp_name_finds_its_function(folder: Path, compiler: str) -> None:
    if not shutil.which(compiler):
        pytest.skip(f"needs {compiler}")
    (folder / f"names{compiler}").mkdir()
    program = build(folder / f"names{compiler}", "shop", "-O2", sources=CPP_SOURCES, compiler=compiler)
    offset = _offset(program)
    wholes = [
        name
        for name in _addresses(program)
        if re.match(r".*\bshop::|run_lambda", name) and not re.search("clone|thunk", name)
    ]
    assert len(wholes) > 25
    for whole in wholes:
        _check_name(program, whole, _all_addresses(program)[whole], offset)
        short = re.sub(r"^(?:[\w ]+ )?shop::", "", whole)
        _check_name(program, short, _all_addresses(program)[whole], offset)


def _offset(program: Path) -> int:
    """What is to be subtracted from an address in the code for its place in the file."""
    headers = subprocess.run(["readelf", "-lW", program], capture_output=True, text=True, check=True).stdout
    offset, address = re.findall(r"LOAD +(0x\w+) (0x\w+) .* R E ", headers)[0]
    return int(address, 16) - int(offset, 16)


@cache
def _all_addresses(program: Path) -> dict[str, set[int]]:
    """The functions of a file by their names as c++filt has them: several may share one."""
    flags = ["-C"] if _has_symbols(program) else ["-C", "-D"]
    text = subprocess.run(["nm", *flags, program], capture_output=True, text=True, check=True).stdout
    found: dict[str, set[int]] = {}
    for address, name in re.findall(r"^([0-9a-f]+) [tTwWi] (.*?)(?:@@?\S+)?$", text, re.MULTILINE):
        found.setdefault(name, set()).add(int(address, 16))
    return found


def _has_symbols(program: Path) -> bool:
    return bool(subprocess.run(["nm", program], capture_output=True, text=True, check=False).stdout)


def _check_name(program: Path, name: str, addresses: set[int], offset: int) -> bool:
    """Whether a name is that of one function, which is found then; else the error names it among others."""
    try:
        found = find_function(str(program), name, X86_64)
    except ObjectError as error:
        assert "several functions" in error.message, (name, error.message)
        return False
    assert found.file_offset + offset in addresses, name
    return True


def test_names_of_a_large_library_find_their_functions() -> None:
    """libstdc++'s demangled names, as nm and c++filt have them."""
    library = Path(find_object("libstdc++", X86_64))
    addresses, offset = _all_addresses(library), _offset(library)
    special = ("thunk to ", "guard variable", "vtable", "typeinfo", "TLS ", "VTT", "transaction clone")
    names = sorted(name for name in addresses if "(" in name and not any(each in name for each in special))
    sample = random.Random(5).sample(names, 300)
    found = sum(_check_name(library, name, addresses[name], offset) for name in sample)
    assert found > 250


_CPP_NAMES = {
    "shop::Item::total": "_ZNK4shop4Item5totalEiRKS0_",
    "Item::total": "_ZNK4shop4Item5totalEiRKS0_",
    "total(int, shop::Item const&)": "_ZNK4shop4Item5totalEiRKS0_",
    "over(int)": "_ZN4shop4overEi",
    "over(const char *)": "_ZN4shop4overEPKc",
    "shop::over(int,shop::Item const &)": "_ZN4shop4overEiRKNS_4ItemE",
    "twice<int>": "_ZN4shop5twiceIiEET_S1_",
    "shop::twice<double>": "_ZN4shop5twiceIdEET_S1_",
    "Box<short,3>::get": "_ZN4shop3BoxIsLi3EE3getEi",
    "Box::get": "_ZN4shop3BoxIsLi3EE3getEi",
    "Item::operator+=": "_ZN4shop4ItempLEi",
    "operator==": "_ZNK4shop4ItemeqERKS0_",
    "shop::Item::operator long": "_ZNK4shop4ItemcvlEv",
    "shop::(anonymous namespace)::in_secret": "_ZN4shop12_GLOBAL__N_19in_secretEPNS0_6SecretE",
    "run_lambda(int)::{lambda(int)#1}::operator()": "_ZZ10run_lambdaiENKUliE_clEi",
    "name_of": "_ZN4shop7name_ofB5cxx11ERKNS_4ItemEi",
    "shop::name_of[abi:cxx11](shop::Item const&, int)": "_ZN4shop7name_ofB5cxx11ERKNS_4ItemEi",
    "plain_c": "plain_c",
    "Sale::rate": "_ZN4shop4Sale4rateEi",
    "_ZN4shop4overEi": "_ZN4shop4overEi",
}


@pytest.mark.parametrize("name", _CPP_NAMES)
def test_cpp_names(folder: Path, name: str) -> None:
    program = _built(folder, "names", "-O2", sources=CPP_SOURCES)
    assert find_function(str(program), name, X86_64).name == _CPP_NAMES[name]


def test_cpp_names_of_several_functions(folder: Path) -> None:
    program = _built(folder, "names", "-O2", sources=CPP_SOURCES)
    for name, hint in (
        ("over", '"shop::over(char const*)", "shop::over(int)", "shop::over(int, shop::Item const&)"'),
        ("Item::~Item", "_ZN4shop4ItemD0Ev, _ZN4shop4ItemD1Ev, _ZN4shop4ItemD2Ev"),
    ):
        with pytest.raises(ObjectError) as caught:
            find_function(str(program), name, X86_64)
        assert caught.value.message == f"{program} has several functions '{name}'"
        assert caught.value.hints[0].endswith(hint)
    with pytest.raises(ObjectError, match="has no function 'Item::nothing'"):
        find_function(str(program), "Item::nothing", X86_64)


def test_parameters_of_functions_inside_of_others(folder: Path) -> None:
    program = _built(folder, "shop-O0", "-O0", sources=CPP_SOURCES)
    assert _fetches(f'P {program}:"run_lambda(int)::{{lambda(int)#1}}::operator()" more') == {"more": "%si:s32"}


def test_variables_of_cpp(folder: Path) -> None:
    program = _built(folder, "shop-O0", "-O0", sources=CPP_SOURCES)
    symbols = subprocess.run(["nm", program], capture_output=True, text=True, check=True).stdout
    (count,) = re.findall(r"^(\S+) \w _ZN4shop4Item5countE$", symbols, re.MULTILINE)
    fetches = _fetches(f"P {program}:Item::made a=@count b=@_ZN4shop4Item5countE c=@anonymous_count")
    assert fetches["a"] == fetches["b"] == f"@+{int(count, 16):#x}:s32"
    assert fetches["c"].endswith(":s32")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "R {p}:mix $retval",
            "shop::mix(double, int, float, long) returns a double in registers that probes cannot read",
        ),
        ("P {p}:of_both odd->l", "shop::Virtual has no member 'l'"),
        ("P {p}:Item::total this.id", "this const shop::Item * const is a pointer"),
        ("P {p}:plain_c item->text", "the kernel cannot fetch a std::string"),
    ],
)
def test_what_cannot_be_read_of_cpp(folder: Path, text: str, message: str) -> None:
    program = _built(folder, "shop-O0", "-O0", sources=CPP_SOURCES)
    assert _error(text.format(p=program)).message == message
