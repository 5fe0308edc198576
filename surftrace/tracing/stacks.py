"""Events and stacks as the kernel prints them in, each event with its own stack out."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from surftrace.tracing.events import Event, Record, Stack

# A stack is recorded right after its event, but read whole blocks of other CPUs' events later on a busy machine.
_PATIENCE_S = 2.0


@dataclass(slots=True)
class _Waiting:
    """A record that has not gone on yet: an event, until its stack has come or will not come any more."""

    record: Record
    stack: Stack | None = None
    is_ready: bool = False
    since_s: float = 0.0


def with_stacks(
    records: Iterator[Record | None], clock: Callable[[], float] = time.monotonic
) -> Iterator[Record | None]:
    """The records in their order, each event with its stack. None is the end of a block that was read at once.

    A stack follows its event in the CPU's buffer, but the trace merges the buffers: other CPUs' events come between. An
    event has no stack when its CPU goes on to another event, or when none has come for seconds of `clock`.
    """
    waiting: deque[_Waiting] = deque()
    for record in records:
        match record:
            case Stack():
                if entry := _open_event(waiting, record.origin.cpu):
                    entry.stack, entry.is_ready = record, True
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


def _open_event(waiting: deque[_Waiting], cpu: int) -> _Waiting | None:
    """The CPU's event that still waits for its stack."""
    for entry in waiting:
        if not entry.is_ready and isinstance(entry.record, Event) and entry.record.origin.cpu == cpu:
            return entry
    return None


def _ready(waiting: deque[_Waiting]) -> Iterator[Record]:
    while waiting and waiting[0].is_ready:
        entry = waiting.popleft()
        record, stack = entry.record, entry.stack
        yield replace(record, stack=stack.frames) if isinstance(record, Event) and stack is not None else record
