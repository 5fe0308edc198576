"""Probes on trace events: traced as they are, or, where arguments are written, by a probe on the event (an eprobe)."""

from collections.abc import Iterable

from surftrace.compiler.contents import resolve_contents
from surftrace.compiler.fetch import Fetch
from surftrace.compiler.filters import Surroundings, resolve_filter
from surftrace.compiler.lookup import where_events
from surftrace.compiler.operands import COMMON_OPERANDS, Number, Opaque, Operand, Text
from surftrace.compiler.places import compared_function
from surftrace.compiler.resolved import Condition, ResolvedProbe
from surftrace.compiler.scope import Scope
from surftrace.kernel.features import Feature
from surftrace.kernel.formats import EventField
from surftrace.kernel.target import Target
from surftrace.kernel.types import enumerators_of
from surftrace.lang import syntax
from surftrace.lang.printing import print_expr
from surftrace.lang.script import Script
from surftrace.lang.source import CompileError, Diagnostic, Span
from surftrace.lang.syntax import EventTarget, Probe
from surftrace.names import did_you_mean, nearest


def repeated_events(script: Script) -> Iterable[Diagnostic]:
    """An event has one filter in an instance, so it can be traced once as it is."""
    seen: set[tuple[str, str]] = set()
    for probe in script.probes:
        if isinstance(probe.target, EventTarget) and not probe.arguments:
            event = (probe.target.system, probe.target.name)
            if event in seen:
                message = f"{event[0]}/{event[1]} is traced by an earlier probe already"
                hint = "an event has one filter: join the two with ||"
                yield Diagnostic(probe.source, probe.target.span, message, (hint,))
            seen.add(event)


def resolve_event(
    probe: Probe, event: EventTarget, name: str, target: Target, has_guards: bool, warnings: list[Diagnostic]
) -> ResolvedProbe:
    """The probe on an event. `name` is that of its own event, where it needs one."""
    place = f"{event.system}/{event.name}"
    names = target.kernel.event_names()
    if names is not None and place not in names:
        hints = (*did_you_mean(nearest(place, names)), *where_events(event.system, names))
        raise CompileError([Diagnostic(probe.source, event.span, f"this kernel has no event '{place}'", hints)])
    fields = target.kernel.event_fields(event.system, event.name)
    if probe.arguments:
        scope = event_scope(probe, place, target, fields)
        scope.require(Feature.EPROBE, probe.arguments[0].span.to(probe.arguments[-1].span))
        shown, condition = resolve_contents(probe, scope, has_guards, warnings)
        place = f"{event.system}.{event.name}"
        return ResolvedProbe(probe, name, place, shown, condition, scope)
    condition = None
    if probe.filter is not None:
        if fields is None:
            message = f"the fields of {place} are not known here: nobody checks what they are compared with"
            warnings.append(Diagnostic(probe.source, probe.filter.span, message, (), "warning"))
        condition = _own_filter(probe, event, probe.filter, fields, target)
    return ResolvedProbe(probe, "", place, (), condition, None)


def event_scope(probe: Probe, place: str, target: Target, fields: tuple[EventField, ...] | None) -> Scope:
    """What the expressions of a probe on an event may name: its fields, where they are known."""
    kernel = target.kernel
    # Linux kernel/trace/trace_eprobe.c takes the event's own fields: the common ones are in another list.
    known = None if fields is None else {each.name: each for each in fields if not each.name.startswith("common_")}
    return Scope(
        probe.source,
        probe.kind,
        place,
        0,
        target.machine,
        target.types(),
        kernel.symbols(),
        None,
        kernel.features,
        known,
    )


def _own_filter(
    probe: Probe, event: EventTarget, tree: syntax.Filter, fields: tuple[EventField, ...] | None, target: Target
) -> Condition:
    """The filter over the event's own fields, to which nothing can be added."""
    kernel = target.kernel

    def no_field(tree: syntax.Compare) -> tuple[Fetch, Operand]:
        message = f"an event that is traced as it is has no value '{print_expr(tree.left)}', only fields"
        raise CompileError([Diagnostic(probe.source, tree.left.span, message, ("name it as an argument: NAME=VALUE",))])

    def no_hidden(_fetch: Fetch, _span: Span) -> str:
        raise AssertionError("an event's own fields are compared as they are")

    surroundings = Surroundings(
        probe.source,
        target.machine.byteorder,
        None if fields is None else {**COMMON_OPERANDS, **_operands(event, fields, target)},
        lambda: (),
        lambda _: False,
        no_field,
        no_hidden,
        lambda name: target.types().enumerator(name),
        lambda: target.types().enumerators(),
        lambda name: compared_function(name, kernel.symbols(), target.types(), kernel.features()),
        _pointed_text(event, target) if event.system == "syscalls" else Text(),
    )
    return resolve_filter(tree, surroundings)


def _operands(event: EventTarget, fields: Iterable[EventField], target: Target) -> dict[str, Operand]:
    return {field.name: _operand(event, field, target) for field in fields}


def _operand(event: EventTarget, field: EventField, target: Target) -> Operand:
    if field.is_string and "*" in field.type:
        return _pointed_text(event, target)
    if field.is_string:
        return Text()
    if not field.is_number:
        return Opaque(f"a {field.type}")
    names = enumerators_of(target.types().of_event_field(field)) if field.type.startswith("enum ") else ()
    return Number(field.size * 8, field.is_signed, enumerators=names, is_code=True)


def _pointed_text(event: EventTarget, target: Target) -> Operand:
    """A string that a field points to: in a process's memory, where a process has passed it to the kernel."""
    if event.system != "syscalls" or target.kernel.features().has(Feature.USTRING_FILTER):
        return Text(is_user=event.system == "syscalls")
    since = Feature.USTRING_FILTER.since
    return Opaque(f"a string in a process's memory (Linux {since} compares it, and any as an argument: NAME=VALUE)")
