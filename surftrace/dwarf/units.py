"""An ELF file's DWARF, a compilation unit at a time: the function at an address, its lines, what is in scope there.

drgn tells types; lines and the places of variables it keeps to itself. pyelftools parses them, over a view of the file
that is mapped, not read: of a kernel's 150 MB only the unit that is asked for is ever looked at.
"""

import io
import mmap
from collections.abc import Callable, Iterator
from pathlib import Path
from struct import Struct
from typing import IO, TYPE_CHECKING, TypeVar, cast

from surftrace.dwarf.debuginfo import DwarfError
from surftrace.record import record

if TYPE_CHECKING:
    from elftools.dwarf.callframe import ZERO, CFIEntry
    from elftools.dwarf.compileunit import CompileUnit
    from elftools.dwarf.die import DIE
    from elftools.dwarf.dwarfinfo import DebugSectionDescriptor, DWARFInfo
    from elftools.dwarf.lineprogram import LineProgram
    from elftools.elf.elffile import ELFFile

_T = TypeVar("_T")

# The parameters of pyelftools' DWARFInfo, each with its section.
_SECTIONS = {
    "debug_info_sec": ".debug_info",
    "debug_aranges_sec": ".debug_aranges",
    "debug_abbrev_sec": ".debug_abbrev",
    "debug_frame_sec": ".debug_frame",
    "eh_frame_sec": ".eh_frame",
    "debug_str_sec": ".debug_str",
    "debug_loc_sec": ".debug_loc",
    "debug_ranges_sec": ".debug_ranges",
    "debug_line_sec": ".debug_line",
    "debug_pubtypes_sec": ".debug_pubtypes",
    "debug_pubnames_sec": ".debug_pubnames",
    "debug_addr_sec": ".debug_addr",
    "debug_str_offsets_sec": ".debug_str_offsets",
    "debug_line_str_sec": ".debug_line_str",
    "debug_loclists_sec": ".debug_loclists",
    "debug_rnglists_sec": ".debug_rnglists",
    "debug_sup_sec": ".debug_sup",
    "gnu_debugaltlink_sec": ".gnu_debugaltlink",
    "debug_types_sec": ".debug_types",
}
_COMPRESSED = 0x800
_IS_COMMON = 0xFFFFFFFF  # a CIE in .debug_frame
_MAX_ORIGINS = 8  # they may be chained: a damaged file's go round


class _View(io.RawIOBase):
    """A part of a mapped file as a stream, which is what pyelftools parses."""

    def __init__(self, data: memoryview) -> None:
        super().__init__()
        self._data = data
        self._at = 0

    def read(self, size: int | None = -1, /) -> bytes:
        end = len(self._data) if size is None or size < 0 else self._at + size
        part = bytes(self._data[self._at : end])
        self._at += len(part)
        return part

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: len(self._data)}[whence]
        self._at = max(0, start + offset)
        return self._at

    def tell(self) -> int:
        return self._at


@record
class LineRow:
    """From this address on the code is of that line; `file` as the compiler was given it."""

    address: int
    file: str
    line: int
    is_statement: bool


@record
class Function:
    """A function with code of its own. `ranges` are half-open; `line` is where its name stands in `file`."""

    name: str
    address: int
    ranges: tuple[tuple[int, int], ...]
    file: str
    line: int
    die: "DIE"

    def holds(self, address: int) -> bool:
        """Is this address in its code?"""
        return any(low <= address < high for low, high in self.ranges)


class DwarfFile:
    """One file. Every method may raise DwarfError: for damage, or for what was compiled without -g."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.info = self._opened()

    def _opened(self) -> "DWARFInfo":
        from elftools.elf.elffile import ELFFile

        try:
            file = Path(self.path).open("rb")  # noqa: SIM115 # the mapping holds it
            data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        except (OSError, ValueError) as error:
            raise DwarfError(f"cannot read {self.path}: {getattr(error, 'strerror', None) or error}") from None
        return self.guarded(lambda: _dwarf_info(ELFFile(file), data, self.path))

    def guarded(self, parse: Callable[[], _T]) -> _T:
        """What is parsed; DwarfError where the file is damaged."""
        try:
            return parse()
        except (DwarfError, MemoryError):
            raise
        except Exception as error:  # damaged DWARF makes pyelftools raise nearly anything
            raise DwarfError(f"the DWARF of {self.path} is damaged ({type(error).__name__}: {error})") from None

    def function_at(self, address: int) -> Function | None:
        """The function whose code is there; None where no unit has it, as for assembler."""
        return self.guarded(lambda: self._function_at(address))

    def _function_at(self, address: int) -> Function | None:
        unit = self.unit_at(address)
        if unit is None:
            return None
        for die in unit.get_top_DIE().iter_children():
            if die.tag == "DW_TAG_subprogram" and any(low <= address < high for low, high in self.ranges_of(die)):
                return self._function(die)
        return None

    def functions_of(self, unit: "CompileUnit") -> Iterator[Function]:
        """All functions with code of a unit."""
        for die in unit.get_top_DIE().iter_children():
            if die.tag == "DW_TAG_subprogram" and self.ranges_of(die):
                yield self._function(die)

    def _function(self, die: "DIE") -> Function:
        ranges = tuple(self.ranges_of(die))
        number, low = number_of(die, "DW_AT_decl_file"), number_of(die, "DW_AT_low_pc")
        file = self.files_of(unit_of(die)).get(number, "") if number is not None else ""
        line = number_of(die, "DW_AT_decl_line") or 0
        return Function(name_of(die), low if low is not None else ranges[0][0], ranges, file, line, die)

    def unit_at(self, address: int) -> "CompileUnit | None":
        """The unit that has the code at an address."""
        aranges = self.info.get_aranges()
        offset = aranges.cu_offset_at_addr(address) if aranges is not None else None
        if offset is not None:
            return self.info.get_CU_at(offset)
        if aranges is not None:
            return None
        return next((unit for unit in self.units() if self._covers(unit, address)), None)

    def units(self) -> Iterator["CompileUnit"]:
        """All units, in the file's order."""
        return self.info.iter_CUs()

    def _covers(self, unit: "CompileUnit", address: int) -> bool:
        return any(low <= address < high for low, high in self.ranges_of(unit.get_top_DIE()))

    def ranges_of(self, die: "DIE") -> list[tuple[int, int]]:
        """The addresses of a function, a block or a unit; none where it has no code."""
        attributes = die.attributes
        if "DW_AT_ranges" in attributes:
            return list(self._listed_ranges(die))
        if "DW_AT_low_pc" not in attributes or "DW_AT_high_pc" not in attributes:
            return []
        low, high = int(attributes["DW_AT_low_pc"].value), attributes["DW_AT_high_pc"]
        end = int(high.value) if high.form == "DW_FORM_addr" else low + int(high.value)
        return [(low, end)] if end > low else []

    def _listed_ranges(self, die: "DIE") -> Iterator[tuple[int, int]]:
        from elftools.dwarf.ranges import BaseAddressEntry

        lists = self.info.range_lists()
        if lists is None:
            return
        base = self.base_of(unit_of(die))
        for entry in lists.get_range_list_at_offset(die.attributes["DW_AT_ranges"].value, unit_of(die)):
            if isinstance(entry, BaseAddressEntry):
                base = entry.base_address
            else:
                start = 0 if getattr(entry, "is_absolute", False) else base
                if entry.end_offset > entry.begin_offset:
                    yield start + entry.begin_offset, start + entry.end_offset

    def base_of(self, unit: "CompileUnit") -> int:
        """The address that offsets in a unit's lists count from."""
        return number_of(unit.get_top_DIE(), "DW_AT_low_pc") or 0

    def files_of(self, unit: "CompileUnit") -> dict[int, str]:
        """The source files that a unit's numbers mean, each with its folder, as the compiler was given them."""
        program = self.info.line_program_for_CU(unit)
        return _files(program) if program is not None else {}

    def frame_rule(self, address: int) -> tuple[int, int] | None:
        """The canonical frame address there, as a register's number and what is added; None where nothing tells."""
        return self.guarded(lambda: next(self._frame_rules(address), None))

    def _frame_rules(self, address: int) -> Iterator[tuple[int, int]]:
        from elftools.dwarf.callframe import FDE, CFARule

        for entry in self._frame_entries(address):
            if not isinstance(entry, FDE):
                continue
            start = entry["initial_location"]
            if start <= address < start + entry["address_range"]:
                rows = [row for row in entry.get_decoded().table if row["pc"] <= address]
                rule = rows[-1]["cfa"] if rows else None
                if isinstance(rule, CFARule) and rule.reg is not None and rule.offset is not None:
                    yield rule.reg, rule.offset

    def _frame_entries(self, address: int) -> Iterator["CFIEntry | ZERO"]:
        """The entries of call frames that may be for an address."""
        if self.info.debug_frame_sec is not None:
            yield from self._debug_frame_entries(address)
        if self.info.has_EH_CFI():
            yield from self.info.EH_CFI_entries()

    def _debug_frame_entries(self, address: int) -> "list[CFIEntry | ZERO]":
        """The entry of .debug_frame for an address, with its common part: a kernel has 50,000, which take seconds."""
        from elftools.dwarf.callframe import CallFrameInfo

        section = self.info.debug_frame_sec
        assert section is not None
        section.stream.seek(0)
        data = section.stream.read()
        order = "<" if self.info.config.little_endian else ">"
        head, place = Struct(f"{order}II"), Struct(f"{order}QQ")
        at = 0
        while at + head.size + place.size <= len(data):
            length, common = head.unpack_from(data, at)
            if common != _IS_COMMON:
                start, size = place.unpack_from(data, at + head.size)
                if start <= address < start + size:
                    shared_length, _ = head.unpack_from(data, common)
                    shared = data[common : common + shared_length + 4]
                    own = head.pack(length, 0) + data[at + head.size : at + length + 4]
                    stream = io.BytesIO(shared + own)
                    return CallFrameInfo(stream, len(shared + own), 0, self.info.structs).get_entries()
            at += length + 4
        return []

    def folder_of(self, unit: "CompileUnit") -> str:
        """The folder that the compiler ran in."""
        folder = unit.get_top_DIE().attributes.get("DW_AT_comp_dir")
        return _text(folder.value) if folder is not None else ""

    def lines_of(self, unit: "CompileUnit") -> list[LineRow]:
        """The unit's line table, in the order of addresses within each sequence; ends of sequences are left out."""
        return self.guarded(lambda: list(self._lines_of(unit)))

    def _lines_of(self, unit: "CompileUnit") -> Iterator[LineRow]:
        program = self.info.line_program_for_CU(unit)
        if program is None:
            return
        files = self.files_of(unit)
        for entry in program.get_entries():
            state = entry.state
            if state is not None and not state.end_sequence:
                yield LineRow(int(state.address), files.get(state.file, ""), int(state.line), bool(state.is_stmt))


def unit_of(die: "DIE") -> "CompileUnit":
    """The unit that an entry is in."""
    return cast("CompileUnit", die.cu)


def name_of(die: "DIE") -> str:
    """The name of what an entry describes, here or where it was declared; empty for what has none."""
    value = _value_of(die, "DW_AT_name")
    return value.decode(errors="replace") if isinstance(value, bytes) else ""


def number_of(die: "DIE", name: str) -> int | None:
    """An attribute that is a number, here or where the thing was declared; None where it is neither."""
    value = _value_of(die, name)
    return value if isinstance(value, int) else None


def declaration_of(die: "DIE") -> "DIE | None":
    """The entry that an inlined or repeated one refers to."""
    for key in ("DW_AT_abstract_origin", "DW_AT_specification"):
        if key in die.attributes:
            return die.get_DIE_from_attribute(key)
    return None


def _value_of(die: "DIE", name: str) -> object:
    entry: DIE | None = die
    for _ in range(_MAX_ORIGINS):
        if entry is None:
            return None
        if name in entry.attributes:
            return entry.attributes[name].value
        entry = declaration_of(entry)
    return None


def _files(program: "LineProgram") -> dict[int, str]:
    header = program.header
    is_new = header["version"] >= 5
    # From version 5 on folder 0 is the one that the compiler ran in; before, it had no entry.
    folders = [""] if not is_new else []
    for each in header["directories" if is_new else "include_directory"]:
        folders.append(_text(each.get("DW_LNCT_path") if is_new else each))
    files = {}
    for number, entry in enumerate(header["file_entry"], 0 if is_new else 1):
        name, index = _text(entry.name), int(entry.dir_index)
        is_plain = name.startswith("/") or not 0 < index < len(folders) or not folders[index]
        files[number] = name if is_plain else f"{folders[index]}/{name}"
    return files


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else ""


def _dwarf_info(elf: "ELFFile", data: memoryview, path: str) -> "DWARFInfo":
    from elftools.dwarf.dwarfinfo import DebugSectionDescriptor, DwarfConfig, DWARFInfo

    found = {section.name: section for section in elf.iter_sections()}

    def descriptor(name: str) -> "DebugSectionDescriptor | None":
        section = found.get(name)
        if section is None or section["sh_type"] == "SHT_NOBITS":
            return None
        offset, size = int(section["sh_offset"]), int(section["sh_size"])
        part = data[offset : offset + size]
        if section["sh_flags"] & _COMPRESSED or elf["e_type"] == "ET_REL":
            part = memoryview(section.data())
        return DebugSectionDescriptor(cast("IO[bytes]", _View(part)), name, offset, len(part), int(section["sh_addr"]))

    if ".debug_info" not in found:
        raise DwarfError(f"{path} has no DWARF: there is no .debug_info section")
    config = DwarfConfig(elf.little_endian, elf.get_machine_arch(), elf.elfclass // 8)
    return DWARFInfo(config, **{parameter: descriptor(name) for parameter, name in _SECTIONS.items()})
