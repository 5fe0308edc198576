"""Records as JSON Lines, for programs: `trace.schema.json` beside this file is what they may rely on."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple

from surftrace.compiler.values import ByteOrder
from surftrace.output.typed import Plain, TypedEvent, decoded, typed_event
from surftrace.tracing.events import Event, Lost, Record, Stack, Unparsed

Json = Plain | Sequence["Json"] | Mapping[str, "Json"]


def make_json_formatter(byteorder: ByteOrder) -> Callable[[Record], str]:
    """The function from a record to one line of JSON, without its end."""

    def format_record(record: Record) -> str:
        return to_json(_record(record, byteorder))

    return format_record


def to_json(value: Mapping[str, Json]) -> str:
    """A line of JSON, safe to look at: what is not printable is escaped."""
    line = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    if line.isprintable():
        return line
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in line)


def notice_json(message: str) -> dict[str, Json]:
    """What happened, as a JSON object."""
    return {"type": "notice", "message": message}


def _record(record: Record, byteorder: ByteOrder) -> dict[str, Json]:
    match record:
        case Event():
            return _event(typed_event(record, byteorder))
        case Stack(origin, frames, _):
            return {"type": "text", "text": " ".join(["stack on CPU", str(origin.cpu), *frames])}
        case Lost(cpu, count):
            return {"type": "lost", "cpu": cpu, "count": count}
        case Unparsed(text):
            return {"type": "text", "text": decoded(text.rstrip(b"\n"))}


def _event(event: TypedEvent) -> dict[str, Json]:
    shown: dict[str, Json] = {
        "type": "event",
        "time_ns": event.time_ns,
        "cpu": event.cpu,
        "task": event.task,
        "pid": event.pid,
        "event": event.name,
    }
    if event.place:
        shown["place"] = event.place
        shown["values"] = dict(event.values)
        if event.names:
            shown["names"] = dict(event.names)
    else:
        shown["text"] = event.text
    if event.stack:
        shown["stack"] = list(event.stack)
    if event.stack_lines:
        shown["stack_lines"] = [[_source(*astuple(place)) for place in places] for places in event.stack_lines]
    if event.user_stack:
        shown["user_stack"] = list(event.user_stack)
    return shown


def _source(function: str, file: str, line: int, is_inlined: bool) -> Json:
    source: dict[str, Json] = {"function": function, "file": file, "line": line}
    return source | {"inlined": True} if is_inlined else source
