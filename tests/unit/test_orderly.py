"""Signals wait while a context begins and ends, and come through in its block."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from surftrace.tracing.orderly import orderly


class _Steps:
    """A context that notes its steps, and is sent a signal in the middle of one of them."""

    def __init__(self, disturbed: str, number: signal.Signals) -> None:
        self.disturbed = disturbed
        self.number = number
        self.done: list[str] = []

    @contextmanager
    def context(self) -> Iterator[None]:
        self._step("begin")
        try:
            yield
        finally:
            self._step("end")

    def block(self) -> None:
        self._step("block")

    def _step(self, name: str) -> None:
        if name == self.disturbed:
            signal.raise_signal(self.number)
        self.done.append(name)


def _run(disturbed: str, number: signal.Signals) -> _Steps:
    steps = _Steps(disturbed, number)
    with pytest.raises(BaseException) as raised, orderly(steps.context()):  # which, is asserted
        steps.block()
    is_interrupt = number == signal.SIGINT
    assert raised.type is (KeyboardInterrupt if is_interrupt else SystemExit)
    assert is_interrupt or raised.value.args == (128 + number,)
    return steps


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_begin_is_whole(number: signal.Signals) -> None:
    assert _run("begin", number).done == ["begin", "end"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_block_is_left(number: signal.Signals) -> None:
    assert _run("block", number).done == ["begin", "end"]


def test_the_end_is_whole() -> None:
    assert _run("end", signal.SIGINT).done == ["begin", "block", "end"]


def test_handlers_are_put_back() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    _run("begin", signal.SIGTERM)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before


def test_other_threads_have_no_signals() -> None:
    steps = _Steps("", signal.SIGINT)

    def run() -> None:
        with orderly(steps.context()):
            steps.block()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert steps.done == ["begin", "block", "end"]


def test_what_is_ignored_stays_ignored() -> None:
    steps = _Steps("block", signal.SIGHUP)
    previous = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with orderly(steps.context()):
            steps.block()
    finally:
        signal.signal(signal.SIGHUP, previous)
    assert steps.done == ["begin", "block", "end"]
