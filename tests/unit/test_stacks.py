"""Each event gets its own stack, whatever the order in which the CPUs' buffers were merged."""

import itertools
from collections.abc import Sequence

import pytest

from surftrace.tracing.events import Event, Lost, Origin, Record, Stack
from surftrace.tracing.stacks import with_stacks


def _record(text: str) -> Record | None:
    """`e0` an event on CPU 0, `s1` a stack on CPU 1, `L` a loss, `|` the end of a block."""
    if text == "|":
        return None
    if text == "L":
        return Lost(0, 1)
    origin = Origin(b"sh", 1, int(text[1]), ".....", text[2:] or "1.0")
    return Stack(origin, ("schedule",)) if text[0] == "s" else Event(origin, "f0", "schedule+0x0/0x1", (), b"")


def _words(record: Record | None) -> Sequence[str]:
    """An event, and behind it the stack that it has."""
    match record:
        case None:
            return ["|"]
        case Event():
            return [f"e{record.origin.cpu}", *([f"s{record.origin.cpu}"] if record.stack else [])]
        case _:
            return ["L"] if isinstance(record, Lost) else ["?"]


# (id, as the kernel prints it, as it goes on)
_ORDERS: tuple[tuple[str, str, str], ...] = (
    ("alone", "e0 s0 |", "e0 s0 |"),
    ("one-behind-the-other", "e0 s0 e0 s0 |", "e0 s0 e0 s0 |"),
    ("merged", "e0 e1 s0 s1 |", "e0 s0 e1 s1 |"),
    ("merged-the-other-way", "e0 e1 s1 s0 |", "e0 s0 e1 s1 |"),
    ("block-ends-before-the-stack", "e0 | s0 |", "| e0 s0 |"),
    ("no-stack-and-another-event", "e0 e0 s0 |", "e0 e0 s0 |"),
    ("no-stack-at-all", "e0 | | e1 s1 |", "| e0 | e1 s1 |"),
    ("no-stack-holds-nobody-long", "e0 e1 s1 | |", "e0 e1 s1 | |"),
    ("stack-of-nobody", "s0 e0 s0 |", "e0 s0 |"),
    ("loss-keeps-its-place", "e0 L s0 |", "e0 s0 L |"),
    ("end", "e0 s0 e1", "e0 s0 e1"),
)


@pytest.mark.parametrize(("printed", "expected"), [pytest.param(*rest, id=name) for name, *rest in _ORDERS])
def test_order(printed: str, expected: str) -> None:
    ticks = itertools.count(0, 1.2)  # patience ends between the second and the third
    records = with_stacks((_record(word) for word in printed.split()), lambda: float(next(ticks)))
    assert [word for record in records for word in _words(record)] == expected.split()
