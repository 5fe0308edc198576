"""`Resolved` in, `Plan` out: the writes to tracefs, each with its undo and the way back to the user's text."""

from dataclasses import replace

from surftrace.compiler.fetch import render_fetch
from surftrace.compiler.resolved import AllOf, AnyOf, Condition, Field, NoneOf, Resolved, ResolvedProbe, Test
from surftrace.compiler.values import ByteOrder
from surftrace.lang.source import CompileError, Diagnostic, Source, Span
from surftrace.lang.syntax import Kind
from surftrace.record import record

KPROBE_EVENTS = "kprobe_events"
UPROBE_EVENTS = "uprobe_events"
DYNAMIC_EVENTS = "dynamic_events"
SYNTHETIC_EVENTS = "synthetic_events"
# The group of all synthetic events, whichever instance they are of: Linux kernel/trace/trace_synth.h, SYNTH_SYSTEM.
SYNTHETIC = "synthetic"

# Where each kind of probe is defined: the older file where one takes it, which every kernel has.
_DEFINITION_FILES = {
    Kind.ENTRY: KPROBE_EVENTS,
    Kind.RETURN: KPROBE_EVENTS,
    Kind.EVENT: DYNAMIC_EVENTS,
    Kind.USER_ENTRY: UPROBE_EVENTS,
    Kind.USER_RETURN: UPROBE_EVENTS,
}

# Record them, and name the files that their addresses are in. Linux Documentation/trace/ftrace.rst, trace_options.
_USER_STACKS = ("userstacktrace", "sym-userobj")

# Linux kernel/trace/trace.c: trace_parse_run_command takes WRITE_BUFSIZE (4096) with the line's end and terminator;
# a filter goes into one page.
MAX_COMMAND = 4094


@record
class Mark:
    """The columns of a step's text that came from that part of the user's."""

    start: int
    end: int
    source: Source
    span: Span


@record
class Step:
    """A line written to a file below the tracefs root. `undo` is the write that takes it back.

    `event` names the event of ours that it is about. `is_optional`: the kernel may refuse it, and then all else about
    that event is left out.
    """

    path: str
    text: str
    is_append: bool = False
    undo: "Step | None" = None
    marks: tuple[Mark, ...] = ()
    event: str = ""
    is_optional: bool = False


@record
class TracedEvent:
    """An event that the plan enables, as the trace names it, with the fields it prints in this order.

    `fields` is empty for the kernel's own events, whose text is theirs (`is_ours` is false). `module` is the kernel's
    module that a probe is in, if any.
    """

    system: str
    name: str
    fields: tuple[Field, ...]
    is_ours: bool
    module: str = ""

    @property
    def shown_name(self) -> str:
        """What people know it by: the name of a probe of ours, or system/name."""
        return self.name if self.is_ours else f"{self.system}/{self.name}"


@record
class Buffer:
    """The instance's ring buffer: its size for each CPU, and whether new events overwrite old ones.

    None is what the kernel has of itself.
    """

    size_kb: int | None = None
    is_overwriting: bool | None = None


DEFAULT_BUFFER = Buffer()


@record
class Plan:
    """All that is done to the kernel: make the instance, then write each step. Undo in reverse; remove the instance."""

    instance: str
    steps: tuple[Step, ...]
    events: tuple[TracedEvent, ...]
    byteorder: ByteOrder
    has_stacks: bool
    has_user_stacks: bool = False

    @property
    def records_per_event(self) -> int:
        """How many records the kernel makes of an event: itself, and the stacks that were asked for."""
        return 1 + self.has_stacks + self.has_user_stacks

    @property
    def instance_path(self) -> str:
        """The instance's folder below the tracefs root."""
        return f"instances/{self.instance}"

    @property
    def enables(self) -> tuple[Step, ...]:
        """The steps that switch the events on."""
        return tuple(step for step in self.steps if step.path.endswith("/enable"))


def build_plan(
    resolved: Resolved,
    instance: str,
    byteorder: ByteOrder,
    has_stacks: bool = False,
    buffer: Buffer = DEFAULT_BUFFER,
    has_user_stacks: bool = False,
) -> Plan:
    """The plan for a tracefs instance of that name, which is also the group of its probes.

    Raises CompileError where a command is longer than the kernel takes.
    """
    folder = f"instances/{instance}"
    events = tuple(traced_event(probe, instance) for probe in resolved.probes)
    # Many probes are switched on together: one by one would take seconds.
    is_enabled_as_group = any(probe.is_one_of_many for probe in resolved.probes)
    steps: list[Step] = []
    if buffer.size_kb is not None:
        steps.append(Step(f"{folder}/buffer_size_kb", str(buffer.size_kb)))
    if buffer.is_overwriting is not None:
        steps.append(Step(f"{folder}/options/overwrite", str(int(buffer.is_overwriting))))
    for probe, event in zip(resolved.probes, events, strict=True):
        event_folder = f"{folder}/events/{event.system}/{event.name}"
        own_name = event.name if event.is_ours else ""
        if event.is_ours:
            steps.append(definition(probe, event))
        if probe.condition is not None:
            steps.append(conditional(probe, probe.condition, Step(f"{event_folder}/filter", "", event=own_name)))
        if not (event.is_ours and is_enabled_as_group):
            steps.append(_enable(event_folder, own_name))
    if is_enabled_as_group:
        steps.append(_enable(f"{folder}/events/{instance}", ""))
    steps.append(Step(f"{folder}/options/stacktrace", str(int(has_stacks))))
    options = (*(("sym-offset",) if has_stacks else ()), *(_USER_STACKS if has_user_stacks else ()))
    steps.extend(Step(f"{folder}/options/{option}", "1") for option in options)
    steps.append(Step(f"{folder}/tracing_on", "1"))
    return Plan(instance, tuple(steps), events, byteorder, has_stacks, has_user_stacks)


def traced_event(probe: ResolvedProbe, group: str) -> TracedEvent:
    """The event of a probe: its own one, in that group, or the kernel's that it is put on as it is."""
    if probe.name:
        return TracedEvent(group, probe.name, probe.fields, True, probe.module)
    system, _, name = probe.place.partition("/")
    return TracedEvent(system, name, (), False)


def synthetic_name(instance: str) -> str:
    """The name of an instance's own synthetic event."""
    return f"{instance}_latency"


def _enable(folder: str, event: str) -> Step:
    return Step(f"{folder}/enable", "1", undo=Step(f"{folder}/enable", "0"), event=event)


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


def definition(probe: ResolvedProbe, event: TracedEvent) -> Step:
    """The probe's definition under the event's name. CompileError where it is longer than the kernel takes."""
    line = _Line(probe.source)
    line.add(f"{probe.kind.value.lower()}:{event.system}/{event.name} ")
    line.add(probe.place, probe.span)
    for field in probe.fields:
        line.add(" ")
        line.add(f"{field.name}={render_fetch(field.fetch)}", field.span)
    line.check_length("probe definition", probe.span)
    path = _DEFINITION_FILES[probe.kind]
    undo = Step(path, f"-:{event.system}/{event.name}", is_append=True)
    marks = tuple(line.marks)
    return Step(path, line.text, True, undo, marks, event.name, is_optional=probe.is_one_of_many)


def conditional(probe: ResolvedProbe, condition: Condition, step: Step) -> Step:
    """The step with the probe's filter behind its text. CompileError where that is longer than the kernel takes."""
    line = _Line(probe.source)
    line.add(step.text)
    _add_condition(line, condition)
    line.check_length("filter", probe.filter_span)
    return replace(step, text=line.text, marks=tuple(line.marks))


def render_condition(condition: Condition) -> str:
    """A filter's text as the kernel takes it."""
    line = _Line(Source("", ""))
    _add_condition(line, condition)
    return line.text


def _add_condition(line: _Line, condition: Condition) -> None:
    match condition:
        case Test():
            field = f"{condition.field}.function" if condition.is_function else condition.field
            line.add(f"{field}{condition.operator.value}{_constant(condition)}", condition.span)
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
    if test.is_function:
        return f"{test.constant} "  # what follows without a space would be a part of the name
    quote = "'" if '"' in test.constant else '"'
    return f"{quote}{test.constant}{quote}"
