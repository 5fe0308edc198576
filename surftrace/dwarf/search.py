"""Where the DWARF of a kernel and of its modules is: the places that distributions, and builds of one's own, put it in.

gdb's manual, "Separate Debug Files", has the build-id folders; Debian's linux-image-*-dbg, Fedora's and SUSE's
kernel-debuginfo packages the others.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from surftrace.dwarf.debuginfo import DebugFile, build_id_of_file, is_dwarf_of, module_name
from surftrace.dwarf.errors import DwarfError

DEBUG_FOLDER = "/usr/lib/debug"
_PACKINGS = ("", ".xz", ".zst", ".gz")


def find_kernel(folder: str, release: str, build_id: str) -> DebugFile | None:
    """The vmlinux of a kernel below a folder that is laid out as the root of a system, or holds the file itself."""
    for place in _kernel_places(release, build_id):
        path = Path(folder, place)
        if path.is_file():
            return DebugFile(str(path))
    return None


def _kernel_places(release: str, build_id: str) -> Iterator[str]:
    debug = DEBUG_FOLDER.lstrip("/")
    for folder in ("", f"{debug}/"):
        if len(build_id) > 2:
            yield f"{folder}.build-id/{build_id[:2]}/{build_id[2:]}.debug"
        if release:
            yield f"{folder}boot/vmlinux-{release}"
            yield f"{folder}boot/vmlinux-{release}.debug"
            yield f"{folder}lib/modules/{release}/vmlinux"
            yield f"{folder}lib/modules/{release}/vmlinux.debug"
            yield f"{folder}usr/lib/modules/{release}/vmlinux"
    if release:
        yield f"lib/modules/{release}/build/vmlinux"
        yield f"vmlinux-{release}"
    yield "vmlinux"


def find_module(folder: str, release: str, name: str, build_id: str = "") -> DebugFile | None:
    """The file with the DWARF of a kernel's module, below a folder that is laid out as the root of a system.

    It is of that build; where none is known, as for a module that is not loaded, of the one that would be loaded.
    """
    installed = _installed_module(folder, release, name)
    build_id = build_id or (_build_id(f"{folder}/{installed}") if installed else "")
    for place in _module_places(installed, build_id):
        path = Path(folder, place)
        if path.is_file() and is_dwarf_of(str(path), build_id):
            return DebugFile(str(path), name)
    return None


def _build_id(path: str) -> str:
    try:
        return build_id_of_file(path)
    except DwarfError:
        return ""


def _installed_module(folder: str, release: str, name: str) -> str:
    """The path of a module's file below the folder; empty where depmod(8) knows of none."""
    file_name = re.escape(name).replace("_", "[_-]")
    pattern = rf"^((?:\S*/)?{file_name}\.ko(?:\.\w+)?):"
    for modules in (f"lib/modules/{release}", f"usr/lib/modules/{release}"):
        try:
            text = Path(folder, modules, "modules.dep").read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        if found := re.search(pattern, text, re.MULTILINE):
            return f"{modules}/{found[1]}"
    return ""


def _module_places(installed: str, build_id: str) -> Iterator[str]:
    debug = DEBUG_FOLDER.lstrip("/")
    if len(build_id) > 2:
        yield f"{debug}/.build-id/{build_id[:2]}/{build_id[2:]}.debug"
    if not installed:
        return
    plain = f"{installed.partition('.ko')[0]}.ko"
    for place in (plain, f"{plain}.debug", f"{installed}.debug"):
        for packing in _PACKINGS:
            yield f"{debug}/{place}{packing}"
            yield f"{debug}/usr/{place}{packing}"
    yield installed


def given_modules(paths: Sequence[str]) -> dict[str, str]:
    """The files of modules that --module names, by the modules' names. DwarfError for a file that is none."""
    found: dict[str, str] = {}
    for path in paths:
        name = module_name(path)
        if name in found:
            raise DwarfError(f"{found[name]} and {path} are both of the module {name}")
        found[name] = path
    return found


def given_kernel(path: str, release: str, build_id: str) -> DebugFile:
    """The vmlinux that -v names: the file, or what is found in the folder. DwarfError where there is none."""
    if not Path(path).is_dir():
        return DebugFile(path)
    found = find_kernel(path, release, build_id)
    if found is None:
        raise DwarfError(f"there is no vmlinux{' of ' + release if release else ''} in {path}")
    return found
