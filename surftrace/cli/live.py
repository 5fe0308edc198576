"""A live trace: the plan applied, its echo lines shown, events printed as they come, the kernel left as it was."""

import gc
import os
import sys
from collections.abc import Iterator

from surftrace.cli.options import Options
from surftrace.compiler.plan import build_plan
from surftrace.compiler.render import echo_lines
from surftrace.compiler.resolved import Resolved
from surftrace.kernel.machine import machine_named
from surftrace.output.color import Paint, Role
from surftrace.output.text import make_formatter
from surftrace.tracing.decode import make_decoder
from surftrace.tracing.events import Event, Lost, Record, Stack
from surftrace.tracing.instance import claimed_instance
from surftrace.tracing.pipe import interruption, opened_pipe, read_pipe
from surftrace.tracing.session import applied
from surftrace.tracing.tracefs import Tracefs


def trace(resolved: Resolved, tracefs: Tracefs, options: Options, paint: Paint, error_paint: Paint) -> int:
    """Trace until the time, the count or a signal; the result is the exit status."""
    gc.enable()
    machine = machine_named(options.arch or os.uname().machine)
    lost = 0
    with interruption() as noted, claimed_instance(tracefs, options.instance) as instance:
        plan = build_plan(resolved, instance.name, machine.byteorder, options.has_stacks)
        format_record = make_formatter(machine.byteorder, paint)
        # The pipe closes before the plan is undone: deleting a probe wipes the buffers that it wrote to.
        with applied(plan, instance), opened_pipe(instance) as pipe:
            # Whoever reads the last of these lines knows that the trace is on.
            print(*echo_lines(plan, str(tracefs.root)), sep="\n", flush=True)
            blocks = read_pipe(pipe, noted, options.time_s)
            decode = make_decoder(plan)
            records = (record for block in blocks for record in _flushed(decode(block)))
            for record in _counted(records, options.count, options.has_stacks):
                lost += record.count if isinstance(record, Lost) else 0
                print(format_record(record))
    if lost:
        print(f"surftrace: {error_paint(Role.WARNING, 'warning')}: {lost} events lost", file=sys.stderr)
    if noted.signal is None or (options.time_s is not None or options.count is not None):
        return 0
    return 128 + noted.signal


def _flushed(records: Iterator[Record]) -> Iterator[Record]:
    """The records of one block, flushed at its end."""
    yield from records
    sys.stdout.flush()


def _counted(records: Iterator[Record], count: int | None, has_stacks: bool) -> Iterator[Record]:
    """The records up to the Nth event; with stacks, up to the stack that follows it."""
    seen = 0
    for record in records:
        if isinstance(record, Event):
            if seen == count:
                return
            seen += 1
        yield record
        is_whole = isinstance(record, Stack) if has_stacks else True
        if seen == count and is_whole:
            sys.stdout.flush()
            return
