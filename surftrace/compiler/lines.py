"""Source lines and local variables, from the kernel's DWARF: where a line's code is, what a name means there."""

import re
from collections.abc import Callable, Sequence

from surftrace.compiler.fetch import Fetch, render_fetch
from surftrace.compiler.locals import Instruction, ranges_hint
from surftrace.compiler.scope import listed
from surftrace.dwarf.units import Function
from surftrace.dwarf.variables import Nowhere, Spot
from surftrace.errors import SurftraceError
from surftrace.kernel.code import Code, CodePlace, is_path, open_code
from surftrace.kernel.machine import Machine
from surftrace.kernel.target import Target
from surftrace.kernel.types import KernelTypes, spelled
from surftrace.lang.source import CompileError, Diagnostic, Source, Span
from surftrace.lang.syntax import LineTarget
from surftrace.names import did_you_mean, nearest
from surftrace.record import record

_NO_DWARF = "install it (linux-image-RELEASE-dbg, kernel-debuginfo), or name a vmlinux that has it with -v"
_NO_MODULE_DWARF = "install it (linux-image-RELEASE-dbg, kernel-debuginfo), or name a file that has it with --module"
_SOURCE_FILE = re.compile(r".*\.(?:[chsS]|cc|cpp|cxx|hh|hpp|rs|go)")


def code_of(types: KernelTypes, machine: Machine, module: str = "") -> Code | None:
    """The code that the types' DWARF tells of, the kernel's own or a module's; None where there is none."""
    files = types.debug.look() if types.debug is not None else ()
    file = next((each for each in files if each.name == module), None)
    return open_code(file.path, machine, module) if file is not None else None


def module_with(name: str, on: Target) -> str:
    """The module that has a function of this name; empty where the kernel itself has one, or nobody."""
    owners = _owners(name, on)
    if owners:
        return owners[0]
    return _first_module(on.kernel.modules(), on, lambda code: bool(code.addresses(name)))


def _owners(name: str, on: Target) -> list[str]:
    """The modules with a function of this name among the kernel's symbols; the kernel itself, empty, before others."""
    symbols = on.kernel.symbols()
    return sorted({symbol.module for symbol in symbols.named(name) if symbol.is_code}) if symbols is not None else []


def _module_with_file(name: str, on: Target) -> str:
    """The module that has code of a source file: one that was given, or that of the file's own name."""
    own = re.sub(r"\W", "_", name.rpartition("/")[2].rpartition(".")[0])
    return _first_module((*on.kernel.modules(), own), on, lambda code: bool(code.units_of(name)))


def _first_module(modules: Sequence[str], on: Target, has: Callable[[Code], bool]) -> str:
    """The first of them whose code has it; empty where the kernel itself has it before, or nobody."""
    for module in ("", *modules) if modules else ():
        code = code_of(on.types(module), on.machine, module)
        if code is not None and has(code):
            return module
    return ""


def instruction_at(
    symbol: str, byte_offset: int, types: KernelTypes, machine: Machine, module: str = ""
) -> Instruction | None:
    """A place in the code of the kernel or a module; None where DWARF does not tell of it, or not of one alone."""
    code = code_of(types, machine, module)
    addresses = code.addresses(symbol) if code is not None else []
    if code is None or len(addresses) != 1:
        return None
    function = code.function_at(addresses[0] + byte_offset)
    return Instruction(code, function, symbol, addresses[0], byte_offset) if function is not None else None


def is_source_file(name: str) -> bool:
    """Is this the name of a source file, not of a function?"""
    return _SOURCE_FILE.fullmatch(name) is not None


def places_of_line(source: Source, target: LineTarget, on: Target) -> list[CodePlace]:
    """Where the code of a line begins, in the order of addresses. CompileError where it has none."""
    return places_in_code(source, target, code_with(source, target, on))


def places_in_code(source: Source, target: LineTarget, code: Code) -> list[CodePlace]:
    """The same, in code that is known already."""
    functions, file, line = _functions(source, target, code)
    found = {place.address: place for function in functions for place in code.places(function, file, line)}
    if not found:
        lines = sorted({row.line for each in functions for row in code.rows(each) if row.file == file})
        raise _no_code(source, target, lines, functions)
    return [found[address] for address in sorted(found)]


def code_with(source: Source, target: LineTarget, on: Target) -> Code:
    """The code that has the function or the file, be it that of the module that the target names."""
    if target.module:
        return _needed_code_of(source, target.span, on, target.module)
    if _SOURCE_FILE.fullmatch(target.name):
        return _needed_code_of(source, target.span, on, _module_with_file(target.name, on))
    owners = _owners(target.name, on)
    if len(owners) > 1:
        where = listed(owner or "the kernel itself" for owner in owners)
        named = " or ".join(f"{owner}:{target.name}:{target.line}" for owner in owners if owner)
        message = f"functions of the name {target.name} are in {where}: which one is not clear"
        raise _fail(source, target.span, message, f"name the module: {named}")
    return _needed_code_of(source, target.span, on, module_with(target.name, on))


def _needed_code_of(source: Source, span: Span, on: Target, module: str) -> Code:
    code = code_of(on.types(module), on.machine, module)
    if code is None and module:
        message = f"lines and variables of the module {module} need its DWARF, and none is found"
        raise _fail(source, span, message, _NO_MODULE_DWARF)
    return needed_code(source, span, code)


def needed_code(source: Source, span: Span, code: Code | None) -> Code:
    """The kernel's code where there is any. CompileError where there is none."""
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
    code = code_with(source, target, on)
    functions, file, start = _functions(source, target, code)
    is_file = _SOURCE_FILE.fullmatch(target.name) is not None
    first = 0 if is_file else start
    by_line: dict[int, list[CodePlace]] = {}
    for function in functions:
        for line, places in code.places_by_line(function, file).items():
            by_line.setdefault(line, []).extend(places)
    lines = [CodeLine(line - first, line, tuple(by_line[line])) for line in sorted(by_line) if line >= first]
    title = target.name if is_file else f"{target.name} at {file}:{start}"
    return Listing(title, file, code.folder_of(functions[0]) if functions else "", tuple(lines))


@record
class CodeVariable:
    """A variable in scope at a place: its type as C spells it, and where it is, or why it is nowhere."""

    name: str
    type: str
    where: str
    is_there: bool


def variables_at_place(
    source: Source, span: Span, symbol: str, byte_offset: int, on: Target, module: str = ""
) -> list[CodeVariable]:
    """All variables in scope there, the innermost first. CompileError where DWARF does not tell."""
    module = module or module_with(symbol, on)
    function = _one_function(source, span, symbol, _needed_code_of(source, span, on, module))
    types = on.types(module)
    place = instruction_at(symbol, byte_offset, types, on.machine, module)
    if place is None or place.function.address != function.address:
        raise _fail(source, span, f"the code of {symbol} does not reach to +{byte_offset:#x}")
    code = place.code
    found = []
    for name, variable in code.variables(place.function, place.address).items():
        try:
            type_text = spelled(types.of_thing(variable.die))
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
        function = _one_function(source, target.span, target.name, code)
        return [function], function.file, function.line + target.line
    units = code.units_of(target.name)
    if not units:
        hint = "a file is named from the end of its path on: FILE.c, FOLDER/FILE.c"
        raise _fail(source, target.span, f"no code of {code.owner} is compiled of '{target.name}'", hint)
    paths = {path for unit in units for path in code.file.files_of(unit).values() if is_path(path, target.name)}
    if len(paths) > 1:
        raise _fail(source, target.span, f"'{target.name}' is the name of {len(paths)} files: {listed(sorted(paths))}")
    functions = [function for unit in units for function in code.file.functions_of(unit)]
    return functions, paths.pop() if paths else target.name, target.line


def _one_function(source: Source, span: Span, name: str, code: Code) -> Function:
    """The function of that name. CompileError where there is none, or more than one, or none with lines."""
    addresses = code.addresses(name)
    if not addresses:
        hints = did_you_mean(nearest(name, code.function_names()))
        raise _fail(source, span, f"the DWARF of {code.owner} has no function '{name}'", *hints)
    if len(addresses) > 1:
        files = [each.file for each in map(code.function_at, addresses) if each is not None]
        hint = f"name the file: {' or '.join(f'{file}:LINE' for file in files[:3])}"
        raise _fail(source, span, f"{len(addresses)} functions have the name {name}", hint)
    function = code.function_at(addresses[0])
    if function is None:
        raise _fail(source, span, f"{name} has no lines: it is not compiled of C, or not with -g")
    return function


def _no_code(source: Source, target: LineTarget, lines: list[int], functions: Sequence[Function]) -> CompileError:
    base = functions[0].line if not _SOURCE_FILE.fullmatch(target.name) else 0
    wanted = base + target.line
    nearest_lines = sorted(sorted(lines, key=lambda line: abs(line - wanted))[:4])
    shown = [f"{target.name}:{line - base}" for line in nearest_lines if line >= base]
    hints = (f"lines with code near it are {listed(shown)}",) if shown else ()
    return _fail(source, target.span, f"there is no code of line {target.name}:{target.line}", *hints)


def _fail(source: Source, span: Span, message: str, *hints: str) -> CompileError:
    return CompileError([Diagnostic(source, span, message, hints)])
