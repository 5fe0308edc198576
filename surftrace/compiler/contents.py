"""A probe's arguments and filter in, its fields and condition out, with the hidden fields that these need."""

from collections.abc import Mapping
from dataclasses import replace

from surftrace.compiler.arguments import (
    argument_name,
    argument_name_error,
    packet_warnings,
    resolve_argument,
)
from surftrace.compiler.expressions import value_of
from surftrace.compiler.fetch import Fetch, too_long
from surftrace.compiler.filters import Surroundings, resolve_filter
from surftrace.compiler.guards import Guard, guarded, last_pointer_of, pointer_guard, sentinel, string_guard, tests_of
from surftrace.compiler.hidden import HiddenFields
from surftrace.compiler.network import prefix_of_comparison, read_prefixed
from surftrace.compiler.operands import COMMON_OPERANDS, Number, Operand, Unknown
from surftrace.compiler.places import compared_function
from surftrace.compiler.reading import read_plainly
from surftrace.compiler.resolved import Condition, Field
from surftrace.compiler.scope import Scope, collect
from surftrace.kernel.features import Feature
from surftrace.lang import syntax
from surftrace.lang.source import CompileError, Diagnostic, Span
from surftrace.lang.syntax import Kind, Probe

# Linux kernel/trace/trace_probe.h: MAX_TRACE_ARGS. 5.10 and 6.1 drop what is over it in silence.
MAX_ARGUMENTS = 128

_SMALL = ("comm", "cpu")
_KPROBE_OPERANDS: Mapping[Kind, Mapping[str, Operand]] = {
    Kind.ENTRY: {"__probe_ip": Number(64, False, is_code=True)},
    Kind.RETURN: {"__probe_func": Number(64, False, is_code=True), "__probe_ret_ip": Number(64, False, is_code=True)},
    Kind.EVENT: {},
    Kind.USER_ENTRY: {"__probe_ip": Number(64, False, is_code=True)},
    Kind.USER_RETURN: {
        "__probe_func": Number(64, False, is_code=True),
        "__probe_ret_ip": Number(64, False, is_code=True),
    },
}


def resolve_contents(
    probe: Probe, scope: Scope, has_guards: bool, warnings: list[Diagnostic]
) -> tuple[tuple[Field, ...], Condition | None]:
    """The fields, those that are shown before the hidden ones, and the filter. CompileError with all that is wrong."""
    contents = _Contents(scope, has_guards, warnings)
    if len(probe.arguments) > MAX_ARGUMENTS:
        surplus = probe.arguments[MAX_ARGUMENTS].span.to(probe.arguments[-1].span)
        raise scope.fail(surplus, f"the kernel takes {MAX_ARGUMENTS} arguments a probe")
    for assignment in probe.arguments:
        contents.add(assignment)
    condition = None
    if probe.filter is not None:
        condition = contents.filter(probe.filter)
    if contents.diagnostics:
        raise CompileError(contents.diagnostics)
    return contents.finished(probe, condition)


class _Contents:
    """What has been resolved of a probe so far, and what is wrong with it."""

    def __init__(self, scope: Scope, has_guards: bool, warnings: list[Diagnostic]) -> None:
        self.scope = scope
        self.warnings = warnings
        self.has_guards = has_guards
        # A program's probe takes the constant's address for one in the process (trace_uprobe.c, fetch_store_string).
        self.has_sentinels = has_guards and not scope.is_user and scope.features().has(Feature.IMMEDIATE)
        self.hidden = HiddenFields()
        self.fields: list[Field] = []
        # Of the names that all events have, those in small letters are also a function's or an event's own.
        common = {name: each for name, each in COMMON_OPERANDS.items() if name not in _SMALL or not self._is_own(name)}
        self.operands: dict[str, Operand] = {**common, **_KPROBE_OPERANDS[scope.kind]}
        self.diagnostics: list[Diagnostic] = []
        self.taken: set[str] = set()

    def _is_own(self, name: str) -> bool:
        """Is it a parameter, a field, or, inside of a function, a variable?"""
        return self.scope.is_name(name) if self.scope.byte_offset else name in self.scope.names()

    def add(self, assignment: syntax.Assignment) -> None:
        """Resolve an argument."""
        scope = self.scope
        name = argument_name(assignment, scope)
        try:
            if message := argument_name_error(name, self.taken):
                hints = () if assignment.name is not None else ("name it yourself: NAME=VALUE",)
                raise scope.fail(assignment.name_span, message, *hints)
            field, operand, notes = resolve_argument(assignment, name, scope)
        except CompileError as error:
            collect(error, self.diagnostics)
            # Its comparisons are not checked: one mistake, one message.
            self.operands[name] = Unknown()
        else:
            self.fields.append(field)
            self.operands[name] = operand
            self.warnings.extend(notes)
        self.taken.add(name)

    def filter(self, tree: syntax.Filter) -> Condition | None:
        """Resolve the filter; None where it is wrong."""
        scope = self.scope
        surroundings = Surroundings(
            scope.source,
            scope.machine.byteorder,
            self.operands,
            scope.names,
            scope.is_name,
            self._read,
            self._hide,
            scope.types.enumerator,
            scope.types.enumerators,
            self._function,
        )
        try:
            return resolve_filter(tree, surroundings)
        except CompileError as error:
            collect(error, self.diagnostics)
            return None

    def finished(self, probe: Probe, condition: Condition | None) -> tuple[tuple[Field, ...], Condition | None]:
        """All fields with their guards, and the filter that looks at these."""
        unguarded = (*self.fields, *self.hidden.fields)
        pointers = {each.name: self._pointers(each) for each in unguarded}
        fields = [replace(each, guards=tuple(pointer.name for pointer in pointers[each.name])) for each in unguarded]
        fields.extend(each for each in self.hidden.fields if each.name not in pointers)
        if condition is not None and self.has_guards:
            guards = {name: [pointer_guard(pointer) for pointer in each] for name, each in pointers.items()}
            fields = self._with_string_guards(fields, condition, guards)
            condition = guarded(condition, guards)
        if len(fields) > MAX_ARGUMENTS:
            message = f"this needs {len(fields)} values with those for its filter and its guards: the kernel takes"
            spans = [each.span for each in (*probe.arguments, probe.filter) if each is not None]
            span = spans[0].to(spans[-1])
            raise self.scope.fail(span, f"{message} {MAX_ARGUMENTS}", "make two probes of it, or use --no-guard")
        return tuple(fields), condition

    def _with_string_guards(
        self, fields: list[Field], condition: Condition, guards: dict[str, list[Guard]]
    ) -> list[Field]:
        """The fields, with those that tell whether the strings that the filter compares were read."""
        compared = {test.field for test in tests_of(condition)}
        result, pointers = [], []
        for field in fields:
            result.append(field)
            if field.name not in compared or not field.is_string or field.fetch.base == "$comm":
                continue
            if self.has_sentinels:
                result.append(sentinel(self.hidden.new_name(), field.span))
                guards[field.name].append(string_guard(field))
            elif (pointer := last_pointer_of(field.fetch)) is not None:
                pointers.append(self.hidden.add(pointer, field.span, self._string_addresses(field.fetch)))
                guards[field.name].append(pointer_guard(pointers[-1]))
        known = {field.name for field in result}
        return result + [pointer for pointer in dict.fromkeys(pointers) if pointer.name not in known]

    def _string_addresses(self, fetch: Fetch) -> tuple[int, int]:
        """Where a string may lie: `:string` reads a process's memory as well on machines where the two differ."""
        user, scope = self.scope.machine.user_addresses, self.scope
        if scope.is_user or fetch.type == "ustring" or len(fetch.byte_offsets) - 1 in fetch.user_reads:
            return user
        return user[0], scope.machine.kernel_addresses[1]

    def _pointers(self, field: Field) -> list[Field]:
        """The hidden fields with the pointers that a field is read through."""
        if not self.has_guards or field.valid is not None:
            return []
        return self.hidden.pointers_of(field, self.scope.addresses(), self.scope.machine.user_addresses)

    def _hide(self, fetch: Fetch, span: Span) -> str:
        if error := too_long(fetch):
            raise self.scope.fail(span, f"the filter's value: {error}")
        shown = next((field.name for field in self.fields if field.fetch == fetch), None)
        return shown or self.hidden.add(fetch, span).name

    def _read(self, tree: syntax.Compare) -> tuple[Fetch, Operand]:
        """What the kernel fetches for a value that a filter names, and what it may be compared with."""
        scope = self.scope
        match syntax.innermost(tree.left):
            case syntax.Name(name) if name in self.taken and not scope.is_name(name):
                message = f"'{name}' is an argument of this probe: a filter compares it as it is"
                raise scope.fail(tree.left.span, message, f"write {name} alone, or the value that it was made from")
        value = value_of(tree.left, scope)
        self.warnings.extend(packet_warnings(tree.left, scope))
        prefix = prefix_of_comparison(value, tree.literal)
        if prefix is not None:
            reading = read_prefixed(value, prefix, tree.left.span, scope)
        else:
            reading = read_plainly(value, None, tree.left, scope)
        return reading.fetch, reading.operand

    def _function(self, name: str) -> int | str | None:
        """A function as the kernel's filter compares a pointer with it: by its name, or by its address."""
        scope = self.scope
        return compared_function(name, scope.symbols, scope.types, scope.features())
