"""What a script means on one kernel: probes with typed fetches and filters with typed constants, no text yet."""

from dataclasses import dataclass
from typing import TypeAlias

from surftrace.compiler.fetch import Fetch
from surftrace.compiler.values import Prefix
from surftrace.lang.source import Diagnostic, Source, Span
from surftrace.lang.syntax import Comparison, Kind


@dataclass(frozen=True, slots=True)
class Field:
    """One value of a probe: what the kernel fetches, and how it is shown.

    The kernel prints a bit field as an unsigned decimal: where another form is asked for, `bit_width` and `letter`
    (`s` or `x`) say which.
    """

    name: str
    fetch: Fetch
    prefix: Prefix | None
    span: Span
    bit_width: int | None = None
    letter: str = ""

    @property
    def is_string(self) -> bool:
        """Does the kernel record a string?"""
        return self.fetch.type == "string" or self.fetch.base == "$comm"


@dataclass(frozen=True, slots=True)
class Test:
    """`field operator constant`, as the kernel compares it."""

    field: str
    operator: Comparison
    constant: int | str
    is_hexadecimal: bool
    span: Span


@dataclass(frozen=True, slots=True)
class NoneOf:
    """`!(operand)`."""

    operand: "Condition"


@dataclass(frozen=True, slots=True)
class AllOf:
    """All operands hold."""

    operands: tuple["Condition", ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """One operand holds."""

    operands: tuple["Condition", ...]


Condition: TypeAlias = Test | NoneOf | AllOf | AnyOf


@dataclass(frozen=True, slots=True)
class ResolvedProbe:
    """One probe. `place` is what the kernel is given: `symbol+0x10`, or `system/event`; `span` that of the target."""

    kind: Kind
    place: str
    fields: tuple[Field, ...]
    condition: Condition | None
    source: Source
    span: Span
    filter_span: Span | None


@dataclass(frozen=True, slots=True)
class Resolved:
    """All probes of a script, and what the user should be told about them."""

    probes: tuple[ResolvedProbe, ...]
    warnings: tuple[Diagnostic, ...]
