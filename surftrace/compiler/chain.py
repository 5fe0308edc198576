"""A value as a chain of reads: what every expression stands for."""

from dataclasses import replace

from drgn import TypeKind

from surftrace.compiler.fetch import Fetch
from surftrace.kernel.types import Type, is_user, underlying
from surftrace.record import record


@record
class Value:
    """Start at `base`, read at each of `byte_offsets` in turn: the last read is the value itself.

    No offset: the value is what the base holds (a register). `type` is None where nothing is known of it. `bits`, for a
    bit field, are its first bit, counted as the type source does (on little-endian machines up from the least
    significant of the byte at the last offset), and its width. `is_address`: the value is not what the last read gives
    but the address it would be made at. `user_reads` are the numbers of those reads that are of a process's memory,
    in a probe on the kernel.
    """

    base: str
    byte_offsets: tuple[int, ...]
    type: Type | None
    bits: tuple[int, int] | None = None
    is_address: bool = False
    user_reads: frozenset[int] = frozenset()

    def moved(self, byte_offset: int, type_: Type) -> "Value":
        """The value that lies so many bytes further in the same memory."""
        *before, last = self.byte_offsets
        return Value(self.base, (*before, last + byte_offset), type_, user_reads=self.user_reads)

    def followed(self, byte_offset: int, type_: Type) -> "Value":
        """The value so many bytes behind the address that this one is."""
        if self.is_address:
            return self.moved(byte_offset, type_)
        number = len(self.byte_offsets)
        user_reads = self.user_reads | {number} if self.is_user_pointer else self.user_reads
        return Value(self.base, (*self.byte_offsets, byte_offset), type_, user_reads=user_reads)

    def ready(self) -> "Value":
        """The pointer that this address is counted from, as a value that the kernel has read."""
        before = self.byte_offsets[:-1]
        return replace(self, byte_offsets=before, is_address=False, user_reads=self.user_reads - {len(before)})

    def fetch(self, kernel_type: str) -> Fetch:
        """The fetch of this value as a type of the kernel's."""
        return Fetch(self.base, self.byte_offsets, kernel_type, self.user_reads)

    def fetch_behind(self, kernel_type: str) -> Fetch:
        """The fetch of what this pointer points to."""
        return Fetch(self.base, (*self.byte_offsets, 0), kernel_type, self.user_reads)

    @property
    def is_memory(self) -> bool:
        """Does the value lie in memory, so that it has an address and parts?"""
        return bool(self.byte_offsets) and not self.is_address

    @property
    def is_user_pointer(self) -> bool:
        """Does this point into a process's memory: by its type, or as all does that was read from there?"""
        if len(self.byte_offsets) - 1 in self.user_reads:
            return True
        bare = underlying(self.type) if self.type is not None else None
        return bare is not None and bare.kind == TypeKind.POINTER and is_user(bare.type)
