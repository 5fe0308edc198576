"""One line on a terminal that says what takes so long, there after a second and gone when it is done."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from surftrace.activity import displayed
from surftrace.output.escape import escape

if TYPE_CHECKING:
    from threading import Event, Thread

# Nothing is said of a run that is shorter, nor of what takes no time worth reading about.
_PATIENCE_S = 1.0
_SHORTEST_S = 0.2
_ERASE = "\r\x1b[K"
# Of a text that is too long for the line, so much of its beginning stays.
_HEAD = 34


@contextmanager
def showing_progress(stream: TextIO) -> Iterator[None]:
    """Show on a terminal, and on nothing else, what takes long in the block."""
    if not stream.isatty() or os.environ.get("TERM", "dumb") == "dumb":
        yield
        return
    with displayed(_Line(stream.fileno())):
        yield


class _Line:
    """The line. A thread writes it, and only between `show` and `hide`: nothing else is written in that time."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._patient_until = time.monotonic() + _PATIENCE_S
        self._text = ""
        self._thread: Thread | None = None
        self._has_ended: Event | None = None

    def show(self, text: str) -> None:
        self._text = text
        if self._thread is not None:
            return
        import threading  # most runs show nothing

        self._has_ended = threading.Event()
        self._thread = threading.Thread(target=self._write, args=(self._has_ended,), daemon=True)
        self._thread.start()

    def hide(self) -> None:
        thread, has_ended = self._thread, self._has_ended
        self._thread = self._has_ended = None
        if thread is not None and has_ended is not None:
            has_ended.set()
            thread.join()

    def _write(self, has_ended: "Event") -> None:
        shown = ""
        delay_s = max(self._patient_until - time.monotonic(), _SHORTEST_S)
        while not has_ended.wait(delay_s):
            delay_s = _SHORTEST_S
            if self._text != shown:
                shown = self._text
                self._put(f"{_ERASE}{self._fitted(shown)}")
        if shown:
            self._put(_ERASE)

    def _fitted(self, text: str) -> str:
        """What fits one line of the terminal: one that wraps would not be erased whole."""
        text = f"surftrace: {escape(text)} ..."
        room = (os.get_terminal_size(self._descriptor).columns or 80) - 1
        room //= 1 if text.isascii() else 2  # where a letter may take two places
        if len(text) <= room:
            return text
        head = min(_HEAD, room * 2 // 3)
        return f"{text[:head]}...{text[len(text) - room + head + 3 :]}"[:room]

    def _put(self, text: str) -> None:
        try:
            os.write(self._descriptor, text.encode(errors="replace"))
        except OSError:  # the terminal is gone: whoever writes what matters is told
            return
