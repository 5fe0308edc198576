"""Counts to people and programs: rows with their sums, least and greatest, and histograms; a table, or JSON."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

from surftrace.compiler.counting import Counting
from surftrace.compiler.resolved import Field
from surftrace.compiler.values import ByteOrder
from surftrace.output.color import Paint, Role
from surftrace.output.escape import escape
from surftrace.output.histogram import Bucket, Cell, bar_lines, buckets_of, raw_lines, table_lines
from surftrace.output.jsonl import Json
from surftrace.output.numbers import float_of, plain_number, show_field
from surftrace.output.text import show_value
from surftrace.output.typed import decoded, typed_value
from surftrace.record import record
from surftrace.tracing.counting import CountedRow, Counts, Numbers, Uncounted, without_probes
from surftrace.tracing.events import Value
from surftrace.tracing.histogram import Range

Figure = int | float


@record
class Summary:
    """A row: what the probe is put at, its event, its values, the stack it was counted by, its hits.

    The rest is by the names of values:

    `sums`, `averages`, which need hits, and `ranges`, which are the least and the greatest number; `spreads`:
    histograms. A fraction that is not a number (NaN) is in no range with numbers; in a histogram it has a bucket of its
    own, as what is infinite has.
    """

    label: str
    event: str
    values: tuple[Value, ...]
    stack: tuple[str, ...]
    hits: int
    sums: Mapping[str, Figure]
    averages: Mapping[str, float]
    ranges: Mapping[str, tuple[Figure, Figure]]
    spreads: Mapping[str, Sequence[Bucket]]


def summarize(counts: Counts, counting: Counting, byteorder: ByteOrder) -> list[Summary]:
    """The rows, those with most hits first."""
    rows = [_summary(row, counting, byteorder) for row in without_probes(counts.rows)]
    return sorted(rows, key=lambda row: (-row.hits, row.event, [str(value.content) for value in row.values]))


def _summary(row: CountedRow, counting: Counting, byteorder: ByteOrder) -> Summary:
    sums: dict[str, Figure] = dict(row.sums)
    ranges: dict[str, tuple[Figure, Figure]] = {}
    for name, numbers in row.numbers.items():
        figures = list(_figures(numbers, byteorder))
        if name in counting.sums and name not in sums:
            sums[name] = sum(figure * hits for figure, hits in figures)
        if name in counting.ranges and figures:
            ordered = [figure for figure, _ in figures if not math.isnan(figure)] or [math.nan]
            ranges[name] = min(ordered), max(ordered)
    return Summary(
        row.event.label,
        row.event.event.shown_name,
        tuple(value for value in row.values if not isinstance(value.content, tuple) or not _is_stack(value)),
        tuple(_frame(frame) for value in row.values if _is_stack(value) for frame in _frames(value)),
        row.hits,
        {name: sums[name] for name in counting.sums if name in sums},
        {name: sums[name] / row.hits for name in counting.sums if name in sums and row.hits},
        ranges,
        {
            spread.name: _buckets(row.numbers[spread.name], spread.width, byteorder)
            for spread in counting.spreads
            if spread.name in row.numbers
        },
    )


def _is_stack(value: Value) -> bool:
    return value.field.name == "stack" and isinstance(value.content, tuple)


def _frames(value: Value) -> Iterator[bytes]:
    if isinstance(value.content, tuple):
        yield from (frame for frame in value.content if isinstance(frame, bytes))


def _frame(frame: bytes) -> str:
    return frame.decode(errors="backslashreplace")


def _figures(numbers: Numbers, byteorder: ByteOrder) -> Iterator[tuple[Figure, int]]:
    """The numbers as the trace shows them, each with its hits."""
    for number, hits in numbers.counts:
        if isinstance(number, int):
            yield figure_of(numbers.field, number, byteorder), hits


def _buckets(numbers: Numbers, width: int | None, byteorder: ByteOrder) -> list[Bucket]:
    """The histogram of a value, what is infinite or no number last."""
    whole: list[tuple[int | Range, int]] = [each for each in numbers.counts if isinstance(each[0], Range)]
    others: dict[str, int] = {}
    for figure, hits in _figures(numbers, byteorder):
        if math.isfinite(figure):
            whole.append((int(figure), hits))
        else:
            others[str(figure)] = others.get(str(figure), 0) + hits
    return [*buckets_of(whole, width), *(Bucket(0, 0, hits, name) for name, hits in sorted(others.items()))]


def figure_of(field: Field, number: int, byteorder: ByteOrder) -> Figure:
    """A value as a number: packet bytes in their order, a fraction as one."""
    if field.prefix is not None:
        return int(show_field(field, number, byteorder), 0)
    return float_of(field, number) if field.letter == "f" else plain_number(field, number)


def count_lines(rows: Sequence[Summary], counting: Counting, byteorder: ByteOrder, paint: Paint) -> list[str]:
    """The table as lines. Stacks and histograms stand under their rows."""
    has_events = len({row.event for row in rows}) > 1 or not counting.by
    names = [name for name in counting.by if not rows or any(value.field.name == name for value in rows[0].values)]
    heads = [*(["probe"] if has_events else []), *names, "hits", *_figure_heads(counting)]
    numbers = len(heads) - 1 - len(counting.sums) * 2 - len(counting.ranges) * 2
    head_cells = [Cell(head, Role.FAINT, place >= numbers) for place, head in enumerate(heads)]
    lines = table_lines(head_cells, (list(_cells(row, counting, has_events, byteorder)) for row in rows), paint)
    result = lines[:1]
    for row, line in zip(rows, lines[1:], strict=True):
        result.append(line)
        result.extend(f"  => {paint(Role.PLACE, escape(frame))}" for frame in row.stack)
        for name, buckets in row.spreads.items():
            result.append(f"  {paint(Role.NAME, name)}:")
            result.extend(f"    {bar}" for bar in bar_lines(buckets, paint))
    return result


def _figure_heads(counting: Counting) -> Iterator[str]:
    for name in counting.sums:
        yield from (f"sum({name})", f"avg({name})")
    for name in counting.ranges:
        yield from (f"min({name})", f"max({name})")


def _cells(row: Summary, counting: Counting, has_events: bool, byteorder: ByteOrder) -> Iterator[Cell]:
    if has_events:
        yield Cell(escape(row.label), Role.EVENT)
    for value in row.values:
        yield Cell(show_value(value, byteorder, lambda _role, text: text), _role(value))
    yield Cell(str(row.hits), None, True)
    for name in counting.sums:
        yield Cell(_shown(row.sums.get(name)), None, True)
        yield Cell(_shown(row.averages.get(name)), None, True)
    for name in counting.ranges:
        low, high = row.ranges.get(name, (None, None))
        yield from (Cell(_shown(low), None, True), Cell(_shown(high), None, True))


def _role(value: Value) -> Role | None:
    return Role.STRING if isinstance(value.content, bytes) else None


def _shown(figure: Figure | None) -> str:
    if figure is None:
        return "-"
    return str(figure) if isinstance(figure, int) else f"{figure:.2f}"


def undecoded_lines(counts: Counts, paint: Paint) -> list[str]:
    """The text of tables that may mean several things, as the kernel has it, line by line and escaped."""
    return [line for event, text in counts.undecoded for line in raw_lines(event.label, text, paint)]


def json_rows(rows: Iterable[Summary], byteorder: ByteOrder) -> Iterator[dict[str, Json]]:
    """The rows as JSON objects."""
    for row in rows:
        shown: dict[str, Json] = {"type": "row", "event": row.event, "place": row.label}
        if row.values:
            shown["values"] = {value.field.name: typed_value(value, byteorder) for value in row.values}
        if row.stack:
            shown["stack"] = list(row.stack)
        shown["hits"] = row.hits
        if row.sums:
            shown["sums"] = {name: _json_figure(figure) for name, figure in row.sums.items()}
        if row.ranges:
            shown["ranges"] = {
                name: {"min": _json_figure(low), "max": _json_figure(high)} for name, (low, high) in row.ranges.items()
            }
        if row.spreads:
            shown["histograms"] = {
                name: [
                    {"low": each.name or each.low, "high": each.name or each.high, "hits": each.hits}
                    for each in buckets
                    if each.hits
                ]
                for name, buckets in row.spreads.items()
            }
        yield shown


def _json_figure(figure: Figure) -> Json:
    """A number; as text what JSON has no number for."""
    return figure if math.isfinite(figure) else str(figure)


def json_totals(counts: Counts) -> dict[str, Json]:
    """What is told of all rows together."""
    return {
        "hits": sum(row.hits for row in counts.rows),
        "unread": [_uncounted(each) for each in counts.unread],
        "dropped": [_uncounted(each) for each in counts.dropped],
        "undecoded": [{"event": event.event.shown_name, "text": decoded(text)} for event, text in counts.undecoded],
    }


def _uncounted(hits: Uncounted) -> dict[str, Json]:
    return {"event": hits.event.event.shown_name, "value": hits.name, "hits": hits.hits}
