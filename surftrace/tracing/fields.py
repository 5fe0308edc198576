"""The fields that a probe prints: their text in, their values out, or nothing where the text could mean several things.

The kernel writes strings between quotes and escapes nothing in them, so a string may hold what looks like the field
after it. The plan knows the fields: every way to read the text as exactly these is counted, and one way is an answer.
"""

import re
from bisect import bisect_left
from collections.abc import Callable, Sequence
from functools import partial

from surftrace.compiler.resolved import Field
from surftrace.record import record
from surftrace.tracing.events import Content, Value

_FAULT = rb"\(fault\)"
_NUMBER = rb"(0x[0-9a-f]+|0|-?[1-9]\d*)"
# The kernel's %pS: a symbol, or an address that none covers.
_SYMBOL = rb"([^\s={},]+(?: \[[^\s\]]*\])?)"
_CHARACTER = rb"'(.)'"
_ARRAY = rb"\{([^{}]*)\}"
_STRING_ELEMENT = re.compile(rb'"([^"]*)"|\(fault\)')
_MANY = 2


@record
class _Step:
    """From a place in the text on, a field and all after it: the number of ways to read them, and the field's end."""

    ways: int
    end: int
    content: bytes | None


@record
class _Guarded:
    """A field that is shown: its place among all, and the places of the pointers that it was read through."""

    index: int
    field: Field
    guards: tuple[tuple[int, range], ...]


def make_field_reader(fields: Sequence[Field]) -> Callable[[bytes], tuple[Value, ...] | None]:
    """The function from the text of these fields, ` name=value name="string"`, to the values of those not hidden.

    A value behind a pointer that was none is None. No values at all where the text is not of these fields, or is so in
    more than one way.
    """
    # Where no string has a quote in it there is one way only.
    simple = re.compile(b"".join(_pattern(field) for field in fields), re.DOTALL)
    places = {field.name: index for index, field in enumerate(fields)}
    valid = {field.name: range(*field.valid) for field in fields if field.valid is not None}
    shown = tuple(
        _Guarded(index, field, tuple((places[name], valid[name]) for name in field.guards))
        for index, field in enumerate(fields)
        if not field.is_hidden
    )
    return partial(_read, tuple(fields), shown, simple)


def without_hidden(fields: Sequence[Field], text: bytes) -> bytes:
    """The kernel's text of an event that could not be read, as far as it can be without the hidden fields."""
    hidden = [field.name.encode() for field in fields if field.is_hidden and not field.is_sentinel]
    for field in fields:
        if field.is_sentinel:
            text = re.sub(rb' %s=(?:"[^"]*"|\(fault\))' % field.name.encode(), b"", text)
    return text.rpartition(b" %s=" % hidden[0])[0] or text if hidden else text


def _pattern(field: Field) -> bytes:
    """One field's text, strings without quotes in them."""
    if _is_quoted(field):
        content = rb'"([^"]*)"' if field.is_string else rb'\{((?:(?:"[^"]*"|\(fault\)),?)*)\}'
    elif field.array_length is not None:
        content = rb"\{((?:'.',?)*)\}" if field.fetch.type.startswith("char") else _ARRAY
    elif field.fetch.type == "symbol":
        content = _SYMBOL
    else:
        content = _CHARACTER if field.fetch.type == "char" else _NUMBER
    return b" %s=(?:%s|%s)" % (re.escape(field.name.encode()), content, _FAULT)


def _is_quoted(field: Field) -> bool:
    return field.is_string or field.fetch.type.startswith(("string[", "ustring["))


def _read(
    fields: tuple[Field, ...], shown: tuple[_Guarded, ...], simple: re.Pattern[bytes], text: bytes
) -> tuple[Value, ...] | None:
    match = simple.fullmatch(text)
    contents = match.groups() if match is not None else _only_reading(fields, text)
    if contents is None:
        return None
    values = []
    for each in shown:
        content = contents[each.index]
        is_read = all(_number(contents[place]) in addresses for place, addresses in each.guards)
        values.append(Value(each.field, _content(each.field, content) if is_read and content is not None else None))
    return tuple(values)


def _number(text: bytes | None) -> int:
    return int(text or b"0", 0)


def _content(field: Field, text: bytes) -> Content | tuple[Content, ...]:
    if _is_quoted(field):
        return text if field.is_string else _strings(field, text)
    if field.array_length is not None:
        if field.fetch.type.startswith("char"):
            return tuple(text[1::4])
        elements = text.split(b",")
        return tuple(elements) if field.fetch.type.startswith("symbol") else tuple(map(_number, elements))
    if field.fetch.type == "char":
        return text[0]
    return text if field.fetch.type == "symbol" else _number(text)


def _strings(field: Field, text: bytes) -> tuple[Content, ...]:
    """The strings of an array; where quotes in them leave several ways to part them, all as one."""
    parts = list(_STRING_ELEMENT.finditer(text))
    joined = b",".join(part[0] for part in parts)
    return tuple(part[1] for part in parts) if joined == text and len(parts) == field.array_length else (text,)


def _only_reading(fields: Sequence[Field], text: bytes) -> list[bytes | None] | None:
    """The contents of the fields where there is exactly one way to read the text; linear in the text's length."""
    after = {len(text): _Step(1, len(text), None)}
    tables = []
    for field in reversed(fields):
        after = _string_steps(field, text, after) if _is_quoted(field) else _number_steps(field, text, after)
        tables.append(after)
    contents: list[bytes | None] = []
    place = 0
    for table in reversed(tables):
        step = table.get(place)
        if step is None or step.ways != 1:
            return None
        contents.append(step.content)
        place = step.end
    return contents


def _number_steps(field: Field, text: bytes, after: dict[int, _Step]) -> dict[int, _Step]:
    return {
        match.start(): _Step(after[match.end()].ways, match.end(), match[1])
        for match in re.finditer(_pattern(field), text, re.DOTALL)
        if match.end() in after
    }


def _string_steps(field: Field, text: bytes, after: dict[int, _Step]) -> dict[int, _Step]:
    name = re.escape(field.name.encode())
    steps = {
        match.start(): _Step(after[match.end()].ways, match.end(), None)
        for match in re.finditer(b" %s=%s" % (name, _FAULT), text)
        if match.end() in after
    }
    opening, closing = (b"{", b"}") if field.array_length is not None else (b'"', b'"')
    quotes = [place - 1 for place in sorted(after) if place and text[place - 1 : place] == closing]
    ways_from = [0] * (len(quotes) + 1)
    for index in range(len(quotes) - 1, -1, -1):
        ways_from[index] = min(_MANY, ways_from[index + 1] + after[quotes[index] + 1].ways)
    for match in re.finditer(b" %s=%s" % (name, re.escape(opening)), text):
        index = bisect_left(quotes, match.end())
        if ways_from[index]:
            end = quotes[index]
            steps[match.start()] = _Step(ways_from[index], end + 1, text[match.end() : end])
    return steps
