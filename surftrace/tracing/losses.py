"""What a trace did not see, as the kernel counts it: events without room in its buffer, hits that probes missed."""

import re
from collections.abc import Iterator

from surftrace.compiler.plan import KPROBE_EVENTS, TracedEvent
from surftrace.record import record
from surftrace.tracing.instance import Instance
from surftrace.tracing.tracefs import TracefsError

_PROFILE = "kprobe_profile"
# Linux kernel/trace/trace.c, tracing_stats_read.
_STATISTIC = re.compile(rb"^(entries|overrun|commit overrun|dropped events|read events): (\d+)$", re.MULTILINE)
_LOST = ("overrun", "commit overrun", "dropped events")
# Linux kernel/trace/trace_kprobe.c, probes_write and probes_profile_seq_show: both list the same probes in one order.
_PROBE = re.compile(rb"^[pr]\d*:(\S+)/(\S+) ", re.MULTILINE)
_HITS = re.compile(rb"^  (\S+) +(\d+) +(\d+)$", re.MULTILINE)


@record
class Losses:
    """`events`: CPU -> events that had no room; `hits`: a probe's event -> hits that it missed. None that are 0."""

    events: tuple[tuple[int, int], ...] = ()
    hits: tuple[tuple[str, int], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.events or self.hits)


def read_losses(instance: Instance, events: tuple[TracedEvent, ...]) -> Losses:
    """What the kernel has counted so far; nothing of what it does not count, or of an instance that is gone."""
    lost = ((cpu, sum(statistics.get(name, 0) for name in _LOST)) for cpu, statistics in _statistics(instance))
    ours = {event.name for event in events if event.is_ours}
    missed = ((name, count) for name, count in _missed(instance) if name in ours)
    return Losses(tuple(each for each in lost if each[1]), tuple(each for each in missed if each[1]))


def _statistics(instance: Instance) -> Iterator[tuple[int, dict[str, int]]]:
    """The ring buffer's own counts for each CPU."""
    folder = f"{instance.path}/per_cpu"
    try:
        for name in instance.tracefs.folders(folder):
            text = instance.tracefs.read(f"{folder}/{name}/stats")
            yield int(name.removeprefix("cpu")), {key.decode(): int(count) for key, count in _STATISTIC.findall(text)}
    except (TracefsError, ValueError):
        return


def _missed(instance: Instance) -> Iterator[tuple[str, int]]:
    """The hits that each probe of the instance's group missed.

    The kernel tells them by the event's name alone, which probes of other groups may have too: a probe is found by its
    place among all. Where the two lists differ, somebody has changed them in between: they are read once more.
    """
    for _ in range(2):
        try:
            probes = _PROBE.findall(instance.tracefs.read(KPROBE_EVENTS))
            profile = _HITS.findall(instance.tracefs.read(_PROFILE))
        except TracefsError:
            return
        if [name for _, name in probes] == [name for name, _, _ in profile]:
            for (group, name), (_, _, missed) in zip(probes, profile, strict=True):
                if group == instance.name.encode():
                    yield name.decode(errors="replace"), int(missed)
            return
