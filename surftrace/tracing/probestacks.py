"""A stack of the kernel's tables in, the stack that led to the probe out: without what only handles the probe."""

from collections.abc import Sequence

from surftrace.tracing.frames import function_of

# Linux kernel/trace/trace.h, HIST_STACKTRACE_SKIP, leaves out the first 5 frames: probes have more of their own, which
# lead from the place to the table.
_MAX_HANDLERS = 10
_TRAMPOLINE = "trampoline"


def without_probe(frames: Sequence[str], function: str, is_return: bool) -> tuple[tuple[str, ...], bool]:
    """The frames from the function that is probed on, or from the one that it returned to, innermost first.

    And whether the way from the probe to them is broken: then the function alone stands before what is known.
    """
    handlers = [function_of(frame) for frame in frames[:_MAX_HANDLERS]]
    if is_return:
        # Linux kernel/trace/rethook.c; kernel/kprobes.c.
        places = [index for index, handler in enumerate(handlers) if _TRAMPOLINE in handler]
        return tuple(frames[places[-1] + 1 :] if places else frames), False
    if function in handlers:
        return tuple(frames[handlers.index(function) :]), False
    # An optimised kprobe's code has no name, and the way through it is not described.
    unnamed = max((index for index, handler in enumerate(handlers) if handler.startswith("0x")), default=-1)
    return (function, *frames[unnamed + 1 :]), True
