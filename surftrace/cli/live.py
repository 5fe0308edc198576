"""A live trace: the plan applied, its echo lines shown, events printed as they come, the kernel left as it was."""

import gc
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace

from surftrace.cli.options import Options
from surftrace.cli.report import report_diagnostics
from surftrace.compiler.plan import Buffer, Plan, build_plan
from surftrace.compiler.render import echo_lines
from surftrace.compiler.resolved import Resolved
from surftrace.compiler.scope import listed
from surftrace.kernel.features import Feature
from surftrace.kernel.target import Target
from surftrace.lang.source import Diagnostic
from surftrace.output.color import Paint, Role
from surftrace.output.text import make_formatter
from surftrace.tracing.decode import make_decoder
from surftrace.tracing.events import Event, Record, Stack
from surftrace.tracing.instance import claimed_instance
from surftrace.tracing.losses import Losses, read_losses
from surftrace.tracing.modules import ModuleWatch
from surftrace.tracing.pipe import Interrupted, Interruption, interruption, is_writable, opened_pipe, read_pipe
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
    byteorder = target.machine.byteorder
    gc.enable()
    losses = Losses()
    with interruption() as noted, claimed_instance(tracefs, options.instance) as instance:
        buffer = Buffer(options.buffer_kb, options.is_overwriting)
        plan = build_plan(resolved, instance.name, byteorder, options.has_stacks, buffer)
        decode, format_record = make_decoder(plan), make_formatter(byteorder, paint)
        # The pipe closes before the plan is undone: deleting a probe wipes the buffers that it wrote to.
        with applied(plan, instance) as refused, opened_pipe(instance) as pipe:
            _report_refused(refused, plan, error_paint)
            modules = _Modules(plan, error_paint)
            blocks = read_pipe(pipe, noted, options.time_s, instance.stop_recording, modules.look)
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
                modules.look()
            except Interrupted:
                pass  # nobody reads what we write; the kernel is put in order all the same
            losses = read_losses(instance, plan.events)
    _report_losses(losses, target.kernel.features().has(Feature.EXACT_MISSES), error_paint)
    if losses and options.is_strict:
        return LOSS_STATUS
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


def _report_losses(losses: Losses, are_misses_exact: bool, paint: Paint) -> None:
    """Say what the trace did not see."""
    warning = f"surftrace: {paint(Role.WARNING, 'warning')}"
    if losses.events:
        count = sum(count for _, count in losses.events)
        where = listed(f"{count} on CPU {cpu}" for cpu, count in losses.events)
        print(f"{warning}: {count} events lost, {where}: the buffer was full", file=sys.stderr)
        print("hint: a larger one holds more (--buffer-size 16M), a filter lets less in", file=sys.stderr)
    reason = "the CPU was in a probe already, or too many returns at once"
    for name, count in losses.hits:
        missed = f"{name} missed {count} hits" if are_misses_exact else f"{name} may have missed up to {count} hits"
        print(f"{warning}: {missed}: {reason}", file=sys.stderr)
    if losses.hits and not are_misses_exact:
        since = Feature.EXACT_MISSES.since
        print(f"hint: kernels before Linux {since} count a read that faults as a missed hit, too", file=sys.stderr)


class _Modules:
    """Says when a module that probes are in goes, and when it is there again: the probes stay, and see nothing else."""

    def __init__(self, plan: Plan, paint: Paint) -> None:
        self.probes: dict[str, list[str]] = {}
        for event in plan.events:
            if event.module:
                self.probes.setdefault(event.module, []).append(event.name)
        self.watch = ModuleWatch(self.probes)
        self.paint = paint

    def look(self) -> None:
        """Say what has happened since the last look."""
        for name, is_loaded in self.watch.changes():
            probes = listed(self.probes[name])
            verb = "sees" if len(self.probes[name]) == 1 else "see"
            what = (
                f"is loaded: {probes} {verb} it" if is_loaded else f"was unloaded: {probes} {verb} nothing more of it"
            )
            warning = self.paint(Role.WARNING, "warning")
            print(f"surftrace: {warning}: the module {name} {what}", file=sys.stderr, flush=True)


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
            if self.noted.signal is not None and not is_writable(self.descriptor, _PATIENCE_S):
                raise Interrupted
            # A pipe with room takes so much without blocking; a terminal that was stopped (Ctrl-S) may take nothing.
            with self.noted.raising() if self._may_block() else nullcontext():
                written = os.write(self.descriptor, data[:_UNBLOCKED_BYTES])
            data = data[written:]

    def _may_block(self) -> bool:
        return self.noted.signal is None and (self.is_terminal or not is_writable(self.descriptor, 0))


def _counted(records: Iterator[Record | None], count: int | None) -> Iterator[Record | None]:
    """The records up to the Nth event and its stack. None, the end of a block, comes last."""
    seen = 0
    for record in records:
        if seen == count and not isinstance(record, Stack):
            break
        yield record
        seen += isinstance(record, Event)
    yield None
