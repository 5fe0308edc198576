"""Text of `trace_pipe` in, records out. The plan says which fields an event prints: nothing is guessed."""

import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial

from surftrace.compiler.plan import Plan, TracedEvent
from surftrace.compiler.resolved import Field
from surftrace.record import record
from surftrace.tracing.events import Event, Lost, Origin, Record, Stack, Unparsed, Value
from surftrace.tracing.fields import make_field_reader, without_hidden

# Linux kernel/trace/trace_output.c, trace_print_context: the task's name takes 16 columns and may hold anything.
_ORIGIN = rb"(?s:(?P<task>.{16}))-(?P<pid>\d+) +\[(?P<cpu>\d+)\] (?P<flags>\S{4,5}) +(?P<timestamp>\d+\.\d+): "
# Linux kernel/trace/trace_output.c, trace_print_lost_events (`tracing_read_pipe`).
_LOST = rb"CPU:(?P<lost_cpu>\d+) \[LOST (?P<lost>\d+) EVENTS\]\n"
_RECORD = re.compile(rb"^(?:" + _ORIGIN + rb"|" + _LOST + rb")", re.MULTILINE)
_STACK = re.compile(rb"<(?P<user>user )?stack trace ?>\n")


@record
class _Printed:
    """How an event's text is read. `read_fields` is None for the kernel's own events, whose text stays as it is."""

    name: str
    fields: tuple[Field, ...]
    read_fields: Callable[[bytes], tuple[Value, ...] | None] | None


_PLACE = re.compile(rb"\((?P<place>[^()]*)\)")


def has_text(plan: Plan) -> bool:
    """May an event of the plan hold what looks like a record? Only numbers may not."""
    return any(not event.is_ours or any(_is_text(field) for field in event.fields) for event in plan.events)


def _is_text(field: Field) -> bool:
    return field.is_string or field.fetch.type.startswith(("string", "ustring", "char"))


def make_decoder(plan: Plan, is_each: bool = False) -> Callable[[bytes], Iterator[Record]]:
    """The decoder of a plan's trace: from whole lines of `trace_pipe` to records, in their order.

    `is_each`: what it is given is one record each time, whatever lines of it look like.
    """
    events = {event.name.encode(): _printed(event) for event in plan.events}
    return partial(_decode_each if is_each else _decode, events)


def _printed(event: TracedEvent) -> _Printed:
    return _Printed(event.name, event.fields, make_field_reader(event.fields) if event.is_ours else None)


def _decode(events: Mapping[bytes, _Printed], text: bytes) -> Iterator[Record]:
    heads = list(_RECORD.finditer(text))
    starts = [head.start() for head in heads] + [len(text)]
    if starts[0]:
        yield Unparsed(text[: starts[0]])
    for head, end in zip(heads, starts[1:], strict=True):
        yield _record(events, head, text[head.end() : end].removesuffix(b"\n"))


def _decode_each(events: Mapping[bytes, _Printed], text: bytes) -> Iterator[Record]:
    head = _RECORD.match(text)
    if head is not None and head["lost"] is not None:
        yield _record(events, head, b"")
        text = text[head.end() :]
        head = _RECORD.match(text)
    if head is not None and head["lost"] is None:
        yield _record(events, head, text[head.end() :].removesuffix(b"\n"))
    elif text:
        yield Unparsed(text)


def _record(events: Mapping[bytes, _Printed], head: re.Match[bytes], body: bytes) -> Record:
    if head["lost"] is not None:
        return Lost(int(head["lost_cpu"]), int(head["lost"]))
    origin = Origin(
        head["task"].lstrip(b" "),
        int(head["pid"]),
        int(head["cpu"]),
        head["flags"].decode(errors="replace"),
        head["timestamp"].decode(),
    )
    if stack := _STACK.match(body + b"\n"):
        lines = body[stack.end() :].decode(errors="replace").split("\n")
        frames = tuple(line.strip().removeprefix("=>").strip() for line in lines if line)
        return Stack(origin, frames, stack["user"] is not None)
    name, _, text = body.partition(b": ")
    printed = events.get(name)
    if printed is None:  # system calls print no event's name
        return Event(origin, "", "", (), body)
    return _event(printed, origin, text)


def _event(printed: _Printed, origin: Origin, text: bytes) -> Event:
    place = _PLACE.match(text)
    values = printed.read_fields(text[place.end() :]) if place is not None and printed.read_fields is not None else None
    if place is None or values is None:
        return Event(origin, printed.name, "", (), without_hidden(printed.fields, text))
    return Event(origin, printed.name, place["place"].decode(errors="replace"), values, text)
