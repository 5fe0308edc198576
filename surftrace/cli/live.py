"""A live trace: the plan applied, its echo lines shown, events printed as they come, the kernel left as it was."""

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import nullcontext

from surftrace.cli.notices import Notices
from surftrace.cli.options import Options
from surftrace.compiler.plan import Buffer, build_plan
from surftrace.compiler.render import echo_lines
from surftrace.compiler.resolved import Resolved
from surftrace.kernel.target import Target
from surftrace.output.color import Paint
from surftrace.output.text import make_formatter
from surftrace.tracing.decode import make_decoder
from surftrace.tracing.events import Event, Record, Stack
from surftrace.tracing.instance import claimed_instance
from surftrace.tracing.losses import read_losses
from surftrace.tracing.pipe import Interrupted, Interruption, interruption, is_writable, opened_pipe, read_pipe
from surftrace.tracing.rate import Limit, RateWatch
from surftrace.tracing.session import applied
from surftrace.tracing.stacks import with_stacks
from surftrace.tracing.tracefs import Tracefs

# After the signal that ends the trace, whoever reads has so long to take what was recorded before.
_PATIENCE_S = 1.0
# PIPE_BUF of pipe(7).
_UNBLOCKED_BYTES = 4096
LOSS_STATUS = 3


def trace(
    resolved: Resolved, target: Target, tracefs: Tracefs, options: Options, paint: Paint, error_paint: Paint
) -> int:
    """Trace until the time, the count or a signal; the result is the exit status."""
    gc.enable()
    byteorder, limit = target.machine.byteorder, Limit(options.max_rate, options.is_ended_by_rate)
    with interruption() as noted, claimed_instance(tracefs, options.instance) as instance:
        buffer = Buffer(options.buffer_kb, options.is_overwriting)
        plan = build_plan(resolved, instance.name, byteorder, options.has_stacks, buffer)
        notices = Notices(plan, target.kernel.features(), limit, error_paint)
        decode, format_record = make_decoder(plan), make_formatter(byteorder, paint)
        # The pipe closes before the plan is undone: deleting a probe wipes the buffers that it wrote to.
        with (
            applied(plan, instance) as refused,
            opened_pipe(instance) as pipe,
            RateWatch(plan, instance, limit, noted, notices.exceeded) as watch,
        ):
            notices.refused(refused)

            def look() -> None:
                notices.look_at_modules()
                if not watch.is_paused:
                    notices.look_at_events(instance)

            def stop() -> None:
                watch.stop()
                instance.stop_recording()

            blocks = read_pipe(pipe, noted, options.time_s, stop, look)
            records = (record for block in blocks for record in (*decode(block), None))
            output = _Output(noted)
            try:
                # Whoever reads the last of these lines knows that the trace is on.
                output.write("".join(f"{line}\n" for line in echo_lines(plan, str(tracefs.root))))
                output.flush()
                for record in _counted(with_stacks(records) if options.has_stacks else records, options.count):
                    if record is None:
                        output.flush()
                        continue
                    output.write(f"{format_record(record)}\n")
                look()
            except Interrupted:
                pass  # nobody reads what we write; the kernel is put in order all the same
            watch.stop()
            losses = read_losses(instance)
    notices.pauses(watch)
    notices.losses(losses)
    if watch.is_ended or (options.is_strict and (losses or watch.pauses)):
        return LOSS_STATUS
    if noted.signal is None or options.time_s is not None or options.count is not None:
        return 0
    return 128 + noted.signal


class _Output:
    """Standard output, for a reader that may stop reading: that must not keep a signal from ending the trace."""

    def __init__(self, noted: Interruption) -> None:
        self.noted = noted
        self.descriptor = sys.stdout.fileno()
        self.is_terminal = os.isatty(self.descriptor)
        self.pending: list[str] = []
        sys.stdout.flush()

    def write(self, text: str) -> None:
        """Keep a text until the next flush."""
        self.pending.append(text)

    def flush(self) -> None:
        """Write all that was kept. Interrupted where a signal has come and nobody takes it."""
        text, self.pending = "".join(self.pending), []
        data = memoryview(text.encode(sys.stdout.encoding, sys.stdout.errors or "backslashreplace"))
        while data:
            if self.noted.is_ending and not is_writable(self.descriptor, _PATIENCE_S):
                raise Interrupted
            # A pipe with room takes so much without blocking; a terminal that was stopped (Ctrl-S) may take nothing.
            with self.noted.raising() if self._may_block() else nullcontext():
                written = os.write(self.descriptor, data[:_UNBLOCKED_BYTES])
            data = data[written:]

    def _may_block(self) -> bool:
        return not self.noted.is_ending and (self.is_terminal or not is_writable(self.descriptor, 0))


def _counted(records: Iterator[Record | None], count: int | None) -> Iterator[Record | None]:
    """The records up to the Nth event and its stack. None, the end of a block, comes last."""
    seen = 0
    for record in records:
        if seen == count and not isinstance(record, Stack):
            break
        yield record
        seen += isinstance(record, Event)
    yield None
