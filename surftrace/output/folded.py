"""Counted stacks in, a line for each out, its outermost function first: what tools that draw flame graphs read.

The format is that of the FlameGraph tools (https://github.com/brendangregg/FlameGraph, README, "2. Fold stacks"):
`outer;...;inner COUNT`. The count stands behind the last blank; a function has no `;` in its name.
"""

from collections.abc import Iterable

from surftrace.output.escape import escape
from surftrace.record import record


@record
class FoldedStack:
    """A stack's functions, the outermost first, and how often it was met."""

    names: tuple[str, ...]
    count: int


def merged(stacks: Iterable[FoldedStack]) -> list[FoldedStack]:
    """The stacks in the order of their names, those that have the same functions as one."""
    counts: dict[tuple[str, ...], int] = {}
    for stack in stacks:
        counts[stack.names] = counts.get(stack.names, 0) + stack.count
    return [FoldedStack(names, counts[names]) for names in sorted(counts)]


def folded_text(stacks: Iterable[FoldedStack]) -> str:
    """The lines, sorted. A stack without any function is called `-`."""
    lines = ((";".join(map(_name, stack.names)) or "-", stack.count) for stack in merged(stacks))
    return "".join(f"{names} {count}\n" for names, count in lines)


def total_of(hits: int, stacks: int) -> str:
    """How many there are."""
    return f"{hits} hit{'s' if hits != 1 else ''} in {stacks} stack{'s' if stacks != 1 else ''}"


def _name(name: str) -> str:
    """The name of a function as one part of a line."""
    return escape(name).replace(";", ":") or "-"
