"""Refuses types that contain themselves, before drgn follows them for ever.

C gives every type a finite definition: a structure or a prototype that lies in another one ends somewhere.
Damaged BTF may not, and drgn, which looks up members through anonymous members and prints anonymous types in
full, would overflow its stack.
"""

from __future__ import annotations

from collections.abc import Iterator

from surftrace.btf.errors import BtfError
from surftrace.btf.format import Kind
from surftrace.btf.reader import Btf
from surftrace.btf.records import BtfType

MAX_CHAIN = 64  # pointers, arrays, qualifiers and typedefs on top of each other
_MAX_HEIGHT = 32  # types within types
_MAX_WEIGHT = 1 << 17  # types in the full definition of one

_COMPOUND = (Kind.STRUCT, Kind.UNION)
_QUALIFIERS = (Kind.CONST, Kind.VOLATILE, Kind.RESTRICT, Kind.TYPE_TAG)
_IN_PLACE = frozenset((*_QUALIFIERS, Kind.TYPEDEF))
_SPELLED_OUT = frozenset((*_QUALIFIERS, Kind.PTR, Kind.ARRAY))
_OPEN = (0, 0)


class Nesting:
    """Weighs the types of one BTF and its base; remembers what it has weighed."""

    __slots__ = ("_btf", "_inner", "_weighed")

    def __init__(self, btf: Btf) -> None:
        self._btf = btf
        self._weighed: dict[int, tuple[int, int]] = {}
        self._inner: dict[tuple[int, bool], BtfType | None] = {}

    def check(self, record: BtfType) -> None:
        """BtfError where the definition of this structure, union or prototype has no end."""
        self._weigh(record, 0)

    def _weigh(self, record: BtfType, depth: int) -> tuple[int, int]:
        """How many types the definition of this one spells out, and how deep they lie in each other."""
        weighed = self._weighed.get(record.id)
        if weighed is _OPEN or depth > _MAX_HEIGHT:
            raise BtfError(f"type {record.id} contains itself")
        if weighed:
            return weighed
        self._weighed[record.id] = _OPEN
        weight, height = 1, 1
        for inner in self._parts(record):
            inner_weight, inner_height = self._weigh(inner, depth + 1)
            weight += inner_weight
            height = max(height, inner_height + 1)
        if height > _MAX_HEIGHT or weight > _MAX_WEIGHT:
            raise BtfError(f"type {record.id} holds {weight} types, {height} deep")
        self._weighed[record.id] = weight, height
        return weight, height

    def _parts(self, record: BtfType) -> Iterator[BtfType]:
        if record.kind is Kind.FUNC_PROTO:
            parts = [(parameter.type_id, False) for parameter in record.parameters]
            parts.append((record.type_id, False))
        else:
            parts = [(member.type_id, not member.name) for member in record.members]
        for part in parts:
            if part not in self._inner:
                self._inner[part] = self._find_inner(*part)
            inner = self._inner[part]
            if inner:
                yield inner

    def _find_inner(self, type_id: int, is_anonymous_member: bool) -> BtfType | None:
        """The type that is spelled out where `type_id` is used, or whose members are members there."""
        transparent = _IN_PLACE if is_anonymous_member else _SPELLED_OUT
        for _ in range(MAX_CHAIN):
            record = self._btf.type(type_id)
            if record.kind not in transparent:
                break
            type_id = record.type_id
        else:
            raise BtfError(f"more than {MAX_CHAIN} types refer to each other at type {type_id}")
        if record.kind is Kind.FUNC_PROTO:
            return record
        is_spelled_out = record.kind in _COMPOUND and (is_anonymous_member or not record.name)
        return record if is_spelled_out else None
