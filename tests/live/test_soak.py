"""A trace that runs for long shows every event, by the kernel's own count, in the same memory."""

import json

import pytest

from tests.kernel.guest import Guest
from tests.live.helpers import tracefs_state
from tests.live.limits import SOAK_S

# Linux 5.10 of Debian's cloud has no histograms.
pytestmark = pytest.mark.kernels("newest")

_FOR_S = SOAK_S or 4
# The reader sustains about 1400 there, on an emulated processor that has one to itself.
_CALLS_PER_S = 200
_REST_S = 120
# When the reader has fallen behind for a moment, the heap grows by half a megabyte at once. A leak of the smallest
# object for each event, 16 bytes, would be 8 MB in an hour.
_MAX_GROWTH_KB = 1024


def test_soak(guest: Guest) -> None:
    before = tracefs_state(guest)
    command = ["python3", "-m", "tests.live.soak", str(_FOR_S), str(_CALLS_PER_S)]
    output = guest.run(command, timeout_s=1.5 * _FOR_S + _REST_S).expect().stdout
    found = json.loads(output.splitlines()[-1])
    memory_kb = found.pop("memory_kb")
    warm_up = len(memory_kb) // 3
    growth_kb = max(memory_kb[warm_up:]) - max(memory_kb[:warm_up])
    print(f"in {_FOR_S:g} s {found}; memory {memory_kb[0]} kB, {memory_kb[warm_up]} kB, {memory_kb[-1]} kB")
    assert (found["status"], found["errors"], found["wrong"]) == (130, "", None)
    assert found["shown"] == found["counted"] == found["calls"] == _FOR_S * _CALLS_PER_S
    assert growth_kb <= _MAX_GROWTH_KB
    assert tracefs_state(guest) == before
