"""Many traces at once, started and killed at random: none disturbs another, misses a call or leaves anything."""

import random
import re

import pytest

from tests.kernel.guest import Guest
from tests.live.helpers import tracefs_state
from tests.live.limits import SOAK_S

pytestmark = pytest.mark.kernels("5.10", "newest")

_FOR_S, _SESSIONS = (120, 20) if SOAK_S else (8, 6)
# The start, the end of the last sessions, and what 5.10 waits for each probe that goes.
_REST_S = 180


def test_crowd(guest: Guest) -> None:
    before = tracefs_state(guest)
    command = ["python3", "-m", "tests.live.crowd", str(random.randrange(10**6)), str(_FOR_S), str(_SESSIONS)]
    print(guest.image.name, *command)
    found = guest.run(command, timeout_s=_FOR_S + _REST_S).expect().stdout
    print("\n".join(line for line in found.splitlines() if line.startswith(("left", "calls"))))
    assert re.findall(r"^wrong: (?:.*\n)(?:(?!wrong: |left to clean: ).*\n)*", found, re.MULTILINE) == []
    assert found.endswith("done\n")
    assert tracefs_state(guest) == before
