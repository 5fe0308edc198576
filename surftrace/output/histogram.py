"""Tables and bars as text: columns in line, buckets of a histogram with a bar for each."""

from collections.abc import Callable, Iterable, Sequence

from surftrace.output.color import Paint, Role
from surftrace.output.escape import escape
from surftrace.record import record
from surftrace.tracing.histogram import Range

_BAR_WIDTH = 40
# Empty buckets of one width between others are drawn, where there are not more than a screen has lines.
_MAX_DRAWN = 64


@record
class Cell:
    """A cell of a table, and what it is; numbers stand at the right of their column."""

    text: str
    role: Role | None = None
    is_number: bool = False


@record
class Bucket:
    """A bucket of a histogram: its numbers from `low` to `high`, and how many there were.

    `name` is that of what has no place among numbers, `inf` or `nan`, and empty otherwise.
    """

    low: int
    high: int
    hits: int
    name: str = ""


def table_lines(heads: Sequence[Cell], rows: Iterable[Sequence[Cell]], paint: Paint) -> list[str]:
    """The lines of a table, the heads first, each column as wide as its widest cell."""
    lines = [list(heads), *map(list, rows)]
    widths = [max(len(line[column].text) for line in lines) for column in range(len(heads))]
    return [
        "  ".join(_padded(cell, width, paint) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]


def _padded(cell: Cell, width: int, paint: Paint) -> str:
    blanks = " " * (width - len(cell.text))
    text = cell.text if cell.role is None else paint(cell.role, cell.text)
    return blanks + text if cell.is_number else text + blanks


def buckets_of(counts: Iterable[tuple[int | Range, int]], width: int | None = None) -> list[Bucket]:
    """The buckets of a histogram, the lowest first: of `width` numbers, or, without one, of powers of two.

    A bucket of a power ends with it, as the kernel's do: 1, 2, 4, 8; the first one has 0 as well. Empty buckets between
    others are there too, unless they are many.
    """
    hits: dict[tuple[int, int], int] = {}
    for number, count in counts:
        place = (number.low, number.high) if isinstance(number, Range) else _bucket(number, width)
        hits[place] = hits.get(place, 0) + count
    if not hits:
        return []
    places = sorted(hits)
    drawn = list(_between(places[0], places[-1], width))
    return [Bucket(*place, hits.get(place, 0)) for place in (drawn if set(places) <= set(drawn) else places)]


def _bucket(number: int, width: int | None) -> tuple[int, int]:
    if width is not None:
        low = number // width * width
        return low, low + width - 1
    if number < 0:
        low, high = _bucket(-number, None) if number < -1 else (1, 1)
        return -high, -low
    high = 1 << max(number - 1, 0).bit_length()
    return (high // 2 + 1 if high > 1 else 0), high


def _between(first: tuple[int, int], last: tuple[int, int], width: int | None) -> Iterable[tuple[int, int]]:
    place = first
    for _ in range(_MAX_DRAWN if width is not None else 2 * _MAX_DRAWN):
        yield place
        if place == last:
            return
        place = _bucket(place[1] + 1, width)


def bar_lines(buckets: Sequence[Bucket], paint: Paint, show: Callable[[int], str] = str) -> list[str]:
    """A line for each bucket, with a bar as long as its part of the fullest one. `show` gives a number's text."""
    most = max((bucket.hits for bucket in buckets), default=0)
    lows = [bucket.name or show(bucket.low) for bucket in buckets]
    highs = [show(bucket.high) if bucket.high != bucket.low else "" for bucket in buckets]
    widths = [max(map(len, texts), default=0) for texts in (lows, highs, [str(bucket.hits) for bucket in buckets])]
    lines = []
    for bucket, low, high in zip(buckets, lows, highs, strict=True):
        dots = ".." if high else "  "
        # What is there at all is seen.
        length = max(1, bucket.hits * _BAR_WIDTH // most) if bucket.hits else 0
        bar = paint(Role.EVENT, "@" * length) + " " * (_BAR_WIDTH - length)
        lines.append(f"{low:>{widths[0]}} {dots} {high:<{widths[1]}}  {bucket.hits:>{widths[2]}} |{bar}|")
    return lines


def raw_lines(label: str, text: bytes, paint: Paint) -> list[str]:
    """The text of a table that may mean several things, as the kernel has it, line by line and escaped."""
    lines = text.decode(errors="surrogateescape").split("\n")
    return [f"{paint(Role.EVENT, escape(label))}: {escape(line)}" for line in lines if line]
