"""The name of a function of a program or a library in, the place in the file that a probe needs out.

The kernel is given `PATH:OFFSET`, an offset in the file: Linux Documentation/trace/uprobetracer.rst.
"""

import os
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

from surftrace.kernel.cppnames import is_clone, symbols_named
from surftrace.kernel.debugfiles import dwarf_path, separate_table
from surftrace.kernel.elf import Elf, ObjectError, read_elf
from surftrace.kernel.elfsymbols import Symbol, SymbolKind, SymbolTable
from surftrace.kernel.ldcache import Library, known_libraries, libraries_named, short_name
from surftrace.kernel.machine import Machine, machine_named
from surftrace.kernel.objects import PLACES, Places, files_for, head_of
from surftrace.names import nearest
from surftrace.record import record

_SHOWN = 6


@record
class UserFunction:
    """A function of a program or a library. `note` says what was chosen where the name did not say all.

    `address` is where the file's symbols and its DWARF have it, `file_offset` where a probe does.
    """

    path: str
    name: str
    address: int
    file_offset: int
    size: int
    note: str = ""


def find_function(path: str, name: str, machine: Machine, places: Places = PLACES) -> UserFunction:
    """The function of that name in the file at `path`. ObjectError where there is none, or no single one."""
    elf = _open(path, machine)
    base, _, version = name.partition("@")
    tables, symbols = _found(elf, path, base, machine, places)
    clones = [clone for table in tables for clone in table.clones(base) if clone.is_defined]
    if version:
        symbols = _of_version(symbols, path, base, version.removeprefix("@"))
    elif not symbols and not clones:
        symbols, clones = _of_cpp(path, name, tables)
    if not symbols and not clones:
        raise _missing(elf, path, base, tables, machine, places)
    if _is_indirect(symbols):
        raise _indirect(path, base, tables)
    chosen = _default(symbols) if not version else symbols
    symbol = _chosen(chosen or clones, elf, path, base)
    file_offset = elf.file_offset(symbol.address)
    if file_offset is None:
        raise ObjectError(f"'{name}' of {path} is not in its code")
    note = "" if version else _note(base, symbol, symbols, clones)
    return UserFunction(path, symbol.name, symbol.address, file_offset, symbol.size, note)


def function_at(path: str, name: str, address: int, machine: Machine) -> UserFunction:
    """The function whose symbol has that name and address. ObjectError where the file has no code there."""
    file_offset = _open(path, machine).file_offset(address)
    if file_offset is None:
        raise ObjectError(f"'{name}' of {path} is not in its code")
    return UserFunction(path, name, address, file_offset, 0)


def function_names(path: str, machine: Machine, places: Places = PLACES) -> set[str]:
    """The names of the functions in the file at `path`, as its symbols have them. ObjectError where it has none."""
    elf = _open(path, machine)
    tables, _ = _found(elf, path, "", machine, places)
    return {name for table in tables for name in table.function_names()}


def _found(elf: Elf, path: str, name: str, machine: Machine, places: Places) -> tuple[list[SymbolTable], list[Symbol]]:
    """The tables that there are, and what they define under a name."""
    tables = list(elf.tables)
    symbols = _named(tables, name)
    if not elf.has_full_table and (not symbols or _is_indirect(symbols)):
        separate = separate_table(elf, path, machine, places.debug_folder)
        tables.extend([separate] if separate is not None else [])
        symbols = symbols or _named(tables, name)
    return tables, symbols


def _default(symbols: Sequence[Symbol]) -> list[Symbol]:
    """Those of the version that a program that is linked today would have; all, where there is no such."""
    return [symbol for symbol in symbols if not symbol.is_old_version] or list(symbols)


def _of_version(symbols: Sequence[Symbol], path: str, name: str, version: str) -> list[Symbol]:
    found = [symbol for symbol in symbols if symbol.version.lstrip("@") == version]
    if found or not symbols:
        return found
    known = sorted({symbol.version.lstrip("@") for symbol in symbols} - {""})
    hints = (f"there are {', '.join(f'{name}@{each}' for each in known)}",) if known else ("it has no versions at all",)
    raise ObjectError(f"'{name}' of {path} has no version {version}", *hints)


def _of_cpp(path: str, name: str, tables: Sequence[SymbolTable]) -> tuple[list[Symbol], list[Symbol]]:
    """The symbols of C++'s function of that name, and those of its clones. ObjectError where several have the name."""
    found = {
        whole: symbols
        for whole, each in symbols_named(tables, name).items()
        if (symbols := [symbol for symbol in each if symbol.kind == SymbolKind.FUNC])
    }
    plain = [symbol for symbols in found.values() for symbol in symbols if not is_clone(symbol.name)]
    clones = [symbol for symbols in found.values() for symbol in symbols if is_clone(symbol.name)]
    if len({symbol.address for symbol in plain or clones}) > 1:
        # One name alone: a constructor of a class, and of it as a part of another.
        is_one = len(found) == 1
        listed = (
            sorted({symbol.name for symbol in plain or clones}) if is_one else [f'"{each}"' for each in sorted(found)]
        )
        shown = ", ".join(listed[:_SHOWN]) + (", ..." if listed[_SHOWN:] else "")
        raise ObjectError(
            f"{path} has several functions '{name}'", f"name one{'' if is_one else ' in quotes'}: {shown}"
        )
    return plain, clones


def _note(name: str, chosen: Symbol, symbols: Sequence[Symbol], clones: Sequence[Symbol]) -> str:
    """What to tell of a function that there is more than one of."""
    if not symbols:
        return f"the compiler renamed {name}: tracing {chosen.name}"
    old = {f"{name}{each.version}" for each in symbols if each.is_old_version and each.address != chosen.address}
    if old:
        return f"there are several versions of {name}: tracing {name}{chosen.version}, not {', '.join(sorted(old))}"
    if clones:
        listed = ", ".join(sorted({each.name for each in clones})[:_SHOWN])
        return f"the compiler also made {listed} of {name}: what calls these is not seen"
    return ""


def dwarf_of(path: str, machine: Machine, places: Places = PLACES) -> str | None:
    """The file with the DWARF of the program or library at `path`; None where none is found. Raises ObjectError."""
    return dwarf_path(_open(path, machine), path, machine, places.debug_folder)


def find_variable(path: str, name: str, machine: Machine, places: Places = PLACES) -> Symbol | None:
    """The variable of that name in the file at `path`; None where there is none. ObjectError for several."""
    elf = _open(path, machine)
    tables, _ = _found(elf, path, name, machine, places)
    if not elf.has_full_table and len(tables) == len(elf.tables):
        separate = separate_table(elf, path, machine, places.debug_folder)
        tables.extend([separate] if separate is not None else [])
    found = [each for each in _named(tables, name) if each.kind in (SymbolKind.OBJECT, SymbolKind.TLS)]
    if len({each.address for each in found}) > 1:
        where = ", ".join(sorted(each.file or f"{each.address:#x}" for each in found))
        raise ObjectError(f"{path} has {len(found)} variables '{name}': which one is not clear", f"they are of {where}")
    return found[0] if found else None


def _named(tables: Iterable[SymbolTable], name: str) -> list[Symbol]:
    """The symbols that are defined under a name, of whatever version."""
    found = [symbol for table in tables for symbol in table.named(name) if symbol.is_defined]
    return [symbol for symbol in found if symbol.kind in tuple(SymbolKind) and symbol.kind != SymbolKind.FILE]


def _open(path: str, machine: Machine) -> Elf:
    try:
        head = head_of(path)
        if head.startswith(b"#!"):
            raise _script(path, head)
        status = Path(path).stat()
        return _read(path, machine.name, (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns))
    except OSError as error:
        raise ObjectError(f"cannot read {path}: {error.strerror}") from None


@lru_cache(maxsize=8)  # each value of a probe may ask
def _read(path: str, machine: str, _state: tuple[int, ...]) -> Elf:
    with Path(path).open("rb") as file:
        return read_elf(file, path, machine_named(machine))


def _script(path: str, head: bytes) -> ObjectError:
    words = head[2:].splitlines()[0].split()
    interpreter = os.fsdecode(words[0]) if words else ""
    if Path(interpreter).name == "env" and len(words) > 1:
        interpreter = os.fsdecode(words[-1 if words[1] == b"-S" else 1])
    hint = [f"a function of what runs it: {interpreter}:FUNCTION"] if interpreter else []
    return ObjectError(f"{path} is a script: its functions are none of the processor's", *hint)


def _is_indirect(symbols: Iterable[Symbol]) -> bool:
    return any(symbol.kind == SymbolKind.GNU_IFUNC for symbol in symbols)


def _indirect(path: str, name: str, tables: Iterable[SymbolTable]) -> ObjectError:
    """The error for a function that is another one on each processor: STT_GNU_IFUNC."""
    known = sorted({variant.name for table in tables for variant in table.variants(name) if variant.is_defined})
    hint = "those that it chooses from have symbols in the debug file alone: install that"
    if known:
        hint = f"name one that it chooses from: {', '.join(known[:_SHOWN])}" + (", ..." if known[_SHOWN:] else "")
    return ObjectError(f"'{name}' of {path} only chooses which function is to be {name} when a program starts", hint)


def _chosen(symbols: Sequence[Symbol], elf: Elf, path: str, name: str) -> Symbol:
    """The one function among the symbols of a name."""
    functions = [symbol for symbol in symbols if _is_function(symbol, elf)]
    if not functions:
        what = "variable" if symbols[0].kind in (SymbolKind.OBJECT, SymbolKind.TLS) else "place outside of the code"
        raise ObjectError(f"'{name}' of {path} is a {what}, not a function")
    places = {symbol.address: f"{symbol.name} at {symbol.address:#x}{_where(symbol)}" for symbol in functions}
    if len(places) == 1:
        return functions[0]
    listed = ", ".join(places[address] for address in sorted(places))
    raise ObjectError(f"{path} has {len(places)} functions '{name}': which one is not clear", f"they are {listed}")


def _where(symbol: Symbol) -> str:
    return f" of {symbol.file}" if symbol.file else ""


def _is_function(symbol: Symbol, elf: Elf) -> bool:
    """Is this a function, or a place in the code that assembler code gave no kind?"""
    if symbol.kind == SymbolKind.NOTYPE:
        return elf.file_offset(symbol.address) is not None
    return symbol.kind == SymbolKind.FUNC


def _missing(
    elf: Elf, path: str, name: str, tables: Sequence[SymbolTable], machine: Machine, places: Places
) -> ObjectError:
    """The error for a function that is not in the file: imported, misspelt, or not known."""
    names = {each for table in tables for each in table.function_names()}
    is_imported = any(table.named(name) for table in tables)
    definer = _definer(elf, path, name, machine, places)
    if definer is not None or is_imported:
        message = f"{path} has no function '{name}' of its own"
        if definer is None:
            return ObjectError(f"{message}: it comes from a library that is not found here")
        return ObjectError(f"{message}: it comes from {definer[1]}", f"write {definer[0]}:{name}")
    if not elf.has_full_table and not names:
        hint = "install its debug symbols, or use one that is not stripped"
        return ObjectError(f"{path} has no symbols: where its functions are is not known", hint)
    like = nearest(name, names)
    hints = [f"did you mean '{like[0]}'?"] if like else []
    if not like and not elf.has_full_table:
        hints = ["it is stripped: static functions are known from its debug symbols alone"]
    return ObjectError(f"{path} has no function '{name}'", *hints)


def _definer(elf: Elf, path: str, name: str, machine: Machine, places: Places) -> tuple[str, str] | None:
    """The library among those that a file needs that has a function: as a probe names it, and its path."""
    if not elf.needed:
        return None
    libraries = known_libraries(machine, places.library_cache, places.library_folders)
    origin = str(Path(path).parent)
    folders = [re.sub(r"\$(?:ORIGIN|\{ORIGIN\})", lambda _: origin, folder) for folder in elf.library_folders]
    for needed in elf.needed:
        own = [Library(needed, f"{folder}/{needed}", True) for folder in folders if folder]
        for library in files_for([*own, *libraries_named(needed, libraries)], machine)[:1]:
            try:
                tables = _open(library, machine).tables
            except ObjectError:
                continue
            if _named(tables, name):
                short = short_name(needed)
                is_found = files_for(libraries_named(short, libraries), machine) == [library]
                return (short if is_found else library), library
    return None
