"""Where a value starts: an argument, a name, a register, a kernel variable, memory at a symbol or an address."""

import re

from drgn import TypeKind

from surftrace.compiler.chain import Value
from surftrace.compiler.headers import LAYERS
from surftrace.compiler.scope import Scope, listed
from surftrace.kernel.calling import InPieces, InRegister
from surftrace.kernel.features import Feature
from surftrace.kernel.types import Type, a_spelled, scalars_of, spelled, underlying, user_type
from surftrace.lang import syntax
from surftrace.lang.source import Span
from surftrace.lang.syntax import Kind
from surftrace.names import did_you_mean, nearest

_NEEDS_DWARF = "its DWARF has them: compile the program with -g, or install its debug symbols"


def register(expr: syntax.Register, scope: Scope) -> str:
    """The register of that name, as the kernel spells it; CompileError where the machine has none."""
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


def argument(index: int, span: Span, scope: Scope) -> Value:
    """The function's argument of that number, with its C type; CompileError where it is not at hand."""
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


def name(expr: syntax.Name, scope: Scope) -> Value:
    """What a bare name is: a parameter, a variable in scope, a field of the event. CompileError where it is nothing."""
    if scope.kind is Kind.EVENT:
        return _event_field(expr, scope)
    names = scope.parameters()
    is_entry = not scope.byte_offset
    if is_entry and expr.name in names:
        return argument(names.index(expr.name), expr.span, scope)
    if (local := _local(expr, scope)) is not None:
        return local
    if scope.prototype is None:
        is_return = scope.kind in (Kind.RETURN, Kind.USER_RETURN)
        example = f"!({'char' if scope.is_user else 'struct sk_buff'} *){'$retval' if is_return else '%0'}"
        raise scope.fail(
            expr.span,
            f"the type information has no prototype of {scope.function}, so its parameters have no names",
            f"cast what you know the type of: {example}",
            *([_NEEDS_DWARF] if scope.is_user else []),
        )
    if expr.name in names:
        return argument(names.index(expr.name), expr.span, scope)
    known = [name for name in names if name]
    hints = did_you_mean(nearest(expr.name, known)) or ((f"its parameters are {listed(known)}",) if known else ())
    if expr.name in LAYERS:
        hints = (f"a packet's header is written @(struct iphdr *){expr.name}%N->MEMBER, N the number of the skb",)
    raise scope.fail(expr.span, f"{scope.function} has no parameter '{expr.name}'", *hints)


def _local(expr: syntax.Name, scope: Scope) -> Value | None:
    """A variable in scope at the place; None where the place's variables are not known, or a parameter is meant."""
    known = scope.locals()
    if known is None:
        return None
    value = known.value(expr, scope)
    if value is None and scope.byte_offset and (names := known.names()):
        hints = did_you_mean(nearest(expr.name, names)) or (f"in scope are {listed(names, 16)}",)
        place = f"{scope.function}+{scope.byte_offset:#x}"
        raise scope.fail(expr.span, f"nothing is called '{expr.name}' at {place}", *hints)
    return value


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


def variable(expr: syntax.Variable, scope: Scope) -> Value:
    """One of the kernel's own variables: `$retval`, `$comm` and their like."""
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
    if scalars_of(type_):
        raise scope.fail(span, f"{scope.function} returns {a_spelled(type_)} in registers that probes cannot read")
    return Value("$retval", (), type_)


def symbol(expr: syntax.Symbol, scope: Scope) -> Value:
    """The memory at a kernel's symbol, with its type where DWARF tells it."""
    if scope.program is not None:
        return scope.program.variable(expr, scope)
    check_symbol(expr.name, expr.span, scope)
    return Value(f"@{expr.name}", (expr.byte_offset,), None if expr.byte_offset else scope.types.variable(expr.name))


def check_symbol(name: str, span: Span, scope: Scope) -> None:
    """Raise CompileError where the kernel has no such symbol, or would not read the one that is meant."""
    if scope.symbols is None:
        return
    found = scope.symbols.named(name)
    if not found:
        hints = did_you_mean(f"@{each}" for each in nearest(name, scope.symbols.variable_names()))
        raise scope.fail(span, f"this kernel has no symbol '{name}'", *hints)
    addresses = {symbol.address for symbol in found}
    if len(found) > 1 and (len(addresses) > 1 or 0 in addresses):
        known = [f"@{symbol.address:#x}" for symbol in found if symbol.address and scope.symbols.is_running]
        hints = (f"name the address: {' or '.join(known[:4])}",) if known else ()
        raise scope.fail(span, f"{len(found)} symbols have the name {name}: which one is not clear", *hints)
    if scope.symbols.is_per_cpu(found[0]):
        message = f"{name} is a per-CPU variable: each CPU has its own, and a probe cannot tell where"
        raise scope.fail(span, message)


def address(expr: syntax.Address, scope: Scope) -> Value:
    """The memory at an address."""
    low, high = scope.addresses()
    if not low <= expr.address < high:
        whose = "a program" if scope.is_user else "the kernel"
        raise scope.fail(expr.span, f"{expr.address:#x} is no address of {whose}'s", f"they begin at {low:#x}")
    return Value(f"@{expr.address:#x}", (0,), None)
