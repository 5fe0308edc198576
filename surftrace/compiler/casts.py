"""Values taken as other types: `!(TYPE)x`, C's `(TYPE)x`, `&x` and `container_of`."""

from dataclasses import replace

from drgn import TypeKind

from surftrace.compiler.chain import Value
from surftrace.compiler.packets import completed
from surftrace.compiler.scope import Scope, listed
from surftrace.kernel.types import (
    Field,
    Type,
    a_spelled,
    field_of,
    is_aggregate,
    member_names,
    size_of,
    spelled,
    underlying,
)
from surftrace.lang import syntax
from surftrace.lang.source import Span
from surftrace.names import did_you_mean, nearest


def taken_as(value: Value, c_type: syntax.CType, scope: Scope) -> Value:
    """`!(TYPE)x`: the same place in memory or in a register, taken as another type."""
    type_ = scope.type_named(c_type)
    check_no_string(value, c_type.span, scope)
    if value.bits is not None:
        message = f"this is a bit field of {value.bits[1]} bits: it cannot be taken as another type"
        raise scope.fail(c_type.span, message, "leave the cast out")
    if not value.is_memory and underlying(type_).kind == TypeKind.ARRAY:
        what = value.base if not value.is_address else "this"
        raise scope.fail(c_type.span, f"{what} holds no array, at most its address", "cast it to a pointer")
    return replace(value, type=type_)


def check_no_string(value: Value, span: Span, scope: Scope) -> None:
    """CompileError, about `span`, for the kernel's $comm, which nothing can be made of."""
    if value.base == "$comm" and value.type is None:
        raise scope.fail(span, "$comm is a string and nothing else")


def converted(value: Value, expr: syntax.Conversion, scope: Scope) -> Value:
    """C's cast: an array becomes the address of its first element, a number keeps its value."""
    type_, old = scope.type_named(expr.type), value.type
    check_no_string(value, expr.type.span, scope)
    if is_aggregate(type_) or underlying(type_).kind in (TypeKind.ARRAY, TypeKind.FUNCTION, TypeKind.VOID):
        raise scope.fail(expr.type.span, f"C has no cast to {a_spelled(type_)}", f"write !({expr.type.text})")
    if underlying(type_).kind == TypeKind.BOOL and (old is None or underlying(old).kind != TypeKind.BOOL):
        raise scope.fail(expr.type.span, "the kernel makes no bool of a number", "show the number itself")
    if old is None:
        return replace(value, type=type_)
    bare = underlying(old)
    if bare.kind == TypeKind.ARRAY and value.is_memory:
        value, bare = replace(value, is_address=True), scope.pointer_to(bare.type)
    if is_aggregate(bare):
        raise scope.fail(expr.operand.span, f"C casts no whole {spelled(old)}", "name a member of it")
    return _resized(value, bare, type_, expr, scope)


def _resized(value: Value, old: Type, new: Type, expr: syntax.Conversion, scope: Scope) -> Value:
    old_size, new_size = size_of(old) or 0, size_of(new) or 0
    if value.bits is not None and 8 * new_size <= value.bits[1]:
        return _low_bits(value, value.bits, 8 * new_size, new, scope)
    if value.bits is not None or new_size > old_size:
        # The kernel reads no value wider than it is: it is shown as it is, which is the same number.
        if underlying(new).kind == TypeKind.POINTER:
            raise scope.fail(expr.span, f"{a_spelled(old)} is too small for a pointer")
        if _is_signed(old) and not _is_signed(new):
            message = f"the kernel cannot widen {a_spelled(old)}, which has a sign, to {a_spelled(new)}, which has none"
            raise scope.fail(expr.type.span, message, "leave the cast out")
        return value
    if new_size < old_size and value.byte_offsets and scope.machine.byteorder == "big" and not value.is_address:
        return value.moved(old_size - new_size, new)
    if new_size < old_size and value.is_address:
        raise scope.fail(expr.type.span, "the kernel cannot take a part of an address that it does not read")
    return replace(value, type=new)


def _low_bits(value: Value, bits: tuple[int, int], width: int, type_: Type, scope: Scope) -> Value:
    """The low bits of a bit field, taken as another type."""
    first, old_width = bits
    # On big-endian machines a field's first bit is its most significant one.
    first += 0 if scope.machine.byteorder == "little" else old_width - width
    return replace(value, bits=(first, width), type=type_)


def _is_signed(type_: Type) -> bool:
    bare = underlying(type_)
    if bare.kind == TypeKind.ENUM and bare.is_complete():
        bare = underlying(bare.type)
    return bare.kind == TypeKind.INT and bool(bare.is_signed)


def address_of(value: Value, expr: syntax.AddressOf, scope: Scope) -> Value:
    """`&x`: what lies in memory has an address."""
    if value.bits is not None:
        raise scope.fail(expr.operand.span, "a bit field has no address")
    if not value.is_memory:
        raise scope.fail(expr.operand.span, f"{value.base} is no memory: it has no address")
    type_ = None if value.type is None else scope.pointer_to(value.type)
    return replace(value, type=type_, is_address=True)


def container_of(value: Value, expr: syntax.ContainerOf, scope: Scope) -> Value:
    """The struct around the member that a pointer points to, as its address."""
    type_ = scope.type_named(expr.type)
    if not is_aggregate(type_):
        raise scope.fail(expr.type.span, f"{a_spelled(type_)} has no members")
    type_ = completed(type_, expr.type.span, scope)
    field = field_of(type_, ".".join(expr.members)) if len(expr.members) == 1 else _nested(type_, expr.members)
    if field is None:
        names = member_names(type_)
        hints = did_you_mean(nearest(expr.members[0], names)) or (f"its members are {listed(names)}",)
        message = f"{spelled(type_)} has no member '{'.'.join(expr.members)}'"
        raise scope.fail(expr.member_span, message, *hints)
    if field.bit_width is not None or field.bit_offset % 8:
        raise scope.fail(expr.member_span, "a bit field has no address")
    if value.type is not None and underlying(value.type).kind != TypeKind.POINTER:
        raise scope.fail(expr.operand.span, f"{a_spelled(value.type)} is no pointer", "take its address: &(...)")
    holder = value.followed(-(field.bit_offset // 8), type_)
    return replace(holder, type=scope.pointer_to(type_), is_address=True)


def _nested(type_: Type, names: tuple[str, ...]) -> Field | None:
    """`a.b.c` of a struct."""
    bit_offset = 0
    field = None
    for name in names:
        field = field_of(type_, name)
        if field is None:
            return None
        bit_offset, type_ = bit_offset + field.bit_offset, field.type
    return field and replace(field, bit_offset=bit_offset)
