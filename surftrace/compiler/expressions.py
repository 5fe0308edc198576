"""One expression in, the value it stands for out: a chain of reads and the C type at its end."""

import re
from dataclasses import replace

from drgn import TypeKind

from surftrace.compiler.casts import address_of, check_no_string, container_of, converted, taken_as
from surftrace.compiler.chain import Value
from surftrace.compiler.fetch import MAX_ARRAY
from surftrace.compiler.headers import LAYERS
from surftrace.compiler.packets import completed, is_packet_data, packet_data, packet_member, placed
from surftrace.compiler.scope import Scope, listed
from surftrace.kernel.features import Feature
from surftrace.kernel.machine import InPieces, InRegister
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
    user_type,
)
from surftrace.lang import syntax
from surftrace.lang.source import Span
from surftrace.lang.syntax import Kind
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
            return _argument(expr.index, expr.span, scope)
        case syntax.Name():
            return _name(expr, scope)
        case syntax.Register():
            return Value(f"%{_register(expr, scope)}", (), None)
        case syntax.Variable():
            return _variable(expr, scope)
        case syntax.Symbol():
            return _symbol(expr, scope)
        case syntax.Address():
            return _address(expr, scope)
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


def _register(expr: syntax.Register, scope: Scope) -> str:
    machine = scope.machine
    if scope.kind is Kind.EVENT:
        raise scope.fail(expr.span, "an event has no registers", "name a field of it")
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
    if scope.kind is Kind.EVENT:
        raise scope.fail(span, "an event has no arguments", "name a field of it")
    _check_entry(span, scope)
    if scope.kind is Kind.RETURN:
        return _entry_argument(index, span, scope)
    if scope.prototype is None:
        registers = scope.machine.argument_registers
        if index >= len(registers):
            raise scope.fail(span, f"the types of {scope.function} are not known, nor where its argument {index} is")
        return Value(f"%{registers[index]}", (), None)
    type_ = _parameter_type(index, span, scope)
    match scope.places()[index]:
        case InRegister(register):
            return Value(f"%{register}", (), type_)
        case InPieces(how):
            message = f"argument {index} of {scope.function}, {a_spelled(type_)}, is passed {how}"
            raise scope.fail(span, message, "name the registers or $stackN that hold the part you want")
        case on_stack:
            return Value(f"$stack{on_stack.slot}", (), type_)


def _entry_argument(index: int, span: Span, scope: Scope) -> Value:
    """An argument as a return probe knows it: the kernel keeps the registers that arguments came in."""
    registers = scope.machine.argument_registers
    type_ = None
    number = index
    if scope.prototype is not None:
        type_ = _parameter_type(index, span, scope)
        place = scope.places()[index]
        if not isinstance(place, InRegister):
            raise scope.fail(span, f"the kernel keeps no argument that is not in a register, as {index} is not")
        number = registers.index(place.register)
    elif index >= len(registers):
        raise scope.fail(span, f"the types of {scope.function} are not known, nor where its argument {index} is")
    return Value(f"$arg{number + 1}", (), type_)


def _parameter_type(index: int, span: Span, scope: Scope) -> Type:
    assert scope.prototype is not None
    parameters = scope.prototype.parameters
    if index >= len(parameters):
        count = f"{len(parameters)} argument{'s' if len(parameters) != 1 else ''}"
        names = [f"%{number} {name or '(unnamed)'}" for number, name in enumerate(scope.parameters())]
        raise scope.fail(span, f"{scope.function} has {count}", *([f"they are {listed(names)}"] if names else []))
    return parameters[index].type


def _check_entry(span: Span, scope: Scope) -> None:
    if scope.kind is Kind.USER_RETURN:
        raise scope.fail(span, "arguments are gone when a function returns", "use $retval, or a 'P' probe")
    if scope.kind is Kind.RETURN and not scope.features().has(Feature.RETURN_ARGUMENT):
        raise scope.fail(
            span,
            "arguments are gone when a function returns",
            f"use $retval, or a 'p' probe: Linux {Feature.RETURN_ARGUMENT.since} and later keep them",
        )
    if scope.byte_offset:
        raise scope.fail(
            span,
            f"arguments are only sure to be in place at {scope.function}'s entry, not at +{scope.byte_offset:#x}",
            "name the register that holds the value there",
        )


def _name(expr: syntax.Name, scope: Scope) -> Value:
    if scope.kind is Kind.EVENT:
        return _event_field(expr, scope)
    if scope.prototype is None:
        is_return = scope.kind in (Kind.RETURN, Kind.USER_RETURN)
        example = f"!({'char' if scope.is_user else 'struct sk_buff'} *){'$retval' if is_return else '%0'}"
        raise scope.fail(
            expr.span,
            f"the type information has no prototype of {scope.function}, so its parameters have no names",
            f"cast what you know the type of: {example}",
        )
    names = scope.parameters()
    if expr.name in names:
        return _argument(names.index(expr.name), expr.span, scope)
    known = [name for name in names if name]
    hints = did_you_mean(nearest(expr.name, known)) or ((f"its parameters are {listed(known)}",) if known else ())
    if expr.name in LAYERS:
        hints = (f"a packet's header is written @(struct iphdr *){expr.name}%N->MEMBER, N the number of the skb",)
    raise scope.fail(expr.span, f"{scope.function} has no parameter '{expr.name}'", *hints)


def _event_field(expr: syntax.Name, scope: Scope) -> Value:
    if scope.event_fields is None:
        raise scope.fail(expr.span, f"the fields of {scope.function} are not known here")
    field = scope.event_fields.get(expr.name)
    if field is None:
        names = [name for name in scope.event_fields if not name.startswith("common_")]
        hints = did_you_mean(nearest(expr.name, names)) or (f"its fields are {listed(names, 16)}",)
        raise scope.fail(expr.span, f"{scope.function} has no field '{expr.name}'", *hints)
    type_ = scope.types.of_event_field(field)
    bare = underlying(type_)
    if scope.function.startswith("syscalls/") and bare.kind == TypeKind.POINTER:  # what a process passes is its own
        type_ = scope.pointer_to(user_type(bare.prog, bare.type))
    return Value(f"${expr.name}", (), type_)


def _variable(expr: syntax.Variable, scope: Scope) -> Value:
    name = expr.name
    if name == "$retval":
        if scope.kind not in (Kind.RETURN, Kind.USER_RETURN):
            raise scope.fail(
                expr.span,
                "$retval is there only when a function returns",
                "name a field of the event"
                if scope.kind is Kind.EVENT
                else f"write an '{'R' if scope.is_user else 'r'}' probe",
            )
        return _result(expr.span, scope)
    if name == "$comm":
        return Value("$comm", (), None)
    if scope.kind is not Kind.EVENT and re.fullmatch(r"\$stack[0-9]{0,3}", name):
        return Value(name, (), None)
    # Linux kernel/trace/trace_probe.c, parse_probe_vars: $argN is for functions of the kernel.
    if scope.is_user and re.fullmatch(r"\$arg[0-9]+", name):
        raise scope.fail(expr.span, f"the kernel knows '{name}' for its own functions only", "%0 is the first argument")
    if scope.kind is not Kind.EVENT and re.fullmatch(r"\$arg[1-9][0-9]?", name):
        _check_entry(expr.span, scope)
        scope.require(Feature.ARGUMENT_N, expr.span)
        return Value(name, (), None)
    if name == "$arg0" and scope.kind is not Kind.EVENT:
        raise scope.fail(expr.span, "the kernel counts its $argN from 1", "the first argument is $arg1, or %0")
    raise scope.fail(
        expr.span,
        f"the kernel has no variable '{name}'" + (" in an event" if scope.kind is Kind.EVENT else ""),
        "there is $comm" if scope.kind is Kind.EVENT else "there are $retval, $comm, $stack, $stackN and $argN",
    )


def _result(span: Span, scope: Scope) -> Value:
    if scope.prototype is None:
        return Value("$retval", (), None)
    type_ = scope.prototype.type
    if scope.has_result_in_memory():
        message = f"{scope.function} returns {a_spelled(type_)} in memory, at an address that its caller passed"
        # System V AMD64 ABI 3.2.3: %rax has that address; others leave it nowhere.
        hints = (f"that address is in %ax: !({spelled(type_)} *)%ax",) if scope.machine.name == "x86_64" else ()
        raise scope.fail(span, message, *hints)
    return Value("$retval", (), type_)


def _symbol(expr: syntax.Symbol, scope: Scope) -> Value:
    if scope.is_user:  # Linux Documentation/trace/uprobetracer.rst has @ADDRESS and @+OFFSET alone
        raise scope.fail(expr.span, "memory at a symbol can be read by probes on the kernel only")
    if scope.symbols is not None:
        found = scope.symbols.named(expr.name)
        if not found:
            hints = did_you_mean(f"@{name}" for name in nearest(expr.name, scope.symbols.variable_names()))
            raise scope.fail(expr.span, f"this kernel has no symbol '{expr.name}'", *hints)
        addresses = {symbol.address for symbol in found}
        if len(found) > 1 and (len(addresses) > 1 or 0 in addresses):
            known = [f"@{symbol.address:#x}" for symbol in found if symbol.address and scope.symbols.is_running]
            hints = (f"name the address: {' or '.join(known[:4])}",) if known else ()
            message = f"{len(found)} symbols have the name {expr.name}: which one is not clear"
            raise scope.fail(expr.span, message, *hints)
    return Value(f"@{expr.name}", (expr.byte_offset,), None if expr.byte_offset else scope.types.variable(expr.name))


def _address(expr: syntax.Address, scope: Scope) -> Value:
    low, high = scope.addresses()
    if not low <= expr.address < high:
        whose = "a program" if scope.is_user else "the kernel"
        raise scope.fail(expr.span, f"{expr.address:#x} is no address of {whose}'s", f"they begin at {low:#x}")
    return Value(f"@{expr.address:#x}", (0,), None)


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
        hints = did_you_mean(nearest(expr.name, names)) or (f"its members are {listed(names)}",)
        raise scope.fail(expr.name_span, f"{spelled(holder)} has no member '{expr.name}'", *hints)
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
