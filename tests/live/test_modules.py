"""Functions, lines and variables of a module, sch_htb, that drops packets; and what is said when it is unloaded."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kernel import images
from tests.kernel.guest import Guest
from tests.kernel.wire import Kind
from tests.live.helpers import event_lines, running, tracefs_state, traffic
from tests.oracle import dbg

# A class that lets a packet through, then a byte a second, and holds one that waits: what comes next is dropped.
_DROPPING = """
ip link set lo up
tc qdisc add dev lo root handle 1: htb default 99
tc class add dev lo parent 1: classid 1:99 htb rate 8bit ceil 8bit burst 1500
tc qdisc add dev lo parent 1:99 pfifo limit 1
"""
_CLASS_ID = 0x1_0099
_NO_MORE = "tc qdisc del dev lo root 2>/dev/null; true"
_DEBUG_FOLDER = "/usr/lib/debug/lib/modules/$(uname -r)/kernel/net/sched"
_DATA, _LENGTH = b"x" * 958, 14 + 20 + 8 + 958


@pytest.fixture
def htb(guest: Guest) -> Iterator[Guest]:
    """A guest with the module loaded; after the test the kernel is as it was."""
    before = tracefs_state(guest)
    guest.run(["modprobe", "sch_htb"]).expect()
    yield guest
    guest.run(["sh", "-c", f"{_NO_MORE}; rmmod sch_htb"])
    assert tracefs_state(guest) == before


@pytest.fixture(scope="module")
def module_file() -> Path:
    """The module's file with DWARF; guests see it."""
    return dbg.fetch_module(images.fetch("6.1"))


@pytest.mark.kernels("6.1")
def test_variables_where_a_packet_is_dropped(htb: Guest, module_file: Path) -> None:
    """htb_enqueue() of Linux 6.1: `cl->drops++;` is its line 25, line 646 of the file.

    struct htb_class and struct htb_sched are types of the module alone.
    """
    dropped = "id=cl->common.classid cl->drops len rate=cl->rate.rate_bytes_ps q->defcls"
    probes = [f"p htb_enqueue:25 {dropped}", "p sch_htb:sch_htb.c:646 len", "p sch_htb:htb_enqueue+0x18f cl->drops"]
    htb.run(["sh", "-e"], stdin=_DROPPING).expect()
    with running(htb, "--module", os.fspath(module_file), *probes) as surftrace, traffic(htb) as sender:
        for _ in range(5):
            sender.udp("127.0.0.1", 9, _DATA)
        surftrace.signal(signal.SIGINT)
        result = surftrace.wait()
    assert result.stderr == ""
    found = {name: [line.values for line in event_lines(result.stdout) if line.name == name] for name in ("f0", "f1")}
    assert len(found["f0"]) >= 2
    values = f"id={_CLASS_ID} drops={{}} len={_LENGTH} rate=1 defcls=153"
    assert found["f0"] == [values.format(count) for count in range(len(found["f0"]))]
    assert found["f1"] == [f"len={_LENGTH}"] * len(found["f0"])
    assert {line.place for line in event_lines(result.stdout)} == {"htb_enqueue+0x18f/0x390 [sch_htb]"}


@pytest.mark.kernels("6.1")
def test_dwarf_that_is_found_by_itself(htb: Guest, module_file: Path) -> None:
    """Where Debian's package puts it."""
    place = f"{_DEBUG_FOLDER}/sch_htb.ko"
    htb.run(["sh", "-c", f"mkdir -p {_DEBUG_FOLDER}; ln -s {module_file} {place}"]).expect()
    try:
        result = htb.run(["surftrace", "-S", "p htb_enqueue:25 cl->drops", "p sch_htb.c:646 len"])
        shown = htb.run(["surftrace", "vars", "htb_enqueue:25"])
    finally:
        htb.run(["sh", "-c", f"rm {place}"]).expect()
    assert "sch_htb:htb_enqueue+0x18f drops=+0x2c0(%bx):u32" in result.expect().stdout
    assert "  cl       struct htb_class *  %bx\n" in shown.expect().stdout


@pytest.mark.kernels("6.1")
def test_a_file_of_another_build(htb: Guest, module_file: Path, tmp_path: Path) -> None:
    other = bytearray(module_file.read_bytes())
    other[other.index(b"GNU\0") + 4] ^= 1
    (tmp_path / "sch_htb.ko").write_bytes(other)
    result = htb.run(["surftrace", "-S", "--module", os.fspath(tmp_path / "sch_htb.ko"), "p htb_enqueue skb->len"])
    assert result.status == 2
    assert "is not of the module sch_htb that is loaded: their build ids differ" in result.stderr


def test_a_module_that_is_unloaded(htb: Guest) -> None:
    """Its probe sees nothing until it is loaded again; the other one goes on."""
    probes = ["p htb_enqueue", "p wake_up_new_task"]
    with running(htb, *probes) as surftrace, traffic(htb) as sender:
        htb.run(["rmmod", "sch_htb"]).expect()
        surftrace.wait_for("the module sch_htb was unloaded: f0 sees nothing more of it\n", stream=Kind.STDERR)
        htb.run(["true"]).expect()
        surftrace.wait_for("f1: ")
        htb.run(["modprobe", "sch_htb"]).expect()
        surftrace.wait_for("the module sch_htb is loaded: f0 sees it\n", stream=Kind.STDERR)
        htb.run(["sh", "-e"], stdin=_DROPPING).expect()
        sender.udp("127.0.0.1", 9, _DATA)
        surftrace.wait_for("f0: ")
        surftrace.signal(signal.SIGINT)
        assert surftrace.wait().status == 130
