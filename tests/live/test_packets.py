"""Packets proved: each header at each layer shows what was sent, over lo and between two namespaces."""

import socket
import struct
from collections.abc import Mapping

import pytest

from tests.kernel.guest import Guest
from tests.live.helpers import traffic
from tests.live.network import FAR, NEAR, veth_pair
from tests.live.test_values import Shows, check

pytestmark = [pytest.mark.kernels("5.10", "6.12", "newest"), pytest.mark.usefixtures("nothing_left")]

PAYLOAD = b"\x01\x02\x03\x04\x05\x06\x07\x08ABCDE\0"
_DATA = {  # what each header shows of PAYLOAD behind it
    "c=HDR->cdata[1]": "c=2",
    "xc=XHDR->cdata[8]": "xc=0x41",
    "cs=HDR->cdata[8:11]": "cs={65,66,67}",
    "b16_s=HDR->sdata[1]": f"b16_s={0x0304}",
    "b32_l=HDR->ldata[1]": f"b32_l={0x05060708}",
    "B64_q=HDR->qdata[0]": "B64_q=0x102030405060708",
    "S=HDR->Sdata[8]": 'S="ABCDE"',
    "ls=XHDR->ldata[0:2]": "ls={0x4030201,0x8070605}",
    "mac_d=HDR->cdata[0:6]": "mac_d=01:02:03:04:05:06",
    "ip_d=HDR->ldata[0]": "ip_d=1.2.3.4",
}


def _header(place: str, header: str, members: Mapping[str, str], condition: str, data: Mapping[str, str] = {}) -> Shows:
    """A probe on a header: in `members` HDR stands for it, names that are left out are the members'."""
    arguments = {key.replace("HDR", header): shown for key, shown in {**members, **data}.items()}
    return Shows(place, arguments, condition.replace("HDR", header))


def _struct(tag: str, layer: str) -> str:
    return f"@(struct {tag} *){layer}skb"


def _ports(number: int) -> dict[str, str]:
    return {"b16_dest=HDR->dest": f"b16_dest={number}"}


def test_udp(guest: Guest) -> None:
    length = {"B16_len=HDR->len": f"B16_len={8 + len(PAYLOAD):#x}", **_ports(9988)}
    ip = {
        "HDR->ihl": "ihl=5", "HDR->version": "version=4", "u=UHDR->ttl": "u=64", "HDR->protocol": "protocol=17",
        "b16_total=HDR->tot_len": f"b16_total={28 + len(PAYLOAD)}", "ip_src=HDR->saddr": "ip_src=127.0.0.1",
        "ip_dst=HDR->daddr": "ip_dst=127.0.0.2",
    }  # fmt: skip
    ip6 = {
        "HDR->version": "version=6", "HDR->nexthdr": "nexthdr=17", "HDR->hop_limit": "hop_limit=64",
        "b16_len=HDR->payload_len": f"b16_len={8 + len(PAYLOAD)}", "ip6_src=HDR->saddr": "ip6_src=::1",
        "ip6_dst=HDR->daddr": "ip6_dst=::1",
    }  # fmt: skip
    ethernet = {"b16_proto=HDR->h_proto": "b16_proto=2048", "mac_dst=HDR->h_dest": "mac_dst=00:00:00:00:00:00"}
    of_four = "@(struct iphdr *)l2skb->daddr==127.0.0.2&&@(struct udphdr *)l2skb->dest==9988"
    of_six = "@(struct ipv6hdr *)l2skb->daddr==::1&&@(struct udphdr *)l2v6skb->dest==9988"
    udp = "HDR->dest==9988"
    with traffic(guest) as sender:
        check(
            guest,
            sender,
            [
                _header("p ip_output", _struct("udphdr", "l3"), length, "b16_dest==9988", _DATA),
                _header("p ip_output", _struct("iphdr", ""), ip, "ip_dst==127.0.0.2&&protocol==17"),
                _header("p __dev_queue_xmit", _struct("ethhdr", "l2"), ethernet, f'skb->dev->name=="lo"&&{of_four}'),
                _header("p __dev_queue_xmit", _struct("iphdr", "l2"), ip, of_four),
                _header("p __dev_queue_xmit", _struct("udphdr", "l2"), length, of_four, _DATA),
                _header("p udp_rcv", _struct("udphdr", "l4"), length, udp, _DATA),
                _header("p ip6_output", _struct("ipv6hdr", "l3"), ip6, "@(struct udphdr *)l3v6skb->dest==9988"),
                _header("p ip6_output", _struct("udphdr", "l3v6"), length, udp, _DATA),
                _header("p __dev_queue_xmit", _struct("ipv6hdr", "l2v6"), ip6, of_six),
                _header("p __dev_queue_xmit", _struct("udphdr", "l2v6"), length, of_six, _DATA),
                _header("p udpv6_rcv", _struct("udphdr", "l4"), length, udp, _DATA),
            ],
            [f"udp 127.0.0.2 9988 {PAYLOAD!r}", f"udp ::1 9988 {PAYLOAD!r}", "udp 127.0.0.3 9989 b'x'"],
        )


def test_tcp(guest: Guest) -> None:
    first = {
        "HDR->syn": "syn=1", "HDR->ack": "ack=0", "HDR->fin": "fin=0", "HDR->rst": "rst=0",
        "b32_ack=HDR->ack_seq": "b32_ack=0",
        "HDR->doff": "doff=10", "b16_urg=HDR->urg_ptr": "b16_urg=0",
    } | _ports(4321)  # fmt: skip
    opening = "HDR->dest==4321&&HDR->syn==1&&!(HDR->ack==1)"
    sent = {"HDR->psh": "psh=1", "HDR->ack": "ack=1", "HDR->syn": "syn=0", "HDR->doff": "doff=8"}
    # The options of a segment with data are 12 bytes here: two of padding and the time stamps of 10.
    # The text itself lies in a page of its own, not behind the header.
    text = {
        "kind=HDR->cdata[2]": "kind=8",
        "b16_nops=HDR->sdata[0]": "b16_nops=257",
    }
    pushed = "HDR->dest==4321&&HDR->psh==1"
    with traffic(guest) as sender:
        check(
            guest,
            sender,
            [
                _header("p tcp_v4_rcv", _struct("tcphdr", "l4"), first, opening),
                _header("p tcp_v4_rcv", _struct("tcphdr", "l4"), sent, pushed, text),
                _header(
                    "p ip_local_deliver",
                    _struct("tcphdr", "l3"),
                    first,
                    f"@(struct iphdr *)skb->protocol==6&&{opening}",
                ),
                _header("p tcp_v6_rcv", _struct("tcphdr", "l4"), first, opening),
                _header("p tcp_v6_rcv", _struct("tcphdr", "l4"), sent, pushed, text),
                _header(
                    "p ipv6_rcv", _struct("tcphdr", "l3v6"), sent, f"@(struct ipv6hdr *)skb->nexthdr==6&&{pushed}", text
                ),
            ],
            ["tcp 127.0.0.1 4321 b'text of tcp\\0'", "tcp ::1 4321 b'text of tcp\\0'", "tcp 127.0.0.1 4322 b'x'"],
        )


def test_icmp_and_other_protocols(guest: Guest) -> None:
    echo = {
        "HDR->type": "type=8", "HDR->code": "code=0", "b16_id=HDR->un.echo.id": f"b16_id={0x1234}",
        "b16_seq=HDR->un.echo.sequence": "b16_seq=7",
    }  # fmt: skip
    four = "HDR->type==8&&HDR->un.echo.id==0x1234"
    echo6 = {
        "HDR->icmp6_type": "icmp6_type=128", "B16_id=HDR->icmp6_dataun.u_echo.identifier": "B16_id=0x1234",
        "b16_seq=HDR->icmp6_dataun.u_echo.sequence": "b16_seq=7",
    }  # fmt: skip
    six = "HDR->icmp6_type==128&&HDR->icmp6_dataun.u_echo.identifier==0x1234"
    is_icmp = "@(struct ethhdr *)l2skb->h_proto==0x800&&@(struct iphdr *)l2skb->protocol==1"
    is_icmp6 = "@(struct ethhdr *)l2skb->h_proto==0x86dd&&@(struct ipv6hdr *)l2skb->nexthdr==58"
    sctp = {
        "b16_source=HDR->source": "b16_source=1111", "b16_dest=HDR->dest": "b16_dest=2222",
        "B32_tag=HDR->vtag": "B32_tag=0xdeadbeef", "x=XHDR->checksum": "x=0x4030201",
    }  # fmt: skip
    packet = struct.pack("!HHI4s", 1111, 2222, 0xDEAD_BEEF, b"\x01\x02\x03\x04") + PAYLOAD
    is_sctp = "HDR->vtag==0xdeadbeef"
    with traffic(guest) as sender:
        check(
            guest,
            sender,
            [
                _header("p icmp_rcv", _struct("icmphdr", "l4"), echo, four, _DATA),
                _header(
                    "p ip_local_deliver", _struct("icmphdr", "l3"), echo, f"@(struct iphdr *)skb->protocol==1&&{four}"
                ),
                _header("p __dev_queue_xmit", _struct("icmphdr", "l2"), echo, f"{is_icmp}&&{four}", _DATA),
                _header("p icmpv6_rcv", _struct("icmp6hdr", "l4"), echo6, six, _DATA),
                _header(
                    "p ipv6_rcv", _struct("icmp6hdr", "l3"), echo6, f"@(struct ipv6hdr *)skb->nexthdr==58&&{six}", _DATA
                ),
                _header("p __dev_queue_xmit", _struct("icmp6hdr", "l2v6"), echo6, f"{is_icmp6}&&{six}"),
                _header("p raw_local_deliver", _struct("sctphdr", "l4"), sctp, f"protocol==132&&{is_sctp}", _DATA),
                _header("p ip_local_deliver", _struct("sctphdr", "l3"), sctp, is_sctp, _DATA),
                _header("p __dev_queue_xmit", _struct("sctphdr", "l2"), sctp, is_sctp),
                _header("p ipv6_rcv", _struct("sctphdr", "l3v6"), sctp, is_sctp, _DATA),
            ],
            [
                f"icmp 127.0.0.1 {PAYLOAD!r}",
                f"icmp ::1 {PAYLOAD!r}",
                f"raw 127.0.0.1 132 {packet!r}",
                f"raw ::1 132 {packet!r}",
            ],
        )


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def test_frames_between_namespaces(guest: Guest) -> None:
    """Every member of a header, each frame made here to its last bit."""
    addresses = _mac(FAR[2]) + _mac(NEAR[2])
    ip = struct.pack(
        "!BBHHHBBH4s4s",
        0x45,
        0xB8,
        34,
        0xABCD,
        0x4000,
        33,
        253,
        0,
        socket.inet_aton("192.0.2.7"),
        socket.inet_aton(FAR[3]),
    )
    ip += PAYLOAD
    tcp = struct.pack("!HHIIHHHH", 1234, 4321, 0x0102_0304, 0xF1F2_F3F4, 0xA0EB, 0x8001, 0x1234, 0x5678) + bytes(20)
    ip6 = struct.pack("!IHBB", 0x6A7_12345, len(tcp + PAYLOAD), 6, 9) + socket.inet_pton(socket.AF_INET6, "2001:db8::7")
    ip6 += socket.inet_pton(socket.AF_INET6, FAR[4]) + tcp + PAYLOAD
    vlan = struct.pack("!HH", 0x6ABC, 0x0800) + ip.replace(socket.inet_aton("192.0.2.7"), socket.inet_aton("192.0.2.8"))
    arp = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 0x42) + _mac(NEAR[2]) + socket.inet_aton("10.77.0.1") + bytes(10)
    frames = [
        addresses + struct.pack("!H", kind) + packet
        for kind, packet in ((0x8100, vlan), (0x0806, arp), (0x0800, ip), (0x86DD, ip6))
    ]
    with veth_pair(guest) as sender:
        probes = [*_link_layer(), *_network_layer(), _whole_tcp()]
        check(guest, sender, probes, [f"frame {NEAR[1]} {frame!r}" for frame in frames])


def _link_layer() -> list[Shows]:
    ethernet = {"mac_dst=HDR->h_dest": f"mac_dst={FAR[2]}", "mac_src=HDR->h_source": f"mac_src={NEAR[2]}"}
    raw = {
        "HDR->h_dest": "h_dest={2,0,0,0,0,11}",
        "last=HDR->h_source[5]": "last=10",
        "xs=XHDR->h_dest[4:6]": "xs={0x0,0xb}",
    }
    tagged = {"B16_proto=HDR->h_proto": "B16_proto=0x8100", "B16_tci=HDR->sdata[0]": "B16_tci=0x6abc"}
    vlan = {
        "B16_tci=HDR->h_vlan_TCI": "B16_tci=0x6abc", "b16_proto=HDR->h_vlan_encapsulated_proto": "b16_proto=2048",
        "B32_ip=HDR->ldata[0]": "B32_ip=0x45b80022", "ip_src=HDR->ldata[3]": "ip_src=192.0.2.8",
    }  # fmt: skip
    arp = {
        "b16_hrd=HDR->ar_hrd": "b16_hrd=1", "B16_pro=HDR->ar_pro": "B16_pro=0x800", "HDR->ar_hln": "ar_hln=6",
        "HDR->ar_pln": "ar_pln=4", "B16_op=HDR->ar_op": "B16_op=0x42",
        "mac_from=HDR->cdata[0:6]": f"mac_from={NEAR[2]}",
        "ip_from=HDR->!(u32)sdata[3]": "ip_from=10.77.0.1",
    }  # fmt: skip
    far, near = f'skb->dev->name=="{FAR[1]}"', f'skb->dev->name=="{NEAR[1]}"'
    is_tagged, is_arp = "@(struct ethhdr *)l2skb->h_proto==0x8100", "@(struct ethhdr *)l2skb->h_proto==0x806"
    return [
        _header("p eth_type_trans", _struct("ethhdr", "l2"), ethernet | raw | tagged, is_tagged),
        _header("p eth_type_trans", _struct("vlan_hdr", "l2"), vlan, is_tagged),
        _header("p __dev_queue_xmit", _struct("vlan_hdr", "l2"), vlan, f"{near}&&{is_tagged}"),
        _header("p skb_vlan_untag", _struct("vlan_hdr", "l3"), vlan, far),
        Shows("p vlan_do_receive", {"tci=X(*skbp)->vlan_tci": "tci=0x6abc"}, f'skbp[0]->dev->name=="{FAR[1]}"'),
        _header("p arp_rcv", _struct("arphdr", "l3"), arp, f"{far}&&HDR->ar_op==0x42"),
        _header("p eth_type_trans", _struct("arphdr", "l2"), arp, f"{is_arp}&&HDR->ar_op==0x42"),
    ]


def _network_layer() -> list[Shows]:
    ip = {
        "HDR->ihl": "ihl=5", "HDR->version": "version=4", "x=XHDR->tos": "x=0xb8",
        "b16_total=HDR->tot_len": "b16_total=34",
        "B16_id=HDR->id": "B16_id=0xabcd", "B16_frag=HDR->frag_off": "B16_frag=0x4000", "HDR->ttl": "ttl=33",
        "HDR->protocol": "protocol=253", "b16_check=HDR->check": "b16_check=0", "ip_src=HDR->saddr": "ip_src=192.0.2.7",
        "ip_dst=HDR->daddr": f"ip_dst={FAR[3]}",
    }  # fmt: skip
    ip6 = {
        "HDR->priority": "priority=10", "HDR->version": "version=6", "XHDR->flow_lbl[0:3]": "flow_lbl={0x71,0x23,0x45}",
        "b16_len=HDR->payload_len": f"b16_len={40 + len(PAYLOAD)}", "HDR->nexthdr": "nexthdr=6",
        "HDR->hop_limit": "hop_limit=9", "ip6_src=HDR->saddr": "ip6_src=2001:db8::7",
        "ip6_dst=HDR->daddr": f"ip6_dst={FAR[4]}",
        "b32_last=HDR->!(struct in6_addr)daddr.in6_u.u6_addr32[3]": "b32_last=2",
    }  # fmt: skip
    source = "@(struct ethhdr *)l2skb->h_proto==0x86dd&&HDR->saddr==2001:db8::7"
    return [
        _header("p ip_rcv", _struct("iphdr", "l3"), ip, "ip_src==192.0.2.7", _DATA),
        _header("p eth_type_trans", _struct("iphdr", "l2"), ip, "HDR->saddr==192.0.2.7&&HDR->ttl==33", _DATA),
        _header("p ipv6_rcv", _struct("ipv6hdr", "l3"), ip6, "ip6_src==2001:db8::7"),
        _header("p eth_type_trans", _struct("ipv6hdr", "l2"), ip6, source),
    ]


def _whole_tcp() -> Shows:
    tcp = {
        "b16_source=HDR->source": "b16_source=1234", "b16_dest=HDR->dest": "b16_dest=4321",
        "B32_seq=HDR->seq": "B32_seq=0x1020304",
        "B32_ack=HDR->ack_seq": "B32_ack=0xf1f2f3f4", "HDR->doff": "doff=10", "x=XHDR->doff": "x=0xa",
        "HDR->cwr": "cwr=1",
        "HDR->ece": "ece=1", "HDR->urg": "urg=1", "HDR->ack": "ack=0", "HDR->psh": "psh=1", "HDR->rst": "rst=0",
        "HDR->syn": "syn=1", "HDR->fin": "fin=1", "B16_window=HDR->window": "B16_window=0x8001",
        "B16_check=HDR->check": "B16_check=0x1234", "B16_urg=HDR->urg_ptr": "B16_urg=0x5678",
    }  # fmt: skip
    # Behind the 20 bytes that struct tcphdr has, 20 of options.
    data = {"S=HDR->Sdata[28]": 'S="ABCDE"', "B32_data=HDR->ldata[5]": "B32_data=0x1020304"}
    return _header("p ipv6_rcv", _struct("tcphdr", "l3v6"), tcp, "HDR->seq==0x1020304&&B16_check==0x1234", data)
