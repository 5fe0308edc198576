"""`surftrace lines` and `surftrace vars` on a program that gcc makes here, with its source at hand."""

import re
import subprocess
from pathlib import Path

import pytest

from surftrace.cli.main import main

_SOURCE = """\
struct pair { int a, b; };
static int counter = 3;
int plain(struct pair *p, int n)
{
	static int calls;
	int sum = p->a + n;
	calls++;
	counter += sum;
	return sum;
}
int main(int argc, char **argv)
{
	struct pair p = { argc, 4 };
	return plain(&p, 1);
}
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program, not optimised."""
    folder = tmp_path_factory.mktemp("commands")
    (folder / "source.c").write_text(_SOURCE)
    argv = ["gcc", "-g", "-O0", "-no-pie", "-fno-pie", "-o", "prog", "source.c"]
    subprocess.run(argv, cwd=folder, check=True)
    return folder / "prog"


def _run(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    status = main([*argv, "-a", "x86_64"])
    shown = capsys.readouterr()
    return status, shown.out, shown.err


def test_lines_with_their_text(program: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = _run(capsys, "lines", "plain", "-v", str(program))
    assert (status, err) == (0, "")
    first, *rows = out.splitlines()
    assert first == "plain at source.c:3"
    # The number of the line with the brace depends on the compiler; those of the body do not.
    assert rows[-6:] == [
        "           static int calls;",
        "3          int sum = p->a + n;",
        "4          calls++;",
        "5          counter += sum;",
        "6          return sum;",
        "7  }",
    ]


def test_lines_of_a_file_without_its_text(program: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = program.with_name("source.c")
    hidden = source.rename(source.with_suffix(".hidden"))
    try:
        status, out, _ = _run(capsys, "lines", "plain", "-v", str(program))
    finally:
        hidden.rename(source)
    assert status == 0
    title = r"plain at source.c:3  \(its text is not found: --source names the folder that it is in\)"
    assert re.fullmatch(rf"{title}\n(\d  plain(\+0x[0-9a-f]+)?\n){{5,7}}", out)


def test_variables_at_a_line(program: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = _run(capsys, "vars", "plain:6", "-v", str(program))
    assert (status, err) == (0, "")
    place, *rows = out.splitlines()
    assert re.fullmatch(r"plain\+0x[0-9a-f]+", place)
    found = {name: (type_, where) for name, type_, where in (re.split(r"  +", row.strip()) for row in rows)}
    assert found.keys() == {"p", "n", "sum", "calls"}
    assert found["p"][0] == "struct pair *"
    assert re.fullmatch(r"-0x[0-9a-f]+\(%bp\)|\+0x[0-9a-f]+\(%sp\)", found["n"][1])
    assert re.fullmatch(r"@calls\.\d+", found["calls"][1])


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["lines", "nothing"], "the DWARF of this kernel has no function 'nothing'"),
        (["lines", "other.c"], "no code of this kernel is compiled of 'other.c'"),
        (["vars", "plain:400"], "there is no code of line plain:400"),
        (["vars", "sched/sched_switch"], "expected"),
        (["lines", "plain", "--source", "/nowhere"], "there is no source.c in /nowhere"),
        (["lines"], "required: FUNCTION"),
        (["lines", "plan"], "did you mean 'plain'"),
        (["lines", "plain:3"], "all its lines: surftrace lines plain; what is in scope there: surftrace vars plain:3"),
        (["vars", "plan"], "did you mean 'plain'"),
        (["vars", "plain+0x4000"], "the code of plain does not reach to +0x4000"),
        (["vars", "plain n"], "a place stands alone here, without values"),
        (["vars", "pl*"], "this is neither a function of the kernel nor a line"),
    ],
)
def test_what_is_not_there(argv: list[str], message: str, program: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = _run(capsys, *argv, "-v", str(program))
    assert (status, out) == (2, "")
    assert message in err
