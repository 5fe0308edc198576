"""Events as plain values, for programs: what JSON Lines and Python have of them."""

from collections.abc import Mapping
from math import isfinite

from surftrace.compiler.resolved import Field
from surftrace.compiler.values import ByteOrder, show_numbers
from surftrace.output.numbers import error_of, float_of, name_of, plain_number, show_field
from surftrace.record import record
from surftrace.tracing.events import Content, Event, Lines, Value

Plain = None | int | float | str | list["Plain"]


@record
class TypedEvent:
    """One event. `time_ns` is the trace's clock: nanoseconds since boot.

    `values` are a probe's, by name: a number is an int (a float where it was fetched as one), a string is a str (bytes
    that are no UTF-8 as `\\xNN`), an array is a list, None is what could not be read; addresses, and numbers that are
    shown in hexadecimal, are strings (`0xffff...`), as are IP and MAC addresses. `names` has what numbers are called:
    enumerators, flags, errors. `place` is where a probe was hit. An event of the kernel has its own `text` instead,
    and so has a probe whose strings make it impossible to tell one value from the next. `stack`: the functions that
    led there, innermost first.
    """

    name: str
    time_ns: int
    cpu: int
    task: str
    pid: int
    place: str
    values: Mapping[str, Plain]
    names: Mapping[str, str]
    text: str
    stack: tuple[str, ...]
    stack_lines: Lines = ()
    user_stack: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> Plain:
        return self.values[name]


def typed_event(event: Event, byteorder: ByteOrder) -> TypedEvent:
    """An event of the trace as plain values."""
    origin = event.origin
    return TypedEvent(
        event.name,
        origin.time_ns,
        origin.cpu,
        decoded(origin.task),
        origin.pid,
        event.place,
        {value.field.name: typed_value(value, byteorder) for value in event.values},
        {value.field.name: name for value in event.values if (name := _name(value))},
        "" if event.place else decoded(event.text),
        event.stack,
        event.lines,
        tuple(decoded(frame.encode(errors="surrogateescape")) for frame in event.user_stack),
    )


def typed_value(value: Value, byteorder: ByteOrder) -> Plain:
    """A field's value: a number, a string, None where nothing was read, or a list of these."""
    content, field = value.content, value.field
    if not isinstance(content, tuple):
        return _content(field, content, byteorder)
    if field.prefix is not None:
        return show_numbers(field.prefix, [int(each) for each in content if isinstance(each, int)], byteorder)
    return [_content(field, each, byteorder) for each in content]


def _content(field: Field, content: Content, byteorder: ByteOrder) -> Plain:
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
