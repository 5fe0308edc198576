"""The syntax tree of the probe language: what was written, with a span at every node, nothing resolved.

Spans do not count in comparisons: two trees are equal when they say the same.
"""

import dataclasses
from enum import Enum
from typing import TypeAlias

from surftrace.lang.source import Source, Span
from surftrace.record import record


class Kind(Enum):
    """What a probe watches, by the letter it is written with."""

    ENTRY = "p"
    RETURN = "r"
    EVENT = "e"
    USER_ENTRY = "P"
    USER_RETURN = "R"


class Format(Enum):
    """How a value is shown, by the letter before an expression."""

    SIGNED = "S"
    UNSIGNED = "U"
    HEXADECIMAL = "X"


@record
class CType:
    """A C type's name as it was written: `struct file *`."""

    text: str
    span: Span = dataclasses.field(compare=False)


@record
class Argument:
    """`%0`: the function's argument of that index."""

    index: int
    span: Span = dataclasses.field(compare=False)


@record
class Register:
    """`%di`: a register by its name, without the percent sign."""

    name: str
    span: Span = dataclasses.field(compare=False)


@record
class Name:
    """`skb`: a parameter by its name."""

    name: str
    span: Span = dataclasses.field(compare=False)


@record
class Variable:
    """`$retval`, `$comm`, `$stack`, `$stackN`, `$argN`: the kernel's own variables, with their `$`."""

    name: str
    span: Span = dataclasses.field(compare=False)


@record
class Symbol:
    """`@symbol+8`: memory at a kernel symbol."""

    name: str
    byte_offset: int
    span: Span = dataclasses.field(compare=False)


@record
class Address:
    """`@0xffffffff8647bc30`: memory at an address."""

    address: int
    span: Span = dataclasses.field(compare=False)


@record
class Cast:
    """`!(TYPE)base`: the base, whatever it is, taken as TYPE."""

    type: CType
    operand: "Expr"
    span: Span = dataclasses.field(compare=False)


@record
class Conversion:
    """`(TYPE)operand`: C's cast, which keeps the value where the type can hold it."""

    type: CType
    operand: "Expr"
    span: Span = dataclasses.field(compare=False)


@record
class Dereference:
    """`*operand`."""

    operand: "Expr"
    span: Span = dataclasses.field(compare=False)


@record
class AddressOf:
    """`&operand`."""

    operand: "Expr"
    span: Span = dataclasses.field(compare=False)


@record
class ContainerOf:
    """`container_of(operand, TYPE, member)`; `members` are the names of `member.of.member`."""

    operand: "Expr"
    type: CType
    members: tuple[str, ...]
    member_span: Span = dataclasses.field(compare=False)
    span: Span = dataclasses.field(compare=False)


@record
class Packet:
    """`@(struct HDR *)lN base`: a header in the packet of a `struct sk_buff *`; layer `l3` where none is written."""

    type: CType
    layer: str
    skb: "Expr"
    span: Span = dataclasses.field(compare=False)


@record
class Member:
    """`operand->name` or `operand.name`; `type` where it is taken as another: `operand->!(TYPE)name`."""

    operand: "Expr"
    name: str
    is_arrow: bool
    type: CType | None
    operator_span: Span = dataclasses.field(compare=False)
    name_span: Span = dataclasses.field(compare=False)
    span: Span = dataclasses.field(compare=False)


@record
class Index:
    """`operand[index]`."""

    operand: "Expr"
    index: int
    index_span: Span = dataclasses.field(compare=False)
    span: Span = dataclasses.field(compare=False)


@record
class Slice:
    """`operand[start:stop]`: the elements from `start` up to the one before `stop`."""

    operand: "Expr"
    start: int
    stop: int
    bounds_span: Span = dataclasses.field(compare=False)
    span: Span = dataclasses.field(compare=False)


Expr: TypeAlias = (
    Argument | Register | Name | Variable | Symbol | Address | Cast | Conversion | Dereference | AddressOf
    | ContainerOf | Packet | Member | Index | Slice
)  # fmt: skip


def innermost(expr: Expr) -> Expr:
    """What an expression begins with: the `skb` of `(u8)skb->dev->name[0]`."""
    while isinstance(expr, (Cast, Conversion, Dereference, AddressOf, ContainerOf, Member, Index, Slice)):
        expr = expr.operand
    return expr


@record
class FetchType:
    """`:u32`: a type of the kernel's own, after a value."""

    text: str
    span: Span = dataclasses.field(compare=False)


@record
class Assignment:
    """`[name=][S|U|X]value[:type]`: one argument of a probe; `name` is None where it was left out."""

    name: str | None
    format: Format | None
    value: Expr
    type: FetchType | None
    name_span: Span = dataclasses.field(compare=False)
    span: Span = dataclasses.field(compare=False)


class Comparison(Enum):
    """The kernel's filter operators."""

    EQUAL = "=="
    NOT_EQUAL = "!="
    LESS = "<"
    LESS_EQUAL = "<="
    GREATER = ">"
    GREATER_EQUAL = ">="
    BITS = "&"
    MATCH = "~"


@record
class Literal:
    """The right side of a comparison. `quote` is the quote it was written in, empty for a bare word."""

    text: str
    quote: str
    span: Span = dataclasses.field(compare=False)


@record
class Compare:
    """`left == literal`: `left` is an argument's name, a field of the event, or any value."""

    left: Expr
    operator: Comparison
    literal: Literal
    operator_span: Span = dataclasses.field(compare=False)
    span: Span = dataclasses.field(compare=False)


@record
class Not:
    """`!(operand)`."""

    operand: "Filter"
    span: Span = dataclasses.field(compare=False)


@record
class And:
    """`a && b && c`."""

    operands: tuple["Filter", ...]
    span: Span = dataclasses.field(compare=False)


@record
class Or:
    """`a || b || c`."""

    operands: tuple["Filter", ...]
    span: Span = dataclasses.field(compare=False)


Filter: TypeAlias = Compare | Not | And | Or


@record
class FunctionTarget:
    """`module:func+0x10`: a place in a kernel function; `module` is empty where none is written."""

    module: str
    name: str
    byte_offset: int
    name_span: Span = dataclasses.field(compare=False)
    span: Span = dataclasses.field(compare=False)


@record
class PatternTarget:
    """`module:tcp_v4_*`: every kernel function that a glob matches."""

    module: str
    pattern: str
    span: Span = dataclasses.field(compare=False)


@record
class LineTarget:
    """`module:func:12` or `module:file.c:300`: a line, counted from that of the function's start, or in a file."""

    name: str
    line: int
    span: Span = dataclasses.field(compare=False)
    module: str = ""


@record
class AddressTarget:
    """`0xffffffff81234567`: a place in the kernel's code."""

    address: int
    span: Span = dataclasses.field(compare=False)


@record
class EventTarget:
    """`system/event`: a trace event."""

    system: str
    name: str
    span: Span = dataclasses.field(compare=False)


@record
class UserTarget:
    """`object:func+0x10`: a place in a function of a program or a library.

    With a `line` one counted from that of the function's start, or of the source file that `name` is.
    """

    object: str
    name: str
    byte_offset: int
    span: Span = dataclasses.field(compare=False)
    line: int | None = None


Target: TypeAlias = FunctionTarget | PatternTarget | LineTarget | AddressTarget | EventTarget | UserTarget


@record
class Probe:
    """One probe line."""

    kind: Kind
    target: Target
    arguments: tuple[Assignment, ...]
    filter: Filter | None
    source: Source = dataclasses.field(compare=False)
    span: Span = dataclasses.field(compare=False)
