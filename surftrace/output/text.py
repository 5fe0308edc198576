"""Records as lines of text: aligned columns, the values as a person writes them."""

from collections.abc import Callable, Sequence
from itertools import repeat

from surftrace.compiler.plan import Plan
from surftrace.compiler.resolved import Field
from surftrace.compiler.values import ByteOrder, show_numbers
from surftrace.output.color import Paint, Role
from surftrace.output.escape import escape
from surftrace.output.numbers import show_field
from surftrace.record import record
from surftrace.tracing.events import Content, Event, Lines, Lost, Origin, Record, Stack, Unparsed, Value

FormatTime = Callable[[str], str]
# A longer name moves what comes after it in its own line alone.
_MAX_NAME_WIDTH = 24


@record
class Layout:
    """The columns of events. `format_time` makes a time of the kernel's text, of `time_width` characters at most."""

    name_width: int = 0
    time_width: int = 12
    format_time: FormatTime = str

    @property
    def head(self) -> str:
        """The line above the events."""
        place = f"#{'TIME':>{self.time_width - 1}} {'[CPU]':<5} {'FLAGS':<5} {'TASK':>16}-{'PID':<7}"
        return f"{place} {'EVENT:':<{self.name_width}} (PLACE) NAME=VALUE ..."


def layout_of(plan: Plan, format_time: FormatTime = str, time_width: int = 12) -> Layout:
    """The columns for the events of a plan: what comes after their names is aligned, if none is very long."""
    widths = [len(event.name) + 1 for event in plan.events]
    return Layout(max((width for width in widths if width <= _MAX_NAME_WIDTH), default=0), time_width, format_time)


def make_formatter(byteorder: ByteOrder, paint: Paint, layout: Layout) -> Callable[[Record], str]:
    """The function from a record to its text, without the last line's end."""

    def format_record(each: Record) -> str:
        match each:
            case Event():
                stacks = (*frame_lines(each.stack, each.lines, paint), *frame_lines(each.user_stack, (), paint))
                return "\n".join([_event(each, byteorder, paint, layout), *stacks])
            case Stack(_, frames, _):
                return "\n".join(frame_lines(frames, (), paint))
            case Lost(cpu, count):
                return paint(Role.WARNING, f"CPU {cpu}: {count} events lost")
            case Unparsed(text):
                return escape(text.decode(errors="surrogateescape").rstrip("\n"))

    return format_record


def frame_lines(frames: Sequence[str], lines: Lines, paint: Paint) -> list[str]:
    """A line for each frame, with its line of source where there are `lines`; before it those of what is inlined."""
    shown = []
    for frame, places in zip(frames, lines or repeat(()), strict=False):
        for place in places:
            name = f"{place.function} (inlined)" if place.is_inlined else frame
            shown.append(f" => {paint(Role.PLACE, escape(name))} {paint(Role.FAINT, escape(f'at {place}'))}")
        if not places or places[-1].is_inlined:
            shown.append(f" => {paint(Role.PLACE, escape(frame))}")
    return shown


def _event(event: Event, byteorder: ByteOrder, paint: Paint, layout: Layout) -> str:
    head = _origin(event.origin, paint, layout)
    if event.name:
        name = escape(event.name)
        head += f"{paint(Role.EVENT, name)}:{' ' * (layout.name_width - len(name) - 1)} "
    if not event.place:
        return head + escape(event.text.decode(errors="surrogateescape"))
    values = "".join(
        f" {paint(Role.NAME, value.field.name)}={show_value(value, byteorder, paint)}" for value in event.values
    )
    return f"{head}({paint(Role.PLACE, escape(event.place))}){values}"


def _origin(origin: Origin, paint: Paint, layout: Layout) -> str:
    task = escape(origin.task.decode(errors="surrogateescape"))
    time = f"{layout.format_time(origin.timestamp):>{layout.time_width}}"
    return (
        f"{paint(Role.FAINT, time)} [{origin.cpu:03d}] {paint(Role.FAINT, f'{origin.flags:<5}')} "
        f"{task:>16}-{origin.pid:<7} "
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
