"""A symbol table of an ELF file in, the symbols of a name out. Format: elf(5)."""

import re
from bisect import bisect_right
from collections.abc import Iterator
from enum import IntEnum
from struct import Struct
from typing import Literal

from surftrace.kernel.symbols import CLONE_SUFFIX
from surftrace.record import record

ENTRY_SIZE = 24
_SHN_UNDEF, _SHN_ABS = 0, 0xFFF1
_STB_LOCAL = 0
_ENDLESS = 1 << 64
_MAX_AROUND = 64
_VERSION = rb"(?:@[^\0]*)?"


class SymbolKind(IntEnum):
    """What a symbol stands for: STT_ of elf(5); other values are of no interest."""

    NOTYPE = 0
    OBJECT = 1
    FUNC = 2
    FILE = 4
    TLS = 6
    GNU_IFUNC = 10


@record
class Symbol:
    """A symbol. `version` is empty, or as in `memcpy@@GLIBC_2.14` with its signs: one `@` where it is not the default.

    `kind` is a SymbolKind or another number; `file` the source file of a static function, where that is known.
    """

    name: str
    version: str
    address: int
    size: int
    kind: int
    is_defined: bool
    file: str = ""

    @property
    def is_old_version(self) -> bool:
        """Is it kept for programs that were linked long ago?"""
        return self.version.startswith("@") and not self.version.startswith("@@")


@record
class SymbolTable:
    """A symbol table's entries and strings, searched as they are. `versions`: each entry's, for dynamic symbols."""

    entries: bytes
    strings: bytes
    byteorder: Literal["little", "big"]
    versions: tuple[str, ...] = ()

    def named(self, name: str) -> list[Symbol]:
        """Every symbol of exactly this name, of whatever version."""
        return list(self._matching(re.escape(_encoded(name)) + _VERSION))

    def clones(self, name: str) -> list[Symbol]:
        """The functions that the compiler made of the one of this name: `name.isra.0` and its like."""
        return list(self._matching(re.escape(_encoded(name)) + CLONE_SUFFIX))

    def variants(self, name: str) -> list[Symbol]:
        """The functions `__name_...`: what C libraries call those that an IFUNC chooses from. `__name_chk` is none."""
        symbols = self._matching(rb"__" + re.escape(_encoded(name)) + rb"_(?!chk)[a-z0-9_]+")
        return [symbol for symbol in symbols if symbol.kind == SymbolKind.FUNC]

    def mangled(self, part: str, limit: int) -> Iterator[Symbol]:
        """The first functions that C++ or Rust named, with that text in their names."""
        symbols = self._matching(rb"_Z[^\0]*?" + re.escape(_encoded(part)) + rb"[^\0]*")
        return (symbol for symbol, _ in zip(symbols, range(limit), strict=False) if symbol.is_defined)

    def all(self) -> Iterator[Symbol]:
        """Every symbol that is defined here."""
        symbols = (self._at(index, None) for index in range(len(self.entries) // ENTRY_SIZE))
        return (symbol for symbol in symbols if symbol.is_defined and symbol.name)

    def function_names(self) -> Iterator[str]:
        """The name of every function that is defined here."""
        for name, info, _, section, _, _ in self._symbol.iter_unpack(self.entries):
            if info & 0xF == SymbolKind.FUNC and section != _SHN_UNDEF:
                yield self._string(name).partition("@")[0]

    def ranges(self, kind: SymbolKind) -> "SymbolRanges":
        """The functions, or the variables, by where they are."""
        entries = enumerate(self._symbol.iter_unpack(self.entries))
        found = sorted(
            (value, size, index)
            for index, (_, info, _, section, value, size) in entries
            if info & 0xF == kind and section != _SHN_UNDEF
        )
        return SymbolRanges(self, found)

    def at(self, index: int) -> Symbol:
        """The symbol of an entry."""
        return self._at(index, None)

    @property
    def _symbol(self) -> Struct:
        return Struct("<IBBHQQ" if self.byteorder == "little" else ">IBBHQQ")

    def _string(self, offset: int) -> str:
        end = self.strings.find(b"\0", offset)
        return self.strings[offset : end if end >= 0 else offset].decode(errors="replace")

    def _matching(self, name: bytes) -> Iterator[Symbol]:
        # Tables share the tails of names: any place in the strings may be a name's start.
        offsets = {match.start() for match in re.finditer(rb"(?=%s\0)" % name, self.strings)}
        if not offsets:
            return
        heads = Struct(("<" if self.byteorder == "little" else ">") + "IBxH16x")
        file_offset = None
        for index, (offset, info, section) in enumerate(heads.iter_unpack(self.entries)):
            if section == _SHN_ABS and info & 0xF == SymbolKind.FILE:
                file_offset = offset
            if offset in offsets:
                yield self._at(index, file_offset)

    def _at(self, index: int, file_offset: int | None) -> Symbol:
        """The symbol of an entry; `file_offset` is where the name of the last source file up to it stands, if any."""
        offset, info, _, section, value, size = self._symbol.unpack_from(self.entries, index * ENTRY_SIZE)
        name, at, version = self._string(offset).partition("@")
        if not at and index < len(self.versions):
            version = self.versions[index]
        is_local = info >> 4 == _STB_LOCAL
        return Symbol(
            name,
            at + version,
            value,
            size,
            info & 0xF,
            section != _SHN_UNDEF,
            self._string(file_offset) if is_local and file_offset is not None else "",
        )


class SymbolRanges:
    """Symbols of a table by where they are. `ranges`: address, size and index of each, sorted."""

    def __init__(self, table: SymbolTable, ranges: list[tuple[int, int, int]]) -> None:
        self._table = table
        self._ranges = ranges

    def at(self, address: int) -> Symbol | None:
        """What is at an address; of several, the last to begin. One without a size is a byte long."""
        last = bisect_right(self._ranges, (address, _ENDLESS, 0))
        # What began before may go on around what began later: an assembler's function around its parts.
        for value, size, index in reversed(self._ranges[max(0, last - _MAX_AROUND) : last]):
            if address < value + max(size, 1):
                return self._table.at(index)
        return None


def _encoded(name: str) -> bytes:
    return name.encode(errors="surrogateescape")
