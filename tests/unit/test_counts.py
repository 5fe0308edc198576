"""What the kernel counts of a probe is told of that probe, whatever others do to theirs meanwhile."""

import os
from pathlib import Path

import pytest

from surftrace.compiler.plan import Plan
from surftrace.tracing.counts import ProbeCount, read_probe_counts
from surftrace.tracing.instance import Instance
from surftrace.tracing.limits import Limit
from surftrace.tracing.rate import Sample, Window, excess_of
from surftrace.tracing.tracefs import Tracefs


class _Shared(Tracefs):
    """Probes that others change each time after somebody has looked at them: all are called f0, and hit alike often."""

    __slots__ = ()

    def read(self, path: str) -> bytes:
        """The groups that there are now, or the hits of their probes; then the next groups are there."""
        states = sorted((self.root / "states").iterdir())
        groups = states[0].read_text().split()
        if path == "kprobe_events":
            if len(states) > 1:
                states[0].unlink()
            return "".join(f"p:{group}/f0 vfs_read\n" for group in groups).encode()
        if path == "kprobe_profile":
            return "".join(f"  f0   {ord(group[-1])}   0\n" for group in groups).encode()
        return b""


# The groups at each look; a probe has as many hits as its group's last character says.
_CASES = [
    pytest.param(["a surftrace b"], ord("e"), id="alone"),
    pytest.param(["a surftrace b", "surftrace b c"], ord("e"), id="one-goes-and-one-comes"),
    pytest.param(["a surftrace b", "c surftrace b", "d c surftrace"], ord("e"), id="more-than-once"),
    pytest.param([f"{'a ' * (number % 2)}surftrace b" for number in range(99)], None, id="for-ever"),
    pytest.param(["a b"], None, id="none"),
]


@pytest.mark.parametrize(("groups", "hits"), _CASES)
def test_others_change_their_probes(tmp_path: Path, groups: list[str], hits: int | None) -> None:
    (tmp_path / "states").mkdir()
    for number, text in enumerate(groups):
        (tmp_path / "states" / f"{number:02}").write_text(text)
    tracefs = _Shared(tmp_path)
    lock = os.open(tmp_path, os.O_RDONLY)
    counts = read_probe_counts(Instance(tracefs, "surftrace", lock))
    os.close(lock)
    assert counts == ((ProbeCount("f0", hits, 0),) if hits is not None else ())


_PLAN = Plan("surftrace", (), (), "little", has_stacks=False)


def test_a_look_that_found_no_counts_is_no_excess() -> None:
    first, last = Sample(0.0, 0, {}), Sample(1.0, 5, {"f0": 1_000_000})
    assert excess_of(_PLAN, first, last, Limit(100)) is None


@pytest.mark.parametrize("look_s", [0.05, 0.2, 0.9, 1.0, 1.05, 3.0])
@pytest.mark.parametrize(("per_s", "is_excess"), [(900, False), (1100, True)])
def test_a_rate_is_seen_however_late_a_look_comes(look_s: float, per_s: int, is_excess: bool) -> None:
    window, seen = Window(), []
    for look in range(1, int(10 / look_s)):
        now = Sample(look * look_s, int(look * look_s * per_s), {"f0": int(look * look_s * per_s)})
        seen.append(excess_of(_PLAN, window.add(now), now, Limit(1000)))
    if is_excess:
        found = [each for each in seen if each is not None]
        assert found
        assert all(each.events == ("f0",) and abs(each.per_s - per_s) < 30 for each in found)
    else:
        assert seen == [None] * len(seen)
