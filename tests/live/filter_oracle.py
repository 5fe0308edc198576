"""Asks a kernel what a filter lets through and what a probe shows; runs in a guest: a job in, answers out, as JSON.

The job: `base` and `pages` hex (user memory at a fixed address, with nothing behind it); `rounds`,
each with the `definition` of a probe or the `event` that is there, the `comm` and `calls` of this process, and
`filters`; `refused`, definitions; `lengths`, of a string at the address `long` that a probe fetches.

A call is `["openat2", dfd, filename, how in hex, usize]` or `["name", text]`. What the kernel thinks of a call does not
matter. For each filter of each round the answer is `[errno, sentence, [printed event, ...]]`.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TRACEFS = Path("/sys/kernel/tracing")
INSTANCE = TRACEFS / "instances/oracle"
PROBE = "oracle/e"

_SYS_OPENAT2 = 437
_MAP_PRIVATE_ANONYMOUS_FIXED_POPULATE = 0x02 | 0x20 | 0x100000 | 0x8000
_HOW_OFFSET = 0xE00
_PR_SET_NAME = 15
_UNREADABLE = 0xFFFF_FFFF_FFFF_FFC0
_LINE = re.compile(rb"^ *.+-(\d+) +\[\d+\] \S+ +\d+\.\d+: \w+(?:: |\()(.*)$", re.DOTALL)
_LINE_END = re.compile(rb"\n(?= *[^\n]{1,16}-\d+ +\[\d+\] |$)")  # a string may hold more, of what it runs into
_LIBC = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    """Do the job."""
    job = json.load(sys.stdin)
    cpu = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cpu})
    _map(job["base"], bytes.fromhex(job["pages"]))
    INSTANCE.mkdir()
    try:
        answers = {
            "pid": os.getpid(),
            "cpu": cpu,
            "address_bits": _address_bits(),
            "unreadable": _unreadable(job["base"]),
            "rounds": [_round(job["base"], each) for each in job["rounds"]],
            "refused": [_refusal(definition) for definition in job["refused"]],
            "lengths": [_entries(job["base"], job["long"] - length) for length in job["lengths"]],
        }
    finally:
        INSTANCE.rmdir()
    json.dump(answers, sys.stdout)


def _map(base: int, content: bytes) -> None:
    _LIBC.mmap.restype = ctypes.c_void_p
    flags = _MAP_PRIVATE_ANONYMOUS_FIXED_POPULATE
    found = _LIBC.mmap(ctypes.c_void_p(base), ctypes.c_size_t(len(content)), 3, flags, -1, ctypes.c_long(0))
    assert found == base
    ctypes.memmove(base, content, len(content))
    assert not _LIBC.mlock(ctypes.c_void_p(base), ctypes.c_size_t(len(content)))


def _call(base: int, call: list[Any]) -> None:
    name, *arguments = call
    if name == "name":
        _LIBC.prctl(_PR_SET_NAME, arguments[0].encode(), 0, 0, 0)
        return
    dfd, filename, how, usize = arguments
    ctypes.memmove(base + _HOW_OFFSET, bytes.fromhex(how), len(how) // 2)
    words = [ctypes.c_long(word) for word in (_SYS_OPENAT2, dfd, filename, base + _HOW_OFFSET, usize)]
    _LIBC.syscall(*words)


def _define(definition: str) -> None:
    """One write, as echo does it; not of a file object, which would seek."""
    file = os.open(TRACEFS / "dynamic_events", os.O_WRONLY | os.O_APPEND)
    try:
        os.write(file, definition.encode(errors="surrogateescape") + b"\n")
    finally:
        os.close(file)


@contextlib.contextmanager
def _enabled(definition: str | None, event: str) -> Iterator[Path]:
    """The event's folder, with the probe made if there is one to make."""
    if definition:
        _define(definition)
    folder = INSTANCE / "events" / event
    try:
        (folder / "enable").write_text("1")
        yield folder
        (folder / "enable").write_text("0")
    finally:
        if definition:
            _define(f"-:{PROBE}")


def _round(base: int, asked: dict[str, Any]) -> list[tuple[int, str, list[str]]]:
    answers: list[tuple[int, str, list[str]]] = []
    with _enabled(asked.get("definition"), asked.get("event", PROBE)) as folder, contextlib.ExitStack() as stack:
        pipe = os.open(INSTANCE / "trace_pipe", os.O_RDONLY | os.O_NONBLOCK)
        stack.callback(os.close, pipe)
        filter_file = os.open(folder / "filter", os.O_WRONLY)
        stack.callback(os.close, filter_file)
        for text in asked["filters"]:
            try:
                os.write(filter_file, text.encode(errors="surrogateescape"))
            except OSError as error:
                shown = (folder / "filter").read_text(errors="surrogateescape")
                sentences: list[str] = re.findall(r"^parse_error: (.*)", shown, re.MULTILINE)
                answers.append((error.errno or -1, "".join(sentences), []))
                continue
            _LIBC.prctl(_PR_SET_NAME, asked["comm"].encode(), 0, 0, 0)
            _drain(pipe)
            for call in asked["calls"]:
                _call(base, call)
            answers.append((0, "", _events(_drain(pipe))))
    return answers


def _drain(pipe: int) -> bytes:
    text = b""
    with contextlib.suppress(BlockingIOError):
        while piece := os.read(pipe, 1 << 16):
            text += piece
    return text


def _events(text: bytes) -> list[str]:
    """What is printed behind the name of each event of this process; a lost one shows as a text that nobody expects."""
    events = []
    for line in _LINE_END.split(text):
        match = _LINE.match(line)
        if match is None or int(match[1]) == os.getpid():
            printed = match[2] if match else line
            events += [printed.decode(errors="surrogateescape")] if printed else []
    return events


def _refusal(definition: str) -> tuple[int, str]:
    (TRACEFS / "error_log").write_text("\n")
    try:
        _define(definition)
    except OSError as error:
        found: list[str] = re.findall(r"error: (.*)", (TRACEFS / "error_log").read_text(errors="replace"))
        return error.errno or -1, found[-1] if found else ""
    _define(f"-:{PROBE}")
    return 0, ""


def _address_bits() -> int:
    found = re.search(r"(\d+) bits virtual", Path("/proc/cpuinfo").read_text())
    assert found
    return int(found[1])


def _unreadable(base: int) -> int:
    """What the kernel stores for 8 bytes at a kernel address that cannot be read."""
    question = {"definition": f"p:{PROBE} do_sys_openat2 a=+0(%si):x64", "comm": "oracle", "filters": ["common_pid>0"]}
    call = ["openat2", 0, _UNREADABLE, (1 << 62).to_bytes(24, "little").hex(), 24]
    ((_, _, events),) = _round(base, question | {"calls": [call]})
    return int(events[0].rpartition("=")[2], 16)


def _entries(base: int, filename: int) -> int:
    """How many records a call leaves that a probe fetches this string at."""
    with _enabled(f"p:{PROBE} do_sys_openat2 n=+8(%dx):u16 s=+0(%si):ustring", PROBE) as folder:
        (folder / "filter").write_text("n==7")
        (INSTANCE / "trace").write_text("")
        _call(base, ["openat2", 0, filename, (1 << 62).to_bytes(8, "little").hex() + "0700" + 14 * "00", 24])
        stats = [path.read_text() for path in INSTANCE.glob("per_cpu/cpu*/stats")]
        return sum(int(number) for text in stats for number in re.findall(r"^entries: (\d+)", text, re.MULTILINE))


if __name__ == "__main__":
    main()
