"""Text of `trace_pipe` in, records out. The plan says which fields an event prints: nothing is guessed."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from surftrace.compiler.plan import Plan, TracedEvent
from surftrace.compiler.resolved import Field
from surftrace.lang.syntax import Kind
from surftrace.tracing.events import Event, Lost, Origin, Record, Stack, Unparsed, Value

# Linux kernel/trace/trace_output.c, trace_print_context: the task's name takes 16 columns and may hold anything.
_ORIGIN = rb"(?s:(?P<task>.{16}))-(?P<pid>\d+) +\[(?P<cpu>\d+)\] (?P<flags>\S{4,5}) +(?P<timestamp>\d+\.\d+): "
# Linux kernel/trace/trace_output.c, trace_print_lost_events (`tracing_read_pipe`).
_LOST = rb"CPU:(?P<lost_cpu>\d+) \[LOST (?P<lost>\d+) EVENTS\]\n"
_RECORD = re.compile(rb"^(?:" + _ORIGIN + rb"|" + _LOST + rb")", re.MULTILINE)
_STACK = re.compile(rb"<stack trace ?>\n")

_FAULT = rb"\(fault\)"


@dataclass(frozen=True, slots=True)
class _Pattern:
    """How one event's text is read. `shy` and `greedy` differ where a string's content looks like what follows it."""

    event: TracedEvent
    shy: re.Pattern[bytes]
    greedy: re.Pattern[bytes]


def make_decoder(plan: Plan) -> Callable[[bytes], Iterator[Record]]:
    """The decoder of a plan's trace: from whole lines of `trace_pipe` to records, in their order."""
    patterns = {event.name.encode(): _pattern(event) for event in plan.events if event.kind is not Kind.EVENT}
    return partial(_decode, patterns)


def _pattern(event: TracedEvent) -> _Pattern:
    shy, greedy = (
        re.compile(
            rb"\((?P<place>[^()]*)\)" + b"".join(_field_pattern(field, repeat) for field in event.fields),
            re.DOTALL,
        )
        for repeat in (rb".*?", rb".*")
    )
    return _Pattern(event, shy, greedy)


def _field_pattern(field: Field, repeat: bytes) -> bytes:
    name = re.escape(field.name.encode())
    if field.is_string:
        return rb" " + name + rb'=(?:"(' + repeat + rb')"|' + _FAULT + rb")"
    return rb" " + name + rb"=(?:(-?\d+|0x[0-9a-f]+)|" + _FAULT + rb")"


def _decode(patterns: Mapping[bytes, _Pattern], text: bytes) -> Iterator[Record]:
    heads = list(_RECORD.finditer(text))
    if not heads or heads[0].start():
        yield Unparsed(text[: heads[0].start()] if heads else text)
    ends = [head.start() for head in heads[1:]] + [len(text)]
    for head, end in zip(heads, ends, strict=True):
        yield _record(patterns, head, text[head.end() : end].removesuffix(b"\n"))


def _record(patterns: Mapping[bytes, _Pattern], head: re.Match[bytes], body: bytes) -> Record:
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
        lines = body[stack.end() :].decode(errors="replace").splitlines()
        return Stack(origin, tuple(line.strip().removeprefix("=> ") for line in lines))
    name, _, text = body.partition(b": ")
    pattern = patterns.get(name)
    if pattern is None:
        return Event(origin, name.decode(errors="replace"), "", (), text)
    return _event(pattern, origin, text)


def _event(pattern: _Pattern, origin: Origin, text: bytes) -> Event:
    name = pattern.event.name
    shy, greedy = pattern.shy.fullmatch(text), pattern.greedy.fullmatch(text)
    if shy is None or greedy is None or shy.regs != greedy.regs:
        return Event(origin, name, "", (), text)
    contents = shy.groups()[1:]
    values = tuple(
        Value(field, content if content is None or field.is_string else int(content, 0))
        for field, content in zip(pattern.event.fields, contents, strict=True)
    )
    return Event(origin, name, shy["place"].decode(errors="replace"), values, text)
