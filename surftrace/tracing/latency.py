"""How long a function's calls take, as the kernel measures it: counts by powers of two, or each of the slow calls."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from surftrace.compiler.guards import UNREAD
from surftrace.compiler.latency import LatencyPlan, synthetic_type
from surftrace.compiler.plan import Plan
from surftrace.compiler.resolved import Field
from surftrace.errors import SurftraceError
from surftrace.kernel.addresses import AddressMap
from surftrace.kernel.target import Kernel
from surftrace.record import record
from surftrace.tracing.events import Content, Event, Record, Value
from surftrace.tracing.histogram import Histogram, HistogramError, Key, Range, parse_histograms
from surftrace.tracing.notices import Notice
from surftrace.tracing.pipe import Interruption
from surftrace.tracing.running import RunningKernel
from surftrace.tracing.trace import Settings, Trace, running_trace
from surftrace.tracing.tracefs import TracefsError, find_tracefs


@record
class Bucket:
    """Calls that took `low_ns` to `high_ns`, both included: how many, and all their time."""

    low_ns: int
    high_ns: int
    calls: int
    sum_ns: int


@record
class Durations:
    """How long calls took, by powers of two of nanoseconds, the shortest first. `group` is what all of them have."""

    buckets: tuple[Bucket, ...]
    group: Value | None = None

    @property
    def calls(self) -> int:
        """How many there are."""
        return sum(bucket.calls for bucket in self.buckets)

    @property
    def sum_ns(self) -> int:
        """The time of all."""
        return sum(bucket.sum_ns for bucket in self.buckets)

    @property
    def shortest_ns(self) -> tuple[int, int]:
        """The least and the most that the shortest call took: one number where it is known."""
        return _one_of(self.buckets[0], is_shortest=True) if self.buckets else (0, 0)

    @property
    def longest_ns(self) -> tuple[int, int]:
        """The least and the most that the longest call took."""
        return _one_of(self.buckets[-1], is_shortest=False) if self.buckets else (0, 0)


def _one_of(bucket: Bucket, is_shortest: bool) -> tuple[int, int]:
    """Between what the shortest, or the longest, call of a bucket lies: on its side of the average."""
    if is_shortest:
        return max(bucket.low_ns, bucket.sum_ns - (bucket.calls - 1) * bucket.high_ns), bucket.sum_ns // bucket.calls
    most = bucket.sum_ns - (bucket.calls - 1) * bucket.low_ns
    return -(-bucket.sum_ns // bucket.calls), min(bucket.high_ns, most)


@record
class SlowCall:
    """A call that took long: `event` is what was recorded when it ended, with the values of its begin."""

    event: Event
    duration_ns: int


@record
class Account:
    """What became of calls that had begun: `ended` were measured. Others were not: `dropped`, for a table was full,
    `missed`, for their return was not seen, at least `unfinished`, for they had not ended.

    Of slow calls, so many of each CPU were `lost`, which had no room in the buffer, and `unread`, for which there was
    no time at the end. `undecoded`: the text of the last table whose strings look like rows themselves, as it is.
    """

    ended: int = 0
    dropped: int = 0
    missed: int = 0
    unfinished: int = 0
    lost: tuple[tuple[int, int], ...] = ()
    unread: int = 0
    undecoded: bytes = b""

    @property
    def has_lost(self) -> bool:
        """Are there calls that ended, and are in no duration and are not shown?"""
        return bool(self.dropped or self.missed or self.lost or self.unread or self.undecoded)


class Latency:
    """A measurement that is on. `account` is known once it is finished.

    `undecoded`: the text of the kernel's table that the durations are of, where strings in it look like rows.
    """

    def __init__(self, plan: LatencyPlan, trace: Trace, symbol_at: Callable[[int], str | None]) -> None:
        self.plan = plan
        self.trace = trace
        self.account = Account()
        self.undecoded = b""
        self._read_call = call_reader(plan, symbol_at)
        # Entries are counted some moments before returns are.
        self._unfinished_before = self._unfinished()

    def durations(self) -> tuple[Durations, ...]:
        """How long the calls took that have ended so far, for each group, that with the most calls first.

        Without a group there is one. There is none where the table is `undecoded`. TracefsError where it is no table.
        """
        group = self.plan.group
        strings = (group.name,) if group is not None and group.is_string else ()
        try:
            table = self._table(self.plan.event, strings)
        except HistogramError as error:
            self.undecoded = error.text
            return ()
        self.undecoded = table.unread
        if self.undecoded:
            return ()
        buckets: dict[tuple[Key, ...], list[Bucket]] = {} if group is not None else {(): []}
        for row in table.rows:
            *others, power = row.keys
            assert isinstance(power, Range)
            buckets.setdefault(tuple(others), []).append(Bucket(power.low, power.high, row.hits, row.sums[0]))
        found = [
            Durations(
                tuple(sorted(each, key=lambda bucket: bucket.low_ns)),
                _group_value(group, key[0]) if group is not None else None,
            )
            for key, each in buckets.items()
        ]
        return tuple(sorted(found, key=lambda each: -each.calls))

    def slow_calls(self) -> Iterator[SlowCall | Record | None]:
        """Slow calls as they end, and what else there is in the trace. None is the end of what came at once."""
        for each in self.trace.records():
            call = self._read_call(each) if isinstance(each, Event) else None
            yield call or each

    def finish(self) -> None:
        """End it, and see what was not measured, before the tables go."""
        begun, ended = self._table(self.plan.entry), self._table(self.plan.end)
        unfinished = self._unfinished() - self._unfinished_before
        self.trace.finish()
        missed = sum(count for event, count in self.trace.losses.hits if event == self.plan.end)
        self.account = Account(
            ended.hits,
            begun.dropped + ended.dropped,
            missed,
            max(0, unfinished - missed),
            self.trace.losses.events,
            self.trace.losses.unread,
            self.undecoded,
        )

    def _unfinished(self) -> int:
        """How many calls have begun and not ended, those included whose return was missed.

        Calls that begin and end between the two looks make it less, and none makes it more.
        """
        begun = self._table(self.plan.entry)
        ended = self._table(self.plan.end)
        return begun.hits - ended.hits - ended.dropped

    def _table(self, event: str, strings: Sequence[str] = ()) -> Histogram:
        text = self.trace.instance.tracefs.read(f"{self.plan.folder(event)}/hist")
        try:
            return parse_histograms(text, strings, 1)[0]
        except HistogramError as error:
            if error.has_more:
                raise
            raise TracefsError(f"cannot read the durations of {self.plan.function}: {error.message}") from None

    def notices(self) -> Iterator[Notice]:
        """What there is to say of calls that are in no duration, once it is finished."""
        if self.account.dropped:
            what = "places on stacks" if self.plan.has_exact_keys else "threads"
            hint = "a filter lets less in, and each measurement begins with empty ones"
            yield Notice(f"{self.account.dropped} calls not measured: the kernel's tables of {what} were full", (hint,))
        if self.account.undecoded:
            message = f"a string in the table of {self.plan.function} looks like rows of it: it is printed as it is"
            yield Notice(message, ("measure by pid, or by a number, instead of by a string",))


class _Symbols:
    """The kernel's names for addresses, read when the first one is asked for."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self._addresses: AddressMap | None = None

    def at(self, address: int) -> str | None:
        """An address as the kernel prints one in a trace; None where it has no name."""
        if self._addresses is None:
            symbols = self.kernel.symbols()
            if symbols is None:
                return None
            self._addresses = AddressMap(symbols)
        found = self._addresses.at(address)
        if found is None:
            return None
        module = f" [{found.module}]" if found.module else ""
        return f"{found.name}+{address - found.address:#x}/{found.size:#x}{module}"


@contextmanager
def running_latency(
    make_plan: Callable[[str], LatencyPlan],
    kernel: Kernel,
    noted: Interruption,
    tell: Callable[[Notice], None],
    settings: Settings,
) -> Iterator[Latency]:
    """A measurement, on for as long as the block lasts; then the kernel is as it was found.

    `make_plan` is given the name of the instance. `tell` hears of what happens, at once and from any thread.
    SurftraceError where the kernel is not the one that runs; KernelRejected, TracefsError.
    """
    if not isinstance(kernel, RunningKernel):
        raise SurftraceError("another kernel cannot be measured here", "print the commands for it with -S")
    tracefs, features = kernel.tracefs or find_tracefs(), kernel.features()
    plans: list[LatencyPlan] = []

    def make(instance: str) -> Plan:
        plans.append(make_plan(instance))
        return plans[-1].plan

    with running_trace(make, tracefs, features, noted, tell, settings) as trace:
        latency = Latency(plans[-1], trace, _Symbols(kernel).at)
        try:
            yield latency
        except TracefsError:  # there may be nothing left to look at
            raise
        except BaseException:
            latency.finish()
            raise
        latency.finish()
    for notice in latency.notices():
        tell(notice)


def _group_value(group: Field, key: Key) -> Value:
    """A table's key as the field's value. The table has numbers without their signs."""
    if isinstance(key, int):
        return Value(group, _signed(group, key))
    assert isinstance(key, bytes)
    return Value(group, None if key == UNREAD.encode() else key)


def _signed(field: Field, number: int) -> int:
    """The number as its type has it: what a synthetic event prints has lost the sign of small ones.

    Linux kernel/trace/trace_events_synth.c, print_synth_event_num_val.
    """
    kind = synthetic_type(field)
    bits = int(kind[1:])
    number %= 1 << bits
    return number - (1 << bits) if kind[0] == "s" and number >> bits - 1 else number


def call_reader(plan: LatencyPlan, symbol_at: Callable[[int], str | None]) -> Callable[[Event], SlowCall | None]:
    """The function from the synthetic event, as text, to the call; None for another event or text."""
    duration = plan.duration.encode()
    parts = [rb"%s=(\d+)" % duration, *(rb" %s=(-?\d+)" % field.name.encode() for field in plan.numbers)]
    for number, field in enumerate(plan.strings):
        # What a string ends with is told by the nanoseconds behind it, which nobody knew when it was written.
        parts.append(rb"(?: \w+=\1)" if number else b"")
        parts.append(rb" %s=(.*)" % field.name.encode())
    form = re.compile(b"".join(parts), re.DOTALL)
    names = [field.name for field in (*plan.numbers, *plan.strings)]

    def read(event: Event) -> SlowCall | None:
        match = form.fullmatch(event.text) if event.name == plan.event else None
        if match is None:
            return None
        texts = dict(zip(names, match.groups()[1:], strict=True))
        valid = {
            field.name: int(texts[field.name]) % (1 << 64) in range(*field.valid)
            for field in plan.numbers
            if field.valid is not None
        }
        values = tuple(
            Value(
                field,
                _content(field, texts[field.name], symbol_at) if all(map(valid.__getitem__, field.guards)) else None,
            )
            for field in plan.fields
        )
        origin = replace(event.origin, task=texts[plan.task]) if plan.task else event.origin
        return SlowCall(replace(event, origin=origin, name=plan.function, values=values), int(match[1]))

    return read


def _content(field: Field, text: bytes, symbol_at: Callable[[int], str | None]) -> Content:
    if field.is_string:
        return None if text == UNREAD.encode() else text
    number = _signed(field, int(text))
    if field.fetch.type != "symbol":
        return number
    return (symbol_at(number) or hex(number)).encode()
