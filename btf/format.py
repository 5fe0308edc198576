"""BTF as the kernel defines it: header, record sizes and kinds (`include/uapi/linux/btf.h`, Linux 7.2)."""

from __future__ import annotations

from enum import IntEnum
from struct import Struct


class Kind(IntEnum):
    """What a type record describes."""

    VOID = 0  # the id 0, which has no record
    INT = 1
    PTR = 2
    ARRAY = 3
    STRUCT = 4
    UNION = 5
    ENUM = 6
    FWD = 7
    TYPEDEF = 8
    VOLATILE = 9
    CONST = 10
    RESTRICT = 11
    FUNC = 12
    FUNC_PROTO = 13
    VAR = 14
    DATASEC = 15
    FLOAT = 16
    DECL_TAG = 17
    TYPE_TAG = 18
    ENUM64 = 19


MAGIC = 0xEB9F
VERSION = 1
WORD_SIZE = 4
RECORD_WORDS = 3  # struct btf_type: name_off, info, size or type
VLEN_MASK = 0xFFFFFF  # 16 bits before Linux 7.2; the bits above were zero
KIND_MASK = 0x7F  # 5 bits before Linux 7.2; the bits above were zero
KIND_SHIFT = 24
KIND_FLAG = 1 << 31

INT_SIGNED = 1
INT_BOOL = 4

# magic, version, flags, hdr_len, type_off, type_len, str_off, str_len
HEADERS = {"little": Struct("<HBBIIIII"), "big": Struct(">HBBIIIII")}
# layout_off, layout_len: since Linux 7.2, present where hdr_len has room for them
LAYOUT_SPANS = {"little": Struct("<II"), "big": Struct(">II")}
# struct btf_layout: info_sz, elem_sz, flags
LAYOUTS = {"little": Struct("<BBH"), "big": Struct(">BBH")}

# Words after struct btf_type: (once, for each of vlen)
TAIL_WORDS: dict[int, tuple[int, int]] = {
    Kind.INT: (1, 0),
    Kind.PTR: (0, 0),
    Kind.ARRAY: (3, 0),
    Kind.STRUCT: (0, 3),
    Kind.UNION: (0, 3),
    Kind.ENUM: (0, 2),
    Kind.FWD: (0, 0),
    Kind.TYPEDEF: (0, 0),
    Kind.VOLATILE: (0, 0),
    Kind.CONST: (0, 0),
    Kind.RESTRICT: (0, 0),
    Kind.FUNC: (0, 0),  # its vlen is the linkage
    Kind.FUNC_PROTO: (0, 2),
    Kind.VAR: (1, 0),
    Kind.DATASEC: (0, 3),
    Kind.FLOAT: (0, 0),
    Kind.DECL_TAG: (1, 0),
    Kind.TYPE_TAG: (0, 0),
    Kind.ENUM64: (0, 3),
}
