"""A function or a line of a kernel in, its instructions out: each at its place for a probe, under its source line."""

import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import TypeAlias

from surftrace.compiler.lines import places_in_code
from surftrace.compiler.places import find_symbol
from surftrace.dwarf.inlines import inlined_into
from surftrace.dwarf.units import Function
from surftrace.kernel.addresses import Extent
from surftrace.kernel.code import Code, CodePlace
from surftrace.kernel.disassembly import disassemble, indirect_register
from surftrace.kernel.image import CodeError, Image
from surftrace.kernel.machine import Machine
from surftrace.lang.source import CompileError, Diagnostic, Source
from surftrace.lang.syntax import AddressTarget, FunctionTarget, LineTarget
from surftrace.record import record

# What DWARF tells of the kernel's own code, for an empty name, or of a module's; None where there is none.
CodeOf: TypeAlias = Callable[[str], Code | None]

# An address in an instruction: no number (`$0x10`, `#0x10`), no offset from a register, no place in a segment.
_ADDRESS = re.compile(r"(?<![$#:\w-])0x([0-9a-f]+)(?![\w(])")


@record
class SourceLine:
    """A line of source. `number` counts it as FUNCTION:LINE does; one of an inlined function has a name instead."""

    file: str
    line: int
    number: str = ""
    inlined: str = ""


@record
class AssemblyLine:
    """An instruction. `register` has the address that it calls or jumps to, empty where memory has; else it is None."""

    byte_offset: int
    text: str
    register: str | None


@record
class Block:
    """Instructions in a row that are of one line; of None where DWARF tells of none."""

    source: SourceLine | None
    lines: tuple[AssemblyLine, ...]


@record
class Assembly:
    """Instructions of one function. `folder` is the one that paths of source files count from.

    `source` is the line of the function's name, or the line that was asked for; then `places` are the offsets at which
    a probe on that line is.
    """

    symbol: str
    source: SourceLine | None
    folder: str
    blocks: tuple[Block, ...]
    places: tuple[int, ...] = ()


def function_assembly(
    source: Source, target: FunctionTarget | AddressTarget, image: Image, code_of: CodeOf, machine: Machine
) -> Assembly:
    """All of a function. CompileError where none, or more than one, has that name."""
    extent = _extent(source, target, image)
    lines = _lines(extent, image, machine)
    code = code_of(extent.module)
    ours = image.starts(extent.name, extent.module)
    start = _counterpart(extent.address, ours, code.addresses(extent.name)) if code is not None else None
    function = code.function_at(start) if code is not None and start is not None else None
    if code is None or start is None or function is None:
        return Assembly(str(extent), None, "", (Block(None, lines),))
    sources = _SourceLines(code, function, str(extent))
    blocks = groupby(lines, lambda line: sources.at(start + line.byte_offset))
    return Assembly(
        str(extent),
        SourceLine(function.file, function.line),
        code.folder_of(function),
        tuple(Block(each, tuple(found)) for each, found in blocks),
    )


def line_assembly(
    source: Source, target: LineTarget, image: Image, code: Code, machine: Machine
) -> tuple[Assembly, ...]:
    """The code of a line, by function. CompileError where there is none."""
    by_function = groupby(places_in_code(source, target, code), lambda place: place.start)
    return tuple(_line_in_function(tuple(found), image, code, machine) for _, found in by_function)


def _line_in_function(places: Sequence[CodePlace], image: Image, code: Code, machine: Machine) -> Assembly:
    first = places[0]
    function = code.function_at(first.address)
    ours = image.starts(first.symbol, first.module)
    address = _counterpart(first.start, code.addresses(first.symbol), ours)
    found = image.addresses.at(address) if address is not None else None
    if found is None or function is None:
        raise CodeError(f"{image.origin} has no function {first.symbol}, which the DWARF of {code.file.path} tells of")
    extent = Extent(first.symbol, first.module, found.address, found.size)
    sources = _SourceLines(code, function, str(extent))
    offsets = tuple(place.byte_offset for place in places)

    def source_of(line: AssemblyLine) -> SourceLine | None:
        at = first.start + line.byte_offset
        own = sources.at(at)
        if own is not None and (own.file, own.line) == (first.file, first.line):
            return own
        # A place of the line at which the instruction is of another line already.
        return sources.of(first.file, first.line, at) if line.byte_offset in offsets else None

    by_source = groupby(_lines(extent, image, machine), source_of)
    blocks = tuple(Block(each, tuple(lines)) for each, lines in by_source if each is not None)
    return Assembly(str(extent), blocks[0].source, code.folder_of(function), blocks, offsets)


def _extent(source: Source, target: FunctionTarget | AddressTarget, image: Image) -> Extent:
    if isinstance(target, AddressTarget):
        found = image.addresses.at(target.address)
        if found is None:
            raise CompileError([Diagnostic(source, target.span, f"there is no code at {target.address:#x}")])
        return found
    symbol, _ = find_symbol(source, target, image.symbols)
    found = image.addresses.at(symbol.address)
    if not symbol.address or found is None:
        raise CompileError([Diagnostic(source, target.span, f"no module {target.module} is loaded")])
    # Of several names for one place, the one that was asked for.
    return Extent(symbol.name, symbol.module, found.address, found.size)


def _counterpart(address: int, here: Sequence[int], there: Sequence[int]) -> int | None:
    """Where the function at one of these addresses is in another image: a kernel is moved as a whole when it boots."""
    return there[here.index(address)] if address in here and len(here) == len(there) else None


def _lines(extent: Extent, image: Image, machine: Machine) -> tuple[AssemblyLine, ...]:
    def named(match: re.Match[str]) -> str:
        address = int(match[1], 16)
        if extent.address <= address < extent.address + extent.size:
            return f"{extent}+{address - extent.address:#x}"
        return image.addresses.spelled(address) or match[0]

    lines = []
    for each in disassemble(image.read(extent.address, extent.size), extent.address, machine):
        text = _ADDRESS.sub(named, each.text)
        lines.append(AssemblyLine(each.address - extent.address, text, indirect_register(text, machine)))
    return tuple(lines)


class _SourceLines:
    """The lines of a function's instructions, by their addresses in the file with DWARF."""

    def __init__(self, code: Code, function: Function, symbol: str) -> None:
        self._function = function
        # `ip_output:5` also names what is in ip_output.cold, the unlikely part.
        self._symbol = symbol.partition(".cold")[0]
        self._inlined = inlined_into(code.file, function)
        # Line 0 is what the compiler made of no line: DWARF 5, 6.2.2.
        self._rows = sorted((row for row in code.rows(function) if row.line), key=lambda row: row.address)
        self._addresses = [row.address for row in self._rows]

    def at(self, address: int) -> SourceLine | None:
        """The line of the instruction there: of several rows for one address, the last is about what has code."""
        index = bisect_right(self._addresses, address)
        return self.of(self._rows[index - 1].file, self._rows[index - 1].line, address) if index else None

    def of(self, file: str, line: int, address: int) -> SourceLine:
        """A line that has code there."""
        inlined = [each for each in reversed(self._inlined) if each.holds(address)]
        name = next((each.name for each in inlined if each.file == file and each.line <= line), "")
        is_own = not name and file == self._function.file and line >= self._function.line
        if is_own:
            return SourceLine(file, line, f"{self._symbol}:{line - self._function.line}")
        return SourceLine(file, line, "", name or (inlined[0].name if inlined else ""))
