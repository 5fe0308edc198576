"""A packet that a queueing discipline drops is found as docs/lost-packet.md finds it, on every kernel.

A token bucket whose burst is smaller than a packet: a small ping is answered, a large one is not.
"""

import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kernel import images
from tests.kernel.guest import Guest
from tests.live.helpers import LAST_ECHO, Line, event_lines, running, tracefs_state
from tests.live.network import FAR, NEAR, veth_pair
from tests.oracle import dbg
from tests.test_docs import commands

_PAGE = Path(__file__).parents[2] / "docs/lost-packet.md"
_BURST_BYTES = 1000
_SMALL_BYTES, _LARGE_BYTES = 56, 1400
# Ethernet, IP and ICMP in front of them.
_SMALL_LENGTH, _LARGE_LENGTH = (size + 14 + 20 + 8 for size in (_SMALL_BYTES, _LARGE_BYTES))
_NET_XMIT_DROP = 1  # Linux include/linux/netdevice.h

# The commands of the page, in its order; a place inside a function is that of the kernel which runs.
_IS_PING = "@(struct iphdr *)l2{0}->protocol==IPPROTO_ICMP&&ip_dst==10.77.0.2"
_QUEUED = f"p __dev_queue_xmit skb->len skb->dev->name ip_dst=@(struct iphdr *)l2skb->daddr f:{_IS_PING.format('skb')}"
_SENT = (
    f"p dev_hard_start_xmit first->len dev->name ip_dst=@(struct iphdr *)l2first->daddr f:{_IS_PING.format('first')}"
)
_LISTED, _HELPER = "__dev_queue_xmit", "dev_qdisc_enqueue"
_CALLED = (
    "p {place} enqueue={register}:symbol id=!(struct Qdisc *)%si->ops->id len=!(struct sk_buff *)%di->len"
    " ip_dst=@(struct iphdr *)l2!(struct sk_buff *)%di->daddr f:ip_dst==10.77.0.2"
)
_CALLED_BY_NAMES = (
    "p {place} enqueue={register}:symbol q->ops->id skb->len ip_dst=@(struct iphdr *)l2skb->daddr f:ip_dst==10.77.0.2"
)
_RETURNED = "r {function} ret=$retval"
_FREED = "e skb/kfree_skb f:protocol==0x0800"

_CALL_OF_POINTER = re.compile(r"^ +(\w+\+0x[0-9a-f]+) +.*\bcall\b.*<- reg=(%\w+)$", re.MULTILINE)
_FUNCTION = re.compile(r"enqueue=(\w+)\+0x0/0x[0-9a-f]+ \[(\w+)\] ")
# The answer to the small ping is freed below __dev_queue_xmit() too, by the softirq that delivers it.
_GIVEN_TO_DEVICE = re.compile(r"\n => __dev_queue_xmit\+.*\n => ip_finish_output2\+")
_FREED_WHERE_QUEUED = re.compile(r"\n => \w*kfree_skb_list\w*\+.*\n => __dev_queue_xmit\+")


@pytest.fixture
def network(guest: Guest) -> Iterator[None]:
    """The device of NEAR has the token bucket. At the end the kernel is as it was."""
    before = tracefs_state(guest)
    guest.run(["modprobe", "sch_tbf"]).expect()
    with veth_pair(guest):
        bucket = f"tbf rate 1mbit burst {_BURST_BYTES} limit 10000"
        guest.run(["tc", "-n", NEAR[0], "qdisc", "add", "dev", NEAR[1], "root", *bucket.split()]).expect()
        # From now on FAR's Ethernet address is known: no packet waits for it, to be sent by who brings it.
        assert _is_answered(guest, _SMALL_BYTES, patience_s=10)
        yield
    assert tracefs_state(guest) == before


def _is_answered(guest: Guest, size_bytes: int, patience_s: int) -> bool:
    """Is a ping from NEAR to FAR answered?"""
    ping = f"ip netns exec {NEAR[0]} busybox ping -c 1 -W {patience_s} -s {size_bytes} {FAR[3]}"
    return guest.run(ping.split()).status == 0


def _trace(guest: Guest, *words: str) -> str:
    """The events while a small ping is sent, and then a large one."""
    with running(guest, *words) as surftrace:
        assert _is_answered(guest, _SMALL_BYTES, patience_s=10)
        assert not _is_answered(guest, _LARGE_BYTES, patience_s=1)
        surftrace.signal(signal.SIGINT)
        return surftrace.wait().stdout.partition(LAST_ECHO)[2]


def _large(output: str) -> list[Line]:
    return [line for line in event_lines(output) if f"len={_LARGE_LENGTH} " in line.values]


def _assembly(guest: Guest, function: str) -> str:
    return guest.run(["surftrace", "-F", function], preloaded=True, timeout_s=120).expect().stdout


@pytest.mark.usefixtures("network")
def test_the_search(guest: Guest) -> None:
    # It is given to the device, by ping itself.
    queued = _trace(guest, "-s", _QUEUED)
    assert [line.values for line in event_lines(queued)] == [
        f'len={length} name="va" ip_dst=10.77.0.2' for length in (_SMALL_LENGTH, _LARGE_LENGTH)
    ]
    assert len(_GIVEN_TO_DEVICE.findall(queued)) == len(re.findall(r"\n => raw_sendmsg\+", queued)) == 2
    # The device never gets it.
    sent = _trace(guest, _QUEUED, _SENT)
    assert [line.name for line in event_lines(sent)] == ["f0", "f1", "f0"]
    assert [line.name for line in _large(sent)] == ["f0"]
    # Between the two a function is called by its address, in a helper where the compiler has left one: this one.
    code = _assembly(guest, _LISTED)
    calls = _CALL_OF_POINTER.findall(code + _assembly(guest, _HELPER) if _HELPER in code else code)
    assert calls
    called = _trace(guest, *(_CALLED.format(place=place, register=register) for place, register in calls))
    (call,) = _large(called)
    assert 'id="tbf"' in call.values
    function = _FUNCTION.search(call.values)
    assert function is not None
    assert function.groups() == ("tbf_enqueue", "sch_tbf")
    # It drops it,
    returned = event_lines(_trace(guest, _RETURNED.format(function=function[1])))
    assert {line.place.partition(" <- ")[2] for line in returned} == {"tbf_enqueue"}
    assert [line.values for line in returned].count(f"ret={_NET_XMIT_DROP}") == 1
    # and it is freed where it was queued.
    freed = _trace(guest, "-s", _FREED)
    (drop,) = [event for event in re.split(r"(?<=\n)(?! =>)", freed) if _FREED_WHERE_QUEUED.search(event)]
    assert ("reason: QDISC_DROP" in drop) == ("reason:" in freed)


@pytest.mark.kernels("6.1")
@pytest.mark.usefixtures("network")
def test_names_at_the_call(guest: Guest) -> None:
    """With DWARF, what the registers hold has the names of the source."""
    ((place, register),) = _CALL_OF_POINTER.findall(_assembly(guest, _HELPER))
    vmlinux = str(dbg.fetch(images.fetch("6.1")))
    probe = _CALLED_BY_NAMES.format(place=place, register=register)
    (call,) = _large(_trace(guest, "-v", vmlinux, probe))
    (by_registers,) = _large(_trace(guest, _CALLED.format(place=place, register=register)))
    assert call.values == by_registers.values


def test_the_page_has_these_commands() -> None:
    of_page = [" ".join(" ".join(command).split()) for command in commands(_PAGE)]
    place = {"place": "PLACE", "register": "%ax"}
    expected = [
        ["-s", _QUEUED],
        [_QUEUED, _SENT],
        ["-F", _LISTED],
        ["-F", _HELPER],
        [_CALLED.format(**place)],
        [_CALLED_BY_NAMES.format(**place)],
        [_RETURNED.format(function="tbf_enqueue")],
        ["-s", _FREED],
    ]
    assert [re.sub(r"\w+\+0x[0-9a-f]+", "PLACE", command) for command in of_page] == [" ".join(c) for c in expected]
