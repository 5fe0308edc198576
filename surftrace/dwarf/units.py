"""An ELF file's DWARF, a compilation unit at a time: the function at an address, its lines, what is in scope there.

drgn tells types; lines and the places of variables it keeps to itself. pyelftools parses them, over a view of the file
that is mapped, not read: of a kernel's 150 MB only the unit that is asked for is ever looked at.
"""

import itertools
import re
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Literal, TypeVar, cast

from surftrace.dwarf.common import common_file
from surftrace.dwarf.errors import DwarfError, guarded
from surftrace.dwarf.filenames import files_of_program, text_in
from surftrace.dwarf.frames import frame_rule
from surftrace.dwarf.linking import linked
from surftrace.dwarf.packed import content_of, view_of
from surftrace.record import record

if TYPE_CHECKING:
    from elftools.dwarf.compileunit import CompileUnit
    from elftools.dwarf.die import DIE
    from elftools.dwarf.dwarfinfo import DebugSectionDescriptor, DWARFInfo
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
_ASSEMBLER = 0x8001  # DW_LANG_Mips_Assembler, which GNU as writes
_IS_WIDE = 0xFFFFFFFF  # a length of 64 bits follows: DWARF 5, 7.4
# A unit's header and the names in its first entry: of the compiler, of the source file, of the folder.
_UNIT_HEAD = 512
_MAX_NAMESPACES = 64
_AROUND_FUNCTIONS = tuple(
    f"DW_TAG_{tag}" for tag in ("subprogram", "namespace", "lexical_block", "structure_type", "class_type")
)
_MAX_ORIGINS = 8  # they may be chained: a damaged file's go round


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

    @property
    def is_external(self) -> bool:
        """May code of other units call it by its name?"""
        return bool(number_of(self.die, "DW_AT_external"))

    @property
    def is_assembler(self) -> bool:
        """Is it written in assembler, of which DWARF has lines, and neither parameters nor a result?"""
        return number_of(unit_of(self.die).get_top_DIE(), "DW_AT_language") == _ASSEMBLER

    def holds(self, address: int) -> bool:
        """Is this address in its code?"""
        return any(low <= address < high for low, high in self.ranges)


class DwarfFile:
    """One file; `data` has a module's as if it were linked.

    `code_path` is the file with the code, where that is another: its frames are described there. Every method may
    raise DwarfError: for damage, or for what was compiled without -g.
    """

    def __init__(self, path: str, code_path: str = "") -> None:
        from elftools.elf.elffile import ELFFile

        self.path = path
        data = linked(content_of(path).data, path)
        self.info = self.guarded(lambda: _dwarf_info(ELFFile(view_of(data)), data))
        if self.info.debug_info_sec is None:
            raise DwarfError(f"{path} has no DWARF: there is no .debug_info section")
        self.data = data
        self._code_path = code_path
        if (common := common_file(path)) is not None:
            self.info.supplementary_dwarfinfo = DwarfFile(common).info

    def guarded(self, parse: Callable[[], _T]) -> _T:
        """What is parsed; DwarfError where the file is damaged."""
        return guarded(parse, f"the DWARF of {self.path}")

    def function_at(self, address: int) -> Function | None:
        """The function whose code is there; None where no unit has it, as for assembler."""
        return self.guarded(lambda: self._function_at(address))

    def _function_at(self, address: int) -> Function | None:
        unit = self.unit_at(address)
        if unit is None:
            return None
        top = unit.get_top_DIE()
        for die in itertools.chain(_subprograms(top), _local_subprograms(top)):
            if any(low <= address < high for low, high in self.ranges_of(die)):
                return self._function(die)
        return None

    def functions_of(self, unit: "CompileUnit") -> Iterator[Function]:
        """All functions with code of a unit."""
        return iter(self.guarded(lambda: list(self._functions_of(unit))))

    def _functions_of(self, unit: "CompileUnit") -> Iterator[Function]:
        for die in _subprograms(unit.get_top_DIE()):
            if self.ranges_of(die):
                yield self._function(die)

    def _function(self, die: "DIE") -> Function:
        ranges = tuple(self.ranges_of(die))
        number, low = number_of(die, "DW_AT_decl_file"), number_of(die, "DW_AT_low_pc")
        file = self.files_of(home_of(die)).get(number, "") if number is not None else ""
        line = number_of(die, "DW_AT_decl_line") or 0
        return Function(name_of(die), low if low is not None else ranges[0][0], ranges, file, line, die)

    def unit_at(self, address: int) -> "CompileUnit | None":
        """The unit that has the code at an address."""
        return self.guarded(lambda: self._unit_at(address))

    def _unit_at(self, address: int) -> "CompileUnit | None":
        aranges = self.info.get_aranges()
        offset = aranges.cu_offset_at_addr(address) if aranges is not None else None
        if offset is not None:
            return self.info.get_CU_at(offset)
        # Clang's units are not in that section, also where it has those that GCC made.
        listed = {entry.info_offset for entry in aranges.entries} if aranges is not None else set()
        others = (unit for unit in self.units() if unit.cu_offset not in listed)
        return next((unit for unit in others if self._covers(unit, address)), None)

    def units(self) -> Iterator["CompileUnit"]:
        """All units, in the file's order."""
        return self.info.iter_CUs()

    def units_of_file(self, name: str) -> list["CompileUnit"]:
        """The units that may be compiled of a source file of that name, whatever its folder.

        To parse the first entry of each of a kernel's 3,000 units takes half a minute: here only those are parsed whose
        first bytes have the name, or the offset of a string that ends in it.
        """
        return self.guarded(lambda: list(self._units_of_file(name.encode(errors="surrogateescape"))))

    def _units_of_file(self, name: bytes) -> Iterator["CompileUnit"]:
        assert self.info.debug_info_sec is not None
        order: Literal["little", "big"] = "little" if self.info.config.little_endian else "big"
        marks = {name + b"\0"}
        for section in (self.info.debug_str_sec, self.info.debug_line_str_sec):
            strings = _whole(section) if section is not None else b""
            starts = (
                strings.rfind(b"\0", 0, each.start()) + 1 for each in re.finditer(re.escape(name) + b"\0", strings)
            )
            marks.update(start.to_bytes(4, order) for start in starts)
        pattern = re.compile(b"|".join(map(re.escape, marks)))
        stream = self.info.debug_info_sec.stream
        at, end = 0, self.info.debug_info_sec.size
        if self.info.debug_str_offsets_sec is not None:  # Clang's units name a string by its number: any may have it
            yield from self.units()
            return
        while at < end:
            stream.seek(at)
            head = stream.read(_UNIT_HEAD)
            length, size = int.from_bytes(head[:4], order), 4
            if length == _IS_WIDE:
                length, size = int.from_bytes(head[4:12], order), 12
            if pattern.search(head):
                yield self.info.get_CU_at(at)
            at += length + size

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
        program = self.guarded(lambda: self.info.line_program_for_CU(unit))
        return self.guarded(lambda: files_of_program(program)) if program is not None else {}

    def frame_rule(self, address: int) -> tuple[int, int] | None:
        """The canonical frame address there, as a register's number and what is added; None where nothing tells."""
        return self.guarded(lambda: frame_rule(self._frames, address))

    @cached_property
    def _frames(self) -> tuple["DWARFInfo", ...]:
        from elftools.elf.elffile import ELFFile

        if self.info.has_EH_CFI() or self._code_path in ("", self.path):
            return (self.info,)
        data = content_of(self._code_path).data
        return self.info, _dwarf_info(ELFFile(view_of(data)), data)

    def folder_of(self, unit: "CompileUnit") -> str:
        """The folder that the compiler ran in."""
        folder = unit.get_top_DIE().attributes.get("DW_AT_comp_dir")
        return text_in(folder.value) if folder is not None else ""

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


def _subprograms(around: "DIE", depth: int = 0) -> "Iterator[DIE]":
    """The functions of a unit, also those in C++'s namespaces."""
    for die in around.iter_children():
        if die.tag == "DW_TAG_subprogram":
            yield die
        elif die.tag == "DW_TAG_namespace" and depth < _MAX_NAMESPACES:
            yield from _subprograms(die, depth + 1)


def _local_subprograms(around: "DIE", depth: int = 0) -> "Iterator[DIE]":
    """The functions inside of others: those of C++'s local classes, lambdas."""
    for die in around.iter_children():
        if depth and die.tag == "DW_TAG_subprogram":
            yield die
        if die.tag in _AROUND_FUNCTIONS and depth < _MAX_NAMESPACES:
            yield from _local_subprograms(die, depth + 1)


def _whole(section: "DebugSectionDescriptor") -> bytes:
    section.stream.seek(0)
    return section.stream.read()


def unit_of(die: "DIE") -> "CompileUnit":
    """The unit that an entry is in."""
    return cast("CompileUnit", die.cu)


def split_name(unit: "CompileUnit") -> str:
    """The file that a unit's entries are in, where -gsplit-dwarf left only a skeleton of it; else empty."""
    top = unit.get_top_DIE()
    return text_of(top, "DW_AT_dwo_name") or text_of(top, "DW_AT_GNU_dwo_name")


def parameters_of(function: "DIE") -> "list[DIE]":
    """The entries of a function's parameters, in the order of the source: in a clone those that are left come first."""
    found = [child for child in function.iter_children() if child.tag == "DW_TAG_formal_parameter"]
    origins = [declaration_of(each) for each in found]
    if any(origin is None for origin in origins):
        return found
    places = {each.offset: origin.offset for each, origin in zip(found, origins, strict=True) if origin is not None}
    return sorted(found, key=lambda each: places[each.offset])


def home_of(die: "DIE") -> "CompileUnit":
    """The unit of the source that an entry was declared in: what is optimised as a whole has its code elsewhere."""
    for _ in range(_MAX_ORIGINS):
        origin = declaration_of(die)
        if origin is None:
            break
        die = origin
    return unit_of(die)


def name_of(die: "DIE") -> str:
    """The name of what an entry describes, here or where it was declared; empty for what has none."""
    return text_of(die, "DW_AT_name")


def text_of(die: "DIE", name: str) -> str:
    """An attribute that is a text, here or where the thing was declared; empty where it has none."""
    value = _value_of(die, name)
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


def _dwarf_info(elf: "ELFFile", data: memoryview) -> "DWARFInfo":
    from elftools.dwarf.dwarfinfo import DebugSectionDescriptor, DwarfConfig, DWARFInfo

    found = {section.name: section for section in elf.iter_sections()}

    def descriptor(name: str) -> "DebugSectionDescriptor | None":
        section = found.get(name)
        if section is None or section["sh_type"] == "SHT_NOBITS":
            return None
        offset, size = int(section["sh_offset"]), int(section["sh_size"])
        part = data[offset : offset + size]
        if section["sh_flags"] & _COMPRESSED:
            part = memoryview(section.data())
        return DebugSectionDescriptor(view_of(part), name, offset, len(part), int(section["sh_addr"]))

    config = DwarfConfig(elf.little_endian, elf.get_machine_arch(), elf.elfclass // 8)
    return DWARFInfo(config, **{parameter: descriptor(name) for parameter, name in _SECTIONS.items()})
