"""Targets that are no plain name: a function of a module, loaded or not, an address, one renamed, a name twice."""

import re
import signal
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.kernel.guest import Guest
from tests.live.helpers import event_lines, running, tracefs_state

pytestmark = pytest.mark.kernels("6.1", "newest")

_SEND = """
import socket
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
    sender.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"dummy0")
    sender.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    sender.sendto(b"x" * 72, ("10.9.8.255", 9))
"""
_LOAD = "modprobe dummy numdummies=1; ip addr add 10.9.8.7/24 brd + dev dummy0; ip link set dummy0 up"


@pytest.fixture(autouse=True)
def _nothing_left(guest: Guest) -> Iterator[None]:
    """After each test the kernel is as it was."""
    before = tracefs_state(guest)
    yield
    guest.run(["sh", "-c", "rmmod dummy 2>&1"])
    assert tracefs_state(guest) == before


def _sh(guest: Guest, script: str) -> None:
    guest.run(["sh", "-e", "-c", script]).expect()


def test_function_of_a_loaded_module(guest: Guest) -> None:
    _sh(guest, _LOAD)
    probe = "p dummy:dummy_xmit skb->len name=dev->name b16_d=@(struct udphdr *)l2skb->dest f:b16_d==9"
    with running(guest, "-c", "1", probe) as surftrace:
        guest.run(["python3", "-c", _SEND]).expect()
        result = surftrace.wait()
    assert result.stderr == ""
    assert [line.values for line in event_lines(result.stdout)] == ['len=114 name="dummy0" b16_d=9']


def test_function_of_a_module_before_it_is_loaded(guest: Guest) -> None:
    with running(guest, "p dummy:dummy_xmit len=!(struct sk_buff *)%di->len f:len==114") as surftrace:
        _sh(guest, _LOAD)
        guest.run(["python3", "-c", _SEND]).expect()
        surftrace.wait_for("len=114\n")
        surftrace.signal(signal.SIGINT)
        result = surftrace.wait()
    assert "warning: no module dummy is loaded: dummy_xmit is traced once it is" in result.stderr


def test_module_without_the_function(guest: Guest) -> None:
    _sh(guest, _LOAD)
    result = guest.run(["surftrace", "p dummy:ip_output"], preloaded=True)
    assert result.status == 2
    assert "error: the module dummy has no function 'ip_output'" in result.stderr
    assert "hint: it is in the kernel itself" in result.stderr


def test_address(guest: Guest) -> None:
    listing = guest.run(["grep", "-w", "T wake_up_new_task", "/proc/kallsyms"]).expect().stdout
    with running(guest, "-c", "1", f"p 0x{listing.split()[0]} comm=!(struct task_struct *)%di->comm") as surftrace:
        guest.run(["sh", "-c", "/bin/true; /bin/true"]).expect()
        result = surftrace.wait()
    (line,) = event_lines(result.stdout)
    assert line.place.startswith("wake_up_new_task+0x")
    assert re.fullmatch(r'comm="\w+"', line.values)


def test_renamed_by_the_compiler(guest: Guest) -> None:
    """Every function that exists as one clone only is found by its plain name."""
    symbols = [line.split()[2] for line in guest.read("/proc/kallsyms").splitlines() if line.split()[1] in "tT"]
    plain = set(symbols)
    clones = Counter(re.sub(r"\..*", "", name) for name in symbols if re.search(r"\.(isra|constprop|part)\.\d+$", name))
    traceable = guest.read("/sys/kernel/tracing/available_filter_functions").split()
    name = next(
        name
        for name, count in sorted(clones.items())
        if count == 1 and name not in plain and any(f"{name}.{how}.0" in traceable for how in ("isra", "constprop"))
    )
    with running(guest, f"p {name} f:common_pid==0") as surftrace:
        surftrace.signal(signal.SIGINT)
        result = surftrace.wait()
    assert f"warning: the compiler renamed {name}: tracing {name}." in result.stderr
    assert f"echo 'p:surftrace/f0 {name}." in result.stdout


def test_name_that_exists_twice(guest: Guest) -> None:
    names = Counter(
        line.split()[2]
        for line in guest.read("/proc/kallsyms").splitlines()
        if line.split()[1] in "tT" and "[" not in line
    )
    name = next(name for name, count in sorted(names.items()) if count == 2 and name.isidentifier())
    result = guest.run(["surftrace", f"p {name}"], preloaded=True)
    assert result.status == 2
    assert f"error: 2 functions have the name {name}" in result.stderr
    assert "hint: name the address: p 0x" in result.stderr
