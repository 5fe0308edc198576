"""How often the probes of a trace may be hit."""

from surftrace.record import record

# As many as the kernel lets perf sample (kernel.perf_event_max_sample_rate).
DEFAULT_MAX_RATE = 100_000


@record
class Limit:
    """Events a second, on all CPUs together, and what happens above: the trace ends, or else is paused. 0: no limit."""

    events_per_s: int = DEFAULT_MAX_RATE
    is_end: bool = False
