"""Probes and the bytes of a kernel's BTF in, a plan out, without files or a command line."""

from functools import cache

from surftrace.btf import Btf
from surftrace.btf.program import open_program
from surftrace.compiler.plan import Plan, build_plan
from surftrace.compiler.resolve import resolve
from surftrace.kernel.machine import X86_64, Machine
from surftrace.kernel.offline import OfflineKernel
from surftrace.kernel.target import Target
from surftrace.kernel.types import KernelTypes
from surftrace.lang.script import parse_script
from tests.cases.kernels import shapes, v4_19


@cache
def offline_kernel(btf: bytes) -> OfflineKernel:
    """The kernel with these types."""
    return OfflineKernel(KernelTypes(open_program([Btf(btf)])))


@cache
def shapes_btf() -> bytes:
    """The types of the golden cases' kernel `shapes`."""
    return shapes()


@cache
def v4_19_btf() -> bytes:
    """The types of the golden cases' kernel `4.19`."""
    return v4_19()


def compile_plan(btf: bytes, *expressions: str, machine: Machine = X86_64, instance: str = "surftrace") -> Plan:
    """The plan of these expressions. CompileError where they are wrong."""
    resolved = resolve(parse_script(expressions), Target(machine, offline_kernel(btf)))
    return build_plan(resolved, instance, machine.byteorder)
