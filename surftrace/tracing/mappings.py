"""An address in a task's memory in, the place in a file that is mapped there out, with the name of its function."""

import os
import re
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator
from pathlib import Path

from surftrace.kernel.machine import Machine
from surftrace.kernel.usersymbols import UserSymbols
from surftrace.record import record

# Linux fs/proc/task_mmu.c, show_map_vma: START-END PERMISSIONS OFFSET DEVICE INODE [PATH].
_LINE = re.compile(
    r"(?P<start>[0-9a-f]+)-(?P<end>[0-9a-f]+) (?P<permissions>\S{4}) (?P<offset>[0-9a-f]+) \S+ (?P<inode>\d+) *"
    r"(?P<name>.*)"
)
# How long what is mapped counts as known: a task may map a library, or become another program, at any time.
_KEPT_S = 0.1
_MAX_TASKS = 256
# PROC_PID_INIT_INO in Linux include/linux/proc_ns.h: the name space whose numbers the kernel prints.
_FIRST_PIDS = 0xEFFFFFFC
_DELETED = " (deleted)"


@record
class _Mapping:
    """A part of a task's memory. `name` is empty for what is no file's and has no name, as the heap has."""

    start: int
    end: int
    is_code: bool
    file_offset: int
    is_file: bool
    name: str


class UserPlaces:
    """What is in the memory of tasks that live. `folder` is where proc(5) is."""

    def __init__(self, machine: Machine, folder: str = "/proc", clock: Callable[[], float] = time.monotonic) -> None:
        self._symbols = UserSymbols(machine)
        self._folder = folder
        self._clock = clock
        self._tasks: dict[int, tuple[float, list[_Mapping]]] = {}
        self._has_numbers = _is_first_name_space(folder)

    def frames(self, pid: int, addresses: tuple[int, ...]) -> tuple[str, ...]:
        """A stack's frames, innermost first: `FUNCTION+OFFSET [FILE]`, `FILE[+OFFSET]` with an offset in the file, or
        the address alone, where no file is mapped, or the task has gone. All but the first are returned to by calls.
        """
        mappings = self._mappings(pid) if addresses else []
        return tuple(self._frame(pid, mappings, address, index > 0) for index, address in enumerate(addresses))

    def _frame(self, pid: int, mappings: list[_Mapping], address: int, is_return: bool) -> str:
        index = bisect_right(mappings, address, key=lambda each: each.start)
        mapping = mappings[index - 1] if index else None
        if mapping is None or address >= mapping.end or not mapping.name:
            return f"{address:#x}"
        offset = address - mapping.start + mapping.file_offset
        function = None
        if mapping.is_code and mapping.is_file:
            # The link leads to the file that is mapped, also where another is at its path by now, or nothing is.
            link = f"{self._folder}/{pid}/map_files/{mapping.start:x}-{mapping.end:x}"
            function = self._symbols.at(link, offset, is_return)
        if function is None:
            return f"{mapping.name}[+{offset:#x}]"
        return f"{function[0]}+{function[1]:#x} [{mapping.name}]"

    def _mappings(self, pid: int) -> list[_Mapping]:
        """By address; none of a task that has gone, or has no memory of its own, as threads of the kernel have not."""
        now_s = self._clock()
        read_s, mappings = self._tasks.get(pid, (0.0, []))
        if pid in self._tasks and now_s - read_s < _KEPT_S:
            return mappings
        if len(self._tasks) >= _MAX_TASKS:
            self._tasks.clear()
        try:
            text = Path(self._folder, str(pid), "maps").read_bytes() if self._has_numbers else b""
        except OSError:
            text = b""
        mappings = list(_parsed(text.decode(errors="surrogateescape")))
        self._tasks[pid] = now_s, mappings
        return mappings


def _is_first_name_space(folder: str) -> bool:
    """Are the numbers of tasks here those of the kernel? A container has others."""
    try:
        return Path(folder, "self/ns/pid").stat().st_ino == _FIRST_PIDS
    except OSError:
        return False


def _parsed(text: str) -> Iterator[_Mapping]:
    for line in text.split("\n"):
        if match := _LINE.fullmatch(line):
            is_file = match["inode"] != "0"
            yield _Mapping(
                int(match["start"], 16),
                int(match["end"], 16),
                "x" in match["permissions"],
                int(match["offset"], 16),
                is_file,
                _unescaped(match["name"]) if is_file else match["name"],
            )


def _unescaped(path: str) -> str:
    """The path of a file, the ends of lines in which the kernel writes in octal. One that was deleted keeps its own."""
    encoded = os.fsencode(path.removesuffix(_DELETED))
    return os.fsdecode(encoded.replace(rb"\012", b"\n"))
