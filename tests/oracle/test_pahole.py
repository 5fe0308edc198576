"""Every bit field of some structs is read where pahole puts it; perf cannot place the bit fields of DWARF 5."""

import re
import subprocess

import pytest

from tests.kernel import images
from tests.oracle.compiled import fetch_text
from tests.oracle.reads import parse_read

# A struct, a function that gets one, and what leads to its members there (`inet_sock` begins `tcp_sock`).
ROUTES = (
    ("sk_buff", "ip_output", "skb->"),
    ("sock", "ip_output", "sk->"),
    ("inet_sock", "tcp_slow_start", "tp->inet_conn.icsk_inet."),
    ("tcp_sock", "tcp_slow_start", "tp->"),
    ("net_device", "ip_rcv", "skb->dev->"),
    ("task_struct", "wake_up_new_task", "p->real_parent->"),
    ("msghdr", "tcp_sendmsg", "msg->"),
    ("linux_binprm", "begin_new_exec", "bprm->"),
    ("kobject", "kobject_uevent", "kobj->parent->"),
    ("iphdr", "ip_output", "!(struct iphdr *)%2->"),
    ("tcphdr", "ip_output", "skb->!(struct tcphdr *)data->"),
)

# `    unsigned int    in_execve:1;    /*  2344: 2  4 */`: the byte of the container, the first bit in it.
_BIT_FIELD = re.compile(r"(\w+):(\d+); +/\* +(\d+): *(\d+) ")

Places = dict[str, tuple[int | None, int]]  # member -> its first bit in the struct, its width


def _of_pahole(struct: str) -> Places:
    argv = ["pahole", "-F", "btf", "-C", struct, str(images.fetch("6.1").btf)]
    text = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    return {name: (int(byte) * 8 + int(bit), int(width)) for name, width, byte, bit in _BIT_FIELD.findall(text)}


@pytest.mark.parametrize(("struct", "function", "route"), ROUTES, ids=[struct for struct, _, _ in ROUTES])
def test_bit_fields_are_read_where_pahole_puts_them(struct: str, function: str, route: str) -> None:
    theirs = _of_pahole(struct)
    assert theirs, f"pahole shows no bit field of struct {struct}"
    reads = {name: parse_read(fetch_text(function, f"{route}{name}")) for name in theirs}
    ours: Places = {name: (read.bit_offset, read.width) for name, read in reads.items()}
    assert ours == theirs
