"""A live trace: the plan applied, its echo lines shown, events printed as they come, the kernel left as it was."""

import gc
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from surftrace.cli.options import Options
from surftrace.cli.report import report_diagnostics
from surftrace.compiler.plan import Plan, build_plan
from surftrace.compiler.render import echo_lines
from surftrace.compiler.resolved import Resolved
from surftrace.compiler.values import ByteOrder
from surftrace.lang.source import Diagnostic
from surftrace.output.color import Paint, Role
from surftrace.output.text import make_formatter
from surftrace.tracing.decode import make_decoder
from surftrace.tracing.events import Event, Lost, Record, Stack
from surftrace.tracing.instance import claimed_instance
from surftrace.tracing.pipe import Interrupted, Interruption, interruption, is_writable, opened_pipe, read_pipe
from surftrace.tracing.session import applied
from surftrace.tracing.stacks import with_stacks
from surftrace.tracing.tracefs import Tracefs

# After the signal that ends the trace, whoever reads has so long to take what was recorded before.
_PATIENCE_S = 1.0


def trace(
    resolved: Resolved, byteorder: ByteOrder, tracefs: Tracefs, options: Options, paint: Paint, error_paint: Paint
) -> int:
    """Trace until the time, the count or a signal; the result is the exit status."""
    gc.enable()
    lost = 0
    with interruption() as noted, claimed_instance(tracefs, options.instance) as instance:
        plan = build_plan(resolved, instance.name, byteorder, options.has_stacks)
        decode, format_record = make_decoder(plan), make_formatter(byteorder, paint)
        # The pipe closes before the plan is undone: deleting a probe wipes the buffers that it wrote to.
        with applied(plan, instance) as refused, opened_pipe(instance) as pipe:
            _report_refused(refused, plan, error_paint)
            blocks = read_pipe(pipe, noted, options.time_s, instance.stop_recording)
            records = (record for block in blocks for record in (*decode(block), None))
            try:
                # Whoever reads the last of these lines knows that the trace is on.
                _write("".join(f"{line}\n" for line in echo_lines(plan, str(tracefs.root))), noted)
                _flush(noted)
                for record in _counted(with_stacks(records) if options.has_stacks else records, options.count):
                    if record is None:
                        _flush(noted)
                        continue
                    if isinstance(record, Lost):
                        lost += record.count
                    _write(f"{format_record(record)}\n", noted)
            except Interrupted:
                pass  # nobody reads what we write; the kernel is put in order all the same
    if lost:
        print(f"surftrace: {error_paint(Role.WARNING, 'warning')}: {lost} events lost", file=sys.stderr)
    if noted.signal is None or options.time_s is not None or options.count is not None:
        return 0
    return 128 + noted.signal


def _report_refused(refused: Sequence[Diagnostic], plan: Plan, paint: Paint) -> None:
    """Say how much of a glob the kernel did not take, and why the first."""
    if refused:
        count = sum(step.is_optional for step in plan.steps)
        message = f"the kernel refuses {len(refused)} of {count} functions: they are left out"
        hint = f"the first one: {refused[0].message.removeprefix('the kernel refuses this: ')}"
        hints = (hint, *refused[0].hints)
        report_diagnostics((replace(refused[0], message=message, hints=hints, severity="warning"),), sys.stderr, paint)


def _write(text: str, noted: Interruption) -> None:
    with _ended_by_signal(noted):
        sys.stdout.write(text)


def _flush(noted: Interruption) -> None:
    with _ended_by_signal(noted):
        sys.stdout.flush()


@contextmanager
def _ended_by_signal(noted: Interruption) -> Iterator[None]:
    """Around a write to somebody who may have stopped reading: that must not keep a signal from ending the trace."""
    if noted.signal is None:
        try:
            with noted.raising():
                yield
        except Interrupted:
            # One that came as a write ended keeps nobody from what was recorded before it.
            if not is_writable(sys.stdout.fileno(), 0):
                raise
    elif is_writable(sys.stdout.fileno(), _PATIENCE_S):
        yield
    else:
        raise Interrupted


def _counted(records: Iterator[Record | None], count: int | None) -> Iterator[Record | None]:
    """The records up to the Nth event and its stack. None, the end of a block, comes last."""
    seen = 0
    for record in records:
        if seen == count and not isinstance(record, Stack):
            break
        yield record
        seen += isinstance(record, Event)
    yield None
