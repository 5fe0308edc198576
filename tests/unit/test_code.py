"""Lines and variables of a program that gcc makes here, against what gdb says of them."""

import contextlib
import random
import re
import subprocess
from pathlib import Path

import pytest

from surftrace.dwarf.errors import DwarfError
from surftrace.dwarf.variables import Nowhere, Spot
from surftrace.errors import SurftraceError
from surftrace.kernel.code import Code, CodePlace
from surftrace.kernel.machine import X86_64

_SOURCE = """\
#include <stdlib.h>
struct pair { int a, b; };
static int counter = 3;
static inline __attribute__((always_inline)) int doubled(int given)
{
	int twice = given * 2;
	return twice + counter;
}
__attribute__((noinline)) int held(struct pair *out)
{
	return out->a++;
}
__attribute__((noinline)) int plain(struct pair *p, int n)
{
	struct pair local = { n, 2 };
	int unused = n * 7;
	n += held(&local);
	counter += doubled(p->a);
	p->b = local.a + n;
	return p->b;
}
int main(int argc, char **argv)
{
	struct pair p = { argc, 4 };
	return plain(&p, atoi(argv[0])) + held(&p);
}
"""


@pytest.fixture(scope="module", params=["-O0", "-O1", "-O2"])
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program, which lies at fixed addresses."""
    folder = tmp_path_factory.mktemp("code")
    (folder / "source.c").write_text(_SOURCE)
    argv = ["gcc", "-g", str(request.param), "-no-pie", "-fno-pie", "-o", "prog", "source.c"]
    subprocess.run(argv, cwd=folder, check=True)
    return folder / "prog"


def _gdb(program: Path, *commands: str) -> str:
    words = [word for command in commands for word in ("-ex", command)]
    done = subprocess.run(["gdb", "-batch", "-nx", *words, program], capture_output=True, text=True, check=False)
    return done.stdout


def _places(code: Code, function: str, line: int) -> list[CodePlace]:
    found = code.function(function)
    assert found is not None
    return code.places(found, found.file, line)


def test_functions_and_lines_are_where_gdb_has_them(program: Path) -> None:
    code = Code(str(program), X86_64)
    for name in ("plain", "held", "main"):
        function = code.function(name)
        assert function is not None
        text = _gdb(program, f"info line {name}")
        line, start = re.findall(r"Line (\d+) of .* starts at address (0x[0-9a-f]+)", text)[0]
        assert (function.name, function.address) == (name, int(start, 16))
        # gdb tells the line that the first instruction is of, DWARF that of the name.
        assert function.line <= int(line) <= function.line + 2
    compared = 0
    for line in range(1, _SOURCE.count("\n") + 1):
        text = _gdb(program, f"info line source.c:{line}")
        theirs = {int(each, 16) for each in re.findall(r"(?:starts|is) at address (0x[0-9a-f]+)", text)}
        names = ("plain", "held", "main")
        ours = {place.address for name in names for place in _places(code, name, line)}
        # gdb leaves out a line whose first place is an inlined function's as well.
        if ours and theirs:
            assert theirs & ours, f"line {line}"
            compared += 1
    assert compared > 5


def _registers(spot: Spot) -> str:
    return X86_64.dwarf_registers[spot.base] if spot.base is not None else "fixed"


def test_variables_are_where_gdb_has_them(program: Path) -> None:
    """gdb stops at each line of plain(), and prints what our place of each variable says there."""
    code = Code(str(program), X86_64)
    function = code.function("plain")
    assert function is not None
    compared = 0
    for line in (15, 17, 18, 19, 20):
        for place in _places(code, "plain", line)[:1]:
            for name, variable in code.variables(function, place.address).items():
                spot = code.location(function, variable, place.address)
                if not isinstance(spot, Spot) or spot.is_address or name not in ("p", "n", "local"):
                    continue
                if len(spot.byte_offsets) > 1 or spot.base is None:
                    continue
                ours = f"${_gdb_name(_registers(spot))}"
                if spot.byte_offsets:
                    ours = f"{ours} + {spot.byte_offsets[0]}"
                    show = (f"print (void *)({ours})", f"print (void *)&{name}")
                else:
                    show = (f"print (int)({ours})", f"print (int)(long){name}")
                text = _gdb(program, f"break *{place.address:#x}", "run", *show)
                if " doubled (" in text:  # gdb is in the inlined function there
                    continue
                seen = re.findall(r"^\$\d+ = (.*)$", text, re.MULTILINE)
                assert len(seen) == 2, text
                assert seen[0] == seen[1], f"line {line}, {name}: {spot}"
                compared += 1
    assert compared >= 3


def _gdb_name(register: str) -> str:
    return register if register[1:].isdigit() else f"r{register}"


def test_what_is_nowhere_says_why(program: Path) -> None:
    code = Code(str(program), X86_64)
    function = code.function("plain")
    assert function is not None
    variable = code.variables(function, function.address)["unused"]
    found = code.location(function, variable, function.address)
    assert isinstance(found, (Spot, Nowhere))
    if isinstance(found, Nowhere):
        assert re.match(r"was optimised out|has no place here|is ", found.reason)


def test_inlined_functions_have_their_own_variables(program: Path) -> None:
    code = Code(str(program), X86_64)
    function = code.function("plain")
    assert function is not None
    names: set[str] = set()
    for row in code.rows(function):
        names.update(code.variables(function, row.address))
    assert {"p", "n", "local", "unused", "given", "twice"} <= names


def test_files_by_the_end_of_their_path(program: Path) -> None:
    code = Code(str(program), X86_64)
    assert code.units_of("other.c") == []
    assert code.symbol_at(1) is None
    assert code.function("nothing") is None


def test_files_without_dwarf(program: Path, tmp_path: Path) -> None:
    subprocess.run(["strip", "-g", "-o", tmp_path / "stripped", program], check=True)
    with pytest.raises(DwarfError, match=r"has no DWARF"):
        Code(str(tmp_path / "stripped"), X86_64)
    with pytest.raises(DwarfError, match=r"cannot read .*nothing"):
        Code(str(tmp_path / "nothing"), X86_64)
    (tmp_path / "empty").touch()
    with pytest.raises(DwarfError, match=r"empty is no ELF file"):
        Code(str(tmp_path / "empty"), X86_64)


def test_damaged_files(program: Path, tmp_path: Path) -> None:
    """Whatever is wrong in a file: DwarfError, ObjectError of its symbols, or an answer."""
    good, path, draw = bytearray(program.read_bytes()), tmp_path / "damaged", random.Random(7)
    start = good.index(b"source.c")
    for _ in range(60):
        data = bytearray(good)
        for _ in range(draw.randrange(1, 40)):
            data[draw.randrange(start, len(data))] = draw.randrange(256)
        path.write_bytes(data)
        with contextlib.suppress(SurftraceError):
            code = Code(str(path), X86_64)
            function = code.function("plain")
            for row in code.rows(function)[:20] if function is not None else ():
                assert function is not None
                code.places(function, row.file, row.line)
                for variable in code.variables(function, row.address).values():
                    code.location(function, variable, row.address)
            code.units_of("source.c")
