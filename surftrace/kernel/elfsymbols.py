"""A symbol table of an ELF file in, the symbols of a name out. Format: elf(5)."""

import re
from collections.abc import Iterator
from enum import IntEnum
from struct import Struct
from typing import Literal

from surftrace.kernel.symbols import CLONE_SUFFIX
from surftrace.record import record

ENTRY_SIZE = 24
_SHN_UNDEF, _SHN_ABS = 0, 0xFFF1
_STB_LOCAL = 0
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

    def function_names(self) -> Iterator[str]:
        """The name of every function that is defined here."""
        for name, info, _, section, _, _ in self._symbol.iter_unpack(self.entries):
            if info & 0xF == SymbolKind.FUNC and section != _SHN_UNDEF:
                yield self._string(name).partition("@")[0]

    def function_at(self, address: int) -> Symbol | None:
        """The function whose code is at an address; of several, the last to begin."""
        return self._over(address, SymbolKind.FUNC)

    def object_at(self, address: int) -> Symbol | None:
        """The variable that an address is in; of several, the last to begin."""
        return self._over(address, SymbolKind.OBJECT)

    def _over(self, address: int, kind: SymbolKind) -> Symbol | None:
        best: tuple[int, int] | None = None
        for index, (_, info, _, section, value, size) in enumerate(self._symbol.iter_unpack(self.entries)):
            is_candidate = info & 0xF == kind and section != _SHN_UNDEF
            if is_candidate and value <= address < value + max(size, 1) and (best is None or value > best[0]):
                best = value, index
        return self._at(best[1], None) if best is not None else None

    def functions_of_file(self, name: str) -> list[int]:
        """The address of one static function for each source file of this name, whatever its folder."""
        found = []
        is_wanted = False
        for offset, info, _, section, value, _ in self._symbol.iter_unpack(self.entries):
            if info & 0xF == SymbolKind.FILE and section == _SHN_ABS:
                is_wanted = self._string(offset) == name
            elif is_wanted and info & 0xF == SymbolKind.FUNC and info >> 4 == _STB_LOCAL:
                found.append(value)
                is_wanted = False
        return found

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


def _encoded(name: str) -> bytes:
    return name.encode(errors="surrogateescape")
