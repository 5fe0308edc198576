"""One expression in, the value it stands for out: a chain of reads and the C type at its end."""

import re
from dataclasses import dataclass, replace

from drgn import TypeKind

from surftrace.compiler.headers import DATA_MEMBERS, LAYERS, HeaderError, header_offset
from surftrace.compiler.scope import Scope, listed
from surftrace.kernel.machine import InPieces, InRegister
from surftrace.kernel.types import (
    Field,
    Type,
    TypeInfoError,
    a_spelled,
    field_of,
    is_aggregate,
    member_names,
    nearest,
    size_of,
    spelled,
    underlying,
)
from surftrace.lang import syntax
from surftrace.lang.source import Diagnostic, Span, did_you_mean
from surftrace.lang.syntax import Kind


@dataclass(frozen=True, slots=True)
class Value:
    """Start at `base`, read at each of `byte_offsets` in turn: the last read is the value itself.

    No offset: the value is what the base holds (a register). `type` is None where nothing is known of it. `bits`, for a
    bit field, are its first bit, counted up from the least significant of the byte at the last offset, and its width.
    """

    base: str
    byte_offsets: tuple[int, ...]
    type: Type | None
    bits: tuple[int, int] | None = None

    def moved(self, byte_offset: int, type_: Type) -> "Value":
        """The value that lies so many bytes further in the same memory."""
        *before, last = self.byte_offsets
        return Value(self.base, (*before, last + byte_offset), type_)

    def followed(self, byte_offset: int, type_: Type) -> "Value":
        """The value so many bytes behind the address that this one is."""
        return Value(self.base, (*self.byte_offsets, byte_offset), type_)


def evaluate(expr: syntax.Expr, scope: Scope) -> Value:
    """The value of an expression; CompileError where it has none on this kernel."""
    match expr:
        case syntax.Argument():
            return _argument(expr.index, expr.span, scope)
        case syntax.Name():
            return _parameter(expr, scope)
        case syntax.Register():
            return Value(f"%{_register(expr, scope)}", (), None)
        case syntax.Variable():
            return _variable(expr, scope)
        case syntax.Symbol():
            return _symbol(expr, scope)
        case syntax.Address():
            return Value(f"@{expr.address:#x}", (0,), None)
        case syntax.Cast():
            return _cast(evaluate(expr.operand, scope), expr.type, scope)
        case syntax.Packet():
            raise scope.fail(expr.span, "a packet header is no value", "name a member of it: ->member")
        case syntax.Member():
            return _member(expr, scope)
        case syntax.Index():
            return _index(expr, scope)


def _named(c_type: syntax.CType, scope: Scope) -> Type:
    try:
        return scope.types.named(c_type.text)
    except TypeInfoError as error:
        raise scope.fail(c_type.span, error.message, *error.hints) from None


def _register(expr: syntax.Register, scope: Scope) -> str:
    machine = scope.machine
    if expr.name in machine.registers:
        return expr.name
    alias = machine.aliases.get(expr.name)
    if expr.name in scope.parameters():
        likely = [expr.name]
    else:
        likely = [f"%{name}" for name in ([alias] if alias else nearest(expr.name, machine.registers))]
    hints = did_you_mean(likely)
    if not hints:
        hints = (f"registers are {listed(['%' + r for r in sorted(machine.registers)], 40)}",)
    raise scope.fail(expr.span, f"{machine.name} has no register '%{expr.name}'", *hints)


def _argument(index: int, span: Span, scope: Scope) -> Value:
    _check_entry(span, scope)
    if scope.prototype is None:
        registers = scope.machine.argument_registers
        if index >= len(registers):
            raise scope.fail(span, f"the types of {scope.function} are not known, nor where its argument {index} is")
        return Value(f"%{registers[index]}", (), None)
    parameters = scope.prototype.parameters
    if index >= len(parameters):
        count = f"{len(parameters)} argument{'s' if len(parameters) != 1 else ''}"
        names = [f"%{number} {name or '(unnamed)'}" for number, name in enumerate(scope.parameters())]
        raise scope.fail(span, f"{scope.function} has {count}", *([f"they are {listed(names)}"] if names else []))
    type_ = parameters[index].type
    match scope.places()[index]:
        case InRegister(register):
            return Value(f"%{register}", (), type_)
        case InPieces(how):
            message = f"argument {index} of {scope.function}, {a_spelled(type_)}, is passed {how}"
            raise scope.fail(span, message, "name the registers or $stackN that hold the part you want")
        case on_stack:
            return Value(f"$stack{on_stack.slot}", (), type_)


def _check_entry(span: Span, scope: Scope) -> None:
    if scope.kind is Kind.RETURN:
        raise scope.fail(span, "arguments are gone when a function returns", "use $retval, or a 'p' probe")
    if scope.byte_offset:
        raise scope.fail(
            span,
            f"arguments are only sure to be in place at {scope.function}'s entry, not at +{scope.byte_offset:#x}",
            "name the register that holds the value there",
        )


def _parameter(expr: syntax.Name, scope: Scope) -> Value:
    if scope.prototype is None:
        raise scope.fail(
            expr.span,
            f"the type information has no prototype of {scope.function}, so its parameters have no names",
            "use a register with a cast: !(struct sk_buff *)%di",
        )
    names = scope.parameters()
    if expr.name in names:
        return _argument(names.index(expr.name), expr.span, scope)
    known = [name for name in names if name]
    hints = did_you_mean(nearest(expr.name, known)) or ((f"its parameters are {listed(known)}",) if known else ())
    raise scope.fail(expr.span, f"{scope.function} has no parameter '{expr.name}'", *hints)


def _variable(expr: syntax.Variable, scope: Scope) -> Value:
    name = expr.name
    if name == "$retval":
        if scope.kind is not Kind.RETURN:
            raise scope.fail(expr.span, "$retval is there only when a function returns", "write an 'r' probe")
        return Value("$retval", (), scope.prototype.type if scope.prototype is not None else None)
    if name == "$comm":
        return Value("$comm", (), None)
    if re.fullmatch(r"\$stack[0-9]{0,3}", name):
        return Value(name, (), None)
    if re.fullmatch(r"\$arg[1-9][0-9]?", name):
        _check_entry(expr.span, scope)
        return Value(name, (), None)
    raise scope.fail(
        expr.span,
        f"the kernel has no variable '{name}'",
        "there are $retval, $comm, $stack, $stackN and $argN",
    )


def _symbol(expr: syntax.Symbol, scope: Scope) -> Value:
    if scope.symbols is not None and not scope.symbols.named(expr.name):
        hints = did_you_mean(f"@{name}" for name in nearest(expr.name, scope.symbols.variable_names()))
        raise scope.fail(expr.span, f"this kernel has no symbol '{expr.name}'", *hints)
    return Value(f"@{expr.name}", (expr.byte_offset,), None)


def _member(expr: syntax.Member, scope: Scope) -> Value:
    if isinstance(expr.operand, syntax.Packet):
        value = _packet_member(expr, expr.operand, scope)
    else:
        operand = evaluate(expr.operand, scope)
        if operand.type is None:
            what = _unknown(expr.operand, scope)
            raise scope.fail(expr.operand.span, f"{what}, so it has no members", "cast it: !(struct file *)...")
        value = _select(operand, operand.type, expr, scope)
    if expr.type is None:
        return value
    if value.bits is not None:
        what = f"'{expr.name}' is a bit field of {value.bits[1]} bits: it cannot be taken as another type"
        raise scope.fail(expr.type.span, what, "leave the cast out")
    return _cast(value, expr.type, scope)


def _cast(value: Value, c_type: syntax.CType, scope: Scope) -> Value:
    type_ = _named(c_type, scope)
    if value.base == "$comm":
        raise scope.fail(c_type.span, "$comm is a string and nothing else")
    if not value.byte_offsets and underlying(type_).kind == TypeKind.ARRAY:
        raise scope.fail(c_type.span, f"{value.base} holds no array, at most its address", "cast it to a pointer")
    return replace(value, type=type_)


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
    _check_complete(holder, expr.operand.span, scope)
    field = field_of(holder, expr.name)
    if field is None:
        raise _no_member(holder, expr, scope)
    if is_pointer != expr.is_arrow:
        what, right = ("pointer", "->") if is_pointer else ("value, no pointer", ".")
        operator = Span(expr.operand.span.end, expr.name_span.start)
        raise scope.fail(operator, f"this {spelled(type_)} is a {what}", f"write {right}{expr.name}")
    if is_pointer:
        return _bits(operand.followed(0, holder), field)
    if not operand.byte_offsets:
        return _in_register(operand, type_, field, expr, scope)
    return _bits(operand, field)


def _check_complete(holder: Type, span: Span, scope: Scope) -> None:
    if not underlying(holder).is_complete():
        raise scope.fail(span, f"this kernel's type information only declares {spelled(holder)}")


def _no_member(holder: Type, expr: syntax.Member, scope: Scope) -> Exception:
    names = member_names(holder)
    hints = did_you_mean(nearest(expr.name, names)) or (f"its members are {listed(names)}",)
    return scope.fail(expr.name_span, f"{spelled(holder)} has no member '{expr.name}'", *hints)


def _bits(struct: Value, field: Field) -> Value:
    byte_offset, first_bit = divmod(field.bit_offset, 8)
    value = struct.moved(byte_offset, field.type)
    return value if field.bit_width is None else replace(value, bits=(first_bit, field.bit_width))


def _in_register(operand: Value, type_: Type, field: Field, expr: syntax.Member, scope: Scope) -> Value:
    """A member of a struct that a register holds by value."""
    width = field.bit_width if field.bit_width is not None else (size_of(field.type) or 0) * 8
    if not width or field.bit_offset + width > 64 or (is_aggregate(field.type) and field.bit_offset):
        raise scope.fail(expr.name_span, f"'{expr.name}' cannot be taken out of {a_spelled(type_)} in {operand.base}")
    if field.bit_offset == 0 and field.bit_width is None:
        return replace(operand, type=field.type)
    return replace(operand, type=field.type, bits=(field.bit_offset, width))


def _index(expr: syntax.Index, scope: Scope) -> Value:
    inner = expr.operand
    if isinstance(inner, syntax.Member) and isinstance(inner.operand, syntax.Packet) and inner.name in DATA_MEMBERS:
        return _packet_data(expr, inner, inner.operand, scope)
    operand = evaluate(inner, scope)
    if operand.type is None:
        raise scope.fail(inner.span, f"{_unknown(inner, scope)}, so it has no elements")
    bare = underlying(operand.type)
    if bare.kind not in (TypeKind.ARRAY, TypeKind.POINTER):
        raise scope.fail(inner.span, f"{a_spelled(operand.type)} is neither an array nor a pointer")
    size = size_of(bare.type)
    if not size:
        raise scope.fail(inner.span, f"the elements of {a_spelled(operand.type)} have no size")
    if bare.kind == TypeKind.POINTER:
        return operand.followed(expr.index * size, bare.type)
    if not operand.byte_offsets:
        raise scope.fail(inner.span, f"{operand.base} holds this array by value: no element can be taken out of it")
    if bare.length and expr.index >= bare.length:
        raise scope.fail(expr.index_span, f"the array has {bare.length} elements: the last is [{bare.length - 1}]")
    return operand.moved(expr.index * size, bare.type)


def _packet_header(packet: syntax.Packet, scope: Scope) -> tuple[Value, Type]:
    """The header's struct in the packet, and its type."""
    if packet.layer not in LAYERS:
        raise scope.fail(packet.span, f"there is no layer l{packet.layer}", "layers are l2, l3 and l4")
    pointer = underlying(_named(packet.type, scope))
    header = underlying(pointer.type) if pointer.kind == TypeKind.POINTER else pointer
    if header.kind != TypeKind.STRUCT or pointer.kind != TypeKind.POINTER or not header.tag:
        raise scope.fail(packet.type.span, "a packet header is written as a pointer: @(struct iphdr *)")
    try:
        byte_offset = header_offset(header.tag, packet.layer, lambda tag: _header_size(tag, packet, scope))
    except HeaderError as error:
        raise scope.fail(packet.type.span, error.message, error.hint) from None
    data = _skb_data(packet, scope)
    return data.followed(byte_offset, header), header


def _header_size(tag: str, packet: syntax.Packet, scope: Scope) -> int:
    size = size_of(_named(syntax.CType(f"struct {tag}", packet.type.span), scope))
    if not size:
        raise scope.fail(packet.type.span, f"this kernel's type information does not say how long struct {tag} is")
    return size


def _skb_data(packet: syntax.Packet, scope: Scope) -> Value:
    skb = evaluate(packet.skb, scope)
    sk_buff = _named(syntax.CType("struct sk_buff", packet.skb.span), scope)
    _check_complete(sk_buff, packet.skb.span, scope)
    data = field_of(sk_buff, "data")
    if data is None:
        raise scope.fail(packet.skb.span, "struct sk_buff of this kernel has no member 'data'")
    return _bits(skb.followed(0, sk_buff), data)


def skb_warnings(expr: syntax.Expr, scope: Scope) -> list[Diagnostic]:
    """A warning where a packet is read from what, by its type, is no `struct sk_buff *`."""
    while isinstance(expr, (syntax.Member, syntax.Index)):
        expr = expr.operand
    if not isinstance(expr, syntax.Packet):
        return []
    type_ = evaluate(expr.skb, scope).type
    if type_ is None or _is_skb(type_):
        return []
    hints = [
        f"%{index}, {parameter.name}, is one"
        for index, parameter in enumerate(scope.prototype.parameters if scope.prototype is not None else ())
        if _is_skb(parameter.type)
    ]
    return [scope.warning(expr.skb.span, f"{a_spelled(type_)} is no struct sk_buff *", *hints)]


def _is_skb(type_: Type) -> bool:
    bare = underlying(type_)
    return bare.kind == TypeKind.POINTER and spelled(underlying(bare.type)) == "struct sk_buff"


def _packet_member(expr: syntax.Member, packet: syntax.Packet, scope: Scope) -> Value:
    if not expr.is_arrow:
        operator = Span(packet.span.end, expr.name_span.start)
        raise scope.fail(operator, "a packet header is a pointer", f"write ->{expr.name}")
    start, header = _packet_header(packet, scope)
    if expr.name in DATA_MEMBERS and field_of(header, expr.name) is None:
        raise scope.fail(expr.name_span, f"'{expr.name}' needs an index", f"the first is {expr.name}[0]")
    _check_complete(header, packet.type.span, scope)
    field = field_of(header, expr.name)
    if field is None:
        names = [*member_names(header), *DATA_MEMBERS]
        hints = did_you_mean(nearest(expr.name, names)) or (f"its members are {listed(names, 24)}",)
        raise scope.fail(expr.name_span, f"{spelled(header)} has no member '{expr.name}'", *hints)
    return _bits(start, field)


def _packet_data(expr: syntax.Index, member: syntax.Member, packet: syntax.Packet, scope: Scope) -> Value:
    """`cdata[i]` and its like: what follows the header, in units of the member's width."""
    start, header = _packet_header(packet, scope)
    unit = DATA_MEMBERS[member.name]
    byte_offset = _header_size(header.tag or "", packet, scope) + expr.index * unit
    program = scope.types.program.prog
    if member.name == "Sdata":
        if member.type is not None:
            raise scope.fail(member.type.span, "Sdata is a string and nothing else")
        return start.moved(byte_offset, program.array_type(program.int_type("char", 1, True)))
    value = start.moved(byte_offset, program.int_type(f"u{unit * 8}", unit, False))
    return value if member.type is None else _cast(value, member.type, scope)
