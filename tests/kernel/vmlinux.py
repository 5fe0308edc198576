"""A kernel's files: vmlinuz in, what QEMU boots and its BTF out; modules uncompressed and indexed."""

import shutil
import struct
import subprocess
from pathlib import Path

from elftools.elf.elffile import ELFFile

# Documentation/arch/x86/boot.rst: setup_sects, payload_offset and payload_length of protocol 2.08 and later.
_SETUP_SECTS = struct.Struct("<B")
_SETUP_SECTS_OFFSET = 0x1F1
_PAYLOAD = struct.Struct("<II")
_PAYLOAD_OFFSET = 0x248
_SECTOR_BYTES = 512
_SIZE_BYTES = 4

# Documentation/arch/arm64/booting.rst
_ARM64_MAGIC = b"ARM\x64"
_ARM64_MAGIC_OFFSET = 0x38

# Documentation/bpf/btf.rst: magic, version, flags, hdr_len, then type_off, type_len, str_off, str_len.
_BTF_START = struct.pack("<HBBI", 0xEB9F, 1, 0, 24)
_BTF_SECTIONS = struct.Struct("<IIII")

_DECOMPRESSORS = {
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x02\x21\x4c\x18": "lz4",
    b"\x1f\x8b": "gzip",
}


def decompress(vmlinuz: Path, vmlinux: Path) -> None:
    """Write the ELF file that is packed in the bzImage `vmlinuz` to `vmlinux`."""
    image = vmlinuz.read_bytes()
    (setup_sectors,) = _SETUP_SECTS.unpack_from(image, _SETUP_SECTS_OFFSET)
    payload_offset, payload_bytes = _PAYLOAD.unpack_from(image, _PAYLOAD_OFFSET)
    start = (setup_sectors + 1) * _SECTOR_BYTES + payload_offset
    payload = image[start : start + payload_bytes]
    tools = [tool for magic, tool in _DECOMPRESSORS.items() if payload.startswith(magic)]
    if not tools:
        raise ValueError(f"{vmlinuz} is packed in an unknown way: it begins with {payload[:6]!r}")
    # arch/x86/boot/compressed/Makefile appends the unpacked size, which gzip alone has in its own format.
    packed = payload if tools[0] == "gzip" else payload[:-_SIZE_BYTES]
    with vmlinux.open("wb") as out:
        subprocess.run([tools[0], "-dc"], input=packed, stdout=out, check=True)


def extract_btf(vmlinux: Path, btf: Path) -> None:
    """Write the content of the `.BTF` section of `vmlinux` to `btf`."""
    with vmlinux.open("rb") as file:
        section = ELFFile(file).get_section_by_name(".BTF")
        if section is None:
            raise ValueError(f"{vmlinux} has no section .BTF")
        btf.write_bytes(section.data())


def copy_arm64_image(vmlinuz: Path, image: Path) -> None:
    """Copy `vmlinuz`, which Debian leaves unpacked on arm64; raise ValueError if it is packed after all."""
    with vmlinuz.open("rb") as file:
        file.seek(_ARM64_MAGIC_OFFSET)
        if file.read(len(_ARM64_MAGIC)) != _ARM64_MAGIC:
            raise ValueError(f"{vmlinuz} is no arm64 Image")
    shutil.copyfile(vmlinuz, image)


def find_btf(image: Path, btf: Path) -> None:
    """Write the BTF that lies somewhere in `image`, which is no ELF file, to `btf`."""
    content = image.read_bytes()
    start = content.find(_BTF_START)
    while start >= 0:
        types, types_bytes, strings, strings_bytes = _BTF_SECTIONS.unpack_from(content, start + len(_BTF_START))
        end = start + len(_BTF_START) + _BTF_SECTIONS.size + strings + strings_bytes
        # pahole puts the strings right behind the types; their last byte is a zero.
        if types == 0 and strings == types_bytes and content[end - 1 : end] == b"\0":
            btf.write_bytes(content[start:end])
            return
        start = content.find(_BTF_START, start + 1)
    raise ValueError(f"{image} has no BTF")


def index_modules(root: Path, release: str) -> None:
    """Uncompress the modules in `root`/lib/modules/`release`, and make modules.dep and the other indexes."""
    packed = [str(path) for path in (root / "lib/modules" / release).rglob("*.ko.xz")]
    if packed:
        subprocess.run(["xargs", "-0", "-P2", "-n100", "xz", "-d"], input="\0".join(packed).encode(), check=True)
    depmod = "/sbin/depmod"  # often not on a user's PATH
    subprocess.run([depmod, "-b", str(root), release], check=True)
