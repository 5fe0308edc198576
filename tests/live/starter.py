"""In a guest: starts traces in forks of a process that has resolved their probes before: in a tenth of the time.

A command is a line of JSON on standard input, [method of Starter, arguments...], and so is its answer.
"""

import fcntl
import json
import mmap
import os
import pty
import resource
import signal
import sys
import termios
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import NoReturn

from surftrace import api, this_kernel
from surftrace.cli import entry
from surftrace.cli import main as command
from surftrace.compiler.plan import Plan
from surftrace.compiler.resolve import resolve
from surftrace.compiler.resolved import Resolved
from surftrace.kernel.target import Target
from surftrace.lang.script import Script
from surftrace.tracing.tracefs import find_tracefs

_FOLDER = Path("/run/traces")
# It is on once it has written this.
_ON = b"/tracing_on"
_LOOK_S = 0.005
_READ_BYTES = 1 << 16


@dataclass(slots=True)
class _Trace:
    """`reader` is what its output is read from, a pipe or a terminal, where that is no file."""

    output: Path
    errors: Path
    reader: int | None = None
    status: int | None = None
    text: bytes = b""


class Starter:
    """The traces that were started, by their process ids."""

    def __init__(self) -> None:
        self.traces: dict[int, _Trace] = {}
        self.resolved: set[tuple[str, ...]] = set()

    def start(self, words: Sequence[str], output: str, spoiled: str, is_poor: bool) -> int:
        """Start a trace on a "pipe" or a "terminal", or with its output in a file; the result is its process id.

        The kernel does not know what is `spoiled` in filters. With `is_poor` SIGUSR1 takes its memory away.
        """
        if tuple(words) not in self.resolved and words[0] != "clean" and "-o" not in words:
            _run_unseen(*words, "-S")
            self.resolved.add(tuple(words))
        number = len(self.traces)
        trace = _Trace(Path(output or _FOLDER / f"{number}.out"), _FOLDER / f"{number}.err")
        if output == "terminal":
            trace.reader, stdout = pty.openpty()
        elif output == "pipe":
            trace.reader, stdout = os.pipe()
        else:
            stdout = _create(trace.output)
        stderr = os.dup(stdout) if output == "terminal" else _create(trace.errors)
        pid = os.fork()
        if not pid:
            _become(words, stdout, stderr, spoiled, is_poor)
        os.close(stdout)
        os.close(stderr)
        self.traces[pid] = trace
        return pid

    def wait_until_on(self, pid: int, timeout_s: float) -> bool:
        """Has it said within that time that it traces?"""
        _is_soon(lambda: _ON in self._output(pid) or self._has_ended(pid), timeout_s)
        return _ON in self._output(pid)

    def kill(self, pid: int, signals: Sequence[tuple[float, int]]) -> int:
        """Send signals, each so many seconds after the one before; the result is how many found it alive."""
        for sent, (after_s, number) in enumerate(signals):
            time.sleep(after_s)
            if self._has_ended(pid):
                return sent
            os.kill(pid, number)
        return len(signals)

    def wait(self, pid: int, timeout_s: float) -> tuple[int | None, str, str]:
        """Its exit status, minus the signal that ended it, or None where it had to be killed; what it wrote."""
        if not _is_soon(lambda: self._has_ended(pid), timeout_s):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        trace = self.traces[pid]
        errors = trace.errors.read_text(errors="replace") if trace.errors.exists() else ""
        return trace.status, self._output(pid).decode(errors="replace"), errors

    def hang_up(self, pid: int) -> None:
        """Close the terminal or the pipe that it writes to."""
        trace = self.traces[pid]
        assert trace.reader is not None
        os.close(trace.reader)
        trace.reader = None

    def fork(self, count: int) -> None:
        """Fork, which the traces see."""
        for _ in range(count):
            child = os.fork()
            if not child:
                os._exit(0)
            os.waitpid(child, 0)

    def instances(self) -> list[str]:
        """The names of all instances."""
        return sorted(path.name for path in Path("/sys/kernel/tracing/instances").iterdir())

    def _output(self, pid: int) -> bytes:
        trace = self.traces[pid]
        if trace.reader is not None:
            os.set_blocking(trace.reader, False)
            with suppress(OSError):  # nothing to be read now, or never more
                trace.text += os.read(trace.reader, _READ_BYTES)
        elif trace.output.exists():
            trace.text = trace.output.read_bytes()
        return trace.text

    def _has_ended(self, pid: int) -> bool:
        trace = self.traces[pid]
        if trace.status is None:
            ended, status = os.waitpid(pid, os.WNOHANG)
            trace.status = os.waitstatus_to_exitcode(status) if ended else None
        return trace.status is not None


def _create(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)


def _is_soon(is_so: Callable[[], bool], timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while not (found := is_so()) and time.monotonic() < deadline:
        time.sleep(_LOOK_S)
    return found


def _become(words: Sequence[str], stdout: int, stderr: int, spoiled: str, is_poor: bool) -> NoReturn:
    """Do what the command itself does, but for the start of Python."""
    try:
        os.setsid()
        for number, descriptor in enumerate((os.open(os.devnull, os.O_RDONLY), stdout, stderr)):
            os.dup2(descriptor, number)
        os.closerange(3, 256)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if os.isatty(1):
            fcntl.ioctl(1, termios.TIOCSCTTY, 0)
        sys.argv = ["surftrace", *words]
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115 # for the process
        sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115 # as Python's own
        if spoiled:
            build = api.__dict__["build_plan"]
            api.__dict__["build_plan"] = lambda *arguments: _spoiled(build(*arguments), spoiled)
        if is_poor:
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
            threading.Thread(target=_hoard, daemon=True).start()
        entry.main()
    except BaseException:
        sys.excepthook(*sys.exc_info())
        sys.stderr.flush()
    finally:
        os._exit(1)


def _spoiled(plan: Plan, spoiled: str) -> Plan:
    """The plan with filters that the kernel refuses: it takes all that the compiler makes."""
    steps = (
        replace(step, text=step.text.replace(spoiled, spoiled[::-1])) if step.path.endswith("/filter") else step
        for step in plan.steps
    )
    return replace(plan, steps=tuple(steps))


def _hoard() -> None:
    """At SIGUSR1 take all the memory that there is, and let there be no more."""
    hoard: list[bytes] = []
    signal.sigwait({signal.SIGUSR1})
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * mmap.PAGESIZE
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for size in (1 << 20, 1 << 16, 1 << 12, 256, 64):
        with suppress(MemoryError):
            while True:
                hoard.append(bytes(size))
    signal.pause()


def _resolve_once() -> None:
    """Have the command resolve the same probes only once, in this process for its forks."""
    resolved: dict[tuple[str, ...], Resolved] = {}

    def resolve_new(script: Script, target: Target, guards: bool) -> Resolved:
        texts = tuple(source.text for source in script.sources)
        if texts not in resolved:
            resolved[texts] = resolve(script, target, guards)
        return resolved[texts]

    api.__dict__["resolve"] = resolve_new
    known = cache(this_kernel)

    def known_kernel(*, must_trace: bool = False, **given: object) -> Target:
        target = known(must_trace=must_trace, **given)
        # Each has its own descriptors.
        target.kernel.__dict__["tracefs"] = find_tracefs() if must_trace else None
        return target

    command.__dict__["this_kernel"] = known_kernel


def _run_unseen(*words: str) -> None:
    """Run surftrace in this process: what it has read and compiled, forks have."""
    shown, null = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    assert command.main(words) == 0
    sys.stdout.flush()
    os.dup2(shown, 1)
    os.close(shown)
    os.close(null)


def main() -> None:
    """Obey until the end of the standard input."""
    _FOLDER.mkdir(exist_ok=True)
    _resolve_once()
    _run_unseen("-t", "0.01", "e sched/sched_process_fork")
    starter = Starter()
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        print(json.dumps(getattr(starter, name)(*arguments)), flush=True)


if __name__ == "__main__":
    main()
