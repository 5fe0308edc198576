"""What the kernel counts and measures by itself, from Python: a part of what `import surftrace` gives."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager

from surftrace.api import Probes, running_kernel, warn
from surftrace.compiler.counting import Counting, CountingPlan, plan_counting
from surftrace.compiler.latency import LatencyPlan, build_latency_plan
from surftrace.errors import SurftraceError
from surftrace.output.counted import json_rows, summarize
from surftrace.output.jsonl import Json
from surftrace.tracing.counting import Counter, counted
from surftrace.tracing.instance import SHELL_NAME
from surftrace.tracing.latency import Latency, running_latency
from surftrace.tracing.limits import Limit
from surftrace.tracing.notices import Notice
from surftrace.tracing.orderly import orderly
from surftrace.tracing.pipe import Interruption
from surftrace.tracing.trace import Settings
from surftrace.tracing.tracefs import find_tracefs

Tell = Callable[[Notice], None]


def count_plan(probes: Probes, counting: Counting, instance: str = SHELL_NAME) -> CountingPlan:
    """All that a count writes to tracefs. SurftraceError for what the kernel cannot count."""
    return plan_counting(probes.resolved, counting, instance, probes.kernel, probes.has_guards)


def count(
    probes: Probes,
    counting: Counting | None = None,
    *,
    instance: str | None = None,
    on_notice: Tell | None = None,
    interruption: Interruption | None = None,
) -> AbstractContextManager[Counter]:
    """A count of hits in the kernel, on within a `with` block: `rows` of what it gives are those so far.

    `counting` says by what; all hits of a probe are one row if None. The other arguments, and what is raised, are those
    of `Probes.trace`.
    """
    kernel = running_kernel(probes)
    asked = counting or Counting()

    @contextmanager
    def run() -> Iterator[Counter]:
        tracefs = kernel.tracefs or find_tracefs()
        with counted(
            lambda name: count_plan(probes, asked, name), tracefs, kernel.features(), on_notice or warn, instance
        ) as counter:
            yield counter
            if counter.counts is None:
                counter.finish()

    return run() if interruption is not None else orderly(run())


def rows(counter: Counter) -> list[dict[str, Json]]:
    """The rows of a count, those with most hits first, as `surftrace count --json` prints them.

    `values`, `sums` and `ranges` are by name; `hits` is a number.
    """
    counts, byteorder = counter.counts or counter.read(), counter.plan.plan.byteorder
    return list(json_rows(summarize(counts, counter.plan.counting, byteorder), byteorder))


def latency_plan(
    probes: Probes, *, over_ns: int | None = None, by: str | None = None, instance: str = SHELL_NAME
) -> LatencyPlan:
    """All that a measurement of latency writes to tracefs, for the first of the probes."""
    kernel = probes.kernel
    return build_latency_plan(
        probes.resolved.probes[0], instance, kernel.machine, kernel.kernel.features(), over_ns, by
    )


def latency(
    probes: Probes,
    *,
    over_ns: int | None = None,
    by: str | None = None,
    time_s: float | None = None,
    count: int | None = None,
    instance: str | None = None,
    on_notice: Tell | None = None,
    interruption: Interruption | None = None,
) -> AbstractContextManager[Latency]:
    """How long the calls of a function take, measured in the kernel within a `with` block.

    `Latency.durations` are the counts so far, by powers of two of nanoseconds, for each value of `by`. With `over_ns`,
    `Latency.slow_calls` waits for calls that take so long. The probe is one at the function's entry. The other
    arguments, and what is raised, are those of `Probes.trace`.
    """
    if len(probes.resolved.probes) != 1:
        raise SurftraceError("the latency of one function is measured at a time")
    kernel = running_kernel(probes)
    settings = Settings(instance, time_s, count, Limit(0))

    @contextmanager
    def run() -> Iterator[Latency]:
        with ExitStack() as undos:
            noted = interruption or undos.enter_context(closing(Interruption()))
            yield undos.enter_context(
                running_latency(
                    lambda name: latency_plan(probes, over_ns=over_ns, by=by, instance=name),
                    kernel,
                    noted,
                    on_notice or warn,
                    settings,
                )
            )

    return run() if interruption is not None else orderly(run())
