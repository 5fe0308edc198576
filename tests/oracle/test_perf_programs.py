"""Variables and members of a program's functions are where `perf probe -x` finds them in the same DWARF."""

import re
import subprocess
from pathlib import Path

import pytest

from surftrace.compiler.plan import build_plan
from surftrace.compiler.resolve import resolve
from surftrace.kernel.machine import X86_64
from surftrace.kernel.target import Target
from surftrace.lang.script import parse_script
from surftrace.lang.source import CompileError
from tests.programs import C_SOURCES, build
from tests.unit.compiling import offline_kernel, shapes_btf

pytestmark = pytest.mark.xdist_group("perf")

_FUNCTIONS = (
    *("func", "mix", "many", "by_value", "variadic", "takes", "declared", "returns_large", "recursive", "takes_mine"),
    *("called", "returns_pair", "returns_bool", "second"),
)
# A struct by value has no fetch of its own: perf's is that of its first member.
_FIRST = {"s": "s.s", "t": "t.first", "l": "l.numbers[0]", "f": "f.x", "u": "u.number", "arguments": ""}
_CHAINS = {
    "func": [
        *("p->a", "p->b", "p->in.x", "p->next->in.x", "p->next->next->b", "p->as_int", "p->right", "p->left"),
        *("p->numbers[2]", "p->many[1].x", "p->count", "p->named.nested.deep", "p->color", "p->is_set"),
    ],
    "many": ["i->a", "i->next->many[0].x"],
    "takes": ["p->b", "numbers[2]"],
    "takes_mine": ["p->a", "p->title"],
}


@pytest.fixture(scope="module", params=["-O0", "-O1", "-O2"])
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program."""
    return build(tmp_path_factory.mktemp("perf"), "prog", str(request.param))


def _theirs(program: Path, probe: str) -> list[tuple[int, dict[str, str]]]:
    """The place in the file and the fetch arguments, without types, of each definition of perf's."""
    done = subprocess.run(
        ["perf", "probe", "-x", str(program), "-D", probe], capture_output=True, text=True, check=False
    )
    found = []
    for line in done.stdout.splitlines():
        _, place, *arguments = line.split()
        texts = dict(argument.split("=", 1) for argument in arguments)
        found.append((int(place.rpartition(":")[2], 16), {name: _plain(text) for name, text in texts.items()}))
    return found


def _plain(text: str) -> str:
    """A fetch argument without its type, with decimal numbers, its place on the stack as memory."""
    text = re.sub(r"0x[0-9a-f]+", lambda match: str(int(match[0], 16)), text.partition(":")[0])
    return re.sub(r"\$stack(\d+)", lambda match: f"+{8 * int(match[1])}(%sp)", text)


def _ours(program: Path, place: str, expression: str) -> tuple[int, str] | None:
    """The place in the file and the fetch of an expression there; None where surftrace has none, and says why."""
    target = Target(X86_64, offline_kernel(shapes_btf()))
    # A type of the kernel's, or a string's address would be read: it is where it is that counts.
    script = parse_script([f"P {program}:{place} a={expression}"])
    try:
        plan = build_plan(resolve(script, target, has_guards=False), "surftrace", "little")
    except CompileError as error:
        assert all(each.message for each in error.diagnostics)
        return None
    _, where, argument = plan.steps[0].text.split()
    fetch = argument.partition("=")[2]
    text = _plain(fetch)
    # What a pointer to characters points to is fetched with it.
    if fetch.endswith(":string") and text.startswith("+0("):
        text = text[3:-1]
    return int(where.rpartition(":")[2], 16), text


def _start(program: Path, function: str) -> int:
    found = _ours(program, function, "%di")
    assert found is not None
    return found[0]


def _spell(function: str, name: str) -> str:
    return _FIRST.get(name, name) if function in ("by_value", "variadic", "returns_large") else name


def _compare(program: Path, function: str, offset: int, arguments: dict[str, str]) -> tuple[int, int]:
    """How many variables of perf's there are where perf has them, and how many surftrace refuses."""
    symbols = subprocess.run(["nm", program], capture_output=True, text=True, check=True).stdout
    same = refused = 0
    for name, theirs in arguments.items():
        if not (expression := _spell(function, name)):
            continue
        ours = _ours(program, f"{function}+{offset:#x}" if offset else function, expression)
        if ours is None:
            refused += 1
        elif theirs.startswith("@"):
            places = {int(each, 16) for each in re.findall(rf"^(\S+) \w {name}(?:\.\d+)?$", symbols, re.MULTILINE)}
            assert int(ours[1].removeprefix("@+")) in places, f"{function}+{offset:#x}: {name}"
            same += 1
        else:
            assert ours[1] == theirs, f"{function}+{offset:#x}: {name}"
            same += 1
    return same, refused


@pytest.mark.parametrize("function", _FUNCTIONS)
def test_variables_at_entries(program: Path, function: str) -> None:
    """perf goes past the prologue where nothing was optimised: there both are asked for that place."""
    chains = [f"c{number}={chain}" for number, chain in enumerate(_CHAINS.get(function, ()))]
    found = _theirs(program, " ".join([function, "$vars", *chains]))
    if not found:  # floating-point registers are none of perf's
        pytest.skip("perf refuses it")
    ((place, arguments),) = found
    offset = place - _start(program, function)
    variables = {name: text for name, text in arguments.items() if not re.fullmatch(r"c\d+", name)}
    same, refused = _compare(program, function, offset, variables)
    assert same
    # Variables that have no value yet, and what perf takes two registers for.
    assert refused <= 2
    for number, chain in enumerate(_CHAINS.get(function, ())):
        ours = _ours(program, f"{function}+{offset:#x}" if offset else function, chain)
        assert ours is not None, chain
        assert ours[1] == arguments[f"c{number}"], chain


def test_lines(program: Path) -> None:
    """Where perf names each piece of a line, surftrace names those that another line is before."""
    compared = places = 0
    symbols = subprocess.run(["nm", program], capture_output=True, text=True, check=True).stdout
    entries = {int(each, 16) for each in re.findall(r"^(\S+) [tT] ", symbols, re.MULTILINE)}
    starts = {name: _start(program, name) for name in _FUNCTIONS}
    for source in C_SOURCES:
        for line in range(1, (program.parent / source).read_text().count("\n") + 1, 2):
            # perf takes the line of a function's name for that of its first instruction.
            theirs = {place: each for place, each in _theirs(program, f"{source}:{line} $vars") if place not in entries}
            if not theirs:
                continue
            ours = _places(program, f"{source}:{line}")
            assert min(theirs) in ours, f"{source}:{line}"
            assert ours <= theirs.keys(), f"{source}:{line}"
            for place in ours:
                places += 1
                if (name := _function_at(program, place, starts)) is not None:
                    compared += _compare(program, name, place - starts[name], theirs[place])[0]
    assert places > 15
    assert compared > 20


def _places(program: Path, line: str) -> set[int]:
    target = Target(X86_64, offline_kernel(shapes_btf()))
    plan = build_plan(resolve(parse_script([f"P {program}:{line}"]), target), "surftrace", "little")
    return {int(step.text.rpartition(":")[2], 16) for step in plan.steps if step.path == "uprobe_events"}


def _function_at(program: Path, place: int, starts: dict[str, int]) -> str | None:
    symbols = subprocess.run(["nm", "-S", program], capture_output=True, text=True, check=True).stdout
    sizes = {name: int(size, 16) for size, name in re.findall(r"^\S+ (\S+) \w (\w+)$", symbols, re.MULTILINE)}
    return next((name for name, start in starts.items() if start <= place < start + sizes[name]), None)
