"""Whether a kernel can record the stacks of programs."""

from surftrace.errors import SurftraceError
from surftrace.kernel.features import Feature
from surftrace.kernel.target import Kernel

# What kernels with CONFIG_USER_STACKTRACE_SUPPORT have: Linux kernel/stacktrace.c, before Linux 5.2 by its older name.
_READERS = ("stack_trace_save_user", "save_stack_trace_user")


def check_user_stacks(kernel: Kernel) -> None:
    """SurftraceError, which says what is missing, for a kernel that records none in an instance."""
    features = kernel.features()
    if not features.has(Feature.USER_STACK):
        raise SurftraceError(features.lacking(Feature.USER_STACK))
    symbols = kernel.symbols()
    if symbols is not None and not any(symbols.named(name) for name in _READERS):
        raise SurftraceError(
            f"{features.kernel} cannot record the stacks of programs: it has no {_READERS[0]}",
            "it is built without CONFIG_USER_STACKTRACE_SUPPORT, as not every architecture has it",
        )
