"""Where the dynamic linker finds libraries: the entries of /etc/ld.so.cache, else the folders it looks into.

Format: glibc sysdeps/generic/dl-cache.h, `struct cache_file_new`, which may follow an older `struct cache_file`.
"""

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from struct import Struct

from surftrace.kernel.machine import Machine
from surftrace.record import record

CACHE = Path("/etc/ld.so.cache")

_OLD_MAGIC = b"ld.so-1.7.0\0"
_OLD_COUNT_AND_SIZES = (12, 16, 12)  # where the count is, the header's size, an entry's
_MAGIC = b"glibc-ld.so.cache1.1"
_HEADER_SIZE = 48
_ALIGNMENT = 8
_MAX_BYTES = 1 << 26
_GNU_NAMES = {"ppc64le": "powerpc64le"}


@record
class Library:
    """A library's name, as programs ask for it, and its file. `is_default`: not only for newer processors."""

    name: str
    path: str
    is_default: bool


def parse_cache(cache: bytes, machine: Machine) -> Iterator[Library]:
    """The libraries in the text of a cache; none in what is no cache, only the whole ones of a damaged one."""
    order = "<" if machine.byteorder == "little" else ">"
    start = 0
    if cache.startswith(_OLD_MAGIC[:-1]) and len(cache) >= _OLD_COUNT_AND_SIZES[1]:
        at, header_size, entry_size = _OLD_COUNT_AND_SIZES
        (count,) = Struct(order + "I").unpack_from(cache, at)
        start = -(-(header_size + count * entry_size) // _ALIGNMENT) * _ALIGNMENT
    if not cache.startswith(_MAGIC, start) or len(cache) < start + _HEADER_SIZE:
        return
    (count,) = Struct(order + "I").unpack_from(cache, start + len(_MAGIC))
    entry = Struct(order + "iIIIQ")
    entries = cache[start + _HEADER_SIZE :][: count * entry.size]
    for _, name, path, _, processors in entry.iter_unpack(entries[: len(entries) // entry.size * entry.size]):
        library = Library(_string(cache, start + name), _string(cache, start + path), processors == 0)
        if library.name and library.path:
            yield library


def _string(cache: bytes, offset: int) -> str:
    end = cache.find(b"\0", offset)
    return os.fsdecode(cache[offset:end]) if end > offset else ""


def known_libraries(machine: Machine, cache: Path = CACHE, folders: Iterable[str] | None = None) -> list[Library]:
    """All libraries that programs find by name: those of the cache, else of the folders."""
    try:
        with cache.open("rb") as stream:
            text = stream.read(_MAX_BYTES)
    except OSError:
        text = b""
    found = list(parse_cache(text, machine))
    if found:
        return found
    return [
        Library(entry.name, entry.path, True)
        for folder in (default_folders(machine) if folders is None else folders)
        for entry in _entries(folder)
        if ".so" in entry.name
    ]


def default_folders(machine: Machine) -> tuple[str, ...]:
    """The folders where libraries are without a cache: ld.so(8), "multiarch" of Debian, and musl's ldso/dynlink.c."""
    multiarch = f"{_GNU_NAMES.get(machine.name, machine.name)}-linux-gnu"
    roots = ("/lib", "/usr/lib")
    folders = [f"{root}/{multiarch}" for root in roots] + [f"{root}64" for root in roots]
    return (*folders, "/lib", "/usr/local/lib", "/usr/lib")


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError:
        return []


def libraries_named(name: str, libraries: Iterable[Library]) -> list[Library]:
    """Those that a name means: `libc.so.6` the one, `libc` those with any version behind it.

    musl's C library is `libc.musl-x86_64.so.1`.
    """
    libraries = list(libraries)
    exact = [library for library in libraries if library.name == name]
    short = re.compile(re.escape(name) + r"(?:\.musl-\w+)?\.so(?:\.[\w.]+)?")
    return exact or [library for library in libraries if short.fullmatch(library.name)]


def short_name(name: str) -> str:
    """`libc` of `libc.so.6`."""
    return re.sub(r"(?:\.musl-\w+)?\.so(?:\..*)?$", "", name)
