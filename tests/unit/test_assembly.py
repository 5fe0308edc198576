"""`surftrace -F` and `surftrace -l` on a program that gcc makes here, against what gdb and objdump say of it."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from surftrace.cli.main import main

_SOURCE = """\
#include <stdlib.h>
#include "inline.h"
struct pair { int a, b; };
static int counter = 3;
static int (*hook)(struct pair *);
__attribute__((noinline)) int held(struct pair *out)
{
	return out->a++;
}
static __attribute__((noinline)) int twice(int given) { return given * 2; }
__attribute__((noinline)) int plain(struct pair *p, int n)
{
	struct pair local = { n, 2 };
	n += held(&local);
	counter += doubled(p->a);
	if (n > 7)
		n += hook(p);
	p->b = local.a + n;
	return p->b;
}
int main(int argc, char **argv)
{
	struct pair p = { argc, 4 };
	hook = held;
	return plain(&p, atoi(argv[0])) + held(&p) + twice(argc);
}
"""
_INLINE = """\
static inline __attribute__((always_inline)) int doubled(int given)
{
	int twice = given * 2;
	return twice + given % 7;
}
"""
_LEVELS = ("-O0", "-O1", "-O2")
_INSTRUCTION = re.compile(r"(?P<kind>p|  ?) *(?P<symbol>[\w.:]+)\+0x(?P<offset>[0-9a-f]+) +(?P<text>.*)")


def _build(folder: Path, level: str) -> Path:
    (folder / "source.c").write_text(_SOURCE)
    (folder / "inline.h").write_text(_INLINE)
    argv = ["gcc", "-g", level, "-fcf-protection=none", "-no-pie", "-fno-pie", "-o", "prog", "source.c"]
    subprocess.run(argv, cwd=folder, check=True)
    return folder / "prog"


@pytest.fixture(scope="module", params=_LEVELS)
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program at fixed addresses, more and less optimised."""
    return _build(tmp_path_factory.mktemp("assembly"), str(request.param))


@pytest.fixture(scope="module")
def optimised(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The one of -O2, where doubled() is inlined."""
    return _build(tmp_path_factory.mktemp("optimised"), "-O2")


def _run(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    status = main([*argv, "-a", "x86_64"])
    shown = capsys.readouterr()
    return status, shown.out, shown.err


def _lines_of_ours(shown: str) -> Iterator[tuple[int, str]]:
    """The offset of each instruction with its FILE:LINE, the file without its folder."""
    heading = ""
    for line in shown.splitlines()[1:]:
        found = _INSTRUCTION.fullmatch(line)
        if found is None:
            heading = line.split("  ")[0].rpartition("/")[2]
        else:
            yield int(found["offset"], 16), heading


def _lines_of_objdump(program: Path, function: str) -> Iterator[tuple[int, str]]:
    argv = ["objdump", "-dl", "--no-show-raw-insn", f"--disassemble={function}", str(program)]
    shown = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    start, heading = -1, ""
    for line in shown.partition(f"<{function}>:\n")[2].splitlines():
        if found := re.match(r".*?([\w.]+:\d+)(?: \(discriminator \d+\))?$", line):
            heading = found[1]
        elif found := re.match(r" *([0-9a-f]+):\t", line):
            start = int(found[1], 16) if start < 0 else start
            yield int(found[1], 16) - start, heading


def _offsets_of_gdb(program: Path, function: str) -> list[int]:
    argv = ["gdb", "-batch", "-nx", "-ex", f"disassemble {function}", str(program)]
    shown = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    return [int(offset) for offset in re.findall(r"<\+(\d+)>:", shown)]


@pytest.mark.parametrize("function", ["plain", "held", "main"])
def test_instructions_and_lines_are_those_of_others(
    function: str, program: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = _run(capsys, "-v", str(program), "-F", function)
    assert (status, err) == (0, "")
    ours = list(_lines_of_ours(out))
    assert [offset for offset, _ in ours] == _offsets_of_gdb(program, function)
    assert ours == list(_lines_of_objdump(program, function))


def test_a_function_with_its_text(optimised: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = _run(capsys, "-v", str(optimised), "--func", "plain")
    title, *rest = out.splitlines()
    assert status == 0
    assert title == f"plain at source.c:11  ({optimised})"
    headings = [line for line in rest if not _INSTRUCTION.fullmatch(line)]
    assert headings[0] == "source.c:12  plain:1  {"
    assert "source.c:14  plain:3  n += held(&local);" in headings
    assert "inline.h:3  inlined doubled()  int twice = given * 2;" in headings or (
        "inline.h:4  inlined doubled()  return twice + given % 7;" in headings
    )
    assert re.search(r"^  plain\+0x[0-9a-f]+ +call   held$", out, re.MULTILINE)
    assert re.search(r"^  plain\+0x[0-9a-f]+ +jle    plain\+0x[0-9a-f]+$", out, re.MULTILINE)
    # The variable's address stands beside the offset from %rip.
    assert re.search(r"\(%rip\) +# counter$", out, re.MULTILINE)
    assert re.search(r"^  plain\+0x[0-9a-f]+ +call   \*0x[0-9a-f]+\(%rip\) +# hook  <- indirect$", out, re.MULTILINE)


def test_an_indirect_call_names_its_register(program: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """At -O0 the call is through a register, which a probe there can have as its value."""
    _, out, _ = _run(capsys, "-v", str(program), "-F", "plain")
    marks = re.findall(r"call   \*(?:%r(\w+)|.*)  <- (?:reg=%(\w+)|indirect)$", out, re.MULTILINE)
    assert len(marks) == 1
    assert marks[0][0] == marks[0][1]


def test_a_function_without_dwarf(optimised: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    subprocess.run(["strip", "-g", "-o", tmp_path / "bare", optimised], check=True)
    status, out, err = _run(capsys, "-v", str(tmp_path / "bare"), "-F", "plain")
    assert (status, err) == (0, "")
    title, *rest = out.splitlines()
    assert title == f"plain  ({tmp_path / 'bare'}; no DWARF tells its lines)"
    assert [int(match["offset"], 16) for match in map(_INSTRUCTION.fullmatch, rest) if match] == _offsets_of_gdb(
        optimised, "plain"
    )
    assert _run(capsys, "-v", str(tmp_path / "bare"), "-l", "plain:3")[0] == 2


def test_a_function_by_its_address(optimised: Path, capsys: pytest.CaptureFixture[str]) -> None:
    by_name = _run(capsys, "-v", str(optimised), "-F", "held")[1]
    shown = subprocess.run(["nm", optimised], capture_output=True, text=True, check=True).stdout
    address = int(re.findall(r"^(\w+) T held$", shown, re.MULTILINE)[0], 16)
    assert _run(capsys, "-v", str(optimised), "-F", f"{address:#x}")[1] == by_name


def test_a_line(program: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All instructions of the line; `p` stands before those that a probe on it is at."""
    status, out, err = _run(capsys, "-v", str(program), "-l", "source.c:14")
    assert (status, err) == (0, "")
    heading, *rest = out.splitlines()
    assert heading == "source.c:14  plain:3  n += held(&local);"
    found = [match for match in map(_INSTRUCTION.fullmatch, rest) if match]
    ours = {int(match["offset"], 16) for match in found}
    theirs = {offset for offset, line in _lines_of_objdump(program, "plain") if line == "source.c:14"}
    assert theirs <= ours
    places = {int(match["offset"], 16) for match in found if match["kind"] == "p"}
    assert places
    assert ours - theirs <= places
    assert _run(capsys, "-v", str(program), "--line", "plain:3")[1] == out


def test_a_line_where_its_text_is_not_found(optimised: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = optimised.with_name("source.c")
    hidden = source.rename(source.with_suffix(".hidden"))
    try:
        _, out, _ = _run(capsys, "-v", str(optimised), "-l", "source.c:14")
        folder = source.parent / "sources"
        folder.mkdir()
        (folder / "source.c").write_text("\n" * 13 + "\tthe text of this line\n")
        _, with_text, _ = _run(capsys, "-v", str(optimised), "-l", "source.c:14", "--source", str(folder))
    finally:
        hidden.rename(source)
    assert out.splitlines()[0] == "source.c:14  plain:3"
    assert with_text.splitlines()[0] == "source.c:14  plain:3  the text of this line"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["-F", "nothing"], "this kernel has no function 'nothing'"),
        (["-F", "plainn"], "did you mean 'plain' or"),
        (["-F", "counter"], "'counter' is a variable, not a function"),
        (["-F", "plain+4"], "-F prints a whole function: leave out the offset"),
        (["-F", "source.c:14"], "-F takes the name of one function"),
        (["-F", "pl*"], "-F takes the name of one function"),
        (["-F", "sched/sched_switch"], "expected"),
        (["-F", "0x10"], "there is no code at 0x10"),
        (["-F", "nothing:plain"], "no module nothing is loaded"),
        (["-F", "plain a=%ax"], "a place stands alone here, without values"),
        (["-F", ""], "expected"),
        (["-l", "plain"], "-l takes FILE:LINE or FUNCTION:LINE"),
        (["-l", "source.c:999"], "there is no code of line source.c:999"),
        (["-l", "other.c:1"], "no code of this kernel is compiled of 'other.c'"),
        (["-l", "source.c:14", "--source", "/nowhere"], "there is no source.c in /nowhere"),
    ],
)
def test_what_is_not_there(argv: list[str], message: str, optimised: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = _run(capsys, "-v", str(optimised), *argv)
    assert (status, out) == (2, "")
    assert message in err


def test_a_file_of_another_machine(optimised: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["-a", "aarch64", "-v", str(optimised), "-F", "plain"])
    assert status == 2
    assert "is a program for x86_64, not for aarch64" in capsys.readouterr().err


def test_a_kernel_of_another_machine_without_its_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-a", "s390x", "-F", "plain"]) == 2
    assert capsys.readouterr().err == (
        "surftrace: error: this machine does not run a kernel for s390x\nhint: name its vmlinux with -v\n"
    )


def test_debug_information_without_code(optimised: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is not the running kernel's, whose code could be shown instead."""
    subprocess.run(["objcopy", "--only-keep-debug", optimised, tmp_path / "debug"], check=True)
    status, out, err = _run(capsys, "-v", str(tmp_path / "debug"), "-F", "plain")
    assert (status, out) == (2, "")
    assert f"{tmp_path / 'debug'} has no code: it is the debug information" in err
    assert "hint: nor is it the running kernel's: " in err
