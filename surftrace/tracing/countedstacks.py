"""The kernel's tables of stacks in, the stacks out that led to the probes: without what only handles these."""

from collections.abc import Sequence
from dataclasses import replace

from surftrace.compiler.resolved import ResolvedProbe
from surftrace.lang.syntax import Kind
from surftrace.record import record
from surftrace.tracing.counting import CountedRow
from surftrace.tracing.frames import function_of
from surftrace.tracing.probestacks import without_probe

# HIST_STACKTRACE_DEPTH in Linux kernel/trace/trace.h: 16 in 4.17 to 6.12 and later ones, and 31 as seen on 7.3.
_DEPTHS = (16, 31)


@record
class CountedStack:
    """A stack and its hits. `event`: what the probe is put at; `frames`: as the kernel prints them, innermost first.

    `is_cut`: it had more than the kernel keeps, so that the outermost are not known. `is_broken`: the kernel did not
    find the way from the probe to the rest.
    """

    event: str
    frames: tuple[str, ...]
    is_cut: bool = False
    is_broken: bool = False
    hits: int = 0


def counted_stacks(rows: Sequence[CountedRow], probes: Sequence[ResolvedProbe]) -> list[CountedStack]:
    """The stacks in rows that are counted by stack alone, the most frequent first, those that are the same as one."""
    by_name = {probe.name: probe for probe in probes if probe.name}
    kept = [(row, _frames(row)) for row in rows]
    # What is outermost in a stack that is whole for sure.
    ends = {function_of(frames[-1]) for _, frames in kept if frames and len(frames) not in _DEPTHS}
    hits: dict[CountedStack, int] = {}
    for row, frames in kept:
        is_cut = len(frames) in _DEPTHS and function_of(frames[-1]) not in ends
        stack = _stack(row.event.label, frames, by_name.get(row.event.event.name), is_cut)
        hits[stack] = hits.get(stack, 0) + row.hits
    stacks = (replace(stack, hits=count) for stack, count in hits.items())
    return sorted(stacks, key=lambda stack: (-stack.hits, stack.event, stack.frames))


def _frames(row: CountedRow) -> tuple[str, ...]:
    content = row.values[0].content
    symbols = content if isinstance(content, tuple) else ()
    return tuple(symbol.decode(errors="backslashreplace") for symbol in symbols if isinstance(symbol, bytes))


def _stack(event: str, frames: tuple[str, ...], probe: ResolvedProbe | None, is_cut: bool) -> CountedStack:
    """The stack without the probe's own frames; of the kernel's own events, the trigger's are left out already."""
    if probe is None:
        return CountedStack(event, frames, is_cut)
    symbol = probe.place.rpartition(":")[2].partition("+")[0]
    found, is_broken = without_probe(frames, symbol, probe.kind is Kind.RETURN)
    return CountedStack(event, found, is_cut, is_broken)
