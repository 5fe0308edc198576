"""An ELF file in, its bytes out: unpacked where gzip, xz or zstd have packed it, as distributions do with modules."""

import io
import mmap
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from surftrace.activity import doing
from surftrace.dwarf.errors import DwarfError
from surftrace.record import record

# No module comes near; a file that unpacks to more is made to fill the memory.
MAX_BYTES = 1 << 30
_CHUNK = 1 << 20
_ZSTD_LIBRARIES = ("compression.zstd", "zstandard")
_ELF = b"\x7fELF"
_HEAD_SIZE = 64


@record
class Content:
    """A file's bytes, and a path at which libraries find the same."""

    data: memoryview
    path: str


class _View(io.RawIOBase):
    """A part of a mapped file as a stream, which is what pyelftools parses."""

    def __init__(self, data: memoryview) -> None:
        super().__init__()
        self._data = data
        self._at = 0

    def read(self, size: int | None = -1, /) -> bytes:
        end = len(self._data) if size is None or size < 0 else self._at + size
        part = bytes(self._data[self._at : end])
        self._at += len(part)
        return part

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: len(self._data)}[whence]
        self._at = max(0, start + offset)
        return self._at

    def tell(self) -> int:
        return self._at


class _Stream(Protocol):
    def read(self, size: int, /) -> bytes:
        """At most so many bytes of what was packed; none at its end."""
        ...


def content_of(path: str) -> Content:
    """What a file has, unpacked. DwarfError where it cannot be read, is damaged, or is no ELF file."""
    try:
        with Path(path).open("rb") as file:
            head = file.read(_HEAD_SIZE)
            status = os.fstat(file.fileno())
            packing = next((each for each in _PACKINGS if head.startswith(each)), None)
            if packing is None:
                return _checked(Content(_mapped(file.fileno()) if head else memoryview(b""), path), path)
    except OSError as error:
        raise DwarfError(f"cannot read {path}: {error.strerror}") from None
    version = (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)
    return _checked(_unpacked(path, packing, version), path)


def _checked(content: Content, path: str) -> Content:
    if len(content.data) < _HEAD_SIZE or content.data[: len(_ELF)] != _ELF:
        raise DwarfError(f"{path} is no ELF file")
    return content


def view_of(data: memoryview) -> BinaryIO:
    """The bytes as a stream, not copied."""
    return cast("BinaryIO", _View(data))


def _mapped(descriptor: int) -> memoryview:
    return memoryview(mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ))


@cache
def _unpacked(path: str, packing: bytes, _version: tuple[int, ...]) -> Content:
    """The file's content in memory, unpacked once for as long as the process lives."""
    descriptor = os.memfd_create("surftrace")
    size = 0
    try:
        with doing(f"unpacking {path}"), _PACKINGS[packing](path) as stream:
            while chunk := stream.read(_CHUNK):
                size += len(chunk)
                if size > MAX_BYTES:
                    raise DwarfError(f"{path} unpacks to more than {MAX_BYTES} bytes")
                os.write(descriptor, chunk)
    except (DwarfError, MemoryError):
        os.close(descriptor)
        raise
    except Exception as error:  # each of the libraries has errors of its own for damage
        os.close(descriptor)
        raise DwarfError(f"cannot unpack {path}: {error}") from None
    return Content(_mapped(descriptor) if size else memoryview(b""), f"/proc/self/fd/{descriptor}")


def _gzip(path: str) -> AbstractContextManager[_Stream]:
    import gzip  # few files are packed: each library is loaded for its own

    return gzip.open(path)


def _xz(path: str) -> AbstractContextManager[_Stream]:
    import lzma

    return lzma.open(path)


def _zstd(path: str) -> AbstractContextManager[_Stream]:
    """Read by Python's own library, which is there from 3.14 on, by that of PyPI, or by the program."""
    for name in _ZSTD_LIBRARIES:
        try:
            opened: Callable[[str], AbstractContextManager[_Stream]] = import_module(name).open
        except ImportError:
            continue
        return opened(path)
    return _zstd_program(path)


@contextmanager
def _zstd_program(path: str) -> Iterator[_Stream]:
    import subprocess

    argv = ["zstd", "--decompress", "--stdout", "--quiet", "--", path]
    try:
        program = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    except FileNotFoundError:
        hints = ("install the program zstd, or Python's module zstandard",)
        raise DwarfError(f"nothing here can unpack {path}, which is compressed with zstd", *hints) from None
    with program:
        assert program.stdout is not None
        assert program.stderr is not None
        try:
            yield program.stdout
        except BaseException:
            program.kill()
            raise
        message = program.stderr.read().decode(errors="replace").strip()
        if program.wait():
            raise DwarfError(f"cannot unpack {message.removeprefix('zstd: ') or path}")


_PACKINGS: dict[bytes, Callable[[str], AbstractContextManager[_Stream]]] = {
    b"\x1f\x8b": _gzip,
    b"\xfd7zXZ\0": _xz,
    b"\x28\xb5\x2f\xfd": _zstd,
}
