"""Values in network order: read as a name's prefix asks, or as their type and what they are compared with tell."""

import re

from drgn import TypeKind

from surftrace.compiler.chain import Value
from surftrace.compiler.operands import Bytes, Number
from surftrace.compiler.reading import Reading, check_array
from surftrace.compiler.scope import Scope
from surftrace.compiler.values import NETWORK_ORDER_TYPES, Prefix, prefix_of
from surftrace.kernel.types import Type, a_spelled, is_char, size_of, sole_scalar, spelled, underlying
from surftrace.lang import syntax
from surftrace.lang.source import Diagnostic, Span
from surftrace.lang.syntax import Format

_IPV4 = re.compile(r"\d+\.\d+\.\d+\.\d+(/.*)?")


def read_prefixed(value: Value, prefix: Prefix, span: Span, scope: Scope) -> Reading:
    """The value as the prefix says; CompileError, about `span`, for one of another width or kind."""
    type_ = value.type and sole_scalar(value.type)
    bare = type_ and underlying(type_)
    is_number = bare is None or bare.kind in (TypeKind.INT, TypeKind.ENUM, TypeKind.BOOL)
    is_bytes = prefix.array_type is not None and bare is not None and not is_number and value.is_memory
    size = 8 if type_ is None else size_of(type_)
    if value.base == "$comm" or value.bits or value.is_address or not (is_number or is_bytes) or size != prefix.size:
        message = f"{prefix.text} shows {prefix.meaning}, {prefix.size} bytes"
        if value.base == "$comm":
            message += ": $comm is a string"
        elif value.bits:
            message += f": this is a bit field of {value.bits[1]} bits"
        elif type_ is not None and (value.is_address or not (is_number or is_bytes)):
            message += f": this is of type {spelled(type_)}"
        else:
            message += f": this {spelled(type_) if type_ else 'value'} has {size}"
        raise scope.fail(span, message, *_bytes_hint(bare, prefix))
    if prefix.array_type is not None:
        check_array(value, prefix.size, span, scope)
        fetch = value.fetch(prefix.array_type)
        return Reading(fetch, Bytes(prefix, fetch))
    fetch = value.fetch(f"u{prefix.size * 8}")
    return Reading(fetch, Number(prefix.size * 8, False, prefix, fetch=fetch))


def _bytes_hint(bare: Type | None, prefix: Prefix) -> tuple[str, ...]:
    """How to name the bytes that the prefix shows, where more of them are at hand."""
    is_many = bare is not None and bare.kind in (TypeKind.POINTER, TypeKind.ARRAY) and size_of(bare.type) == 1
    return (f"take the first {prefix.size}: VALUE[0:{prefix.size}]",) if prefix.array_type and is_many else ()


def prefix_of_comparison(value: Value, literal: syntax.Literal) -> Prefix | None:
    """The prefix for a value without a name: its type says that it is in network order, the literal what it is."""
    if value.type is None or value.bits is not None or value.is_address or literal.quote:
        return None
    size = size_of(value.type)
    bare = underlying(value.type)
    if bare.kind == TypeKind.ARRAY and is_char(bare.type):
        return None
    if value.is_memory and size in (6, 16) and ":" in literal.text:
        return prefix_of("ip6_" if size == 16 else "mac_")
    if size == 4 and _IPV4.fullmatch(literal.text):
        return prefix_of("ip_")
    name = _network_order_prefix(sole_scalar(value.type))
    return prefix_of(name) if name is not None else None


def network_order_hint(
    value: Value, name: str, letter: Format | None, assignment: syntax.Assignment, scope: Scope
) -> list[Diagnostic]:
    """The warning that a value's type wants a prefix, which the argument's name has not."""
    if value.type is None or scope.machine.byteorder == "big":
        return []
    prefix = _network_order_prefix(value.type)
    if prefix is None:
        return []
    message = f"'{name}' is {a_spelled(value.type)}: its bytes are shown in this machine's order"
    hint = f"call it {prefix}{name}"
    if letter is not None:
        shown = prefix.upper() if letter is Format.HEXADECIMAL else prefix
        hint = f"write {shown}{name}, and leave {letter.value} out"
    return [scope.warning(assignment.name_span, message, hint)]


def _network_order_prefix(type_: Type) -> str | None:
    while type_.kind == TypeKind.TYPEDEF:
        if prefix := NETWORK_ORDER_TYPES.get(type_.name):
            return prefix
        type_ = type_.type
    return None
