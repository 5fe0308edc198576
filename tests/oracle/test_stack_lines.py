"""Lines of frames all over a kernel, and what is inlined there, are those that addr2line(1) finds in the same DWARF."""

import random
import re
import subprocess

from surftrace.dwarf.debuginfo import DebugFile
from surftrace.dwarf.framelines import CodePlace, FrameLines
from tests.kernel import images
from tests.oracle import dbg

_FRAMES = 300
# What the functions that DEFINE_TRACE makes are compiled of: binutils tells the lines of a header, and the file that
# includes it.
_MADE = ("__traceiter_", "__bpf_trace_", "__probestub_", "trace_event_", "perf_trace_", "trace_raw_output_")


def _functions(vmlinux: str) -> list[tuple[str, int, int]]:
    """Name, address and size of each function whose name no other has."""
    listed = subprocess.run(["nm", "-S", "--defined-only", vmlinux], capture_output=True, text=True, check=True).stdout
    found = [
        (match[3], int(match[1], 16), int(match[2], 16)) for match in re.finditer(r"(\w+) (\w+) [tT] (\S+)", listed)
    ]
    names: dict[str, int] = {}
    for name, _, _ in found:
        names[name] = names.get(name, 0) + 1
    return [each for each in found if names[each[0]] == 1 and each[2] > 16 and not each[0].startswith(_MADE)]


def _lines_of_binutils(vmlinux: str, addresses: list[int]) -> list[list[tuple[str, str]]]:
    """For each address, the innermost first, the functions and the end of FILE:LINE."""
    shown = subprocess.run(
        ["addr2line", "-aife", vmlinux],
        input="".join(f"{address:#x}\n" for address in addresses),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    blocks = [block.splitlines() for block in re.split(r"^0x[0-9a-f]{16}\n", shown, flags=re.MULTILINE)[1:]]
    return [
        [
            (name.partition(".")[0], re.sub(r" \(discriminator.*", "", place).rpartition("/")[2])
            for name, place in zip(block[::2], block[1::2], strict=True)
        ]
        for block in blocks
    ]


def test_lines_of_return_addresses() -> None:
    vmlinux = str(dbg.fetch(images.fetch("6.1")))
    chance = random.Random(1)
    functions = chance.sample(sorted(_functions(vmlinux)), _FRAMES)
    places = [(name, address, chance.randrange(1, size), size) for name, address, size in functions]
    expected = _lines_of_binutils(vmlinux, [address + offset - 1 for _, address, offset, _ in places])
    lines = FrameLines(DebugFile(vmlinux))
    found = []
    for name, _, offset, size in places:
        sources = lines.at(CodePlace(name, offset, size + 15, is_return=True))
        assert sources
        found.append([(each.function.partition(".")[0], str(each).rpartition("/")[2]) for each in sources])
    wrong = [
        (place, mine, theirs)
        for place, mine, theirs in zip(places, found, expected, strict=True)
        # Two functions of the same code have one place, and two names.
        if [*mine[:-1], mine[-1][1]] != [*theirs[:-1], theirs[-1][1]] and theirs[0][1] not in ("??:0", "??:?")
    ]
    assert not wrong
    assert sum(len(each) > 1 for each in found) > _FRAMES // 10, "hardly anything is inlined"


def test_lines_in_a_module() -> None:
    """An object file's: each line of a function's code, as addr2line tells it of the section."""
    module = str(dbg.fetch_module(images.fetch("6.1")))
    listed = subprocess.run(["nm", "-S", "--defined-only", module], capture_output=True, text=True, check=True).stdout
    match = re.search(r"(\w+) (\w+) t htb_dequeue\n", listed)
    assert match is not None
    start, size = int(match[1], 16), int(match[2], 16)
    offsets = range(1, size, 37)
    shown = subprocess.run(
        ["addr2line", "-j", ".text", "-e", module, *(f"{start + offset - 1:#x}" for offset in offsets)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    lines = FrameLines(DebugFile(module, "sch_htb"))
    found = [lines.at(CodePlace("htb_dequeue", offset, size, is_return=True))[0] for offset in offsets]
    expected = [re.sub(r" \(discriminator.*", "", line).rpartition("/")[2] for line in shown]
    assert [str(each).rpartition("/")[2] for each in found] == expected
    assert len(set(expected)) > 10


def test_a_name_that_several_functions_have() -> None:
    """init_once() of Linux 6.1 is in eight files: which one is meant is known only where all have the same line."""
    lines = FrameLines(DebugFile(str(dbg.fetch(images.fetch("6.1")))))
    assert lines.at(CodePlace("init_once", 5, 0x200, is_return=True)) == ()
    assert lines.at(CodePlace("init_once", 5, 0xB, is_return=True)) != ()
    assert lines.at(CodePlace("no_such_function", 5, 0xB, is_return=True)) == ()
