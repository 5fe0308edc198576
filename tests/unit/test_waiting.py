"""When the next table comes."""

import pytest

from surftrace.cli.waiting import next_time

# (id, when the last one was due, how often, now, when the next one is due)
_TIMES: tuple[tuple[str, float, float, float, float], ...] = (
    ("in-time", 10, 2, 10.1, 12),
    ("at-once", 10, 2, 10, 12),
    ("woken-early", 10, 2, 9.9, 12),
    ("one-missed", 10, 2, 13, 14),
    ("many-missed", 10, 0.5, 3610.3, 3610.5),
)


@pytest.mark.parametrize(
    ("last_s", "every_s", "now_s", "next_s"), [pytest.param(*rest, id=name) for name, *rest in _TIMES]
)
def test_missed_times_are_left_out(last_s: float, every_s: float, now_s: float, next_s: float) -> None:
    assert next_time(last_s, every_s, now_s) == next_s
