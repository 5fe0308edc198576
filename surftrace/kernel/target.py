"""The kernel that a script is compiled for, and all that the compiler may ask of it."""

from collections.abc import Sequence
from typing import Protocol

from surftrace.btf import Btf
from surftrace.kernel.features import Features
from surftrace.kernel.formats import EventField
from surftrace.kernel.machine import MACHINES, Machine
from surftrace.kernel.symbols import Symbols
from surftrace.kernel.types import KernelTypes, TypeInfoError
from surftrace.record import record


class Kernel(Protocol):
    """What only a running kernel, or a file about it, can answer. Each method may read files when it is asked."""

    def types(self, module: str = "") -> KernelTypes:
        """The kernel's types, with those of a module; TypeInfoError where there are none."""
        ...

    def modules(self) -> tuple[str, ...]:
        """The modules whose files were given."""
        ...

    def btfs(self) -> Sequence[tuple[str, Btf]]:
        """The BTF of the kernel, its module's name empty, then that of each module; none where there is no BTF."""
        ...

    def symbols(self) -> Symbols | None:
        """The kernel's symbols; None where they are not known."""
        ...

    def features(self) -> Features:
        """The optional forms of probe syntax that the kernel takes; all of them where its release is not known."""
        ...

    def traceable(self) -> frozenset[str] | None:
        """The functions that the kernel lets itself trace, modules' too; None where not known, or all of them."""
        ...

    def blacklist(self) -> frozenset[str]:
        """The functions that no probe may touch, as kprobes need them; none where they are not known."""
        ...

    def event_fields(self, system: str, name: str) -> tuple[EventField, ...] | None:
        """A trace event's fields; None where they are not known."""
        ...

    def event_names(self) -> tuple[str, ...] | None:
        """All trace events as `system/name`; None where they are not known."""
        ...


@record
class Target:
    """A machine and the kernel on it."""

    machine: Machine
    kernel: Kernel

    def types(self, module: str = "") -> KernelTypes:
        """The kernel's types; TypeInfoError also where they are of another machine."""
        types = self.kernel.types(module)
        if types.byteorder != self.machine.byteorder:
            ours = f"{self.machine.name} is {self.machine.byteorder}-endian"
            message = f"the types are of a {types.byteorder}-endian machine, {ours}"
            raise TypeInfoError(message, "name the machine of their kernel with -a")
        registers = types.register_names()
        if registers and self.machine.pt_regs_member not in registers:
            of = next((each.name for each in MACHINES.values() if each.pt_regs_member in registers), None)
            message = f"the types are of {'an ' + of if of else 'another'} kernel, no {self.machine.name} one"
            raise TypeInfoError(message, f"compile for it: -a {of}" if of else "name its machine with -a")
        return types
