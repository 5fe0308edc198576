"""Files that the user names, written whole or not at all."""

import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from surftrace.cli.arguments import UsageError


def write_file(path: str, text: str, mode: int = 0o666) -> None:
    """Write a text to a new file, or in an old one's place; `mode` is as of open(2), the umask taken off.

    Links are not followed: in a folder that others write to, whoever made one would choose what is overwritten. A disk
    that is full leaves what was there. UsageError where it cannot be written.
    """
    target = Path(path)
    try:
        _check_place(target)
        descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:200]}.")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape") as stream:
                stream.write(text)
                stream.flush()
                os.fchmod(stream.fileno(), mode & ~_umask())
            os.replace(temporary, target)  # noqa: PTH105 # a rename that replaces a link, not what it leads to
        except BaseException:
            with suppress(OSError):
                Path(temporary).unlink()
            raise
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from None


def check_file(path: str) -> None:
    """UsageError where `write_file` would not write there; nothing is written."""
    target = Path(path)
    try:
        _check_place(target)
        descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:200]}.")
        os.close(descriptor)
        Path(temporary).unlink()
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from None


def _check_place(target: Path) -> None:
    """Only a plain file is replaced."""
    try:
        kind = stat.S_IFMT(target.lstat().st_mode)
    except FileNotFoundError:
        return
    if kind != stat.S_IFREG:
        what = {stat.S_IFLNK: "a symbolic link", stat.S_IFDIR: "a folder"}.get(kind, "no plain file")
        raise UsageError(f"cannot write {target}: it is {what}")


def _umask() -> int:
    umask = os.umask(0o077)
    os.umask(umask)
    return umask
