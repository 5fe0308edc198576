"""Call frames in, the canonical frame address at a place out: DWARF 5, 6.4; "Linux Standard Base", 10.6 (.eh_frame)."""

import io
from collections.abc import Iterator, Sequence
from struct import Struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from elftools.dwarf.callframe import ZERO, CFIEntry
    from elftools.dwarf.dwarfinfo import DWARFInfo

_IS_COMMON = 0xFFFFFFFF  # a CIE in .debug_frame


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
        yield from info.EH_CFI_entries()


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
