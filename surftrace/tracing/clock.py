"""The clock of a trace's times."""

import re

from surftrace.tracing.instance import Instance
from surftrace.tracing.tracefs import TracefsError


def trace_clock_s(instance: Instance) -> float:
    """What the trace's clock shows now, in seconds. Source: Linux kernel/trace/trace.c, tracing_stats_read."""
    path = f"{instance.path}/per_cpu/cpu0/stats"
    match = re.search(rb"^now ts: +(\d+\.\d+)$", instance.tracefs.read(path), re.MULTILINE)
    if match is None:
        raise TracefsError(f"{instance.tracefs.root / path} does not say what time it is")
    return float(match[1])
