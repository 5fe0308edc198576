"""Fields that are fetched and never shown: values that only a filter asks for, pointers that guards look at."""

from collections.abc import Sequence

from surftrace.compiler.arguments import HIDDEN
from surftrace.compiler.fetch import Fetch
from surftrace.compiler.guards import pointers_of
from surftrace.compiler.resolved import Field
from surftrace.lang.source import Span


class HiddenFields:
    """The hidden fields of one probe as they are asked for: each fetch once."""

    def __init__(self) -> None:
        self._by_fetch: dict[Fetch, Field] = {}

    @property
    def fields(self) -> tuple[Field, ...]:
        """All of them, in the order in which they were asked for."""
        return tuple(self._by_fetch.values())

    def add(self, fetch: Fetch, span: Span, valid: tuple[int, int] | None = None) -> Field:
        """The hidden field with this fetch; `valid` is the range of addresses for a pointer that guards look at."""
        known = self._by_fetch.get(fetch)
        if known is None:
            known = Field(f"{HIDDEN}{len(self._by_fetch)}", fetch, None, span, is_hidden=True, valid=valid)
            self._by_fetch[fetch] = known
        return known

    def guards_of(self, field: Field, addresses: tuple[int, int]) -> Sequence[Field]:
        """The pointers that a field is read through, those nearest to its base first."""
        return [self.add(pointer, field.span, addresses) for pointer in pointers_of(field.fetch)]
