"""Writes a filter on an unknown field, past the compiler's checks; runs in a guest, prints what a user would see.

The compiler knows every field of what it filters, so the kernel has nothing to refuse; this proves what happens if it
does.
"""

import dataclasses
import os
import sys

from surftrace.cli.report import report_error
from surftrace.compiler.plan import Plan, build_plan
from surftrace.compiler.resolve import resolve
from surftrace.kernel.machine import machine_named
from surftrace.kernel.target import Target
from surftrace.lang.script import parse_script
from surftrace.output.color import plain
from surftrace.tracing.instance import claimed_instance
from surftrace.tracing.running import RunningKernel
from surftrace.tracing.session import KernelRejected, applied
from surftrace.tracing.tracefs import find_tracefs

_PROBE = 'p wake_up_new_task comm=p->comm pid=p->pid f:comm=="sh"&&(pid>7||pid==3)'


def main() -> int:
    """Return 0 when the kernel refused the filter."""
    tracefs = find_tracefs()
    machine = machine_named(os.uname().machine)
    resolved = resolve(parse_script([_PROBE]), Target(machine, RunningKernel(tracefs)))
    with claimed_instance(tracefs) as instance:
        plan = _spoiled(build_plan(resolved, instance.name, machine.byteorder))
        try:
            with applied(plan, instance):
                return 1
        except KernelRejected as error:
            report_error(error, sys.stdout, plain)
            return 0


def _spoiled(plan: Plan) -> Plan:
    """The plan with `pid>7` of its filter made `dip>7`."""
    steps = (
        dataclasses.replace(step, text=step.text.replace("pid>7", "dip>7")) if "/filter" in step.path else step
        for step in plan.steps
    )
    return dataclasses.replace(plan, steps=tuple(steps))


if __name__ == "__main__":
    sys.exit(main())
