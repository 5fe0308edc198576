"""A trace whose probes are hit too often is paused, or ended, before it takes the machine's time from everybody."""

import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from surftrace.compiler.plan import Plan
from surftrace.record import record
from surftrace.tracing.counts import read_cpu_counts, read_probe_counts
from surftrace.tracing.instance import Instance
from surftrace.tracing.limits import Limit
from surftrace.tracing.pipe import ENDING_SIGNALS, Interruption
from surftrace.tracing.session import pause, resume
from surftrace.tracing.tracefs import TracefsError

# The limit is on what comes within a second; what a faster burst may cost until it is seen is a fifth of one.
_WINDOW_S = 1.0
_LOOK_S = 0.2
PAUSE_S = 1.0
# A hit whose event the filter does not let through costs about a tenth of one that is recorded, read and printed.
HITS_PER_EVENT = 10


@record
class Excess:
    """What was too often: an event, or some that are not told apart, and how many times a second."""

    events: tuple[str, ...]
    per_s: int


@record
class Sample:
    """What was counted until a moment: events of the trace, and hits of each probe."""

    time_s: float
    events: int
    hits: dict[str, int]


class Window:
    """Samples of the last second, and the one before."""

    def __init__(self) -> None:
        self._samples: deque[Sample] = deque()

    def add(self, sample: Sample) -> Sample:
        """Add a sample; the result is the one that it is to be compared with, a second older, or as old as there is.

        On a busy machine a look may come seconds after the one before.
        """
        self._samples.append(sample)
        while len(self._samples) > 1 and self._samples[1].time_s <= sample.time_s - _WINDOW_S:
            self._samples.popleft()
        return self._samples[0]

    def clear(self) -> None:
        """Begin anew."""
        self._samples.clear()


class RateWatch:
    """Looks at a trace's counts in a thread of its own, which no slow reader of the output holds up."""

    def __init__(
        self, plan: Plan, instance: Instance, limit: Limit, noted: Interruption, tell: Callable[[Excess], None]
    ) -> None:
        self.plan = plan
        self.instance = instance
        self.limit = limit
        self.noted = noted
        self.tell = tell
        self.paused_s = 0.0
        self.pauses = 0
        self.is_paused = False
        self.error: Exception | None = None
        self._window = Window()
        self._on = threading.Event()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "RateWatch":
        # Before anything is recorded: a trace of new tasks does not begin with this one.
        if self.limit.events_per_s:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Look, for as long as the block lasts."""
        self._on.set()
        try:
            yield
        finally:
            self.stop()

    @property
    def is_ended(self) -> bool:
        """Was the trace ended?"""
        return self.limit.is_end and self.pauses > 0

    def stop(self) -> None:
        """Look no more; a trace that is paused stays so."""
        self._over.set()
        self._on.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        # A signal is for the thread that waits for it.
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDING_SIGNALS)
        self._on.wait()
        try:
            if not self._over.is_set():
                self._excess()  # from here it counts
            while not self._over.wait(_LOOK_S):
                excess = self._excess()
                if excess is not None:
                    self._hold(excess)
        except TracefsError:
            return  # the instance is gone: whoever reads its events says so

    def _hold(self, excess: Excess) -> None:
        """Pause the trace: for a while, or for what is left of it."""
        start = time.monotonic()
        self.is_paused = True
        self.pauses += 1
        self._window.clear()
        try:
            pause(self.plan, self.instance)
            self._tell(excess)
            if self.limit.is_end:
                self._over.set()
                self.noted.end()
            elif not self._over.wait(PAUSE_S):
                resume(self.plan, self.instance)
                self.is_paused = False
                self._excess()  # from here it counts again
        finally:
            self.paused_s += time.monotonic() - start

    def _tell(self, excess: Excess) -> None:
        """Whoever hears of it may raise, of which this thread must not die: the trace ends, and raises it."""
        try:
            self.tell(excess)
        except Exception as error:  # theirs to see
            self.error = error
            self.noted.end()

    def _excess(self) -> Excess | None:
        """What is too often, if anything is, by what has come within the last second."""
        hits = {count.event: count.hits for count in read_probe_counts(self.instance)}
        records = sum(count.events for count in read_cpu_counts(self.instance))
        # A stack is a record of its own.
        now = Sample(time.monotonic(), records // self.plan.records_per_event, hits)
        return excess_of(self.plan, self._window.add(now), now, self.limit)


def excess_of(plan: Plan, first: Sample, last: Sample, limit: Limit) -> Excess | None:
    """What came more often than it may between two samples, if anything did."""
    # Those of both: where others change their probes all the time, a sample may have none.
    hits = {name: count - first.hits[name] for name, count in last.hits.items() if name in first.hits}
    events, all_hits = last.events - first.events, sum(hits.values())
    span_s = last.time_s - first.time_s
    allowed = limit.events_per_s * max(_WINDOW_S, span_s)
    if events <= allowed and all_hits <= allowed * HITS_PER_EVENT:
        return None
    probe = max(hits, key=hits.__getitem__, default="")
    uncounted = [event for event in plan.events if not (event.is_ours and event.name in hits)]
    if uncounted and events - all_hits > hits.get(probe, 0):
        return Excess(tuple(event.shown_name for event in uncounted), round((events - all_hits) / span_s))
    # The two counts are not read at the same moment: a lone probe's is the greater.
    count = max(events, hits[probe]) if len(plan.events) == 1 else hits[probe]
    return Excess((probe,), round(count / span_s))
