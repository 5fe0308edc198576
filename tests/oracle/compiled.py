"""A function and an expression in, the fetch argument that surftrace makes of it for Debian's 6.1 out."""

from functools import cache

from surftrace.compiler.plan import build_plan
from surftrace.compiler.resolve import resolve
from surftrace.kernel.machine import machine_named
from surftrace.kernel.offline import OfflineKernel
from surftrace.kernel.target import Target
from surftrace.lang.script import parse_script
from tests.kernel import images


@cache
def _target() -> Target:
    return Target(machine_named("x86_64"), OfflineKernel.of_files(str(images.fetch("6.1").btf)))


def fetch_text(function: str, expression: str) -> str:
    """Return the text that the kernel would be given for `expression` at the entry of `function`."""
    resolved = resolve(parse_script([f"p {function} a={expression}"]), _target(), has_guards=False)
    definition = build_plan(resolved, "surftrace", "little").steps[0].text
    return definition.partition(" a=")[2]
