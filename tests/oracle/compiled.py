"""A function and an expression in, the fetch argument that surftrace makes of it for Debian's 6.1 out."""

from enum import Enum
from functools import cache

from surftrace.compiler.plan import build_plan
from surftrace.compiler.resolve import resolve
from surftrace.kernel.machine import machine_named
from surftrace.kernel.offline import OfflineKernel
from surftrace.kernel.target import Target
from surftrace.lang.script import parse_script
from tests.kernel import images
from tests.oracle import dbg


class Types(Enum):
    """Where all types come from."""

    BTF = "-b"
    DWARF = "-v"


@cache
def _target(types: Types) -> Target:
    image = images.fetch("6.1")
    from_btf = types is Types.BTF
    kernel = (
        OfflineKernel.of_files(str(image.btf)) if from_btf else OfflineKernel.of_files(vmlinux=str(dbg.fetch(image)))
    )
    return Target(machine_named("x86_64"), kernel)


def fetch_text(function: str, expression: str, types: Types = Types.BTF) -> str:
    """Return the text that the kernel would be given for `expression` at the entry of `function`."""
    resolved = resolve(parse_script([f"p {function} a={expression}"]), _target(types), has_guards=False)
    definition = build_plan(resolved, "surftrace", "little").steps[0].text
    return definition.partition(" a=")[2]
