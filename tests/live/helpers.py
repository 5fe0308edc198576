"""What live tests share: a surftrace that runs in a guest, real traffic, and the state of tracefs as others see it."""

import re
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from tests.kernel.guest import Guest
from tests.kernel.process import Process

HEADLINE = (
    "p ip_output proto=@(struct iphdr*)l3%2->protocol ip_dst=@(struct iphdr*)l3%2->daddr "
    "b16_dest=@(struct udphdr*)l3%2->dest comm=$comm body=@(struct udphdr*)l3%2->Sdata[0] "
    "f:proto==17&&ip_dst==127.0.0.1&&b16_dest==9988"
)

LAST_ECHO = "/tracing_on\n"

_STATE = """
cd /sys/kernel/tracing || exit 1
if grep -q expanded buffer_size_kb; then echo 1 >events/sched/sched_switch/enable; echo 0 >events/enable; fi
for file in kprobe_events uprobe_events dynamic_events set_event current_tracer trace_options tracing_on buffer_size_kb
do echo "== $file"; cat $file 2>&1; done
for folder in instances/*/; do echo "== $folder"; cat "$folder/set_event" 2>&1; done; true
"""


def tracefs_state(guest: Guest) -> str:
    """Everything in tracefs that a session might have changed for others.

    A kernel keeps its main buffer small until the first event of any instance is enabled, then makes it larger (Linux
    kernel/trace/trace.c, tracing_update_buffers): it is made so first.
    """
    return guest.run(["sh", "-c", _STATE]).expect().stdout


@contextmanager
def running(guest: Guest, *words: str, terminal: bool = False, plain: bool = False) -> Iterator[Process]:
    """A surftrace that has set up its trace; ended by SIGINT if it still runs at the end.

    It is forked from a process that has imported it all, which saves seconds; `plain`: the command itself.
    """
    size = (24, 200) if terminal else None
    process = guest.start(["surftrace", *words], terminal_size=size, preloaded=not plain)
    try:
        process.wait_for(LAST_ECHO.replace("\n", "\r\n") if terminal else LAST_ECHO)
        yield process
        process.signal(signal.SIGINT)
        process.wait()
    finally:
        process.kill()


def without_doubted_misses(stderr: str) -> str:
    """What surftrace says, but hits that a probe may have missed: a kernel before 5.14 counts reads that fault so."""
    return re.sub(
        r"surftrace: warning: \w+ may have missed up to .*\n|hint: kernels before Linux 5\.14 .*\n", "", stderr
    )


@dataclass(frozen=True, slots=True)
class Traffic:
    """A sender in a guest."""

    process: Process

    def ask(self, command: str) -> int:
        """Have a command of traffic.py done; the result is the local port it used."""
        self.process.write(command + "\n")
        self.process.wait_for("done ")
        return int(self.process.wait_for("\n"))

    def udp(self, address: str, port: int, data: bytes) -> int:
        """Send one datagram."""
        return self.ask(f"udp {address} {port} {data!r}")


@contextmanager
def traffic(guest: Guest) -> Iterator[Traffic]:
    """A sender that waits for commands."""
    process = guest.start(["python3", "tests/live/traffic.py"])
    try:
        yield Traffic(process)
    finally:
        process.kill()


@dataclass(frozen=True, slots=True)
class Line:
    """A printed event."""

    task: str
    pid: int
    cpu: int
    time_s: float
    name: str
    place: str
    values: str


_LINE = re.compile(
    r"^ *(?P<task>.+)-(?P<pid>\d+) +\[(?P<cpu>\d{3})\] \S{4,5} +(?P<time>\d+\.\d{6}): "
    r"(?P<name>\w+): \((?P<place>[^)]*)\)(?P<values>.*)$"
)


def event_lines(output: str) -> list[Line]:
    """The events of probes among the lines of a trace."""
    matches = [_LINE.match(line) for line in output.splitlines()]
    return [
        Line(
            m["task"],
            int(m["pid"]),
            int(m["cpu"]),
            float(m["time"]),
            m["name"],
            m["place"],
            m["values"].removeprefix(" "),
        )
        for m in matches
        if m is not None
    ]


def values(output: str) -> list[str]:
    """The values of each event, as printed."""
    return [line.values for line in event_lines(output)]


def first_function(guest: Guest, names: Sequence[str]) -> str:
    """The first of these functions that the kernel can trace: names change between releases."""
    known = guest.run(["grep", "-wE", "|".join(names), "/sys/kernel/tracing/available_filter_functions"]).stdout.split()
    return next(name for name in names if name in known)
