"""A place in the file of a program or a library in, the name of the function there out: from its symbol tables."""

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

from surftrace.kernel.debugfiles import separate_table
from surftrace.kernel.elf import Elf, ObjectError, read_elf
from surftrace.kernel.elfsymbols import SymbolKind, SymbolRanges
from surftrace.kernel.machine import Machine
from surftrace.record import record

_FileState: TypeAlias = tuple[int, int, int, int]


@record
class _Functions:
    """A file's code, and the functions in it."""

    elf: Elf
    tables: tuple[SymbolRanges, ...]


class UserSymbols:
    """The functions of programs and libraries, each file read once, and again where it has changed."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._known: dict[_FileState, _Functions | None] = {}

    def at(self, path: str, file_offset: int, is_return: bool) -> tuple[str, int] | None:
        """The function whose code is there in the file, and the offset in it; None where no symbol tells.

        `path` is opened: links such as those in /proc/PID/map_files lead to the very file. `is_return`: a call returns
        there, and what is asked for is the function that calls.
        """
        functions = self._functions(path)
        if functions is None:
            return None
        address = next(
            (
                segment.address + file_offset - segment.file_offset
                for segment in functions.elf.code
                if 0 <= file_offset - segment.file_offset < segment.size
            ),
            None,
        )
        if address is None:
            return None
        found = (table.at(address - is_return) for table in functions.tables)
        symbol = next((each for each in found if each is not None), None)
        return (symbol.name, address - symbol.address) if symbol is not None else None

    def _functions(self, path: str) -> _Functions | None:
        try:
            if not stat.S_ISREG(Path(path).stat().st_mode):  # to open a device may do anything
                return None
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            return None
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            state = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
            if state not in self._known:
                self._known[state] = None
                with suppress(ObjectError, OSError):
                    elf = read_elf(file, path, self._machine)
                    self._known[state] = _Functions(elf, tuple(self._ranges(elf, path)))
        return self._known[state]

    def _ranges(self, elf: Elf, path: str) -> list[SymbolRanges]:
        separate = None if elf.has_full_table else separate_table(elf, path, self._machine)
        tables = [elf.tables[0]] if elf.has_full_table else [*([separate] if separate is not None else []), *elf.tables]
        return [table.ranges(SymbolKind.FUNC) for table in tables]
