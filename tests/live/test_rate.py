"""A probe that is hit too often does not keep the machine from its work: the trace is paused, or ends, and says so."""

import re
import signal
from itertools import pairwise

import pytest

from tests.kernel.guest import Guest
from tests.kernel.wire import Kind
from tests.live.helpers import LAST_ECHO, event_lines, running

pytestmark = [pytest.mark.kernels("5.10", "newest"), pytest.mark.usefixtures("nothing_left")]

_PROBE = "p __x64_sys_getpriority"
# As fast as it can, for so many seconds, or 50 times after each pause of so many; then how often a second.
_CALL = """
import os, sys, time
start, calls, for_s, pause_s = time.monotonic(), 0, float(sys.argv[1]), float(sys.argv[2])
while time.monotonic() - start < for_s:
    os.getpriority(0, 0)
    calls += 1
    if pause_s and calls % 50 == 0:
        time.sleep(pause_s)
print(int(calls / (time.monotonic() - start)))
"""
_KPROBES = "/sys/kernel/tracing/kprobe_events"
_ENABLE = "/sys/kernel/tracing/instances/surftrace/events/surftrace/f0/enable"


def _call(guest: Guest, for_s: float, pause_s: float = 0) -> int:
    """The calls a second that were made."""
    return int(guest.run(["python3", "-c", _CALL, str(for_s), str(pause_s)]).expect().stdout)


def test_paused_and_gone_on(guest: Guest) -> None:
    with running(guest, "--max-rate", "500", "--strict", _PROBE) as trace:
        looking = guest.start(
            ["sh", "-c", f"until grep -q 0 {_ENABLE}; do :; done; until grep -q 1 {_ENABLE}; do :; done"]
        )
        rate = _call(guest, 4, 0.01)  # not more than what is shown at once: the last event is shown, too
        assert looking.wait().status == 0  # disabled, and enabled again
        trace.signal(signal.SIGINT)
        result = trace.wait()
    assert result.status == 3
    told = re.findall(r"warning: f0 happens (\d+) times a second: paused for 1 s \(--max-rate 500\)\n", result.stderr)
    assert len(told) >= 2
    # The calls were not as many while the probe was there: what was counted is less than the best of them.
    assert 500 < int(told[0]) < 20 * rate
    paused = re.search(
        r"warning: paused (\d+) times, for ([0-9.]+) s: what happened meanwhile was not seen\n", result.stderr
    )
    assert paused is not None
    assert int(paused[1]) == len(told)
    assert float(paused[2]) >= len(told) - 1
    times = [line.time_s for line in event_lines(result.stdout)]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert max(gaps) >= 1.0


def test_ended(guest: Guest) -> None:
    with running(guest, "--max-rate", "500", "--at-max-rate", "end", _PROBE) as trace:
        _call(guest, 2)
        result = trace.wait()
    assert result.status == 3
    assert re.search(r"warning: f0 happens \d+ times a second: the trace ends \(--max-rate 500\)\n", result.stderr)
    assert event_lines(result.stdout)


@pytest.mark.kernels("newest")
def test_what_a_filter_keeps_out_costs_too(guest: Guest) -> None:
    with running(guest, "--max-rate", "100", f'{_PROBE} f:COMM=="nobody"', "p vfs_fsync") as trace:
        _call(guest, 2)
        trace.signal(signal.SIGINT)
        result = trace.wait()
    assert re.search(r"warning: f0 happens \d+ times a second: paused", result.stderr)
    assert event_lines(result.stdout) == []


@pytest.mark.kernels("newest")
def test_an_event_of_the_kernel(guest: Guest) -> None:
    with running(guest, "--max-rate", "500", "p vfs_fsync", "e syscalls/sys_enter_getpriority") as trace:
        _call(guest, 2)
        trace.signal(signal.SIGINT)
        result = trace.wait()
    assert re.search(r"warning: syscalls/sys_enter_getpriority happens \d+ times a second: paused", result.stderr)


_FILL = "timeout 5 busybox dd if=/dev/zero of=/tmp/unread bs=4096 count=16 2>/dev/null; "


@pytest.mark.kernels("newest")
@pytest.mark.parametrize("stream", ["1", "2"])
def test_nobody_reads(guest: Guest, stream: str) -> None:
    """What protects the machine does not wait for a reader that has stopped reading, nor does the end."""
    guest.run(["sh", "-c", "rm -f /tmp/unread; mkfifo /tmp/unread"]).expect()
    reader = guest.start(["sh", "-c", "exec 3< /tmp/unread; sleep 60"])
    fill = _FILL if stream == "2" else ""
    trace = guest.start(["sh", "-c", f"{fill}exec surftrace --max-rate 500 '{_PROBE}' {stream}> /tmp/unread"])
    guest.run(["sh", "-c", f"until grep -q 1 {_ENABLE}; do sleep 0.1; done"]).expect()
    rate = _call(guest, 3)
    assert rate > 500
    trace.signal(signal.SIGINT)
    result = trace.wait(20)
    reader.kill()
    assert result.status == 130
    assert stream == "2" or "warning: f0 happens " in result.stderr


@pytest.mark.kernels("newest")
def test_who_read_the_warnings_has_gone(guest: Guest) -> None:
    """The trace goes on after a pause, whoever hears of it."""
    gone = "rm -f /tmp/gone; mkfifo /tmp/gone; true < /tmp/gone & "
    trace = guest.start(["sh", "-c", f"{gone}exec surftrace --max-rate 500 '{_PROBE}' 2> /tmp/gone"])
    trace.wait_for(LAST_ECHO)
    looking = guest.start(
        ["sh", "-c", 2 * f"until grep -q 0 {_ENABLE}; do :; done; until grep -q 1 {_ENABLE}; do :; done; "]
    )
    _call(guest, 4, 0.01)
    assert looking.wait().status == 0
    trace.signal(signal.SIGINT)
    assert trace.wait().status == 130


@pytest.mark.kernels("newest")
def test_a_probe_that_goes_in_a_pause(guest: Guest) -> None:
    """It does not keep the rest from going on."""
    with running(guest, "--max-rate", "500", _PROBE, "p __x64_sys_sched_getscheduler") as trace:
        deleting = guest.start(
            ["sh", "-c", f"until grep -q 0 {_ENABLE}; do :; done; until echo -:surftrace/f0 >> {_KPROBES}; do :; done"]
        )
        _call(guest, 4, 0.01)
        assert deleting.wait().status == 0
        asking = guest.start(
            ["python3", "-c", "import os, time\nwhile True: os.sched_getscheduler(0); time.sleep(0.1)"]
        )
        trace.wait_for(" f1: ")
        asking.kill()
        trace.signal(signal.SIGINT)
        result = trace.wait()
    assert "somebody else has disabled f0" in result.stderr
    assert re.search(r"paused \w+(?: times)?, for (?!0\.0)[0-9.]+ s", result.stderr)


@pytest.mark.kernels("newest")
@pytest.mark.parametrize("rate", ["0", "1000000"])
def test_not_paused(guest: Guest, rate: str) -> None:
    with running(guest, "--max-rate", rate, _PROBE) as trace:
        _call(guest, 1)
        trace.signal(signal.SIGINT)
        result = trace.wait()
    assert "paused" not in result.stderr


def test_disabled_by_somebody_else(guest: Guest) -> None:
    with running(guest, "--max-rate", "0", _PROBE, "e sched/sched_process_fork") as trace:
        guest.run(["sh", "-c", f"echo 0 > {_ENABLE}"]).expect()
        trace.wait_for("somebody else", stream=Kind.STDERR)
        trace.signal(signal.SIGINT)
        result = trace.wait()
    assert result.stderr.startswith(
        "surftrace: warning: somebody else has disabled f0: the trace sees nothing more of it\n"
    )
