"""Filters: comparisons as written in, comparisons as the kernel makes them out; what it would do wrong is an error."""

import re
from collections.abc import Callable, Collection, Iterable, Mapping

from surftrace.compiler.bytewise import ordered, same_bits, signed_order
from surftrace.compiler.fetch import Fetch
from surftrace.compiler.operands import COMMON_OPERANDS, Bytes, Number, Opaque, Operand, Text, Unknown
from surftrace.compiler.resolved import AllOf, AnyOf, Condition, NoneOf, Test
from surftrace.compiler.scope import collect, listed
from surftrace.compiler.values import ByteOrder, Prefix, integer, read_network
from surftrace.lang import syntax
from surftrace.lang.printing import print_expr
from surftrace.lang.source import CompileError, Diagnostic, Source, Span
from surftrace.lang.syntax import Comparison
from surftrace.names import did_you_mean, nearest
from surftrace.record import record

# Linux kernel/trace/trace_events_filter.c: MAX_FILTER_STR_VAL is 256 with its terminator.
MAX_STRING = 255

_STRING_OPERATORS = (Comparison.EQUAL, Comparison.NOT_EQUAL, Comparison.MATCH)
_EQUALITIES = (Comparison.EQUAL, Comparison.NOT_EQUAL)
_ORDERED = (Comparison.LESS, Comparison.LESS_EQUAL, Comparison.GREATER, Comparison.GREATER_EQUAL)
_NAME = r"[A-Za-z_][A-Za-z0-9_.]*"
_WORDS = {"true": 1, "false": 0, "NULL": 0}


@record
class Surroundings:
    """What a filter's comparisons may use besides the probe's own fields.

    `operands` are the fields by name, None where an event's fields are not known; `names` are those of parameters or
    fields of the event that may be compared besides, `is_name` knows variables in scope as well. `read` tells what the
    kernel fetches for any other value, `hide` gives the name of a hidden field that holds what is fetched. `enumerator`
    and `function` look a name up: a function's is its address, or its name where the kernel's filter takes that, None
    where there is none of that name, and a ValueError where the kernel cannot compare with it. `enumerators` are all
    names that `enumerator` knows.
    `unknown_text` is what a field is that a string is compared with, where the fields are not known.
    """

    source: Source
    byteorder: ByteOrder
    operands: Mapping[str, Operand] | None
    names: Callable[[], Collection[str]]
    is_name: Callable[[str], bool]
    read: Callable[[syntax.Compare], tuple[Fetch, Operand]]
    hide: Callable[[Fetch, Span], str]
    enumerator: Callable[[str], tuple[int, ...]]
    enumerators: Callable[[], Iterable[str]]
    function: Callable[[str], int | str | None]
    unknown_text: Operand = Text()


def resolve_filter(tree: syntax.Filter, surroundings: Surroundings) -> Condition:
    """The filter as the kernel's. CompileError with a diagnostic for each comparison that it would get wrong."""
    resolver = _Resolver(surroundings)
    diagnostics: list[Diagnostic] = []
    condition = resolver.condition(tree, diagnostics)
    if condition is None:
        raise CompileError(diagnostics)
    return condition


def _glob(pattern: str) -> str:
    """The pattern, so written that the kernel takes its first character for what it is.

    Linux kernel/trace/trace_events_filter.c, filter_parse_regex: a leading digit makes it an index, a leading `!` the
    opposite of the rest; brackets and a backslash are for both what they are in any glob. A pattern that is nothing but
    stars and plain text is looked for in the array that holds the string, past the string's own end (regex_match_end,
    regex_match_middle): a character in brackets makes it a glob.
    """
    if pattern[:1].isdigit():
        return f"[{pattern[0]}]{pattern[1:]}"
    if match := re.fullmatch(r"\*([^*?\[\\]*?)([^*?\[\]\\!^])([^*?\[\\]*\*?)", pattern):
        return f"*{match[1]}[{match[2]}]{match[3]}"
    return f"\\{pattern}" if pattern.startswith("!") else pattern


class _Resolver:
    """The walk over one filter."""

    def __init__(self, surroundings: Surroundings) -> None:
        self.surroundings = surroundings

    def condition(self, tree: syntax.Filter, diagnostics: list[Diagnostic]) -> Condition | None:
        match tree:
            case syntax.Compare():
                try:
                    return self.compare(tree)
                except CompileError as error:
                    collect(error, diagnostics)
                    return None
            case syntax.Not():
                operand = self.condition(tree.operand, diagnostics)
                return operand and NoneOf(operand)
            case syntax.And() | syntax.Or():
                operands = [self.condition(operand, diagnostics) for operand in tree.operands]
                known = tuple(operand for operand in operands if operand is not None)
                if len(known) < len(operands):
                    return None
                return AllOf(known) if isinstance(tree, syntax.And) else AnyOf(known)

    def compare(self, tree: syntax.Compare) -> Condition:
        name, operand = self.left(tree)
        match operand:
            case Text(is_user):
                # Linux Documentation/trace/events.rst, "Filtering on a user string".
                return self.compare_text(tree, (lambda: f"{name()}.ustring") if is_user else name)
            case Number(prefix=None):
                return self.compare_number(tree, name, operand)
            case Number(prefix=prefix) | Bytes(prefix=prefix):
                assert prefix is not None
                return self.compare_bytes(tree, name, operand, prefix)
            case Unknown():
                return Test(name(), tree.operator, 0, False, tree.span)
            case Opaque(what):
                raise self.fail(tree.left.span, f"'{print_expr(tree.left)}' is {what}: the kernel cannot compare it")

    def left(self, tree: syntax.Compare) -> tuple[Callable[[], str], Operand]:
        """What is compared: one of the probe's fields by its name, else any value, whose field is made when needed."""
        operands = self.surroundings.operands
        if not isinstance(tree.left, syntax.Name):
            return self.value(tree)
        name = tree.left.name
        if operands is None:
            # The event's fields are not known here: what was written tells the type, the kernel checks it.
            number = Number(64, tree.literal.text.startswith("-"))
            unknown = self.surroundings.unknown_text if _is_text(tree.literal) else number
            return lambda: name, COMMON_OPERANDS.get(name, unknown)
        if name in operands:
            return lambda: name, operands[name]
        if self.surroundings.is_name(name):
            return self.value(tree)
        names = [*(other for other in operands if other not in COMMON_OPERANDS), "common_pid", "CPU", "COMM"]
        names.extend(each for each in self.surroundings.names() if each not in names)
        hints = did_you_mean(nearest(name, names)) or (f"there are {listed(names, 16)}",)
        raise self.fail(tree.left.span, f"no field '{name}' to filter on", *hints)

    def value(self, tree: syntax.Compare) -> tuple[Callable[[], str], Operand]:
        fetch, operand = self.surroundings.read(tree)
        return lambda: self.surroundings.hide(fetch, tree.left.span), operand

    def compare_text(self, tree: syntax.Compare, name: Callable[[], str]) -> Condition:
        literal, shown = tree.literal, print_expr(tree.left)
        if tree.operator not in _STRING_OPERATORS:
            raise self.fail(tree.operator_span, f"'{shown}' is a string: it compares with ==, != and ~")
        if not literal.quote:
            hint = f'quote it: "{literal.text}"' if literal.text != "NULL" else "compare the pointer: (u64)..."
            raise self.fail(literal.span, f"'{shown}' is a string, {literal.text} is none", hint)
        if len(literal.text.encode(errors="surrogateescape")) > MAX_STRING:
            raise self.fail(literal.span, f"the kernel compares strings of at most {MAX_STRING} bytes")
        if not literal.text.isprintable():
            raise self.fail(literal.span, "the kernel's filter takes no control characters in a string")
        text = _glob(literal.text) if tree.operator is Comparison.MATCH else literal.text
        return Test(name(), tree.operator, text, False, tree.span)

    def compare_number(self, tree: syntax.Compare, name: Callable[[], str], number: Number) -> Condition:
        literal, shown = tree.literal, print_expr(tree.left)
        if tree.operator is Comparison.MATCH:
            raise self.fail(tree.operator_span, f"'{shown}' is a number: ~ matches strings")
        if tree.operator is Comparison.BITS and not number.has_bits:
            raise self.fail(tree.operator_span, f"the kernel compares '{shown}' with == != < <= > >= only")
        if number.addend and tree.operator not in _EQUALITIES:
            raise self.fail(
                tree.operator_span, f"'{shown}' is an address that nobody reads: it compares with == and !="
            )
        try:
            value = self.number(tree, number)
            if isinstance(value, str):
                if tree.operator not in _EQUALITIES:
                    raise ValueError(f"'{value}' is a function: it compares with == and !=")
                return Test(name(), tree.operator, value, False, tree.span, is_function=True)
            constant = self.checked(tree, value, number)
            if number.is_bit_field and number.is_signed and tree.operator in _ORDERED:
                return self.known(tree, signed_order(name(), tree.operator, value, number.bits, tree.span))
        except ValueError as error:
            raise self.fail(literal.span, str(error), *self.names_like(literal, number)) from None
        is_so = _foregone(tree.operator, value, _range(number))
        if is_so is not None:
            return self.known(tree, is_so)
        return Test(name(), tree.operator, constant, "x" in literal.text.lower()[:3], tree.span)

    def compare_bytes(
        self, tree: syntax.Compare, name: Callable[[], str], operand: Number | Bytes, prefix: Prefix
    ) -> Condition:
        literal, shown = tree.literal, print_expr(tree.left)
        byteorder = self.surroundings.byteorder
        is_equal = tree.operator is Comparison.EQUAL
        if tree.operator is Comparison.MATCH or (tree.operator is Comparison.BITS and isinstance(operand, Bytes)):
            message = f"'{shown}' is {prefix.meaning}: it compares with == != < <= > >="
            raise self.fail(tree.operator_span, message)
        fetch = operand.fetch
        assert fetch is not None
        try:
            if literal.quote:
                raise ValueError(f"'{shown}' is {prefix.meaning}, not a string")
            if "/" in literal.text and prefix.has_networks:
                data, bits = read_network(prefix, literal.text)
            else:
                data, bits = prefix.read(literal.text), 8 * prefix.size
        except ValueError as error:
            raise self.fail(literal.span, str(error)) from None
        if bits < 8 * prefix.size and tree.operator not in _EQUALITIES:
            raise self.fail(tree.operator_span, f"'{shown}' is in a network or not: it compares with == and !=")
        if tree.operator in _ORDERED:
            return self.compare_order(tree, fetch, data)
        if isinstance(operand, Bytes) or bits < 8 * prefix.size:
            return same_bits(fetch, data, bits, byteorder, self.hide(tree), tree.span, is_equal)
        constant = int.from_bytes(data, byteorder)
        is_hexadecimal = "x" in literal.text.lower() or prefix.text == "ip_"
        return Test(name(), tree.operator, constant, is_hexadecimal, tree.span)

    def compare_order(self, tree: syntax.Compare, fetch: Fetch, data: bytes) -> Condition:
        byteorder = self.surroundings.byteorder
        return self.known(tree, ordered(fetch, tree.operator, data, byteorder, self.hide(tree), tree.span))

    def known(self, tree: syntax.Compare, result: Condition | bool) -> Condition:
        if isinstance(result, bool):
            raise self.fail(tree.span, f"this is {'always' if result else 'never'} so, whatever the value")
        return result

    def hide(self, tree: syntax.Compare) -> Callable[[Fetch], str]:
        return lambda fetch: self.surroundings.hide(fetch, tree.span)

    def number(self, tree: syntax.Compare, number: Number) -> int | str:
        """The number that the right side stands for, or the name of a function."""
        literal, shown = tree.literal, print_expr(tree.left)
        if literal.quote:
            if _is_text(literal):
                hint = f": a character is written '{literal.text}'" if len(literal.text) == 1 else ""
                raise ValueError(f"'{shown}' is a number, not a string{hint}")
            if ord(literal.text) > 127:
                raise ValueError(f"'{literal.text}' is more than one byte")
            return ord(literal.text)
        if not re.fullmatch(_NAME, literal.text):
            return integer(literal.text)
        for value, name in number.enumerators:
            if name == literal.text:
                return value
        if literal.text in _WORDS:
            return _WORDS[literal.text]
        if values := self.surroundings.enumerator(literal.text):
            if len(values) > 1:
                numbers = listed(map(str, values), 20)
                raise ValueError(f"enums give '{literal.text}' several values, {numbers}: write the number")
            return values[0]
        is_pointer = number.is_code and number.bits == 64 and not number.is_signed
        function = self.surroundings.function(literal.text) if is_pointer else None
        if function is None:
            raise ValueError(f"'{literal.text}' is not a number, nor the name of one")
        return function

    def checked(self, tree: syntax.Compare, value: int, number: Number) -> int:
        """The constant for the kernel: it does not look whether the field can hold it at all."""
        bits, shown = number.bits, print_expr(tree.left)
        low, high = _range(number)
        if not low <= value <= high:
            sign = "signed" if number.is_signed else "unsigned"
            raise ValueError(f"'{shown}' has {bits} {sign} bits: {tree.literal.text} does not fit")
        if number.is_bit_field and number.is_signed:
            return value & (1 << bits) - 1
        return value - number.addend & (1 << 64) - 1 if number.addend else value

    def names_like(self, literal: syntax.Literal, number: Number) -> tuple[str, ...]:
        """The hint with the names that a value of this type may have, or one of any type where it has none."""
        if literal.quote:
            return ()
        if not number.enumerators:
            is_unknown = re.fullmatch(_NAME, literal.text) and not self.surroundings.enumerator(literal.text)
            return did_you_mean(nearest(literal.text, self.surroundings.enumerators())) if is_unknown else ()
        names = [name for _, name in number.enumerators]
        return did_you_mean(nearest(literal.text, names)) or (f"its values are {listed(names)}",)

    def fail(self, span: Span, message: str, *hints: str) -> CompileError:
        return CompileError([Diagnostic(self.surroundings.source, span, message, tuple(hints))])


def _range(number: Number) -> tuple[int, int]:
    """The least and the greatest value that the field can have."""
    half = 1 << number.bits - 1
    return (-half, half - 1) if number.is_signed else (0, 2 * half - 1)


def _foregone(operator: Comparison, value: int, limits: tuple[int, int]) -> bool | None:
    """Whether every value in those limits compares so; None where some do and some do not."""
    low, high = limits
    if (operator, value) in ((Comparison.LESS, low), (Comparison.GREATER, high), (Comparison.BITS, 0)):
        return False
    return True if (operator, value) in ((Comparison.GREATER_EQUAL, low), (Comparison.LESS_EQUAL, high)) else None


def _is_text(literal: syntax.Literal) -> bool:
    """Is this a string, and no character in single quotes?"""
    return bool(literal.quote) and not (literal.quote == "'" and len(literal.text) == 1)
