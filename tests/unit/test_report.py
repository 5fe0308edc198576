"""What people read on standard error."""

import os

from surftrace.cli.report import report_refused
from surftrace.compiler.plan import Plan, Step
from surftrace.lang.source import Diagnostic, Source, Span
from surftrace.output.color import plain


def test_what_the_kernel_refuses_of_a_glob() -> None:
    steps = [Step("kprobe_events", "", event=f"f{number}", is_optional=True) for number in (0, 1, 1, 2)]
    plan = Plan("surftrace", (*steps, Step("trigger", "", event="f0")), (), "little", has_stacks=False)
    refused = Diagnostic(Source("probe 1", "p tcp_*"), Span(2, 7), "the kernel refuses this: tcp_b: blacklisted")
    reading, writing = os.pipe()
    with os.fdopen(reading) as pipe:
        with os.fdopen(writing, "w") as stream:
            report_refused((), plan, stream, plain)
            report_refused((refused,), plan, stream, plain)
        assert pipe.read().splitlines() == [
            "probe 1: warning: the kernel refuses 1 of 3 functions: they are left out",
            "    p tcp_*",
            "      ^~~~~",
            "hint: the first one: tcp_b: blacklisted",
        ]
