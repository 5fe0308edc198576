"""tracefs: where it is, and reading and writing its files. The only module that opens them."""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import field
from pathlib import Path

from surftrace.compiler.plan import KPROBE_EVENTS
from surftrace.errors import SurftraceError
from surftrace.record import record

DEFAULT_ROOT = "/sys/kernel/tracing"
_MOUNTS = "/proc/self/mounts"
# White space and backslashes in a mount's path.
_ESCAPED = re.compile(r"\\([0-7]{3})")
# Linux Documentation/trace/kprobes.rst, "The kprobes debugfs interface": `0xSTART-0xEND<tab>NAME` a line.
_BLACKLIST = Path("/sys/kernel/debug/kprobes/blacklist")


class TracefsError(SurftraceError):
    """A file of tracefs that cannot be used: `path`, and the `errno` that the kernel gave."""

    exit_status = 1

    def __init__(self, message: str, *hints: str, path: str = "", errno: int = 0) -> None:
        super().__init__(message, *hints)
        self.path = path
        self.errno = errno


@record
class Tracefs:
    """A mounted tracefs. All paths are below its root.

    `folder` is a descriptor of the root: what is at its path may be unmounted, and is reached all the same.
    """

    root: Path
    folder: int | None = field(default=None, compare=False)

    def read(self, path: str) -> bytes:
        """A file's content."""
        with _explained(self.root / path, "read"):
            descriptor = self._open(path, os.O_RDONLY)
            with os.fdopen(descriptor, "rb", buffering=0) as stream:
                return stream.readall()

    def write(self, path: str, text: str, is_append: bool = False) -> None:
        """One write of one line, so that the kernel takes or refuses it as a whole."""
        with _explained(self.root / path, "write"):
            descriptor = self._open(path, os.O_WRONLY | (os.O_APPEND if is_append else os.O_TRUNC))
            try:
                os.write(descriptor, text.encode(errors="surrogateescape") + b"\n")
            finally:
                os.close(descriptor)

    def make_folder(self, path: str) -> None:
        """Make an instance."""
        with _explained(self.root / path, "make"):
            os.mkdir(self._place(path), dir_fd=self.folder)

    def remove_folder(self, path: str) -> None:
        """Remove an instance."""
        with _explained(self.root / path, "remove"):
            os.rmdir(self._place(path), dir_fd=self.folder)

    def open(self, path: str, flags: int = os.O_RDONLY) -> int:
        """A descriptor of a file or a folder, for the caller to close."""
        with _explained(self.root / path, "open"):
            return self._open(path, flags)

    def exists(self, path: str) -> bool:
        """Is there such a file?"""
        return self.inode(path) is not None

    def is_open(self, folder: str) -> bool:
        """Has a process a file below this folder open? Others' files are seen by root alone. Source: proc(5)."""
        for process in Path("/proc").glob("[0-9]*/fd"):
            with suppress(OSError):  # it has ended, or is not to be looked at
                if any(f"/{folder}/" in _link(entry) for entry in process.iterdir()):
                    return True
        return False

    def folders(self, path: str) -> list[str]:
        """The names of the folders in a folder."""
        with _explained(self.root / path, "list"):
            descriptor = self._open(path, os.O_RDONLY | os.O_DIRECTORY)
            try:
                with os.scandir(descriptor) as entries:
                    return sorted(entry.name for entry in entries if entry.is_dir())
            finally:
                os.close(descriptor)

    def inode(self, path: str) -> int | None:
        """The inode number at a path; None where there is nothing."""
        with _explained(self.root / path, "look at"):
            try:
                return os.stat(self._place(path), dir_fd=self.folder).st_ino
            except FileNotFoundError:
                return None

    def _open(self, path: str, flags: int) -> int:
        return os.open(self._place(path), flags | os.O_CLOEXEC, dir_fd=self.folder)

    def _place(self, path: str) -> str:
        return str(self.root / path) if self.folder is None else path


def _link(path: Path) -> str:
    try:
        return str(path.readlink())
    except OSError:  # closed meanwhile
        return ""


@contextmanager
def _explained(path: Path, action: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        message = f"cannot {action} {path}: {error.strerror}"
        raise TracefsError(message, *_hints(error), path=str(path), errno=error.errno or 0) from None


def _hints(error: OSError) -> tuple[str, ...]:
    if error.errno == errno.EROFS:
        return ("tracefs is mounted read-only: as root, mount -o remount,rw",)
    if error.errno not in (errno.EACCES, errno.EPERM):
        return ()
    return ("run as root" if os.geteuid() else "a lockdown of the kernel or a container forbids it",)


def find_tracefs(mounts: str = _MOUNTS) -> Tracefs:
    """The tracefs of this machine, with kprobes. TracefsError, with what to do, where there is none to use."""
    roots = _mounted_roots(mounts)
    if not roots:
        raise TracefsError("tracefs is not mounted", "as root: mount -t tracefs tracefs " + DEFAULT_ROOT)
    root = roots[0]
    tracefs = Tracefs(root, _accessible(root, os.O_RDONLY | os.O_DIRECTORY))
    if not tracefs.exists(KPROBE_EVENTS):
        raise TracefsError(
            "this kernel has no kprobes",
            "it was built without CONFIG_KPROBE_EVENTS: boot one that has it, as distributions' kernels do",
        )
    os.close(_accessible(root / KPROBE_EVENTS, os.O_WRONLY))
    return tracefs


def _accessible(path: Path, flags: int) -> int:
    """A descriptor of what this process must have access to: to open it is the one question that the kernel answers."""
    try:
        return os.open(path, flags | os.O_CLOEXEC)
    except OSError as error:
        raise TracefsError(f"no access to {path}", *_hints(error), path=str(path), errno=error.errno or 0) from None


def read_blacklist() -> bytes:
    """The kernel's list of functions that no probe may touch; empty where it cannot be read."""
    try:
        return _BLACKLIST.read_bytes()
    except OSError:
        return b""


def _mounted_roots(mounts: str) -> list[Path]:
    """Where tracefs is mounted, the usual place first. Source: proc(5), /proc/pid/mounts."""
    roots = []
    # Of all that ends a line somewhere only "\n" is escaped in a path.
    for line in Path(mounts).read_bytes().decode(errors="surrogateescape").split("\n"):
        _, folder, kind, *_ = (*line.split(" "), "", "", "")
        path = Path(_ESCAPED.sub(lambda match: chr(int(match[1], 8)), folder))
        if kind == "tracefs":
            roots.append(path)
        elif kind == "debugfs":  # mounts tracefs at its folder `tracing` when that is looked at
            roots.append(path / "tracing")
    return sorted(roots, key=lambda root: str(root) != DEFAULT_ROOT)
