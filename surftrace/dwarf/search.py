"""Where the DWARF of a kernel and of its modules is: the places that distributions, and builds of one's own, put it in.

gdb's manual, "Separate Debug Files", has the build-id folders; Debian's linux-image-*-dbg, Fedora's and SUSE's
kernel-debuginfo packages the others.
"""

from collections.abc import Iterator
from pathlib import Path

from surftrace.dwarf.debuginfo import DebugFile, DwarfError

DEBUG_FOLDER = "/usr/lib/debug"


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


def given_kernel(path: str, release: str, build_id: str) -> DebugFile:
    """The vmlinux that -v names: the file, or what is found in the folder. DwarfError where there is none."""
    if not Path(path).is_dir():
        return DebugFile(path)
    found = find_kernel(path, release, build_id)
    if found is None:
        raise DwarfError(f"there is no vmlinux{' of ' + release if release else ''} in {path}")
    return found
