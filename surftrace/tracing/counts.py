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
# Twenty sessions that come and go change the probes every second; to read them takes a few milliseconds.
_TRIES = 5


@record
class CpuCount:
    """Events of one CPU's buffer: all that came; among them those that had no room or were overwritten, and those that
    are still to be read.
    """

    cpu: int
    events: int
    lost: int
    unread: int


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
            cpu = int(name.removeprefix("cpu"))
            counts.append(CpuCount(cpu, sum(found.values()), lost, found.get("entries", 0)))
    except (TracefsError, ValueError):
        return ()
    return tuple(counts)


def read_probe_counts(instance: Instance) -> tuple[ProbeCount, ...]:
    """What each probe of the instance's group has counted so far. The kernel counts nothing of probes on events."""
    return tuple(count for path in _PROFILES for count in _profile(instance, path))


def _profile(instance: Instance, path: str) -> Iterator[ProbeCount]:
    """The counts of the probes in one file.

    The kernel tells them by the event's name alone, which probes of other groups may have too: a probe is found by its
    place among all. Where somebody has changed the probes meanwhile, they are read once more.
    """
    profile, pattern = _PROFILES[path]
    for _ in range(_TRIES):
        try:
            before = instance.tracefs.read(path)
            if f":{instance.name}/".encode() not in before:
                return
            counts = pattern.findall(instance.tracefs.read(profile))
            after = instance.tracefs.read(path)
        except TracefsError:
            return
        probes = _PROBE.findall(after)
        if before == after and [name for _, name in probes] == [name for name, _, _ in counts]:
            for (group, name), (_, hits, missed) in zip(probes, counts, strict=True):
                if group == instance.name.encode():
                    yield ProbeCount(name.decode(errors="replace"), int(hits), int(missed or 0))
            return
