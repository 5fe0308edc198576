"""What the kernel counts of a trace: events that each CPU recorded and lost, hits of each probe and those it missed."""

import re
from collections.abc import Iterator

from surftrace.compiler.plan import KPROBE_EVENTS, UPROBE_EVENTS
from surftrace.record import record
from surftrace.tracing.instance import Instance
from surftrace.tracing.tracefs import TracefsError

# Linux kernel/trace/trace.c, tracing_stats_read.
_STATISTIC = re.compile(rb"^(entries|overrun|commit overrun|dropped events|read events): (\d+)$", re.MULTILINE)
_LOST = ("overrun", "commit overrun", "dropped events")
# Linux kernel/trace/trace_kprobe.c and trace_uprobe.c, probes_seq_show and probes_profile_seq_show: the file of the
# probes and that of their counts list the same probes in one order. A program's path may hold anything but a newline.
_PROBE = re.compile(rb"^[pr]\d*:(\S+)/(\S+) ", re.MULTILINE)
_PROFILES = {
    KPROBE_EVENTS: ("kprobe_profile", re.compile(rb"^  (\S+) +(\d+) +(\d+)$", re.MULTILINE)),
    UPROBE_EVENTS: ("uprobe_profile", re.compile(rb"^  .* (\S+) +(\d+)()$", re.MULTILINE)),
}


@record
class CpuCount:
    """Events of one CPU's buffer: all that came, and those among them that had no room or were overwritten."""

    cpu: int
    events: int
    lost: int


@record
class ProbeCount:
    """How often a probe was hit, whatever its filter said, and how often it was not seen to be."""

    event: str
    hits: int
    missed: int


def read_cpu_counts(instance: Instance) -> tuple[CpuCount, ...]:
    """What each CPU has counted so far; nothing of an instance that is gone."""
    folder = f"{instance.path}/per_cpu"
    counts = []
    try:
        for name in instance.tracefs.folders(folder):
            text = instance.tracefs.read(f"{folder}/{name}/stats")
            found = {key.decode(): int(count) for key, count in _STATISTIC.findall(text)}
            lost = sum(found.get(key, 0) for key in _LOST)
            counts.append(CpuCount(int(name.removeprefix("cpu")), sum(found.values()), lost))
    except (TracefsError, ValueError):
        return ()
    return tuple(counts)


def read_probe_counts(instance: Instance) -> tuple[ProbeCount, ...]:
    """What each probe of the instance's group has counted so far. The kernel counts nothing of probes on events."""
    return tuple(count for path in _PROFILES for count in _profile(instance, path))


def _profile(instance: Instance, path: str) -> Iterator[ProbeCount]:
    """The counts of the probes in one file.

    The kernel tells them by the event's name alone, which probes of other groups may have too: a probe is found by its
    place among all. Where the two lists differ, somebody has changed them in between: they are read once more.
    """
    profile, pattern = _PROFILES[path]
    for _ in range(2):
        try:
            probes = _PROBE.findall(instance.tracefs.read(path))
            counts = pattern.findall(instance.tracefs.read(profile)) if probes else []
        except TracefsError:
            return
        if [name for _, name in probes] == [name for name, _, _ in counts]:
            for (group, name), (_, hits, missed) in zip(probes, counts, strict=True):
                if group == instance.name.encode():
                    yield ProbeCount(name.decode(errors="replace"), int(hits), int(missed or 0))
            return
