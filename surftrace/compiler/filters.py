"""Filters: comparisons as written in, comparisons as the kernel makes them out; what it would do wrong is an error."""

from collections.abc import Mapping
from dataclasses import dataclass

from surftrace.compiler.resolved import AllOf, AnyOf, Condition, NoneOf, Test
from surftrace.compiler.scope import collect, listed
from surftrace.compiler.values import ByteOrder, Prefix, integer, read_number
from surftrace.kernel.types import nearest
from surftrace.lang import syntax
from surftrace.lang.source import CompileError, Diagnostic, Source, Span, did_you_mean
from surftrace.lang.syntax import Comparison

# Linux kernel/trace/trace_events_filter.c: MAX_FILTER_STR_VAL is 256 with its terminator.
MAX_STRING = 255

_STRING_OPERATORS = (Comparison.EQUAL, Comparison.NOT_EQUAL, Comparison.GLOB)
_ORDERED = (Comparison.LESS, Comparison.LESS_EQUAL, Comparison.GREATER, Comparison.GREATER_EQUAL)


@dataclass(frozen=True, slots=True)
class Number:
    """A field that the kernel compares as a number of that many bits. `is_bit_field`: stored without its sign."""

    bits: int
    is_signed: bool
    prefix: Prefix | None = None
    is_bit_field: bool = False


@dataclass(frozen=True, slots=True)
class Text:
    """A field that the kernel compares as a string."""


@dataclass(frozen=True, slots=True)
class Opaque:
    """A field that the kernel cannot compare with anything that makes sense: an array, a struct."""

    what: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """A field with an error of its own: nothing more is said of its comparisons."""


Operand = Number | Text | Opaque | Unknown

# What every event has: Linux kernel/trace/trace_events.c, trace_define_generic_fields and trace_define_common_fields.
COMMON_OPERANDS: Mapping[str, Operand] = {
    "common_type": Number(16, False),
    "common_flags": Number(8, False),
    "common_preempt_count": Number(8, False),
    "common_pid": Number(32, True),
    "CPU": Number(32, True),
    "cpu": Number(32, True),
    "COMM": Text(),
    "comm": Text(),
}


def resolve_filter(
    tree: syntax.Filter, operands: Mapping[str, Operand] | None, source: Source, byteorder: ByteOrder
) -> Condition:
    """The filter over these fields; None as operands where the event's fields are not known.

    Raises CompileError with a diagnostic for each comparison that the kernel would refuse or get wrong.
    """
    resolver = _Resolver(source, operands, byteorder)
    diagnostics: list[Diagnostic] = []
    condition = resolver.condition(tree, diagnostics)
    if condition is None:
        raise CompileError(diagnostics)
    return condition


def _glob(pattern: str) -> str:
    """The pattern, so written that the kernel takes its first character for what it is.

    Linux kernel/trace/trace_events_filter.c, filter_parse_regex: a leading digit makes it an index, a leading `!` the
    opposite of the rest; brackets and a backslash are for both what they are in any glob.
    """
    if pattern[:1].isdigit():
        return f"[{pattern[0]}]{pattern[1:]}"
    return f"\\{pattern}" if pattern.startswith("!") else pattern


class _Resolver:
    def __init__(self, source: Source, operands: Mapping[str, Operand] | None, byteorder: ByteOrder) -> None:
        self.source = source
        self.operands = operands
        self.byteorder = byteorder

    def condition(self, tree: syntax.Filter, diagnostics: list[Diagnostic]) -> Condition | None:
        if isinstance(tree, syntax.Compare):
            try:
                return self.compare(tree)
            except CompileError as error:
                collect(error, diagnostics)
                return None
        if isinstance(tree, syntax.Not):
            inner = self.condition(tree.operand, diagnostics)
            return None if inner is None else NoneOf(inner)
        operands = [self.condition(operand, diagnostics) for operand in tree.operands]
        known = tuple(operand for operand in operands if operand is not None)
        if len(known) < len(operands):
            return None
        return AllOf(known) if isinstance(tree, syntax.And) else AnyOf(known)

    def compare(self, tree: syntax.Compare) -> Condition:
        operand = self.operand(tree)
        match operand:
            case Text():
                return self.compare_text(tree)
            case Number():
                return self.compare_number(tree, operand)
            case Unknown():
                return Test(tree.field, tree.operator, 0, False, tree.span)
            case Opaque(what):
                raise self.fail(tree.field_span, f"'{tree.field}' is {what}: the kernel cannot compare it")

    def operand(self, tree: syntax.Compare) -> Operand:
        if self.operands is None:
            # The event's fields are not known here: what was written tells the type, the kernel checks it.
            number = Number(64, tree.literal.text.startswith("-"))
            return Text() if self.is_text(tree.literal) else COMMON_OPERANDS.get(tree.field, number)
        operand = self.operands.get(tree.field)
        if operand is None:
            names = [*(name for name in self.operands if name not in COMMON_OPERANDS), "common_pid", "CPU", "COMM"]
            hints = did_you_mean(nearest(tree.field, self.operands)) or (f"there are {listed(names, 16)}",)
            raise self.fail(tree.field_span, f"no field '{tree.field}' to filter on", *hints)
        return operand

    def is_text(self, literal: syntax.Literal) -> bool:
        return bool(literal.quote) and not (literal.quote == "'" and len(literal.text) == 1)

    def compare_text(self, tree: syntax.Compare) -> Condition:
        literal = tree.literal
        if tree.operator not in _STRING_OPERATORS:
            raise self.fail(tree.operator_span, f"'{tree.field}' is a string: it compares with ==, != and ~")
        if not literal.quote:
            hint = f'quote it: "{literal.text}"'
            raise self.fail(literal.span, f"'{tree.field}' is a string, {literal.text} is none", hint)
        if len(literal.text.encode(errors="surrogateescape")) > MAX_STRING:
            raise self.fail(literal.span, f"the kernel compares strings of at most {MAX_STRING} bytes")
        if not literal.text.isprintable():
            raise self.fail(literal.span, "the kernel's filter takes no control characters in a string")
        text = _glob(literal.text) if tree.operator is Comparison.GLOB else literal.text
        return Test(tree.field, tree.operator, text, False, tree.span)

    def compare_number(self, tree: syntax.Compare, number: Number) -> Condition:
        literal = tree.literal
        if tree.operator is Comparison.GLOB:
            raise self.fail(tree.operator_span, f"'{tree.field}' is a number: ~ matches strings")
        prefix = number.prefix
        if prefix is not None and prefix.size > 1 and tree.operator in _ORDERED:
            message = f"'{tree.field}' holds bytes in network order: the kernel cannot tell which is larger"
            raise self.fail(tree.operator_span, message, "compare with == or !=")
        try:
            constant = self.constant(tree, number)
        except ValueError as error:
            raise self.fail(literal.span, str(error)) from None
        is_hexadecimal = "x" in literal.text.lower() or (prefix is not None and prefix.text == "ip_")
        return Test(tree.field, tree.operator, constant, is_hexadecimal, tree.span)

    def constant(self, tree: syntax.Compare, number: Number) -> int:
        literal = tree.literal
        if literal.quote:
            if self.is_text(literal):
                raise ValueError(f"'{tree.field}' is a number, not a string")
            value = ord(literal.text)
            if value > 127:
                raise ValueError(f"'{literal.text}' is more than one byte")
        elif number.prefix is not None:
            return read_number(number.prefix, literal.text, self.byteorder)
        else:
            value = integer(literal.text)
        low, high = (
            (-(1 << number.bits - 1), (1 << number.bits - 1) - 1) if number.is_signed else (0, (1 << number.bits) - 1)
        )
        if not low <= value <= high:
            sign = "signed" if number.is_signed else "unsigned"
            raise ValueError(f"'{tree.field}' has {number.bits} {sign} bits: {literal.text} does not fit")
        if number.is_bit_field and number.is_signed:
            if tree.operator in _ORDERED:
                raise ValueError(f"'{tree.field}' is a signed bit field: it compares with == and !=")
            return value & (1 << number.bits) - 1
        return value

    def fail(self, span: Span, message: str, *hints: str) -> CompileError:
        return CompileError([Diagnostic(self.source, span, message, tuple(hints))])
