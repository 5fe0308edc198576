"""surftrace from Python: the examples of its page are run, and signals find the kernel in order."""

import re
import signal
from pathlib import Path

import pytest

from tests.kernel.guest import Guest
from tests.kernel.process import Process
from tests.live.helpers import traffic

pytestmark = [pytest.mark.kernels("newest"), pytest.mark.usefixtures("nothing_left")]

# The examples take that long, whatever comes.
_TIME = re.compile(r"(?<=[=(])10")

_PAGE = Path(__file__).parents[2] / "docs/python.md"
_README = Path(__file__).parents[2] / "README.md"
_EXAMPLES = re.findall(r"^```python\n(.*?)^```", _PAGE.read_text(), re.MULTILINE | re.DOTALL)
_EVENTS, _CALLBACK, _COUNTED, _ANOTHER = _EXAMPLES
_INSTANCE = "/sys/kernel/tracing/instances/surftrace"
_ON = f"1 {_INSTANCE}/tracing_on"
_COUNTS = f"'\\[active\\]' {_INSTANCE}/events/surftrace/f0/trigger"


def _start(guest: Guest, program: str, sign: str = _ON) -> Process:
    """A program that traces, from when it does."""
    process = guest.start(["python3", "-uc", program])
    guest.run(["sh", "-c", f"until grep -qs {sign}; do :; done"]).expect()
    return process


@pytest.mark.kernels("5.10", "newest")
def test_events_as_they_come(guest: Guest) -> None:
    assert _EVENTS in _README.read_text()
    process = _start(guest, _EVENTS)
    for _ in range(3):
        guest.run(["cat", "/no/such/file"])
    *events, losses = process.wait().expect().stdout.splitlines()
    assert len(events) == 3
    assert all(re.fullmatch(r"\d+ \S+ -2 -ENOENT", event) for event in events)
    assert losses == "not seen: Losses(events=(), hits=(), unread=0)"


def test_a_function_for_each_event(guest: Guest) -> None:
    process = _start(guest, _TIME.sub("3", _CALLBACK))
    with traffic(guest) as sender:
        for size in (10, 20):
            sender.udp("127.0.0.9", 9, bytes(size))
    assert "127.0.0.9 86 bytes\n" in process.wait().expect().stdout


def test_counted_in_the_kernel(guest: Guest) -> None:
    process = _start(guest, _TIME.sub("3", _COUNTED), _COUNTS)
    with traffic(guest) as sender:
        for size in (10, 20):
            sender.udp("127.0.0.9", 9, bytes(size))
    assert "127.0.0.9 2 packets, 86 bytes\n" in process.wait().expect().stdout


def test_another_kernel(guest: Guest) -> None:
    program = _ANOTHER.replace("vmlinux.btf", "/sys/kernel/btf/vmlinux")
    result = guest.run(["python3", "-c", program]).expect()
    command = ["surftrace", "-S", "-b", "/sys/kernel/btf/vmlinux", "--kernel", "5.10", "-a", "x86_64"]
    assert result.stdout == guest.run([*command, "p ip_output len=skb->len f:len>1000"]).expect().stdout
    wrong = guest.run(["python3", "-c", program.replace("skb->len", "skb->lne")])
    assert wrong.status == 1
    assert wrong.stderr.startswith("probe 1: error: struct sk_buff has no member 'lne'\n    p ip_output len=skb->lne")


_ENDLESS = """
import surftrace
try:
    with surftrace.compile("p vfs_fsync").trace() as trace:
        print("on", flush=True)
        for event in trace:
            print(event)
finally:
    print(f"not seen: {trace.losses}")
"""


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, -signal.SIGINT), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_signals(guest: Guest, number: signal.Signals, status: int) -> None:
    process = guest.start(["python3", "-c", _ENDLESS])
    process.wait_for("on\n")
    process.signal(number)
    result = process.wait()
    assert result.stdout == "on\nnot seen: Losses(events=(), hits=(), unread=0)\n"
    assert result.status == status


_WARNED = """
import surftrace, warnings
warnings.simplefilter("error")
try:
    with surftrace.compile("p vfs_fsync").trace() as trace:
        open(f"/sys/kernel/tracing/instances/{trace.plan.instance}/events/surftrace/f0/enable", "w").write("0")
        for event in trace:
            raise AssertionError
except surftrace.TraceWarning as warning:
    print(warning)
"""


_OVER = """
import os, surftrace, warnings
warnings.simplefilter("error")
try:
    with surftrace.compile("p __x64_sys_getpriority").trace(max_rate=100) as trace:
        for _ in range(10_000):
            os.getpriority(0, 0)
        for event in trace:
            pass
except surftrace.TraceWarning as warning:
    print(warning)
assert next(trace, None) is None
"""


def test_a_warning_that_is_an_error_ends_a_paused_trace(guest: Guest) -> None:
    result = guest.run(["python3", "-c", _OVER]).expect()
    assert re.fullmatch(r"f0 happens \d+ times a second: paused for 1 s \(--max-rate 100\)\n", result.stdout)


def test_what_happens_is_a_warning(guest: Guest) -> None:
    result = guest.run(["python3", "-c", _WARNED]).expect()
    assert result.stdout == "somebody else has disabled f0: the trace sees nothing more of it\n"
