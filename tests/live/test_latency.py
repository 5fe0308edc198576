"""How long calls take, measured in the kernel: against a trace of the same calls, and with nothing left behind."""

import re
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.kernel.guest import Guest
from tests.kernel.process import Process
from tests.kernel.wire import Kind
from tests.live.helpers import Line, event_lines, running, tracefs_state
from tests.schemas import valid_lines

pytestmark = pytest.mark.kernels("6.1", "newest")

# Both measures are made by handlers of the same probes, one after the other: an emulated CPU may pause between them.
_SLACK_S = 0.004


@pytest.fixture(autouse=True)
def _nothing_left(request: pytest.FixtureRequest) -> Iterator[None]:
    guest = request.getfixturevalue("guest")
    before = tracefs_state(guest)
    yield
    assert tracefs_state(guest) == before


@contextmanager
def _measuring(guest: Guest, *words: str) -> Iterator[Process]:
    """A measurement that is on."""
    process = guest.start(["surftrace", "latency", *words], preloaded=True)
    try:
        if "--json" in words:
            process.wait_for('"type":"start"')
        else:
            process.wait_for("measuring", stream=Kind.STDERR)
        yield process
    finally:
        process.kill()


def _ended(process: Process) -> list[dict[str, Any]]:
    """The JSON of a measurement that a signal ends."""
    process.signal(signal.SIGINT)
    result = process.wait()
    assert result.status == 130, result.stderr
    return valid_lines("latency", result.stdout)


def _pairs(lines: list[Line]) -> list[float]:
    """The seconds of each call, of a trace of its entries (f0) and returns (f1): inner calls end before outer ones."""
    begun: dict[int, list[float]] = {}
    found = []
    for line in sorted(lines, key=lambda line: line.time_s):
        if line.name == "f0":
            begun.setdefault(line.pid, []).append(line.time_s)
        else:
            found.append(line.time_s - begun[line.pid].pop())
    return found


def _bucket(duration_s: float) -> int:
    """The power of two, in nanoseconds, that ends the bucket of a duration."""
    return 1 << (round(duration_s * 1e9) - 1).bit_length()


def test_durations_agree_with_a_trace_of_the_same_calls(guest: Guest) -> None:
    own = 'f:COMM=="busybox"'
    with (
        running(guest, f"p hrtimer_nanosleep {own}", f"r hrtimer_nanosleep {own}") as trace,
        _measuring(guest, "--json", f"p hrtimer_nanosleep {own}") as measurement,
    ):
        for _ in range(3):
            guest.run(["busybox", "usleep", "24000"]).expect()
            guest.run(["busybox", "usleep", "96000"]).expect()
        start, durations, end = _ended(measurement)
        trace.signal(signal.SIGINT)
        expected = _pairs(event_lines(trace.wait().stdout))
    assert start["function"] == "hrtimer_nanosleep"
    nothing = {"dropped": 0, "missed": 0, "unfinished": 0, "lost": [], "unread": 0, "undecoded": ""}
    assert end == {"type": "end", "calls": 6, **nothing}
    assert durations["calls"] == len(expected) == 6
    assert durations["sum_ns"] == pytest.approx(sum(expected) * 1e9, abs=6 * _SLACK_S * 1e9)
    found = Counter({bucket["high_ns"]: bucket["calls"] for bucket in durations["buckets"]})
    sure = Counter(
        _bucket(each) for each in expected if _bucket(each - _SLACK_S) == _bucket(each) == _bucket(each + _SLACK_S)
    )
    assert sum(sure.values()) >= 3, expected
    assert not sure - found
    low, high = durations["shortest_ns"]
    assert low - _SLACK_S * 1e9 <= min(expected) * 1e9 <= high + _SLACK_S * 1e9
    low, high = durations["longest_ns"]
    assert low - _SLACK_S * 1e9 <= max(expected) * 1e9 <= high + _SLACK_S * 1e9


def test_calls_within_calls_are_measured_each(guest: Guest) -> None:
    guest.run(["mkdir", "-p", "/tmp/nested/a", "/tmp/nested/b"]).expect()
    probe = 'iterate_dir fs=file->f_inode->i_sb->s_type->name f:COMM=="ls"'
    with _measuring(guest, "--json", "--by", "fs", f"p {probe}") as measurement:
        with running(guest, f"p {probe}") as trace:
            guest.run(["ls", "/tmp/nested"]).expect()
            # The guest's root is an overlay, which asks the folder below it in the same call.
            trace.wait_for('fs="tmpfs"')
            trace.signal(signal.SIGINT)
            expected = Counter(line.values for line in event_lines(trace.wait().stdout))
        _, *durations, end = _ended(measurement)
    found = {f'fs="{each["group"]["fs"]}"': each["calls"] for each in durations}
    assert found == expected
    assert found['fs="overlay"'] == found['fs="tmpfs"'] >= 1
    assert (end["calls"], end["unfinished"]) == (sum(expected.values()), 0)
    outer, inner = sorted(durations, key=lambda each: -each["sum_ns"])
    assert (outer["group"]["fs"], inner["group"]["fs"]) == ("overlay", "tmpfs")


_HOSTILE = 'a b ns1=7 name="c" at=3\x1b[2J'


def test_slow_calls_with_the_values_of_their_begin(guest: Guest) -> None:
    guest.run(["sh", "-c", 'rm -rf /tmp/slow; mkdir /tmp/slow; mkfifo "/tmp/slow/$0"', _HOSTILE]).expect()
    probe = (
        "p vfs_read comm=$comm count name=file->f_path.dentry->d_name.!(char *)name at=pos[0] op=file->f_op:symbol "
        'x=Xcount f:comm=="dd"'
    )
    with running(guest, "latency", "--over", "150ms", "-c", "1", probe) as surftrace:
        script = '(sleep 0.4) > "/tmp/slow/$0" & dd bs=77 < "/tmp/slow/$0"; dd bs=78 < /etc/passwd; wait'
        guest.run(["sh", "-c", script, _HOSTILE]).expect()
        result = surftrace.wait()
    assert result.status == 0, result.stderr
    *_, line = result.stdout.splitlines()
    match = re.fullmatch(
        r' *\d+\.\d{6} \[\d{3}\] \S+ +dd-\d+ +vfs_read: \((\d+) ms\) comm="dd" count=77 '
        r'name="a b ns1=7 name=\\"c\\" at=3\\x1b\[2J" at=<fault> op=pipefifo_fops\+0x0/\S+ x=0x4d',
        line,
    )
    assert match, result.stdout
    assert 150 <= int(match[1]) < 3000


# What would be another row, were it not a part of a name.
_FORGED = f"{'x':<60}, ns: ~ 2^3  }} hitcount:          1  ns:          5\n{{ name: {'forged':<60}"


@pytest.mark.kernels("newest")
def test_a_string_that_looks_like_a_row_is_told(guest: Guest) -> None:
    probe = 'p do_sys_openat2 name=filename:ustring f:COMM=="cat"'
    with _measuring(guest, "--json", "--strict", "--by", "name", probe) as measurement:
        guest.run(["cat", _FORGED])
        measurement.signal(signal.SIGINT)
        result = measurement.wait()
    start, notice, end = valid_lines("latency", result.stdout)
    assert (result.status, start["type"], end["calls"] > 0) == (3, "start", True)
    assert "looks like rows of it" in notice["message"]
    assert _FORGED in end["undecoded"]


@pytest.mark.kernels("newest")
def test_two_at_once_and_one_that_is_killed(guest: Guest) -> None:
    with _measuring(guest, "vfs_read") as killed, _measuring(guest, "--instance", "mine", "vfs_open") as other:
        state = tracefs_state(guest)
        assert "surftrace_latency" in state
        assert "mine_latency" in state
        killed.kill()
        other.kill()
        with _measuring(guest, "--json", "--strict", "-t", "0.5", 'p vfs_read f:COMM=="cat"') as next_one:
            guest.run(["surftrace", "clean", "mine"]).expect()
            result = next_one.wait()
    assert result.status == 0, result.stderr


@pytest.mark.kernels("newest")
def test_calls_that_have_not_ended_are_told(guest: Guest) -> None:
    with _measuring(guest, 'p hrtimer_nanosleep f:COMM=="busybox"') as measurement:
        sleeper = guest.start(["busybox", "sleep", "1000"])
        with running(guest, "-c", "1", 'p hrtimer_nanosleep f:COMM=="busybox"') as trace:
            guest.run(["busybox", "usleep", "1000"]).expect()
            trace.wait()
        measurement.signal(signal.SIGINT)
        result = measurement.wait()
        sleeper.kill()
    assert result.stdout.startswith("hrtimer_nanosleep: 1 call, ")
    assert result.stderr.endswith("1 call had begun and not ended\n")


@pytest.mark.kernels("5.10")
def test_a_kernel_without_hist_triggers(guest: Guest) -> None:
    result = guest.run(["surftrace", "latency", "vfs_read"], preloaded=True)
    assert result.status == 2
    assert "this kernel cannot do histograms in the kernel (hist triggers): Linux 4.7 and later can" in result.stderr
    assert "hint: such a kernel has them if it was built with CONFIG_HIST_TRIGGERS\n" in result.stderr
