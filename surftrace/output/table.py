"""Events as CSV (RFC 4180): a column for each value that a probe of the trace has, a line for each event."""

import csv
import io
from collections.abc import Callable, Iterable

from surftrace.compiler.plan import Plan
from surftrace.compiler.values import ByteOrder
from surftrace.output.color import plain
from surftrace.output.escape import escape
from surftrace.output.text import show_value
from surftrace.tracing.events import Event, Record, Value

_COLUMNS = ("time_s", "cpu", "task", "pid", "event", "place")


def make_csv(plan: Plan, byteorder: ByteOrder) -> tuple[str, Callable[[Record], str | None]]:
    """The line of the columns' names, and the function from a record to its line: None for what is no event.

    Probes that have a value of one name share its column, which is empty where an event has none; one that is called as
    a column of all events is, has `value.` before it. Control characters are escaped: an event is one line of text.
    """
    fields = [field.name for event in plan.events for field in event.fields if not field.is_hidden]
    columns = {name: f"value.{name}" if name in (*_COLUMNS, "text", "stack", "user_stack") else name for name in fields}
    stacks = [*(["stack"] if plan.has_stacks else []), *(["user_stack"] if plan.has_user_stacks else [])]

    def format_record(record: Record) -> str | None:
        if not isinstance(record, Event):
            return None
        origin = record.origin
        values = {value.field.name: _cell(value, byteorder) for value in record.values}
        return _line(
            [
                *(
                    origin.timestamp,
                    origin.cpu,
                    _text(origin.task),
                    origin.pid,
                    escape(record.name),
                    escape(record.place),
                ),
                *(values.get(name, "") for name in columns),
                "" if record.place else _text(record.text),
                *(";".join(map(escape, record.stack if name == "stack" else record.user_stack)) for name in stacks),
            ]
        )

    return _line([*_COLUMNS, *columns.values(), "text", *stacks]), format_record


def _cell(value: Value, byteorder: ByteOrder) -> str:
    """A string as it is, all else as in the text."""
    return _text(value.content) if isinstance(value.content, bytes) else show_value(value, byteorder, plain)


def _text(text: bytes) -> str:
    return escape(text.decode(errors="surrogateescape"))


def _line(cells: Iterable[object]) -> str:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="").writerow(cells)
    return stream.getvalue()
