"""The kernel's code as its DWARF has it: the places of a source line, and the variables at a place."""

from collections.abc import Iterator
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from surftrace.dwarf.debuginfo import DwarfError
from surftrace.dwarf.units import DwarfFile, Function, LineRow, name_of, unit_of
from surftrace.dwarf.variables import Location, Variable, location_at, variables_at
from surftrace.kernel.elf import read_elf
from surftrace.kernel.elfsymbols import Symbol, SymbolKind, SymbolTable
from surftrace.kernel.machine import Machine, machine_named
from surftrace.record import record

if TYPE_CHECKING:
    from elftools.dwarf.compileunit import CompileUnit


@record
class CodePlace:
    """An instruction as a probe names it, and where it is in the file with DWARF."""

    symbol: str
    byte_offset: int
    address: int
    line: int

    def __str__(self) -> str:
        return self.symbol + (f"+{self.byte_offset:#x}" if self.byte_offset else "")


class Code:
    """The code of one file. Every method may raise DwarfError."""

    def __init__(self, path: str, machine: Machine) -> None:
        self.file = DwarfFile(path)
        self._machine = machine
        self._last: Symbol | None = None
        # What costs a walk over a unit or a table is kept: each value of a probe asks the same.
        self.addresses = cache(self._addresses)
        self.function_at = cache(self.file.function_at)
        self.rows = cache(self._rows)
        self.variables = cache(self._variables)

    @cached_property
    def _symbols(self) -> SymbolTable:
        with Path(self.file.path).open("rb") as file:
            elf = read_elf(file, self.file.path, self._machine)
        if not elf.tables:
            raise DwarfError(f"{self.file.path} has no symbol table")
        return elf.tables[0]

    def _addresses(self, name: str) -> list[int]:
        """Where the functions of this name begin: static ones of several files may share it."""
        symbols = self._symbols.named(name)
        return sorted({each.address for each in symbols if each.is_defined and each.kind == SymbolKind.FUNC})

    def function(self, name: str) -> Function | None:
        """The one function of this symbol's name; None where there is none, several, or one without DWARF."""
        addresses = self.addresses(name)
        return self.function_at(addresses[0]) if len(addresses) == 1 else None

    def symbol_at(self, address: int) -> tuple[str, int] | None:
        """The function's symbol that the code at an address has, and the offset from it."""
        symbol = self._last
        if symbol is None or not symbol.address <= address < symbol.address + symbol.size:
            symbol = self._last = self._symbols.function_at(address)
        return (symbol.name, address - symbol.address) if symbol is not None else None

    def folder_of(self, function: Function) -> str:
        """The folder that the compiler ran in, from which paths of files count."""
        return self.file.folder_of(unit_of(function.die))

    def object_at(self, address: int) -> tuple[str, int] | None:
        """The variable's symbol that is at an address, and the offset from it."""
        symbol = self._symbols.object_at(address)
        return (symbol.name, address - symbol.address) if symbol is not None else None

    def _rows(self, function: Function) -> list[LineRow]:
        """The line table's rows for the function's code, also for what is inlined into it."""
        rows = self.file.lines_of(unit_of(function.die))
        return [row for row in rows if function.holds(row.address)]

    def places(self, function: Function, file: str, line: int) -> list[CodePlace]:
        """Where the function's code for a line begins: the compiler may have made several pieces of it."""
        return list(self._places(self.rows(function), file, line))

    def _places(self, rows: list[LineRow], file: str, line: int) -> Iterator[CodePlace]:
        seen: set[int] = set()
        before: LineRow | None = None
        for row in rows:
            is_there = (row.file, row.line) == (file, line)
            # A row goes on where the one before was of the line already.
            goes_on = before is not None and (before.file, before.line) == (file, line)
            if is_there and row.is_statement and not goes_on and row.address not in seen:
                seen.add(row.address)
                if (found := self.symbol_at(row.address)) is not None:
                    yield CodePlace(*found, row.address, line)
            before = row

    def _variables(self, function: Function, address: int) -> dict[str, Variable]:
        """What names mean there."""
        found: dict[str, Variable] = {}
        for variable in variables_at(self.file, function, address):
            found.setdefault(variable.name, variable)
        return found

    def location(self, function: Function, variable: Variable, address: int) -> Location:
        """Where a variable is when the instruction there is about to run."""
        return location_at(self.file, function, variable, address)

    def units_of(self, path: str) -> list["CompileUnit"]:
        """The units that are compiled of a source file, by its path or the end of it."""
        name = path.rpartition("/")[2]
        units = {}
        for address in self._symbols.functions_of_file(name):
            unit = self.file.unit_at(address)
            if unit is not None:
                units[unit.cu_offset] = unit
        return [unit for unit in units.values() if is_path(name_of(unit.get_top_DIE()), path)]


def is_path(whole: str, end: str) -> bool:
    """Is this the path, or its last components?"""
    return whole == end or whole.endswith(f"/{end.removeprefix('./')}")


def open_code(path: str, machine: Machine) -> Code:
    """The code of a file, opened once."""
    return _opened(path, machine.name)


@cache
def _opened(path: str, machine: str) -> Code:
    return Code(path, machine_named(machine))
