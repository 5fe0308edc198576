"""Script and target in, `Resolved` out: every name found, every type known, every mistake told in one run."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

from surftrace.btf import BtfError
from surftrace.compiler.arguments import argument_name_error, resolve_argument
from surftrace.compiler.filters import COMMON_OPERANDS, Number, Opaque, Operand, Text, Unknown, resolve_filter
from surftrace.compiler.resolved import Condition, Field, Resolved, ResolvedProbe
from surftrace.compiler.scope import Scope, collect, listed
from surftrace.kernel.formats import EventField
from surftrace.kernel.symbols import KernelSymbol, Symbols
from surftrace.kernel.target import Target
from surftrace.kernel.types import KernelTypes, nearest
from surftrace.lang.script import Script
from surftrace.lang.source import CompileError, Diagnostic, Span, did_you_mean
from surftrace.lang.syntax import EventTarget, FunctionTarget, Kind, Probe

# Linux kernel/trace/trace_probe.h: MAX_TRACE_ARGS. 5.10 and 6.1 drop what is over it in silence.
MAX_ARGUMENTS = 128

# No function of any kernel comes near.
MAX_FUNCTION_SIZE = 1 << 31

_KPROBE_OPERANDS: Mapping[Kind, Mapping[str, Operand]] = {
    Kind.ENTRY: {"__probe_ip": Number(64, False)},
    Kind.RETURN: {"__probe_func": Number(64, False), "__probe_ret_ip": Number(64, False)},
    Kind.EVENT: {},
}


def resolve(script: Script, target: Target) -> Resolved:
    """What the script means on this kernel. Raises CompileError with all diagnostics of all probes."""
    probes: list[ResolvedProbe] = []
    diagnostics = list(script.errors)
    warnings: list[Diagnostic] = []
    for probe in script.probes:
        try:
            probes.append(_probe(probe, target, warnings))
        except CompileError as error:
            collect(error, diagnostics)
        except BtfError as error:  # damage that shows only when a type is looked at
            message = f"the kernel's type information is damaged: {error}"
            diagnostics.append(Diagnostic(probe.source, probe.target.span, message))
    diagnostics.extend(_repeated_events(script))
    if diagnostics:
        raise CompileError(sorted(diagnostics, key=lambda each: (script.sources.index(each.source), each.span.start)))
    return Resolved(tuple(probes), tuple(warnings))


def _repeated_events(script: Script) -> Iterable[Diagnostic]:
    """An event has one filter in an instance, so it can be traced once."""
    seen: set[tuple[str, str]] = set()
    for probe in script.probes:
        if isinstance(probe.target, EventTarget):
            event = (probe.target.system, probe.target.name)
            if event in seen:
                message = f"{event[0]}/{event[1]} is traced by an earlier probe already"
                hint = "an event has one filter: join the two with ||"
                yield Diagnostic(probe.source, probe.target.span, message, (hint,))
            seen.add(event)


def _probe(probe: Probe, target: Target, warnings: list[Diagnostic]) -> ResolvedProbe:
    if isinstance(probe.target, EventTarget):
        return _event_probe(probe, probe.target, target, warnings)
    return _function_probe(probe, probe.target, target, warnings)


def _event_probe(probe: Probe, event: EventTarget, target: Target, warnings: list[Diagnostic]) -> ResolvedProbe:
    place = f"{event.system}/{event.name}"
    diagnostics: list[Diagnostic] = []
    names = target.kernel.event_names()
    if names is not None and place not in names:
        hints = did_you_mean(nearest(place, names))
        message = f"this kernel has no event '{place}'"
        diagnostics.append(Diagnostic(probe.source, event.span, message, hints))
    if probe.arguments:
        span = probe.arguments[0].span.to(probe.arguments[-1].span)
        hint = "leave the arguments out, or probe a function: p FUNCTION NAME=VALUE"
        message = "an event shows its own fields and takes no arguments"
        diagnostics.append(Diagnostic(probe.source, span, message, (hint,)))
    if diagnostics:
        raise CompileError(diagnostics)
    condition = None
    if probe.filter is not None:
        fields = target.kernel.event_fields(event.system, event.name)
        operands = None if fields is None else {**COMMON_OPERANDS, **_event_operands(fields)}
        if operands is None:
            message = f"the fields of {place} are not known here: nobody checks what they are compared with"
            warnings.append(Diagnostic(probe.source, probe.filter.span, message, (), "warning"))
        condition = resolve_filter(probe.filter, operands, probe.source, target.machine.byteorder)
    return ResolvedProbe(probe.kind, place, (), condition, probe.source, event.span, _filter_span(probe))


def _filter_span(probe: Probe) -> Span | None:
    return None if probe.filter is None else probe.filter.span


def _event_operands(fields: Iterable[EventField]) -> dict[str, Operand]:
    operands: dict[str, Operand] = {}
    for field in fields:
        if field.is_string:
            operands[field.name] = Text()
        elif field.is_number:
            operands[field.name] = Number(field.size * 8, field.is_signed)
        else:
            operands[field.name] = Opaque(f"a {field.type}")
    return operands


def _function_probe(
    probe: Probe, function: FunctionTarget, target: Target, warnings: list[Diagnostic]
) -> ResolvedProbe:
    if function.byte_offset >= MAX_FUNCTION_SIZE:
        raise CompileError([Diagnostic(probe.source, function.span, "no function is that long")])
    symbols = target.kernel.symbols()
    symbol = KernelSymbol(function.name, "", True)
    if symbols is not None:
        symbol, notes = _find_symbol(probe, function, symbols)
        warnings.extend(notes)
    plain_name = re.sub(r"\..*", "", symbol.name)
    types = target.kernel.types(symbol.module)
    prototype = types.function(plain_name)
    if symbols is None and prototype is None:
        warnings.append(_unknown_function(probe, function, types))
    if probe.kind is Kind.RETURN and function.byte_offset:
        hint = f"write r {function.name}, or p {function.name}+{function.byte_offset:#x}"
        message = "a return probe watches a whole function, not a place inside it"
        raise CompileError([Diagnostic(probe.source, function.span, message, (hint,))])
    scope = Scope(probe.source, probe.kind, plain_name, function.byte_offset, target.machine, types, symbols, prototype)
    fields, condition = _fields_and_condition(probe, scope, warnings)
    place = symbol.name + (f"+{function.byte_offset:#x}" if function.byte_offset else "")
    filter_span = _filter_span(probe)
    return ResolvedProbe(probe.kind, place, fields, condition, probe.source, function.span, filter_span)


def _fields_and_condition(
    probe: Probe, scope: Scope, warnings: list[Diagnostic]
) -> tuple[tuple[Field, ...], Condition | None]:
    fields: list[Field] = []
    operands: dict[str, Operand] = {**COMMON_OPERANDS, **_KPROBE_OPERANDS[probe.kind]}
    diagnostics: list[Diagnostic] = []
    names: set[str] = set()
    for number, assignment in enumerate(probe.arguments):
        try:
            if message := argument_name_error(assignment.name, names):
                raise scope.fail(assignment.name_span, message)
            if number == MAX_ARGUMENTS:
                raise scope.fail(assignment.span, f"the kernel takes {MAX_ARGUMENTS} arguments a probe")
            field, operand, notes = resolve_argument(assignment, scope)
        except CompileError as error:
            collect(error, diagnostics)
            # Its comparisons are not checked: one mistake, one message.
            operands[assignment.name] = Unknown()
        else:
            fields.append(field)
            operands[assignment.name] = operand
            warnings.extend(notes)
        names.add(assignment.name)
    condition = None
    if probe.filter is not None:
        try:
            condition = resolve_filter(probe.filter, operands, probe.source, scope.machine.byteorder)
        except CompileError as error:
            collect(error, diagnostics)
    if diagnostics:
        raise CompileError(diagnostics)
    return tuple(fields), condition


def _find_symbol(probe: Probe, function: FunctionTarget, symbols: Symbols) -> tuple[KernelSymbol, list[Diagnostic]]:
    """The one symbol that a function's name means, and a note where it is not the name that was written."""
    named = symbols.named(function.name)
    found = [symbol for symbol in named if symbol.is_code]
    if len(found) == 1:
        return found[0], []
    span = replace(function.span, end=function.span.start + len(function.name))
    if found:
        where = listed(symbol.module or "the kernel itself" for symbol in found)
        message = f"{len(found)} functions have the name {function.name} (in {where}): which one is not clear"
        raise CompileError([Diagnostic(probe.source, span, message)])
    clones = symbols.clones(function.name)
    if len(clones) == 1:
        message = f"the compiler renamed {function.name}: tracing {clones[0].name}"
        return clones[0], [Diagnostic(probe.source, span, message, (), "warning")]
    if clones:
        message = f"the compiler made {len(clones)} functions of {function.name}"
        hint = f"name one of {listed(clone.name for clone in clones)}"
        raise CompileError([Diagnostic(probe.source, span, message, (hint,))])
    hints = did_you_mean(nearest(function.name, symbols.function_names()))
    message = f"this kernel has no function '{function.name}'"
    if named:
        message = f"'{function.name}' is a variable, not a function"
    raise CompileError([Diagnostic(probe.source, span, message, hints)])


def _unknown_function(probe: Probe, function: FunctionTarget, types: KernelTypes) -> Diagnostic:
    hints = did_you_mean(nearest(function.name, types.function_names()))
    message = f"the type information has no function '{function.name}'"
    return Diagnostic(probe.source, function.span, message, hints, "warning")
