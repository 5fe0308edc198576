"""What is asked of a count and `Resolved` in, a plan with hist triggers out: the kernel counts, and no event leaves it.

A trigger holds one table. Beside the one with the counts, an event has one for each value that could not be read, where
hits are counted whose key would be what an earlier event left there; and one for each value whose numbers are asked
for, with the value as one more key: the kernel has no least and no greatest number of a row, and no sum of what it
cannot add.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from enum import Enum

from surftrace.compiler.countedfields import Key, Number, Prepared, number_of_field, prepare
from surftrace.compiler.guards import opposite
from surftrace.compiler.plan import Mark, Plan, Step, TracedEvent, conditional, definition, traced_event
from surftrace.compiler.resolved import AllOf, AnyOf, Condition, Field, Resolved, ResolvedProbe, Test
from surftrace.errors import SurftraceError
from surftrace.kernel.features import Feature, Features
from surftrace.kernel.target import Target
from surftrace.lang.syntax import Comparison, Kind
from surftrace.record import record

# Linux kernel/trace/tracing_map.h: TRACING_MAP_KEYS_MAX; TRACING_MAP_VALS_MAX, of which the count of hits is one.
MAX_KEYS = 3
MAX_SUMS = 2
# TRACING_MAP_BITS_MIN, _DEFAULT, _MAX.
MIN_ROWS, DEFAULT_ROWS, MAX_ROWS = 1 << 7, 1 << 11, 1 << 17
# Linux kernel/trace/trace_events_hist.c: HIST_KEY_SIZE_MAX is MAX_FILTER_STR_VAL (256) and HIST_STACKTRACE_SIZE.
MAX_KEY_SIZE = 256 + 16 * 8
# What every event has, always the same: a key for what is not told apart.
_ANY = "common_type"
# hist_field_log2 rounds up to a power of two: beyond this there is none of 64 bits, and it gives the least.
_MAX_POWER = 1 << 63


@record
class Spread:
    """A histogram of a value: buckets that are powers of two, or all of one width."""

    name: str
    width: int | None = None


@record
class Counting:
    """What is asked: hits by values, their sums, their least and greatest, histograms of them; the rows of a table."""

    by: tuple[str, ...] = ()
    sums: tuple[str, ...] = ()
    ranges: tuple[str, ...] = ()
    spreads: tuple[Spread, ...] = ()
    rows: int | None = None


class Role(Enum):
    """What a table is for."""

    HITS = "hits"
    UNREAD = "unread"
    VALUES = "values"


@record
class Table:
    """A table of an event's. `keys` are those of its rows; of VALUES, `value` is one more, the last: numbers, or ranges
    of them; of UNREAD, it is what could not be read. `sums` are the fields that the kernel adds up.
    """

    role: Role
    keys: tuple[Key, ...]
    sums: tuple[Field, ...] = ()
    value: Field | None = None
    step: Step = Step("", "")

    @property
    def strings(self) -> frozenset[str]:
        """The keys that the kernel prints as strings."""
        return frozenset(key.texts[0] for key in self.keys if key.is_string)


@record
class CountedEvent:
    """An event with its tables, in the order of their triggers. `label` is what the probe is put at, as people know it.

    `function` is the kernel's function of a probe that is in one; empty for others.
    """

    event: TracedEvent
    label: str
    function: str
    is_return: bool
    tables: tuple[Table, ...]


@record
class CountingPlan:
    """A plan, and what its triggers count."""

    plan: Plan
    events: tuple[CountedEvent, ...]
    counting: Counting


def plan_counting(
    resolved: Resolved, counting: Counting, instance: str, target: Target, has_guards: bool = True
) -> CountingPlan:
    """The plan that counts. SurftraceError for what the kernel cannot do, CompileError for what a probe has not."""
    features = target.kernel.features()
    if not features.has(Feature.HIST_TRIGGER):
        hint = "a later one cannot where it was built without CONFIG_HIST_TRIGGERS, as Debian's 5.10 for clouds is"
        raise SurftraceError(features.lacking(Feature.HIST_TRIGGER), hint)
    _check(counting)
    steps: list[Step] = []
    events = []
    for probe in resolved.probes:
        prepared = prepare(probe, _asked_names(counting), target, has_guards)
        event = traced_event(prepared.probe, instance)
        tables = tuple(
            replace(table, step=_trigger(prepared.probe, event, table, condition, counting, instance))
            for table, condition in _tables(prepared, counting, features)
        )
        if event.is_ours:
            steps.append(definition(prepared.probe, event))
        steps.extend(table.step for table in tables)
        events.append(CountedEvent(event, _label(probe), _function(probe), probe.kind is Kind.RETURN, tables))
    labels = [event.label for event in events]
    events = [_told_apart(event) if labels.count(event.label) > 1 else event for event in events]
    triggers = [table.step for event in events for table in event.tables]
    if len(triggers) > 1:
        # To make a table takes milliseconds, a probe's first one tens of them: all begin when the last one is there.
        paused = {step: with_keyword(step, "pause") for step in triggers}
        steps = [paused.get(step, step) for step in steps]
        steps.extend(replace(with_keyword(step, "cont"), undo=None) for step in triggers)
    plan = Plan(instance, tuple(steps), tuple(each.event for each in events), target.machine.byteorder, False)
    return CountingPlan(plan, tuple(events), counting)


def _label(probe: ResolvedProbe) -> str:
    """What was written, but the function itself of a glob."""
    span = probe.span
    place = probe.place if probe.is_one_of_many else probe.source.text[span.start : span.end]
    return f"{place} (return)" if probe.kind in (Kind.RETURN, Kind.USER_RETURN) else place


def _told_apart(event: CountedEvent) -> CountedEvent:
    return replace(event, label=f"{event.event.name}: {event.label}")


def _function(probe: ResolvedProbe) -> str:
    return probe.place.rpartition(":")[2].partition("+")[0] if probe.kind in (Kind.ENTRY, Kind.RETURN) else ""


def _asked_names(counting: Counting) -> tuple[str, ...]:
    spreads = (spread.name for spread in counting.spreads)
    return tuple(dict.fromkeys((*counting.by, *counting.sums, *counting.ranges, *spreads)))


def _check(counting: Counting) -> None:
    """Refuse what is asked for twice."""
    names = (counting.by, counting.sums, counting.ranges, tuple(spread.name for spread in counting.spreads))
    for each in names:
        if twice := next((name for name in each if each.count(name) > 1), None):
            raise SurftraceError(f"{twice} is asked for twice")


def _tables(prepared: Prepared, counting: Counting, features: Features) -> Iterator[tuple[Table, Condition | None]]:
    """The tables of an event, each with the condition under which a hit is in it."""
    keys = tuple(prepared.keys[name] for name in counting.by)
    numbers = {name: number_of_field(prepared, name) for name in _numeric_names(counting)}
    condition = prepared.probe.condition
    for name, tests in prepared.guards.items():
        known = _operands(condition)
        if unknown := [test for test in tests if _meaning(test) not in known]:
            unread = AnyOf(tuple(opposite(test) for test in unknown))
            yield Table(Role.UNREAD, (), (), prepared.keys[name].field), _all_of(condition, unread)
            condition = _all_of(condition, *unknown)
    added = [name for name in counting.sums if numbers[name].is_added]
    sums = tuple(numbers[name].field for name in added)
    _check_room(prepared, keys, len(sums), 0)
    yield Table(Role.HITS, keys, sums), condition
    listed = dict.fromkeys((*counting.ranges, *(name for name in counting.sums if name not in added)))
    spread_only = [spread for spread in counting.spreads if spread.name not in listed]
    if listed or spread_only:
        _check_room(prepared, keys, 0, 1)
    for name in listed:
        yield _values(keys, numbers[name], ""), condition
    for spread in spread_only:
        yield from _spread(keys, numbers[spread.name], spread, condition, features)


def _numeric_names(counting: Counting) -> tuple[str, ...]:
    return (*counting.sums, *counting.ranges, *(spread.name for spread in counting.spreads))


def _values(keys: tuple[Key, ...], number: Number, modifier: str) -> Table:
    return Table(Role.VALUES, (*keys, Key(number.field, (f"{number.field.name}{modifier}",))), (), number.field)


def _spread(
    keys: tuple[Key, ...], number: Number, spread: Spread, condition: Condition | None, features: Features
) -> Iterator[tuple[Table, Condition | None]]:
    """The tables of a histogram: in buckets what the kernel can put there, the rest as it is."""
    is_linear = spread.width is not None
    if not number.is_added or (is_linear and not features.has(Feature.HIST_BUCKETS)):
        yield _values(keys, number, ""), condition
        return
    modifier = f".buckets={spread.width}" if is_linear else ".log2"
    name, span = number.field.name, number.field.span
    test = None
    if number.is_signed:
        test = Test(name, Comparison.GREATER_EQUAL, 0, False, span)
    elif number.bits == 64 and not is_linear:  # the kernel's words
        test = Test(name, Comparison.LESS_EQUAL, _MAX_POWER, True, span)
    if test is None:
        yield _values(keys, number, modifier), condition
        return
    yield _values(keys, number, modifier), _all_of(condition, test)
    yield _values(keys, number, ""), _all_of(condition, opposite(test))


def _check_room(prepared: Prepared, keys: Sequence[Key], sums: int, more: int) -> None:
    """Refuse more keys and sums than a table of the kernel's has, and larger ones."""
    parts = sum(len(key.texts) for key in keys) + more
    if parts > MAX_KEYS:
        long = [f"{key.field.name} takes {len(key.texts)}" for key in keys if len(key.texts) > 1]
        least = ["a least, a greatest or a histogram takes one"] * more
        hints = (", ".join([*long, *least]),) if long or least else ()
        raise prepared.fail(f"the kernel counts by {MAX_KEYS} keys at most, this needs {parts}", *hints)
    if sums > MAX_SUMS:
        raise prepared.fail(f"the kernel adds up {MAX_SUMS} values of a row at most, not {sums}")
    size = sum(key.size for key in keys) + 8 * more
    if size > MAX_KEY_SIZE:
        sizes = ", ".join(f"{key.field.name} {key.size}" for key in keys)
        hint = f"by bytes: {sizes}; comm can be counted by pid instead"
        raise prepared.fail(f"the kernel's keys have {MAX_KEY_SIZE} bytes together, these need {size}", hint)


def _all_of(condition: Condition | None, *more: Condition) -> Condition:
    """All of these hold."""
    known = condition.operands if isinstance(condition, AllOf) else () if condition is None else (condition,)
    operands = (*known, *more)
    return AllOf(operands) if len(operands) > 1 else operands[0]


def _operands(condition: Condition | None) -> set[tuple[object, ...]]:
    """What holds wherever a condition does."""
    operands = condition.operands if isinstance(condition, AllOf) else (condition,)
    return {_meaning(each) for each in operands if isinstance(each, Test)}


def _meaning(test: Test) -> tuple[object, ...]:
    return test.field, test.operator, test.constant, test.is_function


def _trigger(
    probe: ResolvedProbe,
    event: TracedEvent,
    table: Table,
    condition: Condition | None,
    counting: Counting,
    instance: str,
) -> Step:
    """The step that makes a table; its undo takes it away, before the probe that it holds."""
    keys = ",".join(text for key in table.keys for text in key.texts) or _ANY
    sums = "".join(f",{field.name}" for field in table.sums)
    size = f":size={_rows(counting.rows)}" if counting.rows is not None and table.role is not Role.UNREAD else ""
    text = f"hist:keys={keys}:vals=hitcount{sums}{size}"
    path = f"instances/{instance}/events/{event.system}/{event.name}/trigger"
    step = Step(path, text, is_append=True, event=event.name if event.is_ours else "")
    if condition is not None:
        step = conditional(probe, condition, replace(step, text=f"{text} if "))
    marks = (Mark(0, len(text), probe.source, probe.span), *step.marks)
    # A file that is opened without O_APPEND loses all its triggers: event_trigger_regex_open.
    return replace(step, marks=marks, undo=Step(path, f"!{step.text}", is_append=True, event=step.event))


def with_keyword(step: Step, keyword: str) -> Step:
    """The step of a table with `:pause` or `:cont`: it makes the table so, or changes the one that there is.

    Source: Linux Documentation/trace/histogram.rst.
    """
    trigger, separator, condition = step.text.partition(" if ")
    longer = f"{trigger}:{keyword}"
    shift = len(longer) - len(trigger)
    first, *others = step.marks
    marks = (
        replace(first, end=first.end + shift),
        *(replace(mark, start=mark.start + shift, end=mark.end + shift) for mark in others),
    )
    return replace(step, text=f"{longer}{separator}{condition}", marks=marks)


def _rows(rows: int) -> int:
    """What the kernel makes of a number of rows: parse_map_size."""
    return max(MIN_ROWS, 1 << (rows - 1).bit_length())
