"""The trace as it comes from a pipe: in blocks, with a sign where it waits, until its end."""

import os
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from surftrace.tracing.events import Event, Origin, Record
from surftrace.tracing.pipe import Interruption, read_pipe
from surftrace.tracing.stacks import with_stacks


@pytest.fixture
def noted() -> Iterator[Interruption]:
    """An end that has not come yet."""
    with closing(Interruption()) as noted:
        yield noted


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """What is read, without blocking, and what is written."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    yield reading, writing
    for descriptor in (reading, writing):
        os.close(descriptor)


def _read(pipe: int, noted: Interruption, is_each: bool = False) -> Iterator[bytes]:
    return read_pipe(pipe, noted, None, lambda: None, lambda: None, is_each)


def test_blocks_are_whole_lines(pipe: tuple[int, int], noted: Interruption) -> None:
    blocks = _read(pipe[0], noted)
    os.write(pipe[1], b"one\ntw")
    assert [next(blocks), next(blocks)] == [b"one\n", b""]
    os.write(pipe[1], b"o\n")
    assert next(block for block in blocks if block) == b"two\n"


def test_a_quiet_trace_says_so_again_and_again(pipe: tuple[int, int], noted: Interruption) -> None:
    blocks = _read(pipe[0], noted)
    assert [next(blocks), next(blocks)] == [b"", b""]


def test_an_event_without_a_stack_is_not_held_until_the_next(pipe: tuple[int, int], noted: Interruption) -> None:
    event = Event(Origin(b"a", 1, 0, "....", "1.0"), "f0", "place", (), b"")

    def records() -> Iterator[Record | None]:
        for block in _read(pipe[0], noted):
            yield event if block else None

    os.write(pipe[1], b"an event\n")
    assert next(record for record in with_stacks(records()) if record is not None) == event


def test_the_end_comes_after_what_was_there(pipe: tuple[int, int], noted: Interruption) -> None:
    os.write(pipe[1], b"last\n")
    noted.end()
    assert [block for block in _read(pipe[0], noted) if block] == [b"last\n"]


def test_the_end_wakes_who_waits(pipe: tuple[int, int], noted: Interruption) -> None:
    blocks = _read(pipe[0], noted)
    assert next(blocks) == b""
    timer = threading.Timer(0.05, noted.end)
    timer.start()
    assert list(blocks) in ([], [b""], [b"", b""])
    timer.join()


def test_a_long_patience(noted: Interruption) -> None:
    timer = threading.Timer(0.05, noted.end)
    timer.start()
    assert noted.is_soon(1e12)
    timer.join()
