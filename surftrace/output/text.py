"""Records as lines of text: the kernel's columns, the values as a person writes them."""

from collections.abc import Callable, Sequence

from surftrace.compiler.resolved import Field
from surftrace.compiler.values import ByteOrder, show_numbers
from surftrace.output.color import Paint, Role
from surftrace.output.escape import escape
from surftrace.output.numbers import show_field
from surftrace.tracing.events import Content, Event, Lost, Origin, Record, Stack, Unparsed, Value

# The line above the events: Linux kernel/trace/trace_output.c, trace_print_context.
COLUMNS = f"#{'TASK':>15}-{'PID':<7} {'[CPU]':<5} {'FLAGS':<5} {'TIME':>12}: EVENT: (PLACE) NAME=VALUE ..."


def make_formatter(
    byteorder: ByteOrder, paint: Paint, format_time: Callable[[str], str] = str
) -> Callable[[Record], str]:
    """The function from a record to its text, without the last line's end. `format_time` is given the kernel's text."""

    def format_record(record: Record) -> str:
        match record:
            case Event():
                return "\n".join([_event(record, byteorder, paint, format_time), *_frames(record.stack, paint)])
            case Stack(_, frames):
                return "\n".join(_frames(frames, paint))
            case Lost(cpu, count):
                return paint(Role.WARNING, f"CPU {cpu}: {count} events lost")
            case Unparsed(text):
                return escape(text.decode(errors="surrogateescape").rstrip("\n"))

    return format_record


def _frames(frames: Sequence[str], paint: Paint) -> list[str]:
    return [f" => {paint(Role.PLACE, escape(frame))}" for frame in frames]


def _event(event: Event, byteorder: ByteOrder, paint: Paint, format_time: Callable[[str], str]) -> str:
    head = _origin(event.origin, paint, format_time)
    if event.name:
        head += f"{paint(Role.EVENT, escape(event.name))}: "
    if not event.place:
        return head + escape(event.text.decode(errors="surrogateescape"))
    values = "".join(
        f" {paint(Role.NAME, value.field.name)}={show_value(value, byteorder, paint)}" for value in event.values
    )
    return f"{head}({paint(Role.PLACE, escape(event.place))}){values}"


def _origin(origin: Origin, paint: Paint, format_time: Callable[[str], str]) -> str:
    task = escape(origin.task.decode(errors="surrogateescape"))
    return (
        f"{task:>16}-{origin.pid:<7} [{origin.cpu:03d}] {paint(Role.FAINT, f'{origin.flags:<5}')} "
        f"{paint(Role.FAINT, f'{format_time(origin.timestamp):>12}')}: "
    )


def show_value(value: Value, byteorder: ByteOrder, paint: Paint) -> str:
    """A value as text: names for numbers, strings between quotes, arrays between braces."""
    content, field = value.content, value.field
    if not isinstance(content, tuple):
        return _content(field, content, byteorder, paint)
    if field.prefix is not None:
        return show_numbers(field.prefix, [int(each) for each in content if isinstance(each, int)], byteorder)
    return "{" + ",".join(_content(field, each, byteorder, paint) for each in content) + "}"


def _content(field: Field, content: Content, byteorder: ByteOrder, paint: Paint) -> str:
    if content is None:
        return paint(Role.WARNING, "<fault>")
    if isinstance(content, int):
        return show_field(field, content, byteorder)
    text = content.decode(errors="surrogateescape")
    if field.fetch.type.startswith("symbol"):
        return paint(Role.PLACE, escape(text))
    return paint(Role.STRING, f'"{escape(text, chr(34))}"')
