"""The line on a terminal that says what takes long: there after a while, gone at the end, in no pipe."""

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import pytest

from surftrace.activity import doing
from surftrace.cli.progress import showing_progress
from tests.kernel import images
from tests.oracle import dbg

_ROOT = Path(__file__).parents[2]
_ERASE = "\r\x1b[K"
_WIDTH = 60


class _Terminal:
    """Both sides of a terminal: `stream` is what a program has, `shown` what has come out of it."""

    def __init__(self) -> None:
        self.ours, self.theirs = pty.openpty()
        fcntl.ioctl(self.theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, _WIDTH, 0, 0))
        self.stream: TextIO = os.fdopen(self.theirs, "w")
        self.shown = ""

    def wait_for(self, text: str) -> None:
        """Read until that has been shown; a terminal that never shows it is the test's time limit."""
        while text not in self.shown:
            self.shown += os.read(self.ours, 4096).decode()

    def rest(self) -> str:
        """All that was shown, after the program has ended."""
        self.stream.write("<end>")
        self.stream.flush()
        self.wait_for("<end>")
        return self.shown.removesuffix("<end>")


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[_Terminal]:
    """A terminal of 60 columns."""
    monkeypatch.setenv("TERM", "xterm")
    made = _Terminal()
    yield made
    made.stream.close()
    os.close(made.ours)


def test_what_takes_long_is_shown_and_erased(terminal: _Terminal) -> None:
    with showing_progress(terminal.stream), doing("reading a file"):
        terminal.wait_for("file ...")
    assert terminal.rest() == f"{_ERASE}surftrace: reading a file ...{_ERASE}"


def test_what_is_quick_is_not_shown(terminal: _Terminal) -> None:
    with showing_progress(terminal.stream):
        for _ in range(100):
            with doing("reading a file"):
                pass
    assert terminal.rest() == ""


def test_how_far_it_is(terminal: _Terminal) -> None:
    with showing_progress(terminal.stream), doing("reading") as step:
        step(1, 4)
        terminal.wait_for("reading: 25 % ...")
        step(3, 4)
        terminal.wait_for("reading: 75 % ...")
        step(0, 0)
    assert terminal.rest().endswith(_ERASE)


def test_of_activities_within_activities_the_outermost_is_shown(terminal: _Terminal) -> None:
    with showing_progress(terminal.stream), doing("outer"), doing("inner") as step:
        step(1, 2)
        terminal.wait_for("outer ...")
    assert "inner" not in terminal.rest()


def test_a_second_activity_has_a_line_too(terminal: _Terminal) -> None:
    with showing_progress(terminal.stream):
        for name in ("first", "second"):
            with doing(name):
                terminal.wait_for(f"{name} ...")
    assert terminal.rest().count(_ERASE) == 4


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_the_line_is_gone_before_an_error_is_told(error: type[BaseException], terminal: _Terminal) -> None:
    with pytest.raises(error), showing_progress(terminal.stream), doing("reading"):
        terminal.wait_for("reading ...")
        raise error
    assert terminal.rest().endswith(f"...{_ERASE}")


@pytest.mark.parametrize(
    "path", ["/usr/lib/debug/" + "long/" * 40 + "vmlinux", "\x1b[31mred\nnew line\t" * 9, "日本" * 90]
)
def test_a_long_or_hostile_name_stays_on_one_line(path: str, terminal: _Terminal) -> None:
    with showing_progress(terminal.stream), doing(f"reading the types of {path}"):
        terminal.wait_for(" ...")
    shown = terminal.rest().removeprefix(_ERASE).removesuffix(_ERASE)
    assert shown.startswith("surftrace: reading")
    assert "\n" not in shown
    assert "\x1b" not in shown
    assert len(shown) * (2 if path.startswith("日") else 1) < _WIDTH


def test_a_dumb_terminal_shows_nothing(terminal: _Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    with showing_progress(terminal.stream), doing("reading") as step:
        step(1, 2)
    assert terminal.rest() == ""


def test_a_terminal_that_is_gone_disturbs_nothing(terminal: _Terminal) -> None:
    with showing_progress(terminal.stream), doing("reading"):
        terminal.wait_for("reading ...")
        os.close(terminal.ours)
    terminal.ours = os.open(os.devnull, os.O_RDONLY)


def _slow_command() -> list[str]:
    """A command that takes minutes: the prototype of each function is read from DWARF."""
    vmlinux = dbg.fetch(images.fetch("6.1"))
    return [sys.executable, "-m", "surftrace", "list", "-v", str(vmlinux), "--takes", "struct sk_buff *"]


def test_ctrl_c_leaves_a_clean_line(terminal: _Terminal) -> None:
    output = subprocess.DEVNULL
    with subprocess.Popen(_slow_command(), cwd=_ROOT, stdin=output, stdout=output, stderr=terminal.theirs) as process:
        terminal.wait_for(" % ...")
        process.send_signal(signal.SIGINT)
    assert process.returncode == 130
    first, *shown, end = terminal.rest().split(_ERASE)
    assert (first, end) == ("", "")
    assert shown
    assert all(re.fullmatch(r"surftrace: reading the types .* \d+ % \.\.\.", each) for each in shown)
