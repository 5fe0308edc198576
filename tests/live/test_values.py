"""Values proved: what a probe shows is what a process sent or asked for."""

import signal
from collections.abc import Iterator

import pytest

from tests.kernel.guest import Guest
from tests.live.helpers import event_lines, running, tracefs_state, traffic, values

pytestmark = pytest.mark.kernels("5.10", "6.12", "newest")

_PAYLOAD = b"\x01\x02\x03\x04\x05\x06\x07\x08ABCDE\0"


@pytest.fixture(autouse=True)
def _nothing_left(guest: Guest) -> Iterator[None]:
    """After each test the kernel is as it was."""
    before = tracefs_state(guest)
    yield
    assert tracefs_state(guest) == before


def _shown(guest: Guest, probe: str, ask: str) -> tuple[list[str], int]:
    """The values that a probe shows while a command of traffic.py is done, and the local port of that."""
    with running(guest, "-c", "1", probe) as surftrace, traffic(guest) as sender:
        port = sender.ask(ask)
        result = surftrace.wait()
    assert result.stderr == ""
    return values(result.stdout), port


def test_udp_over_ip(guest: Guest) -> None:
    udp = "@(struct udphdr *)l3skb->"
    probe = (
        "p ip_output ihl=@(struct iphdr *)skb->ihl version=@(struct iphdr *)skb->version ttl=@(struct iphdr*)skb->ttl "
        "b16_total=@(struct iphdr *)skb->tot_len ip_src=@(struct iphdr *)skb->saddr ip_dst=@(struct iphdr *)skb->daddr "
        f"b16_source={udp}source b16_dest={udp}dest B16_len={udp}len c={udp}cdata[1] b16_s={udp}sdata[1] "
        f"b32_l={udp}ldata[1] B64_q={udp}qdata[0] S={udp}Sdata[8] x=X{udp}cdata[2] len=skb->len f:b16_dest==9988"
    )
    shown, port = _shown(guest, probe, f"udp 127.0.0.2 9988 {_PAYLOAD!r}")
    assert shown == [
        f"ihl=5 version=4 ttl=64 b16_total=42 ip_src=127.0.0.1 ip_dst=127.0.0.2 b16_source={port} b16_dest=9988 "
        'B16_len=0x16 c=2 b16_s=772 b32_l=84281096 B64_q=0x102030405060708 S="ABCDE" x=0x3 len=42'
    ]


def test_ethernet_header_before_ip(guest: Guest) -> None:
    probe = (
        "p __dev_queue_xmit b16_proto=@(struct ethhdr *)l2skb->h_proto proto=@(struct iphdr *)l2skb->protocol "
        "ip_dst=@(struct iphdr *)l2skb->daddr B32_data=@(struct udphdr *)l2skb->ldata[0] dev=skb->dev->name "
        'f:proto==17&&ip_dst==127.0.0.3&&dev=="lo"'
    )
    shown, _ = _shown(guest, probe, f"udp 127.0.0.3 9988 {_PAYLOAD!r}")
    assert shown == ['b16_proto=2048 proto=17 ip_dst=127.0.0.3 B32_data=0x1020304 dev="lo"']


def test_tcp_at_the_transport_layer(guest: Guest) -> None:
    tcp = "@(struct tcphdr *)l4skb->"
    probe = (
        f"p tcp_v4_rcv b16_source={tcp}source b16_dest={tcp}dest syn={tcp}syn ack={tcp}ack b32_ack={tcp}ack_seq "
        f"doff=U{tcp}doff f:b16_dest==4321&&syn==1&&!(ack==1)"
    )
    shown, port = _shown(guest, probe, f"tcp 127.0.0.1 4321 {_PAYLOAD!r}")
    assert shown == [f"b16_source={port} b16_dest=4321 syn=1 ack=0 b32_ack=0 doff=10"]


def test_icmp(guest: Guest) -> None:
    icmp = "@(struct icmphdr *)l4skb->"
    probe = (
        f"p icmp_rcv type={icmp}type b16_id={icmp}un.echo.id b16_seq={icmp}un.echo.sequence q=X{icmp}qdata[0] "
        f"text={icmp}Sdata[8] f:type==8&&b16_id==0x1234"
    )
    shown, _ = _shown(guest, probe, f"icmp 127.0.0.1 {_PAYLOAD!r}")
    assert shown == ['type=8 b16_id=4660 b16_seq=7 q=0x807060504030201 text="ABCDE"']


def test_arguments_of_a_system_call(guest: Guest) -> None:
    probe = (
        "p vfs_fallocate mode=mode offset=%2 u=U%2 x=Xlen len=len name=file->f_path.dentry->d_name.!(char *)name "
        "refs=file->f_path.dentry->d_inode->i_count pid=%1 f:len==12345&&offset>=8192&&offset<8193"
    )
    shown, _ = _shown(guest, probe, "fallocate 8192 12345 b'name of a file'")
    assert shown == ['mode=0 offset=8192 u=8192 x=0x3039 len=12345 name="name of a file" refs=1 pid=0']


def test_hostile_strings_and_names(guest: Guest) -> None:
    udp = "@(struct udphdr *)skb->"
    probe = f"p ip_output b16_dest={udp}dest body={udp}Sdata[0] comm=$comm f:b16_dest==9988"
    bodies = {
        b'say "hi" b16_dest=1': r'"say \"hi\" b16_dest=1"',
        b"two\nlines\x1b[31m": r'"two\nlines\x1b[31m"',
        b"back\\slash \xff\xc3\xbc": r'"back\\slash \xffü"',
    }
    with running(guest, probe) as surftrace, traffic(guest) as sender:
        sender.ask("name b'a [0] \"b-1'")
        for body in bodies:
            sender.udp("127.0.0.1", 9988, body + b"\0")
        # Which text is whose cannot be told here: it is shown as the kernel printed it.
        sender.udp("127.0.0.1", 9988, b'x" comm="y\0')
        surftrace.wait_for('comm="y')
        surftrace.wait_for("\n")
        surftrace.signal(signal.SIGINT)
        result = surftrace.wait()
    lines = event_lines(result.stdout)
    # The kernel's own word for a task whose name it has not kept is <...>.
    assert {line.task for line in lines} <= {'a [0] "b-1', "<...>"}
    assert [line.values for line in lines[:-1]] == [
        f'b16_dest=9988 body={body} comm="a [0] \\"b-1"' for body in bodies.values()
    ]
    assert lines[-1].values == 'b16_dest=1063 body="x" comm="y" comm="a [0] "b-1"'
