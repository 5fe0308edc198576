"""Counted stacks in, a flame graph out: an SVG picture that needs nothing else, no script and no font of its own.

A box is a function, as wide as the share of stacks that it is in; above it stand those that it called. What is in its
title is shown where the mouse rests on it.
"""

from collections.abc import Iterable, Iterator, Sequence
from xml.sax.saxutils import escape as escape_xml
from zlib import crc32

from surftrace.output.escape import escape
from surftrace.output.folded import FoldedStack, merged, total_of
from surftrace.record import record

_WIDTH, _MARGIN, _BOX_HEIGHT = 1200, 10, 17
_HEAD_HEIGHT, _FOOT_HEIGHT = 52, 10
# A character of the monospaced fonts that browsers have is 0.6 of its size wide; with some room for wider ones.
_FONT_SIZE, _CHARACTER_WIDTH, _PADDING = 12, 7.4, 3
_MIN_NAME = 3
# Narrower boxes are not drawn: they cannot be seen, and a picture may have 100,000 of them.
_MIN_WIDTH = 0.2
_MAX_DEPTH = 256
_DEEPER = "(deeper)"
_ALL = "all"

_HEAD = """\
<?xml version="1.0" encoding="UTF-8"?>
<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img">
<title>{title}</title>
<style>
text {{ font-family: monospace; font-size: {font_size}px; fill: #1a1a1a }}
rect {{ stroke: #ffffff; stroke-width: 0.5 }}
g:hover rect {{ stroke: #1a1a1a; stroke-width: 1 }}
</style>
<rect width="100%" height="100%" fill="#ffffff"/>
<text x="{middle}" y="22" text-anchor="middle" style="font-size: 16px">{title}</text>
<text x="{middle}" y="40" text-anchor="middle" style="fill: #555555">{summary}</text>
"""


@record
class _Box:
    """A function at a depth, in stacks that are counted from `start` on, up to `end`."""

    depth: int
    start: int
    end: int
    name: str


def flame_graph(stacks: Iterable[FoldedStack], title: str) -> str:
    """The picture. The same stacks give the same text."""
    drawn = merged(FoldedStack((_ALL, *_cut(stack.names)), stack.count) for stack in stacks)
    total = sum(stack.count for stack in drawn)
    boxes = [box for box in _boxes(drawn) if total and _width(box.end - box.start, total) >= _MIN_WIDTH]
    levels = max((box.depth + 1 for box in boxes), default=0)
    height = _HEAD_HEIGHT + levels * _BOX_HEIGHT + _FOOT_HEIGHT
    head = _HEAD.format(
        width=_WIDTH,
        height=height,
        middle=_WIDTH // 2,
        title=_text(title),
        font_size=_FONT_SIZE,
        summary=total_of(total, len(drawn)),
    )
    bottom = height - _FOOT_HEIGHT
    return head + "".join(_drawn(box, total, bottom) for box in sorted(boxes, key=_place)) + "</svg>\n"


def _cut(names: tuple[str, ...]) -> tuple[str, ...]:
    """The functions of a stack that there is room for; what stands above them is one box."""
    return names if len(names) <= _MAX_DEPTH else (*names[: _MAX_DEPTH - 1], _DEEPER)


def _boxes(stacks: Sequence[FoldedStack]) -> Iterator[_Box]:
    """The boxes of stacks in the order of their names: those of neighbours that begin alike have these in common."""
    begun: list[tuple[str, int]] = []
    at = 0
    for stack in (*stacks, FoldedStack((), 0)):
        common = 0
        for (name, _), other in zip(begun, stack.names, strict=False):
            if name != other:
                break
            common += 1
        while len(begun) > common:
            name, start = begun.pop()
            yield _Box(len(begun), start, at, name)
        begun.extend((name, at) for name in stack.names[common:])
        at += stack.count


def _place(box: _Box) -> tuple[int, int]:
    return box.depth, box.start


def _width(count: int, total: int) -> float:
    return count * (_WIDTH - 2 * _MARGIN) / total


def _drawn(box: _Box, total: int, bottom: int) -> str:
    count = box.end - box.start
    x, width = _MARGIN + _width(box.start, total), _width(count, total)
    y = bottom - (box.depth + 1) * _BOX_HEIGHT
    name = _shortened(escape(box.name), int((width - 2 * _PADDING) / _CHARACTER_WIDTH))
    text = f'<text x="{x + _PADDING:.2f}" y="{y + 12.5}">{escape_xml(name)}</text>' if name else ""
    return (
        f"<g><title>{_text(box.name)}: {count} ({100 * count / total:.2f} %)</title>"
        f'<rect x="{x:.2f}" y="{y}" width="{width:.2f}" height="{_BOX_HEIGHT - 1}" rx="1" fill="{_color(box)}"/>'
        f"{text}</g>\n"
    )


def _shortened(name: str, room: int) -> str:
    """What there is room for of a name: nothing, where that would tell nothing."""
    if len(name) <= room:
        return name
    return f"{name[: room - 2]}.." if room >= _MIN_NAME + 2 else ""


def _color(box: _Box) -> str:
    """A light colour that dark letters are read on, by the name: the same function is told by its colour everywhere.

    The kernel's own functions are warm, those of modules green; what is no function is grey.
    """
    number = crc32(box.name.encode(errors="surrogatepass"))
    shade, tone = number % 64, number // 64 % 64
    if box.depth == 0 or box.name.startswith("("):
        return "#dddddd"
    red, green, blue = (255 - shade // 4, 150 + tone, 70 + shade)
    if box.name.endswith("]"):
        red, green, blue = (120 + tone, 220 - shade // 4, 110 + shade)
    return f"#{red:02x}{green:02x}{blue:02x}"


def _text(text: str) -> str:
    return escape_xml(escape(text))
