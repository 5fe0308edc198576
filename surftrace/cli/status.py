"""How a command that runs in the kernel ends, as the man pages name it."""

from surftrace.tracing.pipe import Interruption

# With --strict: something was not seen or not counted. Of a trace that --max-rate has ended, too.
LOSS_STATUS = 3


def end_status(noted: Interruption, is_lost: bool, is_limited: bool) -> int:
    """The exit status: of a loss, of the signal that has ended it, or 0. A signal before a limit is an end like it."""
    if is_lost:
        return LOSS_STATUS
    return 0 if noted.signal is None or is_limited else 128 + noted.signal
