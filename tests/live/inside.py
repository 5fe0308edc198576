"""What programs in a guest share: surftrace in forks, numbered calls, what others see of tracefs and have there."""

import contextlib
import importlib
import mmap
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from surftrace import api
from surftrace.cli import entry
from surftrace.cli import main as command
from surftrace.compiler.resolve import resolve
from surftrace.compiler.resolved import Resolved
from surftrace.kernel.target import Target
from surftrace.lang.script import Script
from surftrace.tracing.tracefs import Tracefs

ROOT = Path("/sys/kernel/tracing")
OTHERS = "others"
# A trace loads it when it starts: forks need not.
importlib.import_module("surftrace.cli.live")

# Nothing else in a guest asks for this, or with such an offset.
CALLED = "generic_fadvise"
FIRST_OFFSET = 1 << 32
PROBE = f"p {CALLED} offset len advice comm=$comm file->f_flags ino=file->f_inode->i_ino f:offset>={FIRST_OFFSET}"

_FILES = (
    "kprobe_events",
    "uprobe_events",
    "dynamic_events",
    "set_event",
    "current_tracer",
    "trace_options",
    "tracing_on",
)
_TICK_S = 0.02


def state() -> list[str]:
    """What other users of tracefs see."""
    # Some kernels have none of it.
    synthetic = ["synthetic_events"] if (ROOT / "synthetic_events").exists() else []
    names = [*_FILES, *synthetic, *(f"instances/{name}/set_event" for name in Tracefs(ROOT).folders("instances"))]
    return [f"{name}: {line}" for name in names for line in (ROOT / name).read_text().splitlines()]


@contextlib.contextmanager
def others(probe: str, steps: Sequence[tuple[str, str]] = (("enable", "1"),)) -> Iterator[str]:
    """Somebody else's probe and instance: gives the folder of the event, whose files are written as the steps say."""
    tracefs = Tracefs(ROOT)
    instance = f"instances/{OTHERS}"
    event = f"{instance}/events/{OTHERS}/theirs"
    tracefs.make_folder(instance)
    tracefs.write("kprobe_events", f"p:{OTHERS}/theirs {probe}", is_append=True)
    for name, text in steps:
        tracefs.write(f"{event}/{name}", text)
    try:
        yield event
    finally:
        tracefs.write(f"{event}/enable", "0")
        tracefs.remove_folder(instance)
        tracefs.write("kprobe_events", f"-:{OTHERS}/theirs", is_append=True)


def resolve_once(argv: Sequence[str]) -> None:
    """Resolve the probes of a command line once: forks need not do so again."""
    found: list[Resolved] = []

    def keep(script: Script, target: Target, guards: bool) -> Resolved:
        found.append(resolve(script, target, guards))
        return found[0]

    api.__dict__["resolve"] = keep
    assert command.main([*argv, "-S"]) == 0
    api.__dict__["resolve"] = lambda *_: found[0]


def forked(run: Callable[[], int]) -> int:
    """The wait status of a child that runs this, its output put away."""
    null = os.open(os.devnull, os.O_WRONLY)
    child = fork(run, null)
    os.close(null)
    return os.waitpid(child, 0)[1]


def fork(run: Callable[[], int], stdout: int, stderr: int = 2) -> int:
    """The process id of a child that runs this and ends with its result."""
    sys.stdout.flush()
    # Python's own part of a fork would print an interrupt and go on.
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT,))
    child = os.fork()
    if not child:
        _become(run, stdout, stderr)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT,))
    return child


def _become(run: Callable[[], int], stdout: int, stderr: int) -> NoReturn:
    status = 1
    try:
        os.dup2(stdout, 1)
        os.dup2(stderr, 2)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT,))
        status = run()
        sys.stdout.flush()
    except KeyboardInterrupt:  # before anything else answers it
        status = 130
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def surftrace(argv: Sequence[str]) -> NoReturn:
    """What the command itself does, but for the start of Python."""
    sys.argv = ["surftrace", *argv]
    entry.main()


class Caller:
    """A process that calls a function so many times a second, with offsets that rise by one, until it is stopped.

    `started` and `done` are the numbers, from 1 on, of the last call that it began and that has returned.
    """

    def __init__(self, per_s: float, count: int | None = None) -> None:
        self._numbers = memoryview(mmap.mmap(-1, mmap.PAGESIZE)).cast("Q")
        self._per_s = per_s
        self._count = count
        null = os.open(os.devnull, os.O_WRONLY)
        self._child = fork(self._run, null)
        os.close(null)

    @property
    def started(self) -> int:
        """The last call that it began."""
        return self._numbers[0]

    @property
    def done(self) -> int:
        """The last call that has returned."""
        return self._numbers[1]

    def stop(self) -> int:
        """End it; the result is how many calls it made."""
        self._numbers[2] = 1
        assert os.waitpid(self._child, 0)[1] == 0
        return self.done

    def _run(self) -> int:
        file = os.memfd_create("called")
        start = time.monotonic()
        while not self._numbers[2]:
            due = int((time.monotonic() - start) * self._per_s)
            for number in range(self.done + 1, min(due, self._count or due) + 1):
                self._numbers[0] = number
                os.posix_fadvise(file, FIRST_OFFSET + number, 0, os.POSIX_FADV_NORMAL)
                self._numbers[1] = number
            time.sleep(_TICK_S)
        return 0
