"""What the expressions of one probe may name: the traced function, its parameters, the types around it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from surftrace.btf.program import BtfProgram
from surftrace.compiler.chain import Value
from surftrace.kernel.calling import ParameterType, Place, is_returned_in_memory, place_parameters
from surftrace.kernel.features import Feature, Features
from surftrace.kernel.formats import EventField
from surftrace.kernel.machine import WORD, Machine
from surftrace.kernel.symbols import Symbols
from surftrace.kernel.types import (
    Type,
    TypeInfoError,
    alignment_of,
    is_aggregate,
    is_x87,
    parameter_names,
    scalars_of,
    size_of,
)
from surftrace.lang import syntax
from surftrace.lang.source import CompileError, Diagnostic, Source, Span
from surftrace.lang.syntax import Kind
from surftrace.record import record

if TYPE_CHECKING:
    from elftools.dwarf.die import DIE


class Types(Protocol):
    """The types that expressions may name: KernelTypes, or what reads these once they are needed."""

    @property
    def program(self) -> BtfProgram:
        """The program that has them."""
        ...

    def origin(self) -> str:
        """Where the types come from, in words."""
        ...

    def function(self, name: str) -> Type | None:
        """A function's prototype, or None."""
        ...

    def variable(self, name: str) -> Type | None:
        """The type of a variable, or None."""
        ...

    def defined(self, type_: Type) -> Type:
        """The definition of a type that may be only declared; the type itself where there is none."""
        ...

    def named(self, text: str) -> Type:
        """The type of a C type name; TypeInfoError where there is none."""
        ...

    def enumerator(self, name: str) -> tuple[int, ...]:
        """The values that enums give to an enumerator's name: none, one, or several that differ."""
        ...

    def named_numbers(self, holder: Type, member: str, type_: Type) -> Type:
        """The type of a member, with names for its numbers where these are known."""
        ...

    def enumerators(self) -> Iterable[str]:
        """The names of the enumerators of all enums."""
        ...

    def of_event_field(self, field: EventField) -> Type:
        """The type of a trace event's field."""
        ...

    def of_thing(self, die: "DIE") -> Type:
        """The type of a variable that DWARF describes; SurftraceError where it has none that is known."""
        ...


class Locals(Protocol):
    """The variables in scope at the probe's place, where that is known."""

    def value(self, name: syntax.Name, scope: "Scope") -> Value | None:
        """What a name means; None where nothing is called so. CompileError for what cannot be read there."""
        ...

    def names(self) -> list[str]:
        """All of them."""
        ...


class Program(Protocol):
    """What is known of a program's code and memory, where a program is probed."""

    @property
    def is_result_by_reference(self) -> bool:
        """Is the result at an address that the caller passes, whatever its size?"""
        ...

    def places(self, by_convention: Sequence[Place]) -> list[Place]:
        """Where each parameter is at the function's entry, `by_convention` where nothing says otherwise."""
        ...

    def variable(self, symbol: syntax.Symbol, scope: "Scope") -> Value:
        """The memory of a variable of the program's. CompileError where it has none of that name."""
        ...


@record
class Scope:
    """One probe's surroundings. `prototype` is None where the type source does not know the function."""

    source: Source
    kind: Kind
    function: str
    byte_offset: int
    machine: Machine
    types: Types
    symbols: Symbols | None
    prototype: Type | None
    features: Callable[[], Features]
    event_fields: Mapping[str, EventField] | None = None
    locals: Callable[[], Locals | None] = lambda: None
    program: Program | None = None

    def fail(self, span: Span, message: str, *hints: str) -> CompileError:
        """The error to raise about that part of the probe."""
        return CompileError([Diagnostic(self.source, span, message, hints)])

    def warning(self, span: Span, message: str, *hints: str) -> Diagnostic:
        """A warning about that part of the probe."""
        return Diagnostic(self.source, span, message, hints, "warning")

    def type_named(self, c_type: syntax.CType) -> Type:
        """The type that was written; CompileError where this kernel has none of that name."""
        try:
            return self.types.named(c_type.text)
        except TypeInfoError as error:
            raise self.fail(c_type.span, error.message, *error.hints) from None

    def pointer_to(self, type_: Type) -> Type:
        """The type of a pointer to a type."""
        return type_.prog.pointer_type(type_)

    def require(self, feature: Feature, span: Span) -> None:
        """Raise CompileError where the kernel's probes cannot do this yet."""
        features = self.features()
        if not features.has(feature):
            raise self.fail(span, features.lacking(feature))

    def parameters(self) -> list[str | None]:
        """The names of the function's parameters; none where its prototype is not known."""
        return list(parameter_names(self.prototype)) if self.prototype is not None else []

    def names(self) -> list[str]:
        """What a bare name may be: a parameter, or a field of the event."""
        return list(self.event_fields or ()) or [name for name in self.parameters() if name]

    def is_name(self, name: str) -> bool:
        """May this be a bare name: a parameter, a field of the event, or a variable in scope at the place?"""
        return name in self.names() or ((known := self.locals()) is not None and name in known.names())

    @property
    def is_user(self) -> bool:
        """Is a program or a library probed, whose memory a process's is?"""
        return self.kind in (Kind.USER_ENTRY, Kind.USER_RETURN)

    def addresses(self) -> tuple[int, int]:
        """The range of addresses that what is probed may read from: the kernel's, or a process's."""
        return self.machine.user_addresses if self.is_user else self.machine.kernel_addresses

    def has_result_in_memory(self) -> bool:
        """Does the function give its result at an address of its caller's, not in registers?"""
        result = self._result()
        return result is not None and is_returned_in_memory(result, self.machine)

    def _result(self) -> ParameterType | None:
        if self.prototype is None:
            return None
        result = _parameter_type(self.prototype.type)
        return replace(result, is_by_reference=self.program is not None and self.program.is_result_by_reference)

    def places(self) -> list[Place]:
        """Where each parameter is at the function's entry."""
        assert self.prototype is not None
        types = [_parameter_type(parameter.type) for parameter in self.prototype.parameters]
        places = place_parameters(self.machine, types, self._result())
        return self.program.places(places) if self.program is not None else places


def collect(error: CompileError, diagnostics: list[Diagnostic]) -> None:
    """Note an error's diagnostics, so that one run tells of all."""
    diagnostics.extend(error.diagnostics)


def listed(names: Iterable[str], limit: int = 8) -> str:
    """The first names, with commas."""
    names = list(names)
    return ", ".join(names[:limit]) + (", ..." if len(names) > limit else "")


def _parameter_type(type_: Type) -> ParameterType:
    size = size_of(type_)
    scalars = scalars_of(type_)
    has_x87 = bool(scalars) and is_x87(type_)
    return ParameterType(WORD if size is None else size, is_aggregate(type_), alignment_of(type_), scalars, has_x87)
