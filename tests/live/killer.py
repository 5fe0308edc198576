"""In a guest: surftrace is killed after each of its writes to the kernel, then what is left is cleaned up.

After one write is before the next: nothing else changes the kernel. Prints a line for each kill: the write, and whether
the kernel was as before once it was cleaned up, or what differed.
"""

import contextlib
import difflib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

from surftrace.cli import main as command
from surftrace.compiler.resolved import Resolved
from surftrace.tracing.tracefs import Tracefs

_ROOT = Path("/sys/kernel/tracing")
_FILES = (
    "kprobe_events",
    "uprobe_events",
    "dynamic_events",
    "set_event",
    "current_tracer",
    "trace_options",
    "tracing_on",
)
_OTHERS = "others"
_WRITERS = ("write", "make_folder", "remove_folder")
_MAX_WRITES = 200


def _state() -> list[str]:
    """What other users of tracefs see."""
    names = [*_FILES, *(f"instances/{name}/set_event" for name in Tracefs(_ROOT).folders("instances"))]
    return [f"{name}: {line}" for name in names for line in (_ROOT / name).read_text().splitlines()]


@contextlib.contextmanager
def _others() -> Iterator[None]:
    """Somebody else's probe and instance."""
    tracefs = Tracefs(_ROOT)
    instance = f"instances/{_OTHERS}"
    tracefs.make_folder(instance)
    tracefs.write("kprobe_events", f"p:{_OTHERS}/theirs vfs_write", is_append=True)
    tracefs.write(f"{instance}/events/{_OTHERS}/theirs/enable", "1")
    try:
        yield
    finally:
        tracefs.write(f"{instance}/events/{_OTHERS}/theirs/enable", "0")
        tracefs.remove_folder(instance)
        tracefs.write("kprobe_events", f"-:{_OTHERS}/theirs", is_append=True)


def _kill_after(number: int) -> None:
    """Have this process killed after its write of that number, counted from 0."""
    seen = iter(range(_MAX_WRITES))

    def around(original: Callable[..., None]) -> Callable[..., None]:
        def call(self: Tracefs, *arguments: object, **options: object) -> None:
            original(self, *arguments, **options)
            if next(seen) == number:
                os.kill(os.getpid(), signal.SIGKILL)

        return call

    for name in _WRITERS:
        setattr(Tracefs, name, around(getattr(Tracefs, name)))


def _forked(run: Callable[[], int]) -> int:
    """The wait status of a child that runs this, its output put away."""
    child = os.fork()
    if not child:
        _become(run)
    return os.waitpid(child, 0)[1]


def _become(run: Callable[[], int]) -> NoReturn:
    status = 1
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        status = run()
    finally:
        os._exit(status)


def _prepared(argv: list[str]) -> Resolved:
    """The probes, resolved once: children need not do so again."""
    found: list[Resolved] = []
    original = command._resolve

    def keep(*arguments: object) -> Resolved:
        found.append(original(*arguments))  # type: ignore[arg-type]
        return found[0]

    command._resolve = keep  # type: ignore[assignment]
    assert command.main([*argv, "-S"]) == 0
    return found[0]


def _check_kill(number: int, argv: list[str], before: list[str]) -> bool:
    """Kill a trace after a write, clean up, tell what is left; the result is False where it ended before that write."""

    def trace() -> int:
        _kill_after(number)
        return command.main(argv)

    status = _forked(trace)
    is_killed = os.WIFSIGNALED(status)
    if is_killed and number % 2:  # the next trace cleans up as `surftrace clean` does
        assert _forked(lambda: command.main([*argv, "-c", "1", "-t", "0.01"])) == 0
    else:
        assert _forked(lambda: command.main(["clean"])) == 0
    difference = list(difflib.unified_diff(before, _state(), lineterm="", n=0))
    print(f"{number}: {'killed' if is_killed else 'ended'} {difference or 'ok'}", flush=True)
    return is_killed


def _main(argv: list[str]) -> None:
    resolved = _prepared(argv)
    command._resolve = lambda *_: resolved
    with _others():
        assert _forked(lambda: command.main(argv)) == 0  # a kernel enlarges its buffer at the first trace
        before = _state()
        for number in range(_MAX_WRITES):
            if not _check_kill(number, argv, before):
                break
    print("done", flush=True)


if __name__ == "__main__":
    _main(sys.argv[1:])
