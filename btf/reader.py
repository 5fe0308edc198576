"""Bytes of BTF in, `Btf` out: type records by id and ids by name.

Opening costs one pass that finds where each record starts; everything else is decoded when asked for.
"""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_right
from collections.abc import Collection, Iterator
from struct import pack
from typing import NamedTuple

from surftrace.btf.errors import BtfError
from surftrace.btf.format import (
    HEADERS,
    KIND_FLAG,
    KIND_MASK,
    KIND_SHIFT,
    LAYOUT_SPANS,
    LAYOUTS,
    MAGIC,
    RECORD_WORDS,
    TAIL_WORDS,
    VERSION,
    VLEN_MASK,
    WORD_SIZE,
    Kind,
)
from surftrace.btf.records import BtfType

Words = memoryview  # of format 'I', in native byte order

# What `long` is called: gcc writes the first of each pair, clang the second.
_LONG_NAMES = ("long unsigned int", "unsigned long", "long int", "long")

_MAX_STRING = 4096  # the kernel's own names end at 512; this keeps damaged files from costing minutes
_MANY_OFFSETS = 16


class _Header(NamedTuple):
    byteorder: str
    types: tuple[int, int]  # [start, end) in the file
    strings: tuple[int, int]
    layout: tuple[int, int]


class _Strides(dict[int, int]):
    """Words in a record by its info word; a kind of unknown size strides past the end of any file."""

    __slots__ = ("tail_words",)
    PAST_THE_END = 1 << 40

    def __init__(self, tail_words: dict[int, tuple[int, int]]) -> None:
        super().__init__()
        self.tail_words = tail_words

    def __missing__(self, info: int) -> int:
        tail = self.tail_words.get(info >> KIND_SHIFT & KIND_MASK)
        words = self.PAST_THE_END if tail is None else RECORD_WORDS + tail[0] + (info & VLEN_MASK) * tail[1]
        self[info] = words
        return words


class Btf:
    """A view of one BTF file that never changes; `base` is the one whose ids and strings it continues."""

    __slots__ = (
        "_buffer",
        "_name_offsets",
        "_record_starts",
        "_strings",
        "_words",
        "base",
        "byteorder",
        "first_id",
        "has_signed_enums",
        "string_base",
    )

    base: Btf | None
    byteorder: str  # 'little' or 'big'
    first_id: int
    has_signed_enums: bool  # False: written before pahole 1.24, which marks signed enums

    def __init__(self, buffer: bytes, base: Btf | None = None) -> None:
        header = _header(buffer)
        self._buffer = buffer
        self.base = base
        self.byteorder = header.byteorder
        if base and base.byteorder != self.byteorder:
            raise BtfError(f"{self.byteorder}-endian BTF cannot continue {base.byteorder}-endian BTF")
        self.first_id = base.end_id if base else 1
        self.string_base = base.string_end if base else 0
        self._strings = header.strings
        if base is None and buffer[slice(*header.strings)][:1] not in (b"", b"\0"):
            raise BtfError("a module's BTF, which means nothing without its kernel's")
        self._words = _words(buffer, header)
        strides = _Strides(TAIL_WORDS | _extra_tails(buffer, header))
        self._record_starts = _scan(self._words, strides, header.types[0])
        self._name_offsets = _name_offsets(self._words, self._record_starts)
        self.has_signed_enums = any(
            info >> KIND_SHIFT == Kind.ENUM | (KIND_FLAG >> KIND_SHIFT) or info >> KIND_SHIFT & KIND_MASK == Kind.ENUM64
            for info in strides
        ) or bool(base and base.has_signed_enums)

    @property
    def end_id(self) -> int:
        """One past the last type id."""
        return self.first_id + len(self._record_starts)

    @property
    def string_end(self) -> int:
        """One past the last string offset."""
        start, end = self._strings
        return self.string_base + end - start

    @property
    def pointer_size(self) -> int:
        """Bytes of a pointer: those of `long`, as libbpf guesses; 8 where nothing says."""
        for name in _LONG_NAMES:
            for type_id in self.find(name, (Kind.INT,)):
                size = self.type(type_id).size
                if size in (4, 8):
                    return size
        return self.base.pointer_size if self.base else 8

    def type(self, type_id: int) -> BtfType:
        """The record with this id, of this BTF or its base. BtfError where there is none."""
        if type_id < self.first_id:
            return BtfType(self, 0, Kind.VOID, 0, 0, 0, 0) if not type_id else self._base_type(type_id)
        index = type_id - self.first_id
        if index >= len(self._record_starts):
            raise BtfError(f"type id {type_id} is out of range, the last one is {self.end_id - 1}")
        start = self._record_starts[index]
        name_offset, flags, size_or_type = self._words[start : start + RECORD_WORDS]
        number = flags >> KIND_SHIFT & KIND_MASK
        if number not in TAIL_WORDS:
            raise BtfError(f"type {type_id} is of the unknown kind {number}")
        return BtfType(self, type_id, Kind(number), name_offset, flags, size_or_type, start + RECORD_WORDS)

    def _base_type(self, type_id: int) -> BtfType:
        if self.base is None or type_id < 0:
            raise BtfError(f"type id {type_id} is out of range")
        return self.base.type(type_id)

    def find(self, name: str, kinds: Collection[int]) -> list[int]:
        """Ids of this BTF (not of its base) with this name and one of these kinds, in file order."""
        offsets = self._offsets_of(name.encode(errors="replace"))
        indexes = self._indexes_of(offsets) if len(offsets) <= _MANY_OFFSETS else self._indexes_of_many(offsets)
        return sorted(self.first_id + index for index in indexes if self._kind(index) in kinds)

    def find_enumerator(self, name: str) -> list[int]:
        """Ids of this BTF's enums (not of its base) that have an enumerator of this name, in file order."""
        words = self._words.tobytes()
        found = set()
        for offset in self._offsets_of(name.encode(errors="replace")):
            key = pack("=I", offset)
            at = words.find(key)
            while at >= 0:
                if at % WORD_SIZE == 0:
                    found.add(bisect_right(self._record_starts, at // WORD_SIZE) - 1)
                at = words.find(key, at + 1)
        kinds = (Kind.ENUM, Kind.ENUM64)
        return [self.first_id + index for index in sorted(found) if self._kind(index) in kinds]

    def _indexes_of(self, offsets: list[int]) -> Iterator[int]:
        packed_names = self._name_offsets
        for offset in offsets:
            key = pack("=I", offset)
            at = packed_names.find(key)
            while at >= 0:
                if at % WORD_SIZE == 0:
                    yield at // WORD_SIZE
                at = packed_names.find(key, at + 1)

    def _indexes_of_many(self, offsets: list[int]) -> Iterator[int]:
        """As `_indexes_of`, for a damaged file that repeats a string."""
        wanted = set(offsets)
        names = memoryview(self._name_offsets).cast("I")
        return (index for index, offset in enumerate(names) if offset in wanted)

    def _kind(self, index: int) -> int:
        info: int = self._words[self._record_starts[index] + 1]
        return info >> KIND_SHIFT & KIND_MASK

    def _offsets_of(self, name: bytes) -> list[int]:
        """String offsets of a whole string; libbpf and pahole never point into the middle of one."""
        if not name or b"\0" in name:
            return []
        offsets = self.base._offsets_of(name) if self.base else []
        start, end = self._strings
        if self._buffer.startswith(name + b"\0", start, end):
            offsets.append(self.string_base)
        at = self._buffer.find(b"\0" + name + b"\0", start, end)
        while at >= 0:
            offsets.append(self.string_base + at + 1 - start)
            at = self._buffer.find(b"\0" + name + b"\0", at + 1, end)
        return offsets

    def names(self, kinds: Collection[int]) -> Iterator[str]:
        """Every name of these kinds in this BTF (not in its base), in file order, repeated as in the file."""
        offsets = memoryview(self._name_offsets).cast("I")
        for index, offset in enumerate(offsets):
            if offset and self._kind(index) in kinds:
                yield self.string(offset)

    def references(self, kind: int) -> Iterator[tuple[str, int]]:
        """The name and the type that it refers to of every record of a kind in this BTF (not in its base).

        One pass for all of them: a kernel has tens of thousands of functions.
        """
        words = self._words
        for start in self._record_starts:
            if words[start + 1] >> KIND_SHIFT & KIND_MASK == kind:
                yield self.string(words[start]), words[start + 2]

    def ids(self, kinds: Collection[int]) -> Iterator[int]:
        """Ids of all records of these kinds in this BTF (not in its base), in file order."""
        return (self.first_id + index for index in range(len(self._record_starts)) if self._kind(index) in kinds)

    def string(self, offset: int) -> str:
        """The string at this offset of this BTF or its base."""
        if offset < self.string_base and self.base:
            return self.base.string(offset)
        start, end = self._strings
        at = start + offset - self.string_base
        if at >= end:
            raise BtfError(f"string offset {offset} is out of range, the strings end at {self.string_end}")
        stop = self._buffer.find(b"\0", at, min(end, at + _MAX_STRING))
        if stop < 0:
            raise BtfError(f"the string at offset {offset} is longer than {_MAX_STRING} bytes")
        try:
            return self._buffer[at:stop].decode()
        except UnicodeDecodeError:
            raise BtfError(f"the string at offset {offset} is not UTF-8") from None

    def words(self, start: int, count: int) -> Words:
        """`count` words of the type section, for the records that decode themselves."""
        return self._words[start : start + count]


def _header(buffer: bytes) -> _Header:
    byteorder = {b"\x9f\xeb": "little", b"\xeb\x9f": "big"}.get(buffer[:2])
    if byteorder is None:
        raise BtfError(f"no BTF: it does not begin with the magic {MAGIC:#x}")
    header = HEADERS[byteorder]
    if len(buffer) < header.size:
        raise BtfError(f"the BTF header is cut off at {len(buffer)} bytes")
    _, version, _, size, *spans = header.unpack_from(buffer)
    if version != VERSION:
        raise BtfError(f"unknown BTF version {version}")
    if not header.size <= size <= len(buffer):
        raise BtfError(f"the BTF header claims {size} bytes")
    layout = LAYOUT_SPANS[byteorder]
    spans += layout.unpack_from(buffer, header.size) if size >= header.size + layout.size else (0, 0)
    sections = [(size + offset, size + offset + length) for offset, length in zip(spans[::2], spans[1::2], strict=True)]
    for name, (start, end) in zip(("type", "string", "layout"), sections, strict=True):
        if end > len(buffer):
            raise BtfError(f"the BTF {name} section ends at {end}, the file at {len(buffer)}")
        if name != "string" and ((start - size) % WORD_SIZE or (end - start) % WORD_SIZE):
            raise BtfError(f"the BTF {name} section is not a multiple of {WORD_SIZE} bytes")
    types, strings, layouts = sections
    if strings[0] < strings[1] and buffer[strings[1] - 1]:
        raise BtfError("the BTF string section does not end with a zero byte")
    return _Header(byteorder, types, strings, layouts)


def _words(buffer: bytes, header: _Header) -> Words:
    start, end = header.types
    types = memoryview(buffer)[start:end]
    if header.byteorder == sys.byteorder:
        return types.cast("I")
    swapped = array("I", types.tobytes())
    swapped.byteswap()
    return memoryview(swapped)


def _extra_tails(buffer: bytes, header: _Header) -> dict[int, tuple[int, int]]:
    """Record sizes of kinds newer than this reader, as the layout section tells them."""
    start, end = header.layout
    layouts = LAYOUTS[header.byteorder].iter_unpack(buffer[start:end])
    return {
        kind: (once // WORD_SIZE, each // WORD_SIZE)
        for kind, (once, each, _) in enumerate(layouts)
        if kind > max(Kind) and once % WORD_SIZE == each % WORD_SIZE == 0
    }


def _scan(words: Words, strides: _Strides, file_offset: int) -> array[int]:
    """Index in `words` of each record. `file_offset` of the first word is for the error."""
    starts = array("I", _record_starts(words[1:], strides))
    last = starts[-1] if starts else 0
    end = last + strides[words[last + 1]] if starts else 0
    if end >= _Strides.PAST_THE_END:
        kind = words[last + 1] >> KIND_SHIFT & KIND_MASK
        raise BtfError(f"unknown BTF kind {kind} at offset {file_offset + last * WORD_SIZE:#x}")
    if end != len(words):
        cut = last if end > len(words) else end
        raise BtfError(f"the type record at offset {file_offset + cut * WORD_SIZE:#x} is cut off")
    return starts


def _record_starts(infos: Words, strides: _Strides) -> Iterator[int]:
    start, end = 0, len(infos)
    while start < end:
        yield start
        start += strides[infos[start]]


def _name_offsets(words: Words, starts: array[int]) -> bytes:
    """The name offset of each record, packed in native order so that `bytes.find` searches them."""
    return array("I", map(words.__getitem__, starts)).tobytes()
