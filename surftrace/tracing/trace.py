"""A trace that runs: a plan in force in an instance of its own, its records as they come, and what they lack."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from surftrace.compiler.plan import Plan
from surftrace.kernel.features import Features
from surftrace.lang.source import Diagnostic
from surftrace.record import record
from surftrace.tracing.decode import make_decoder
from surftrace.tracing.events import Event, Record
from surftrace.tracing.instance import Instance, claimed_instance
from surftrace.tracing.limits import Limit
from surftrace.tracing.losses import Losses, read_losses
from surftrace.tracing.notices import Notice, Notices
from surftrace.tracing.pipe import Interruption, opened_pipe, read_pipe
from surftrace.tracing.rate import RateWatch
from surftrace.tracing.session import applied
from surftrace.tracing.stacks import with_stacks
from surftrace.tracing.tracefs import Tracefs


@record
class Settings:
    """How long a trace runs, and what may not be exceeded. `time_s` and `count`: None for as long as nobody ends it."""

    instance: str | None = None
    time_s: float | None = None
    count: int | None = None
    limit: Limit = Limit()


class Trace:
    """A trace that is on. `refused`: what the kernel did not take of a glob. `losses` are known once it is finished."""

    def __init__(
        self, plan: Plan, instance: Instance, pipe: int, noted: Interruption, settings: Settings, notices: Notices
    ) -> None:
        self.plan = plan
        self.instance = instance
        self.pipe = pipe
        self.noted = noted
        self.settings = settings
        self.notices = notices
        self.watch = RateWatch(plan, instance, settings.limit, noted, notices.exceeded)
        self.refused: Sequence[Diagnostic] = ()
        self.losses = Losses()

    def blocks(self) -> Iterator[bytes]:
        """The kernel's own text, whole lines at once, until the time, a signal, or the caller's end."""
        return read_pipe(self.pipe, self.noted, self.settings.time_s, self._stop, self._look)

    def records(self) -> Iterator[Record | None]:
        """What is in the text, up to the Nth event. None is the end of what came at once, and comes last."""
        decode = make_decoder(self.plan)
        records: Iterator[Record | None] = (record for block in self.blocks() for record in (*decode(block), None))
        seen = 0
        for each in with_stacks(records) if self.plan.has_stacks else records:
            yield each
            seen += isinstance(each, Event)
            if seen == self.settings.count:
                break
        yield None

    def finish(self) -> None:
        """End it, and see what it has lost, before the buffers go."""
        self._look()
        self.watch.stop()
        self.losses = read_losses(self.instance, self.noted.is_cut)
        self.notices.ended(self.watch, self.losses)

    def _look(self) -> None:
        self.notices.look_at_modules()
        if not self.watch.is_paused:
            self.notices.look_at_events(self.instance)

    def _stop(self) -> None:
        self.watch.stop()
        self.instance.stop_recording()


@contextmanager
def running_trace(
    make_plan: Callable[[str], Plan],
    tracefs: Tracefs,
    features: Features,
    noted: Interruption,
    tell: Callable[[Notice], None],
    settings: Settings,
) -> Iterator[Trace]:
    """A trace, on for as long as the block lasts; then the kernel is as it was found.

    `make_plan` is given the name of the instance. `tell` hears of what happens to the trace, at once and from any
    thread. Raises KernelRejected, TracefsError.
    """
    with claimed_instance(tracefs, settings.instance) as instance:
        plan = make_plan(instance.name)
        notices = Notices(plan, features, settings.limit, tell)
        # The pipe closes before the plan is undone: deleting a probe wipes the buffers that it wrote to.
        with applied(plan, instance) as refused, opened_pipe(instance) as pipe:
            trace = Trace(plan, instance, pipe, noted, settings, notices)
            trace.refused = refused
            with trace.watch:
                yield trace
