"""Whatever is written, the compiler answers with a plan or with diagnostics, soon, and the diagnostics can be shown."""

import io
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from surftrace.cli.report import report_diagnostics, report_error
from surftrace.compiler.fetch import MAX_FETCH_LENGTH
from surftrace.compiler.plan import KPROBE_EVENTS, MAX_COMMAND, Plan, build_plan
from surftrace.compiler.render import echo_lines, shell_script
from surftrace.compiler.resolve import resolve
from surftrace.errors import SurftraceError
from surftrace.kernel.machine import AARCH64, MACHINES, X86_64, Machine
from surftrace.kernel.target import Target
from surftrace.lang.script import parse_script
from surftrace.lang.source import Diagnostic, render_excerpt, render_location
from surftrace.output.color import plain
from tests.cases.casefile import parse_cases
from tests.unit.compiling import offline_kernel, shapes_btf, v4_19_btf

_CASES = Path(__file__).parents[1] / "cases"
_GOLDEN = sorted(
    {
        word
        for path in _CASES.glob("*.test")
        for case in parse_cases(path.read_text())
        for word in case.argv
        if word[:2] in ("p ", "r ", "e ")
    }
)
_MAX_CASE_S = 5.0  # of CPU time: what is slower hangs, also on a slow machine
_INDENT = "    "
_KERNELS = {"shapes": shapes_btf, "4.19": v4_19_btf}

_settings = settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
_kernels = st.sampled_from(sorted(_KERNELS))
_machines = st.sampled_from(list(MACHINES.values()))


def _check(kernel: str, machine: Machine, expressions: list[str], text: str = "") -> None:
    target = Target(machine, offline_kernel(_KERNELS[kernel]()))
    start = time.process_time()
    try:
        resolved = resolve(parse_script(expressions, [("s", text)]), target)
        plan = build_plan(resolved, "surftrace", machine.byteorder)
    except SurftraceError as error:
        _check_report(error)
    else:
        _check_plan(plan)
        report_diagnostics(resolved.warnings, io.StringIO(), plain)
        for warning in resolved.warnings:
            _check_carets(warning)
    assert time.process_time() - start < _MAX_CASE_S


def _check_report(error: SurftraceError) -> None:
    stream = io.StringIO()
    report_error(error, stream, plain)
    assert stream.getvalue().replace("\n", "").isprintable()
    assert error.message
    for diagnostic in getattr(error, "diagnostics", ()):
        _check_carets(diagnostic)


def _check_carets(diagnostic: Diagnostic) -> None:
    span, text = diagnostic.span, diagnostic.source.text
    assert 0 <= span.start <= span.end <= len(text)
    assert render_location(diagnostic)
    line, carets = render_excerpt(diagnostic)
    assert line.isprintable()
    column = len(carets) - len(carets.lstrip(" "))
    assert carets == " " * column + "^" + "~" * (len(carets) - column - 1)
    line_start = text.rfind("\n", 0, span.start) + 1
    assert column == len(_INDENT) + span.start - line_start
    # Under the text, or just behind it where something is missing.
    assert len(carets) <= len(line) + 1
    _check_cut(diagnostic, line[column : column + 1])


def _check_cut(diagnostic: Diagnostic, char: str) -> None:
    """Cut to a narrow terminal, the caret is still under the same character, or under the dots in its place."""
    line, carets = render_excerpt(diagnostic, 40)
    column = carets.index("^")
    assert len(line) < 40
    assert len(carets) <= 40
    assert line[column : column + 1] in (char, ".")


def _check_plan(plan: Plan) -> None:
    for step in plan.steps:
        assert step.text.isprintable()
        assert len(step.text.encode()) <= MAX_COMMAND
        for mark in step.marks:
            assert 0 <= mark.start < mark.end <= len(step.text)
    for field in (field for event in plan.events for field in event.fields):
        definition = next(
            step.text for step in plan.steps if step.path == KPROBE_EVENTS and f" {field.name}=" in step.text
        )
        body = definition.split(f" {field.name}=")[1].split(" ")[0]
        assert len(body) <= MAX_FETCH_LENGTH
    assert all(line.isprintable() for line in echo_lines(plan, "/sys/kernel/tracing"))
    assert shell_script(plan)


# Grammar-based: probes that are nearly right.

_numbers = st.sampled_from(["0", "1", "2", "7", "010", "0x10", "255", "65536", "4294967295", "99999999999999999999"])
_members = st.sampled_from(
    [
        *("is_up", "tiny", "colour", "sign", "flags", "level", "uid", "grid", "name", "alias", "bytes", "call"),
        *("inner", "wide", "rest", "dev", "scratch", "first", "len", "data", "comm", "mm", "mm_users", "counter", "se"),
        *("daddr", "dest", "doff", "syn", "ihl", "cdata", "sdata", "ldata", "qdata", "Sdata", "nothing", "words"),
    ]
)
_types = st.sampled_from(
    [
        *("u8", "u64", "char *", "struct shape *", "struct pair", "struct task_struct *", "struct sk_buff *", "void *"),
        *("struct iphdr *", "struct tcphdr*", "struct udphdr *", "struct icmphdr *", "struct ethhdr*", "atomic_t"),
        *(
            "enum colour",
            "struct hidden *",
            "struct nothing *",
            "unsigned long",
            "char[4]",
            "struct",
            "a b c",
            "__int128",
        ),
        *("int [", "void", "struct shape **", "const struct shape * const", "u64[2][3]", "struct big"),
    ]
)
_primaries = st.sampled_from(
    [
        *("%0", "%1", "%2", "%9", "%di", "%x0", "%rdi", "s", "n", "skb", "p", "b", "k", "t", "h", "X", "Xs", "SX", "u"),
        *(
            "$retval",
            "$comm",
            "$stack",
            "$stack0",
            "$stack12",
            "$arg1",
            "$arg0",
            "$arg\u00b2",
            "$nothing",
            "@jiffies",
            "@jiffies+8",
        ),
        *("@jiffies-0x10", "@0xffffffff8647bc30", "@a.b", "a7", "last", "label", "c"),
    ]
)


def _extend(expressions: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.builds(lambda e, op, m: f"{e}{op}{m}", expressions, st.sampled_from(["->", ".", " -> "]), _members),
        st.builds(lambda e, t, m: f"{e}->!({t}){m}", expressions, _types, _members),
        st.builds(lambda e, n: f"{e}[{n}]", expressions, _numbers),
        st.builds(lambda t, e: f"!({t}){e}", _types, expressions),
        st.builds(
            lambda t, layer, e: f"@({t}){layer}{e}", _types, st.sampled_from(["", "l2", "l3", "l4", "l9"]), expressions
        ),
    )


# A cast and a packet take a base, not an expression; now and then one of them takes what it cannot.
_bases = st.one_of(
    _primaries,
    _primaries,
    st.builds(lambda t, e: f"!({t}){e}", _types, _primaries),
    st.builds(
        lambda t, layer, e: f"@({t}){layer}{e}", _types, st.sampled_from(["", "l2", "l3", "l4", "l9"]), _primaries
    ),
)
_expressions = st.recursive(_bases, _extend, max_leaves=6)
_names = st.sampled_from(
    ["a", "b", "n", "c", "ip_a", "b16_a", "B32_a", "b64_a", "common_pid", "x" * 31, "x" * 32, "comm"]
)
_literals = st.one_of(
    _numbers,
    st.sampled_from(["-1", "'a'", '"a"', '"a*"', "10.0.0.1", "0xg", "RED", '"' + "x" * 256 + '"', "''", '"é"', "true"]),
)
_comparisons = st.builds(
    lambda name, op, literal: f"{name}{op}{literal}",
    _names | st.sampled_from(["CPU", "COMM", "__probe_ip", "zzz"]),
    st.sampled_from(["==", "!=", "<", "<=", ">", ">=", "&", "~"]),
    _literals,
)
_filters = st.recursive(
    _comparisons,
    lambda inner: st.one_of(
        st.builds(lambda a, op, b: f"{a}{op}{b}", inner, st.sampled_from(["&&", "||", " && "]), inner),
        inner.map(lambda a: f"({a})"),
        inner.map(lambda a: f"!({a})"),
    ),
    max_leaves=6,
)
_arguments = st.lists(
    st.builds(lambda n, f, e: f" {n}={f}{e}", _names, st.sampled_from(["", "", "S", "U", "X"]), _expressions),
    max_size=4,
).map("".join)
_targets = st.sampled_from(
    [
        *("p plain", "p aggregates", "p many", "p tail", "p opaque", "p none", "p unnamed", "r plain", "r opaque"),
        *(
            "r none",
            "p plain+0x10",
            "r plain+1",
            "p nowhere",
            "r nowhere",
            "e sched/sched_switch",
            "e sched:x",
            "p a.b.c",
        ),
        *("p ip_output", "p dev_queue_xmit", "p wake_up_new_task", "r do_filp_open", "p tcp_rcv_established"),
    ]
)
_probes = st.builds(
    lambda target, arguments, f: target + arguments + f,
    _targets,
    _arguments,
    st.just("") | _filters.map(lambda text: f" f:{text}"),
)


@_settings
@given(_kernels, _machines, st.lists(_probes, min_size=1, max_size=3))
def test_probes_of_the_grammar(kernel: str, machine: Machine, probes: list[str]) -> None:
    _check(kernel, machine, probes)


# Mutation: golden probes with something put in, taken out, doubled, or the halves of two.

_PIECES = st.sampled_from(
    [
        *(
            "\\\n",
            "\n",
            "\t",
            "\x00",
            "\x1b",
            "\ufeff",
            "\udcff",
            "é",
            "\u00b2",
            "\u0661",
            "日",
            "\u202e",
            "'",
            '"',
            "\\",
            "#",
        ),
        *(
            "(",
            ")",
            "((",
            "[",
            "]",
            "->",
            ".",
            "%",
            "@",
            "$",
            "!",
            "!(",
            "f:",
            "&&",
            "||",
            "==",
            "~",
            "=",
            "=X",
            "+",
            "-",
        ),
        *("0", "99999", "0x", "l3", "p ", "r ", "e ", "%0", "$comm", "$arg", "@(", "*", "/", ":", ",", "{", "}"),
    ]
)


@st.composite
def _mutants(draw: st.DrawFn) -> str:
    text = draw(st.sampled_from(_GOLDEN))
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 4)))
        match draw(st.integers(0, 3)):
            case 0:
                text = text[:start] + draw(_PIECES) + text[end:]
            case 1:
                text = text[:start] + text[end:]
            case 2:
                text = text[:end] + text[start:]
            case _:
                other = draw(st.sampled_from(_GOLDEN))
                text = text[:start] + other[min(start, len(other)) :]
    return text


@_settings
@given(_kernels, _machines, _mutants())
def test_mutants_of_golden_probes(kernel: str, machine: Machine, probe: str) -> None:
    _check(kernel, machine, [probe])


@_settings
@given(_kernels, st.lists(_mutants(), max_size=4))
def test_scripts_of_mutants(kernel: str, probes: list[str]) -> None:
    _check(kernel, X86_64, [], "\n".join(probes))


@_settings
@given(st.text(max_size=60))
def test_any_text(text: str) -> None:
    _check("shapes", AARCH64, [text], text)


# (id, a probe whose size or depth is out of all proportion)
_HUGE = (
    ("members", "p plain a=s" + "->dev" * 5000),
    ("indices", "p plain a=s->grid" + "[0]" * 5000),
    ("casts", "p plain a=" + "!(u64)" * 5000 + "%0"),
    ("groups", "p plain n=n f:" + "(" * 5000 + "n==1" + ")" * 5000),
    ("nots", "p plain n=n f:" + "!(" * 5000 + "n==1" + ")" * 5000),
    ("open-groups", "p plain n=n f:" + "(" * 5000),
    ("conjunction", "p plain n=n f:" + "&&".join(["n==1"] * 3000)),
    ("arguments", "p plain " + " ".join(f"a{number}=n" for number in range(1000))),
    ("one-name", "p plain " + " ".join("a=n" for _ in range(1000))),
    ("unknown-names", "p plain n=n f:" + "||".join(f"a{number}==1" for number in range(300))),
    ("long-name", "p plain " + "a" * 100_000 + "=n"),
    ("long-function", "p " + "a" * 100_000),
    ("long-type", "p plain a=!(" + "unsigned " * 5000 + "long)%0"),
    ("pointers", "p plain a=!(u64 " + "*" * 5000 + ")%0"),
    ("dimensions", "p plain a=!(u64 " + "[1]" * 5000 + ")%0"),
    ("long-number", "p plain a=s->grid[" + "1" * 100_000 + "]"),
    ("long-string", 'p plain l=label f:l=="' + "x" * 100_000 + '"'),
    ("spaces", "p plain" + " " * 100_000 + "a=n"),
    ("quotes", "p plain n=n f:n==" + '"' * 9999),
    ("stars", "*" * 100_000),
)


@pytest.mark.parametrize("probe", [pytest.param(probe, id=name) for name, probe in _HUGE])
def test_huge_probes(probe: str) -> None:
    _check("shapes", X86_64, [probe])
