"""A trace that runs: a plan in force in an instance of its own, its records as they come, and what they lack."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from surftrace.compiler.plan import Plan
from surftrace.kernel.features import Features
from surftrace.kernel.machine import machine_named
from surftrace.lang.source import Diagnostic
from surftrace.record import record
from surftrace.tracing.decode import has_text, make_decoder
from surftrace.tracing.events import Event, Record
from surftrace.tracing.instance import Instance, claimed_instance
from surftrace.tracing.limits import Limit
from surftrace.tracing.losses import Losses, read_losses
from surftrace.tracing.notices import Notice, Notices
from surftrace.tracing.pipe import Interruption, opened_pipe, read_pipe
from surftrace.tracing.rate import RateWatch
from surftrace.tracing.session import applied
from surftrace.tracing.stacks import with_lines, with_stacks, with_user_places
from surftrace.tracing.tracefs import Tracefs

if TYPE_CHECKING:
    from surftrace.tracing.frames import LinesOf


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
        self,
        plan: Plan,
        instance: Instance,
        pipe: int,
        noted: Interruption,
        settings: Settings,
        notices: Notices,
        watch: RateWatch,
    ) -> None:
        self.plan = plan
        self.instance = instance
        self.pipe = pipe
        self.noted = noted
        self.settings = settings
        self.notices = notices
        self.watch = watch
        self.lines_of: LinesOf | None = None
        self.refused: Sequence[Diagnostic] = ()
        self.losses = Losses()
        self.is_stopped = False
        self.given_up = 0

    def blocks(self) -> Iterator[bytes]:
        """The kernel's own text, whole lines at once, until the time, a signal, or `Interruption.end`.

        An empty one: now it waits.
        """
        return self._read(False)

    def records(self) -> Iterator[Record | None]:
        """What is in the text, up to the Nth event. None is the end of what came at once, and comes last."""
        is_each = has_text(self.plan)
        decode = make_decoder(self.plan, is_each)
        blocks = self._read(is_each)
        records: Iterator[Record | None] = (each for block in blocks for each in (decode(block) if block else (None,)))
        seen = 0
        for each in self._with_stacks(records):
            yield each
            seen += isinstance(each, Event)
            if seen == self.settings.count:
                break
        yield None

    def _read(self, is_each: bool) -> Iterator[bytes]:
        return read_pipe(self.pipe, self.noted, self.settings.time_s, self._stop, self._look, is_each)

    def _with_stacks(self, records: Iterator[Record | None]) -> Iterator[Record | None]:
        if self.plan.has_user_stacks:
            # The kernel prints addresses then: what it makes of one does not tell where in a file it is.
            self.instance.tracefs.write(f"{self.instance.path}/options/sym-userobj", "0")
            from surftrace.tracing.mappings import UserPlaces  # most traces have no stacks

            records = with_user_places(records, UserPlaces(machine_named(os.uname().machine)))
        if self.plan.records_per_event > 1:
            records = with_stacks(records, self.plan.has_user_stacks)
        return records if self.lines_of is None else with_lines(records, self.lines_of)

    def give_up(self, events: int) -> None:
        """Read no more: so many events that were read were not shown."""
        self.noted.is_cut = True
        self.given_up = events

    def finish(self) -> None:
        """End it, and see what it has lost, before the buffers go."""
        self._look()
        self.watch.stop()
        losses = read_losses(self.instance, self.noted.is_cut)
        self.losses = replace(losses, unread=losses.unread + self.given_up)
        if self.watch.error is not None:
            raise self.watch.error
        self.notices.ended(self.watch, self.losses)

    def _look(self) -> None:
        self.notices.look_at_modules()
        pauses = self.watch.pauses

        def is_paused() -> bool:
            return self.watch.is_paused or self.watch.pauses != pauses

        self.notices.look_at_events(self.instance, is_paused, self.is_stopped)

    def _stop(self) -> None:
        self.watch.stop()
        self._look()
        self.is_stopped = True
        self.instance.stop_recording()


@contextmanager
def running_trace(
    make_plan: Callable[[str], Plan],
    tracefs: Tracefs,
    features: Features,
    noted: Interruption,
    tell: Callable[[Notice], None],
    settings: Settings,
    lines_of: "LinesOf | None" = None,
) -> Iterator[Trace]:
    """A trace, on for as long as the block lasts; then the kernel is as it was found.

    `make_plan` is given the name of the instance. `tell` hears of what happens to the trace, at once and from any
    thread. `lines_of` tells lines of source, for its stacks. Raises KernelRejected, TracefsError.
    """
    with claimed_instance(tracefs, settings.instance) as instance:
        plan = make_plan(instance.name)
        notices = Notices(plan, features, settings.limit, tell)
        watch = RateWatch(plan, instance, settings.limit, noted, notices.exceeded)
        # The pipe closes before the plan is undone: deleting a probe wipes the buffers that it wrote to.
        with watch, applied(plan, instance) as refused, opened_pipe(instance) as pipe:
            trace = Trace(plan, instance, pipe, noted, settings, notices, watch)
            trace.refused, trace.lines_of = refused, lines_of
            with watch.looking():
                yield trace
