"""What happens to a trace, in words: events that are lost, pauses, modules that go, events that somebody disables."""

from collections.abc import Callable

from surftrace.compiler.plan import Plan
from surftrace.compiler.scope import listed
from surftrace.kernel.features import Feature, Features
from surftrace.record import record
from surftrace.tracing.instance import Instance
from surftrace.tracing.limits import Limit
from surftrace.tracing.losses import Losses
from surftrace.tracing.modules import ModuleWatch
from surftrace.tracing.rate import PAUSE_S, Excess, RateWatch
from surftrace.tracing.session import disabled_events, is_switched_off


@record
class Notice:
    """A sentence about the trace, and what to do."""

    message: str
    hints: tuple[str, ...] = ()


class Notices:
    """Tells what happens to a trace, as it happens. `tell` may be called from any thread."""

    def __init__(self, plan: Plan, features: Features, limit: Limit, tell: Callable[[Notice], None]) -> None:
        self.plan = plan
        self.features = features
        self.limit = limit
        self.tell = tell
        self.probes: dict[str, list[str]] = {}
        for event in plan.events:
            if event.module:
                self.probes.setdefault(event.module, []).append(event.name)
        self.modules = ModuleWatch(self.probes)
        self.disabled: frozenset[str] = frozenset()
        self.is_off = False
        # Has the trace not seen, for a while or since, what it is there for?
        self.is_blind = False

    def look_at_modules(self) -> None:
        """When a module that probes are in goes, and when it is there again: the probes stay, and see nothing else."""
        for name, is_loaded in self.modules.changes():
            probes = listed(self.probes[name])
            verb = "sees" if len(self.probes[name]) == 1 else "see"
            what = (
                f"is loaded: {probes} {verb} it" if is_loaded else f"was unloaded: {probes} {verb} nothing more of it"
            )
            if is_loaded:
                self.tell(Notice(f"the module {name} {what}"))
            else:
                self._tell_blind(f"the module {name} {what}")

    def look_at_events(self, instance: Instance, is_paused: Callable[[], bool], is_stopped: bool) -> None:
        """What somebody else has switched off: events, or all of the trace if it is not stopped.

        Not what a pause has switched off, which may come meanwhile.
        """
        if is_paused():
            return
        disabled = frozenset(disabled_events(self.plan, instance))
        is_off = not is_stopped and is_switched_off(instance)
        if is_paused():
            return
        if new := sorted(disabled - self.disabled):
            self._tell_blind(f"somebody else has disabled {listed(new)}: the trace sees nothing more of it")
        if is_off and not self.is_off:
            self._tell_blind("somebody else has switched the trace off (tracing_on): it sees nothing more")
        self.disabled, self.is_off = disabled, is_off

    def _tell_blind(self, message: str) -> None:
        self.is_blind = True
        self.tell(Notice(message))

    def exceeded(self, excess: Excess) -> None:
        """What is too often, and what became of the trace."""
        consequence = "the trace ends" if self.limit.is_end else f"paused for {PAUSE_S:g} s"
        rate = f"{listed(excess.events)} happens {excess.per_s} times a second"
        self.tell(Notice(f"{rate}: {consequence} (--max-rate {self.limit.events_per_s})"))

    def ended(self, watch: RateWatch, losses: Losses) -> None:
        """How long the trace was paused, what was not read or had no room in the buffer, and what probes missed."""
        what = "events and stacks" if self.plan.records_per_event > 1 else "events"
        if watch.pauses and not self.limit.is_end:
            times = "once" if watch.pauses == 1 else f"{watch.pauses} times"
            hint = "a filter lets less in; a higher --max-rate takes more"
            message = f"paused {times}, for {watch.paused_s:.1f} s: what happened meanwhile was not seen"
            self.tell(Notice(message, (hint,)))
        if losses.unread:
            hint = "more came than can be read and shown: a filter lets less in"
            self.tell(Notice(f"{losses.unread} {what} not shown: there was no time for them at the end", (hint,)))
        if losses.events:
            count = sum(count for _, count in losses.events)
            where = listed(f"{count} on CPU {cpu}" for cpu, count in losses.events)
            hint = "a larger one holds more (--buffer-size 16M), a filter lets less in"
            self.tell(Notice(f"{count} {what} lost, {where}: the buffer was full", (hint,)))
        self.tell_misses(losses)

    def tell_misses(self, losses: Losses) -> None:
        """Hits that probes missed."""
        missed, hints = "missed", list[str]()
        if not self.features.has(Feature.EXACT_MISSES):
            missed = "may have missed up to"
            hints = [f"kernels before Linux {Feature.EXACT_MISSES.since} count a read that faults as a missed hit, too"]
        reason = "the CPU was in a probe already, or too many returns at once"
        for number, (name, count) in enumerate(losses.hits, 1):
            is_last = number == len(losses.hits)
            self.tell(Notice(f"{name} {missed} {count} hits: {reason}", tuple(hints) if is_last else ()))
