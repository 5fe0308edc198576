"""`Resolved` in, `Plan` out: the writes to tracefs, each with its undo and the way back to the user's text."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from surftrace.compiler.fetch import render_fetch
from surftrace.compiler.resolved import AllOf, AnyOf, Condition, Field, NoneOf, Resolved, ResolvedProbe, Test
from surftrace.compiler.values import ByteOrder
from surftrace.lang.source import CompileError, Diagnostic, Source, Span
from surftrace.lang.syntax import Kind

KPROBE_EVENTS = "kprobe_events"

# Linux kernel/trace/trace.c: trace_parse_run_command takes WRITE_BUFSIZE (4096) with the line's end and terminator;
# a filter goes into one page.
MAX_COMMAND = 4094


@dataclass(frozen=True, slots=True)
class Mark:
    """The columns of a step's text that came from that part of the user's."""

    start: int
    end: int
    source: Source
    span: Span


@dataclass(frozen=True, slots=True)
class Step:
    """A line written to a file below the tracefs root. `undo` is the write that takes it back."""

    path: str
    text: str
    is_append: bool = False
    undo: "Step | None" = None
    marks: tuple[Mark, ...] = ()


@dataclass(frozen=True, slots=True)
class TracedEvent:
    """An event that the plan enables, as the trace names it, with the fields it prints in this order.

    `fields` is empty for the kernel's own events, whose text is theirs.
    """

    system: str
    name: str
    kind: Kind
    fields: tuple[Field, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """All that is done to the kernel: make the instance, then write each step. Undo in reverse; remove the instance."""

    instance: str
    steps: tuple[Step, ...]
    events: tuple[TracedEvent, ...]
    byteorder: ByteOrder
    has_stacks: bool

    @property
    def instance_path(self) -> str:
        """The instance's folder below the tracefs root."""
        return f"instances/{self.instance}"


def build_plan(resolved: Resolved, instance: str, byteorder: ByteOrder, has_stacks: bool = False) -> Plan:
    """The plan for a tracefs instance of that name, which is also the group of its probes.

    Raises CompileError where a command is longer than the kernel takes.
    """
    folder = f"instances/{instance}"
    events = tuple(_events(resolved.probes, instance))
    steps: list[Step] = []
    for probe, event in zip(resolved.probes, events, strict=True):
        event_folder = f"{folder}/events/{event.system}/{event.name}"
        if probe.kind is not Kind.EVENT:
            steps.append(_definition(probe, event))
        if probe.condition is not None:
            steps.append(_filter(probe, probe.condition, event_folder))
        steps.append(Step(f"{event_folder}/enable", "1", undo=Step(f"{event_folder}/enable", "0")))
    steps.append(Step(f"{folder}/options/stacktrace", str(int(has_stacks))))
    steps.append(Step(f"{folder}/tracing_on", "1"))
    return Plan(instance, tuple(steps), events, byteorder, has_stacks)


def _events(probes: Sequence[ResolvedProbe], group: str) -> Iterator[TracedEvent]:
    for number, probe in enumerate(probes):
        if probe.kind is Kind.EVENT:
            system, _, name = probe.place.partition("/")
            yield TracedEvent(system, name, probe.kind, ())
        else:
            yield TracedEvent(group, f"f{number}", probe.kind, probe.fields)


class _Line:
    """A command as it grows, with the marks of its parts."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.text = ""
        self.marks: list[Mark] = []

    def add(self, text: str, span: Span | None = None) -> None:
        if span is not None:
            self.marks.append(Mark(len(self.text), len(self.text) + len(text), self.source, span))
        self.text += text

    def check_length(self, what: str, span: Span) -> None:
        if (length := len(self.text.encode(errors="surrogateescape"))) > MAX_COMMAND:
            message = f"this makes a {what} of {length} bytes: the kernel takes {MAX_COMMAND}"
            raise CompileError([Diagnostic(self.source, span, message)])


def _definition(probe: ResolvedProbe, event: TracedEvent) -> Step:
    line = _Line(probe.source)
    line.add(f"{probe.kind.value}:{event.system}/{event.name} ")
    line.add(probe.place, probe.span)
    for field in probe.fields:
        line.add(" ")
        line.add(f"{field.name}={render_fetch(field.fetch)}", field.span)
    line.check_length("probe definition", probe.span)
    undo = Step(KPROBE_EVENTS, f"-:{event.system}/{event.name}", is_append=True)
    return Step(KPROBE_EVENTS, line.text, is_append=True, undo=undo, marks=tuple(line.marks))


def _filter(probe: ResolvedProbe, condition: Condition, event_folder: str) -> Step:
    line = _Line(probe.source)
    _add_condition(line, condition)
    line.check_length("filter", probe.filter_span or probe.span)
    return Step(f"{event_folder}/filter", line.text, marks=tuple(line.marks))


def _add_condition(line: _Line, condition: Condition) -> None:
    match condition:
        case Test():
            line.add(f"{condition.field}{condition.operator.value}{_constant(condition)}", condition.span)
        case NoneOf():
            line.add("!(")
            _add_condition(line, condition.operand)
            line.add(")")
        case AllOf() | AnyOf():
            operator = "&&" if isinstance(condition, AllOf) else "||"
            for number, operand in enumerate(condition.operands):
                line.add(operator if number else "")
                is_nested = isinstance(operand, (AllOf, AnyOf))
                line.add("(" if is_nested else "")
                _add_condition(line, operand)
                line.add(")" if is_nested else "")


def _constant(test: Test) -> str:
    if isinstance(test.constant, int):
        return hex(test.constant) if test.is_hexadecimal and test.constant >= 0 else str(test.constant)
    quote = "'" if '"' in test.constant else '"'
    return f"{quote}{test.constant}{quote}"
