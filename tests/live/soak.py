"""In a guest: a session sees calls at a steady rate for a long time. Prints what it showed, and how its memory went.

The calls are counted by the kernel as well, by a histogram of somebody else's probe on the same function, from before
the trace starts until after it has ended. The last line is a JSON object: `calls` that were made, `counted` by the
kernel, `shown` by the session; `wrong`, the first number that was shown out of turn, or null; `memory_kb` of the
session, in even steps of time; its `status` and `errors`.

`python -m tests.live.soak SECONDS CALLS_PER_S`
"""

import json
import os
import re
import select
import signal
import sys
import time
from pathlib import Path

from tests.live.helpers import LAST_ECHO
from tests.live.inside import CALLED, FIRST_OFFSET, PROBE, ROOT, Caller, fork, others, resolve_once, surftrace

_SAMPLES = 120
_LOOK_S = 0.1
# On a busy machine the session may be behind when the calls end.
_PATIENCE_S = 10.0
_READ_BYTES = 1 << 16
_NUMBER = re.compile(rb" offset=(\d+) ")
_HITS = re.compile(r"^ *Hits: (\d+)$", re.MULTILINE)
_MEMORY = re.compile(r"^VmRSS:\s+(\d+) kB$", re.MULTILINE)


class _Reader:
    """Reads what a session writes, and counts its events: numbers that rise by one."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.shown = 0
        self.wrong: int | None = None
        self._rest = b""

    def read(self) -> bytes:
        """What has come since the last time; empty at the end."""
        data = os.read(self.descriptor, _READ_BYTES)
        lines, line_end, self._rest = (self._rest + data).rpartition(b"\n")
        for number in _NUMBER.findall(lines + line_end):
            self.shown += 1
            if self.wrong is None and int(number) != FIRST_OFFSET + self.shown:
                self.wrong = int(number) - FIRST_OFFSET
        return data


def _memory_kb(pid: int) -> int:
    found = _MEMORY.search(Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1])


def _watch(pid: int, reader: _Reader, caller: Caller, calls: int, step_s: float) -> list[int]:
    """Read until all calls were made and shown, or nothing comes any more; the memory in the meantime."""
    poller = select.poll()
    poller.register(reader.descriptor, select.POLLIN)
    samples = []
    next_s = time.monotonic()
    while caller.done < calls:
        if poller.poll(_LOOK_S * 1000) and not reader.read():
            break
        if time.monotonic() >= next_s:
            samples.append(_memory_kb(pid))
            next_s += step_s
    while reader.shown < calls and poller.poll(_PATIENCE_S * 1000) and reader.read():
        pass
    return samples


def _main(for_s: float, per_s: float) -> None:
    resolve_once([PROBE])
    calls = round(for_s * per_s)
    histogram = f"hist:keys=common_pid if offset>={FIRST_OFFSET}"
    with others(f"{CALLED} offset=%si:s64", (("trigger", histogram),)) as event:
        readable, stdout = os.pipe()
        errors = os.memfd_create("errors")
        pid = fork(lambda: surftrace(["--strict", PROBE]), stdout, errors)
        os.close(stdout)
        echo = b""
        while LAST_ECHO.encode() not in echo:
            echo += os.read(readable, _READ_BYTES)
        reader = _Reader(readable)
        caller = Caller(per_s, calls)
        memory_kb = _watch(pid, reader, caller, calls, for_s / _SAMPLES)
        made = caller.stop()
        os.kill(pid, signal.SIGINT)
        while reader.read():
            pass
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        hits = _HITS.search((ROOT / event / "hist").read_text())
    found = {
        "calls": made,
        "counted": int(hits[1]) if hits else None,
        "shown": reader.shown,
        "wrong": reader.wrong,
        "memory_kb": memory_kb,
        "status": status,
        "errors": os.pread(errors, _READ_BYTES, 0).decode(),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    _main(float(sys.argv[1]), float(sys.argv[2]))
