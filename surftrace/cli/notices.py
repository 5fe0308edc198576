"""What a live trace says besides its events, on standard error: what it does not see, and why."""

import sys
from collections.abc import Sequence
from dataclasses import replace

from surftrace.cli.report import report_diagnostics
from surftrace.compiler.plan import Plan
from surftrace.compiler.scope import listed
from surftrace.kernel.features import Feature, Features
from surftrace.lang.source import Diagnostic
from surftrace.output.color import Paint, Role
from surftrace.tracing.instance import Instance
from surftrace.tracing.losses import Losses
from surftrace.tracing.modules import ModuleWatch
from surftrace.tracing.rate import PAUSE_S, Excess, Limit, RateWatch
from surftrace.tracing.session import disabled_events


class Notices:
    """Says what happens to a trace, as it happens."""

    def __init__(self, plan: Plan, features: Features, limit: Limit, paint: Paint) -> None:
        self.plan = plan
        self.features = features
        self.limit = limit
        self.paint = paint
        self.probes: dict[str, list[str]] = {}
        for event in plan.events:
            if event.module:
                self.probes.setdefault(event.module, []).append(event.name)
        self.modules = ModuleWatch(self.probes)
        self.disabled: frozenset[str] = frozenset()

    def warn(self, message: str, *hints: str) -> None:
        """A warning and its hints."""
        lines = [f"surftrace: {self.paint(Role.WARNING, 'warning')}: {message}"]
        lines += [f"{self.paint(Role.HINT, 'hint')}: {hint}" for hint in hints]
        print("\n".join(lines), file=sys.stderr, flush=True)

    def refused(self, refused: Sequence[Diagnostic]) -> None:
        """How much of a glob the kernel did not take, and why the first."""
        if refused:
            count = sum(step.is_optional for step in self.plan.steps)
            message = f"the kernel refuses {len(refused)} of {count} functions: they are left out"
            hint = f"the first one: {refused[0].message.removeprefix('the kernel refuses this: ')}"
            warning = replace(refused[0], message=message, hints=(hint, *refused[0].hints), severity="warning")
            report_diagnostics((warning,), sys.stderr, self.paint)

    def look_at_modules(self) -> None:
        """When a module that probes are in goes, and when it is there again: the probes stay, and see nothing else."""
        for name, is_loaded in self.modules.changes():
            probes = listed(self.probes[name])
            verb = "sees" if len(self.probes[name]) == 1 else "see"
            if is_loaded:
                self.warn(f"the module {name} is loaded: {probes} {verb} it")
            else:
                self.warn(f"the module {name} was unloaded: {probes} {verb} nothing more of it")

    def look_at_events(self, instance: Instance) -> None:
        """Which events somebody else has disabled."""
        disabled = frozenset(disabled_events(self.plan, instance))
        if new := sorted(disabled - self.disabled):
            self.warn(f"somebody else has disabled {listed(new)}: the trace sees nothing more of it")
        self.disabled = disabled

    def exceeded(self, excess: Excess) -> None:
        """What is too often, and what became of the trace."""
        consequence = "the trace ends" if self.limit.is_end else f"paused for {PAUSE_S:g} s"
        rate = f"{listed(excess.events)} happens {excess.per_s} times a second"
        self.warn(f"{rate}: {consequence} (--max-rate {self.limit.events_per_s})")

    def pauses(self, watch: RateWatch) -> None:
        """How long the trace was paused."""
        if watch.pauses and not self.limit.is_end:
            times = "once" if watch.pauses == 1 else f"{watch.pauses} times"
            hint = "a filter lets less in; a higher --max-rate takes more"
            self.warn(f"paused {times}, for {watch.paused_s:.1f} s: what happened meanwhile was not seen", hint)

    def losses(self, losses: Losses) -> None:
        """What had no room in the buffer, and what probes missed."""
        if losses.events:
            count = sum(count for _, count in losses.events)
            where = listed(f"{count} on CPU {cpu}" for cpu, count in losses.events)
            what = "events and stacks" if self.plan.has_stacks else "events"
            hint = "a larger one holds more (--buffer-size 16M), a filter lets less in"
            self.warn(f"{count} {what} lost, {where}: the buffer was full", hint)
        is_exact = self.features.has(Feature.EXACT_MISSES)
        reason = "the CPU was in a probe already, or too many returns at once"
        since = Feature.EXACT_MISSES.since
        hint = f"kernels before Linux {since} count a read that faults as a missed hit, too"
        for name, count in losses.hits:
            is_last = name == losses.hits[-1][0]
            missed = f"{name} {'missed' if is_exact else 'may have missed up to'} {count} hits: {reason}"
            self.warn(missed, *([hint] if is_last and not is_exact else []))
