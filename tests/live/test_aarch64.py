"""Values proved on aarch64: the host compiles with a guest's BTF, and the shell script runs in that guest.

What is checked is the kernel's own text: numbers as they lie in memory, before surftrace decodes them.
"""

import hashlib
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path

import pytest

from tests.kernel.guest import Guest
from tests.kernel.process import Process
from tests.kernel.qemu import CHECKOUT
from tests.live.helpers import Line, event_lines, tracefs_state, traffic

_SCRIPT = "/run/trace.sh"
_PAYLOAD = b"\x01\x02\x03\x04\x05\x06\x07\x08ABCDE\0"
_INTERRUPTED = 130

_UDP_PROBES = (
    "p ip_output ihl=@(struct iphdr *)skb->ihl version=@(struct iphdr *)skb->version ttl=@(struct iphdr *)skb->ttl "
    "b16_total=@(struct iphdr *)skb->tot_len proto=@(struct iphdr *)skb->protocol "
    "ip_src=@(struct iphdr *)skb->saddr ip_dst=@(struct iphdr *)skb->daddr "
    "b16_source=@(struct udphdr *)l3skb->source b16_dest=@(struct udphdr *)l3skb->dest "
    "B16_len=@(struct udphdr *)l3skb->len c=@(struct udphdr *)l3skb->cdata[1] b16_s=@(struct udphdr *)l3skb->sdata[1] "
    "b32_l=@(struct udphdr *)l3skb->ldata[1] q=X@(struct udphdr *)l3skb->qdata[0] S=@(struct udphdr *)l3skb->Sdata[8] "
    "len=skb->len comm=$comm f:proto==17&&ip_dst==127.0.0.2&&b16_dest==9988",
    "p __dev_queue_xmit b16_proto=@(struct ethhdr *)l2skb->h_proto proto=@(struct iphdr *)l2skb->protocol "
    "ip_dst=@(struct iphdr *)l2skb->daddr l=@(struct udphdr *)l2skb->ldata[0] dev=skb->dev->name "
    'f:proto==17&&ip_dst==127.0.0.2&&dev=="lo"',
)
_PORT_PROBES = (
    "p tcp_v4_rcv b16_source=@(struct tcphdr *)l4skb->source b16_dest=@(struct tcphdr *)l4skb->dest "
    "syn=@(struct tcphdr *)l4skb->syn ack=@(struct tcphdr *)l4skb->ack fin=@(struct tcphdr *)l4skb->fin "
    "ack_seq=@(struct tcphdr *)l4skb->ack_seq doff=U@(struct tcphdr *)l4skb->doff "
    "f:b16_dest==4321&&syn==1&&!(ack==1)",
    "p icmp_rcv type=@(struct icmphdr *)l4skb->type b16_id=@(struct icmphdr *)l4skb->un.echo.id "
    "b16_seq=@(struct icmphdr *)l4skb->un.echo.sequence q=X@(struct icmphdr *)l4skb->qdata[0] "
    "text=@(struct icmphdr *)l4skb->Sdata[8] f:type==8&&b16_id==0x1234",
    'p wake_up_new_task comm=%0->comm parent=%0->real_parent->comm f:comm=="forks a child"',
)
_FILE_PROBES = (
    "p vfs_fallocate mode=mode offset=%2 u=U%2 register=%x2 x=Xlen len=len "
    "name=file->f_path.dentry->d_name.!(char *)name refs=file->f_path.dentry->d_inode->i_count "
    "f:len==12345&&offset>=8192&&offset<8193",
    "r vfs_fallocate ret=$retval",
    'r do_filp_open name=$retval->f_path.dentry->d_name.!(char *)name pos=$retval->f_pos f:name=="name of a file"',
)

_FORK = """
import ctypes, os
ctypes.CDLL(None).prctl(15, b"forks a child", 0, 0, 0)
child = os.fork()
if child == 0:
    os._exit(0)
os.waitpid(child, 0)
"""
_ALLOCATE_NOTHING = """
import os
try:
    os.posix_fallocate(os.open("/run/empty", os.O_CREAT | os.O_WRONLY), 0, 0)
except OSError as error:
    print(error.errno)
"""


@pytest.fixture(autouse=True)
def _nothing_left(arm64_guest: Guest) -> Iterator[None]:
    """After each test the kernel is as it was."""
    before = tracefs_state(arm64_guest)
    yield
    assert tracefs_state(arm64_guest) == before


def test_compiles_for_what_runs(arm64_guest: Guest) -> None:
    on_host = hashlib.sha256(arm64_guest.image.btf.read_bytes()).hexdigest()
    report = arm64_guest.run(["sh", "-c", "uname -m; uname -r; sha256sum < /sys/kernel/btf/vmlinux"]).expect().stdout
    assert report.split() == ["aarch64", arm64_guest.image.release, on_host, "-"]


def test_udp(arm64_guest: Guest, tmp_path: Path) -> None:
    with _tracing(arm64_guest, tmp_path, *_UDP_PROBES) as script, traffic(arm64_guest) as sender:
        sender.ask("name b'sends [arm64]'")
        sender.udp("127.0.0.2", 9989, b"other port")
        sender.udp("127.0.0.3", 9988, b"other address")
        port = sender.udp("127.0.0.2", 9988, _PAYLOAD)
        lines = _ended(script, f"l={_raw(_PAYLOAD[:4])} ")
    assert _values(lines, "ip_output") == [
        f"ihl=5 version=4 ttl=64 b16_total={_raw16(42)} proto=17 "
        f"ip_src={_address('127.0.0.1')} ip_dst={_address('127.0.0.2')} "
        f"b16_source={_raw16(port)} b16_dest={_raw16(9988)} B16_len={_raw16(22)} c=2 b16_s={_raw(_PAYLOAD[2:4])} "
        f'b32_l={_raw(_PAYLOAD[4:8])} q={_raw(_PAYLOAD[:8]):#x} S="ABCDE" len=42 comm="sends [arm64]"'
    ]
    # The second probe knows no port: it has seen the other datagram as well.
    assert _values(lines, "__dev_queue_xmit") == [
        f'b16_proto={_raw16(0x800)} proto=17 ip_dst={_address("127.0.0.2")} l={_raw(payload[:4])} dev="lo"'
        for payload in (b"other port", _PAYLOAD)
    ]


def test_tcp_icmp_and_a_new_task(arm64_guest: Guest, tmp_path: Path) -> None:
    with _tracing(arm64_guest, tmp_path, *_PORT_PROBES) as script, traffic(arm64_guest) as sender:
        sender.ask(f"tcp 127.0.0.1 4322 {_PAYLOAD!r}")
        port = sender.ask(f"tcp 127.0.0.1 4321 {_PAYLOAD!r}")
        sender.ask(f"icmp 127.0.0.1 {_PAYLOAD!r}")
        arm64_guest.run(["python3", "-c", _FORK]).expect()
        lines = _ended(script, 'parent="forks a child"')
    assert _values(lines, "tcp_v4_rcv") == [
        f"b16_source={_raw16(port)} b16_dest={_raw16(4321)} syn=1 ack=0 fin=0 ack_seq=0 doff=10"
    ]
    assert _values(lines, "icmp_rcv") == [
        f'type=8 b16_id={_raw16(0x1234)} b16_seq={_raw16(7)} q={_raw(_PAYLOAD[:8]):#x} text="ABCDE"'
    ]
    assert _values(lines, "wake_up_new_task") == ['comm="forks a child" parent="forks a child"']


def test_system_calls_and_returns(arm64_guest: Guest, tmp_path: Path) -> None:
    with _tracing(arm64_guest, tmp_path, *_FILE_PROBES) as script, traffic(arm64_guest) as sender:
        sender.ask("fallocate 8192 12346 b'name of another'")
        sender.ask("fallocate 8192 12345 b'name of a file'")
        assert arm64_guest.run(["python3", "-c", _ALLOCATE_NOTHING]).expect().stdout == "22\n"
        lines = _ended(script, "ret=-22")
    assert _values(lines, "vfs_fallocate") == [
        'mode=0 offset=8192 u=8192 register=8192 x=0x3039 len=12345 name="name of a file" refs=1'
    ]
    assert _returned(lines, "vfs_fallocate") == ["ret=0", "ret=0", "ret=-22"]
    assert _returned(lines, "do_filp_open") == ['name="name of a file" pos=0']


@contextmanager
def _tracing(guest: Guest, folder: Path, *probes: str) -> Iterator[Process]:
    """The script for these probes, which runs in the guest and has set up its trace."""
    path = folder / "trace.sh"
    surftrace = str(Path(sys.executable).with_name("surftrace"))
    argv = [surftrace, "-a", "aarch64", "-b", str(guest.image.btf), "-o", str(path), *probes]
    compiled = subprocess.run(argv, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert compiled.returncode == 0, compiled.stderr
    script = path.read_text()
    guest.write(_SCRIPT, script)
    # tracing_on comes last; what happens from then on waits in the buffer for the reader.
    switches = re.findall(r'^echo 1 > "\$tracing/(instances/\w+/tracing_on)"', script, re.MULTILINE)
    assert len(switches) == 1
    process = guest.start(["bash", _SCRIPT])
    try:
        _wait_for_switch(guest, process, f"/sys/kernel/tracing/{switches[0]}")
        yield process
    finally:
        # After a test that failed the next one needs a clean kernel too; a script that has ended does not mind.
        process.signal(signal.SIGINT)
        process.wait()


def _wait_for_switch(guest: Guest, process: Process, path: str) -> None:
    wait = f'until [ "$(cat {path} 2> /dev/null)" = 1 ]; do [ -d /proc/{process.pid} ] || exit; sleep 0.05; done'
    assert guest.run(["sh", "-c", wait]).status == 0, process.stderr


def _ended(script: Process, last: str) -> list[Line]:
    """Interrupt the script as Ctrl-C does, once it has shown the line with `last`; the events that it has shown."""
    script.wait_for(last)
    script.wait_for("\n")
    script.signal(signal.SIGINT)
    result = script.wait()
    assert (result.status, result.stderr) == (_INTERRUPTED, "")
    return event_lines(result.stdout, is_kernels=True)


def _values(lines: list[Line], function: str) -> list[str]:
    return [_shown(line) for line in lines if line.place.startswith(f"{function}+0x")]


def _returned(lines: list[Line], function: str) -> list[str]:
    return [_shown(line) for line in lines if line.place.endswith(f" <- {function}")]


def _shown(line: Line) -> str:
    """The values that the probe asks for; those which surftrace adds for its own use have names with underscores."""
    return re.sub(r" __\w+=\S+", "", line.values)


def _raw(data: bytes) -> int:
    return int.from_bytes(data, "little")


def _raw16(number: int) -> int:
    return _raw(number.to_bytes(2, "big"))


def _address(text: str) -> int:
    return _raw(ip_address(text).packed)
