"""The error that everything about DWARF raises."""

from collections.abc import Callable
from typing import TypeVar

from surftrace.errors import SurftraceError

_T = TypeVar("_T")


class DwarfError(SurftraceError):
    """A file with DWARF cannot be used."""


def guarded(parse: Callable[[], _T], what: str) -> _T:
    """What is parsed; DwarfError where `what` is damaged."""
    try:
        return parse()
    except (DwarfError, MemoryError):
        raise
    except Exception as error:  # damaged DWARF makes pyelftools, and drgn with what that says, raise nearly anything
        raise DwarfError(f"{what} is damaged ({type(error).__name__}: {error})") from None
