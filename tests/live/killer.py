"""In a guest: surftrace is killed after each of its writes to the kernel, then what is left is cleaned up.

After one write is before the next: nothing else changes the kernel. Prints a line for each kill: the write, and whether
the kernel was as before once it was cleaned up, or what differed.
"""

import difflib
import os
import signal
import sys
from collections.abc import Callable

from surftrace.cli import main as command
from surftrace.tracing.tracefs import Tracefs
from tests.live.inside import forked, others, resolve_once, state

_WRITERS = ("write", "make_folder", "remove_folder")
_MAX_WRITES = 200


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


def _check_kill(number: int, argv: list[str], before: list[str]) -> bool:
    """Kill a trace after a write, clean up, tell what is left; the result is False where it ended before that write."""

    def trace() -> int:
        _kill_after(number)
        return command.main(argv)

    status = forked(trace)
    is_killed = os.WIFSIGNALED(status)
    if is_killed and number % 2:  # the next trace cleans up as `surftrace clean` does
        assert forked(lambda: command.main([*argv, "-c", "1", "-t", "0.01"])) == 0
    else:
        assert forked(lambda: command.main(["clean"])) == 0
    difference = list(difflib.unified_diff(before, state(), lineterm="", n=0))
    print(f"{number}: {'killed' if is_killed else 'ended'} {difference or 'ok'}", flush=True)
    return is_killed


def _main(argv: list[str]) -> None:
    resolve_once(argv)
    with others("vfs_write"):
        assert forked(lambda: command.main(argv)) == 0  # a kernel enlarges its buffer at the first trace
        before = state()
        for number in range(_MAX_WRITES):
            if not _check_kill(number, argv, before):
                break
    print("done", flush=True)


if __name__ == "__main__":
    _main(sys.argv[1:])
