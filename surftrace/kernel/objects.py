"""The name of a program or a library in, the path of its file that the kernel can be given out."""

import os
import re
import shutil
import stat
from collections.abc import Iterable
from pathlib import Path

from surftrace.kernel.debugfiles import DEBUG_FOLDER
from surftrace.kernel.elf import ObjectError, head_problem
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


def find_object(name: str, machine: Machine, places: Places = PLACES) -> str:
    """The path, as the kernel can be given it, of a program in PATH, a library, or a file. Raises ObjectError."""
    if "/" in name:
        return _kernel_path(name)
    program = shutil.which(name)
    if program is not None:
        return _kernel_path(program)
    libraries = known_libraries(machine, places.library_cache, places.library_folders)
    found = files_for(libraries_named(name, libraries), machine)
    if len(found) == 1:
        return _kernel_path(found[0])
    if found:
        raise ObjectError(f"'{name}' may be {len(found)} libraries", f"name one of {', '.join(found)}")
    if Path(name).is_file():
        raise ObjectError(f"'{name}' is not in PATH", f"for the file here: ./{name}")
    like = nearest(name, {short_name(library.name) for library in libraries})
    hints = [f"did you mean '{like[0]}'?"] if like else ["a file is named with its folder: ./program, /opt/program"]
    raise ObjectError(f"there is no program '{name}' in PATH, and no such library", *hints)


def files_for(libraries: Iterable[Library], machine: Machine) -> list[str]:
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
        return head_problem(head_of(path), machine) is None
    except (OSError, ObjectError):
        return False


def head_of(path: str) -> bytes:
    """The file's first bytes. ObjectError for what is no file."""
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
