"""Each event gets its own stack, whatever the order in which the CPUs' buffers were merged."""

import itertools
from collections.abc import Sequence
from dataclasses import replace

import pytest

from surftrace.dwarf.sourceplace import SourcePlace
from surftrace.tracing.events import Event, Lost, Origin, Record, Stack
from surftrace.tracing.mappings import UserPlaces
from surftrace.tracing.stacks import with_lines, with_stacks, with_user_places


def _record(text: str) -> Record | None:
    """`e0` an event on CPU 0, `s1` a stack on CPU 1, `u1` a task's, `L` a loss, `|` the end of a block."""
    if text == "|":
        return None
    if text == "L":
        return Lost(0, 1)
    origin = Origin(b"sh", 1, int(text[1]), ".....", text[2:] or "1.0")
    if text[0] in "su":
        return Stack(origin, ("schedule",), text[0] == "u")
    return Event(origin, "f0", "schedule+0x0/0x1", (), b"")


def _words(record: Record | None) -> Sequence[str]:
    """An event, and behind it the stack that it has."""
    match record:
        case None:
            return ["|"]
        case Event():
            stacks = (("s", record.stack), ("u", record.user_stack))
            return [f"e{record.origin.cpu}", *(f"{kind}{record.origin.cpu}" for kind, frames in stacks if frames)]
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
    records = with_stacks((_record(word) for word in printed.split()), clock=lambda: float(next(ticks)))
    assert [word for record in records for word in _words(record)] == expected.split()


# (id, as the kernel prints it, as it goes on), where tasks' own stacks are traced too
_BOTH: tuple[tuple[str, str, str], ...] = (
    ("both", "e0 s0 u0 |", "e0 s0 u0 |"),
    ("user-alone", "e0 u0 |", "e0 u0 |"),
    ("merged", "e0 e1 s1 s0 u0 u1 |", "e0 s0 u0 e1 s1 u1 |"),
    ("block-ends-between", "e0 s0 | u0 |", "| e0 s0 u0 |"),
    ("no-user-stack-and-another-event", "e0 s0 e0 s0 u0 |", "e0 s0 e0 s0 u0 |"),
    ("no-user-stack-at-all", "e0 s0 | | e1 s1 u1 |", "| e0 s0 | e1 s1 u1 |"),
    ("user-stack-of-nobody", "u0 e0 s0 u0 |", "e0 s0 u0 |"),
    ("end", "e0 s0", "e0 s0"),
)


@pytest.mark.parametrize(("printed", "expected"), [pytest.param(*rest, id=name) for name, *rest in _BOTH])
def test_order_of_both_stacks(printed: str, expected: str) -> None:
    ticks = itertools.count(0, 1.2)
    records = with_stacks((_record(word) for word in printed.split()), True, lambda: float(next(ticks)))
    assert [word for record in records for word in _words(record)] == expected.split()


class _Places(UserPlaces):
    """What was asked for, in place of what is there."""

    def __init__(self) -> None:
        pass

    def frames(self, pid: int, addresses: tuple[int, ...]) -> tuple[str, ...]:
        """The task and the addresses."""
        return tuple(f"{pid}:{address:x}" for address in addresses)


def test_addresses_are_looked_up_in_the_task() -> None:
    origin = Origin(b"sh", 42, 0, ".....", "1.0")
    user, kernel = Stack(origin, ("<00000000deadbeef>", "?", "<1>"), True), Stack(origin, ("<2>",))
    found = list(with_user_places(iter([kernel, None, user]), _Places()))
    assert found == [kernel, None, Stack(origin, ("42:deadbeef", "42:1"), True)]


def test_lines_are_those_of_each_frame() -> None:
    """The first is asked for with the place of its event."""
    event = Event(Origin(b"sh", 1, 0, ".....", "1.0"), "f0", "f+0x0/0x1", (), b"", ("f+0x1/0x2", "g+0x1/0x2"))
    asked: list[tuple[str, str]] = []

    def lines_of(frame: str, place: str) -> tuple[SourcePlace, ...]:
        asked.append((frame, place))
        return (SourcePlace("g", "a.c", 5, False),) if frame.startswith("g") else ()

    stackless = replace(event, stack=())
    found = list(with_lines(iter([event, None, stackless]), lines_of))
    assert found == [replace(event, lines=((), (SourcePlace("g", "a.c", 5, False),))), None, stackless]
    assert asked == [("f+0x1/0x2", "f+0x0/0x1"), ("g+0x1/0x2", "")]
    assert list(with_lines(iter([event]), lambda *_: ())) == [event]
