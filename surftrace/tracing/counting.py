"""A count that runs: the kernel's tables as often as they are looked at, in rows of values, and what they lack."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

from surftrace.compiler.countedfields import STACK
from surftrace.compiler.countedfields import Key as CountedKey
from surftrace.compiler.counting import CountedEvent, CountingPlan, Role, Table, with_keyword
from surftrace.compiler.resolved import Field
from surftrace.kernel.features import Features
from surftrace.lang.source import Diagnostic
from surftrace.record import record
from surftrace.tracing.events import Content, Value
from surftrace.tracing.histogram import (
    Address,
    Frames,
    Histogram,
    HistogramError,
    Key,
    Range,
    Row,
    Task,
    parse_histograms,
)
from surftrace.tracing.instance import Instance, claimed_instance
from surftrace.tracing.limits import Limit
from surftrace.tracing.losses import Losses, read_losses
from surftrace.tracing.notices import Notice, Notices
from surftrace.tracing.probestacks import without_probe
from surftrace.tracing.session import applied
from surftrace.tracing.tracefs import Tracefs, TracefsError

_WORDS = 1 << 64
_SIGN = 1 << 63


@record
class Numbers:
    """How often a value was what: each number as the probe has it, or a range of numbers, with its hits."""

    field: Field
    counts: tuple[tuple[int | Range, int], ...]


@record
class CountedRow:
    """One row: the event, what it is called by people, the values that it is told apart by, its hits, and sums by name.

    A sum has as many bits as the kernel's: 64, with a sign where the value has one. `numbers`, by name: of those values
    whose numbers were asked for.
    """

    event: CountedEvent
    values: tuple[Value, ...]
    hits: int
    sums: Mapping[str, int]
    numbers: Mapping[str, Numbers]


@record
class Uncounted:
    """Hits of an event that are not counted: where the value `name` could not be read, or had no room as a key.

    `name` is empty where a row as such had none.
    """

    event: CountedEvent
    name: str
    hits: int


@record
class Counts:
    """What was counted so far. `unread`: hits whose value of that name could not be read; `dropped`: those that came
    when the table was full. `undecoded`: the text of tables whose strings look like rows themselves, as it is.
    """

    rows: tuple[CountedRow, ...]
    unread: tuple[Uncounted, ...] = ()
    dropped: tuple[Uncounted, ...] = ()
    undecoded: tuple[tuple[CountedEvent, bytes], ...] = ()

    @property
    def has_lost(self) -> bool:
        """Is a number of a row not to be relied on, or a row missing?"""
        return bool(self.dropped or self.undecoded)


class Counter:
    """A count that is on. `refused`: what the kernel did not take of a glob.

    `counts` and `losses` are known once it is finished.
    """

    def __init__(self, plan: CountingPlan, instance: Instance, refused: Sequence[Diagnostic], notices: Notices) -> None:
        self.plan = plan
        self.instance = instance
        self.refused = refused
        self.notices = notices
        self.counts: Counts | None = None
        self.losses = Losses()
        self._events = [event for event in plan.events if self._is_there(event)] if refused else list(plan.events)

    def read(self) -> Counts:
        """What was counted so far. TracefsError where the instance or a table is gone."""
        self.notices.look_at_modules()
        rows: list[CountedRow] = []
        unread: list[Uncounted] = []
        dropped: list[Uncounted] = []
        undecoded: list[tuple[CountedEvent, bytes]] = []
        for event in self._events:
            try:
                found = read_counts(event, self._text(event))
            except HistogramError as error:
                if error.has_more:
                    undecoded.append((event, error.text))
                    continue
                raise TracefsError(f"cannot read the counts of {event.event.shown_name}: {error.message}") from None
            rows.extend(found.rows)
            unread.extend(found.unread)
            dropped.extend(found.dropped)
            undecoded.extend(found.undecoded)
        return Counts(tuple(rows), tuple(unread), tuple(dropped), tuple(undecoded))

    def finish(self) -> Counts:
        """Count no more, and give what was counted."""
        for event in self._events:
            for table in event.tables:
                step = with_keyword(table.step, "pause")
                self.instance.tracefs.write(step.path, step.text, is_append=True)
        counts = self.read()
        self.losses = read_losses(self.instance, False)
        self.notices.tell_misses(self.losses)
        self.counts = counts
        return counts

    def _text(self, event: CountedEvent) -> bytes:
        return self.instance.tracefs.read(f"{_folder(event)}/hist")

    def _is_there(self, event: CountedEvent) -> bool:
        return self.instance.tracefs.exists(f"{_folder(event)}/hist")


def _folder(event: CountedEvent) -> str:
    return event.tables[0].step.path.rpartition("/")[0]


@contextmanager
def counted(
    make_plan: Callable[[str], CountingPlan],
    tracefs: Tracefs,
    features: Features,
    tell: Callable[[Notice], None],
    instance_name: str | None = None,
) -> Iterator[Counter]:
    """A count, on for as long as the block lasts; then the kernel is as it was found.

    `make_plan` is given the name of the instance. Raises KernelRejected, TracefsError, and what `make_plan` does.
    """
    with claimed_instance(tracefs, instance_name) as instance:
        plan = make_plan(instance.name)
        notices = Notices(plan.plan, features, Limit(), tell)
        with applied(plan.plan, instance) as refused:
            yield Counter(plan, instance, refused, notices)


def read_counts(event: CountedEvent, text: bytes) -> Counts:
    """The counts in an event's `hist` file. HistogramError where it is not of the event's tables."""
    strings = {name for table in event.tables for name in table.strings}
    tables = list(zip(event.tables, parse_histograms(text, strings, len(event.tables)), strict=True))
    rows: dict[tuple[Content | tuple[Content, ...], ...], CountedRow] = {}
    for table, histogram in tables:
        if table.role is Role.HITS:
            for row in histogram.rows:
                _add_hits(rows, event, table, row)
    for table, histogram in tables:
        if table.role is Role.VALUES and table.value is not None:
            _add_numbers(rows, event, table, table.value, histogram)
    unread = [
        Uncounted(event, table.value.name, histogram.hits)
        for table, histogram in tables
        if table.role is Role.UNREAD and table.value is not None and histogram.hits
    ]
    dropped = [
        Uncounted(event, table.value.name if table.value is not None else "", histogram.dropped)
        for table, histogram in tables
        if histogram.dropped
    ]
    undecoded = [(event, histogram.unread) for _, histogram in tables if histogram.unread]
    return Counts(tuple(rows.values()), tuple(unread), tuple(dropped), tuple(undecoded))


def _add_hits(
    rows: dict[tuple[Content | tuple[Content, ...], ...], CountedRow], event: CountedEvent, table: Table, row: Row
) -> None:
    """Add a row; the kernel has several of one where it tells by a task's number what is shown by its name."""
    values = _values(table.keys, row.keys)
    contents = tuple(value.content for value in values)
    known = rows.get(contents, CountedRow(event, values, 0, {}, {}))
    sums = {
        field.name: _wrapped(known.sums.get(field.name, 0) + number, field)
        for field, number in zip(table.sums, row.sums, strict=True)
    }
    rows[contents] = CountedRow(event, values, known.hits + row.hits, sums, {})


def _add_numbers(
    rows: dict[tuple[Content | tuple[Content, ...], ...], CountedRow],
    event: CountedEvent,
    table: Table,
    field: Field,
    histogram: Histogram,
) -> None:
    """Add to each row what a table says of one value in it."""
    found: dict[tuple[Content | tuple[Content, ...], ...], list[tuple[int | Range, int]]] = {}
    for row in histogram.rows:
        values = _values(table.keys[:-1], row.keys[:-1])
        number = row.keys[-1]
        if isinstance(number, (int, Range)):
            key = tuple(value.content for value in values)
            shown = _signed(number, field) if isinstance(number, int) else number
            found.setdefault(key, []).append((shown, row.hits))
            rows.setdefault(key, CountedRow(event, values, 0, {}, {}))
    for key, counts in found.items():
        known = rows[key]
        earlier = known.numbers[field.name].counts if field.name in known.numbers else ()
        numbers = {**known.numbers, field.name: Numbers(field, (*earlier, *counts))}
        rows[key] = CountedRow(event, known.values, known.hits, known.sums, numbers)


def _values(keys: Sequence[CountedKey], contents: Sequence[Key]) -> tuple[Value, ...]:
    """The values of a row's keys, of which a value may have several."""
    parts = iter(contents)
    return tuple(Value(key.field, _content(key, [next(parts) for _ in key.texts])) for key in keys)


def _content(key: CountedKey, parts: list[Key]) -> Content | tuple[Content, ...]:
    first = parts[0]
    match first:
        case bytes():
            return first
        case Task():
            return first.comm
        case Address():
            return first.symbol
        case Frames():
            return first.symbols
        case Range():
            raise AssertionError("what rows are counted by is in no buckets")
        case int():
            numbers = [part for part in parts if isinstance(part, int)]
            return _joined(key, numbers) if key.sizes else _signed(first, key.field)


def _joined(key: CountedKey, numbers: list[int]) -> tuple[int, ...]:
    """The elements of an array that was fetched in parts; how bytes make a number is the same in both."""
    size = int(key.field.fetch.type.partition("[")[0][1:]) // 8
    byteorder = key.byteorder
    data = b"".join(number.to_bytes(size, byteorder) for number, size in zip(numbers, key.sizes, strict=True))
    return tuple(int.from_bytes(data[place : place + size], byteorder) for place in range(0, len(data), size))


def _signed(number: int, field: Field) -> int:
    """A number as the trace has it: the kernel prints all as if they had no sign."""
    is_signed = field.fetch.type.startswith("s") and not field.is_string
    return number - _WORDS if is_signed and number >= _SIGN else number


def _wrapped(number: int, field: Field) -> int:
    """A sum of 64 bits."""
    return _signed(number % _WORDS, field)


def without_probes(rows: Sequence[CountedRow]) -> tuple[CountedRow, ...]:
    """The rows with stacks that begin at what is probed; those whose stacks differ before it alone are one."""
    merged: dict[tuple[object, ...], CountedRow] = {}
    for row in rows:
        values = tuple(_at_probe(row.event, value) for value in row.values)
        key = (row.event.label, *(value.content for value in values))
        known = merged.get(key, replace(row, values=values, hits=0, sums={}, numbers={}))
        sums = {name: known.sums.get(name, 0) + number for name, number in row.sums.items()}
        numbers = {
            name: Numbers(each.field, (*(known.numbers[name].counts if name in known.numbers else ()), *each.counts))
            for name, each in row.numbers.items()
        }
        merged[key] = replace(known, hits=known.hits + row.hits, sums=sums, numbers=numbers)
    return tuple(merged.values())


def _at_probe(event: CountedEvent, value: Value) -> Value:
    is_stack = value.field.name == STACK and isinstance(value.content, tuple)
    if not is_stack or not (event.function or event.is_return) or not isinstance(value.content, tuple):
        return value
    frames = [each.decode(errors="backslashreplace") for each in value.content if isinstance(each, bytes)]
    found, _ = without_probe(frames, event.function, event.is_return)
    return replace(value, content=tuple(frame.encode() for frame in found))
