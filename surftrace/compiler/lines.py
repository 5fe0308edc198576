"""Source lines and local variables, from the kernel's DWARF: where a line's code is, what a name means there."""

import re
from collections.abc import Sequence

from surftrace.compiler.fetch import Fetch, render_fetch
from surftrace.compiler.locals import Instruction, ranges_hint
from surftrace.compiler.scope import listed
from surftrace.dwarf.units import Function
from surftrace.dwarf.types import TypeReader
from surftrace.dwarf.variables import Nowhere, Spot
from surftrace.errors import SurftraceError
from surftrace.kernel.code import Code, CodePlace, is_path, open_code
from surftrace.kernel.machine import Machine
from surftrace.kernel.target import Target
from surftrace.kernel.types import KernelTypes, spelled
from surftrace.lang.source import CompileError, Diagnostic, Source, Span
from surftrace.lang.syntax import LineTarget
from surftrace.record import record

_NO_DWARF = "install it (linux-image-RELEASE-dbg, kernel-debuginfo), or name a vmlinux that has it with -v"
_SOURCE_FILE = re.compile(r".*\.(?:c|h|S)")


def code_of(types: KernelTypes, machine: Machine) -> Code | None:
    """The code that the types' DWARF tells of; None where there is none."""
    files = types.debug.look() if types.debug is not None else ()
    return open_code(files[0].path, machine) if files else None


def instruction_at(symbol: str, byte_offset: int, types: KernelTypes, machine: Machine) -> Instruction | None:
    """A place in the kernel's code; None where DWARF does not tell of it, or not of one alone."""
    code = code_of(types, machine)
    addresses = code.addresses(symbol) if code is not None else []
    if code is None or len(addresses) != 1:
        return None
    function = code.function_at(addresses[0] + byte_offset)
    return Instruction(code, function, symbol, addresses[0], byte_offset) if function is not None else None


def places_of_line(source: Source, target: LineTarget, on: Target) -> list[CodePlace]:
    """Where the code of a line begins, in the order of addresses. CompileError where it has none."""
    return places_in_code(source, target, _needed_code(source, target.span, on))


def places_in_code(source: Source, target: LineTarget, code: Code) -> list[CodePlace]:
    """The same, in code that is known already."""
    functions, file, line = _functions(source, target, code)
    found = {place.address: place for function in functions for place in code.places(function, file, line)}
    if not found:
        lines = sorted({row.line for each in functions for row in code.rows(each) if row.file == file})
        raise _no_code(source, target, lines, functions)
    return [found[address] for address in sorted(found)]


def _needed_code(source: Source, span: Span, on: Target) -> Code:
    return needed_code(source, span, code_of(on.types(), on.machine))


def needed_code(source: Source, span: Span, code: Code | None) -> Code:
    """The code that there is. CompileError where there is none."""
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
    _needed_code(source, span, on)
    types = on.types()
    place = instruction_at(symbol, byte_offset, types, on.machine)
    if place is None:
        raise _fail(source, span, f"DWARF tells of no function {symbol}+{byte_offset:#x}")
    code = place.code
    found = []
    for name, variable in code.variables(place.function, place.address).items():
        try:
            type_text = spelled(TypeReader(types.program.prog, types.named).of_thing(variable.die))
        except SurftraceError as error:
            type_text = f"({error.message})"
        location = code.location(place.function, variable, place.address)
        if isinstance(location, Nowhere):
            hint = "".join(f"; {hint}" for hint in ranges_hint(location.ranges, symbol, place.start))
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
