"""An object file in, as modules are, the same out as if it were linked: each section at an address of its own.

In its file every section begins at 0, and addresses are left to relocations: symbols get addresses here, and the
relocations of the DWARF are applied. Formats: elf(5); each machine's ABI supplement has the types of its relocations.
"""

import struct
import zlib
from collections.abc import Mapping
from enum import Enum, auto
from struct import Struct
from typing import NamedTuple

from surftrace.dwarf.errors import DwarfError
from surftrace.dwarf.packed import MAX_BYTES
from surftrace.record import record

_HEAD_SIZE = 64
_IS_64_BIT, _LITTLE = 2, 1
_ET_REL, _ET_EXEC = 1, 2
_TYPE_AT, _MACHINE_AT, _SECTIONS_AT, _COUNT_AT, _NAMES_AT = 16, 18, 40, 60, 62
_SHT_SYMTAB, _SHT_RELA, _SHT_NOBITS = 2, 4, 8
_SHF_ALLOC, _SHF_COMPRESSED = 0x2, 0x800
_SHN_UNDEF, _SHN_LORESERVE = 0, 0xFF00
_ELFCOMPRESS_ZLIB = 1
# Address 0 stays free: in DWARF it may stand for code that is not there.
_FIRST_ADDRESS = 0x1000


class _Change(Enum):
    """What a relocation does to what stands there: with an address, or with the distance from there to one."""

    SET = auto()
    ADD = auto()
    SUBTRACT = auto()
    SET_DISTANCE = auto()


def _run(first: int, change: _Change, *widths: int) -> dict[int, tuple[int, _Change]]:
    """Relocations that are numbered in a row, by their widths in bits."""
    return {first + index: (bits, change) for index, bits in enumerate(widths)}


_A64, _A32 = (64, _Change.SET), (32, _Change.SET)
_D64, _D32 = (64, _Change.SET_DISTANCE), (32, _Change.SET_DISTANCE)
# The relocations that DWARF has, by the machine's number and their own. Those of number 0 do nothing.
_RELOCATIONS = {
    21: {38: _A64, 1: _A32, 44: _D64, 26: _D32},  # ppc64
    22: {22: _A64, 4: _A32, 23: _D64, 5: _D32},  # s390x
    62: {1: _A64, 10: _A32, 11: _A32, 24: _D64, 2: _D32},  # x86_64
    183: {257: _A64, 258: _A32, 260: _D64, 261: _D32},  # aarch64
    # riscv64 and loongarch64 leave to the linker what other assemblers count: how long code is.
    243: {2: _A64, 1: _A32, 57: _D32}
    | _run(33, _Change.ADD, 8, 16, 32, 64)
    | _run(37, _Change.SUBTRACT, 8, 16, 32, 64)
    | _run(52, _Change.SUBTRACT, 6)
    | _run(53, _Change.SET, 6, 8, 16, 32),
    258: {2: _A64, 1: _A32, 109: _D64, 99: _D32}
    | _run(47, _Change.ADD, 8, 16)
    | _run(50, _Change.ADD, 32, 64)
    | _run(52, _Change.SUBTRACT, 8, 16)
    | _run(55, _Change.SUBTRACT, 32, 64)
    | _run(105, _Change.ADD, 6)
    | _run(106, _Change.SUBTRACT, 6),
}


class _Section(NamedTuple):
    """A section's header, as it lies in the file."""

    name: int
    type: int
    flags: int
    address: int
    offset: int
    size: int
    link: int
    info: int
    alignment: int
    entry_size: int


@record
class _Formats:
    """The structures of a file, in its byte order."""

    by_size: Mapping[int, Struct]
    section: Struct
    symbol: Struct
    relocation: Struct
    compression: Struct

    @classmethod
    def of(cls, is_little: bool) -> "_Formats":
        order = "<" if is_little else ">"
        integers = {1: "B", 2: "H", 4: "I", 8: "Q"}
        texts = ("IIQQQQIIQQ", "IBBHQQ", "QQq", "IIQQ")
        return cls(
            {size: Struct(order + text) for size, text in integers.items()}, *(Struct(order + text) for text in texts)
        )

    def number(self, data: memoryview | bytearray, size: int, offset: int) -> int:
        """An unsigned number of so many bytes."""
        return int(self.by_size[size].unpack_from(data, offset)[0])


def linked(data: memoryview, path: str) -> memoryview:
    """The file as if it were linked; as it is where it is no object file of a 64-bit machine.

    DwarfError where it is damaged.
    """
    if len(data) < _HEAD_SIZE or data[4] != _IS_64_BIT:
        return data
    formats = _Formats.of(data[5] == _LITTLE)
    if formats.number(data, 2, _TYPE_AT) != _ET_REL:
        return data
    try:
        return memoryview(_Linking(data, formats, path).run())
    except (struct.error, zlib.error, LookupError, OverflowError, ValueError) as error:
        raise DwarfError(f"{path} is a damaged ELF file: {error}") from None


class _Linking:
    """One file on its way: `image` is what becomes of it."""

    def __init__(self, data: memoryview, formats: _Formats, path: str) -> None:
        self.image = bytearray(data)
        self.formats = formats
        self.path = path
        self.table_offset = formats.number(data, 8, _SECTIONS_AT)
        self.relocations = _RELOCATIONS.get(formats.number(data, 2, _MACHINE_AT), {})
        count = formats.number(data, 2, _COUNT_AT)
        size = formats.section.size
        headers = data[self.table_offset : self.table_offset + count * size]
        self.sections = [_Section(*each) for each in formats.section.iter_unpack(headers)]

    def run(self) -> bytearray:
        self.formats.by_size[2].pack_into(self.image, _TYPE_AT, _ET_EXEC)
        self.place_sections()
        for section in self.sections:
            if section.type == _SHT_SYMTAB:
                self.place_symbols(section)
        for section in self.sections:
            if section.type == _SHT_RELA:
                self.relocate(section)
        return self.image

    def place_sections(self) -> None:
        """Give an address to each section that is loaded."""
        address = _FIRST_ADDRESS
        for number, section in enumerate(self.sections):
            if section.flags & _SHF_ALLOC:
                address = -(-address // max(section.alignment, 1)) * max(section.alignment, 1)
                self.put_section(number, section._replace(address=address))
                address += section.size

    def put_section(self, number: int, section: _Section) -> None:
        self.sections[number] = section
        self.formats.section.pack_into(self.image, self.table_offset + number * self.formats.section.size, *section)

    def content(self, section: _Section) -> bytes:
        """The section's bytes, unpacked."""
        if section.type == _SHT_NOBITS:
            return b""
        content = bytes(self.image[section.offset : section.offset + section.size])
        if len(content) < section.size:
            raise ValueError(f"{section.size} bytes at {section.offset:#x} are not in the file")
        if not section.flags & _SHF_COMPRESSED:
            return content
        kind, _, size, _ = self.formats.compression.unpack_from(content)
        if kind != _ELFCOMPRESS_ZLIB:
            raise DwarfError(f"sections of {self.path} are compressed, and not by zlib", "objcopy unpacks them")
        if not 0 < size <= MAX_BYTES - len(self.image):
            raise ValueError(f"a section of {size} bytes")
        return zlib.decompressobj().decompress(content[self.formats.compression.size :], size)

    def place_symbols(self, table: _Section) -> None:
        """Make the symbols' values addresses: they count from the start of their sections."""
        symbol = self.formats.symbol
        for at in range(table.offset, table.offset + table.size, symbol.size):
            name, kind, visibility, section, value, size = symbol.unpack_from(self.image, at)
            if _SHN_UNDEF < section < _SHN_LORESERVE:
                address = (value + self.sections[section].address) % (1 << 64)
                symbol.pack_into(self.image, at, name, kind, visibility, section, address, size)

    def relocate(self, table: _Section) -> None:
        """Apply relocations to what tells of code: what is loaded itself is left as it is."""
        target = self.sections[table.info]
        if target.type == _SHT_NOBITS or (target.flags & _SHF_ALLOC and not self.is_call_frames(target)):
            return
        content = bytearray(self.content(target))
        entries = self.content(self.sections[table.link])
        values = [entry[4] for entry in self.formats.symbol.iter_unpack(entries)]
        for offset, kind_and_symbol, addend in self.formats.relocation.iter_unpack(self.content(table)):
            kind = kind_and_symbol & 0xFFFFFFFF
            if kind in self.relocations:
                value = values[kind_and_symbol >> 32] + addend
                self.change(content, offset, *self.relocations[kind], value, target.address + offset)
            elif kind:
                raise DwarfError(f"{self.path} has relocations of a type that is not known here: {kind}")
        self.put_content(table.info, content)

    def change(self, content: bytearray, offset: int, bits: int, how: _Change, value: int, place: int) -> None:
        """Do what a relocation asks for at that offset, which is at the address `place`."""
        format_ = self.formats.by_size[-(-bits // 8)]
        before = int(format_.unpack_from(content, offset)[0])
        mask = (1 << bits) - 1
        match how:
            case _Change.SET:
                after = value
            case _Change.ADD:
                after = before + value
            case _Change.SUBTRACT:
                after = before - value
            case _Change.SET_DISTANCE:
                after = value - place
        format_.pack_into(content, offset, before & ~mask | after & mask)

    def is_call_frames(self, section: _Section) -> bool:
        """Is this .eh_frame, which is loaded in programs?"""
        names = self.sections[self.formats.number(self.image, 2, _NAMES_AT)]
        return self.image.startswith(b".eh_frame\0", names.offset + section.name)

    def put_content(self, number: int, content: bytearray) -> None:
        """Replace a section's bytes; what was compressed goes to the end of the file."""
        section = self.sections[number]
        if len(content) == section.size:
            self.image[section.offset : section.offset + section.size] = content
            return
        flags = section.flags & ~_SHF_COMPRESSED
        self.put_section(number, section._replace(flags=flags, offset=len(self.image), size=len(content)))
        self.image += content
