"""One argument in, one field out: what the kernel fetches for it, how it is shown, how a filter compares it."""

from dataclasses import replace

from drgn import TypeKind

from surftrace.compiler.expressions import Value, evaluate, skb_warnings
from surftrace.compiler.fetch import Fetch, too_long
from surftrace.compiler.filters import Number, Operand, Text
from surftrace.compiler.resolved import Field
from surftrace.compiler.scope import Scope, listed
from surftrace.compiler.values import NETWORK_ORDER_TYPES, Prefix, prefix_of
from surftrace.kernel.types import (
    Type,
    a_spelled,
    is_char,
    member_names,
    size_of,
    sole_scalar,
    spelled,
    underlying,
)
from surftrace.lang import syntax
from surftrace.lang.source import Diagnostic
from surftrace.lang.syntax import Format

# Linux kernel/trace/trace_probe.h: MAX_ARG_NAME_LEN is 32 with its terminator.
MAX_NAME = 31

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

_LETTERS = {Format.SIGNED: "s", Format.UNSIGNED: "u", Format.HEXADECIMAL: "x"}


def argument_name_error(name: str, taken: set[str]) -> str | None:
    """Why an argument cannot have this name, or None."""
    if name in taken:
        return f"two arguments have the name '{name}'"
    if name in RESERVED_NAMES:
        return f"'{name}' is the kernel's own name"
    if len(name) > MAX_NAME:
        return f"the kernel takes names of at most {MAX_NAME} characters, this one has {len(name)}"
    return None


def resolve_argument(assignment: syntax.Assignment, scope: Scope) -> tuple[Field, Operand, list[Diagnostic]]:
    """The field, what a filter may compare it with, and warnings. Raises CompileError."""
    letter, expr = _split_letter(assignment, scope)
    value = evaluate(expr, scope)
    prefix = prefix_of(assignment.name)
    if prefix is not None and letter is not None:
        message = f"the name's prefix {prefix.text} says how the value is shown, the letter {letter.value} says it too"
        raise scope.fail(assignment.name_span, message, "leave the letter out, or name it otherwise")
    notes = skb_warnings(expr, scope)
    if prefix is not None:
        fetch, operand = _prefixed(value, prefix, assignment, scope)
    else:
        fetch, operand = _plain(value, letter, assignment, scope)
        notes.extend(_network_order_hint(value, assignment, scope))
    if error := too_long(fetch):
        raise scope.fail(expr.span, error)
    field = Field(assignment.name, fetch, prefix, assignment.span)
    is_hexadecimal = letter is Format.HEXADECIMAL
    if isinstance(operand, Number) and operand.is_bit_field and (is_hexadecimal or operand.is_signed):
        field = replace(field, bit_width=operand.bits, letter="x" if is_hexadecimal else "s")
    return field, operand, notes


def _split_letter(assignment: syntax.Assignment, scope: Scope) -> tuple[Format | None, syntax.Expr]:
    """The format letter and the expression: `Xskb->len` is `X` and `skb->len` where no parameter is called Xskb."""
    if assignment.format is not None:
        return assignment.format, assignment.value
    names = scope.parameters()

    def without_letter(expr: syntax.Expr) -> syntax.Expr | None:
        match expr:
            case syntax.Name(name) if name not in names and name[1:] in names and name[0] in "SUX":
                return replace(expr, name=name[1:], span=replace(expr.span, start=expr.span.start + 1))
            case syntax.Member() | syntax.Index():
                operand = without_letter(expr.operand)
                return None if operand is None else replace(expr, operand=operand)
            case _:
                return None

    expr = without_letter(assignment.value)
    if expr is None:
        return None, assignment.value
    first = scope.source.text[assignment.value.span.start]
    return Format(first), expr


def _prefixed(value: Value, prefix: Prefix, assignment: syntax.Assignment, scope: Scope) -> tuple[Fetch, Operand]:
    type_ = value.type and sole_scalar(value.type)
    size = 8 if type_ is None else size_of(type_)
    is_integer = type_ is None or underlying(type_).kind in (TypeKind.INT, TypeKind.ENUM, TypeKind.BOOL)
    if value.base == "$comm" or value.bits or not is_integer or size != prefix.size:
        message = f"{prefix.text} shows {prefix.meaning}, {prefix.size} bytes"
        if value.base == "$comm":
            message += ": $comm is a string"
        elif value.bits:
            message += f": this is a bit field of {value.bits[1]} bits"
        elif not is_integer and type_ is not None:
            message += f": this is of type {spelled(type_)}"
        else:
            message += f": this {spelled(type_) if type_ else 'value'} has {size}"
        raise scope.fail(assignment.name_span, message)
    return Fetch(value.base, value.byte_offsets, f"u{prefix.size * 8}"), Number(prefix.size * 8, False, prefix)


def _plain(value: Value, letter: Format | None, assignment: syntax.Assignment, scope: Scope) -> tuple[Fetch, Operand]:
    span = assignment.value.span
    if value.base == "$comm":
        if letter is not None:
            raise scope.fail(span, f"$comm is a string: the letter {letter.value} does not fit it")
        return Fetch("$comm", (), ""), Text()
    if value.type is None:
        return _number(value, 8, letter, "u")
    type_ = sole_scalar(value.type)
    if value.bits is not None:
        return _bit_field(value, value.bits, letter, type_, assignment, scope)
    bare = underlying(type_)
    match bare.kind:
        case TypeKind.INT | TypeKind.BOOL:
            size = size_of(bare) or 0
            if size not in (1, 2, 4, 8):
                raise scope.fail(span, f"{a_spelled(type_)} has {size} bytes: the kernel fetches 1, 2, 4 or 8")
            return _number(value, size, letter, "s" if bare.kind == TypeKind.INT and bare.is_signed else "u")
        case TypeKind.ENUM if bare.is_complete():
            return _number(value, size_of(bare) or 4, letter, "s" if bare.type.is_signed else "u")
        case TypeKind.POINTER:
            if is_char(bare.type) and letter is None:
                return Fetch(value.base, (*value.byte_offsets, 0), "string"), Text()
            return _number(value, 8, letter, "x")
        case TypeKind.ARRAY if is_char(bare.type):
            if letter is not None:
                raise scope.fail(span, f"a string has no number to show as {letter.value}", "name a character: [0]")
            return Fetch(value.base, value.byte_offsets, "string"), Text()
        case _:
            raise _no_scalar(type_, assignment, scope)


def _no_scalar(type_: Type, assignment: syntax.Assignment, scope: Scope) -> Exception:
    span, bare = assignment.value.span, underlying(type_)
    match bare.kind:
        case TypeKind.STRUCT | TypeKind.UNION:
            names = member_names(bare) if bare.is_complete() else []
            hints = [f"its members are {listed(names)}"] if names else []
            return scope.fail(span, f"this is a whole {spelled(type_)}: name a member of it", *hints)
        case TypeKind.ARRAY:
            count = f"{bare.length} elements" if bare.length else "elements"
            hints = ["name one: [0]"]
            if size_of(bare.type) == 1 and isinstance(assignment.value, syntax.Member):
                hints.append(f"for a string: !(char[]){assignment.value.name}")
            return scope.fail(span, f"this is an array, {spelled(type_)}, of {count}", *hints)
        case TypeKind.VOID:
            return scope.fail(span, f"{scope.function} returns nothing")
        case _:
            return scope.fail(span, f"the kernel cannot fetch {a_spelled(type_)}")


def _number(value: Value, size: int, letter: Format | None, default: str) -> tuple[Fetch, Operand]:
    shown = _LETTERS[letter] if letter is not None else default
    return Fetch(value.base, value.byte_offsets, f"{shown}{size * 8}"), Number(size * 8, shown == "s")


def _bit_field(
    value: Value,
    bits: tuple[int, int],
    letter: Format | None,
    type_: Type,
    assignment: syntax.Assignment,
    scope: Scope,
) -> tuple[Fetch, Operand]:
    first, width = bits
    container = next((size for size in (8, 16, 32, 64) if first + width <= size), None)
    if container is None:
        raise scope.fail(assignment.value.span, f"these {width} bits lie across 9 bytes: the kernel fetches 8")
    bare = underlying(type_)
    is_signed = letter is Format.SIGNED or (letter is None and bare.kind == TypeKind.INT and bare.is_signed)
    fetch = Fetch(value.base, value.byte_offsets, f"b{width}@{first}/{container}")
    return fetch, Number(width, is_signed, None, is_bit_field=True)


def _network_order_hint(value: Value, assignment: syntax.Assignment, scope: Scope) -> list[Diagnostic]:
    type_ = value.type
    while type_ is not None and type_.kind == TypeKind.TYPEDEF:
        if prefix := NETWORK_ORDER_TYPES.get(type_.name):
            message = f"'{assignment.name}' is {a_spelled(type_)}: its bytes are shown in this machine's order"
            return [scope.warning(assignment.name_span, message, f"call it {prefix}{assignment.name}")]
        type_ = type_.type
    return []
