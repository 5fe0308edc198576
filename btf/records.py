"""One BTF type record and what it contains, decoded when asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from surftrace.btf.format import INT_BOOL, INT_SIGNED, KIND_FLAG, VLEN_MASK, Kind

if TYPE_CHECKING:
    from surftrace.btf.reader import Btf

_SIZED = (Kind.INT, Kind.STRUCT, Kind.UNION, Kind.ENUM, Kind.ENUM64, Kind.FLOAT, Kind.DATASEC)
_ENUMS = (Kind.ENUM, Kind.ENUM64)


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a structure or union; `bit_field_size` is 0 for one that is no bit field."""

    name: str  # '' for an anonymous one
    type_id: int
    bit_offset: int
    bit_field_size: int


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a function; a last one without name and type stands for `...`."""

    name: str
    type_id: int


@dataclass(frozen=True, slots=True)
class Enumerator:
    """One constant of an enumeration."""

    name: str
    value: int


@dataclass(frozen=True, slots=True)
class BtfType:
    """A type record. `Kind.VOID` has the id 0."""

    btf: Btf
    id: int
    kind: Kind
    name_offset: int
    info: int
    size_or_type: int
    tail: int  # index of the first word after the common part

    @property
    def name(self) -> str:
        """The name, or '' for an anonymous type."""
        return self.btf.string(self.name_offset) if self.name_offset else ""

    @property
    def size(self) -> int:
        """Bytes of a type that states its size."""
        assert self.kind in _SIZED, self.kind
        return self.size_or_type

    @property
    def type_id(self) -> int:
        """The type that this one refers to."""
        if self.kind is Kind.ARRAY:
            return self._word(0)
        assert self.kind not in _SIZED, self.kind
        return self.size_or_type

    @property
    def length(self) -> int:
        """Elements of an array."""
        assert self.kind is Kind.ARRAY
        return self._word(2)

    @property
    def vlen(self) -> int:
        """How many members, parameters or enumerators there are; of a function, its linkage."""
        return self.info & VLEN_MASK

    @property
    def kind_flag(self) -> bool:
        """Members hold bit field sizes; a forward declaration is of a union; an enumeration is signed."""
        return bool(self.info & KIND_FLAG)

    @property
    def is_complete(self) -> bool:
        """Not only the name of a structure, union or enumeration."""
        return self.kind is not Kind.FWD and (self.kind not in _ENUMS or self.vlen > 0)

    @property
    def is_signed(self) -> bool:
        """Of an INT, an ENUM or an ENUM64."""
        if self.kind is Kind.INT:
            # pahole of the time of Linux 5.10 marks no character type as signed.
            return bool(self._encoding & INT_SIGNED) or self.name == "signed char"
        # pahole before 1.24 left the flag unset and the kernel's tools showed all values as signed.
        return self.kind_flag or (self.kind is Kind.ENUM and not self.btf.has_signed_enums)

    @property
    def is_bool(self) -> bool:
        """Of an INT."""
        return bool(self._encoding & INT_BOOL)

    @property
    def bits(self) -> int:
        """Of an INT: bits in use. Fewer than the size has: a bit field of the time before `kind_flag`."""
        return self._word(0) & 0xFF

    @property
    def first_bit(self) -> int:
        """Of an INT: where its bits begin."""
        return self._word(0) >> 16 & 0xFF

    @property
    def _encoding(self) -> int:
        return self._word(0) >> 24 & 0xF

    def _word(self, index: int) -> int:
        word: int = self.btf.words(self.tail + index, 1)[0]
        return word

    @property
    def members(self) -> tuple[Member, ...]:
        """Of a STRUCT or UNION."""
        string = self.btf.string
        words = self.btf.words(self.tail, 3 * self.vlen).tolist()
        members = zip(words[::3], words[1::3], words[2::3], strict=True)
        if not self.kind_flag:
            return tuple(Member(string(name) if name else "", type_id, bit, 0) for name, type_id, bit in members)
        return tuple(
            Member(string(name) if name else "", type_id, word & 0xFFFFFF, word >> 24)
            for name, type_id, word in members
        )

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Of a FUNC_PROTO."""
        string = self.btf.string
        words = self.btf.words(self.tail, 2 * self.vlen).tolist()
        parameters = zip(words[::2], words[1::2], strict=True)
        return tuple(Parameter(string(name) if name else "", type_id) for name, type_id in parameters)

    @property
    def enumerators(self) -> tuple[Enumerator, ...]:
        """Of an ENUM or ENUM64."""
        string = self.btf.string
        each = 3 if self.kind is Kind.ENUM64 else 2
        words = self.btf.words(self.tail, each * self.vlen).tolist()
        values = words[1::each]
        if each == 3:
            values = [low | high << 32 for low, high in zip(values, words[2::3], strict=True)]
        if self.is_signed:
            sign = 1 << (63 if each == 3 else 31)
            values = [(value ^ sign) - sign for value in values]
        names = words[::each]
        return tuple(Enumerator(string(name), value) for name, value in zip(names, values, strict=True))
