"""Source lines and local variables of a running kernel, from the DWARF that was built with it."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kernel import images
from tests.kernel.guest import Guest
from tests.live.helpers import LAST_ECHO, event_lines, running, tracefs_state, traffic
from tests.oracle import dbg

pytestmark = pytest.mark.kernels("6.1")

_PLACE = "/usr/lib/debug/boot/vmlinux-$(uname -r)"


@pytest.fixture(scope="module")
def vmlinux() -> Path:
    """The kernel's file with DWARF; guests see it."""
    return dbg.fetch(images.fetch("6.1"))


@pytest.fixture(autouse=True)
def _nothing_left(guest: Guest) -> Iterator[None]:
    """After each test the kernel is as it was."""
    before = tracefs_state(guest)
    yield
    assert tracefs_state(guest) == before


def test_lines_of_a_stack(guest: Guest, vmlinux: Path) -> None:
    """Found without -v: each function of the kernel's own in a stack has a line of a file that it can be in."""
    guest.run(["sh", "-c", f"mkdir -p /usr/lib/debug/boot && ln -sf {vmlinux} {_PLACE}"]).expect()
    with running(guest, "-s", "-c", "1", "p ip_output f:skb->len==128") as surftrace, traffic(guest) as sender:
        sender.udp("127.0.0.1", 9, b"x" * 100)
        frames = surftrace.wait().stdout.partition(LAST_ECHO)[2].splitlines()[1:]
    guest.run(["sh", "-c", f"rm {_PLACE}"]).expect()
    files = dict(frame.removeprefix(" => ").split(" at ") for frame in frames)
    assert [place for frame, place in files.items() if frame.startswith("ip_output+0x")] == ["net/ipv4/ip_output.c:422"]
    assert [place.rpartition(":")[0] for frame, place in files.items() if frame.startswith("udp_sendmsg+0x")] == [
        "net/ipv4/udp.c"
    ]
    assert "dst_output (inlined)" in files


def test_variables_at_a_line(guest: Guest, vmlinux: Path) -> None:
    """ip_rcv() of Linux 6.1: `struct net *net = dev_net(dev);` is its third line, before ip_rcv_core()."""
    arguments = "skb->len dev->name index=dev->ifindex last=net->ifindex"
    probes = [f"p ip_rcv:5 {arguments} f:skb->len==128", "p ip_input.c:565 net f:skb->len==128"]
    with running(guest, "-v", str(vmlinux), *probes) as surftrace, traffic(guest) as sender:
        sender.udp("127.0.0.1", 9, b"x" * 99)
        sender.udp("127.0.0.1", 9, b"x" * 100)
        surftrace.signal(signal.SIGINT)
        result = surftrace.wait()
    assert result.stderr == ""
    lines = event_lines(result.stdout)
    assert [line.values for line in lines if line.name == "f0"] == ['len=128 name="lo" index=1 last=1']
    assert sorted(line.name for line in lines) == ["f0", "f1"]


def test_dwarf_that_is_found_by_itself(guest: Guest, vmlinux: Path) -> None:
    """Where Debian's package puts it; the type of a variable, which BTF does not tell, comes from there."""
    guest.run(["sh", "-c", f"mkdir -p /usr/lib/debug/boot; ln -s {vmlinux} {_PLACE}"]).expect()
    try:
        with running(guest, "-c", "1", "p wake_up_new_task c=@init_task.comm") as surftrace:
            guest.run(["sh", "-c", "true & wait"])
            result = surftrace.wait()
    finally:
        guest.run(["sh", "-c", f"rm {_PLACE}"]).expect()
    assert [line.values for line in event_lines(result.stdout)] == ['c="swapper/0"']


def test_dwarf_of_another_kernel(guest: Guest) -> None:
    other = images.fetch("6.12").vmlinux
    result = guest.run(["surftrace", "-v", os.fspath(other), "p ip_rcv:3 skb"])
    assert result.status == 2
    assert "is not of the kernel that runs: their build ids differ" in result.stderr
