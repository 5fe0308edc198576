"""Whether drgn, fed from BTF by surftrace, shows the types that bpftool reads in the same file."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

import drgn

from surftrace.btf import Btf
from surftrace.btf.convert import USER_SUFFIX, USER_TAG
from surftrace.btf.program import BtfProgram
from tests.btf import bpftool

ANONYMOUS = "(anon)"
KINDS = {
    "INT": (drgn.TypeKind.INT, drgn.TypeKind.BOOL),
    "FLOAT": (drgn.TypeKind.FLOAT,),
    "STRUCT": (drgn.TypeKind.STRUCT,),
    "UNION": (drgn.TypeKind.UNION,),
    "FWD": (drgn.TypeKind.STRUCT, drgn.TypeKind.UNION),
    "ENUM": (drgn.TypeKind.ENUM,),
    "ENUM64": (drgn.TypeKind.ENUM,),
    "TYPEDEF": (drgn.TypeKind.TYPEDEF,),
    "PTR": (drgn.TypeKind.POINTER,),
    "ARRAY": (drgn.TypeKind.ARRAY,),
    "FUNC_PROTO": (drgn.TypeKind.FUNCTION,),
}
QUALIFIERS = {
    "CONST": drgn.Qualifiers.CONST,
    "VOLATILE": drgn.Qualifiers.VOLATILE,
    "RESTRICT": drgn.Qualifiers.RESTRICT,
    "TYPE_TAG": drgn.Qualifiers.NONE,
}
Record = dict[str, Any]


def differences(program: BtfProgram, btf: Btf, own: bpftool.Dump, dump: bpftool.Dump) -> Iterator[str]:
    """One line for each type of `own` that drgn shows otherwise than bpftool."""
    (converter,) = (each for each in program._converters if each.btf is btf)
    for type_id, record in own.items():
        kind = record["kind"]
        if kind in ("STRUCT", "UNION"):
            yield from _member_differences(converter.type(type_id), record, dump)
        elif kind not in ("FUNC", "VAR", "DATASEC", "DECL_TAG", "FWD") and not is_same(
            converter.type(type_id), type_id, dump
        ):
            yield f"{record} is {converter.type(type_id)!r}"


def _member_differences(found: drgn.Type, record: Record, dump: bpftool.Dump) -> Iterator[str]:
    if (found.tag or ANONYMOUS, found.size) != (record["name"], record["size"]):
        yield f"{record} has the size {found.size}"
    for member, expected in zip_longest(found.members, record["members"]):
        shape = (member.name or ANONYMOUS, member.bit_offset, member.bit_field_size or 0)
        if shape != (expected["name"], expected["bits_offset"], expected.get("bitfield_size", 0)):
            yield f"{expected} of {record['name']} is {shape}"
        if not is_same(member.type, expected["type_id"], dump):
            yield f"{expected} of {record['name']} is {member.type.type_name()}"


def is_same(found: drgn.Type, type_id: int, dump: bpftool.Dump) -> bool:
    """Whether a drgn type is what bpftool shows for this id; the members of structures are not compared."""
    qualifiers = drgn.Qualifiers.NONE
    while type_id and dump[type_id]["kind"] in QUALIFIERS:
        if dump[type_id]["kind"] == "TYPE_TAG" and dump[type_id]["name"] == USER_TAG:
            # A typedef of ours stands for the tag.
            is_marked = found.kind is drgn.TypeKind.TYPEDEF and found.name.endswith(USER_SUFFIX)
            return is_marked and found.qualifiers == qualifiers and is_same(found.type, dump[type_id]["type_id"], dump)
        qualifiers |= QUALIFIERS[dump[type_id]["kind"]]
        type_id = dump[type_id]["type_id"]
    if found.qualifiers != qualifiers:
        return False
    if not type_id:
        return found.kind is drgn.TypeKind.VOID
    record = dump[type_id]
    kind = record["kind"]
    return found.kind in KINDS[kind] and _SAME[kind](found, record, dump)


def _is_same_forward(found: drgn.Type, record: Record, dump: bpftool.Dump) -> bool:
    return (found.kind is drgn.TypeKind.UNION, found.tag) == (record["fwd_kind"] == "union", record["name"])


def _is_same_compound(found: drgn.Type, record: Record, dump: bpftool.Dump) -> bool:
    return (found.tag or ANONYMOUS, found.size) == (record["name"], record["size"])


def _is_same_float(found: drgn.Type, record: Record, dump: bpftool.Dump) -> bool:
    return (found.name, found.size) == (record["name"], record["size"])


def _is_same_array(found: drgn.Type, record: Record, dump: bpftool.Dump) -> bool:
    is_same_length = (found.length or 0) == record["nr_elems"]
    return is_same_length and is_same(found.type, record["type_id"], dump)


def _is_same_typedef(found: drgn.Type, record: Record, dump: bpftool.Dump) -> bool:
    return found.name == record["name"] and is_same(found.type, record["type_id"], dump)


def _is_same_pointer(found: drgn.Type, record: Record, dump: bpftool.Dump) -> bool:
    return found.size == 8 and is_same(found.type, record["type_id"], dump)


def _is_same_int(found: drgn.Type, record: Record, dump: bpftool.Dump) -> bool:
    if record["encoding"] == "BOOL":
        return (found.kind, found.name, found.size) == (drgn.TypeKind.BOOL, record["name"], record["size"])
    # drgn writes C's own types in their shortest form.
    words, found_words = set(record["name"].split()), set(found.name.split())
    is_same_name = words - {"int"} == found_words - {"int"}
    is_signed = record["encoding"] == "SIGNED" or record["name"] == "signed char"
    return is_same_name and (found.size, found.is_signed) == (record["size"], is_signed)


def _is_same_enum(found: drgn.Type, record: Record, dump: bpftool.Dump) -> bool:
    if (found.tag or ANONYMOUS) != record["name"] or not found.is_complete():
        return found.tag == record["name"] and not record["values"]
    # bpftool shows what older paholes left without a sign as unsigned.
    mask = (1 << 8 * max(record["size"], 4)) - 1
    shown = [(each["name"], each["val"] & mask) for each in record["values"]]
    values = [(name, value & mask) for name, value in found.enumerators]
    return values == shown and found.type.size == record["size"]


def _is_same_prototype(found: drgn.Type, record: Record, dump: bpftool.Dump) -> bool:
    parameters = record["params"]
    is_variadic = bool(parameters) and not parameters[-1]["type_id"]
    if is_variadic:
        parameters = parameters[:-1]
    return (
        found.is_variadic == is_variadic
        and [parameter.name or ANONYMOUS for parameter in found.parameters] == [each["name"] for each in parameters]
        and all(
            is_same(parameter.type, each["type_id"], dump)
            for parameter, each in zip(found.parameters, parameters, strict=True)
        )
        and is_same(found.type, record["ret_type_id"], dump)
    )


_SAME = {
    "INT": _is_same_int,
    "FLOAT": _is_same_float,
    "STRUCT": _is_same_compound,
    "UNION": _is_same_compound,
    "FWD": _is_same_forward,
    "ENUM": _is_same_enum,
    "ENUM64": _is_same_enum,
    "TYPEDEF": _is_same_typedef,
    "PTR": _is_same_pointer,
    "ARRAY": _is_same_array,
    "FUNC_PROTO": _is_same_prototype,
}
