"""The name of a program or a library and of a function in, the file and the place in it that a probe needs out.

The kernel is given `PATH:OFFSET`, an offset in the file: Linux Documentation/trace/uprobetracer.rst.
"""

import os
import re
import shutil
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path

from surftrace.kernel.debugfiles import DEBUG_FOLDER, separate_table
from surftrace.kernel.elf import Elf, ObjectError, head_problem, read_elf
from surftrace.kernel.elfsymbols import Symbol, SymbolKind, SymbolTable
from surftrace.kernel.ldcache import CACHE, Library, known_libraries, libraries_named, short_name
from surftrace.kernel.machine import Machine
from surftrace.names import nearest
from surftrace.record import record

_HEAD_SIZE = 256
_SHOWN = 6
# What splits a command, or ends it: Linux lib/argv_split.c; kernel/trace/trace.c, trace_parse_run_command, for `#`.
# 0xa0 is white space to the kernel (lib/ctype.c), also within a character of UTF-8.
_SPLITS = {b" ": "a space", b"#": "a #", b"\xa0": "the byte 0xa0, which is a space to the kernel"}
_CONTROLS = re.compile(rb"[\x00-\x1f\x7f]")


@record
class Places:
    """Where libraries and debug files are looked for."""

    library_cache: Path = CACHE
    library_folders: tuple[str, ...] | None = None
    debug_folder: str = DEBUG_FOLDER


PLACES = Places()


@record
class UserFunction:
    """A function of a program or a library. `note` says what was chosen where the name did not say all."""

    path: str
    name: str
    file_offset: int
    size: int
    note: str = ""


def find_object(name: str, machine: Machine, places: Places = PLACES) -> str:
    """The path, as the kernel can be given it, of a program in PATH, a library, or a file. Raises ObjectError."""
    if "/" in name:
        return _kernel_path(name)
    program = shutil.which(name)
    if program is not None:
        return _kernel_path(program)
    libraries = known_libraries(machine, places.library_cache, places.library_folders)
    found = _files(libraries_named(name, libraries), machine)
    if len(found) == 1:
        return _kernel_path(found[0])
    if found:
        raise ObjectError(f"'{name}' may be {len(found)} libraries", f"name one of {', '.join(found)}")
    if Path(name).is_file():
        raise ObjectError(f"'{name}' is not in PATH", f"for the file here: ./{name}")
    like = nearest(name, {short_name(library.name) for library in libraries})
    hints = [f"did you mean '{like[0]}'?"] if like else ["a file is named with its folder: ./program, /opt/program"]
    raise ObjectError(f"there is no program '{name}' in PATH, and no such library", *hints)


def _files(libraries: Iterable[Library], machine: Machine) -> list[str]:
    """The files of libraries that are for this machine, each once; those for some processors only where no other is."""
    chosen: dict[tuple[int, int], str] = {}
    for is_default in (True, False):
        for library in libraries:
            if library.is_default == is_default and _is_for(library.path, machine):
                status = Path(library.path).stat()
                chosen.setdefault((status.st_dev, status.st_ino), library.path)
        if chosen:
            break
    return list(chosen.values())


def _is_for(path: str, machine: Machine) -> bool:
    try:
        return head_problem(_head(path), machine) is None
    except (OSError, ObjectError):
        return False


def _head(path: str) -> bytes:
    if not Path(path).is_file():  # to open a pipe would wait for its writer
        raise ObjectError(f"{path} is no file")
    with Path(path).open("rb") as file:
        return file.read(_HEAD_SIZE)


def _kernel_path(name: str) -> str:
    """The file's own path; through links where only that can be given to the kernel."""
    try:
        status = Path(name).stat()
        real = Path(name).resolve()
        # /proc/PID/root leads elsewhere than its text says.
        is_same = real.exists() and real.samefile(name)
    except OSError as error:
        raise ObjectError(f"cannot read {name}: {error.strerror}") from None
    except ValueError:  # a null character
        raise ObjectError(f"{name!r} is no path") from None
    if not stat.S_ISREG(status.st_mode):
        raise ObjectError(f"{name} is {'a folder' if stat.S_ISDIR(status.st_mode) else 'no file'}")
    paths = [str(path) for path in ((real, Path(name).absolute()) if is_same else (Path(name).absolute(),))]
    problems = [_path_problem(path) for path in paths]
    if None not in problems:
        raise ObjectError(f"the kernel takes no path with {problems[0]} in it: {paths[0]}", "give it another: ln -s")
    return paths[problems.index(None)]


def _path_problem(path: str) -> str | None:
    """What a probe definition cannot hold of a path, or None."""
    encoded = os.fsencode(path)
    if _CONTROLS.search(encoded):
        return "a control character"
    return next((what for byte, what in _SPLITS.items() if byte in encoded), None)


def find_function(path: str, name: str, machine: Machine, places: Places = PLACES) -> UserFunction:
    """The function of that name in the file at `path`. ObjectError where there is none, or no single one."""
    elf = _open(path, machine)
    tables = list(elf.tables)
    symbols = _named(tables, name)
    if not elf.has_full_table and (not symbols or _is_indirect(symbols)):
        separate = separate_table(elf, path, machine, places.debug_folder)
        tables.extend([separate] if separate is not None else [])
        symbols = symbols or _named(tables, name)
    clones = [] if symbols else [clone for table in tables for clone in table.clones(name) if clone.is_defined]
    if not symbols and not clones:
        raise _missing(elf, path, name, tables, machine, places)
    if _is_indirect(symbols):
        raise _indirect(path, name, tables)
    symbol = _chosen(symbols or clones, elf, path, name)
    file_offset = elf.file_offset(symbol.address)
    if file_offset is None:
        raise ObjectError(f"'{name}' of {path} is not in its code")
    note = f"the compiler renamed {name}: tracing {symbol.name}" if clones else ""
    old = {f"{name}{each.version}" for each in _old_versions(tables, name) if each.address != symbol.address}
    if old:
        note = f"there are several versions of {name}: tracing {name}{symbol.version}, not {', '.join(sorted(old))}"
    return UserFunction(path, symbol.name, file_offset, symbol.size, note)


def _named(tables: Iterable[SymbolTable], name: str) -> list[Symbol]:
    """The symbols that are defined under a name, of that version which a program that is linked today would have."""
    found = [symbol for table in tables for symbol in table.named(name) if symbol.is_defined]
    known = [symbol for symbol in found if symbol.kind in tuple(SymbolKind) and symbol.kind != SymbolKind.FILE]
    return [symbol for symbol in known if not symbol.is_old_version] or known


def _old_versions(tables: Iterable[SymbolTable], name: str) -> list[Symbol]:
    return [symbol for table in tables for symbol in table.named(name) if symbol.is_defined and symbol.is_old_version]


def _open(path: str, machine: Machine) -> Elf:
    try:
        head = _head(path)
        if head.startswith(b"#!"):
            raise _script(path, head)
        with Path(path).open("rb") as file:
            return read_elf(file, path, machine)
    except OSError as error:
        raise ObjectError(f"cannot read {path}: {error.strerror}") from None


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
        for library in _files([*own, *libraries_named(needed, libraries)], machine)[:1]:
            try:
                tables = _open(library, machine).tables
            except ObjectError:
                continue
            if _named(tables, name):
                short = short_name(needed)
                is_found = _files(libraries_named(short, libraries), machine) == [library]
                return (short if is_found else library), library
    return None
