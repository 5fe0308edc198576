"""Records as lines of text: the kernel's columns, the values as a person writes them."""

from collections.abc import Callable

from surftrace.compiler.resolved import Field
from surftrace.compiler.values import ByteOrder, show_number
from surftrace.output.color import Paint, Role
from surftrace.output.escape import escape
from surftrace.tracing.events import Event, Lost, Origin, Record, Stack, Unparsed, Value


def make_formatter(byteorder: ByteOrder, paint: Paint) -> Callable[[Record], str]:
    """The function from a record to its text, without the last line's end."""

    def format_record(record: Record) -> str:
        match record:
            case Event():
                return _event(record, byteorder, paint)
            case Stack():
                return "\n".join(f" => {paint(Role.PLACE, escape(frame))}" for frame in record.frames)
            case Lost(cpu, count):
                return paint(Role.WARNING, f"CPU {cpu}: {count} events lost")
            case Unparsed(text):
                return escape(text.decode(errors="surrogateescape").rstrip("\n"))

    return format_record


def _event(event: Event, byteorder: ByteOrder, paint: Paint) -> str:
    head = _origin(event.origin, paint)
    if event.name:
        head += f"{paint(Role.EVENT, escape(event.name))}: "
    if not event.place:
        return head + escape(event.text.decode(errors="surrogateescape"))
    values = "".join(
        f" {paint(Role.NAME, value.field.name)}={_value(value, byteorder, paint)}" for value in event.values
    )
    return f"{head}({paint(Role.PLACE, escape(event.place))}){values}"


def _origin(origin: Origin, paint: Paint) -> str:
    task = escape(origin.task.decode(errors="surrogateescape"))
    return (
        f"{task:>16}-{origin.pid:<7} [{origin.cpu:03d}] {paint(Role.FAINT, origin.flags)} "
        f"{paint(Role.FAINT, f'{origin.timestamp:>12}')}: "
    )


def _value(value: Value, byteorder: ByteOrder, paint: Paint) -> str:
    if value.content is None:
        return paint(Role.WARNING, "(fault)")
    if isinstance(value.content, bytes):
        return paint(Role.STRING, f'"{escape(value.content.decode(errors="surrogateescape"), chr(34))}"')
    return show_field(value.field, value.content, byteorder)


def show_field(field: Field, number: int, byteorder: ByteOrder) -> str:
    """A field's number as its name and its format letter ask."""
    if field.prefix is not None:
        return show_number(field.prefix, number, byteorder)
    if field.bit_width is not None:
        sign = 1 << field.bit_width - 1
        return hex(number) if field.letter == "x" else str((number ^ sign) - sign)
    return hex(number) if field.fetch.type.startswith("x") else str(number)
