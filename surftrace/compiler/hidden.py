"""Fields that are fetched and never shown: values that only a filter asks for, pointers that guards look at."""

from surftrace.compiler.arguments import HIDDEN
from surftrace.compiler.fetch import Fetch
from surftrace.compiler.guards import pointers_of
from surftrace.compiler.resolved import Field
from surftrace.lang.source import Span


class HiddenFields:
    """The hidden fields of one probe as they are asked for: each fetch once."""

    def __init__(self) -> None:
        # A pointer that a filter compares is no guard: it may itself not have been read.
        self._by_fetch: dict[tuple[Fetch, tuple[int, int] | None], Field] = {}
        self._count = 0

    @property
    def fields(self) -> tuple[Field, ...]:
        """All of them, in the order in which they were asked for."""
        return tuple(self._by_fetch.values())

    def add(self, fetch: Fetch, span: Span, valid: tuple[int, int] | None = None) -> Field:
        """The hidden field with this fetch; `valid` is the range of addresses for a pointer that guards look at."""
        known = self._by_fetch.get((fetch, valid))
        if known is None:
            known = Field(self.new_name(), fetch, None, span, is_hidden=True, valid=valid)
            self._by_fetch[fetch, valid] = known
        return known

    def new_name(self) -> str:
        """The name of a hidden field that nothing else has."""
        self._count += 1
        return f"{HIDDEN}{self._count - 1}"

    def pointers_of(self, field: Field, kernel: tuple[int, int], user: tuple[int, int]) -> list[Field]:
        """The pointers that a field is read through, those nearest to its base first; both ranges of addresses."""
        user_reads = field.fetch.user_reads
        return [
            self.add(pointer, field.span, user if len(pointer.byte_offsets) in user_reads else kernel)
            for pointer in pointers_of(field.fetch)
        ]
