"""Which files `load` reads, and what it says of the others."""

from __future__ import annotations

import struct as binary
from pathlib import Path

import pytest

from surftrace.btf import BtfError, Kind, load
from tests.btf import samples

DATA = samples.kernel().data


def elf(section: bytes, name: bytes = b".BTF", section_type: int = 1) -> bytes:
    """A little-endian ELF file of 64 bits with one section and its names."""
    names = b"\0" + name + b"\0.shstrtab\0"
    start = 64 + 3 * 64
    ident = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    header = ident + binary.pack("<HHIQQQIHHHHHH", 2, 62, 1, 0, 0, 64, 0, 64, 0, 0, 64, 3, 2)
    sections = [
        bytes(64),
        binary.pack("<IIQQQQIIQQ", 1, section_type, 0, 0, start, len(section), 0, 0, 1, 0),
        binary.pack("<IIQQQQIIQQ", len(name) + 2, 3, 0, 0, start + len(section), len(names), 0, 0, 1, 0),
    ]
    return header + b"".join(sections) + section + names


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file"


@pytest.mark.parametrize("content", [DATA, elf(DATA)], ids=["raw", "ELF"])
def test_load(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    assert load(path).find("sk_buff", [Kind.STRUCT])
    assert load(str(path)).end_id == samples.kernel().next_id


def test_load_a_module(path: Path) -> None:
    path.write_bytes(DATA)
    base = load(path)
    path.write_bytes(elf(samples.module(samples.kernel()).data))
    assert load(path, base).find("nf_hook", [Kind.FUNC])


IMAGE = bytes(0x202) + b"HdrS" + bytes(100)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"", "no BTF: it does not begin with the magic 0xeb9f", id="empty"),
        pytest.param(b"text", "no BTF: it does not begin with the magic 0xeb9f", id="text"),
        pytest.param(
            IMAGE,
            "a compressed kernel image, extract its vmlinux first (scripts/extract-vmlinux)",
            id="vmlinuz",
        ),
        pytest.param(b"\xfd7zXZ\0" + bytes(9), "compressed with xz, decompress it first", id="xz"),
        pytest.param(
            elf(DATA, b".bss"),
            "no .BTF section: built without CONFIG_DEBUG_INFO_BTF, or stripped",
            id="no section",
        ),
        pytest.param(
            elf(DATA, section_type=8),
            f"the .BTF section of {len(DATA)} bytes at 0x100 is not in the file",
            id="nobits",
        ),
        pytest.param(elf(DATA[:-1]), "the BTF string section ends at {end}, the file at {short}", id="cut off"),
    ],
)
def test_refused(path: Path, content: bytes, message: str) -> None:
    path.write_bytes(content)
    with pytest.raises(BtfError) as caught:
        load(path)
    assert str(caught.value) == f"{path}: {message.format(end=len(DATA), short=len(DATA) - 1)}"


def test_missing_file_is_an_os_error(path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load(path)
    with pytest.raises(IsADirectoryError):
        load(path.parent)


def test_elf_truncated_or_changed_anywhere_in_its_headers(path: Path) -> None:
    content = elf(DATA)
    variants = [content[:size] for size in range(len(content) - 1)]
    for index in range(64 + 3 * 64):
        variants += [content[:index] + bytes([content[index] ^ change]) + content[index + 1 :] for change in (1, 0xFF)]
    for variant in variants:
        path.write_bytes(variant)
        try:
            load(path)
        except BtfError:
            continue
