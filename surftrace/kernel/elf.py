"""An ELF file of a program or a library in, what probes on it need out: code, symbols, libraries, its debug file.

Format: elf(5); "Linux Standard Base", symbol versioning; gdb's manual, "Separate Debug Files".
"""

import os
from struct import Struct
from typing import TYPE_CHECKING, BinaryIO, Literal

from surftrace.errors import SurftraceError
from surftrace.kernel.elfsymbols import ENTRY_SIZE, SymbolTable
from surftrace.kernel.machine import Machine
from surftrace.record import record

if TYPE_CHECKING:
    from elftools.elf.elffile import ELFFile
    from elftools.elf.sections import Section

MAGIC = b"\x7fELF"
_HEAD_SIZE = 20
_TYPES = {1: "an object file that is not linked yet", 4: "a core dump"}
_LINKED_TYPES = (2, 3)
# Linux include/uapi/linux/elf-em.h.
_MACHINES = {
    3: "i386",
    8: "mips",
    20: "ppc",
    21: "ppc64",
    22: "s390x",
    40: "arm",
    62: "x86_64",
    183: "aarch64",
    243: "riscv64",
    258: "loongarch64",
}
_IS_64_BIT, _LITTLE, _BIG = 2, 1, 2
_PF_X = 1
_HIDDEN_VERSION = 0x8000
_MAX_VERSIONS = 0x7FFF
_BUILD_ID_NOTE = 3


class ObjectError(SurftraceError):
    """A program or a library cannot be probed, or not where it was asked."""


@record
class Segment:
    """Code as it is in memory and in the file."""

    address: int
    file_offset: int
    size: int


@record
class Elf:
    """What is known of an ELF file. `needed` are its libraries, `library_folders` where it looks for them first.

    `debug_link`: the name and the checksum of the file with its symbols; `small_symbols`: an ELF file with some of
    them, compressed with xz (Fedora's .gnu_debugdata).
    """

    code: tuple[Segment, ...]
    tables: tuple[SymbolTable, ...]
    has_full_table: bool
    needed: tuple[str, ...]
    library_folders: tuple[str, ...]
    build_id: str
    debug_link: tuple[str, int] | None
    small_symbols: bytes
    has_dwarf: bool

    def file_offset(self, address: int) -> int | None:
        """Where in the file the code of an address is; None where it has none."""
        for segment in self.code:
            if segment.address <= address < segment.address + segment.size:
                return address - segment.address + segment.file_offset
        return None


def head_problem(head: bytes, machine: Machine) -> str | None:
    """Why a file that begins so cannot be probed on a machine, or None."""
    if not head.startswith(MAGIC):
        return "is no ELF file, as programs and libraries are"
    if len(head) < _HEAD_SIZE or head[5] not in (_LITTLE, _BIG):
        return "is a damaged ELF file"
    byteorder: Literal["little", "big"] = "little" if head[5] == _LITTLE else "big"
    kind, number = (int.from_bytes(head[at : at + 2], byteorder) for at in (16, 18))
    name = _MACHINES.get(number, f"machine {number}")
    if name == "ppc64" and byteorder == "little":
        name = "ppc64le"
    if name == machine.name and head[4] != _IS_64_BIT:
        return f"is a 32-bit program for {name}: only 64-bit ones can be probed"
    if name != machine.name or byteorder != machine.byteorder:
        return f"is a program for {name}, not for {machine.name}"
    return None if kind in _LINKED_TYPES else f"is {_TYPES.get(kind, 'no program and no library')}"


def read_elf(file: BinaryIO, path: str, machine: Machine) -> Elf:
    """What a file says. ObjectError where it is damaged, or not for this machine."""
    from elftools.elf.elffile import ELFFile  # 20 ms, which a probe on the kernel need not pay

    problem = head_problem(file.read(_HEAD_SIZE), machine)
    if problem is not None:
        raise ObjectError(f"{path} {problem}")
    file.seek(0)
    try:
        return _read(ELFFile(file), _Sections(file), machine)
    except MemoryError:
        raise
    except Exception as error:  # a damaged ELF makes pyelftools raise nearly anything
        raise ObjectError(f"{path} is a damaged ELF file ({type(error).__name__}: {error})") from None


@record
class _Sections:
    """Reads what headers speak of, never more than the file has."""

    file: BinaryIO

    def check(self, offset: int, size: int) -> None:
        """Raise ValueError for a part that the file does not have."""
        if offset < 0 or size < 0 or offset + size > self.file.seek(0, os.SEEK_END):
            raise ValueError(f"{size} bytes at {offset:#x} are not in the file")

    def content(self, header: "Section") -> bytes:
        """A section's bytes."""
        if header["sh_type"] == "SHT_NOBITS":
            return b""
        offset, size = int(header["sh_offset"]), int(header["sh_size"])
        self.check(offset, size)
        self.file.seek(offset)
        return self.file.read(size)


def _read(elf: "ELFFile", sections: _Sections, machine: Machine) -> Elf:
    header = elf.header
    if header["e_shoff"]:
        sections.check(int(header["e_shoff"]), int(elf.num_sections()) * int(header["e_shentsize"]))
    sections.check(int(header["e_phoff"]), int(elf.num_segments()) * int(header["e_phentsize"]))
    code = tuple(
        Segment(int(each["p_vaddr"]), int(each["p_offset"]), int(each["p_filesz"]))
        for each in elf.iter_segments()
        if each["p_type"] == "PT_LOAD" and int(each["p_flags"]) & _PF_X
    )
    found = {section.name: section for section in elf.iter_sections()} if header["e_shoff"] else {}
    full, dynamic = (_table(found, name, elf, sections, machine) for name in (".symtab", ".dynsym"))
    needed, folders = _dynamic(found, elf)
    build_id = sections.content(found[".note.gnu.build-id"]) if ".note.gnu.build-id" in found else b""
    link = sections.content(found[".gnu_debuglink"]) if ".gnu_debuglink" in found else b""
    return Elf(
        code,
        tuple(table for table in (full, dynamic) if table is not None),
        full is not None,
        needed,
        folders,
        _build_id(build_id, machine),
        _debug_link(link, machine),
        sections.content(found[".gnu_debugdata"]) if ".gnu_debugdata" in found else b"",
        ".debug_info" in found and found[".debug_info"]["sh_type"] != "SHT_NOBITS",
    )


def _table(
    found: "dict[str, Section]", name: str, elf: "ELFFile", sections: _Sections, machine: Machine
) -> SymbolTable | None:
    section = found.get(name)
    if section is None or section["sh_type"] == "SHT_NOBITS":
        return None
    entries = sections.content(section)
    strings = sections.content(elf.get_section(int(section["sh_link"])))
    versions = _versions(found, sections, machine) if name == ".dynsym" else ()
    return SymbolTable(entries[: len(entries) // ENTRY_SIZE * ENTRY_SIZE], strings, machine.byteorder, versions)


def _versions(found: "dict[str, Section]", sections: _Sections, machine: Machine) -> tuple[str, ...]:
    """The version of each dynamic symbol that is defined: `@@NAME` of a default one, `@NAME` of others."""
    from elftools.elf.gnuversions import GNUVerDefSection

    numbers, definitions = found.get(".gnu.version"), found.get(".gnu.version_d")
    if numbers is None or not isinstance(definitions, GNUVerDefSection) or int(definitions["sh_info"]) > _MAX_VERSIONS:
        return ()
    names = {
        int(definition["vd_ndx"]): str(next(names).name)
        for definition, names in definitions.iter_versions()
        if definition["vd_ndx"] > 1  # the first is the library itself
    }
    content = sections.content(numbers)
    return tuple(
        ("@" if number & _HIDDEN_VERSION else "@@") + names[number & ~_HIDDEN_VERSION]
        if number & ~_HIDDEN_VERSION in names
        else ""
        for (number,) in Struct("<H" if machine.byteorder == "little" else ">H").iter_unpack(content)
    )


def _dynamic(found: "dict[str, Section]", elf: "ELFFile") -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names of the libraries that are needed, and the folders that are searched for them first."""
    from elftools.elf.dynamic import DynamicSection
    from elftools.elf.sections import StringTableSection

    section = found.get(".dynamic")
    if not isinstance(section, DynamicSection):
        return (), ()
    strings = elf.get_section(int(section["sh_link"]))
    if not isinstance(strings, StringTableSection):
        return (), ()
    texts = [
        (tag.entry.d_tag, strings.get_string(tag.entry.d_val))
        for tag in section.iter_tags()
        if tag.entry.d_tag in ("DT_NEEDED", "DT_RUNPATH", "DT_RPATH")
    ]
    needed = tuple(text for tag, text in texts if tag == "DT_NEEDED")
    return needed, tuple(folder for tag, text in texts if tag != "DT_NEEDED" for folder in text.split(":"))


def _build_id(note: bytes, machine: Machine) -> str:
    if len(note) < 16:
        return ""
    name_size, size, kind = Struct("<III" if machine.byteorder == "little" else ">III").unpack_from(note)
    is_build_id = name_size == 4 and kind == _BUILD_ID_NOTE and note[12:16] == b"GNU\0"
    return note[16 : 16 + size].hex() if is_build_id else ""


def _debug_link(content: bytes, machine: Machine) -> tuple[str, int] | None:
    name = content.partition(b"\0")[0]
    if not name or b"/" in name or len(content) < 8:
        return None
    return os.fsdecode(name), int.from_bytes(content[-4:], machine.byteorder)
