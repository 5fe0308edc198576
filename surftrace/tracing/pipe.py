"""The trace as it comes: blocks of whole lines from `trace_pipe`, until a time, a signal, or the caller's end."""

import math
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from surftrace.tracing.instance import Instance
from surftrace.tracing.tracefs import TracefsError

_BLOCK = 1 << 16
# So many records that are read one by one are shown together, if no pause comes before.
_MANY_RECORDS = 64
# A reader that the kernel forgot to wake looks by itself this often.
_LOOK_AGAIN_S = 0.5
# What is recorded when the end comes is read for so long at most: of this thread's own time, which others do not take
# on a busy machine, and of everybody's.
_DRAIN_CPU_S = 2.0
_DRAIN_S = 5.0

# poll(2) takes no longer time.
_LONGEST_S = 1e6
ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(Exception):
    """An ending signal came while `Interruption.raising` was in force."""


class Interruption:
    """Whether the trace is to end: by a signal, or by `end`. It ends no step in the middle, but what `raising` is
    put around. `socket` is readable from then on. `is_cut`: there was no time to read all that was recorded.
    """

    def __init__(self) -> None:
        self.socket, self._writer = socket.socketpair()
        self.signal: signal.Signals | None = None
        self.is_ending = False
        self.is_cut = False
        self._is_raising = False
        for each in (self.socket, self._writer):
            each.setblocking(False)

    @property
    def wakeup(self) -> int:
        """What signals are written to."""
        return self._writer.fileno()

    def close(self) -> None:
        """Nothing is noted any more."""
        self.socket.close()
        self._writer.close()

    def is_soon(self, patience_s: float) -> bool:
        """Is the trace to end, now or before so many seconds have passed?"""
        poller = select.poll()
        poller.register(self.socket, select.POLLIN)
        poller.poll(0 if self.is_ending else min(patience_s, _LONGEST_S) * 1000)
        return self.is_ending

    def end(self) -> None:
        """End the trace, from any thread; one that has ended stays so."""
        self.is_ending = True
        with suppress(OSError):
            self._writer.send(b"\0")

    def note(self, number: int, _frame: FrameType | None) -> None:
        """The handler: keeps the first."""
        self.signal = self.signal or signal.Signals(number)
        self.is_ending = True
        if self._is_raising:
            self._is_raising = False
            raise Interrupted

    @contextmanager
    def raising(self) -> Iterator[None]:
        """Let a signal raise Interrupted: for a write to somebody who may not read, which nothing else would end."""
        self._is_raising = True
        try:
            if self.signal is not None:
                raise Interrupted
            yield
        finally:
            self._is_raising = False


@contextmanager
def interruption() -> Iterator[Interruption]:
    """SIGINT, SIGTERM and SIGHUP noted instead of acted upon, for as long as the block lasts.

    One that was ignored (nohup) stays ignored. Afterwards SIGINT ends the process at once.
    """
    noted = Interruption()
    previous_wakeup = signal.set_wakeup_fd(noted.wakeup, warn_on_full_buffer=False)
    previous = {
        number: signal.signal(number, noted.note)
        for number in ENDING_SIGNALS
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield noted
    finally:
        for number, handler in previous.items():
            # Python's own handler would raise in whatever ends the process now.
            signal.signal(number, signal.SIG_DFL if handler is signal.default_int_handler else handler)
        signal.set_wakeup_fd(previous_wakeup)
        noted.close()


@contextmanager
def opened_pipe(instance: Instance) -> Iterator[int]:
    """The descriptor of the instance's `trace_pipe`; closed at the end, without which an instance cannot go."""
    descriptor = instance.tracefs.open(f"{instance.path}/trace_pipe", os.O_RDONLY | os.O_NONBLOCK)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def read_pipe(
    pipe: int,
    noted: Interruption,
    time_s: float | None,
    stop: Callable[[], None],
    look: Callable[[], None],
    is_each: bool = False,
) -> Iterator[bytes]:
    """Blocks of whole lines as they come, until `time_s` seconds have passed or the trace is to end.

    `is_each`: a block is one record; else as many as there are. An empty block says that what came is to be shown; in a
    quiet trace it comes now and then.
    `stop` ends the recording when the end comes, and what was recorded before is still read. `look` is called now and
    then.
    """
    deadline = math.inf if time_s is None else time.monotonic() + time_s
    poller = select.poll()
    poller.register(pipe, select.POLLIN)
    poller.register(noted.socket, select.POLLIN)
    rest = b""
    unseen = 0
    is_ending, next_look, cpu_deadline = False, -math.inf, math.inf
    while True:
        if time.monotonic() >= next_look:
            look()
            next_look = time.monotonic() + _LOOK_AGAIN_S
        left_s = deadline - time.monotonic()
        if not is_ending and (noted.is_ending or left_s <= 0):
            stop()
            is_ending, deadline, cpu_deadline = True, time.monotonic() + _DRAIN_S, time.thread_time() + _DRAIN_CPU_S
        block = _read_record(pipe) if is_each else _read(pipe)
        if block:
            lines, line_end, rest = (b"", block, b"") if is_each else (rest + block).rpartition(b"\n")
            if line_end:
                yield lines + line_end
                unseen += 1
        if not block or unseen == (_MANY_RECORDS if is_each else 1):
            yield b""
            unseen = 0
        if is_ending:
            noted.is_cut = time.monotonic() >= deadline or time.thread_time() >= cpu_deadline
            if noted.is_cut or not block:
                return
        if not block:
            poller.poll(min(_LOOK_AGAIN_S, max(0.0, left_s)) * 1000)


def is_writable(descriptor: int, patience_s: float) -> bool:
    """Can something be written there, now or before so many seconds have passed?"""
    poller = select.poll()
    poller.register(descriptor, select.POLLOUT)
    return bool(poller.poll(patience_s * 1000))


def _read_record(pipe: int) -> bytes:
    """One record, with the line before it that tells of lost ones, if there is one.

    Linux kernel/trace/trace.c, tracing_read_pipe: it prints records until it has as many bytes as are asked for, and
    gives what is left of these to the next read, which gets nothing else: no record is a single byte. So no string can
    pass for a record.
    """
    first = _read(pipe, 1)
    return first + _read(pipe) if first else b""


def _read(pipe: int, size: int = _BLOCK) -> bytes:
    """What can be read now, a page at most: the kernel ends it with a record's end."""
    try:
        return os.read(pipe, size)
    except BlockingIOError:
        return b""
    except OSError as error:
        message = f"cannot read trace_pipe any more: {error.strerror}"
        raise TracefsError(message, "somebody else removed the instance?", errno=error.errno or 0) from None
