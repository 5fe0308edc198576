"""One argument in, one field out: its name, what the kernel fetches for it, how it is shown and compared."""

from dataclasses import replace

from surftrace.compiler.expressions import evaluate, value_of
from surftrace.compiler.fetch import too_long
from surftrace.compiler.network import network_order_hint, read_prefixed
from surftrace.compiler.operands import Operand
from surftrace.compiler.packets import skb_warnings
from surftrace.compiler.reading import read_as, read_plainly
from surftrace.compiler.resolved import Field
from surftrace.compiler.scope import Scope
from surftrace.compiler.values import prefix_of
from surftrace.lang import syntax
from surftrace.lang.source import Diagnostic
from surftrace.lang.syntax import Format

# Linux kernel/trace/trace_probe.h: MAX_ARG_NAME_LEN is 32 with its terminator.
MAX_NAME = 31

# What a value without a name of its own is called, by the compiler alone.
HIDDEN = "__h"

# Linux kernel/trace/trace_probe.c, reserved_field_names.
RESERVED_NAMES = frozenset(
    (
        "common_type",
        "common_flags",
        "common_preempt_count",
        "common_pid",
        "common_tgid",
        "__probe_ip",
        "__probe_ret_ip",
        "__probe_func",
    )
)


def argument_name(assignment: syntax.Assignment, scope: Scope) -> str:
    """The argument's name: the one that was written, else that of the last member, parameter or register."""
    if assignment.name is not None:
        return assignment.name
    return _name_of(split_letter(assignment, scope)[1], scope)


def argument_name_error(name: str, taken: set[str]) -> str | None:
    """Why an argument cannot have this name, or None."""
    if name in taken:
        return f"two arguments have the name '{name}'"
    if name in RESERVED_NAMES or (name.startswith(HIDDEN) and name[len(HIDDEN) :].isdigit()):
        return f"'{name}' is {'the kernel' if name in RESERVED_NAMES else 'surftrace'}'s own name"
    if len(name) > MAX_NAME:
        return f"the kernel takes names of at most {MAX_NAME} characters, this one has {len(name)}"
    return None


def resolve_argument(assignment: syntax.Assignment, name: str, scope: Scope) -> tuple[Field, Operand, list[Diagnostic]]:
    """The field, what a filter may compare it with, and warnings. Raises CompileError."""
    letter, expr = split_letter(assignment, scope)
    # A member that happens to begin as a prefix does, such as ip_summed, asks for no format.
    prefix = prefix_of(name) if assignment.name is not None else None
    for what, has in ((f"the letter {letter.value}" if letter else "", letter), ("the type", assignment.type)):
        if prefix is not None and has is not None:
            message = f"the name's prefix {prefix.text} says how the value is shown, {what} says it too"
            raise scope.fail(assignment.name_span, message, f"leave {what} out, or name it otherwise")
    if letter is not None and assignment.type is not None:
        raise scope.fail(assignment.type.span, f"the letter {letter.value} and the type both say how it is shown")
    value = value_of(expr, scope)
    notes = packet_warnings(expr, scope)
    if prefix is not None:
        reading = read_prefixed(value, prefix, assignment.name_span, scope)
    elif assignment.type is not None:
        reading = read_as(value, assignment.type, expr, scope)
    else:
        reading = read_plainly(value, letter, expr, scope)
        notes.extend(network_order_hint(value, name, letter, assignment, scope))
    if error := too_long(reading.fetch):
        raise scope.fail(expr.span, error)
    field = Field(
        name,
        reading.fetch,
        prefix,
        assignment.span,
        bit_width=reading.bit_width,
        letter=reading.letter,
        enumerators=reading.enumerators,
        has_errors=reading.has_errors,
        addend=reading.addend,
    )
    return field, reading.operand, notes


def packet_warnings(expr: syntax.Expr, scope: Scope) -> list[Diagnostic]:
    """A warning where a packet is read from what, by its type, is no `struct sk_buff *`."""
    expr = syntax.innermost(expr)
    return skb_warnings(expr, evaluate(expr.skb, scope), scope) if isinstance(expr, syntax.Packet) else []


def _name_of(expr: syntax.Expr, scope: Scope) -> str:
    match expr:
        case syntax.Member() | syntax.Name() | syntax.Register():
            return expr.name
        case syntax.Symbol():
            return expr.name.replace(".", "_")
        case syntax.Variable():
            return expr.name.removeprefix("$")
        case syntax.Argument():
            names = scope.parameters()
            known = names[expr.index] if expr.index < len(names) else None
            return known or f"arg{expr.index}"
        case syntax.Address():
            return f"at_{expr.address:x}"
        case syntax.Packet():
            return "packet"
        case syntax.ContainerOf():
            return expr.type.text.split()[-1]
        case _:
            return _name_of(expr.operand, scope)


def split_letter(assignment: syntax.Assignment, scope: Scope) -> tuple[Format | None, syntax.Expr]:
    """The format letter and the expression: `Xskb->len` is `X` and `skb->len` where no parameter is called Xskb."""
    if assignment.format is not None:
        return assignment.format, assignment.value

    def without_letter(expr: syntax.Expr) -> syntax.Expr | None:
        match expr:
            case syntax.Name(name) if name[0] in "SUX" and not scope.is_name(name) and scope.is_name(name[1:]):
                return replace(expr, name=name[1:], span=replace(expr.span, start=expr.span.start + 1))
            case syntax.Member() | syntax.Index() | syntax.Slice():
                operand = without_letter(expr.operand)
                return None if operand is None else replace(expr, operand=operand)
            case _:
                return None

    expr = without_letter(assignment.value)
    if expr is None:
        return None, assignment.value
    first = scope.source.text[assignment.value.span.start]
    return Format(first), expr
