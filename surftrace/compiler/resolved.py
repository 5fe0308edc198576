"""What a script means on one kernel: probes with typed fetches and filters with typed constants, no text yet."""

from typing import TypeAlias

from surftrace.compiler.fetch import Fetch
from surftrace.compiler.scope import Scope
from surftrace.compiler.values import Prefix
from surftrace.lang.source import Diagnostic, Source, Span
from surftrace.lang.syntax import Comparison, Kind, Probe
from surftrace.record import record


@record
class Field:
    """One value of a probe: what the kernel fetches, and how it is shown.

    The kernel prints a bit field as an unsigned decimal: where another form is asked for, `bit_width` and `letter`
    (`s` or `x`) say which. `enumerators` name values; `has_errors`: the last 4095 numbers below 0 are errors' numbers.
    `addend` is added before the value is shown. A field with a
    `valid` range is a hidden pointer: where it is outside of that range, fields that have it among their `guards` were
    not read. Hidden fields are fetched for filters and guards and never shown.
    """

    name: str
    fetch: Fetch
    prefix: Prefix | None
    span: Span
    bit_width: int | None = None
    letter: str = ""
    enumerators: tuple[tuple[int, str], ...] = ()
    has_errors: bool = False
    addend: int = 0
    is_hidden: bool = False
    valid: tuple[int, int] | None = None
    guards: tuple[str, ...] = ()

    @property
    def is_string(self) -> bool:
        """Does the kernel record a string?"""
        return self.fetch.type in ("string", "ustring") or self.fetch.base == "$comm"

    @property
    def is_sentinel(self) -> bool:
        """Is this a constant that tells a filter whether the string before it was read?"""
        return self.fetch.base.startswith("\\")

    @property
    def array_length(self) -> int | None:
        """How many elements the kernel records; None for a value that is no array."""
        _, bracket, length = self.fetch.type.partition("[")
        return int(length.rstrip("]")) if bracket else None


@record
class Test:
    """`field operator constant`, as the kernel compares it. `is_function`: the constant is a function's name."""

    field: str
    operator: Comparison
    constant: int | str
    is_hexadecimal: bool
    span: Span
    is_function: bool = False


@record
class NoneOf:
    """`!(operand)`."""

    operand: "Condition"


@record
class AllOf:
    """All operands hold."""

    operands: tuple["Condition", ...]


@record
class AnyOf:
    """One operand holds."""

    operands: tuple["Condition", ...]


Condition: TypeAlias = Test | NoneOf | AllOf | AnyOf


@record
class ResolvedProbe:
    """One probe. `place` is what the kernel is given: `symbol+0x10`, or `system/event`; `span` that of the target.

    `name` is the probe's own event in the group; of an event that is traced as it is, there is none to define and the
    name is empty. `is_one_of_many`: a glob's match, which the kernel may refuse without harm. `probe` is what was
    written, and `scope` what its expressions were evaluated in, None where there is nothing to evaluate.
    """

    probe: Probe
    name: str
    place: str
    fields: tuple[Field, ...]
    condition: Condition | None
    scope: Scope | None
    is_one_of_many: bool = False

    @property
    def kind(self) -> Kind:
        """What the probe watches."""
        return self.probe.kind

    @property
    def module(self) -> str:
        """The kernel's module that it is in; empty for what is in none."""
        return self.place.rpartition(":")[0] if self.kind in (Kind.ENTRY, Kind.RETURN) else ""

    @property
    def source(self) -> Source:
        """The text it was written in."""
        return self.probe.source

    @property
    def span(self) -> Span:
        """Where its target is written."""
        return self.probe.target.span

    @property
    def filter_span(self) -> Span:
        """Where its filter is written; the target where it has none."""
        return self.span if self.probe.filter is None else self.probe.filter.span


@record
class Resolved:
    """All probes of a script, and what the user should be told about them."""

    probes: tuple[ResolvedProbe, ...]
    warnings: tuple[Diagnostic, ...]
