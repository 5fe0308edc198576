"""Stacks in the kernel's tables, as they were seen: the frames of the probe itself are left out."""

import pytest

from surftrace.compiler.counting import Counting, plan_counting
from surftrace.compiler.resolve import resolve
from surftrace.kernel.machine import X86_64
from surftrace.kernel.target import Target
from surftrace.lang.script import parse_script
from surftrace.tracing.countedstacks import CountedStack, counted_stacks
from surftrace.tracing.counting import CountedRow, read_counts
from tests.unit.compiling import offline_kernel, shapes_btf

# Linux 6.1 and 7.3 on x86_64: of a kprobe at a function's entry, of an optimised one and one with a breakpoint inside
# of a function, of a return probe, of a trace event.
_ENTRY = "aggr_pre_handler+0x48/0x90 kprobe_ftrace_handler+0x157/0x1f0 0xffffffffc041e0da vfs_read+0x9/0x490"
_CALLS = "ksys_read+0x7b/0x110 do_syscall_64+0xbe/0x530 entry_SYSCALL_64_after_hwframe+0x76/0x7e"
_OPTIMISED = "opt_pre_handler+0x3d/0x70 optimized_callback+0x6c/0xa0 0xffffffffc0210034"
_BREAKPOINT = "kprobe_int3_handler+0x146/0x1a0 exc_int3+0x124/0x2a0 asm_exc_int3+0x39/0x40 vfs_read+0x31/0x490"
_RETURN = (
    "kretprobe_rethook_handler+0x42/0x60 rethook_trampoline_handler+0x9e/0x160 "
    "arch_rethook_trampoline_callback+0x3b/0x50 arch_rethook_trampoline+0x2c/0x60"
)
_SWITCH = "__schedule+0x900/0x1080 schedule+0x28/0xa0"
_LOST = ("vfs_read", *_CALLS.split())

# (id, probe, what the kernel prints of a stack, its frames, does something lie between the first and the others?)
_STACKS: tuple[tuple[str, str, str, tuple[str, ...], bool], ...] = (
    ("entry", "p vfs_read", f"{_ENTRY} {_CALLS}", ("vfs_read+0x9/0x490", *_CALLS.split()), False),
    ("optimised", "p vfs_read+0x31", f"{_OPTIMISED} {_CALLS}", _LOST, True),
    ("breakpoint", "p vfs_read+0x30", f"{_BREAKPOINT} {_CALLS}", ("vfs_read+0x31/0x490", *_CALLS.split()), False),
    ("return", "r vfs_read", f"{_RETURN} {_CALLS}", tuple(_CALLS.split()), False),
    ("event", "e sched/sched_switch", _SWITCH, tuple(_SWITCH.split()), False),
    ("nothing-known", "p vfs_read", "", ("vfs_read",), True),
    ("no-frame-of-an-event", "e sched/sched_switch", "", (), False),
)


def _rows(probe: str, *stacks: tuple[str, int]) -> tuple[CountedRow, ...]:
    """The rows of a table with such stacks and their hits."""
    resolved = resolve(parse_script([probe]), _TARGET)
    plan = plan_counting(resolved, Counting(by=("stack",)), "surftrace", _TARGET)
    text = "# event histogram\n#\n# trigger info: hist:keys=common_stacktrace:vals=hitcount:size=2048 [active]\n#\n\n"
    for stack, hits in stacks:
        frames = "".join(f"         {frame}\n" for frame in stack.split())
        text += f"{{ common_stacktrace:\n{frames}}} hitcount: {hits:>10}\n"
    total = sum(hits for _, hits in stacks)
    text += f"\nTotals:\n    Hits: {total}\n    Entries: {len(stacks)}\n    Dropped: 0\n"
    return read_counts(plan.events[0], text.encode()).rows


_TARGET = Target(X86_64, offline_kernel(shapes_btf()))


def _counted(probe: str, *stacks: tuple[str, int]) -> list[CountedStack]:
    return counted_stacks(_rows(probe, *stacks), resolve(parse_script([probe]), _TARGET).probes)


@pytest.mark.parametrize(
    ("probe", "printed", "frames", "is_broken"), [pytest.param(*rest, id=name) for name, *rest in _STACKS]
)
def test_frames(probe: str, printed: str, frames: tuple[str, ...], is_broken: bool) -> None:
    (stack,) = _counted(probe, (printed, 7))
    assert (stack.frames, stack.hits, stack.is_broken, stack.is_cut) == (frames, 7, is_broken, False)


def test_the_most_frequent_first_and_the_same_as_one() -> None:
    """Whether a handler was called by another one or not, the stack is the same."""
    handlers = "aggr_pre_handler+0x48/0x90 "
    short = _ENTRY.removeprefix(handlers)
    stacks = _counted("p vfs_read", (f"{_ENTRY} a+0x1/0x2", 3), (f"{_ENTRY} b+0x1/0x2", 4), (f"{short} a+0x1/0x2", 2))
    assert [(stack.frames[1], stack.hits) for stack in stacks] == [("a+0x1/0x2", 5), ("b+0x1/0x2", 4)]


# (id, frames of each stack, are they cut?)
_LENGTHS = (
    ("full", (16, 16), (True, True)),
    ("newer", (31, 20), (True, False)),
    ("older-and-shorter", (16, 5), (True, False)),
    ("not-full", (15, 30), (False, False)),
)


@pytest.mark.parametrize(("lengths", "are_cut"), [pytest.param(*rest, id=name) for name, *rest in _LENGTHS])
def test_stacks_that_have_no_room(lengths: tuple[int, ...], are_cut: tuple[bool, ...]) -> None:
    stacks = [
        (" ".join(f"f{number}_{n}+0x1/0x2" for n in range(length)), 9 - number) for number, length in enumerate(lengths)
    ]
    assert tuple(stack.is_cut for stack in _counted("e sched/sched_switch", *stacks)) == are_cut


def test_a_stack_that_just_fits_is_whole() -> None:
    """It ends in what shorter ones end in."""
    inner = " ".join(f"f{n}+0x1/0x2" for n in range(13))
    stacks = _counted("e sched/sched_switch", (f"{inner} {_CALLS}", 2), (_CALLS, 1))
    assert len(stacks[0].frames) == 16
    assert not stacks[0].is_cut
