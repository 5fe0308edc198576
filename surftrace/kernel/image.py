"""A kernel's code as it lies in a file, or in memory: its symbols, and the bytes at an address."""

from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from surftrace.dwarf.debuginfo import has_dwarf
from surftrace.dwarf.search import given_kernel
from surftrace.errors import SurftraceError
from surftrace.kernel.addresses import AddressMap
from surftrace.kernel.elf import read_elf
from surftrace.kernel.elfsymbols import SymbolKind, SymbolTable
from surftrace.kernel.machine import Machine
from surftrace.kernel.symbols import Symbols

if TYPE_CHECKING:
    from elftools.elf.sections import Section

# SHF_ALLOC and SHF_EXECINSTR of elf(5).
_ALLOCATED, _EXECUTABLE = 2, 4
# What assemblers put into a symbol table, and kallsyms leaves out: Linux scripts/kallsyms.c, is_ignored_symbol.
_NO_NAMES = ("$", ".L")


class CodeError(SurftraceError):
    """The code of a kernel cannot be read."""


class NoCodeError(CodeError):
    """A file has the debug information of a kernel without its code."""


class Image:
    """A kernel's code. `origin` names the file, `read` gives so many bytes at an address or raises CodeError.

    `has_dwarf`: may there be DWARF that tells of it?
    """

    def __init__(
        self, origin: str, symbols: Symbols, read: Callable[[int, int], bytes], has_dwarf: bool = True
    ) -> None:
        self.origin = origin
        self.symbols = symbols
        self.read = read
        self.has_dwarf = has_dwarf

    @cached_property
    def addresses(self) -> AddressMap:
        """The symbols by address."""
        return AddressMap(self.symbols)

    def starts(self, name: str, module: str) -> list[int]:
        """Where the functions of this name begin, in order: static ones of several files may share it."""
        named = self.symbols.named(name)
        return sorted({symbol.address for symbol in named if symbol.is_code and symbol.module == module})


def image_of_file(vmlinux: str, machine: Machine) -> Image:
    """The code in a vmlinux, or in the one that a folder holds. NoCodeError where the file has debug information alone.

    ObjectError, or DwarfError, for what is no ELF file of that machine.
    """
    path = given_kernel(vmlinux, "", "").path
    try:
        with Path(path).open("rb") as file:
            elf = read_elf(file, path, machine)
    except OSError as error:
        raise CodeError(f"cannot read {path}: {error.strerror}") from None
    if not elf.has_full_table:
        raise CodeError(f"{path} has no symbols: they were stripped")
    if not any(section["sh_flags"] & _EXECUTABLE and _has_content(section) for section in _sections(path)):
        raise NoCodeError(f"{path} has no code: it is the debug information that was taken out of a kernel")
    text = "".join(_symbol_lines(elf.tables[0]))
    symbols = Symbols(text.encode(errors="replace"), is_running=True)  # the addresses are true of this image
    return Image(path, symbols, lambda address, size: _bytes_of_file(path, address, size), has_dwarf(path))


def _symbol_lines(table: SymbolTable) -> Iterator[str]:
    """The table as lines of kallsyms; a label in assembler without a size is no function."""
    for symbol in table.all():
        is_code = symbol.kind == SymbolKind.FUNC or (symbol.kind == SymbolKind.NOTYPE and symbol.size > 0)
        is_named = not symbol.name.startswith(_NO_NAMES)
        if is_code or (symbol.kind in (SymbolKind.OBJECT, SymbolKind.NOTYPE) and is_named):
            yield f"{symbol.address:016x} {'t' if is_code else 'd'} {symbol.name}\n"


def _sections(path: str) -> "Iterator[Section]":
    """What of a file becomes memory."""
    from elftools.elf.elffile import ELFFile

    with Path(path).open("rb") as file:
        yield from (section for section in ELFFile(file).iter_sections() if section["sh_flags"] & _ALLOCATED)


def _has_content(section: "Section") -> bool:
    return bool(section["sh_type"] != "SHT_NOBITS")


def _bytes_of_file(path: str, address: int, size: int) -> bytes:
    for section in _sections(path):
        at = address - int(section["sh_addr"])
        if _has_content(section) and 0 <= at < int(section["sh_size"]):
            return bytes(section.data()[at : at + size])
    raise CodeError(f"{path} has no code at {address:#x}")
