"""What a person sees of tables that are drawn over each other, and of notices between them."""

import argparse
import os
import pty
import re
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import TextIO

import pytest

from surftrace.cli.counting import _print_again, _print_last, _Shown, _watch
from surftrace.cli.report import report_notice
from surftrace.cli.screen import Screen, cut
from surftrace.cli.standard import Output
from surftrace.compiler.counting import Counting, plan_counting
from surftrace.compiler.resolve import resolve
from surftrace.kernel.features import ALL_FEATURES
from surftrace.kernel.machine import X86_64
from surftrace.kernel.target import Target
from surftrace.lang.script import parse_script
from surftrace.output.color import Role, colored, plain
from surftrace.output.latency import duration_lines
from surftrace.tracing.counting import Counter, Counts
from surftrace.tracing.instance import Instance
from surftrace.tracing.latency import Bucket, Durations
from surftrace.tracing.limits import Limit
from surftrace.tracing.notices import Notice, Notices
from surftrace.tracing.pipe import Interrupted, Interruption
from tests.unit.compiling import offline_kernel, shapes_btf
from tests.unit.faketracing import make_tracing

_COLUMNS, _ROWS = 40, 10
_END = "<end>"


class _Terminal:
    """Both sides of a terminal: `stream` is what a program writes to."""

    def __init__(self) -> None:
        self.ours, theirs = pty.openpty()
        self.stream: TextIO = os.fdopen(theirs, "w")

    def output(self, noted: Interruption) -> Output:
        """Standard output where this is it."""
        with redirect_stdout(self.stream):
            return Output(noted)

    def seen(self) -> list[str]:
        """The lines that are there after all that was written."""
        self.stream.write(_END)
        self.stream.flush()
        text = ""
        while not text.endswith(_END):
            text += os.read(self.ours, 4096).decode()
        return _seen(text.removesuffix(_END))


def _seen(text: str) -> list[str]:
    """What a terminal shows: letters, wrapped where the line ends, line ends, CPL, ED, and no colours."""
    lines, row = [""], 0
    for up, clear, colour, end, char in re.findall(r"\x1b\[(\d+)F|(\x1b\[J)|(\x1b\[\d*m)|(\r\n)|(.)", text):
        if up:
            row = max(0, row - int(up))
        elif clear:
            lines[row:] = [""]
        elif not colour:
            if end or len(lines[row]) == _COLUMNS:
                row += 1
                lines[row:] = [""]
            lines[row] += char
    return lines


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[_Terminal]:
    """A terminal of 40 columns and 10 lines."""
    monkeypatch.setenv("COLUMNS", str(_COLUMNS))
    monkeypatch.setenv("LINES", str(_ROWS))
    made = _Terminal()
    yield made
    made.stream.close()
    os.close(made.ours)


@pytest.fixture
def noted() -> Iterator[Interruption]:
    """Whether all is to end."""
    noted = Interruption()
    yield noted
    noted.close()


def test_lines_are_drawn_over_those_before(terminal: _Terminal, noted: Interruption) -> None:
    screen = Screen(terminal.output(noted))
    for lines in (["a", "b", "c"], ["d"], ["e", "f"]):
        screen.draw(lines)
    assert terminal.seen() == ["e", "f", ""]


def test_what_is_longer_than_the_terminal_leaves_nothing_behind(terminal: _Terminal, noted: Interruption) -> None:
    screen = Screen(terminal.output(noted))
    for calls in (1, 2):
        durations = Durations(tuple(Bucket(1 << n, (2 << n) - 1, calls, calls << n) for n in range(8, 30)))
        lines = list(duration_lines([durations], "a_function_with_a_name", "little", colored))
        assert len(_seen(lines[0])) > 1 and len(lines) > _ROWS
        screen.draw(lines)
    seen = terminal.seen()
    assert len(seen) < _ROWS
    assert [line for line in seen if line.startswith("a_function_with_a_name")] == seen[:1]


def test_nothing_is_drawn_over_a_notice(terminal: _Terminal, noted: Interruption) -> None:
    screen = Screen(terminal.output(noted))
    screen.draw(["a", "b"])
    screen.forget()
    report_notice(Notice("it is so"), terminal.stream, plain)
    for lines in (["a", "b"], ["c"]):
        screen.draw(lines)
    assert terminal.seen() == ["a", "b", "surftrace: warning: it is so", "c", ""]


def test_what_was_not_drawn_clears_nothing_later(noted: Interruption) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with os.fdopen(reading, "rb"), os.fdopen(writing, "w") as stream, redirect_stdout(stream):
        screen = Screen(Output(noted))
        screen.draw(["a"])
        with pytest.raises(BlockingIOError):
            while True:
                os.write(writing, b"x" * 4096)
        noted.end()
        with pytest.raises(Interrupted):
            screen.erase()
        assert not screen.output.kept


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("x" * 9, "x" * 9),
        ("x" * 10, "x" * 9),
        (colored(Role.NAME, "x" * 9), colored(Role.NAME, "x" * 9)),
        (colored(Role.NAME, "x" * 10), "x" * 9),
    ],
    ids=["fits", "too-long", "colour-takes-no-room", "too-long-with-colour"],
)
def test_cut(line: str, expected: str) -> None:
    assert cut(line, 10) == expected


def test_the_end_of_a_count_erases_no_notice(terminal: _Terminal, noted: Interruption, tmp_path: Path) -> None:
    target = Target(X86_64, offline_kernel(shapes_btf()))
    plan = plan_counting(resolve(parse_script(["p plain"]), target), Counting(), "surftrace", target)
    notices = Notices(plan.plan, ALL_FEATURES, Limit(), lambda _: None)
    counter = Counter(plan, Instance(make_tracing(tmp_path), "surftrace", -1), (), notices)
    chosen = argparse.Namespace(is_json=False, top=None, every_s=1.0, time_s=None)
    output = terminal.output(noted)
    shown = _Shown(chosen, plan, output, Screen(output), plain)

    _print_again(Counts(()), shown)
    noted.end()
    _watch(counter, shown, noted)
    report_notice(Notice("it is so"), terminal.stream, plain)
    _print_last(counter, Counts(()), shown)
    assert terminal.seen() == ["surftrace: warning: it is so", "no hits", ""]
