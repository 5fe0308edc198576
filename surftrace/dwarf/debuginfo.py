"""Files with DWARF in, their types, prototypes and variables out, by way of a drgn program.

drgn reads the files lazily: a kernel's vmlinux of 600 MB gives its first type after half a second.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, TypeVar

import drgn

from surftrace.activity import doing
from surftrace.dwarf.errors import DwarfError
from surftrace.dwarf.packed import content_of, view_of
from surftrace.record import record

_IS_64_BIT, _LITTLE = 2, 1
_ET_REL = 1
_NOTES = (".note.gnu.build-id", ".notes")
_MODULE_FACTS = ".modinfo"
_MODULE_NAME = re.compile(rb"\0name=([^\0]+)")
_BUILD_ID = re.compile(rb"\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0(.{20})", re.DOTALL)
_BUILD_ID_BIG = re.compile(rb"\0\0\0\x04\0\0\0\x14\0\0\0\x03GNU\0(.{20})", re.DOTALL)
_DWARF = "dwarf"
# What drgn says of a function in assembler, whose result has no type that C knows: DW_TAG_unspecified_type.
_NO_C_TYPE = "unknown DWARF type tag"
_PT_LOAD, _PROGRAM_HEADER_SIZE = 1, 56


_T = TypeVar("_T")


@record
class DebugFile:
    """An ELF file that is to have DWARF. `name` is that of its module, empty for the kernel."""

    path: str
    name: str = ""


class DebugInfo:
    """What the DWARF of some files says, put into a program when something is first asked of it.

    `find` gives the files, an empty list where there are none. What the program knew before goes first.
    """

    def __init__(self, prog: drgn.Program, find: Callable[[], Sequence[DebugFile]]) -> None:
        self._prog = prog
        self._find = find
        self._found: tuple[DebugFile, ...] | None = None
        self._files: tuple[DebugFile, ...] | None = None

    @property
    def files(self) -> tuple[DebugFile, ...]:
        """The files that there are; none before anything was asked."""
        return self._found or ()

    def look(self) -> tuple[DebugFile, ...]:
        """The files that there are, not put into the program yet where nothing was asked of it."""
        if self._found is None:
            self._found = tuple(self._find())
        return self._found

    def load(self) -> bool:
        """Put the files into the program: True where that has been done just now, and there are any.

        DwarfError for a file that cannot be read, or has no DWARF.
        """
        if self._files is not None:
            return False
        self._files = self.look()
        for file in self._files:
            add_debug_file(self._prog, file)
        return bool(self._files)

    def type(self, name: str) -> drgn.Type | None:
        """The type that DWARF has by a C type name, whatever the program knew before; None where no file has it."""
        self.load()
        if not self._files:
            return None
        finders = self._prog.enabled_type_finders()
        self._prog.set_enabled_type_finders([_DWARF])
        try:
            return self._asked(lambda: self._prog.type(name))
        finally:
            self._prog.set_enabled_type_finders(finders)

    def function(self, name: str) -> drgn.Type | None:
        """The prototype of a function; None where no file has it."""
        self.load()
        try:
            found = self._asked(lambda: self._prog.function(name)) if self._files else None
        except DwarfError as error:
            if _NO_C_TYPE in error.message:
                return None
            raise
        return None if found is None or self._is_assembler(found) else found.type_

    def _is_assembler(self, function: drgn.Object) -> bool:
        """Has the function no prototype, because it is not written in C?"""
        from surftrace.dwarf.units import DwarfFile  # most functions need it not

        type_, address = function.type_, function.address_
        if type_.parameters or type_.type.kind is not drgn.TypeKind.VOID or address is None:
            return False
        described = (DwarfFile(file.path).function_at(address) for file in self._files or ())
        return any(each is not None and each.is_assembler for each in described)

    def variable(self, name: str) -> drgn.Type | None:
        """The type of a variable; None where no file has it."""
        self.load()
        return self._asked(lambda: self._prog.variable(name).type_) if self._files else None

    def enumerator(self, name: str) -> int | None:
        """The value of an enumerator: the first that is found; None where no file has it."""
        self.load()
        return self._asked(lambda: int(self._prog.constant(name).value_())) if self._files else None

    def _asked(self, look: Callable[[], _T]) -> _T | None:
        with doing(f"reading the types of {', '.join(file.path for file in self.files)}"):
            return _found(look)


def _found(look: Callable[[], _T]) -> _T | None:
    """What is found, None for nothing; DwarfError where the file is damaged there."""
    try:
        return look()
    except LookupError:
        return None
    except Exception as error:  # drgn's own, of no type that tells
        if not is_damage(error):
            raise
        raise DwarfError(f"damaged DWARF: {error}") from None


def is_damage(error: Exception) -> bool:
    """Is this what drgn raises for a damaged file? What libelf and libdw say comes as a plain Exception."""
    return isinstance(error, drgn.BadDataError) or type(error) is Exception


def platform_of(path: str) -> drgn.Platform:
    """The word size and the byte order of an ELF file. DwarfError for what is none."""
    data = content_of(path).data
    flags = drgn.PlatformFlags(0)
    if data[4] == _IS_64_BIT:
        flags |= drgn.PlatformFlags.IS_64_BIT
    if data[5] == _LITTLE:
        flags |= drgn.PlatformFlags.IS_LITTLE_ENDIAN
    return drgn.Platform(drgn.Architecture.UNKNOWN, flags)


def add_debug_file(prog: drgn.Program, file: DebugFile) -> None:
    """Put a file into a program, its addresses as they are in the file. DwarfError where it has no DWARF."""
    start = _first_address(content_of(file.path).data)
    module = prog.extra_module(file.path, create=True)
    if start is not None:
        module.address_range = (start, (1 << 64) - 1)
    try:
        module.try_file(content_of(file.path).path, force=True)
        if module.debug_file_status is drgn.ModuleFileStatus.WANT_SUPPLEMENTARY:
            from surftrace.dwarf.common import common_file

            module.try_file(common_file(file.path) or "")
    except (DwarfError, MemoryError):
        raise
    except Exception as error:  # a damaged file makes drgn raise what its libraries say
        raise DwarfError(f"cannot read {file.path}: {error}") from None
    if module.debug_file_status is not drgn.ModuleFileStatus.HAVE:
        raise DwarfError(
            f"{file.path} has no DWARF: there is no .debug_info section",
            "distributions have it in a package of its own: linux-image-RELEASE-dbg, kernel-debuginfo",
        )


def build_id_of_notes(notes: bytes) -> str:
    """The build id in notes, such as /sys/kernel/notes; empty where there is none."""
    match = _BUILD_ID.search(notes) or _BUILD_ID_BIG.search(notes)
    return match[1].hex() if match else ""


def build_id_of_file(path: str) -> str:
    """The build id of an ELF file; empty where it has none. DwarfError for a file that cannot be read."""
    return _build_id(_small_sections(path))


def is_dwarf_of(path: str, build_id: str) -> bool:
    """Is this a file with the DWARF of that build? Not where it is damaged or cannot be read."""
    try:
        sections = _small_sections(path)
    except DwarfError:
        return False
    return ".debug_info" in sections and _build_id(sections) == build_id


def has_dwarf(path: str) -> bool:
    """Has this ELF file DWARF? DwarfError for a file that cannot be read."""
    return ".debug_info" in _small_sections(path)


def module_name(path: str) -> str:
    """The name of the kernel module in a file, which need not be that of the file. DwarfError where it is no module.

    Linux scripts/mod/modpost.c writes it; a file with debug information alone has it in its own name.
    """
    data = content_of(path).data
    if int.from_bytes(data[16:18], _byteorder(data)) != _ET_REL:
        raise DwarfError(f"{path} is no kernel module: those are object files")
    if name := _MODULE_NAME.search(b"\0" + _small_sections(path).get(_MODULE_FACTS, b"")):
        return name[1].decode(errors="replace")
    return path.rpartition("/")[2].partition(".")[0].replace("-", "_")


def _build_id(sections: Mapping[str, bytes]) -> str:
    return next(filter(None, (build_id_of_notes(sections.get(name, b"")) for name in _NOTES)), "")


def _small_sections(path: str) -> dict[str, bytes]:
    """The file's sections by name, with the content of those few that tell what file it is."""
    from elftools.elf.elffile import ELFFile

    data = content_of(path).data
    try:
        sections = list(ELFFile(view_of(data)).iter_sections())
        return {each.name: each.data() if each.name in (*_NOTES, _MODULE_FACTS) else b"" for each in sections}
    except Exception as error:  # a damaged ELF makes pyelftools raise nearly anything
        raise DwarfError(f"{path} is a damaged ELF file: {error}") from None


def _first_address(data: memoryview) -> int | None:
    """Where the first segment lies; None for an object file, whose sections have no addresses yet."""

    def number(at: int, size: int) -> int:
        return int.from_bytes(data[at : at + size], _byteorder(data))

    if data[4] != _IS_64_BIT or number(16, 2) == _ET_REL:
        return None
    start = number(32, 8)
    headers = range(start, start + number(56, 2) * _PROGRAM_HEADER_SIZE, _PROGRAM_HEADER_SIZE)
    return next((number(at + 16, 8) for at in headers if number(at, 4) == _PT_LOAD), None)


def _byteorder(data: memoryview) -> Literal["little", "big"]:
    return "little" if data[5] == _LITTLE else "big"
