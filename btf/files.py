"""A path in, `Btf` out: raw BTF, or the `.BTF` section of an ELF file."""

from __future__ import annotations

import os
from io import FileIO

from surftrace.btf.errors import BtfError
from surftrace.btf.reader import Btf

_ELF_MAGIC = b"\x7fELF"
_HEAD_SIZE = 0x210
_SYSFS = "/sys/kernel/btf"
# (offset, magic, what such a file is and what to do)
_MISTAKEN = (
    (0x202, b"HdrS", "a compressed kernel image, extract its vmlinux first (scripts/extract-vmlinux)"),
    (56, b"ARM\x64", "an arm64 boot image, which has no .BTF section: use the vmlinux it was made from"),
    (0, b"\x1f\x8b", "compressed with gzip, decompress it first"),
    (0, b"\xfd7zXZ\0", "compressed with xz, decompress it first"),
    (0, b"\x28\xb5\x2f\xfd", "compressed with zstd, decompress it first"),
    (0, b"\x02\x21\x4c\x18", "compressed with lz4, decompress it first"),
)


def load(path: str | os.PathLike[str], base: Btf | None = None) -> Btf:
    """Read the BTF of `path`. `base` is the kernel's BTF where `path` is a module's.

    Raises BtfError for a file that is no BTF or a damaged one, OSError for one that cannot be read.
    """
    # Raw: 1 ms instead of 3 for /sys/kernel/btf/vmlinux, which gives 4 KiB a read.
    with FileIO(path) as file:
        head = file.read(_HEAD_SIZE)
        try:
            if head.startswith(_ELF_MAGIC):
                buffer = _elf_section(file, ".BTF")
            else:
                _refuse_mistaken(head)
                file.seek(0)
                buffer = file.readall()
            return Btf(buffer, base)
        except BtfError as error:
            raise BtfError(f"{os.fspath(path)}: {error}") from None


def _refuse_mistaken(head: bytes) -> None:
    for offset, magic, what in _MISTAKEN:
        if head.startswith(magic, offset):
            raise BtfError(what)


def _elf_section(file: FileIO, name: str) -> bytes:
    from elftools.elf.elffile import ELFFile  # 20 ms, which the usual raw file need not pay

    file.seek(0)
    try:
        elf = ELFFile(file)
        section = elf.get_section_by_name(name)
        has_own_base = elf.get_section_by_name(f"{name}.base") is not None
    except Exception as error:  # a damaged ELF makes pyelftools raise nearly anything
        raise BtfError(f"damaged ELF file ({type(error).__name__}: {error})") from error
    if section is None:
        raise BtfError(f"no {name} section: built without CONFIG_DEBUG_INFO_BTF, or stripped")
    if has_own_base:
        # Its ids continue a small BTF of its own, which the kernel replaces when it loads the module.
        raise BtfError(f"a module built outside the kernel tree: load it, then use {_SYSFS}/NAME")
    offset, size = int(section["sh_offset"]), int(section["sh_size"])
    if section["sh_type"] == "SHT_NOBITS" or offset + size > os.fstat(file.fileno()).st_size:
        raise BtfError(f"the {name} section of {size} bytes at {offset:#x} is not in the file")
    file.seek(offset)
    return file.read(size)
