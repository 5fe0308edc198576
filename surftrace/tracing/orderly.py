"""Signals that end a program which traces from Python: they wait while the kernel is changed, and is put in order."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import FrameType
from typing import NoReturn, TypeVar

from surftrace.tracing.pipe import ENDING_SIGNALS

_Value = TypeVar("_Value")
# Python makes nothing of these: they would end the process, and leave the kernel to the next session.
_DEADLY = (signal.SIGTERM, signal.SIGHUP)


class _Signals:
    """The signals that end a process, and what is to become of them. `was` are the handlers that are put back."""

    def __init__(self) -> None:
        # A handler that is not Python's own (None) cannot be put back.
        found = {number: signal.getsignal(number) for number in ENDING_SIGNALS}
        self.was = {number: handler for number, handler in found.items() if handler not in (signal.SIG_IGN, None)}
        self.noted: list[int] = []

    def hold(self) -> None:
        """They wait."""
        for number in self.was:
            signal.signal(number, lambda noted, _frame: self.noted.append(noted))

    def raising(self) -> None:
        """They come through; those that would end the process at once raise SystemExit, so that `finally` is run."""
        self._release(lambda number, handler: _exit if number in _DEADLY and handler is signal.SIG_DFL else handler)

    def restore(self) -> None:
        """They do what they did before."""
        self._release(lambda _number, handler: handler)

    def _release(self, choose: "Callable[[int, _Handler], _Handler]") -> None:
        for number, handler in self.was.items():
            signal.signal(number, choose(number, handler))
        if self.noted:
            first, self.noted = self.noted[0], []
            signal.raise_signal(first)


_Handler = Callable[[int, FrameType | None], object] | int | None


@contextmanager
def orderly(context: AbstractContextManager[_Value]) -> Iterator[_Value]:
    """A context whose begin and end no SIGINT, SIGTERM or SIGHUP interrupts: it waits, and comes afterwards.

    Within the block SIGTERM and SIGHUP raise SystemExit where they would have ended the process at once. Nothing
    changes outside of the main thread, which alone is sent signals.
    """
    if threading.current_thread() is not threading.main_thread():
        with context as value:
            yield value
        return
    signals = _Signals()
    signals.hold()
    try:
        with context as value:
            try:
                signals.raising()
                yield value
            finally:
                signals.hold()
    finally:
        signals.restore()


def _exit(number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)
