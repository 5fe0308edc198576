"""What the expressions of one probe may name: the traced function, its parameters, the types around it."""

from collections.abc import Iterable
from dataclasses import dataclass

from surftrace.kernel.machine import WORD, Machine, ParameterType, Place, place_parameters
from surftrace.kernel.symbols import Symbols
from surftrace.kernel.types import KernelTypes, Type, alignment_of, is_aggregate, parameter_names, size_of
from surftrace.lang.source import CompileError, Diagnostic, Source, Span
from surftrace.lang.syntax import Kind


@dataclass(frozen=True, slots=True)
class Scope:
    """One probe's surroundings. `prototype` is None where the type source does not know the function."""

    source: Source
    kind: Kind
    function: str
    byte_offset: int
    machine: Machine
    types: KernelTypes
    symbols: Symbols | None
    prototype: Type | None

    def fail(self, span: Span, message: str, *hints: str) -> CompileError:
        """The error to raise about that part of the probe."""
        return CompileError([Diagnostic(self.source, span, message, hints)])

    def warning(self, span: Span, message: str, *hints: str) -> Diagnostic:
        """A warning about that part of the probe."""
        return Diagnostic(self.source, span, message, hints, "warning")

    def parameters(self) -> list[str | None]:
        """The names of the function's parameters; none where its prototype is not known."""
        return list(parameter_names(self.prototype)) if self.prototype is not None else []

    def places(self) -> list[Place]:
        """Where each parameter is at the function's entry."""
        assert self.prototype is not None
        types = [parameter.type for parameter in self.prototype.parameters]
        result = _parameter_type(self.prototype.type)
        return place_parameters(self.machine, [_parameter_type(type_) for type_ in types], result)


def collect(error: CompileError, diagnostics: list[Diagnostic]) -> None:
    """Note an error's diagnostics, so that one run tells of all."""
    diagnostics.extend(error.diagnostics)


def listed(names: Iterable[str], limit: int = 8) -> str:
    """The first names, with commas."""
    names = list(names)
    return ", ".join(names[:limit]) + (", ..." if len(names) > limit else "")


def _parameter_type(type_: Type) -> ParameterType:
    size = size_of(type_)
    return ParameterType(WORD if size is None else size, is_aggregate(type_), alignment_of(type_))
