"""The kernel's code as its DWARF has it: the places of a source line, and the variables at a place."""

from bisect import bisect_left
from collections.abc import Callable, Iterator
from functools import cache, cached_property
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from surftrace.activity import doing
from surftrace.dwarf.errors import DwarfError
from surftrace.dwarf.packed import view_of
from surftrace.dwarf.units import DwarfFile, Function, LineRow, name_of, split_name, unit_of
from surftrace.dwarf.variables import Location, Variable, location_at, variables_at
from surftrace.kernel.elf import read_elf
from surftrace.kernel.elfsymbols import Symbol, SymbolKind, SymbolRanges, SymbolTable
from surftrace.kernel.machine import Machine, machine_named
from surftrace.record import record

if TYPE_CHECKING:
    from elftools.dwarf.compileunit import CompileUnit

_WHOLE_PROGRAM = "<artificial>"
_Asked = ParamSpec("_Asked")
_T = TypeVar("_T")


@record
class CodePlace:
    """An instruction as a probe names it, and where it is in the file with DWARF."""

    symbol: str
    byte_offset: int
    address: int
    file: str
    line: int
    module: str = ""

    @property
    def start(self) -> int:
        """Where its function begins, in the file with DWARF."""
        return self.address - self.byte_offset

    def __str__(self) -> str:
        module = f"{self.module}:" if self.module else ""
        return module + self.symbol + (f"+{self.byte_offset:#x}" if self.byte_offset else "")


class Code:
    """The code of one file. `module` is the kernel module in it; empty for the kernel, and for programs.

    `program` is the path of the program, or library, that it is of. Every method may raise DwarfError.
    """

    def __init__(self, path: str, machine: Machine, module: str = "", program: str = "") -> None:
        self.file = DwarfFile(path, program)
        self.module = module
        self.owner = f"the module {module}" if module else program or "this kernel"
        self._machine = machine
        self._last: Symbol | None = None
        # What costs a walk over a unit or a table is kept: each value of a probe asks the same.
        self.addresses = cache(self._told(self._addresses))
        self.function_at = cache(self._told(self.file.function_at))
        self.rows = cache(self._told(self._rows))
        self._unit_rows = cache(self._told(self._sorted_rows))
        self.places_by_line = cache(self._told(self._places_by_line))
        self.variables = cache(self._told(self._variables))
        self.location = cache(self._told(self._location))
        self.units_of = cache(self._told(self._units_of))

    def _told(self, read: Callable[_Asked, _T]) -> Callable[_Asked, _T]:
        """The same, which says what it is busy with."""

        def told(*asked: _Asked.args, **named: _Asked.kwargs) -> _T:
            with doing(f"reading the code of {self.file.path}"):
                return read(*asked, **named)

        return told

    @cached_property
    def _symbols(self) -> SymbolTable:
        elf = read_elf(view_of(self.file.data), self.file.path, self._machine)
        if not elf.tables:
            raise DwarfError(f"{self.file.path} has no symbol table")
        return elf.tables[0]

    @cached_property
    def _functions(self) -> SymbolRanges:
        return self._symbols.ranges(SymbolKind.FUNC)

    @cached_property
    def _objects(self) -> SymbolRanges:
        return self._symbols.ranges(SymbolKind.OBJECT)

    def _addresses(self, name: str) -> list[int]:
        """Where the functions of this name begin: static ones of several files may share it."""
        symbols = self._symbols.named(name)
        return sorted({each.address for each in symbols if each.is_defined and each.kind == SymbolKind.FUNC})

    def function_names(self) -> Iterator[str]:
        """The names of all functions."""
        return self._symbols.function_names()

    def function(self, name: str) -> Function | None:
        """The one function of this symbol's name; None where there is none, several, or one without DWARF."""
        addresses = self.addresses(name)
        return self.function_at(addresses[0]) if len(addresses) == 1 else None

    def symbol_at(self, address: int) -> tuple[str, int] | None:
        """The function's symbol that the code at an address has, and the offset from it."""
        symbol = self._last
        if symbol is None or not symbol.address <= address < symbol.address + symbol.size:
            symbol = self._last = self._functions.at(address)
        return (symbol.name, address - symbol.address) if symbol is not None else None

    def folder_of(self, function: Function) -> str:
        """The folder that the compiler ran in, from which paths of files count."""
        return self.file.folder_of(unit_of(function.die))

    def split_file(self, address: int | None = None) -> str:
        """The file with the DWARF of the code at an address, or of any code, where that is split off; else empty."""
        return self.file.guarded(lambda: self._split_file(address))

    def _split_file(self, address: int | None) -> str:
        unit = self.file.unit_at(address) if address is not None else next(self.file.units(), None)
        return split_name(unit) if unit is not None else ""

    def object_at(self, address: int) -> tuple[str, int] | None:
        """The variable's symbol that is at an address, and the offset from it."""
        symbol = self._objects.at(address)
        return (symbol.name, address - symbol.address) if symbol is not None else None

    def _rows(self, function: Function) -> list[LineRow]:
        """The line table's rows for the function's code, also for what is inlined into it."""
        rows = self._unit_rows(unit_of(function.die))
        starts = [row.address for row in rows]
        slices = ((bisect_left(starts, low), bisect_left(starts, high)) for low, high in function.ranges)
        return [row for low, high in slices for row in rows[low:high]]

    def _sorted_rows(self, unit: "CompileUnit") -> list[LineRow]:
        """The unit's rows by address; those of one address as they are in the table."""
        return sorted(self.file.lines_of(unit), key=lambda row: row.address)

    def places(self, function: Function, file: str, line: int) -> list[CodePlace]:
        """Where the function's code for a line begins: the compiler may have made several pieces of it."""
        return self.places_by_line(function, file).get(line, [])

    def _places_by_line(self, function: Function, file: str) -> dict[int, list[CodePlace]]:
        """The same for each line of a file."""
        found: dict[int, dict[int, CodePlace]] = {}
        begun: tuple[str, int] | None = None  # rows of the same line behind its first statement are one piece with it
        for row in self.rows(function):
            begun = begun if begun == (row.file, row.line) else None
            if row.file == file and row.is_statement and begun is None and (symbol := self.symbol_at(row.address)):
                begun = file, row.line
                place = CodePlace(*symbol, row.address, file, row.line, self.module)
                found.setdefault(row.line, {}).setdefault(row.address, place)
        return {line: list(places.values()) for line, places in found.items()}

    def _variables(self, function: Function, address: int) -> dict[str, Variable]:
        """What names mean there."""
        found: dict[str, Variable] = {}
        for variable in variables_at(self.file, function, address):
            found.setdefault(variable.name, variable)
        return found

    def _location(self, function: Function, variable: Variable, address: int) -> Location:
        """Where a variable is when the instruction there is about to run."""
        return location_at(self.file, function, variable, address)

    def _units_of(self, path: str) -> list["CompileUnit"]:
        """The units that are compiled of a source file, by its path or the end of it."""
        return self.file.guarded(lambda: list(self._compiled_of(path)))

    def _compiled_of(self, path: str) -> Iterator["CompileUnit"]:
        for unit in self.file.units_of_file(path.rpartition("/")[2]):
            if is_path(name_of(unit.get_top_DIE()), path):
                yield unit
        # What GCC optimised as a whole (-flto) is in units of their own, beside those of the sources.
        for unit in self.file.units_of_file(_WHOLE_PROGRAM):
            is_one = name_of(unit.get_top_DIE()) == _WHOLE_PROGRAM
            if is_one and any(is_path(file, path) for file in self.file.files_of(unit).values()):
                yield unit


def is_path(whole: str, end: str) -> bool:
    """Is this the path, or its last components?"""
    return whole == end or whole.endswith(f"/{end.removeprefix('./')}")


def open_code(path: str, machine: Machine, module: str = "", program: str = "") -> Code:
    """The code of a file, opened once."""
    return _opened(path, machine.name, module, program)


@cache
def _opened(path: str, machine: str, module: str, program: str) -> Code:
    return Code(path, machine_named(machine), module, program)
