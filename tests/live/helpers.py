"""What live tests share: a surftrace that runs in a guest, real traffic, and the state of tracefs as others see it."""

import json
import re
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.kernel.guest import Guest
from tests.kernel.process import Process, ProcessError, Result

HEADLINE = (
    "p ip_output proto=@(struct iphdr*)l3%2->protocol ip_dst=@(struct iphdr*)l3%2->daddr "
    "b16_dest=@(struct udphdr*)l3%2->dest comm=$comm body=@(struct udphdr*)l3%2->Sdata[0] "
    "f:proto==17&&ip_dst==127.0.0.1&&b16_dest==9988"
)

# What a trace says once it is on: the names of the columns; with --raw there are none.
LAST_ECHO = " NAME=VALUE ...\n"
_LAST_OF_RAW = "/tracing_on\n"

_STATE = """
cd /sys/kernel/tracing || exit 1
read -r size < buffer_size_kb
case $size in *expanded*) echo 1 >events/sched/sched_switch/enable; echo 0 >events/enable;; esac
set -- kprobe_events uprobe_events dynamic_events synthetic_events
for folder in ./ instances/*/; do
    [ -d "$folder" ] || continue
    for file in set_event current_tracer trace_options tracing_on buffer_size_kb; do set -- "$@" "$folder$file"; done
    while IFS=: read -r system event _; do
        [ -z "$system" ] || set -- "$@" "${folder}events/$system/$event/filter" "${folder}events/$system/$event/trigger"
    done < "${folder}set_event"
done
busybox grep -H '' "$@" 2>&1 || true
"""


def tracefs_state(guest: Guest) -> str:
    """Everything in tracefs that a session might have changed for others, the name of its file before each line.

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
        last = _LAST_OF_RAW if "--raw" in words else LAST_ECHO
        process.wait_for(last.rstrip("\n") if terminal else last)
        yield process
        process.signal(signal.SIGINT)
        process.wait()
    finally:
        process.kill()


@dataclass(frozen=True, slots=True)
class Shell:
    """A shell in a guest that stays: a script takes no start of one."""

    process: Process

    def run(self, script: str) -> str:
        """The output of a script that does not fail, run in the folder of tracefs."""
        self.process.write(f"(set -e; cd /sys/kernel/tracing; {script}\n) < /dev/null 2>&1; echo ended with $?\n")
        output = self.process.wait_for("ended with ").removesuffix("ended with ")
        status = self.process.wait_for("\n").strip()
        if status != "0":
            raise ProcessError(f"{script}\nended with status {status}\n{output}")
        return output

    def tracefs_state(self) -> str:
        """What the function of this name tells."""
        return self.run(_STATE)


@contextmanager
def shell(guest: Guest) -> Iterator[Shell]:
    """A shell that waits for scripts."""
    process = guest.start(["sh"])
    try:
        yield Shell(process)
    finally:
        process.kill()


@dataclass(frozen=True, slots=True)
class Trace:
    """A surftrace that a `Starter` has started."""

    starter: "Starter"
    pid: int
    words: tuple[str, ...]

    def wait_until_on(self) -> None:
        """Wait until it traces."""
        assert self.starter.ask("wait_until_on", self.pid, 20), self.wait(0.1)

    def kill(self, *signals: tuple[float, int]) -> None:
        """Send signals, each so many seconds after the one before, while it lives."""
        self.starter.ask("kill", self.pid, signals)

    def hang_up(self) -> None:
        """Close the terminal or the pipe that it writes to."""
        self.starter.ask("hang_up", self.pid)

    def wait(self, timeout_s: float = 30) -> Result:
        """Its end. ProcessError where it had to be killed."""
        status, stdout, stderr = self.starter.ask("wait", self.pid, timeout_s)
        if status is None:
            raise ProcessError(f"{self.words} did not end within {timeout_s} s\n{stdout}\n{stderr}")
        return Result(self.words, status, stdout.encode(), stderr.encode())

    def end(self, number: int = signal.SIGINT) -> Result:
        """End it by a signal."""
        self.kill((0, number))
        return self.wait()


@dataclass(frozen=True, slots=True)
class Starter:
    """What starts many traces in a guest fast."""

    process: Process

    def ask(self, *command: object) -> Any:
        """Have a command of starter.py done; its answer."""
        self.process.write(json.dumps(command) + "\n")
        return json.loads(self.process.wait_for("\n"))

    def start(self, *words: str, output: str = "", spoiled: str = "", is_poor: bool = False) -> Trace:
        """Start a trace; see `start` of starter.py."""
        return Trace(self, self.ask("start", words, output, spoiled, is_poor), words)

    def run(self, *words: str, output: str = "", spoiled: str = "") -> Result:
        """Run surftrace to its end."""
        return self.start(*words, output=output, spoiled=spoiled).wait()

    def running(self, *words: str, output: str = "", is_poor: bool = False) -> Trace:
        """Start a trace, which has set itself up then."""
        trace = self.start(*words, output=output, is_poor=is_poor)
        trace.wait_until_on()
        return trace

    def fork(self, count: int) -> None:
        """Fork, which traces see."""
        self.ask("fork", count)

    def instances(self) -> list[str]:
        """The names of all instances."""
        return list(self.ask("instances"))


@contextmanager
def starter(guest: Guest) -> Iterator[Starter]:
    """A starter that waits for commands."""
    process = guest.start(["python3", "-m", "tests.live.starter"])
    try:
        yield Starter(process)
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
    r"^ *(?P<time>\d+\.\d{6}) \[(?P<cpu>\d{3})\] \S{4,5} +(?P<task>.+)-(?P<pid>\d+) +"
    r"(?P<name>\w+): +\((?P<place>[^)]*)\)(?P<values>.*)$"
)


_KERNEL_LINE = re.compile(
    r"^ *(?P<task>.+)-(?P<pid>\d+) +\[(?P<cpu>\d{3})\] \S{4,5} +(?P<time>\d+\.\d{6}): "
    r"(?P<name>\w+): \((?P<place>[^)]*)\)(?P<values>.*)$"
)


def event_lines(output: str, is_kernels: bool = False) -> list[Line]:
    """The events of probes among the lines of a trace, or of one as the kernel prints it."""
    matches = [(_KERNEL_LINE if is_kernels else _LINE).match(line) for line in output.splitlines()]
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
