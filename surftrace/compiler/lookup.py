"""A name that the running kernel has not in, the command out that prints those like it."""

from collections.abc import Collection

from surftrace.compiler.scope import Scope
from surftrace.kernel.symbols import Symbols
from surftrace.kernel.types import Type, spelled, underlying

# What fewer letters begin is no help.
_MIN_PREFIX = 3


def where_functions(name: str, symbols: Symbols) -> tuple[str, ...]:
    """A hint with the command that prints the functions that begin most like this; none where none begin so."""
    if not symbols.is_running:
        return ()
    for length in range(len(name), _MIN_PREFIX - 1, -1):
        if symbols.matching(f"{name[:length]}*"):
            return (f"like it: surftrace list '{name[:length]}*'",)
    return ()


def where_events(system: str, names: Collection[str]) -> tuple[str, ...]:
    """A hint with the command that prints a system's events; none where there is no such system in `names`."""
    is_known = any(name.startswith(f"{system}/") for name in names)
    return (f"events of {system}: surftrace list '{system}/*'",) if is_known else ()


def where_members(holder: Type, scope: Scope) -> tuple[str, ...]:
    """A hint with the command that prints a struct's members; none for one without a name, or of a program."""
    is_running = scope.symbols is not None and scope.symbols.is_running
    bare = underlying(holder)
    if not is_running or scope.is_user or bare.tag is None:
        return ()
    return (f"all its members: surftrace show '{spelled(bare)}'",)
