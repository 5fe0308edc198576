"""One expression in, the value it stands for out: a chain of reads and the C type at its end."""

from dataclasses import replace

from drgn import TypeKind

from surftrace.compiler import bases
from surftrace.compiler.casts import address_of, check_no_string, container_of, converted, taken_as
from surftrace.compiler.chain import Value
from surftrace.compiler.fetch import MAX_ARRAY
from surftrace.compiler.lookup import where_members
from surftrace.compiler.packets import completed, is_packet_data, packet_data, packet_member, placed
from surftrace.compiler.scope import Scope, listed
from surftrace.kernel.features import Feature
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
from surftrace.names import did_you_mean, nearest


def value_of(expr: syntax.Expr, scope: Scope) -> Value:
    """The value of a whole expression; CompileError where it has none on this kernel, or cannot be read there."""
    value = evaluate(expr, scope)
    if value.user_reads:
        scope.require(Feature.USER_MEMORY, expr.span)
    return value


def evaluate(expr: syntax.Expr, scope: Scope) -> Value:  # noqa: C901 # one case a node
    """The value of an expression or of a part of one; CompileError where it has none on this kernel."""
    match expr:
        case syntax.Argument():
            return bases.argument(expr.index, expr.span, scope)
        case syntax.Name():
            return bases.name(expr, scope)
        case syntax.Register():
            return Value(f"%{bases.register(expr, scope)}", (), None)
        case syntax.Variable():
            return bases.variable(expr, scope)
        case syntax.Symbol():
            return bases.symbol(expr, scope)
        case syntax.Address():
            return bases.address(expr, scope)
        case syntax.Cast():
            return taken_as(evaluate(expr.operand, scope), expr.type, scope)
        case syntax.Conversion():
            return converted(evaluate(expr.operand, scope), expr, scope)
        case syntax.Dereference():
            return _element(evaluate(expr.operand, scope), 0, expr.operand, scope)
        case syntax.AddressOf():
            return address_of(evaluate(expr.operand, scope), expr, scope)
        case syntax.ContainerOf():
            return container_of(evaluate(expr.operand, scope), expr, scope)
        case syntax.Packet():
            raise scope.fail(expr.span, "a packet header is no value", "name a member of it: ->member")
        case syntax.Member():
            return _member(expr, scope)
        case syntax.Index():
            return _index(expr, scope)
        case syntax.Slice():
            return _slice(expr, scope)


def _member(expr: syntax.Member, scope: Scope) -> Value:
    if isinstance(expr.operand, syntax.Packet):
        value = packet_member(expr, expr.operand, evaluate(expr.operand.skb, scope), scope)
    else:
        operand = evaluate(expr.operand, scope)
        if operand.type is None:
            check_no_string(operand, expr.operand.span, scope)
            what = _unknown(expr.operand, scope)
            raise scope.fail(expr.operand.span, f"{what}, so it has no members", "cast it: !(struct file *)...")
        value = _select(operand, operand.type, expr, scope)
    if expr.type is None:
        return value
    return taken_as(value, expr.type, scope)


def _unknown(expr: syntax.Expr, scope: Scope) -> str:
    text = scope.source.text[expr.span.start : expr.span.end]
    if isinstance(expr, syntax.Argument) or text == "$retval":
        return f"the type information has no prototype of {scope.function}"
    return f"the type of {text} is not known"


def _select(operand: Value, type_: Type, expr: syntax.Member, scope: Scope) -> Value:
    bare = underlying(type_)
    is_pointer = bare.kind == TypeKind.POINTER
    holder = bare.type if is_pointer else bare
    if not is_aggregate(holder):
        raise scope.fail(expr.operand.span, f"{a_spelled(type_)} has no members")
    holder = completed(holder, expr.operand.span, scope)
    field = field_of(holder, expr.name)
    if field is None:
        names = member_names(holder)
        near = did_you_mean(nearest(expr.name, names)) or (f"its members are {listed(names)}",)
        hints = (*near, *where_members(holder, scope))
        raise scope.fail(expr.name_span, f"{spelled(holder)} has no member '{expr.name}'", *hints)
    field = replace(field, type=scope.types.named_numbers(holder, expr.name, field.type))
    if is_pointer != expr.is_arrow:
        what, right = ("pointer", "->") if is_pointer else ("value, no pointer", ".")
        raise scope.fail(expr.operator_span, f"this {spelled(type_)} is a {what}", f"write {right}{expr.name}")
    if is_pointer:
        return placed(operand.followed(0, holder), field)
    if not operand.byte_offsets:
        return _in_register(operand, type_, field, expr, scope)
    return placed(operand, field)


def _in_register(operand: Value, type_: Type, field: Field, expr: syntax.Member, scope: Scope) -> Value:
    """A member of a struct that a register holds by value."""
    width = field.bit_width if field.bit_width is not None else (size_of(field.type) or 0) * 8
    if not width or field.bit_offset + width > 64 or (is_aggregate(field.type) and field.bit_offset):
        raise scope.fail(expr.name_span, f"'{expr.name}' cannot be taken out of {a_spelled(type_)} in {operand.base}")
    first = field.bit_offset
    if scope.machine.byteorder == "big":  # a struct lies at the register's low-order end, its last byte there last
        first += 64 - 8 * (size_of(type_) or 8)
    if field.bit_width is None and first == (0 if scope.machine.byteorder == "little" else 64 - width):
        return replace(operand, type=field.type)
    return replace(operand, type=field.type, bits=(first, width))


def _index(expr: syntax.Index, scope: Scope) -> Value:
    inner = expr.operand
    if is_packet_data(inner):
        assert isinstance(inner, syntax.Member)
        assert isinstance(inner.operand, syntax.Packet)
        skb = evaluate(inner.operand.skb, scope)
        value = packet_data(inner, inner.operand, expr.index, skb, scope)
        return value if inner.type is None else taken_as(value, inner.type, scope)
    operand = evaluate(inner, scope)
    value = _element(operand, expr.index, inner, scope)
    length = _length(operand)
    if length and expr.index >= length:
        raise scope.fail(expr.index_span, f"the array has {length} elements: the last is [{length - 1}]")
    return value


def _slice(expr: syntax.Slice, scope: Scope) -> Value:
    inner = expr.operand
    start: Value
    length = None
    if is_packet_data(inner):
        assert isinstance(inner, syntax.Member)
        if inner.name == "Sdata":
            raise scope.fail(expr.bounds_span, "Sdata is a string: it takes an index, no slice", "write Sdata[0]")
        first = syntax.Index(inner, expr.start, expr.bounds_span, expr.span)
        start = _index(first, scope)
    else:
        operand = evaluate(inner, scope)
        start, length = _element(operand, expr.start, inner, scope), _length(operand)
    count = expr.stop - expr.start
    if count < 1:
        raise scope.fail(expr.bounds_span, "a slice [A:B] holds the elements from A up to the one before B: none here")
    if expr.stop >= 1 << 32:  # more than drgn takes, too
        raise scope.fail(expr.bounds_span, "no array is that long")
    if count > MAX_ARRAY:
        raise scope.fail(expr.bounds_span, f"the kernel fetches {MAX_ARRAY} elements at most, these are {count}")
    if length and expr.stop > length:
        raise scope.fail(expr.bounds_span, f"the array has {length} elements: the last slice ends at {length}")
    assert start.type is not None
    return replace(start, type=start.type.prog.array_type(start.type, count))


def _length(operand: Value) -> int | None:
    """How many elements an array has, as far as its type says."""
    bare = underlying(operand.type) if operand.type is not None else None
    return bare.length if bare is not None and bare.kind == TypeKind.ARRAY else None


def _element(operand: Value, index: int, inner: syntax.Expr, scope: Scope) -> Value:
    """An element of an array, or of what a pointer points to."""
    if operand.type is None:
        check_no_string(operand, inner.span, scope)
        raise scope.fail(inner.span, f"{_unknown(inner, scope)}, so it has no elements", "cast it: !(u64 *)...")
    bare = underlying(operand.type)
    if bare.kind not in (TypeKind.ARRAY, TypeKind.POINTER):
        raise scope.fail(inner.span, f"{a_spelled(operand.type)} is neither an array nor a pointer")
    size = size_of(bare.type)
    if not size:
        raise scope.fail(inner.span, f"the elements of {a_spelled(operand.type)} have no size")
    if bare.kind == TypeKind.POINTER:
        return operand.followed(index * size, bare.type)
    if not operand.is_memory:
        raise scope.fail(inner.span, f"{operand.base} holds this array by value: no element can be taken out of it")
    return operand.moved(index * size, bare.type)
