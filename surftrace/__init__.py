"""surftrace: one C-like line in, live decoded kernel events out.

`compile` makes probes of expressions, for `this_kernel` or an `other_kernel`; `Probes.trace` runs them; `count` and
`latency` have the kernel count.
"""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

__all__ = [
    "CompileError",
    "Counting",
    "Diagnostic",
    "Event",
    "KernelRejected",
    "Losses",
    "Notice",
    "Plan",
    "Probes",
    "Spread",
    "SurftraceError",
    "Target",
    "Trace",
    "TraceWarning",
    "TracefsError",
    "compile",
    "count",
    "latency",
    "other_kernel",
    "rows",
    "this_kernel",
]

if TYPE_CHECKING:
    from surftrace.api import Probes, Trace, TraceWarning, compile, other_kernel, this_kernel
    from surftrace.compiler.counting import Counting, Spread
    from surftrace.compiler.plan import Plan
    from surftrace.errors import SurftraceError
    from surftrace.kernel.target import Target
    from surftrace.lang.source import CompileError, Diagnostic
    from surftrace.measures import count, latency, rows
    from surftrace.output.typed import TypedEvent as Event
    from surftrace.tracing.losses import Losses
    from surftrace.tracing.notices import Notice
    from surftrace.tracing.session import KernelRejected
    from surftrace.tracing.tracefs import TracefsError

# Where the rest is: nothing is loaded before it is asked for.
_ROOMS = {
    "CompileError": "lang.source",
    "Counting": "compiler.counting",
    "Diagnostic": "lang.source",
    "KernelRejected": "tracing.session",
    "Losses": "tracing.losses",
    "Notice": "tracing.notices",
    "Plan": "compiler.plan",
    "Spread": "compiler.counting",
    "SurftraceError": "errors",
    "Target": "kernel.target",
    "TracefsError": "tracing.tracefs",
    "count": "measures",
    "latency": "measures",
    "rows": "measures",
}


def __getattr__(name: str) -> object:
    if name == "Event":
        return import_module("surftrace.output.typed").TypedEvent
    if name not in __all__:
        raise AttributeError(f"module 'surftrace' has no attribute '{name}'")
    return getattr(import_module(f"surftrace.{_ROOMS.get(name, 'api')}"), name)
