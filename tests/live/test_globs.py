"""A probe on every function that a glob matches: attached together, what does not fit left out and counted."""

import re
import signal
from collections.abc import Iterator

import pytest

from tests.kernel.guest import Guest
from tests.live.helpers import event_lines, running, tracefs_state, traffic

pytestmark = pytest.mark.kernels("5.10", "newest")

_LEFT_OUT = re.compile(r"warning: (\d+) of (\d+) functions are left out")


@pytest.fixture(autouse=True)
def _nothing_left(guest: Guest) -> Iterator[None]:
    """After each test the kernel is as it was."""
    before = tracefs_state(guest)
    yield
    assert tracefs_state(guest) == before


def _traceable(guest: Guest, pattern: str) -> set[str]:
    listing = "/sys/kernel/tracing/available_filter_functions"
    return set(guest.run(["grep", "-oE", rf"^{pattern}\b", listing]).expect().stdout.split())


def test_arguments_by_name_in_each_function(guest: Guest) -> None:
    with running(guest, 'p tcp_v4_* sk $comm f:COMM=="python3"') as surftrace, traffic(guest) as sender:
        sender.ask("tcp 127.0.0.1 4321 b'hello'")
        surftrace.wait_for("tcp_v4_destroy_sock")
        surftrace.signal(signal.SIGINT)
        result = surftrace.wait()
    left_out = _LEFT_OUT.search(result.stderr)
    assert left_out is not None
    assert "has no parameter 'sk'" in result.stderr
    probed = set(re.findall(r"echo 'p:surftrace/f0_\d+ (tcp_v4_[\w.]+) sk=", result.stdout))
    assert len(probed) == int(left_out[2]) - int(left_out[1])
    assert int(left_out[2]) == len(_traceable(guest, r"tcp_v4_[a-z0-9_.]+"))
    seen = {line.place.partition("+")[0] for line in event_lines(result.stdout)}
    assert {"tcp_v4_connect", "tcp_v4_do_rcv", "tcp_v4_destroy_sock"} <= seen <= probed
    assert all(
        re.fullmatch(r'sk=0xffff[0-9a-f]{12} comm="python3"', line.values) for line in event_lines(result.stdout)
    )


def test_a_hundred_functions(guest: Guest) -> None:
    with running(guest, "p ip_* f:common_pid==1") as surftrace:
        surftrace.signal(signal.SIGINT)
        result = surftrace.wait()
    definitions = re.findall(r"echo 'p:surftrace/f0_\d+ (\w+)'", result.stdout)
    assert len(definitions) > 100
    assert len(set(definitions)) == len(definitions)
    assert result.stdout.count("/enable\n") == 1
    assert result.status == 130


def test_what_takes_no_probe_is_counted(guest: Guest) -> None:
    with running(guest, "p kprobe_*") as surftrace:
        surftrace.signal(signal.SIGINT)
        result = surftrace.wait()
    left_out = _LEFT_OUT.search(result.stderr)
    assert left_out is not None
    assert 0 < int(left_out[1]) < int(left_out[2])
    assert re.search(
        r"^hint: the first one: kprobe_\w+ takes no probe: it is on the kernel's blacklist", result.stderr, re.M
    )
    assert "the kernel refuses" not in result.stderr
    probed = re.findall(r"echo 'p:surftrace/f0_\d+ (kprobe_\w+)", result.stdout)
    assert len(probed) == int(left_out[2]) - int(left_out[1])
