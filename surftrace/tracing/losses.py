"""What a trace did not see, as the kernel counts it: events without room in its buffer, hits that probes missed."""

from surftrace.record import record
from surftrace.tracing.counts import read_cpu_counts, read_probe_counts
from surftrace.tracing.instance import Instance


@record
class Losses:
    """`events`: CPU -> events that had no room; `hits`: a probe's event -> hits that it missed. None that are 0.

    `unread`: events that were recorded, without time to read them at the end.
    """

    events: tuple[tuple[int, int], ...] = ()
    hits: tuple[tuple[str, int], ...] = ()
    unread: int = 0

    def __bool__(self) -> bool:
        return bool(self.events or self.hits or self.unread)


def read_losses(instance: Instance, is_cut: bool) -> Losses:
    """What the kernel has counted so far; nothing of what it does not count, or of an instance that is gone.

    `is_cut`: what is still to be read will not be.
    """
    counts = read_cpu_counts(instance)
    return Losses(
        tuple((count.cpu, count.lost) for count in counts if count.lost),
        tuple((count.event, count.missed) for count in read_probe_counts(instance) if count.missed),
        sum(count.unread for count in counts) if is_cut else 0,
    )
