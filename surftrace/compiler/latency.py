"""How long a function's calls take: a resolved probe at its entry in, the `Plan` that has the kernel measure it out.

A probe at the entry and one at the return; a hist trigger keeps when each call began, another makes a synthetic event
of each call that ends, with its nanoseconds, and a third counts these by powers of two. With a threshold the slow ones
are recorded instead, with values of the entry. (Linux Documentation/trace/histogram.rst, "Inter-event hist triggers".)
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from surftrace.compiler.fetch import Fetch
from surftrace.compiler.guards import sentinel
from surftrace.compiler.plan import (
    MAX_COMMAND,
    SYNTHETIC,
    SYNTHETIC_EVENTS,
    Mark,
    Plan,
    Step,
    TracedEvent,
    conditional,
    definition,
    synthetic_name,
)
from surftrace.compiler.resolved import Field, ResolvedProbe
from surftrace.errors import SurftraceError
from surftrace.kernel.features import Feature, Features
from surftrace.kernel.machine import Machine
from surftrace.lang.source import CompileError, Diagnostic
from surftrace.lang.syntax import FunctionTarget, Kind
from surftrace.names import fresh_name
from surftrace.record import record

# Of each key a table has room for one row, and none goes before the trace ends.
CALLS = 1 << 14
_POWERS = 128
# Linux kernel/trace/trace_kprobe.c, KRETPROBE_MAXACTIVE_MAX: calls that run at once, sleeping ones too.
_MAX_ACTIVE = 4096
# Linux kernel/trace/tracing_map.h, TRACING_MAP_VARS_MAX. The return refers to the time of the entry, and to its own
# difference, besides the values.
MAX_KEPT = 16 - 2
# What a return has taken from the stack: x86 the address of where it goes to. Of other machines it is not known here
# what their kernels put into `$stack` at a return.
_TAKEN_BYTES = {"x86_64": 8, "aarch64": 0}
_THREAD = "common_pid"
# Linux kernel/trace/trace_probe.h: MAX_EVENT_NAME_LEN, with its terminator.
_MAX_NAME = 63
_NEEDED = ((Feature.HIST_TRIGGER, "CONFIG_HIST_TRIGGERS"), (Feature.SYNTHETIC_EVENT, "CONFIG_SYNTH_EVENTS"))
# Linux kernel/trace/trace_events_hist.c, parse_field: what is no field of the event by these names.
_OWN_NAMES = ("hitcount", "common_cpu", "common_stacktrace", "common_timestamp")


@record
class Keys:
    """By what the kernel finds the entry that belongs to a return. `fields` are what both probes fetch for it."""

    entry: str
    end: str
    entry_fields: tuple[Field, ...]
    end_fields: tuple[Field, ...]

    @property
    def is_exact(self) -> bool:
        """Does each call have a key of its own, also one within another of the same thread?"""
        return self.entry != _THREAD


@record
class LatencyPlan:
    """The plan, and how to read what comes of it. `event` is the synthetic event of a call that has ended.

    It has the nanoseconds in the field `duration`, then `numbers`, then `strings`, and between two strings the
    nanoseconds again, which tell where a string ends. `fields` are those that are shown, in the order of the probe.
    `group`: the field that calls are counted by besides. `task`: the string that holds the task's name, or empty.
    """

    plan: Plan
    function: str
    event: str
    entry: str
    end: str
    duration: str
    fields: tuple[Field, ...]
    numbers: tuple[Field, ...]
    strings: tuple[Field, ...]
    over_ns: int | None
    group: Field | None
    task: str
    has_exact_keys: bool

    def folder(self, event: str) -> str:
        """The folder of one of its events, below the tracefs root."""
        system = SYNTHETIC if event == self.event else self.plan.instance
        return f"{self.plan.instance_path}/events/{system}/{event}"


def build_latency_plan(
    probe: ResolvedProbe,
    instance: str,
    machine: Machine,
    features: Features,
    over_ns: int | None = None,
    group: str | None = None,
) -> LatencyPlan:
    """The plan for a probe at the entry of a function. `over_ns`: record the calls that take as long, or longer.

    `group` is the name of a value of the probe, `comm` or `pid`: durations are counted for each of its values.
    CompileError for a probe at anything else, for what the kernel cannot do, and for values that it cannot keep.
    """
    if len(synthetic_name(instance)) > _MAX_NAME:
        raise SurftraceError(
            f"an instance for latency has a name of at most {_MAX_NAME - len(synthetic_name(''))} characters"
        )
    _check(probe, features)
    shown = tuple(field for field in probe.fields if not field.is_hidden)
    grouped = _group(probe, shown, group)
    if grouped is not None and grouped.fetch.base == "$comm" and grouped not in shown:
        probe = replace(probe, fields=(grouped, *probe.fields))
    groups = (grouped,) if grouped is not None and grouped.name != _THREAD else ()
    kept = shown if over_ns is not None else groups
    numbers, strings = _kept(probe, kept, features)
    task = _task(probe, (*numbers, *strings), features) if over_ns is not None else None
    if task is not None and task not in strings:
        probe, strings = replace(probe, fields=(*probe.fields, task)), (task, *strings)
    probe = replace(probe, fields=_with_sentinels(probe.fields, strings))
    keys = _keys(probe, machine, features)
    probe = replace(probe, fields=(*probe.fields, *keys.entry_fields))
    taken = {field.name for field in probe.fields}
    made = _Maker(probe, instance, keys, numbers, strings, fresh_name("ns", taken))
    results = made.recorded(over_ns) if over_ns is not None else made.counted(grouped)
    steps = [*made.events(), *made.triggers(), *results]
    steps.append(Step(f"{made.folder}/options/stacktrace", "0"))
    steps.append(Step(f"{made.folder}/tracing_on", "1"))
    ended = TracedEvent(SYNTHETIC, made.event, (), False, probe.module)
    return LatencyPlan(
        Plan(instance, tuple(steps), (ended,), machine.byteorder, False),
        probe.place,
        made.event,
        made.entry,
        made.end,
        made.duration,
        kept,
        numbers,
        strings,
        over_ns,
        grouped,
        task.name if task is not None else "",
        keys.is_exact,
    )


def _check(probe: ResolvedProbe, features: Features) -> None:
    target = probe.probe.target
    if probe.kind is not Kind.ENTRY or not isinstance(target, FunctionTarget) or target.byte_offset:
        raise _error(probe, "latency is that of the calls of one kernel function", "name it: latency vfs_read")
    for feature, option in _NEEDED:
        if not features.has(feature):
            raise _error(probe, features.lacking(feature), f"such a kernel has them if it was built with {option}")
    if named := next((field for field in probe.fields if field.name in _OWN_NAMES), None):
        message = f"the kernel takes '{named.name}' for its own value: give this one another name"
        raise CompileError([Diagnostic(probe.source, named.span, message)])


def _error(probe: ResolvedProbe, message: str, *hints: str) -> CompileError:
    return CompileError([Diagnostic(probe.source, probe.span, message, hints)])


def _group(probe: ResolvedProbe, shown: Sequence[Field], name: str | None) -> Field | None:
    """The value that durations are counted by."""
    if name is None:
        return None
    if found := next((field for field in shown if field.name == name), None):
        return found
    if name == "pid":
        return Field(_THREAD, Fetch(_THREAD, (), "s32"), None, probe.span)
    if name == "comm":
        return Field(name, Fetch("$comm", (), ""), None, probe.span)
    names = ", ".join(dict.fromkeys(("pid", "comm", *(field.name for field in shown))))
    raise _error(probe, f"the probe has no value '{name}' to count by", f"there are {names}")


def _kept(
    probe: ResolvedProbe, shown: Sequence[Field], features: Features
) -> tuple[tuple[Field, ...], tuple[Field, ...]]:
    """The numbers and the strings that are kept from a call's begin to its end: with the pointers that guard them."""
    diagnostics = []
    for field in shown:
        message = ""
        if field.array_length is not None:
            message = f"'{field.name}' is an array: the kernel keeps no arrays while a call runs"
        elif field.is_string and not features.has(Feature.SYNTHETIC_STRING):
            message = features.lacking(Feature.SYNTHETIC_STRING)
        if message:
            hint = "leave it out, or use it in the filter alone"
            diagnostics.append(Diagnostic(probe.source, field.span, message, (hint,)))
    guards = {name for field in shown for name in field.guards}
    pointers = tuple(each for each in probe.fields if each.name in guards)
    numbers = (*(field for field in shown if not field.is_string), *pointers)
    strings = tuple(field for field in shown if field.is_string)
    if not diagnostics and len(numbers) + len(strings) > MAX_KEPT:
        what = f"{len(numbers) + len(strings)} values and pointers that they are read through"
        message = f"the kernel keeps {MAX_KEPT} numbers while a call runs, these are {what}"
        diagnostics.append(Diagnostic(probe.source, shown[-1].span, message, ("leave some out",)))
    if diagnostics:
        raise CompileError(diagnostics)
    return numbers, strings


def _task(probe: ResolvedProbe, kept: Sequence[Field], features: Features) -> Field | None:
    """The task's name: a trace that is read at once has none of tasks that the kernel has not switched from before."""
    if found := next((field for field in kept if field.fetch.base == "$comm"), None):
        return found
    if len(kept) >= MAX_KEPT or not features.has(Feature.SYNTHETIC_STRING):
        return None
    name = fresh_name("__comm", {field.name for field in probe.fields})
    return Field(name, Fetch("$comm", (), ""), None, probe.span, is_hidden=True)


def _with_sentinels(fields: Sequence[Field], strings: Sequence[Field]) -> tuple[Field, ...]:
    """The fields, behind each string that is kept what stands in its place where it cannot be read.

    Linux kernel/trace/trace_events_hist.c, hist_field_dynstring: what is kept of such a string is what lies behind it.
    """
    taken = {field.name for field in fields}
    result: list[Field] = []
    for number, field in enumerate(fields):
        result.append(field)
        is_followed = number + 1 < len(fields) and fields[number + 1].is_sentinel
        if field in strings and field.fetch.base != "$comm" and not is_followed:
            name = fresh_name("__unread", taken)
            taken.add(name)
            result.append(sentinel(name, field.span))
    return tuple(result)


def _keys(probe: ResolvedProbe, machine: Machine, features: Features) -> Keys:
    """By the place on the stack that a call has for itself, where it is known how to tell it; else by thread."""
    taken = {field.name for field in probe.fields}
    stack = _own_field(fresh_name("__stack", taken), "$stack", probe)
    above = _own_field(fresh_name("__above", taken), f"\\{_TAKEN_BYTES.get(machine.name, 0)}", probe)
    if machine.name not in _TAKEN_BYTES or (_TAKEN_BYTES[machine.name] and not features.has(Feature.IMMEDIATE)):
        return Keys(_THREAD, _THREAD, (), ())
    if not _TAKEN_BYTES[machine.name]:
        return Keys(stack.name, stack.name, (stack,), (stack,))
    return Keys(f"{stack.name}+{above.name}", stack.name, (stack, above), (stack,))


def _own_field(name: str, base: str, probe: ResolvedProbe) -> Field:
    return Field(name, Fetch(base, (), "x64"), None, probe.span, is_hidden=True)


class _Maker:
    """The steps of one plan."""

    def __init__(
        self,
        probe: ResolvedProbe,
        instance: str,
        keys: Keys,
        numbers: tuple[Field, ...],
        strings: tuple[Field, ...],
        duration: str,
    ) -> None:
        self.probe = probe
        self.instance = instance
        self.keys = keys
        self.numbers = numbers
        self.strings = strings
        self.duration = duration
        self.folder = f"instances/{instance}"
        self.event = synthetic_name(instance)
        self.entry = probe.name
        self.end = f"{probe.name}_end"
        self.kept = {field.name: f"v{number}" for number, field in enumerate((*numbers, *strings))}

    def events(self) -> Iterator[Step]:
        """The synthetic event and the two probes."""
        types = [f"u64 {self.duration}", *(f"{synthetic_type(field)} {field.name}" for field in self.numbers)]
        taken = {field.name for field in self.probe.fields} | {self.duration}
        for number, field in enumerate(self.strings):
            types += [f"u64 {fresh_name(f'{self.duration}{number}', taken)}"] if number else []
            types.append(f"char {field.name}[]")
        undo = Step(SYNTHETIC_EVENTS, f"!{self.event}", is_append=True)
        yield self._marked(Step(SYNTHETIC_EVENTS, f"{self.event} {'; '.join(types)}", True, undo))
        entry = TracedEvent(self.instance, self.entry, self.probe.fields, True, self.probe.module)
        yield definition(self.probe, entry)
        end = replace(self.probe, probe=replace(self.probe.probe, kind=Kind.RETURN), fields=self.keys.end_fields)
        step = definition(end, replace(entry, name=self.end))
        # Linux Documentation/trace/kprobetrace.rst, `r[MAXACTIVE]`; the marks follow what is put before them.
        most = str(_MAX_ACTIVE)
        marks = tuple(replace(mark, start=mark.start + len(most), end=mark.end + len(most)) for mark in step.marks)
        yield replace(step, text=f"r{most}{step.text[1:]}", marks=marks)

    def triggers(self) -> Iterator[Step]:
        """What keeps when a call began, and what makes an event of its end.

        Linux kernel/trace/trace_events_hist.c, parse_expr: a time that an expression has used is there no more
        (read_once), so that a return without an entry of its own finds none.
        """
        values = "".join(f",{variable}={name}" for name, variable in self.kept.items())
        entry = f"hist:keys={self.keys.entry}:ts0=common_timestamp{values}:size={CALLS}"
        yield self._trigger(f"{self.folder}/events/{self.instance}/{self.entry}", entry, has_filter=True)
        numbers = ["$ns", *(f"${self.kept[field.name]}" for field in self.numbers)]
        strings = [f"${self.kept[field.name]}" for field in self.strings]
        parts = ",".join([*numbers, *([",$ns,".join(strings)] if strings else [])])
        match = f"onmatch({self.instance}.{self.entry}).{self.event}({parts})"
        end = f"hist:keys={self.keys.end}:ns=common_timestamp-$ts0:{match}:size={CALLS}"
        yield self._trigger(f"{self.folder}/events/{self.instance}/{self.end}", end)

    def counted(self, group: Field | None) -> Iterator[Step]:
        """Durations counted by powers of two."""
        keys = f"{group.name}," if group is not None else ""
        size = CALLS if group is not None else _POWERS
        trigger = f"hist:keys={keys}{self.duration}.log2:vals={self.duration}:size={size}"
        yield self._trigger(f"{self.folder}/events/{SYNTHETIC}/{self.event}", trigger)

    def recorded(self, over_ns: int) -> Iterator[Step]:
        """Slow calls recorded."""
        folder = f"{self.folder}/events/{SYNTHETIC}/{self.event}"
        yield Step(f"{folder}/filter", f"{self.duration}>={over_ns}")
        yield Step(f"{folder}/enable", "1", undo=Step(f"{folder}/enable", "0"))

    def _trigger(self, folder: str, text: str, has_filter: bool = False) -> Step:
        # A write that truncates the file removes the triggers that are there.
        step = Step(f"{folder}/trigger", text, is_append=True)
        if has_filter and self.probe.condition is not None:
            step = conditional(self.probe, self.probe.condition, replace(step, text=f"{text} if "))
        step = replace(step, undo=Step(step.path, f"!{step.text}", is_append=True))
        return step if step.marks else self._marked(step)

    def _marked(self, step: Step) -> Step:
        """The step with a way back to the function, for the kernel's refusals."""
        if len(step.text) >= MAX_COMMAND:
            raise _error(self.probe, f"this makes a command of {len(step.text)} bytes: the kernel takes {MAX_COMMAND}")
        return replace(step, marks=(Mark(0, len(step.text), self.probe.source, self.probe.span),))


def synthetic_type(field: Field) -> str:
    """The type of a number in a synthetic event: as the probe's event has it, or the kernel refuses it.

    Linux kernel/trace/trace_probe.c, probe_fetch_types; trace_events_hist.c, check_synth_field.
    """
    kind = field.fetch.type
    if kind.startswith("b"):  # bWIDTH@OFFSET/CONTAINER
        return f"u{kind.rpartition('/')[2]}"
    return {"char": "s8", "symbol": "u64"}.get(kind, f"u{kind[1:]}" if kind.startswith("x") else kind)
