"""What takes long says here what it does; whoever runs it may show that, and nobody has to."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol, TypeAlias

# How much of how much is done.
Step: TypeAlias = Callable[[int, int], None]


class Display(Protocol):
    """Shows one activity at a time."""

    def show(self, text: str) -> None:
        """Something is being done, or goes on."""
        ...

    def hide(self) -> None:
        """It has ended, well or not."""
        ...


_display: ContextVar[Display | None] = ContextVar("display", default=None)


@contextmanager
def displayed(display: Display) -> Iterator[None]:
    """Show there what is done in the block."""
    before = _display.get()
    _display.set(display)
    try:
        yield
    finally:
        _display.set(before)


@contextmanager
def doing(text: str) -> Iterator[Step]:
    """Say what the block does, such as `reading the types of FILE`, and by calls how far it is.

    Of activities within activities the outermost is told.
    """
    display = _display.get()
    if display is None:
        yield _unseen
        return
    _display.set(None)
    try:
        display.show(text)
        yield lambda done, of: display.show(f"{text}: {100 * done // max(of, 1)} %")
    finally:
        display.hide()
        _display.set(display)


def _unseen(done: int, of: int) -> None:
    """Nobody looks."""
