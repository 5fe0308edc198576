"""A path of members in a struct in, where each of them is and of which type out: `dev->name` in struct sk_buff."""

import re

from drgn import TypeKind

from surftrace.compiler.scope import listed
from surftrace.kernel.declarations import declared
from surftrace.kernel.layout import LayoutLine
from surftrace.kernel.types import (
    Field,
    KernelTypes,
    Type,
    a_spelled,
    field_of,
    is_aggregate,
    member_names,
    size_of,
    spelled,
    underlying,
)
from surftrace.lang.source import CompileError, Diagnostic, Source, Span
from surftrace.names import did_you_mean, nearest
from surftrace.record import record

_STEP = re.compile(r"\s*(?P<operator>\.|->)\s*(?P<name>[A-Za-z_]\w*)(?P<indexes>(?:\s*\[\s*\d{1,9}\s*\])*)\s*")


@record
class MemberStep:
    """A member on a path: the type that has it, its declaration, and its place, counted from that type's start."""

    holder: str
    line: LayoutLine


def member_steps(source: Source, start: int, types: KernelTypes, type_: Type) -> tuple[MemberStep, ...]:
    """The members that the source's text names from `start` on. CompileError for one that is not there.

    Where a pointer is followed, places count from the start of what it points to; `.` and `->` mean the same.
    """
    steps: list[MemberStep] = []
    holder, path, bit_start = type_, "", 0
    while start < len(source.text):
        match = _STEP.match(source.text, start)
        if match is None:
            raise _fail(source, Span(start, len(source.text)), "expected .MEMBER or ->MEMBER")
        inner = underlying(type_)
        if inner.kind is TypeKind.POINTER:
            type_, path, bit_start = inner.type, "", 0
            holder = type_
        path += f"{'.' if path else ''}{match['name']}{''.join(re.findall(r'[][0-9]', match['indexes']))}"
        field = _field(source, match, types, types.defined(type_))
        type_, bit_start = field.type, bit_start + field.bit_offset
        width = f":{field.bit_width}" if field.bit_width is not None else ""
        size = size_of(types.defined(type_)) or 0
        line = LayoutLine(0, f"{declared(type_, path)}{width}", "", bit_start, size, field.bit_width is not None)
        steps.append(MemberStep(spelled(holder), line))
        start = match.end()
    return tuple(steps)


def _field(source: Source, match: re.Match[str], types: KernelTypes, type_: Type) -> Field:
    """The member of `type_` that a step of a path names, or the element of it."""
    name, span = match["name"], Span(*match.span("name"))
    if not is_aggregate(type_):
        raise _fail(source, span, f"{a_spelled(type_)} has no members")
    field = field_of(type_, name)
    if field is None and not underlying(type_).is_complete():
        raise _fail(source, span, f"{spelled(type_)} is only declared: nothing here tells what is in it")
    if field is None:
        names = member_names(type_)
        hints = did_you_mean(nearest(name, names)) or (f"its members are {listed(names)}",)
        raise _fail(source, span, f"{spelled(type_)} has no member '{name}'", *hints)
    for index in re.finditer(r"\d+", match["indexes"]):
        array = underlying(field.type)
        if array.kind is not TypeKind.ARRAY:
            raise _fail(source, Span(*match.span("indexes")), f"{a_spelled(field.type)} is no array")
        size = size_of(types.defined(array.type)) or 0
        field = Field(array.type, field.bit_offset + int(index[0]) * size * 8, None)
    return field


def _fail(source: Source, span: Span, message: str, *hints: str) -> CompileError:
    return CompileError([Diagnostic(source, span, message, hints)])
