"""Type records of one BTF in, drgn types out, each made when first asked for.

Damaged BTF gives BtfError: when a type is made, or when drgn asks for a member's or parameter's type.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import drgn

from surftrace.btf.errors import BtfError
from surftrace.btf.format import Kind
from surftrace.btf.nesting import MAX_CHAIN, Nesting
from surftrace.btf.reader import Btf
from surftrace.btf.records import BtfType, Member, Parameter

# (tag, kind) -> the complete definition elsewhere, if there is one
FindDefinition = Callable[[str, drgn.TypeKind], "drgn.Type | None"]

# The type tag of pointers into a process's memory (Linux include/linux/compiler_types.h, BTF_TYPE_TAG), and what a
# type so tagged is called here, as in `char __user`.
USER_TAG = "user"
USER_SUFFIX = "__user"

_QUALIFIERS = {
    Kind.CONST: drgn.Qualifiers.CONST,
    Kind.VOLATILE: drgn.Qualifiers.VOLATILE,
    Kind.RESTRICT: drgn.Qualifiers.RESTRICT,
    Kind.TYPE_TAG: drgn.Qualifiers.NONE,
}
_WRAPPERS = frozenset((*_QUALIFIERS, Kind.PTR, Kind.ARRAY, Kind.TYPEDEF, Kind.FUNC_PROTO))
_INT_SIZES = (1, 2, 4, 8, 16)
_FLOAT_SIZES = (2, 4, 8, 12, 16)
# The integer type that drgn wants to know an enumeration to be compatible with: (size, is_signed)
_ENUM_INTS = {
    (1, True): "signed char",
    (1, False): "unsigned char",
    (2, True): "short",
    (2, False): "unsigned short",
    (4, True): "int",
    (4, False): "unsigned int",
    (8, True): "long",
    (8, False): "unsigned long",
}
_MAX_SIZE = 0xFFFFFFFF  # what the size of a BTF record can say
_BITS = 8


class Converter:
    """Types of one BTF as types of one drgn program."""

    __slots__ = (
        "_base",
        "_depths",
        "_find_definition",
        "_nesting",
        "_partial_ints",
        "_prog",
        "_types",
        "btf",
    )

    def __init__(self, btf: Btf, prog: drgn.Program, base: Converter | None, find_definition: FindDefinition) -> None:
        self.btf = btf
        self._prog = prog
        self._base = base
        self._find_definition = find_definition
        self._nesting = Nesting(btf)
        self._types: dict[int, drgn.Type] = {}
        self._depths: dict[int, int] = {}
        self._partial_ints: dict[int, int] = {}

    def type(self, type_id: int) -> drgn.Type:
        """The type with this id, of this BTF or its base."""
        chain: list[BtfType] = []
        found = self._known(type_id)
        while found is None:
            record = self.btf.type(type_id)
            if record.kind not in _WRAPPERS:
                found = self._types[type_id] = self._leaf(record)
                break
            chain.append(record)
            if len(chain) > MAX_CHAIN:
                raise BtfError(f"more than {MAX_CHAIN} types refer to each other at type {type_id}")
            type_id = record.type_id
            found = self._known(type_id)
        depth = self._depths.get(type_id, 0)
        for record in reversed(chain):
            depth += 1
            if depth > MAX_CHAIN:
                raise BtfError(f"more than {MAX_CHAIN} types refer to each other at type {record.id}")
            found = self._types[record.id] = self._wrap(record, found)
            self._depths[record.id] = depth
        return found

    def _known(self, type_id: int) -> drgn.Type | None:
        if self._base and type_id < self.btf.first_id:
            return self._base.type(type_id)
        return self._types.get(type_id)

    def _wrap(self, record: BtfType, target: drgn.Type) -> drgn.Type:
        if record.kind is Kind.TYPE_TAG and record.name == USER_TAG:
            # drgn has no type tags: a typedef's name says what the tag did.
            return self._prog.typedef_type(f"{target.type_name()} {USER_SUFFIX}", target)
        if record.kind in _QUALIFIERS:
            return target.qualified(target.qualifiers | _QUALIFIERS[record.kind])
        if record.kind is Kind.PTR:
            return self._prog.pointer_type(target)
        if record.kind is Kind.TYPEDEF:
            return self._prog.typedef_type(_required_name(record), target)
        if record.kind is Kind.FUNC_PROTO:
            return self._function(record, target)
        return self._array(record, target)

    def _array(self, record: BtfType, element: drgn.Type) -> drgn.Type:
        """BTF does not tell `[]` from `[0]`: an array of 0 elements is `[]`, but not inside another array."""
        if element.kind is drgn.TypeKind.ARRAY and element.length is None:
            element = self._prog.array_type(element.type, 0, qualifiers=element.qualifiers)
        length = record.length
        if not element.is_complete() or _size_of(element) * length > _MAX_SIZE:
            raise BtfError(f"type {record.id} is an array of {length} elements of {element.type_name()}")
        return self._prog.array_type(element, length or None)

    def _function(self, record: BtfType, returned: drgn.Type) -> drgn.Type:
        self._nesting.check(record)
        parameters = record.parameters
        is_variadic = bool(parameters) and parameters[-1] == Parameter("", 0)
        if is_variadic:
            parameters = parameters[:-1]
        return self._prog.function_type(
            returned,
            [drgn.TypeParameter(partial(self._parameter, each), each.name or None) for each in parameters],
            is_variadic,
        )

    def _parameter(self, parameter: Parameter) -> drgn.Type:
        found = self.type(parameter.type_id)
        if found.unaliased_kind() in (drgn.TypeKind.VOID, drgn.TypeKind.FUNCTION):
            raise BtfError(f"parameter '{parameter.name}' has no size")
        return found

    def _leaf(self, record: BtfType) -> drgn.Type:
        match record.kind:
            case Kind.VOID:
                return self._prog.void_type()
            case Kind.INT:
                return self._int(record)
            case Kind.FLOAT:
                return self._float(record)
            case Kind.STRUCT:
                return self._prog.struct_type(record.name or None, record.size, self._members(record))
            case Kind.UNION:
                return self._prog.union_type(record.name or None, record.size, self._members(record))
            case Kind.ENUM | Kind.ENUM64:
                return self._enum(record)
            case Kind.FWD:
                return self._forward(record)
            case _:
                raise BtfError(f"type {record.id} is used as a type but is a {record.kind.name}")

    def _int(self, record: BtfType) -> drgn.Type:
        if record.size not in _INT_SIZES or not 0 < record.bits <= _BITS * record.size or record.first_bit:
            raise BtfError(f"type {record.id} is an integer of {record.size} bytes and {record.bits} bits")
        if record.bits < _BITS * record.size:
            self._partial_ints[record.id] = record.bits
        name = _required_name(record)
        if record.is_bool:
            return self._prog.bool_type(name, record.size)
        return self._prog.int_type(name, record.size, record.is_signed)

    def _float(self, record: BtfType) -> drgn.Type:
        if record.size not in _FLOAT_SIZES:
            raise BtfError(f"type {record.id} is a floating-point number of {record.size} bytes")
        return self._prog.float_type(_required_name(record), record.size)

    def _members(self, record: BtfType) -> list[drgn.TypeMember]:
        self._nesting.check(record)
        return [
            drgn.TypeMember(partial(self._member, record, member), member.name or None, member.bit_offset)
            for member in record.members
        ]

    def _member(self, record: BtfType, member: Member) -> drgn.Type | drgn.Object:
        member_type = self.type(member.type_id)
        size = _size_of(member_type)
        bits = member.bit_field_size or self._partial_bits(member.type_id)
        if member.bit_offset + (bits or _BITS * size) > _BITS * record.size:
            raise BtfError(f"member '{member.name}' reaches beyond the end of type {record.id}")
        if not bits:
            return member_type
        if bits > _BITS * size:
            raise BtfError(f"member '{member.name}' of type {record.id} is a bit field of {bits} bits")
        try:
            return drgn.Object(self._prog, member_type, bit_field_size=bits)
        except (TypeError, ValueError) as error:
            raise BtfError(f"member '{member.name}' of type {record.id}: {error}") from error

    def _partial_bits(self, type_id: int) -> int:
        """Bits of a bit field as it was written before `kind_flag`: as an integer of so many bits."""
        if not self._partial_ints:
            return 0
        record = self.btf.type(type_id)
        while record.kind in _QUALIFIERS or record.kind is Kind.TYPEDEF:
            record = self.btf.type(record.type_id)
        return self._partial_ints.get(record.id, 0)

    def _enum(self, record: BtfType) -> drgn.Type:
        if not record.is_complete:
            return self._incomplete(record, drgn.TypeKind.ENUM)
        name = _ENUM_INTS.get((record.size, record.is_signed))
        if name is None:
            raise BtfError(f"type {record.id} is an enumeration of {record.size} bytes")
        compatible = self._prog.int_type(name, record.size, record.is_signed)
        return self._prog.enum_type(
            record.name or None,
            compatible,
            [drgn.TypeEnumerator(each.name, each.value) for each in record.enumerators],
        )

    def _forward(self, record: BtfType) -> drgn.Type:
        return self._incomplete(record, drgn.TypeKind.UNION if record.kind_flag else drgn.TypeKind.STRUCT)

    def _incomplete(self, record: BtfType, kind: drgn.TypeKind) -> drgn.Type:
        name = _required_name(record)
        found = self._find_definition(name, kind)
        if found is not None:
            return found
        if kind is drgn.TypeKind.ENUM:
            return self._prog.enum_type(name)
        return self._prog.union_type(name) if kind is drgn.TypeKind.UNION else self._prog.struct_type(name)


def _required_name(record: BtfType) -> str:
    name = record.name
    if not name:
        raise BtfError(f"type {record.id} is a {record.kind.name} without a name")
    return name


def _size_of(type_: drgn.Type) -> int:
    if type_.unaliased_kind() is drgn.TypeKind.ARRAY and type_.unaliased().length is None:
        return 0
    try:
        size: int = drgn.sizeof(type_)
    except (TypeError, OverflowError) as error:
        raise BtfError(str(error)) from error
    return size
