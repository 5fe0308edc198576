"""How many examples are drawn, and what each may cost: CPU time and memory."""

import gc
import os
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager

from hypothesis import HealthCheck, settings

# How many times as many examples as in `make test`; those of a run without it are always the same.
FACTOR = int(os.environ.get("SURFTRACE_FUZZ_FACTOR", "0"))
MAX_ADDRESS_SPACE = 4 << 30

_MAX_CPU_S = 1.0
# What _work takes on a machine with its processors to itself. A busy one shares caches, and whole cores with others.
_WORK_S = 0.05
_MAX_PEAK = 200 << 20


def fuzzing(examples: int) -> settings:
    """So many examples, or FACTOR times as many. What fails prints the line that reproduces it."""
    return settings(
        max_examples=examples * max(1, FACTOR),
        deadline=None,
        derandomize=not FACTOR,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )


@contextmanager
def limited_time() -> Iterator[None]:
    """Fail if what is done here takes more than a second of CPU time.

    Without the garbage collector, which would go through all that the tests before have left.
    """
    gc.disable()
    start = time.process_time()
    try:
        yield
        cpu_s = time.process_time() - start
    finally:
        gc.enable()
    assert cpu_s < _MAX_CPU_S or cpu_s < _MAX_CPU_S * _work() / _WORK_S


def _work() -> float:
    """The CPU time of a work that is always the same."""
    start = time.process_time()
    for _ in range(2_000_000):
        pass
    return time.process_time() - start


@contextmanager
def limited_memory() -> Iterator[None]:
    """Fail if what is done here needs more than 200 MB at once. Slows Python down several times."""
    tracemalloc.start()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < _MAX_PEAK
