"""How a trace is written: as text for people, as the kernel's own text, as JSON Lines, as CSV."""

import time
from collections.abc import Callable
from datetime import datetime

from surftrace import __version__
from surftrace.api import Probes, Trace
from surftrace.cli.options import Options
from surftrace.compiler.plan import Plan
from surftrace.output.color import Paint, Role
from surftrace.output.text import FormatTime, layout_of, make_formatter
from surftrace.record import record
from surftrace.tracing.events import Record
from surftrace.tracing.notices import Notice

_TIME_WIDTHS = {"boot": 12, "wall": len("2026-01-31T12:34:56.123456"), "delta": 12}


@record
class Writer:
    """What comes first; a record's lines, empty for one that is not written; those of a notice; what comes last."""

    head: str
    format_record: Callable[[Record], str]
    format_notice: Callable[[Notice], str]
    format_end: Callable[[Trace, int], str]


def make_writer(options: Options, probes: Probes, trace: Trace, paint: Paint) -> Writer:
    """The writer that the options ask for."""
    plan = trace.plan
    if options.is_json:
        return _json(plan)
    if options.is_csv:
        return _csv(plan)
    layout = layout_of(plan, _time_format(options.time_format, trace), _TIME_WIDTHS[options.time_format])
    head = "".join(f"{line}\n" for line in probes.commands(plan))
    if not options.is_raw:
        head += f"{paint(Role.FAINT, layout.head)}\n"
    format_record = make_formatter(plan.byteorder, paint, layout)
    return Writer(head, lambda record: f"{format_record(record)}\n", _no_notice, _no_end)


def _json(plan: Plan) -> Writer:
    from surftrace.output.jsonl import Json, make_json_formatter, notice_json, to_json  # most traces are text

    events: list[Json] = [event.shown_name for event in plan.events]
    start: dict[str, Json] = {"type": "start", "schema": 1, "surftrace": __version__, "events": events}
    format_record = make_json_formatter(plan.byteorder)

    def format_end(trace: Trace, count: int) -> str:
        end: dict[str, Json] = {
            "type": "end",
            "events": count,
            "lost": [{"cpu": cpu, "count": lost} for cpu, lost in trace.losses.events],
            "missed": [{"event": event, "count": missed} for event, missed in trace.losses.hits],
            "unread": trace.losses.unread,
            "pauses": trace.pauses,
            "paused_ns": round(trace.paused_s * 1e9),
        }
        return f"{to_json(end)}\n"

    return Writer(
        f"{to_json(start)}\n",
        lambda record: f"{format_record(record)}\n",
        lambda notice: f"{to_json(notice_json(notice.message))}\n",
        format_end,
    )


def _csv(plan: Plan) -> Writer:
    from surftrace.output.table import make_csv

    head, format_record = make_csv(plan, plan.byteorder)

    def line(record: Record) -> str:
        text = format_record(record)
        return "" if text is None else f"{text}\r\n"

    return Writer(f"{head}\r\n", line, _no_notice, _no_end)


def _no_notice(_notice: Notice) -> str:
    return ""


def _no_end(_trace: Trace, _count: int) -> str:
    return ""


def _time_format(name: str, trace: Trace) -> FormatTime:
    """From a time as the kernel prints it to one as it was asked for."""
    if name == "wall":
        # The clocks are read once: an adjustment of the wall clock meanwhile would move events against each other.
        boot_s = time.time() - trace.clock_s()
        return lambda text: datetime.fromtimestamp(boot_s + float(text)).isoformat(timespec="microseconds")
    if name == "delta":
        last: list[float] = []

        def since_last(text: str) -> str:
            now = float(text)
            since = now - (last[0] if last else now)
            last[:] = [now]
            return f"{since:+.6f}"

        return since_last
    return str
