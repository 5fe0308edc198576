"""Durations to people and programs: a histogram with bars, the calls that took long; as text, or as JSON."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from surftrace.compiler.values import ByteOrder
from surftrace.output.color import Paint, Role
from surftrace.output.escape import escape
from surftrace.output.histogram import Bucket, bar_lines, buckets_of, raw_lines
from surftrace.output.jsonl import Json, make_json_formatter, to_json
from surftrace.output.text import Layout, make_formatter, show_value
from surftrace.output.typed import decoded, typed_event, typed_value
from surftrace.tracing.events import Event, Record
from surftrace.tracing.histogram import Range
from surftrace.tracing.latency import Account, Durations, SlowCall

_UNITS = ((10**9, "s"), (10**6, "ms"), (10**3, "us"), (1, "ns"))


def show_duration(duration_ns: int) -> str:
    """A duration with three digits or more: `850 ns`, `3.73 us`, `52.8 ms`, `1234 s`."""
    size, unit = next((each for each in _UNITS if duration_ns >= each[0]), _UNITS[-1])
    if size == 1:
        return f"{duration_ns} ns"
    number = duration_ns / size
    digits = 2 if number < 10 else 1 if number < 100 else 0
    return f"{number:.{digits}f} {unit}"


def _between(limits: tuple[int, int]) -> str:
    low, high = map(show_duration, limits)
    return low if low == high else f"{low} to {high}"


def duration_lines(
    durations: Sequence[Durations], function: str, byteorder: ByteOrder, paint: Paint, undecoded: bytes = b""
) -> Iterator[str]:
    """The lines of all groups: how many calls, their times, a line with a bar for each power of two.

    `undecoded`: the kernel's text where it may mean several things.
    """
    yield from raw_lines(function, undecoded, paint)
    if not durations and not undecoded:
        yield f"{paint(Role.EVENT, escape(function))}: no calls"
    for number, each in enumerate(durations):
        if number:
            yield ""
        name = paint(Role.EVENT, escape(function))
        if each.group is not None:
            shown = show_value(each.group, byteorder, paint)
            name += f" {paint(Role.NAME, each.group.field.name.removeprefix('common_'))}={shown}"
        if not each.calls:
            yield f"{name}: no calls"
            continue
        calls = "1 call" if each.calls == 1 else f"{each.calls} calls"
        times = f"average {show_duration(each.sum_ns // each.calls)}, all {show_duration(each.sum_ns)}"
        limits = f"shortest {_between(each.shortest_ns)}, longest {_between(each.longest_ns)}"
        yield f"{name}: {calls}, {times}, {limits}"
        yield from bar_lines(_drawn(each), paint, show_duration)


def _drawn(durations: Durations) -> list[Bucket]:
    return buckets_of((Range(bucket.low_ns, bucket.high_ns), bucket.calls) for bucket in durations.buckets)


def duration_json(durations: Durations, byteorder: ByteOrder) -> dict[str, Json]:
    """The durations of one group as a JSON object. Limits are pairs: one number twice where it is known."""
    shown: dict[str, Json] = {"type": "durations"}
    if durations.group is not None:
        name = durations.group.field.name.removeprefix("common_")
        shown["group"] = {name: typed_value(durations.group, byteorder)}
    shown |= {"calls": durations.calls, "sum_ns": durations.sum_ns}
    if durations.calls:
        shown |= {"shortest_ns": list(durations.shortest_ns), "longest_ns": list(durations.longest_ns)}
    shown["buckets"] = [
        {"low_ns": each.low_ns, "high_ns": each.high_ns, "calls": each.calls, "sum_ns": each.sum_ns}
        for each in durations.buckets
    ]
    return shown


def account_json(account: Account) -> dict[str, Json]:
    """What became of all calls that had begun, as the last JSON object."""
    return {
        "type": "end",
        "calls": account.ended,
        "dropped": account.dropped,
        "missed": account.missed,
        "unfinished": account.unfinished,
        "lost": [{"cpu": cpu, "count": count} for cpu, count in account.lost],
        "unread": account.unread,
        "undecoded": decoded(account.undecoded),
    }


def call_head(function: str) -> str:
    """The line above slow calls."""
    return _layout(function).head.replace("(PLACE)", "(DURATION)")


def _layout(function: str) -> Layout:
    return Layout(len(function) + 1)


def make_call_formatter(function: str, byteorder: ByteOrder, paint: Paint) -> Callable[[SlowCall | Record], str]:
    """The function from a slow call, or what else there is in the trace, to its line."""
    format_record = make_formatter(byteorder, paint, _layout(function))

    def format_call(call: SlowCall | Record) -> str:
        if not isinstance(call, SlowCall):
            return format_record(call)
        return format_record(replace(call.event, place=show_duration(call.duration_ns)))

    return format_call


def make_call_json_formatter(byteorder: ByteOrder) -> Callable[[SlowCall | Record], str]:
    """The function from a slow call, or what else there is in the trace, to a line of JSON."""
    format_record = make_json_formatter(byteorder)

    def format_call(call: SlowCall | Record) -> str:
        if isinstance(call, Event):
            return to_json({"type": "text", "text": f"{call.name}: {decoded(call.text)}"})
        if not isinstance(call, SlowCall):
            return format_record(call)
        event = typed_event(call.event, byteorder)
        shown: dict[str, Json] = {
            "type": "call",
            "time_ns": event.time_ns,
            "cpu": event.cpu,
            "task": event.task,
            "pid": event.pid,
            "function": event.name,
            "duration_ns": call.duration_ns,
            "values": dict(event.values),
        }
        if event.names:
            shown["names"] = dict(event.names)
        return to_json(shown)

    return format_call
