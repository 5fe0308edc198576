"""The text of an event's `hist` file in, its tables out: rows with keys and values, and what the kernel says of all.

The kernel escapes nothing in strings, so one may hold what looks like the end of its row and the begin of another. It
can only add rows and tables in this way, never take any away: where there are more than the kernel counts, the text is
not read at all, and stays as it is.
"""

import re
from collections.abc import Callable, Collection
from typing import TypeAlias

from surftrace.errors import SurftraceError
from surftrace.record import record


class HistogramError(SurftraceError):
    """A text that is not of so many tables, or of more than can be: `text` is it.

    `has_more`: there are more than the kernel has, which a string in it makes look so; it is none where there are less.
    """

    exit_status = 1

    def __init__(self, message: str, text: bytes, has_more: bool = False) -> None:
        super().__init__(message)
        self.text = text
        self.has_more = has_more


@record
class Task:
    """A key `common_pid.execname`: the task, and its name when the row was made."""

    comm: bytes
    pid: int


@record
class Address:
    """A key `NAME.sym` or `NAME.sym-offset`: an address, and the kernel's symbol for it."""

    number: int
    symbol: bytes


@record
class Range:
    """A key `NAME.log2` or `NAME.buckets=N`: numbers of a row, from the lowest to the highest."""

    low: int
    high: int


@record
class Frames:
    """A key `stacktrace`: the kernel's symbols, innermost first, 16 at most."""

    symbols: tuple[bytes, ...]


Key: TypeAlias = int | bytes | Task | Address | Range | Frames


@record
class Row:
    """One row: its keys and sums as the table names them. Numbers are those of 64 bits without a sign that it prints.

    `sums` has no count of hits, which is `hits`.
    """

    keys: tuple[Key, ...]
    hits: int
    sums: tuple[int, ...] = ()


@record
class Histogram:
    """A table. `keys` and `sums` are the names as the trigger has them: `len`, `len.log2`, `common_pid.execname`.

    `hits` were counted in rows and `dropped` were not: the table was full. Rows are in the kernel's order. `unread` is
    the rows' text where strings in it may mean several things; there are no rows then.
    """

    trigger: str
    keys: tuple[str, ...]
    sums: tuple[str, ...]
    rows: tuple[Row, ...]
    hits: int
    dropped: int
    unread: bytes = b""


# Linux kernel/trace/trace_events_hist.c, hist_trigger_show.
_HEAD = re.compile(rb"# event histogram\n#\n# trigger info: (hist:[^\n]*)\n#\n\n")
_TOTALS = re.compile(
    rb"\nTotals:\n    Hits: (?P<hits>\d+)\n    Entries: (?P<entries>\d+)\n    Dropped: (?P<dropped>\d+)\n"
    rb"(?:\n\n(?=# event histogram\n#\n# trigger info: hist:)|\Z)"
)
# event_hist_trigger_print.
_TRIGGER = re.compile(r"hist:(?:[^:=]*:)?keys=(?P<keys>[^: ]+):vals=(?P<sums>[^: ]*)")
_COUNT = "hitcount"
_STACKS = ("stacktrace", "common_stacktrace")
_DECIMAL = rb" {0,9}(\d{1,20})"
_HEXADECIMAL = rb" {0,9}([0-9a-f]{1,16})"
# %-50s: what is shorter is filled up with blanks.
_STRING_WIDTH = 50


@record
class _Form:
    """How a key is printed, its name included: a pattern for strings as short as can be and one for as long as can be.

    Both have as many groups as `make` takes texts for the key.
    """

    shortest: bytes
    longest: bytes
    make: Callable[..., Key]

    @property
    def groups(self) -> int:
        """How many texts there are."""
        return re.compile(self.shortest).groups


def parse_histograms(text: bytes, strings: Collection[str] = (), count: int | None = None) -> tuple[Histogram, ...]:
    """The tables of a `hist` file, in the order of their triggers. `strings` are the names of keys that are strings.

    `count` is the number of tables that there are, where that is known. HistogramError where the text is of another
    number of them, or is no table at all.
    """
    ends = list(_TOTALS.finditer(text))
    if count is not None and len(ends) != count:
        has_more = len(ends) > count
        why = "a string in it looks like one" if has_more else "somebody else has removed what counts"
        raise HistogramError(f"the kernel tells of {len(ends)} tables, not of {count}: {why}", text, has_more)
    starts = [0, *(end.end() for end in ends)]
    if starts[-1] != len(text):
        raise HistogramError("the kernel's text of a table has no end", text)
    return tuple(_table(text[start : end.start()], end, strings) for start, end in zip(starts, ends, strict=False))


def _table(text: bytes, totals: re.Match[bytes], strings: Collection[str]) -> Histogram:
    head = _HEAD.match(text)
    trigger = head[1].decode(errors="backslashreplace") if head is not None else ""
    match = _TRIGGER.match(trigger)
    if head is None or match is None:
        raise HistogramError("the kernel's text is not of a table", text)
    keys = tuple(match["keys"].split(","))
    sums = tuple(name for name in match["sums"].split(",") if name and name != _COUNT)
    body = text[head.end() :]
    rows = _rows(body, [_form(key, key.partition(".")[0] in strings) for key in keys], keys, sums)
    is_read = rows is not None and len(rows) == int(totals["entries"])
    hits, dropped = int(totals["hits"]), int(totals["dropped"])
    return Histogram(trigger, keys, sums, tuple(rows or ()) if is_read else (), hits, dropped, b"" if is_read else body)


def _rows(text: bytes, forms: list[_Form], keys: tuple[str, ...], sums: tuple[str, ...]) -> list[Row] | None:
    """The rows, or what looks like some; None where a row is none, or may be read in two ways.

    A row ends where its sums end a line, and another row or nothing follows.
    """
    # hist_trigger_print_val; a stack ends its last line itself.
    blank = b"" if any(key in _STACKS for key in keys) else b" "
    end = blank + rb"\} hitcount: " + _DECIMAL + b"".join(map(_sum_pattern, sums)) + rb"\n"
    first = forms[0].shortest.partition(b"(")[0]
    stops = [match.end() for match in re.finditer(rb"%s(?=\{ %s|\Z)" % (end, first), text)]
    shortest = re.compile(rb"\{ " + b", ".join(form.shortest for form in forms) + end, re.DOTALL)
    longest = re.compile(rb"\{ " + b", ".join(form.longest for form in forms) + end, re.DOTALL)
    rows = []
    for start, stop in zip([0, *stops], stops, strict=False):
        match, other = shortest.fullmatch(text, start, stop), longest.fullmatch(text, start, stop)
        if match is None or other is None or match.groups() != other.groups():
            return None
        rows.append(_row(match, forms, sums))
    return rows if (stops or [0])[-1] == len(text) else None


def _row(match: re.Match[bytes], forms: list[_Form], sums: tuple[str, ...]) -> Row:
    parts = iter(match.groups())
    keys = tuple(form.make(*(next(parts) for _ in range(form.groups))) for form in forms)
    hits = int(next(parts))
    return Row(keys, hits, tuple(int(next(parts), 16 if name.endswith(".hex") else 10) for name in sums))


def _sum_pattern(name: str) -> bytes:
    plain, _, modifier = name.partition(".")
    return rb"  %s: %s" % (re.escape(plain.encode()), _HEXADECIMAL if modifier == "hex" else _DECIMAL)


def _form(key: str, is_string: bool) -> _Form:
    """How hist_trigger_print_key prints a key."""
    if key in _STACKS:
        # Linux 6.3 names it after common_stacktrace.
        pattern = rb"(?:common_)?stacktrace:\n((?: {9}[^\n]*\n)*)"
        return _Form(pattern, pattern, _frames)
    plain, _, modifier = key.partition(".")
    if plain.startswith("common_cpu") or plain == "cpu":
        name = rb"(?:common_)?cpu: "  # 7.3 writes common_cpucpu in the trigger, and what was asked for in the rows
    else:
        name = re.escape(plain.encode()) + b": "
    if is_string and not modifier:
        return _Form(name + rb"(.{%d,}?)" % _STRING_WIDTH, name + rb"(.{%d,})" % _STRING_WIDTH, _string)
    pattern, make = _FORMS.get(modifier.partition("=")[0], (_DECIMAL, int))
    return _Form(name + pattern, name + pattern, make)


def _string(text: bytes) -> bytes:
    """Blanks at the end of a short string are lost among those that it is filled up with."""
    return text if len(text) > _STRING_WIDTH else text.rstrip(b" ")


def _frames(text: bytes) -> Frames:
    return Frames(tuple(line.strip() for line in text.splitlines()))


def _power(exponent: bytes) -> Range:
    """The kernel rounds up to a power: hist_field_log2. What 0 becomes is that of 1."""
    high = 1 << min(int(exponent), 64)
    return Range(0 if high == 1 else high // 2 + 1, high)


_FORMS: dict[str, tuple[bytes, Callable[..., Key]]] = {
    "hex": (rb"([0-9a-f]{1,16})", lambda number: int(number, 16)),
    "sym": (
        rb"\[([0-9a-f]{1,16})\] ([^\s{},]+(?: \[[^\s\]]*\])?) *",
        lambda number, text: Address(int(number, 16), text),
    ),
    "execname": (rb"(.{16})\[ {0,9}(\d{1,20})\]", lambda comm, pid: Task(comm.rstrip(b" "), int(pid))),
    "log2": (rb"~ 2\^(\d{1,2}) ?", _power),
    "buckets": (rb"~ (\d{1,20})-(\d{1,20})", lambda low, high: Range(int(low), int(high))),
}
_FORMS["sym-offset"] = _FORMS["sym"]
