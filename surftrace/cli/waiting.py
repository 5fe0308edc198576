"""Waiting while the kernel counts: until the time or a signal, and from one table to the next."""

import math
import time

from surftrace.tracing.counting import Counter
from surftrace.tracing.pipe import Interruption

# Another look at whether modules have come or gone.
_LOOK_S = 1.0


def wait(counter: Counter, noted: Interruption, time_s: float | None) -> None:
    """Until so many seconds have passed, or a signal; modules that come and go are told of meanwhile."""
    deadline = time.monotonic() + (time_s if time_s is not None else math.inf)
    while (left_s := deadline - time.monotonic()) > 0 and not noted.is_soon(min(_LOOK_S, left_s)):
        counter.notices.look_at_modules()


def next_time(last_s: float, every_s: float, now_s: float) -> float:
    """The first time after now of those that are `every_s` apart. Those that have passed meanwhile are left out.

    They pass where the process was stopped (Ctrl-Z), or waited for whoever reads.
    """
    return last_s + every_s * (math.floor(max(0.0, now_s - last_s) / every_s) + 1)
