"""A stripped ELF file in, what was taken out of it out: symbols and DWARF, of its debug file or of what it kept.

The places are gdb's: "Separate Debug Files" in its manual.
"""

import lzma
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from surftrace.kernel.elf import Elf, ObjectError, read_elf
from surftrace.kernel.elfsymbols import SymbolTable
from surftrace.kernel.machine import Machine

DEBUG_FOLDER = "/usr/lib/debug"

_MAX_SMALL_BYTES = 1 << 28
_CHUNK = 1 << 20


def separate_table(elf: Elf, path: str, machine: Machine, debug_folder: str = DEBUG_FOLDER) -> SymbolTable | None:
    """The full symbol table of the program at `path`, from elsewhere; None where nothing that fits is found."""
    for _, found in _debug_files(elf, path, machine, debug_folder):
        if found.has_full_table:
            return found.tables[0]
    return _small_table(elf.small_symbols, path, machine) if elf.small_symbols else None


def dwarf_path(elf: Elf, path: str, machine: Machine, debug_folder: str = DEBUG_FOLDER) -> str | None:
    """The file with the DWARF of the program at `path`: itself, or another; None where none is found."""
    if elf.has_dwarf:
        return path
    found = _debug_files(elf, path, machine, debug_folder)
    return next((candidate for candidate, each in found if each.has_dwarf), None)


def _debug_files(elf: Elf, path: str, machine: Machine, debug_folder: str) -> Iterator[tuple[str, Elf]]:
    """The files that fit, each with what it says."""
    for candidate, checksum in _candidates(elf, path, debug_folder):
        found = _opened(candidate, checksum, elf.build_id, machine)
        if found is not None:
            yield candidate, found


def _candidates(elf: Elf, path: str, debug_folder: str) -> Iterator[tuple[str, int | None]]:
    """Paths, each with the checksum that the file there must have."""
    if len(elf.build_id) > 2:
        yield f"{debug_folder}/.build-id/{elf.build_id[:2]}/{elf.build_id[2:]}.debug", None
    if elf.debug_link is None:
        return
    name, checksum = elf.debug_link
    folder = Path(path).resolve().parent
    for place in (folder, f"{folder}/.debug", f"{debug_folder}{folder}"):
        yield f"{place}/{name}", checksum


def _opened(path: str, checksum: int | None, build_id: str, machine: Machine) -> Elf | None:
    try:
        if not Path(path).is_file():
            return None
        with Path(path).open("rb") as file:
            if checksum is not None and _crc32(file) != checksum:
                return None
            elf = read_elf(file, path, machine)
    except (OSError, ObjectError):  # as if there were none
        return None
    is_another = bool(build_id) and elf.build_id != build_id
    return None if is_another else elf


def _crc32(file: BinaryIO) -> int:
    checksum = 0
    while chunk := file.read(_CHUNK):
        checksum = zlib.crc32(chunk, checksum)
    file.seek(0)
    return checksum


def _small_table(compressed: bytes, path: str, machine: Machine) -> SymbolTable | None:
    """Fedora's "MiniDebugInfo": the symbols of functions that the dynamic table lacks."""
    try:
        content = lzma.LZMADecompressor().decompress(compressed, _MAX_SMALL_BYTES)
        elf = read_elf(BytesIO(content), path, machine)
    except (lzma.LZMAError, ObjectError):
        return None
    return elf.tables[0] if elf.has_full_table else None
