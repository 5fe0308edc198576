"""Events and stacks as the kernel prints them in, each event with its own stack out."""

import re
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from surftrace.tracing.events import Event, Record, Stack

if TYPE_CHECKING:  # most traces have no stacks
    from surftrace.tracing.frames import LinesOf
    from surftrace.tracing.mappings import UserPlaces

_ADDRESS = re.compile(r"<([0-9a-f]+)>")
# A stack is recorded right after its event, but read whole blocks of other CPUs' events later on a busy machine.
_PATIENCE_S = 2.0


@dataclass(slots=True)
class _Waiting:
    """A record that has not gone on yet: an event, until its stacks have come or will not come any more."""

    record: Record
    stack: Stack | None = None
    user_stack: Stack | None = None
    is_ready: bool = False
    since_s: float = 0.0


def with_stacks(
    records: Iterator[Record | None], last_is_user: bool = False, clock: Callable[[], float] = time.monotonic
) -> Iterator[Record | None]:
    """The records in their order, each event with its stacks. None is the end of a block that was read at once.

    The stacks follow their event in the CPU's buffer, the task's own last (`last_is_user` where there is one), but the
    trace merges the buffers: other CPUs' events come between. An event has no stack when its CPU goes on to another
    event, or when none has come for seconds of `clock`.
    """
    waiting: deque[_Waiting] = deque()
    for record in records:
        match record:
            case Stack():
                if entry := _open_event(waiting, record.origin.cpu):
                    if record.is_user:
                        entry.user_stack = record
                    else:
                        entry.stack = record
                    entry.is_ready = record.is_user == last_is_user
            case Event():
                if entry := _open_event(waiting, record.origin.cpu):
                    entry.is_ready = True
                waiting.append(_Waiting(record, since_s=clock()))
            case None:
                now_s = clock()
                for entry in waiting:
                    entry.is_ready = entry.is_ready or now_s - entry.since_s > _PATIENCE_S
            case _:
                waiting.append(_Waiting(record, is_ready=True))
        yield from _ready(waiting)
        if record is None:
            yield None
    for entry in waiting:
        entry.is_ready = True
    yield from _ready(waiting)


def with_user_places(records: Iterator[Record | None], places: "UserPlaces") -> Iterator[Record | None]:
    """The records, the addresses in tasks' own stacks replaced by what is there: at once, as tasks do not last."""
    for record in records:
        if isinstance(record, Stack) and record.is_user:
            yield replace(record, frames=places.frames(record.origin.pid, _addresses(record.frames)))
        else:
            yield record


def _addresses(frames: Sequence[str]) -> tuple[int, ...]:
    """Linux kernel/trace/trace_output.c, seq_print_user_ip: `<ADDRESS>`."""
    return tuple(int(match[1], 16) for match in map(_ADDRESS.fullmatch, frames) if match is not None)


def with_lines(records: Iterator[Record | None], lines_of: "LinesOf") -> Iterator[Record | None]:
    """The records, each event with the lines of source of its stack."""
    for record in records:
        if isinstance(record, Event) and record.stack:
            first, *others = record.stack
            lines = (lines_of(first, record.place), *(lines_of(frame, "") for frame in others))
            yield replace(record, lines=lines if any(lines) else ())
        else:
            yield record


def _open_event(waiting: deque[_Waiting], cpu: int) -> _Waiting | None:
    """The CPU's event that still waits for its stack."""
    for entry in waiting:
        if not entry.is_ready and isinstance(entry.record, Event) and entry.record.origin.cpu == cpu:
            return entry
    return None


def _ready(waiting: deque[_Waiting]) -> Iterator[Record]:
    while waiting and waiting[0].is_ready:
        entry = waiting.popleft()
        yield _joined(entry.record, entry.stack, entry.user_stack) if isinstance(entry.record, Event) else entry.record


def _joined(event: Event, stack: Stack | None, user_stack: Stack | None) -> Event:
    if stack is not None:
        event = replace(event, stack=stack.frames)
    return replace(event, user_stack=user_stack.frames) if user_stack is not None else event
