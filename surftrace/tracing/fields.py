"""The fields that a probe prints: their text in, their values out, or nothing where the text could mean several things.

The kernel writes strings between quotes and escapes nothing in them, so a string may hold what looks like the field
after it. The plan knows the fields: every way to read the text as exactly these is counted, and one way is an answer.
"""

import re
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from surftrace.compiler.resolved import Field
from surftrace.tracing.events import Value

_FAULT = rb"\(fault\)"
_NUMBER = rb"(0x[0-9a-f]+|-?\d+)"
_MANY = 2


@dataclass(frozen=True, slots=True)
class _Step:
    """From a place in the text on, a field and all after it: the number of ways to read them, and the field's end."""

    ways: int
    end: int
    content: bytes | None


def make_field_reader(fields: Sequence[Field]) -> Callable[[bytes], tuple[Value, ...] | None]:
    """The function from the text of these fields, ` name=value name="string"`, to their values.

    None where the text is not of these fields, or is so in more than one way.
    """
    # Where no string has a quote in it there is one way only.
    simple = re.compile(b"".join(_pattern(field, rb'"([^"]*)"') for field in fields), re.DOTALL)
    return partial(_read, tuple(fields), simple)


def _pattern(field: Field, string: bytes) -> bytes:
    return b" %s=(?:%s|%s)" % (re.escape(field.name.encode()), string if field.is_string else _NUMBER, _FAULT)


def _read(fields: tuple[Field, ...], simple: re.Pattern[bytes], text: bytes) -> tuple[Value, ...] | None:
    match = simple.fullmatch(text)
    contents = match.groups() if match is not None else _only_reading(fields, text)
    if contents is None:
        return None
    return tuple(
        Value(field, content if content is None or field.is_string else int(content, 0))
        for field, content in zip(fields, contents, strict=True)
    )


def _only_reading(fields: Sequence[Field], text: bytes) -> list[bytes | None] | None:
    """The contents of the fields where there is exactly one way to read the text; linear in the text's length."""
    after = {len(text): _Step(1, len(text), None)}
    tables = []
    for field in reversed(fields):
        after = _string_steps(field, text, after) if field.is_string else _number_steps(field, text, after)
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
        for match in re.finditer(_pattern(field, b""), text)
        if match.end() in after
    }


def _string_steps(field: Field, text: bytes, after: dict[int, _Step]) -> dict[int, _Step]:
    name = re.escape(field.name.encode())
    steps = {
        match.start(): _Step(after[match.end()].ways, match.end(), None)
        for match in re.finditer(b" %s=%s" % (name, _FAULT), text)
        if match.end() in after
    }
    quotes = [place - 1 for place in sorted(after) if place and text[place - 1 : place] == b'"']
    ways_from = [0] * (len(quotes) + 1)
    for index in range(len(quotes) - 1, -1, -1):
        ways_from[index] = min(_MANY, ways_from[index + 1] + after[quotes[index] + 1].ways)
    for match in re.finditer(b' %s="' % name, text):
        index = bisect_left(quotes, match.end())
        if ways_from[index]:
            end = quotes[index]
            steps[match.start()] = _Step(ways_from[index], end + 1, text[match.end() : end])
    return steps
