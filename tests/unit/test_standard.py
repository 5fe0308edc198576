"""Standard output whose reader has stopped reading: the end of the trace does not wait for it."""

import fcntl
import os
import pty
import select
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import pytest

from surftrace.cli.report import report_notice
from surftrace.cli.standard import Output
from surftrace.output.color import plain
from surftrace.tracing.notices import Notice
from surftrace.tracing.pipe import Interrupted, Interruption

# Far more than all here may wait.
_LIMIT_S = 30
_MUCH = "x" * 100 + "\n"


@pytest.fixture(autouse=True)
def _limit() -> Iterator[None]:
    """What waits for nobody is a failure."""

    def fail(_number: int, _frame: FrameType | None) -> None:
        raise AssertionError  # no OSError, which may be caught

    previous = signal.signal(signal.SIGALRM, fail)
    signal.alarm(_LIMIT_S)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, previous)


@contextmanager
def _stalled_terminal() -> Iterator[int]:
    """A terminal that says that it has room and has less than 4096 bytes of it, and that nobody reads any more."""
    shown, terminal = pty.openpty()
    other = os.open(os.ttyname(terminal), os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        with pytest.raises(BlockingIOError):
            while True:
                os.write(other, b"x" * 1024)
        while not select.select([], [terminal], [], 0)[1]:
            os.read(shown, 512)
        yield terminal
    finally:
        for descriptor in (shown, terminal, other):
            os.close(descriptor)


@pytest.fixture
def noted() -> Iterator[Interruption]:
    """An end that has been noted."""
    noted = Interruption()
    noted.end()
    yield noted
    noted.close()


def test_what_has_ended_does_not_wait_for_a_terminal(noted: Interruption, monkeypatch: pytest.MonkeyPatch) -> None:
    with _stalled_terminal() as terminal, open(terminal, "w", closefd=False) as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        output = Output(noted)
        output.write(_MUCH * 1000)
        with pytest.raises(Interrupted):
            output.flush()
        # The file that others have open blocks as before.
        assert os.get_blocking(terminal)


def test_a_terminal_that_reads_gets_it_all(noted: Interruption, monkeypatch: pytest.MonkeyPatch) -> None:
    shown, terminal = pty.openpty()
    text = _MUCH * 400
    reader = os.fork()
    if not reader:
        count = 0
        while count < len(text) + 400:  # a terminal shows a line's end as two
            count += len(os.read(shown, 4096))
        os._exit(0)
    with open(terminal, "w", closefd=False) as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        output = Output(noted)
        output.write(text)
        output.flush()
        assert os.waitpid(reader, 0)[1] == 0
    os.close(shown)
    os.close(terminal)


def test_a_notice_does_not_wait_for_a_terminal() -> None:
    with _stalled_terminal() as terminal, open(terminal, "w", closefd=False) as stream:
        report_notice(Notice("x" * 5000), stream, plain)


def test_what_was_written_in_part_is_not_written_again(noted: Interruption, monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    with os.fdopen(writing, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        output = Output(noted)
        for letter in "ab":
            output.write(f"{letter * 3000}\n", is_event=True)
        with pytest.raises(Interrupted):
            output.flush()
        assert output.kept_events == 1
        read = os.read(reading, 1 << 16)
        output.write("the end\n")
        output.flush()
        assert (read + os.read(reading, 1 << 16)).decode() == "a" * 3000 + "\n" + "b" * 3000 + "\nthe end\n"
    os.close(reading)
