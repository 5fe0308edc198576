"""A value in, how the kernel reads it out: the fetch with its type, how it is shown, how a filter compares it."""

import re
from dataclasses import replace

from drgn import TypeKind

from surftrace.compiler.chain import Value
from surftrace.compiler.fetch import MAX_ARRAY, Fetch, too_long
from surftrace.compiler.operands import Number, Opaque, Operand, Text
from surftrace.compiler.scope import Scope, listed
from surftrace.kernel.features import Feature
from surftrace.kernel.types import (
    Type,
    a_spelled,
    enumerators_of,
    is_char,
    is_user,
    member_names,
    size_of,
    sole_scalar,
    spelled,
    underlying,
)
from surftrace.lang import syntax
from surftrace.lang.source import Span
from surftrace.lang.syntax import Format, Kind
from surftrace.record import record

_LETTERS = {Format.SIGNED: "s", Format.UNSIGNED: "u", Format.HEXADECIMAL: "x"}
_KERNEL_TYPE = re.compile(r"(?:([usx])(8|16|32|64)|(char|u?string|symbol)|(b)(\d+)@(\d+)/(8|16|32|64))(?:\[(\d+)\])?")

_FLOATING_POINT = "a floating-point number"
_NEEDED = {"symbol": Feature.SYMBOL, "char": Feature.CHAR, "ustring": Feature.USTRING}


@record
class Reading:
    """What the kernel fetches for a value, and what is to be made of it.

    `bit_width`, `letter`, `enumerators`, `has_errors` and `addend` as in `Field`.
    """

    fetch: Fetch
    operand: Operand
    bit_width: int | None = None
    letter: str = ""
    enumerators: tuple[tuple[int, str], ...] = ()
    has_errors: bool = False
    addend: int = 0


def read_plainly(value: Value, letter: Format | None, expr: syntax.Expr, scope: Scope) -> Reading:
    """The value as its C type says, or as a format letter does. Raises CompileError."""
    if value.base == "$comm":
        if letter is not None:
            raise scope.fail(expr.span, f"$comm is a string: the letter {letter.value} does not fit it")
        # In a probe on an event the kernel takes it for a number unless it is told.
        return Reading(Fetch("$comm", (), "string" if scope.kind is Kind.EVENT else ""), Text())
    if value.is_address:
        return _address(value, letter, expr, scope)
    if value.type is None:
        return _number(value, 8, letter, "u")
    type_ = sole_scalar(value.type)
    if value.bits is not None:
        return _bit_field(value, value.bits, letter, type_, expr.span, scope)
    bare = underlying(type_)
    if bare.kind == TypeKind.POINTER and is_char(bare.type) and letter is None:
        return Reading(value.fetch_behind(_string_type(value, bare, expr.span, scope)), Text())
    if bare.kind == TypeKind.ARRAY:
        return _array(value, bare, letter, expr, scope)
    if bare.kind in (TypeKind.INT, TypeKind.BOOL, TypeKind.ENUM, TypeKind.POINTER):
        return _scalar(value, bare, letter, expr, scope)
    if bare.kind == TypeKind.FLOAT and size_of(bare) in (4, 8):
        return _floating_point(value, size_of(bare) or 0, letter, expr, scope)
    raise _no_scalar(type_, expr, scope)


def _floating_point(value: Value, size: int, letter: Format | None, expr: syntax.Expr, scope: Scope) -> Reading:
    """The kernel knows no such numbers: it fetches the bits."""
    if letter is Format.HEXADECIMAL:
        return Reading(value.fetch(f"x{size * 8}"), Opaque(_FLOATING_POINT))
    if letter is not None:
        raise scope.fail(
            expr.span, f"a floating-point number has a sign and a fraction: X shows its bits, {letter.value} nothing"
        )
    return Reading(value.fetch(f"u{size * 8}"), Opaque(_FLOATING_POINT), letter="f")


def read_as(value: Value, kernel_type: syntax.FetchType, expr: syntax.Expr, scope: Scope) -> Reading:
    """The value as one of the kernel's own types: `EXPR:TYPE`. Raises CompileError."""
    match = _KERNEL_TYPE.fullmatch(kernel_type.text)
    if match is None:
        raise _no_such_type(kernel_type, scope)
    shown, bits, word, is_bit_field, width, first, container, count = match.groups()
    value = _readable(value, expr, scope)
    if value.bits is not None:
        raise scope.fail(kernel_type.span, f"this is a bit field of {value.bits[1]} bits", "leave the type out")
    if value.base == "$comm" and (word != "string" or count is not None):
        raise scope.fail(kernel_type.span, "$comm is a string and nothing else")
    _check_event_field(value, word, kernel_type, scope)
    if is_bit_field and not 0 < int(width) <= int(container) - int(first):
        message = (
            f"{width} bits from bit {first} on are more than {container} bits hold" if int(width) else "no bits at all"
        )
        raise scope.fail(kernel_type.span, message)
    if word == "symbol" and scope.is_user:
        raise scope.fail(kernel_type.span, "symbol is for addresses of the kernel: this is a program's")
    if word in _NEEDED:
        scope.require(_NEEDED[word], kernel_type.span)
    if count is not None:
        check_array(value, int(count), kernel_type.span, scope)
    suffix = f"[{count}]" if count is not None else ""
    if word in ("string", "ustring"):
        return _typed_string(value, word, suffix, expr, scope)
    fetch = value.fetch(kernel_type.text)
    if suffix:
        return Reading(fetch, Opaque("an array"))
    if is_bit_field:
        return Reading(fetch, Number(int(width), False, None, is_bit_field=True))
    if word is not None:  # a char has no sign: Linux kernel/trace/trace_probe.c, probe_fetch_types
        return Reading(fetch, Number(64, False, is_code=True) if word == "symbol" else Number(8, False))
    return Reading(fetch, Number(int(bits), shown == "s", fetch=fetch, is_code=True))


def _check_event_field(value: Value, word: str | None, kernel_type: syntax.FetchType, scope: Scope) -> None:
    """CompileError where an event's own field is no such thing as the kernel would take it for."""
    if scope.kind is not Kind.EVENT or value.byte_offsets or value.type is None:
        return
    kind = underlying(sole_scalar(value.type)).kind
    # Linux kernel/trace/trace_eprobe.c, get_event_field: of a string it gives the address.
    if kind == TypeKind.ARRAY and kernel_type.text != "string":
        raise scope.fail(kernel_type.span, "this field is an array: at most :string shows it")
    if kind != TypeKind.POINTER and kind != TypeKind.ARRAY and word in ("string", "ustring"):
        raise scope.fail(kernel_type.span, f"this is {a_spelled(value.type)}: there is no string in it or behind it")


def _no_such_type(kernel_type: syntax.FetchType, scope: Scope) -> Exception:
    if kernel_type.text.partition("[")[0] == "symstr":
        # Seen on 6.1 and 6.12: an oops in every run.
        message = "the kernel's type symstr corrupts memory on many kernels"
        return scope.fail(kernel_type.span, message, "write :symbol, which shows the same")
    known = "u8 ... u64, s8 ... s64, x8 ... x64, char, string, ustring, symbol, b<width>@<offset>/<container>"
    hints = (f"its types are {known}, and TYPE[N] for arrays",)
    return scope.fail(kernel_type.span, f"the kernel's probes have no type '{kernel_type.text}'", *hints)


def _typed_string(value: Value, word: str, suffix: str, expr: syntax.Expr, scope: Scope) -> Reading:
    """A string where the value is: in an array of characters, or behind a pointer or another number."""
    bare = underlying(sole_scalar(value.type)) if value.type is not None else None
    kind = bare.kind if bare is not None else TypeKind.POINTER
    if bare is not None and kind in (TypeKind.INT, TypeKind.BOOL, TypeKind.ENUM) and size_of(bare) != 8:
        raise scope.fail(expr.span, f"this is {a_spelled(bare)}: no address of a string")
    is_in_place = value.base == "$comm" or kind in (TypeKind.ARRAY, TypeKind.STRUCT, TypeKind.UNION)
    if suffix:
        is_in_place = kind == TypeKind.ARRAY
    is_event_field = scope.kind is Kind.EVENT and not value.byte_offsets and kind == TypeKind.ARRAY and not suffix
    if is_in_place and not value.is_memory and value.base != "$comm" and not is_event_field:
        raise scope.fail(expr.span, f"{value.base} holds this by value: there is no string in it")
    fetch = value.fetch(word + suffix) if is_in_place else value.fetch_behind(word + suffix)
    return Reading(fetch, Opaque("an array of strings") if suffix else Text())


def _readable(value: Value, expr: syntax.Expr, scope: Scope) -> Value:
    """The value as one that the kernel can read as any type: an address only where it holds one ready."""
    if not value.is_address:
        return value
    *before, last = value.byte_offsets
    if last or (not before and value.base.startswith("@")):
        raise scope.fail(expr.span, "the kernel adds nothing to an address that it shows", "leave the type out")
    return value.ready()


def _address(value: Value, letter: Format | None, expr: syntax.Expr, scope: Scope) -> Reading:
    """`&x`: the kernel fetches the pointer that it is counted from, the rest is added when it is shown."""
    bare = underlying(value.type) if value.type is not None else None
    if bare is not None and bare.kind == TypeKind.POINTER and is_char(bare.type) and letter is None:
        return Reading(value.fetch(_string_type(value, bare, expr.span, scope)), Text())
    *before, last = value.byte_offsets
    if not before and value.base.startswith("@"):
        raise scope.fail(expr.span, f"the address of {value.base} is fixed: no event tells it", "see /proc/kallsyms")
    reading = _number(value.ready(), 8, letter, "x")
    if not last:
        return reading
    assert isinstance(reading.operand, Number)
    return replace(reading, addend=last, operand=replace(reading.operand, addend=last, fetch=None))


def _string_type(value: Value, pointer: Type, span: Span, scope: Scope) -> str:
    """The kernel's type of the string behind a pointer that the value is, or that is in an array that it is."""
    if not value.is_user_pointer and not is_user(pointer.type):
        return "string"
    scope.require(Feature.USTRING, span)
    return "ustring"


def _scalar(value: Value, bare: Type, letter: Format | None, expr: syntax.Expr, scope: Scope) -> Reading:
    """An integer, an enum or a pointer, stripped of typedefs."""
    size = size_of(bare) or (4 if bare.kind == TypeKind.ENUM else 0)
    if size not in (1, 2, 4, 8):
        raise scope.fail(expr.span, f"{a_spelled(bare)} has {size} bytes: the kernel fetches 1, 2, 4 or 8")
    if _is_shown_as_symbol(value, bare, letter, scope):
        return Reading(value.fetch("symbol"), Number(64, False, is_code=True))
    reading = _number(value, size, letter, _shown(bare), _is_code(bare))
    if letter is None and value.base == "$retval" and not value.byte_offsets and not scope.is_user:
        is_error = bare.kind == TypeKind.POINTER or (bare.kind == TypeKind.INT and bare.is_signed and size >= 4)
        reading = replace(reading, has_errors=is_error)
    if bare.kind != TypeKind.ENUM or not isinstance(reading.operand, Number):
        return reading
    names = enumerators_of(bare)
    operand = replace(reading.operand, enumerators=names)
    return replace(reading, operand=operand, enumerators=names if letter is None else ())


def _is_shown_as_symbol(value: Value, bare: Type, letter: Format | None, scope: Scope) -> bool:
    """Is this a pointer to a function, whose name the kernel can show, and are there characters left to ask for it?"""
    if bare.kind != TypeKind.POINTER or underlying(bare.type).kind != TypeKind.FUNCTION or letter is not None:
        return False
    is_known = not scope.is_user and scope.features().has(Feature.SYMBOL)
    return is_known and too_long(value.fetch("symbol")) is None


def _shown(bare: Type) -> str:
    """The letter of the kernel's type that shows a scalar as C knows it."""
    match bare.kind:
        case TypeKind.POINTER:
            return "x"
        case TypeKind.ENUM:
            return "s" if bare.is_complete() and bare.type.is_signed else "u"
        case TypeKind.INT:
            return "s" if bare.is_signed else "u"
        case _:
            return "u"


def _is_code(bare: Type) -> bool:
    """May this hold the address of a function?"""
    if bare.kind == TypeKind.POINTER:
        return underlying(bare.type).kind in (TypeKind.FUNCTION, TypeKind.VOID)
    return bare.kind == TypeKind.INT and not bare.is_signed and size_of(bare) == 8


def _number(value: Value, size: int, letter: Format | None, default: str, is_code: bool = True) -> Reading:
    shown = _LETTERS[letter] if letter is not None else default
    fetch = value.fetch(f"{shown}{size * 8}")
    return Reading(fetch, Number(size * 8, shown == "s", fetch=fetch, is_code=is_code))


def _bit_field(
    value: Value, bits: tuple[int, int], letter: Format | None, type_: Type, span: Span, scope: Scope
) -> Reading:
    first, width = bits
    container = next((size for size in (8, 16, 32, 64) if first + width <= size), None)
    if container is None:
        raise scope.fail(span, f"these {width} bits lie across 9 bytes: the kernel fetches 8")
    if scope.machine.byteorder == "big":  # counted from the most significant bit; the kernel counts from the least
        container = container if value.is_memory else 64
        first = container - first - width
    bare = underlying(type_)
    is_signed = letter is Format.SIGNED or (letter is None and bare.kind == TypeKind.INT and bare.is_signed)
    fetch = value.fetch(f"b{width}@{first}/{container}")
    names = enumerators_of(bare) if bare.kind == TypeKind.ENUM else ()
    operand = Number(width, is_signed, None, is_bit_field=True, enumerators=names)
    # The kernel prints a bit field as an unsigned decimal: what else is asked for is made of that.
    other_form = "x" if letter is Format.HEXADECIMAL else "s" if is_signed else ""
    shown_names = names if letter is None else ()
    return Reading(fetch, operand, width if other_form else None, other_form, shown_names)


def _array(value: Value, bare: Type, letter: Format | None, expr: syntax.Expr, scope: Scope) -> Reading:
    if is_char(bare.type) and not isinstance(expr, syntax.Slice):
        if letter is not None:
            raise scope.fail(expr.span, f"a string has no number to show as {letter.value}", "name a character: [0]")
        return Reading(value.fetch("string"), Text())
    element = underlying(sole_scalar(bare.type))
    size = size_of(element)
    is_float = element.kind == TypeKind.FLOAT and size in (4, 8)
    is_scalar = element.kind in (TypeKind.INT, TypeKind.BOOL, TypeKind.ENUM, TypeKind.POINTER) and size in (1, 2, 4, 8)
    if not bare.length or bare.length > MAX_ARRAY or not (is_scalar or is_float):
        raise _no_scalar(bare, expr, scope)
    check_array(value, bare.length, expr.span, scope)
    if element.kind == TypeKind.POINTER and is_char(element.type) and letter is None:
        fetch_type = f"{_string_type(value, element, expr.span, scope)}[{bare.length}]"
        return Reading(value.fetch(fetch_type), Opaque("an array of strings"))
    names = enumerators_of(element) if element.kind == TypeKind.ENUM and letter is None else ()
    shown = _LETTERS[letter] if letter is not None else _shown(element)
    fetch = value.fetch(f"{shown}{(size or 0) * 8}[{bare.length}]")
    return Reading(fetch, Opaque("an array"), letter="f" if is_float and letter is None else "", enumerators=names)


def check_array(value: Value, count: int, span: Span, scope: Scope) -> None:
    """CompileError where the kernel fetches no array of so many elements from there."""
    scope.require(Feature.ARRAY, span)
    if scope.machine.has_overlapping_addresses and len(value.byte_offsets) - 1 in value.user_reads:
        raise scope.fail(span, f"the kernel fetches no arrays from a process's memory on {scope.machine.name}")
    if not 1 <= count <= MAX_ARRAY:
        raise scope.fail(span, f"the kernel fetches arrays of 1 to {MAX_ARRAY} elements")
    if not value.is_memory:
        raise scope.fail(span, f"{value.base} is no memory: the kernel fetches arrays from memory only")


def _no_scalar(type_: Type, expr: syntax.Expr, scope: Scope) -> Exception:
    span, bare = expr.span, underlying(type_)
    match bare.kind:
        case TypeKind.STRUCT | TypeKind.UNION:
            names = member_names(bare) if bare.is_complete() else []
            hints = [f"its members are {listed(names)}"] if names else []
            if spelled(bare) == "struct in6_addr":
                hints = ["for an IPv6 address let its name begin with ip6_"]
            return scope.fail(span, f"this is a whole {spelled(type_)}: name a member of it", *hints)
        case TypeKind.ARRAY if scope.kind is Kind.EVENT and not bare.length:
            return scope.fail(span, "the kernel's probes cannot show an array whose length each event has for itself")
        case TypeKind.ARRAY:
            count = f"{bare.length} elements" if bare.length else "elements"
            hints = ["name one, [0], or some, [0:8]"]
            if size_of(bare.type) == 1 and isinstance(expr, syntax.Member):
                hints.append(f"for a string: !(char[]){expr.name}")
            return scope.fail(span, f"this is an array, {spelled(type_)}, of {count}", *hints)
        case TypeKind.VOID:
            return scope.fail(span, f"{scope.function} returns nothing")
        case _:
            return scope.fail(span, f"the kernel cannot fetch {a_spelled(type_)}")
