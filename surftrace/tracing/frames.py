"""Frames of stacks: what the kernel prints of one in, its lines of source out."""

import re
from collections.abc import Callable
from typing import TypeAlias

from surftrace.dwarf.errors import DwarfError
from surftrace.dwarf.framelines import CodePlace, FrameLines
from surftrace.dwarf.sourceplace import SourcePlace
from surftrace.kernel.target import Kernel
from surftrace.tracing.running import RunningKernel

# The lines of a frame, innermost first, none where they are not known. The place is that of the event, where the frame
# is its first.
LinesOf: TypeAlias = Callable[[str, str], tuple[SourcePlace, ...]]

# Linux kernel/kallsyms.c, __sprint_symbol.
_FRAME = re.compile(
    r"(?P<symbol>[^\s+]+)\+0x(?P<offset>[0-9a-f]+)/0x(?P<size>[0-9a-f]+)(?: \[(?P<module>\w+)[^\]]*\])?"
)
# How far behind the place of a probe the kernel may think that it is: behind a breakpoint of one byte.
_BEHIND_PROBE = (0, 1)
_MAX_FRAMES = 1 << 16


def make_lines_of(kernel: Kernel) -> LinesOf | None:
    """The function that tells lines of this kernel's frames; None where there is no DWARF of it.

    The kernel's own file is opened at once, and DwarfError raised for one that is not of this kernel, or damaged; a
    module's when the first frame in it is seen. What was found once is kept.
    """
    if not isinstance(kernel, RunningKernel):
        return None
    opened = {"": _open(kernel, "")}
    if opened[""] is None and not kernel.modules():
        return None
    known: dict[tuple[str, str], tuple[SourcePlace, ...]] = {}

    def lines_of(frame: str, place: str) -> tuple[SourcePlace, ...]:
        key = frame, place
        if key not in known:
            if len(known) >= _MAX_FRAMES:
                known.clear()
            known[key] = _look_up(frame, place, module_lines)
        return known[key]

    def module_lines(module: str) -> FrameLines | None:
        if module not in opened:
            try:
                opened[module] = _open(kernel, module)
            except DwarfError:
                opened[module] = None
        return opened[module]

    return lines_of


def _open(kernel: RunningKernel, module: str) -> FrameLines | None:
    file = kernel.debug_file(module)
    return FrameLines(file) if file is not None else None


def _look_up(frame: str, place: str, lines_in: Callable[[str], FrameLines | None]) -> tuple[SourcePlace, ...]:
    match = _FRAME.fullmatch(frame)
    lines = lines_in(match["module"] or "") if match is not None else None
    if match is None or lines is None:
        return ()
    byte_offset, is_return = _instruction(match, place)
    try:
        return lines.at(CodePlace(match["symbol"], byte_offset, int(match["size"], 16), is_return))
    except DwarfError:
        return ()


def _instruction(frame: re.Match[str], place: str) -> tuple[int, bool]:
    """The offset of what a frame is about; or of where a call returns to, and True.

    A function is not entered by a return. The first frame of a probe is about where the probe is; a return probe's
    place, `CALLER+OFFSET <- FUNCTION`, is where the function returns to.
    """
    byte_offset = int(frame["offset"], 16)
    probe = _FRAME.fullmatch(place)
    if probe is not None and probe["symbol"] == frame["symbol"] and probe["module"] == frame["module"]:
        at = int(probe["offset"], 16)
        if byte_offset - at in _BEHIND_PROBE:
            return at, False
    return byte_offset, byte_offset > 0


def function_of(frame: str) -> str:
    """The function alone: without the offset in it, without its module."""
    match = _FRAME.fullmatch(frame)
    return match["symbol"] if match is not None else frame


def without_offset(frame: str) -> str:
    """The function, and its module in brackets."""
    match = _FRAME.fullmatch(frame)
    if match is None:
        return frame
    return f"{match['symbol']} [{match['module']}]" if match["module"] else match["symbol"]
