"""Call frames in, the canonical frame address at a place out: DWARF 5, 6.4; "Linux Standard Base", 10.6 (.eh_frame)."""

import io
from collections.abc import Iterator, Sequence
from struct import Struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from elftools.dwarf.callframe import ZERO, CFIEntry
    from elftools.dwarf.dwarfinfo import DWARFInfo

_IS_COMMON = 0xFFFFFFFF  # a CIE in .debug_frame
_IS_WIDE = 0xFFFFFFFF  # a length of 64 bits follows
# "Linux Standard Base", 10.5.1: DW_EH_PE_ formats of addresses, and that they count from their own place.
_FORMATS = {0x00: "Q", 0x03: "I", 0x04: "Q", 0x0B: "i", 0x0C: "q"}
_FROM_HERE = 0x10


def frame_rule(files: Sequence["DWARFInfo"], address: int) -> tuple[int, int] | None:
    """The canonical frame address there, as a register's number and what is added; None where no file tells."""
    return next((rule for info in files for rule in _rules(info, address)), None)


def _rules(info: "DWARFInfo", address: int) -> Iterator[tuple[int, int]]:
    from elftools.dwarf.callframe import FDE, CFARule

    for entry in _entries(info, address):
        if not isinstance(entry, FDE):
            continue
        start = entry["initial_location"]
        if start <= address < start + entry["address_range"]:
            rows = [row for row in entry.get_decoded().table if row["pc"] <= address]
            rule = rows[-1]["cfa"] if rows else None
            if isinstance(rule, CFARule) and rule.reg is not None and rule.offset is not None:
                yield rule.reg, rule.offset


def _entries(info: "DWARFInfo", address: int) -> "Iterator[CFIEntry | ZERO]":
    """The entries of call frames that may be for an address."""
    if info.debug_frame_sec is not None:
        yield from _debug_frame_entries(info, address)
    if info.has_EH_CFI():
        yield from _eh_frame_entries(info, address)


def _debug_frame_entries(info: "DWARFInfo", address: int) -> "list[CFIEntry | ZERO]":
    """The entry of .debug_frame for an address, with its common part: a kernel has 50,000, which take seconds."""
    from elftools.dwarf.callframe import CallFrameInfo

    section = info.debug_frame_sec
    assert section is not None
    section.stream.seek(0)
    data = section.stream.read()
    order = "<" if info.config.little_endian else ">"
    head, place = Struct(f"{order}II"), Struct(f"{order}QQ")
    at = 0
    while at + head.size + place.size <= len(data):
        length, common = head.unpack_from(data, at)
        if common != _IS_COMMON:
            start, size = place.unpack_from(data, at + head.size)
            if start <= address < start + size:
                shared_length, _ = head.unpack_from(data, common)
                shared = data[common : common + shared_length + 4]
                own = head.pack(length, 0) + data[at + head.size : at + length + 4]
                stream = io.BytesIO(shared + own)
                return CallFrameInfo(stream, len(shared + own), 0, info.structs).get_entries()
        at += length + 4
    return []


def _eh_frame_entries(info: "DWARFInfo", address: int) -> "list[CFIEntry | ZERO]":
    """The same of .eh_frame: a library has 10,000, which pyelftools parses in seconds."""
    from elftools.dwarf.callframe import CallFrameInfo

    section = info.eh_frame_sec
    assert section is not None
    section.stream.seek(0)
    data = section.stream.read()
    order = "<" if info.config.little_endian else ">"
    head = Struct(f"{order}II")
    formats: dict[int, str | None] = {}
    at = 0
    while at + head.size <= len(data):
        length, back = head.unpack_from(data, at)
        if length == _IS_WIDE:
            return info.EH_CFI_entries()
        start = at + head.size
        common = at + 4 - back
        if length and back:
            if common not in formats:
                formats[common] = _address_format(info, data, common, order)
            form = formats[common]
            if form is None:
                return info.EH_CFI_entries()
            place = Struct(f"{order}{form}{form.upper()}")
            first, size = place.unpack_from(data, start)
            first += section.address + start
            if first <= address < first + size:
                shared = data[common : common + head.unpack_from(data, common)[0] + 4]
                own = head.pack(length, len(shared) + 4) + data[start : at + length + 4]
                stream, base = io.BytesIO(shared + own), section.address + at - len(shared)
                return CallFrameInfo(stream, len(shared + own), base, info.structs, for_eh_frame=True).get_entries()
        at += length + 4
    return []


def _address_format(info: "DWARFInfo", data: bytes, common: int, order: str) -> str | None:
    """How the entries that share a common part write addresses, for struct; None for what is not usual."""
    from elftools.dwarf.callframe import CIE, CallFrameInfo

    (length,) = Struct(f"{order}I").unpack_from(data, common)
    shared = data[common : common + length + 4]
    (entry,) = CallFrameInfo(io.BytesIO(shared), len(shared), 0, info.structs, for_eh_frame=True).get_entries()
    encoding = entry.augmentation_dict.get("FDE_encoding") if isinstance(entry, CIE) else None
    if not isinstance(encoding, int) or encoding & 0xF0 != _FROM_HERE:
        return None
    return _FORMATS.get(encoding & 0x0F)
