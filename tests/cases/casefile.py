"""Golden cases: the text of a `.test` file in, cases out, and back.

    case a-name
    # what it is about
    $ surftrace -b 4.19 'p ip_output len=skb->len'
    | a line of standard output
    ! a line of standard error
    = 2                                   (the exit status, where it is not 0)

Every command is a dry run (-S) unless it says what it is: -S, -o, list, show. `-b NAME` takes a kernel of kernels.py.
Blank lines part cases.
"""

import shlex
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Case:
    """One case; `comments` and `command` as written, the rest as expected or as seen."""

    name: str
    comments: tuple[str, ...]
    command: str
    stdout: str = ""
    stderr: str = ""
    status: int = 0

    @property
    def argv(self) -> list[str]:
        """The command's words after `surftrace`."""
        program, *words = shlex.split(self.command)
        assert program == "surftrace", self.command
        return words


def parse_cases(text: str) -> list[Case]:
    """The cases of a file, in their order."""
    cases = []
    for block in text.split("\n\n"):
        if lines := [line for line in block.splitlines() if line]:
            cases.append(_case(lines))
    return cases


def _case(lines: list[str]) -> Case:
    name = lines[0].removeprefix("case ")
    assert name != lines[0], f"a case begins with `case NAME`: {lines[0]}"
    by_mark: dict[str, list[str]] = {mark: [] for mark in "#$|!="}
    for line in lines[1:]:
        assert line[0] in by_mark, f"case {name}: what is this? {line}"
        by_mark[line[0]].append(line[2:])
    return Case(
        name,
        tuple(by_mark["#"]),
        "\n".join(by_mark["$"]),
        "".join(f"{line}\n" for line in by_mark["|"]),
        "".join(f"{line}\n" for line in by_mark["!"]),
        int(by_mark["="][0]) if by_mark["="] else 0,
    )


def render_cases(cases: list[Case]) -> str:
    """The text of a file with these cases."""
    return "\n\n".join("\n".join(_lines(case)) for case in cases) + "\n"


def _lines(case: Case) -> list[str]:
    return [
        f"case {case.name}",
        *(f"# {comment}".rstrip() for comment in case.comments),
        *(f"$ {line}" for line in case.command.split("\n")),
        *(f"| {line}".rstrip() for line in case.stdout.splitlines()),
        *(f"! {line}".rstrip() for line in case.stderr.splitlines()),
        *([f"= {case.status}"] if case.status else []),
    ]


def update(path: Path, seen: dict[str, Case]) -> None:
    """Write what was seen into the file, for the cases that were run."""
    path.write_text(render_cases([seen.get(case.name, case) for case in parse_cases(path.read_text())]))
