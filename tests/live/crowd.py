"""In a guest: many sessions of the same probe, each ended by a signal at a random time; each must see all of its time.

Somebody calls the probed function, with rising numbers. A session shows an unbroken run of them: from the first call
that began after its last echo line was read, or an earlier one, to the last that had returned when its signal was sent,
or a later one. No time is measured, so that no tolerance is needed: the caller keeps the numbers of the calls that have
begun and returned where others can read them. Prints what was otherwise, then figures, then `done`.

`python -m tests.live.crowd SEED SECONDS SESSIONS`
"""

import difflib
import os
import random
import re
import select
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

from surftrace.cli import main as command
from surftrace.tracing.tracefs import Tracefs
from tests.live.helpers import LAST_ECHO
from tests.live.inside import (
    CALLED,
    FIRST_OFFSET,
    OTHERS,
    PROBE,
    ROOT,
    Caller,
    fork,
    forked,
    others,
    resolve_once,
    state,
    surftrace,
)

# In turn: to look five times a second at how often all are hit takes a fourth of an emulated processor for twenty.
_OPTIONS = (("--buffer-size", "256K"), ("--buffer-size", "256K", "--max-rate", "0"))
_CALLS_PER_S = 20
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
# Of those that are asked to end, so many are killed at it.
_IMPATIENT = 0.25
_IMPATIENCE_S = 0.5
_LOOK_S = 0.02
_READ_BYTES = 1 << 16
_INSTANCE = re.compile(rb"/instances/(\w+)/")
_NUMBER = re.compile(rb" offset=(\d+) .*\n")
_LOSS = re.compile(
    rb"surftrace: warning: (\w+)(?: may have)? (events lost|events not shown|missed)\b.*\n(?:hint: .*\n)?"
)

_UNREAD = "events not shown"


@dataclass(slots=True)
class _Session:
    """A running surftrace: the signals that it is to get, and the numbers of calls when something was seen of it."""

    pid: int
    stdout: int
    stderr: int
    signals: list[tuple[float, signal.Signals]]
    done_at_start: int
    output: bytearray = field(default_factory=bytearray)
    instance: str = ""
    started_at_echo: int = 0
    done_at_signal: int = 0
    sent: list[signal.Signals] = field(default_factory=list)
    is_over: bool = False


class _Crowd:
    """The sessions that run, and what was seen of all."""

    def __init__(self, seed: int, size: int, caller: Caller) -> None:
        self.random = random.Random(seed)
        self.size = size
        self.caller = caller
        self.running: list[_Session] = []
        self.figures: Counter[str] = Counter()

    def run(self, for_s: float) -> None:
        """Keep the crowd at its size for a while, then see all out."""
        end_s = time.monotonic() + for_s
        while self.running or time.monotonic() < end_s:
            is_early = time.monotonic() < end_s
            if is_early and len(self.running) < self.size:
                self.running.append(self._start(min(for_s, self.size) * 2.0))
            self._look(is_early)
            time.sleep(_LOOK_S)

    def _start(self, life_s: float) -> _Session:
        readable, stdout = os.pipe()
        stderr = os.memfd_create("stderr")
        first_s = time.monotonic() + self.random.uniform(0, life_s)
        signals = [(first_s, self.random.choice(_SIGNALS))]
        if self.random.random() < _IMPATIENT:
            signals.append((first_s + self.random.uniform(0, _IMPATIENCE_S), signal.SIGKILL))
        done = self.caller.done
        options = _OPTIONS[self.figures["sessions"] % len(_OPTIONS)]
        pid = fork(lambda: surftrace((*options, PROBE)), stdout, stderr)
        os.close(stdout)
        self.figures["sessions"] += 1
        return _Session(pid, readable, stderr, signals, done)

    def _look(self, is_early: bool) -> None:
        for session in self.running:
            self._signal(session, time.monotonic() if is_early else float("inf"))
        poller = select.poll()
        for session in self.running:
            poller.register(session.stdout, select.POLLIN)
        ready = {descriptor for descriptor, _ in poller.poll(0)}
        for session in self.running:
            if session.stdout in ready:
                self._read(session)
        self.figures["at once"] = max(self.figures["at once"], sum(bool(each.instance) for each in self.running))
        self.running = [session for session in self.running if not session.is_over]

    def _signal(self, session: _Session, now_s: float) -> None:
        while session.signals and session.signals[0][0] <= now_s:
            _, number = session.signals.pop(0)
            session.done_at_signal = session.done_at_signal or self.caller.done
            session.sent.append(number)
            os.kill(session.pid, number)

    def _read(self, session: _Session) -> None:
        data = os.read(session.stdout, _READ_BYTES)
        if not data:
            self._end(session)
            return
        session.output += data
        if session.instance or LAST_ECHO.encode() not in session.output:
            return
        session.started_at_echo = self.caller.started
        found = _INSTANCE.search(session.output)
        assert found is not None
        session.instance = found[1].decode()
        if any(other.instance == session.instance for other in self.running if other is not session):
            self._fail(session, "it has the instance of another")

    def _end(self, session: _Session) -> None:
        status = os.waitstatus_to_exitcode(os.waitpid(session.pid, 0)[1])
        os.lseek(session.stderr, 0, os.SEEK_SET)
        stderr = os.read(session.stderr, _READ_BYTES)
        os.close(session.stdout)
        os.close(session.stderr)
        session.is_over = True
        numbers = [int(number) - FIRST_OFFSET for number in _NUMBER.findall(session.output)]
        self.figures["events"] += len(numbers)
        self.figures[f"status {status}"] += 1
        losses = {kind.decode(): what.decode() for what, kind in _LOSS.findall(stderr)}
        self.figures.update(f"told: {loss}" for loss in losses)
        rest = _LOSS.sub(b"", stderr)
        wrongs = [*_wrongs_of_end(session, status)]
        if session.sent and not losses.keys() - {_UNREAD}:
            wrongs += _wrongs_of_run(session, status, numbers, int(losses.get(_UNREAD, 0)), self.caller.started)
        if wrongs or rest:
            self._fail(session, f"{', '.join(wrongs)}\n{stderr.decode()}")

    def _fail(self, session: _Session, what: str) -> None:
        self.figures["wrong"] += 1
        sent = [number.name for number in session.sent]
        print(f"wrong: {session.pid} {session.instance} {sent}: {what}".rstrip(), flush=True)


def _wrongs_of_end(session: _Session, status: int) -> Iterator[str]:
    """What is wrong with how a session has ended."""
    if not session.sent:
        yield f"it ended by itself: {status}"
        return
    asked = session.sent[0]
    statuses = {128 + asked} | {-number for number in session.sent if number == signal.SIGKILL}
    # A signal ends it at once as long as it has done nothing.
    if status not in statuses and (session.instance or status != -asked):
        yield f"status {status}"


def _wrongs_of_run(session: _Session, status: int, numbers: list[int], unread: int, started: int) -> Iterator[str]:
    """What is wrong with the numbers that a session has shown; behind them, it says, are so many that it has not."""
    if numbers and numbers != list(range(numbers[0], numbers[0] + len(numbers))):
        yield f"a broken run: {_broken(numbers)}"
    if numbers and not session.done_at_start < numbers[0] <= numbers[-1] <= started:
        yield f"{numbers[0]} to {numbers[-1]}: the calls were {session.done_at_start + 1} to {started}"
    if not session.instance or status == -signal.SIGKILL:
        return
    first, last = (numbers[0], numbers[-1]) if numbers else (session.started_at_echo + 1, session.started_at_echo)
    if first > session.started_at_echo + 1:
        yield f"it starts with {first}, not with {session.started_at_echo + 1} or before"
    if last + unread < session.done_at_signal:
        yield f"it ends with {last}, {unread} before the end, not with {session.done_at_signal} or after"


def _broken(numbers: list[int]) -> list[tuple[int, int]]:
    return [(one, other) for one, other in pairwise(numbers) if other != one + 1]


def _recorded() -> int:
    """How many events the others' instance holds."""
    stats = (ROOT / "instances" / OTHERS / "per_cpu").glob("cpu*/stats")
    return sum(int(path.read_text().partition("entries: ")[2].partition("\n")[0]) for path in stats)


def _main(seed: int, for_s: float, size: int) -> None:
    resolve_once([PROBE])
    steps = (("filter", f"offset>={FIRST_OFFSET}"), ("enable", "1"))
    with others(f"{CALLED} offset=%si:s64", steps):
        before = state()
        caller = Caller(_CALLS_PER_S)
        crowd = _Crowd(seed, size, caller)
        crowd.run(for_s)
        calls = caller.stop()
        print("left to clean:", Tracefs(ROOT).folders("instances"))
        assert forked(lambda: command.main(["clean"])) == 0
        for line in difflib.unified_diff(before, state(), lineterm="", n=0):
            print(f"wrong: left behind: {line}")
        if _recorded() != calls:
            print(f"wrong: others saw {_recorded()} of {calls} calls")
    print(f"calls: {calls}, {', '.join(f'{name}: {count}' for name, count in sorted(crowd.figures.items()))}")
    print("done", flush=True)


if __name__ == "__main__":
    _main(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))
