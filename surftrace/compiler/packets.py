"""Members of packet headers: `@(struct HDR *)lN skb->member`, read behind `skb->data`."""

from dataclasses import replace

from drgn import TypeKind

from surftrace.compiler.chain import Value
from surftrace.compiler.headers import DATA_MEMBERS, LAYERS, HeaderError, header_offset
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
from surftrace.lang.source import Diagnostic, Span
from surftrace.names import did_you_mean, nearest


def packet_member(expr: syntax.Member, packet: syntax.Packet, skb: Value, scope: Scope) -> Value:
    """A member of a header, or the data behind the header where a header's own names end."""
    if not expr.is_arrow:
        raise scope.fail(expr.operator_span, "a packet header is a pointer", f"write ->{expr.name}")
    start, header = _header(packet, skb, scope)
    if expr.name in DATA_MEMBERS and field_of(header, expr.name) is None:
        raise scope.fail(expr.name_span, f"'{expr.name}' needs an index", f"the first is {expr.name}[0]")
    header = completed(header, packet.type.span, scope)
    field = field_of(header, expr.name)
    if field is None:
        names = [*member_names(header), *DATA_MEMBERS]
        hints = did_you_mean(nearest(expr.name, names)) or (f"its members are {listed(names, 24)}",)
        raise scope.fail(expr.name_span, f"{spelled(header)} has no member '{expr.name}'", *hints)
    return placed(start, field)


def is_packet_data(expr: syntax.Expr) -> bool:
    """Is this `@(struct HDR *)skb->cdata` or its like, to which an index belongs?"""
    return isinstance(expr, syntax.Member) and isinstance(expr.operand, syntax.Packet) and expr.name in DATA_MEMBERS


def packet_data(member: syntax.Member, packet: syntax.Packet, index: int, skb: Value, scope: Scope) -> Value:
    """`cdata[index]` and its like: what follows the header, in units of the member's width."""
    start, header = _header(packet, skb, scope)
    unit = DATA_MEMBERS[member.name]
    byte_offset = _header_size(header.tag or "", packet, scope) + index * unit
    program = scope.types.program.prog
    if member.name == "Sdata":
        if member.type is not None:
            raise scope.fail(member.type.span, "Sdata is a string and nothing else")
        return start.moved(byte_offset, program.array_type(program.int_type("char", 1, True)))
    return start.moved(byte_offset, program.int_type(f"u{unit * 8}", unit, False))


def placed(struct: Value, field: Field) -> Value:
    """A member of a struct that lies in memory."""
    byte_offset, first_bit = divmod(field.bit_offset, 8)
    value = struct.moved(byte_offset, field.type)
    return value if field.bit_width is None else replace(value, bits=(first_bit, field.bit_width))


def completed(holder: Type, span: Span, scope: Scope) -> Type:
    """A struct's definition; CompileError for one that is only declared."""
    holder = scope.types.defined(holder)
    if underlying(holder).is_complete():
        return holder
    whose = "the program" if scope.is_user else "this kernel"
    raise scope.fail(span, f"{whose}'s type information only declares {spelled(holder)}")


def _header(packet: syntax.Packet, skb: Value, scope: Scope) -> tuple[Value, Type]:
    """The header's struct in the packet, and its type."""
    if scope.is_user:
        raise scope.fail(packet.span, "packets are in the kernel's memory, which a program's probe does not read")
    if packet.layer not in LAYERS:
        raise scope.fail(packet.span, f"there is no layer {packet.layer}", f"layers are {', '.join(LAYERS)}")
    pointer = underlying(scope.type_named(packet.type))
    header = underlying(pointer.type) if pointer.kind == TypeKind.POINTER else pointer
    if header.kind != TypeKind.STRUCT or pointer.kind != TypeKind.POINTER or not header.tag:
        raise scope.fail(packet.type.span, "a packet header is written as a pointer: @(struct iphdr *)")
    try:
        byte_offset = header_offset(header.tag, packet.layer, lambda tag: _header_size(tag, packet, scope))
    except HeaderError as error:
        raise scope.fail(packet.type.span, error.message, error.hint) from None
    return _skb_data(packet, skb, scope).followed(byte_offset, header), header


def _header_size(tag: str, packet: syntax.Packet, scope: Scope) -> int:
    size = size_of(scope.type_named(syntax.CType(f"struct {tag}", packet.type.span)))
    if not size:
        raise scope.fail(packet.type.span, f"this kernel's type information does not say how long struct {tag} is")
    return size


def _skb_data(packet: syntax.Packet, skb: Value, scope: Scope) -> Value:
    if skb.type is not None and is_aggregate(skb.type):
        raise scope.fail(packet.skb.span, f"{a_spelled(skb.type)} is no struct sk_buff *", "take its address: &(...)")
    sk_buff = scope.type_named(syntax.CType("struct sk_buff", packet.skb.span))
    sk_buff = completed(sk_buff, packet.skb.span, scope)
    data = field_of(sk_buff, "data")
    if data is None:
        raise scope.fail(packet.skb.span, "struct sk_buff of this kernel has no member 'data'")
    return placed(skb.followed(0, sk_buff), data)


def skb_warnings(packet: syntax.Packet, skb: Value, scope: Scope) -> list[Diagnostic]:
    """A warning where a packet is read from what, by its type, is no `struct sk_buff *`."""
    if skb.type is None or _is_skb(skb.type):
        return []
    hints = [
        f"%{index}, {parameter.name}, is one"
        for index, parameter in enumerate(scope.prototype.parameters if scope.prototype is not None else ())
        if _is_skb(parameter.type)
    ]
    return [scope.warning(packet.skb.span, f"{a_spelled(skb.type)} is no struct sk_buff *", *hints)]


def _is_skb(type_: Type) -> bool:
    bare = underlying(type_)
    return bare.kind == TypeKind.POINTER and spelled(underlying(bare.type)) == "struct sk_buff"
