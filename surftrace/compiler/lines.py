"""Source lines and local variables, from the kernel's DWARF: where a line's code is, what a name means there."""

import re
from collections.abc import Sequence

from surftrace.compiler.chain import Value
from surftrace.compiler.fetch import Fetch, render_fetch
from surftrace.compiler.scope import Scope, listed
from surftrace.dwarf.units import Function
from surftrace.dwarf.variables import Nowhere, Spot, type_of
from surftrace.errors import SurftraceError
from surftrace.kernel.code import Code, CodePlace, is_path, open_code
from surftrace.kernel.machine import Machine
from surftrace.kernel.target import Target
from surftrace.kernel.types import KernelTypes, spelled
from surftrace.lang.source import CompileError, Diagnostic, Source, Span
from surftrace.lang.syntax import LineTarget, Name
from surftrace.record import record

_NO_DWARF = "install it (linux-image-RELEASE-dbg, kernel-debuginfo), or name a vmlinux that has it with -v"
_SOURCE_FILE = re.compile(r".*\.(?:c|h|S)")
_SHOWN_RANGES = 4


def code_of(types: KernelTypes, machine: Machine) -> Code | None:
    """The code that the types' DWARF tells of; None where there is none."""
    files = types.debug.look() if types.debug is not None else ()
    return open_code(files[0].path, machine) if files else None


def places_of_line(source: Source, target: LineTarget, on: Target) -> list[CodePlace]:
    """Where the code of a line begins, in the order of addresses. CompileError where it has none."""
    code = _needed_code(source, target.span, on)
    functions, file, line = _functions(source, target, code)
    found = {place.address: place for function in functions for place in code.places(function, file, line)}
    if not found:
        lines = sorted({row.line for each in functions for row in code.rows(each) if row.file == file})
        raise _no_code(source, target, lines, functions)
    return [found[address] for address in sorted(found)]


def _needed_code(source: Source, span: Span, on: Target) -> Code:
    code = code_of(on.types(), on.machine)
    if code is None:
        raise _fail(source, span, "lines and variables need DWARF, and none is found for this kernel", _NO_DWARF)
    return code


@record
class CodeLine:
    """A line with code: its number as a probe names it, that in its file, and where its code begins."""

    number: int
    line: int
    places: tuple[CodePlace, ...]


@record
class Listing:
    """The lines of a function, or of a file, that can be probed. `file` is its path as it was compiled."""

    title: str
    file: str
    folder: str
    lines: tuple[CodeLine, ...]


def listing(source: Source, target: LineTarget, on: Target) -> Listing:
    """All lines with code of the function or the file that a target names. CompileError where there are none."""
    code = _needed_code(source, target.span, on)
    functions, file, start = _functions(source, target, code)
    rows = [row for each in functions for row in code.rows(each) if row.file == file and row.is_statement]
    is_file = _SOURCE_FILE.fullmatch(target.name) is not None
    first = 0 if is_file else start
    lines = []
    for line in sorted({row.line for row in rows if row.line >= first}):
        places = tuple(place for each in functions for place in code.places(each, file, line))
        if places:
            lines.append(CodeLine(line - first, line, places))
    title = target.name if is_file else f"{target.name} at {file}:{start}"
    return Listing(title, file, code.folder_of(functions[0]) if functions else "", tuple(lines))


@record
class CodeVariable:
    """A variable in scope at a place: its type as C spells it, and where it is, or why it is nowhere."""

    name: str
    type: str
    where: str
    is_there: bool


def variables_at_place(source: Source, span: Span, symbol: str, byte_offset: int, on: Target) -> list[CodeVariable]:
    """All variables in scope there, the innermost first. CompileError where DWARF does not tell."""
    code, types = _needed_code(source, span, on), on.types()
    addresses = code.addresses(symbol)
    function = code.function_at(addresses[0] + byte_offset) if len(addresses) == 1 else None
    if function is None:
        raise _fail(source, span, f"DWARF tells of no function {symbol}+{byte_offset:#x}")
    address = addresses[0] + byte_offset
    found = []
    for name, variable in code.variables(function, address).items():
        try:
            type_text = spelled(type_of(variable.die, types.program.prog, types.named))
        except SurftraceError as error:
            type_text = f"({error.message})"
        location = code.location(function, variable, address)
        if isinstance(location, Nowhere):
            hint = "".join(f"; {hint}" for hint in _ranges_hint(location.ranges, symbol, addresses[0]))
            found.append(CodeVariable(name, type_text, location.reason + hint, False))
        else:
            found.append(CodeVariable(name, type_text, _spelled_spot(location, code, on.machine), True))
    return found


def _spelled_spot(spot: Spot, code: Code, machine: Machine) -> str:
    """The place as a fetch argument has it."""
    if spot.base is None:
        symbol = code.object_at(spot.byte_offsets[0])
        text = f"@{symbol[0]}{symbol[1]:+#x}" if symbol is not None else f"@{spot.byte_offsets[0]:#x}"
        return f"the address {text}" if spot.is_address else text.removesuffix("+0x0")
    known = spot.base < len(machine.dwarf_registers)
    base = f"%{machine.dwarf_registers[spot.base]}" if known else f"register {spot.base}"
    text = render_fetch(Fetch(base, spot.byte_offsets, ""))
    return f"the address of {text}" if spot.is_address else text


def _functions(source: Source, target: LineTarget, code: Code) -> tuple[Sequence[Function], str, int]:
    """The functions that may have the line, the file as they name it, and its number there."""
    if not _SOURCE_FILE.fullmatch(target.name):
        addresses = code.addresses(target.name)
        if not addresses:
            raise _fail(source, target.span, f"the DWARF of this kernel has no function '{target.name}'")
        if len(addresses) > 1:
            files = [each.file for each in map(code.function_at, addresses) if each is not None]
            hint = f"name the file: {' or '.join(f'{file}:LINE' for file in files[:3])}"
            raise _fail(source, target.span, f"{len(addresses)} functions have the name {target.name}", hint)
        function = code.function_at(addresses[0])
        if function is None:
            raise _fail(source, target.span, f"{target.name} has no lines: it is not compiled of C, or not with -g")
        return [function], function.file, function.line + target.line
    units = code.units_of(target.name)
    if not units:
        hint = "a file is named from the end of its path on: ip_output.c, ipv4/ip_output.c"
        raise _fail(source, target.span, f"no code of this kernel is compiled of '{target.name}'", hint)
    paths = {path for unit in units for path in code.file.files_of(unit).values() if is_path(path, target.name)}
    if len(paths) > 1:
        raise _fail(source, target.span, f"'{target.name}' is the name of {len(paths)} files: {listed(sorted(paths))}")
    functions = [function for unit in units for function in code.file.functions_of(unit)]
    return functions, paths.pop() if paths else target.name, target.line


def _no_code(source: Source, target: LineTarget, lines: list[int], functions: Sequence[Function]) -> CompileError:
    base = functions[0].line if not _SOURCE_FILE.fullmatch(target.name) else 0
    wanted = base + target.line
    nearest_lines = sorted(sorted(lines, key=lambda line: abs(line - wanted))[:4])
    shown = [f"{target.name}:{line - base}" for line in nearest_lines if line >= base]
    hints = (f"lines with code near it are {listed(shown)}",) if shown else ()
    return _fail(source, target.span, f"there is no code of line {target.name}:{target.line}", *hints)


def _fail(source: Source, span: Span, message: str, *hints: str) -> CompileError:
    return CompileError([Diagnostic(source, span, message, hints)])


@record
class CodeLocals:
    """The variables in scope at an instruction, `byte_offset` from a symbol's start."""

    types: KernelTypes
    machine: Machine
    symbol: str
    byte_offset: int

    def value(self, name: Name, scope: Scope) -> Value | None:
        """What the name means there; None where nothing is called so. CompileError for what cannot be read there."""
        found = self._function()
        if found is None:
            return None
        code, function, start = found
        address = start + self.byte_offset
        variable = code.variables(function, address).get(name.name)
        if variable is None:
            return None
        location = code.location(function, variable, address)
        place = self.symbol + (f"+{self.byte_offset:#x}" if self.byte_offset else "")
        if isinstance(location, Nowhere):
            hints = _ranges_hint(location.ranges, self.symbol, start)
            raise scope.fail(name.span, f"'{name.name}' {location.reason} at {place}".replace(" here ", " "), *hints)
        try:
            type_ = type_of(variable.die, scope.types.program.prog, scope.types.named)
        except SurftraceError as error:
            raise scope.fail(name.span, f"'{name.name}' has {error.message}") from None
        base = self._base(code, location, name, scope)
        return Value(base, self._offsets(code, location), type_, is_address=location.is_address)

    def names(self) -> list[str]:
        """What is in scope there."""
        found = self._function()
        if found is None:
            return []
        code, function, start = found
        return list(code.variables(function, start + self.byte_offset))

    def _function(self) -> tuple[Code, Function, int] | None:
        code = code_of(self.types, self.machine)
        addresses = code.addresses(self.symbol) if code is not None else []
        if code is None or len(addresses) != 1:
            return None
        function = code.function_at(addresses[0] + self.byte_offset)
        return (code, function, addresses[0]) if function is not None else None

    def _base(self, code: Code, location: Spot, name: Name, scope: Scope) -> str:
        if location.base is None:
            symbol = code.object_at(location.byte_offsets[0])
            if symbol is None or location.is_address:
                raise scope.fail(name.span, f"'{name.name}' is a fixed address here, which no event tells")
            return f"@{symbol[0]}"
        registers = self.machine.dwarf_registers
        if location.base >= len(registers) or registers[location.base] not in self.machine.registers:
            raise scope.fail(name.span, f"'{name.name}' is in a register that probes cannot read")
        return f"%{registers[location.base]}"

    def _offsets(self, code: Code, location: Spot) -> tuple[int, ...]:
        if location.base is not None:
            return location.byte_offsets
        symbol = code.object_at(location.byte_offsets[0])
        return (symbol[1] if symbol is not None else 0, *location.byte_offsets[1:])


def _ranges_hint(ranges: tuple[tuple[int, int], ...], symbol: str, start: int) -> tuple[str, ...]:
    """Where the variable can be read instead; ranges that touch are one."""
    joined: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if joined and low <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(high, joined[-1][1])
        else:
            joined.append((low, high))
    shown = [f"+{low - start:#x} to +{high - start:#x}" for low, high in joined if low >= start]
    return (f"it can be read from {symbol}{listed(shown, _SHOWN_RANGES)}",) if shown else ()
