"""Records as JSON Lines, for programs: `trace.schema.json` beside this file is what they may rely on."""

import json
from collections.abc import Callable
from math import isfinite

from surftrace.compiler.resolved import Field
from surftrace.compiler.values import ByteOrder, show_numbers
from surftrace.output.numbers import error_of, float_of, name_of, plain_number, show_field
from surftrace.tracing.events import Content, Event, Lost, Record, Stack, Unparsed, Value

Json = None | int | float | str | list["Json"] | dict[str, "Json"]


def make_json_formatter(byteorder: ByteOrder) -> Callable[[Record], str]:
    """The function from a record to one line of JSON, without its end."""

    def format_record(record: Record) -> str:
        return to_json(_record(record, byteorder))

    return format_record


def to_json(value: dict[str, Json]) -> str:
    """A line of JSON."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _record(record: Record, byteorder: ByteOrder) -> dict[str, Json]:
    match record:
        case Event():
            return _event(record, byteorder)
        case Stack(origin, frames):
            return {"type": "text", "text": " ".join(["stack on CPU", str(origin.cpu), *frames])}
        case Lost(cpu, count):
            return {"type": "lost", "cpu": cpu, "count": count}
        case Unparsed(text):
            return {"type": "text", "text": decoded(text.rstrip(b"\n"))}


def _event(event: Event, byteorder: ByteOrder) -> dict[str, Json]:
    origin = event.origin
    shown: dict[str, Json] = {
        "type": "event",
        "time_ns": origin.time_ns,
        "cpu": origin.cpu,
        "task": decoded(origin.task),
        "pid": origin.pid,
        "event": event.name,
    }
    if event.place:
        shown["place"] = event.place
        shown["values"] = {value.field.name: json_value(value, byteorder) for value in event.values}
        if names := {value.field.name: name for value in event.values if (name := _name(value))}:
            shown["names"] = dict(names)
    else:
        shown["text"] = decoded(event.text)
    if event.stack:
        shown["stack"] = list(event.stack)
    return shown


def json_value(value: Value, byteorder: ByteOrder) -> Json:
    """A field's value: a number, a string, null where nothing was read, or a list of these."""
    content, field = value.content, value.field
    if not isinstance(content, tuple):
        return _content(field, content, byteorder)
    if field.prefix is not None:
        return show_numbers(field.prefix, [int(each) for each in content if isinstance(each, int)], byteorder)
    return [_content(field, each, byteorder) for each in content]


def _content(field: Field, content: Content, byteorder: ByteOrder) -> Json:
    """An address and what else is shown in hexadecimal are strings, as are addresses of packets and characters."""
    if content is None:
        return None
    if isinstance(content, bytes):
        return decoded(content)
    if field.letter == "f":
        number = float_of(field, content)
        return number if isfinite(number) else str(number)
    if field.prefix is not None:
        shown = show_field(field, content, byteorder)
        return int(shown) if shown.isdigit() else shown
    number = plain_number(field, content)
    if field.fetch.type.startswith("char"):
        return chr(number)
    return hex(number) if field.letter == "x" or field.fetch.type.startswith("x") else number


def _name(value: Value) -> str:
    """What a number is called: an enumerator, flags, an error."""
    if not isinstance(value.content, int):
        return ""
    number = plain_number(value.field, value.content)
    if value.field.enumerators:
        return name_of(value.field.enumerators, number)
    error = error_of(number) if value.field.has_errors else ""
    return f"-{error}" if error else ""


def decoded(text: bytes) -> str:
    """Bytes as text; those that are no UTF-8 as `\\xNN`."""
    return text.decode(errors="backslashreplace")
