"""A value as a chain of reads: what every expression stands for."""

from surftrace.kernel.types import Type
from surftrace.record import record


@record
class Value:
    """Start at `base`, read at each of `byte_offsets` in turn: the last read is the value itself.

    No offset: the value is what the base holds (a register). `type` is None where nothing is known of it. `bits`, for a
    bit field, are its first bit, counted as the type source does (on little-endian machines up from the least
    significant of the byte at the last offset), and its width. `is_address`: the value is not what the last read gives
    but the address it would be made at.
    """

    base: str
    byte_offsets: tuple[int, ...]
    type: Type | None
    bits: tuple[int, int] | None = None
    is_address: bool = False

    def moved(self, byte_offset: int, type_: Type) -> "Value":
        """The value that lies so many bytes further in the same memory."""
        *before, last = self.byte_offsets
        return Value(self.base, (*before, last + byte_offset), type_)

    def followed(self, byte_offset: int, type_: Type) -> "Value":
        """The value so many bytes behind the address that this one is."""
        if self.is_address:
            return self.moved(byte_offset, type_)
        return Value(self.base, (*self.byte_offsets, byte_offset), type_)

    @property
    def is_memory(self) -> bool:
        """Does the value lie in memory, so that it has an address and parts?"""
        return bool(self.byte_offsets) and not self.is_address
