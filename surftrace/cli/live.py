"""A live trace on the command line: its echo lines, its events as they come, and what it did not see."""

import gc
import sys
from collections import deque
from contextlib import suppress

from surftrace.api import Probes, Trace
from surftrace.cli.options import Options
from surftrace.cli.report import report_notice, report_refused
from surftrace.cli.standard import Output
from surftrace.cli.status import end_status
from surftrace.cli.writers import Writer, make_writer
from surftrace.output.color import Paint
from surftrace.tracing.events import Event
from surftrace.tracing.notices import Notice
from surftrace.tracing.pipe import Interrupted, Interruption, interruption


def trace(probes: Probes, options: Options, paint: Paint, error_paint: Paint) -> int:
    """Trace until the time, the count or a signal; the result is the exit status."""
    gc.enable()
    told: deque[Notice] = deque()

    def tell(notice: Notice) -> None:
        told.append(notice)
        report_notice(notice, sys.stderr, error_paint)

    with interruption() as noted:
        with probes.trace(
            time_s=options.time_s,
            count=options.count,
            stacks=options.has_stacks,
            user_stacks=options.has_user_stacks,
            buffer_kb=options.buffer_kb,
            overwrite=options.is_overwriting,
            max_rate=options.max_rate,
            end_at_max_rate=options.is_ended_by_rate,
            instance=options.instance,
            on_notice=tell,
            interruption=noted,
        ) as running:
            report_refused(running.refused, running.plan, sys.stderr, error_paint)
            written = _Written(make_writer(options, probes, running, paint), Output(noted), told)
            try:
                with suppress(BrokenPipeError):  # whoever read has read enough
                    written.write_all(running, options.is_raw)
            except Interrupted:  # nobody reads what we write; the kernel is put in order all the same
                running.give_up(written.output.kept_events)
        written.end(running)
    return _status(running, noted, options)


def _status(trace: Trace, noted: Interruption, options: Options) -> int:
    has_lost = bool(trace.losses) or trace.pauses > 0 or trace.is_blind
    is_lost = trace.is_ended_by_rate or (options.is_strict and has_lost)
    return end_status(noted, is_lost, options.time_s is not None or options.count is not None)


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
                is_event = isinstance(record, Event)
                self.output.write(self.writer.format_record(record), is_event)
                self.count += is_event
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
