"""surftrace from Python: all that `import surftrace` gives, and all that the command line is built on."""

import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from surftrace.compiler.plan import Buffer, Plan, build_plan
from surftrace.compiler.render import echo_lines, shell_script
from surftrace.compiler.resolve import resolve
from surftrace.compiler.resolved import Resolved
from surftrace.errors import SurftraceError
from surftrace.kernel.machine import machine_named
from surftrace.kernel.offline import OfflineKernel
from surftrace.kernel.symbols import read_symbols
from surftrace.kernel.target import Target
from surftrace.kernel.userstacks import check_user_stacks
from surftrace.lang.script import Script, parse_script
from surftrace.lang.source import CompileError, Diagnostic
from surftrace.names import did_you_mean, nearest
from surftrace.tracing.instance import SHELL_NAME
from surftrace.tracing.limits import DEFAULT_MAX_RATE, Limit
from surftrace.tracing.running import RunningKernel
from surftrace.tracing.tracefs import DEFAULT_ROOT, Tracefs, TracefsError, find_tracefs

if TYPE_CHECKING:  # what compiles needs nothing of what runs
    from surftrace.output.typed import TypedEvent
    from surftrace.tracing.events import Record
    from surftrace.tracing.frames import LinesOf
    from surftrace.tracing.losses import Losses
    from surftrace.tracing.notices import Notice
    from surftrace.tracing.pipe import Interruption
    from surftrace.tracing.trace import Settings
    from surftrace.tracing.trace import Trace as RunningTrace


class TraceWarning(UserWarning):
    """Something that happened to a trace: events were lost, it was paused, somebody disabled its events."""


def this_kernel(
    *,
    btf: Sequence[str] = (),
    vmlinux: str | None = None,
    modules: Sequence[str] = (),
    symbols: str | None = None,
    must_trace: bool = False,
) -> Target:
    """The kernel that runs. It knows its own types; files name others, or the DWARF of its modules (`--module`).

    `must_trace`: TracefsError where there is no access to tracefs, without which it can only compile.
    """
    try:
        tracefs = find_tracefs()
    except TracefsError:
        if must_trace:
            raise
        tracefs = None
    known = read_symbols(symbols) if symbols is not None else None
    kernel = RunningKernel(tracefs, btf, known, vmlinux=vmlinux, modules=modules)
    return Target(machine_named(os.uname().machine), kernel)


def other_kernel(
    *,
    btf: Sequence[str] = (),
    vmlinux: str | None = None,
    modules: Sequence[str] = (),
    symbols: str | None = None,
    release: str | None = None,
    arch: str | None = None,
) -> Target:
    """A kernel known by files: its BTF (then its modules'), or a vmlinux, or a folder, with its DWARF; or both.

    `symbols` is a System.map or a copy of /proc/kallsyms, `release` what its `uname -r` prints, `arch` its machine
    (this one's if None). SurftraceError for what cannot be read.
    """
    kernel = OfflineKernel.of_files(*btf, vmlinux=vmlinux, modules=modules, release=release, symbols_path=symbols)
    return Target(machine_named(arch or os.uname().machine), kernel)


def compile(
    *expressions: str,
    files: Sequence[str | os.PathLike[str]] = (),
    definitions: Mapping[str, str] | None = None,
    kernel: Target | None = None,
    guards: bool = True,
) -> "Probes":
    """Probes, and those in files of them, for a kernel: this one if None.

    `definitions` is what `${name}` in a file becomes. `guards` False: what lies behind a null pointer is shown as the
    kernel reads it (`--no-guard`). CompileError has what is wrong in every probe, in words: `str(error)`.
    """
    given = dict(definitions or {})
    script = parse_script(expressions, [(os.fspath(path), _read_script(path)) for path in files], given)
    if unused := sorted(given.keys() - script.names):
        if script.errors:  # a ${name} without a definition may be what this one was meant for
            raise CompileError(list(script.errors))
        hints = did_you_mean(nearest(unused[0], script.names))
        raise SurftraceError(f"nothing asks for ${{{unused[0]}}} in {', '.join(map(str, files))}", *hints)
    if not script.sources:
        raise SurftraceError(f"no probe in {', '.join(map(str, files))}" if files else "no probe given")
    target = kernel or this_kernel()
    return Probes(script, resolve(script, target, guards), target, guards)


def _read_script(path: str | os.PathLike[str]) -> str:
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise SurftraceError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SurftraceError(f"cannot read {path}: it is not UTF-8 text") from None


class Probes:
    """Probes that were compiled for a kernel. `resolved` is what they became, with warnings about them."""

    def __init__(self, script: Script, resolved: Resolved, kernel: Target, has_guards: bool) -> None:
        self.script = script
        self.resolved = resolved
        self.kernel = kernel
        self.has_guards = has_guards

    @property
    def warnings(self) -> tuple[Diagnostic, ...]:
        """What may not be meant as it was written. `str()` of one shows it under the text."""
        return self.resolved.warnings

    def plan(
        self,
        instance: str = SHELL_NAME,
        *,
        stacks: bool = False,
        user_stacks: bool = False,
        buffer_kb: int | None = None,
        overwrite: bool | None = None,
    ) -> Plan:
        """All that is written to tracefs, each write with its undo, in an instance, and a group, of that name.

        `buffer_kb` for each CPU; `overwrite`: whether new events take the place of old ones in a full buffer; None for
        both is the kernel's own. `stacks` are the kernel's, `user_stacks` those of the tasks' programs: SurftraceError
        for a kernel that records none. CompileError where a command is longer than the kernel takes.
        """
        if user_stacks:
            check_user_stacks(self.kernel.kernel)
        buffer = Buffer(buffer_kb, overwrite)
        return build_plan(self.resolved, instance, self.kernel.machine.byteorder, stacks, buffer, user_stacks)

    def commands(self, plan: Plan | None = None) -> list[str]:
        """The shell commands that do what a plan says, `plan()` if None."""
        tracefs = self._tracefs()
        return list(echo_lines(plan or self.plan(), str(tracefs.root) if tracefs is not None else DEFAULT_ROOT))

    def shell_script(self, plan: Plan | None = None) -> str:
        """A script that does what a plan says until it is ended, and then takes it back."""
        texts = (probe.source.text[probe.span.start : probe.span.end] for probe in self.script.probes)
        return shell_script(plan or self.plan(), tuple(texts))

    def _tracefs(self) -> Tracefs | None:
        if isinstance(self.kernel.kernel, RunningKernel):
            return self.kernel.kernel.tracefs
        try:
            return find_tracefs()
        except TracefsError:
            return None

    def trace(
        self,
        *,
        time_s: float | None = None,
        count: int | None = None,
        stacks: bool = False,
        user_stacks: bool = False,
        buffer_kb: int | None = None,
        overwrite: bool | None = None,
        max_rate: int = DEFAULT_MAX_RATE,
        end_at_max_rate: bool = False,
        instance: str | None = None,
        on_notice: "Callable[[Notice], None] | None" = None,
        interruption: "Interruption | None" = None,
    ) -> "AbstractContextManager[Trace]":
        """A trace, on within a `with` block, where it gives its events. Then the kernel is as it was found.

        It ends after `time_s` seconds, `count` events, or by `Trace.end()`. Above `max_rate` events a second (0: never)
        it pauses, or ends. `on_notice` hears of what happens to it, from any thread; if None, it is a TraceWarning.
        `instance` is its name in tracefs. Signals that would end the program wait while the kernel is changed, and
        SIGTERM and SIGHUP raise SystemExit in the block; with an `interruption` they are the caller's.

        The block's begin raises KernelRejected for what the kernel refuses, TracefsError for the rest.
        """
        from surftrace.tracing.frames import make_lines_of
        from surftrace.tracing.orderly import orderly
        from surftrace.tracing.trace import Settings

        kernel = running_kernel(self)

        def make_plan(name: str) -> Plan:
            return self.plan(name, stacks=stacks, user_stacks=user_stacks, buffer_kb=buffer_kb, overwrite=overwrite)

        settings = Settings(instance, time_s, count, Limit(max_rate, end_at_max_rate))
        lines_of = make_lines_of(kernel) if stacks else None
        running = _trace(make_plan, kernel, interruption, on_notice or warn, settings, lines_of)
        return running if interruption is not None else orderly(running)

    def run(
        self,
        on_event: "Callable[[TypedEvent], object]",
        *,
        time_s: float | None = None,
        count: int | None = None,
        stacks: bool = False,
    ) -> "Losses":
        """Trace, with a function called for each event, until the time, the count, or it returns False.

        The result is what the trace has not seen. It raises what `trace` raises, and what the function does.
        """
        with self.trace(time_s=time_s, count=count, stacks=stacks) as trace:
            for event in trace:
                if on_event(event) is False:
                    break
        return trace.losses


class Trace:
    """A trace that is on: an iterator over its events, which waits for the next one.

    `plan` is what was done to the kernel, `refused` what it did not take of a glob. `losses`, once the block is left:
    what the trace did not see.
    """

    def __init__(self, running: "RunningTrace") -> None:
        self.running = running
        self.plan = running.plan
        self.refused = running.refused
        self._records = running.records()

    def __iter__(self) -> "Iterator[TypedEvent]":
        return self

    def __next__(self) -> "TypedEvent":
        from surftrace.output.typed import typed_event
        from surftrace.tracing.events import Event

        for each in self._records:
            if isinstance(each, Event):
                return typed_event(each, self.plan.byteorder)
        raise StopIteration

    def records(self) -> "Iterator[Record | None]":
        """All that the trace has, as the kernel has it: events, lost ones, what is neither. None: now it waits."""
        return self._records

    def blocks(self) -> Iterator[bytes]:
        """The kernel's own text, whole lines at once, instead of records. An empty one: now it waits."""
        return self.running.blocks()

    def close(self) -> None:
        """Give no more events: after its block there is nothing to read from."""
        self._records = iter(())

    def end(self) -> None:
        """Let it end, from any thread: what was recorded before is still given."""
        self.running.noted.end()

    def give_up(self, events: int) -> None:
        """Read no more of it: so many events that it has given were not shown, nor will be what is still recorded."""
        self.running.give_up(events)

    @property
    def losses(self) -> "Losses":
        """Events that had no room in the buffer, hits that probes missed, events without time to be read."""
        return self.running.losses

    @property
    def pauses(self) -> int:
        """How often it was paused, or ended, for more than `max_rate` events."""
        return self.running.watch.pauses

    @property
    def paused_s(self) -> float:
        """How long it was paused, in seconds."""
        return self.running.watch.paused_s

    @property
    def is_ended_by_rate(self) -> bool:
        """Has it ended because of more than `max_rate` events?"""
        return self.running.watch.is_ended

    @property
    def is_blind(self) -> bool:
        """Has somebody else kept it from what it is there for: disabled events, switched it off, unloaded a module?"""
        return self.running.notices.is_blind

    def clock_s(self) -> float:
        """Now, in seconds on the clock of its events."""
        from surftrace.tracing.clock import trace_clock_s

        return trace_clock_s(self.running.instance)


@contextmanager
def _trace(
    make_plan: Callable[[str], Plan],
    kernel: RunningKernel,
    interruption: "Interruption | None",
    tell: "Callable[[Notice], None]",
    settings: "Settings",
    lines_of: "LinesOf | None",
) -> Iterator[Trace]:
    from surftrace.tracing.pipe import Interruption
    from surftrace.tracing.trace import running_trace

    tracefs = kernel.tracefs or find_tracefs()
    with ExitStack() as undos:
        noted = interruption or undos.enter_context(closing(Interruption()))
        features = kernel.features()
        running = undos.enter_context(running_trace(make_plan, tracefs, features, noted, tell, settings, lines_of))
        trace = Trace(running)
        try:
            yield trace
        except TracefsError:  # there may be nothing left to look at
            raise
        except BaseException:
            running.finish()
            raise
        finally:
            trace.close()
        running.finish()


def running_kernel(probes: Probes) -> RunningKernel:
    """The kernel that probes were compiled for. SurftraceError where it is not the one that runs."""
    kernel = probes.kernel.kernel
    if not isinstance(kernel, RunningKernel):
        raise SurftraceError("these probes were compiled for a kernel of files: they cannot run on this one")
    return kernel


def warn(notice: "Notice") -> None:
    """Say what has happened to a trace as Python does."""
    warnings.warn("; ".join((notice.message, *notice.hints)), TraceWarning, stacklevel=2)
