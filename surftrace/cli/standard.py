"""Standard output, for a reader that may stop reading: that must not keep a signal from ending the trace."""

import errno
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import accumulate

from surftrace.record import record
from surftrace.tracing.pipe import Interrupted, Interruption, is_writable

# After the signal that ends the trace, whoever reads has so long to take what was recorded before.
_PATIENCE_S = 1.0
# A terminal that is closed refuses what is written some moments before its SIGHUP comes.
_HANGUP_S = 0.1
# PIPE_BUF of pipe(7).
_UNBLOCKED_BYTES = 4096
# A terminal that says that it has room may have less than it makes of a line's end.
_LOOK_AGAIN_S = 0.01


@record
class _Kept:
    data: bytes
    is_event: bool


class Output:
    """What is written is kept until the next flush."""

    def __init__(self, noted: Interruption) -> None:
        self.noted = noted
        self.descriptor = sys.stdout.fileno()
        self.is_terminal = os.isatty(self.descriptor)
        self.kept: list[_Kept] = []
        sys.stdout.flush()

    def write(self, text: str, is_event: bool = False) -> None:
        """Keep a text."""
        self.kept.append(_Kept(text.encode(sys.stdout.encoding, sys.stdout.errors or "backslashreplace"), is_event))

    def pass_on(self, data: bytes) -> None:
        """Keep bytes as they are."""
        self.kept.append(_Kept(data, False))

    @property
    def kept_events(self) -> int:
        """How many events were not wholly written."""
        return sum(each.is_event for each in self.kept)

    def flush(self) -> None:
        """Write all that was kept. Interrupted where a signal has come and nobody takes it, or the terminal is gone."""
        data = memoryview(b"".join(each.data for each in self.kept))
        size = len(data)
        try:
            while data:
                data = data[self._write(data[:_UNBLOCKED_BYTES]) :]
        except OSError as error:
            if self.is_terminal and error.errno == errno.EIO and self.noted.is_soon(_HANGUP_S):
                raise Interrupted from None
            raise
        finally:
            self._forget(size - len(data))

    def _forget(self, written: int) -> None:
        """Keep what comes after so many bytes: of what was written in part, the rest."""
        ends = accumulate(len(each.data) for each in self.kept)
        self.kept = [
            _Kept(each.data[max(0, written - end + len(each.data)) :], each.is_event)
            for each, end in zip(self.kept, ends, strict=True)
            if end > written
        ]

    def _write(self, data: memoryview) -> int:
        """Write what is taken: how many bytes."""
        if self.noted.is_ending:
            if not (written := write_soon(self.descriptor, data)):
                raise Interrupted
            return written
        if not self.is_terminal and is_writable(self.descriptor, 0):
            return os.write(self.descriptor, data)
        with self.noted.raising():
            return os.write(self.descriptor, data)


def write_soon(descriptor: int, data: memoryview) -> int:
    """Write what is taken within a second: how many bytes, 0 where nobody reads."""
    deadline = time.monotonic() + _PATIENCE_S
    with _unblocked(descriptor) as unblocked:
        while (left_s := deadline - time.monotonic()) > 0 and is_writable(descriptor, left_s):
            try:
                return os.write(unblocked, data[:_UNBLOCKED_BYTES])
            except BlockingIOError:
                time.sleep(_LOOK_AGAIN_S)
    return 0


@contextmanager
def _unblocked(descriptor: int) -> Iterator[int]:
    """A descriptor for the same that blocks nobody.

    A pipe with room takes `_UNBLOCKED_BYTES` without blocking; a terminal may have less room, and may have been stopped
    (Ctrl-S). To be another's as well, who wants it to block, is not for a file that is opened anew: proc(5), fd.
    """
    if not os.isatty(descriptor):
        yield descriptor
        return
    try:
        opened = os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:  # it is somebody else's
        yield descriptor
        return
    try:
        yield opened
    finally:
        os.close(opened)
