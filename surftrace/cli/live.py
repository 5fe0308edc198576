"""A live trace on the command line: its echo lines, its events as they come, and what it did not see."""

import gc
import sys
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from surftrace.cli.options import Options
from surftrace.cli.report import report_diagnostics, report_notice
from surftrace.cli.standard import Output
from surftrace.cli.writers import Writer, make_writer
from surftrace.compiler.plan import Buffer, Plan, build_plan
from surftrace.compiler.resolved import Resolved
from surftrace.kernel.target import Target
from surftrace.lang.source import Diagnostic
from surftrace.output.color import Paint
from surftrace.tracing.events import Event
from surftrace.tracing.limits import Limit
from surftrace.tracing.notices import Notice
from surftrace.tracing.pipe import Interrupted, Interruption, interruption
from surftrace.tracing.trace import Settings, Trace, running_trace
from surftrace.tracing.tracefs import Tracefs

LOSS_STATUS = 3


def trace(
    resolved: Resolved, target: Target, tracefs: Tracefs, options: Options, paint: Paint, error_paint: Paint
) -> int:
    """Trace until the time, the count or a signal; the result is the exit status."""
    gc.enable()
    buffer = Buffer(options.buffer_kb, options.is_overwriting)
    limit = Limit(options.max_rate, options.is_ended_by_rate)
    settings = Settings(options.instance, options.time_s, options.count, limit)
    told: deque[Notice] = deque()

    def make_plan(instance: str) -> Plan:
        return build_plan(resolved, instance, target.machine.byteorder, options.has_stacks, buffer)

    def tell(notice: Notice) -> None:
        report_notice(notice, sys.stderr, error_paint)
        told.append(notice)

    with interruption() as noted:
        with running_trace(make_plan, tracefs, target.kernel.features(), noted, tell, settings) as running:
            _report_refused(running.refused, running.plan, error_paint)
            written = _Written(make_writer(options, running, str(tracefs.root), paint), Output(noted), told)
            with suppress(Interrupted):  # nobody reads what we write; the kernel is put in order all the same
                written.write_all(running, options.is_raw)
            running.finish()
        written.end(running)
    return _status(running, noted, options)


def _status(trace: Trace, noted: Interruption, options: Options) -> int:
    has_lost = bool(trace.losses) or trace.watch.pauses > 0
    if trace.watch.is_ended or (options.is_strict and has_lost):
        return LOSS_STATUS
    if noted.signal is None or options.time_s is not None or options.count is not None:
        return 0
    return 128 + noted.signal


class _Written:
    """A trace on its way to standard output."""

    def __init__(self, writer: Writer, output: Output, told: deque[Notice]) -> None:
        self.writer = writer
        self.output = output
        self.told = told
        self.count = 0
        self.is_read = True

    def write_all(self, trace: Trace, is_raw: bool) -> None:
        """Write what comes, as it comes. Raises Interrupted."""
        self.is_read = False
        # Whoever reads the last line of the head knows that the trace is on.
        self.output.write(self.writer.head)
        self.output.flush()
        if is_raw:
            for block in trace.blocks():
                self.output.pass_on(block)
                self.output.flush()
        else:
            for record in trace.records():
                if record is None:
                    self._flush()
                    continue
                self.output.write(self.writer.format_record(record))
                self.count += isinstance(record, Event)
        self.is_read = True

    def end(self, trace: Trace) -> None:
        """Write what comes last, if anybody reads."""
        if self.is_read:
            self.output.write("".join(self.writer.format_notice(notice) for notice in self._notices()))
            self.output.write(self.writer.format_end(trace, self.count))
            with suppress(Interrupted):
                self.output.flush()

    def _flush(self) -> None:
        self.output.write("".join(self.writer.format_notice(notice) for notice in self._notices()))
        self.output.flush()

    def _notices(self) -> list[Notice]:
        return [self.told.popleft() for _ in range(len(self.told))]


def _report_refused(refused: Sequence[Diagnostic], plan: Plan, paint: Paint) -> None:
    """Say how much of a glob the kernel did not take, and why the first."""
    if refused:
        count = sum(step.is_optional for step in plan.steps)
        message = f"the kernel refuses {len(refused)} of {count} functions: they are left out"
        hint = f"the first one: {refused[0].message.removeprefix('the kernel refuses this: ')}"
        warning = replace(refused[0], message=message, hints=(hint, *refused[0].hints), severity="warning")
        report_diagnostics((warning,), sys.stderr, paint)
