"""What programs read of a trace, and what people do: JSON Lines, CSV, the kernel's own text, times."""

import csv
import io
import json
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import pairwise

import pytest

from tests.kernel.guest import Guest
from tests.kernel.process import Process, Result
from tests.live.helpers import event_lines, running
from tests.schemas import validator

pytestmark = [pytest.mark.kernels("5.10", "newest"), pytest.mark.usefixtures("nothing_left")]

_VALIDATOR = validator("trace")
_PROBES = ['p security_task_getscheduler p->pid p->comm next=Xp->pid f:COMM=="python3"', "e sched/sched_process_fork"]
_ASK = "import os; [os.sched_getscheduler(1) for _ in range(3)]"


@contextmanager
def _running(guest: Guest, first: str, *words: str) -> Iterator[Process]:
    """A trace whose first line, which tells that it is on, is not an echo line."""
    process = guest.start(["surftrace", *words], preloaded=True)
    try:
        process.wait_for(first)
        yield process
    finally:
        process.kill()


def _traced(guest: Guest, first: str, *words: str) -> Result:
    with _running(guest, first, *words, *_PROBES) as trace:
        guest.run(["python3", "-c", _ASK]).expect()
        trace.signal(signal.SIGINT)
        return trace.wait()


def test_json(guest: Guest) -> None:
    result = _traced(guest, '"type":"start"', "--json", "-s")
    assert (result.status, result.stderr) == (130, "")
    first, *records, last = [json.loads(line) for line in result.stdout.splitlines()]
    for record in (first, *records, last):
        _VALIDATOR.validate(record)
    assert first["events"] == ["f0", "sched/sched_process_fork"]
    unseen = {"lost": [], "missed": [], "unread": 0, "pauses": 0, "paused_ns": 0}
    assert last == {"type": "end", "events": len(records), **unseen}
    asked = [record for record in records if record["event"] == "f0"]
    assert [record["values"] for record in asked] == [{"pid": 1, "comm": asked[0]["values"]["comm"], "next": "0x1"}] * 3
    assert all(any("getscheduler" in frame for frame in record["stack"]) for record in asked)
    times = [record["time_ns"] for record in asked]
    assert times == sorted(times)
    assert any("child_comm=" in record["text"] for record in records if record["event"] == "sched_process_fork")


def test_json_tells_what_was_lost(guest: Guest) -> None:
    words = ["--json", "--buffer-size", "8K", "--max-rate", "1000", "p __x64_sys_getpriority"]
    with _running(guest, '"type":"start"', *words) as trace:
        guest.run(["python3", "-c", "import os\nfor _ in range(20_000): os.getpriority(0, 0)"]).expect()
        trace.signal(signal.SIGINT)
        result = trace.wait()
    records = [json.loads(line) for line in result.stdout.splitlines()]
    for record in records:
        _VALIDATOR.validate(record)
    notices = [record["message"] for record in records if record["type"] == "notice"]
    assert any("f0 happens" in message for message in notices)
    assert re.findall(r"^surftrace: warning: (.*)$", result.stderr, re.MULTILINE) == notices
    assert records[-1]["pauses"] >= 1
    assert records[-1]["paused_ns"] > 0
    assert records[-1]["events"] == sum(record["type"] == "event" for record in records)


@pytest.mark.kernels("newest")
def test_csv(guest: Guest) -> None:
    result = _traced(guest, "\r\n", "--csv")
    rows = list(csv.DictReader(io.StringIO(result.stdout, newline="")))
    assert list(rows[0]) == ["time_s", "cpu", "task", "pid", "event", "place", "value.pid", "comm", "next", "text"]
    asked = [row for row in rows if row["event"] == "f0"]
    assert [(row["value.pid"], row["next"]) for row in asked] == [("1", "0x1")] * 3
    assert any("child_comm=" in row["text"] for row in rows if row["event"] == "sched_process_fork")


# The same probe's events in somebody else's instance, as the kernel prints them.
_OTHER = """
cd /sys/kernel/tracing/instances/other
python3 -c "{ask}"
cat trace | grep -v '^#'
"""


def test_raw_is_what_the_kernel_prints(guest: Guest) -> None:
    guest.run(["mkdir", "/sys/kernel/tracing/instances/other"]).expect()
    with running(guest, "--raw", _PROBES[0]) as trace:
        enable = "instances/other/events/surftrace/f0"
        guest.run(["sh", "-c", f"echo 1 > /sys/kernel/tracing/{enable}/enable"]).expect()
        text = guest.run(["sh", "-c", _OTHER.format(ask=_ASK)]).expect().stdout
        guest.run(["sh", "-c", f"echo 0 > /sys/kernel/tracing/{enable}/enable"]).expect()
        trace.signal(signal.SIGINT)
        shown = trace.wait().stdout.partition("/tracing_on\n")[2]
    guest.run(["rmdir", "/sys/kernel/tracing/instances/other"]).expect()
    assert shown.count("\n") >= 3
    assert " __h0=" in shown
    printed = [_rest(line) for line in text.splitlines()]
    assert [line for line in map(_rest, shown.splitlines()) if line not in printed] == []


def _rest(line: str) -> str:
    """An event without its time, and without its task's name, which the kernel looks up when it is read."""
    return re.sub(r" +\d+\.\d{6}: ", " ", line[16:], count=1)


@pytest.mark.kernels("newest")
def test_header_is_above_its_columns(guest: Guest) -> None:
    with running(guest, _PROBES[0]) as trace:
        guest.run(["python3", "-c", _ASK]).expect()
        trace.signal(signal.SIGINT)
        header, *lines = trace.wait().stdout.partition("/tracing_on\n")[2].splitlines()
    assert header.startswith("#")
    for line in lines:
        assert line.index("[0") == header.index("[CPU]")
        assert line.index(" f0: ") == header.index(" EVENT:")


_WALL = re.compile(r"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}) \[", re.MULTILINE)
_DELTA = re.compile(r"^ *([+-]\d+\.\d{6}) \[", re.MULTILINE)
_BOOT = re.compile(r"^ *(\d+\.\d{6}) \[", re.MULTILINE)
# Calls, and when the wall clock says they were, in the guest's own zone.
_TIMED = """
import datetime, os, time
for _ in range(3):
    start = datetime.datetime.now()
    os.sched_getscheduler(1)
    print(start.isoformat(), datetime.datetime.now().isoformat())
    time.sleep(0.25)
"""


def _timed(guest: Guest, form: str) -> tuple[str, list[tuple[datetime, datetime]]]:
    """What a trace shows, and when each call was."""
    with running(guest, "--time-format", form, _PROBES[0]) as trace:
        spans = guest.run(["python3", "-c", _TIMED]).expect().stdout.splitlines()
        trace.signal(signal.SIGINT)
        shown = trace.wait().stdout
    calls = [tuple(map(datetime.fromisoformat, line.split())) for line in spans]
    return shown, [(start, end) for start, end in calls]


def test_wall_clock(guest: Guest) -> None:
    shown, calls = _timed(guest, "wall")
    times = [datetime.fromisoformat(text) for text in _WALL.findall(shown)]
    assert len(times) == 3
    for at, (start, end) in zip(times, calls, strict=True):
        # The trace's clock is read once at the start; an emulated machine's clocks drift against each other.
        assert start.timestamp() - 0.1 < at.timestamp() < end.timestamp() + 0.1


@pytest.mark.kernels("newest")
def test_time_since_the_event_before(guest: Guest) -> None:
    shown, calls = _timed(guest, "delta")
    first, *rest = map(float, _DELTA.findall(shown))
    assert first == 0
    expected = [(later[0] - earlier[0]).total_seconds() for earlier, later in pairwise(calls)]
    assert rest == pytest.approx(expected, abs=0.1)


@pytest.mark.kernels("newest")
def test_time_since_boot(guest: Guest) -> None:
    shown, _ = _timed(guest, "boot")
    assert [float(text) for text in _BOOT.findall(shown)] == [line.time_s for line in event_lines(shown)]
