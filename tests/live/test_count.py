"""Counts in the kernel against known traffic, and against a trace of the same; what is lost, and what stays behind."""

import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.kernel.guest import Guest
from tests.kernel.process import Process, Result
from tests.kernel.wire import Kind
from tests.live.helpers import running, tracefs_state, traffic, values
from tests.schemas import valid_lines

pytestmark = pytest.mark.kernels("newest")

_PORT = 9988
_PROBE = (
    "p ip_output len=skb->len ip_dst=@(struct iphdr*)l3skb->daddr b16_dest=@(struct udphdr*)l3skb->dest "
    f"proto=@(struct iphdr*)l3skb->protocol f:proto==17&&b16_dest=={_PORT}"
)
_HEADERS = 28
# Address and size of each datagram.
_DATAGRAMS = [("127.0.0.1", 10), ("127.0.0.1", 10), ("127.0.0.1", 500), ("127.0.0.2", 100), ("127.0.0.3", 1000)] * 2

# Opens a file by each of the names, C's NULL for None, as a process that is called `opener`.
_OPEN = """
import ctypes
libc = ctypes.CDLL(None)
libc.prctl(15, b"opener", 0, 0, 0)
for name in {names!r}:
    libc.open(name, 0)
"""
# What would be another row, were it not a part of a name.
_FORGED = b"} hitcount:          7\n{ name: " + b"forged".ljust(60)


@contextmanager
def _counting(guest: Guest, *words: str, terminal: bool = False) -> Iterator[Process]:
    """A count that is on."""
    process = guest.start(["surftrace", "count", *words], terminal_size=(24, 100) if terminal else None, preloaded=True)
    try:
        process.wait_for("counting ", stream=Kind.STDOUT if terminal else Kind.STDERR)
        yield process
    finally:
        process.kill()


def _end(count: Process) -> Result:
    count.signal(signal.SIGINT)
    return count.wait()


def _records(output: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The rows, and the record that comes last. What is told besides is on standard error, too."""
    *rows, end = (line for line in valid_lines("count", output) if line["type"] != "notice")
    assert end["type"] == "end"
    return rows, end


def _open(guest: Guest, names: list[bytes | None]) -> None:
    guest.run(["python3", "-c", _OPEN.format(names=names)]).expect()


@pytest.mark.kernels("6.1", "newest")
def test_counts_are_those_of_the_traffic_and_of_a_trace(guest: Guest) -> None:
    before = tracefs_state(guest)
    asked = ["--by", "ip_dst", "--sum", "len,b16_dest", "--range", "len", "--hist", "len", "--hist", "b16_dest:100"]
    with running(guest, _PROBE) as trace, traffic(guest) as sender:
        with _counting(guest, _PROBE, *asked, "--json") as count:
            for address, size in _DATAGRAMS:
                sender.udp(address, _PORT, b"x" * size)
                sender.udp(address, _PORT + 1, b"x" * size)
            result = _end(count)
        for _ in _DATAGRAMS:
            trace.wait_for(f"b16_dest={_PORT} ")
        traced = values(trace.stdout)
    assert (result.status, result.stderr) == (130, "surftrace: counting 1 probe until Ctrl-C\n")
    rows, end = _records(result.stdout)
    assert end == {"type": "end", "hits": 10, "unread": [], "dropped": [], "undecoded": [], "missed": []}
    found = {row["values"]["ip_dst"]: row for row in rows}
    for address in ("127.0.0.1", "127.0.0.2", "127.0.0.3"):
        lengths = [size + _HEADERS for to, size in _DATAGRAMS if to == address]
        row = found[address]
        assert row["hits"] == len(lengths) == sum(f"ip_dst={address} " in each for each in traced)
        assert row["sums"] == {"len": sum(lengths), "b16_dest": _PORT * len(lengths)}
        assert row["ranges"] == {"len": {"min": min(lengths), "max": max(lengths)}}
        assert row["histograms"]["b16_dest"] == [{"low": 9900, "high": 9999, "hits": len(lengths)}]
        buckets = row["histograms"]["len"]
        assert sum(each["hits"] for each in buckets) == len(lengths)
        for each in buckets:
            assert each["hits"] == sum(each["low"] <= length <= each["high"] for length in lengths)
    assert tracefs_state(guest) == before


def test_table(guest: Guest) -> None:
    with traffic(guest) as sender, _counting(guest, _PROBE, "--by", "ip_dst,pid", "--sum", "len") as count:
        for address, size in _DATAGRAMS:
            sender.udp(address, _PORT, b"x" * size)
        result = _end(count)
        pid = sender.process.pid
    assert [line.split() for line in result.stdout.splitlines()] == [
        ["ip_dst", "pid", "hits", "sum(len)", "avg(len)"],
        ["127.0.0.1", str(pid), "6", "1208", "201.33"],
        ["127.0.0.2", str(pid), "2", "256", "128.00"],
        ["127.0.0.3", str(pid), "2", "2056", "1028.00"],
    ]


def test_errors_stacks_and_events(guest: Guest) -> None:
    probe = 'r do_sys_openat2 ret=$retval f:COMM=="opener"'
    with _counting(guest, probe, "--by", "ret", "--hist", "ret", "--range", "ret") as count:
        _open(guest, [b"/nothing", b"/nothing", None, b"/"])
        failed = _end(count).stdout.splitlines()
    lines = [line.split() for line in failed]
    assert ["-2(-ENOENT)", "2", "-2", "-2"] in lines
    assert ["-14(-EFAULT)", "1", "-14", "-14"] in lines
    assert "  ret:" in failed
    with _counting(guest, _PROBE, "--by", "stack", "--json") as count, traffic(guest) as sender:
        sender.udp("127.0.0.1", _PORT, b"x")
        (row,), _ = _records(_end(count).stdout)
    assert row["stack"][0].startswith("ip_output+")
    assert any(frame.startswith("udp_sendmsg+") for frame in row["stack"])
    with _counting(guest, "e sched/sched_process_exit", "e sched/sched_process_exec", "--by", "comm") as count:
        guest.run(["sh", "-c", "/bin/true; /bin/true; exit 0"]).expect()
        assert ["sched/sched_process_exit", '"true"', "2"] in [line.split() for line in _end(count).stdout.splitlines()]


@pytest.mark.kernels("6.1", "newest")
def test_what_cannot_be_read_is_counted_apart(guest: Guest) -> None:
    before = tracefs_state(guest)
    probe = 'p do_sys_openat2 name=filename:ustring next=!(struct list_head *)filename->next f:COMM=="opener"'
    with _counting(guest, probe, "--by", "name", "--json") as count:
        _open(guest, [b"/a/plain/name", b"/a/plain/name", None, None, None, b"", b"a\n} hitcount: 1\x1b"])
        result = _end(count)
    rows, end = _records(result.stdout)
    # Linux 6.1 mm/maccess.c, strncpy_from_user_nofault: an empty string is as long as one that cannot be read.
    empty = 0 if guest.image.name == "6.1" else 1
    opened = {"/a/plain/name": 2, **({"": 1} if empty else {}), "a\n} hitcount: 1\x1b": 1}
    assert {row["values"]["name"]: row["hits"] for row in rows} == opened
    assert end["unread"] == [{"event": "f0", "value": "name", "hits": 4 - empty}]
    assert f"{4 - empty} hits of do_sys_openat2 not counted: their name could not be read" in result.stderr
    with _counting(guest, probe, "--by", "next", "--sum", "next") as count:
        _open(guest, [b"/a", b"/b"])
        result = _end(count)
    assert result.stdout == "no hits\n"
    assert "2 hits of do_sys_openat2 not counted: their next could not be read" in result.stderr
    assert tracefs_state(guest) == before


def test_strings_forge_no_rows(guest: Guest) -> None:
    probe = 'p do_sys_openat2 name=filename:ustring f:COMM=="opener"'
    with _counting(guest, probe, "--by", "name", "--json", "--strict") as count:
        _open(guest, [b"/plain", b"x".ljust(60) + _FORGED])
        result = _end(count)
    rows, end = _records(result.stdout)
    assert result.status == 3
    assert rows == []
    assert [each["event"] for each in end["undecoded"]] == ["f0"]
    assert "looks like rows of it" in result.stderr
    notice, _ = valid_lines("count", result.stdout)
    assert "looks like rows of it" in notice["message"]


def test_a_full_table_is_told(guest: Guest) -> None:
    probe = "p ip_output b16_dest=@(struct udphdr*)l3skb->dest proto=@(struct iphdr*)l3skb->protocol f:proto==17"
    options = ("--by", "b16_dest", "--size", "128", "--top", "3", "--strict")
    with traffic(guest) as sender, _counting(guest, probe, *options) as count:
        for port in range(20000, 20140):
            sender.udp("127.0.0.1", port, b"x")
        result = _end(count)
    assert result.status == 3
    assert "12 hits of ip_output not counted: the table was full" in result.stderr
    assert result.stdout.splitlines()[-1] == "and 125 more rows with 125 hits (--top 3)"


def test_tables_again_and_again(guest: Guest) -> None:
    with traffic(guest) as sender:
        with _counting(guest, _PROBE, "--every", "0.2", "--json") as count:
            sender.udp("127.0.0.1", _PORT, b"x")
            count.wait_for('{"type":"counts","hits":1,')
            sender.udp("127.0.0.1", _PORT, b"x")
            count.wait_for('{"type":"counts","hits":2,')
            assert '{"type":"end","hits":2,' in _end(count).stdout
        with _counting(guest, _PROBE, "--every", "0.2", terminal=True) as count:
            count.wait_for("no hits")
            sender.udp("127.0.0.1", _PORT, b"x")
            count.wait_for("\x1b[1F\x1b[J")
            count.wait_for("ip_output")
            last = _end(count).stdout.rpartition("\x1b[2F\x1b[J")[2]
    assert [re.sub(r"\x1b\[\d*m", "", line).split() for line in last.splitlines()] == [
        ["probe", "hits"],
        ["ip_output", "1"],
    ]


def test_what_is_killed_is_removed_by_the_next(guest: Guest) -> None:
    before = tracefs_state(guest)
    with _counting(guest, _PROBE, "--by", "ip_dst", "--sum", "len") as count:
        count.kill()
    assert (
        "hist:keys=ip_dst:vals=hitcount,len"
        in guest.run(["sh", "-c", "cat /sys/kernel/tracing/instances/surftrace/events/surftrace/f0/trigger"]).stdout
    )
    with _counting(guest, _PROBE, "--by", "ip_dst") as count, _counting(guest, "p ip_output") as other:
        assert _end(other).status == _end(count).status == 130
    assert tracefs_state(guest) == before


def test_what_a_dry_run_prints_counts(guest: Guest) -> None:
    before = tracefs_state(guest)
    folder = "/sys/kernel/tracing/instances/surftrace_sh/events/surftrace_sh/f0"
    asked = ["--by", "ip_dst", "--sum", "len", "--range", "len"]
    commands = guest.run(["surftrace", "count", "-S", _PROBE, *asked]).expect().stdout
    guest.run(["sh", "-e", "-c", commands]).expect()
    with traffic(guest) as sender:
        sender.udp("127.0.0.1", _PORT, b"x" * 72)
    text = guest.run(["cat", f"{folder}/hist"]).expect().stdout
    assert "} hitcount:          1  len:        100\n" in text
    assert guest.run(["surftrace", "clean", "surftrace_sh"]).expect().stdout == "removed surftrace_sh\n"
    assert tracefs_state(guest) == before


@pytest.mark.kernels("5.10")
def test_a_kernel_without_histograms(guest: Guest) -> None:
    result = guest.run(["surftrace", "count", "p ip_output len=skb->len", "--by", "len"])
    assert result.status == 2
    assert result.stdout == ""
    assert "cannot do histograms in the kernel (hist triggers)" in result.stderr
    assert "CONFIG_HIST_TRIGGERS" in result.stderr
