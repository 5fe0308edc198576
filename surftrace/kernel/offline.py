"""A kernel that is not this machine's: all that is known of it is a file with its types."""

from dataclasses import dataclass

from surftrace.btf import Btf, BtfError, load
from surftrace.btf.program import open_program
from surftrace.kernel.formats import EventField
from surftrace.kernel.symbols import Symbols
from surftrace.kernel.types import KernelTypes, TypeInfoError

_NEEDS_KERNEL = "give its kernel's first: -b vmlinux -b module.ko"


def load_btf(path: str, base: Btf | None = None) -> Btf:
    """A file's BTF; TypeInfoError where it cannot be read."""
    try:
        return load(path, base)
    except OSError as error:
        raise TypeInfoError(f"cannot read {path}: {error.strerror}") from None
    except BtfError as error:
        hint = [_NEEDS_KERNEL] if base is None and "module's BTF" in str(error) else []
        raise TypeInfoError(str(error), *hint) from None


def load_btfs(kernel: str, *modules: str) -> list[Btf]:
    """The BTF of a kernel, from that file, and of its modules, from others."""
    base = load_btf(kernel)
    return [base, *(load_btf(path, base) for path in modules)]


def open_types(path: str, *btfs: Btf) -> KernelTypes:
    """The types of all these; `path` names them in errors."""
    try:
        return KernelTypes(open_program(btfs))
    except BtfError as error:
        raise TypeInfoError(f"{path}: {error}") from None


@dataclass(frozen=True, slots=True)
class OfflineKernel:
    """A kernel known by its types alone."""

    kernel_types: KernelTypes

    @classmethod
    def from_btf(cls, kernel: str, *modules: str) -> "OfflineKernel":
        """The kernel whose BTF is in that file, raw or in an ELF, and its modules', in others."""
        return cls(open_types(kernel, *load_btfs(kernel, *modules)))

    def types(self, module: str = "") -> KernelTypes:
        """The file's types, whatever the module."""
        return self.kernel_types

    def symbols(self) -> Symbols | None:
        """None: a type file has no symbol list."""
        return None

    def event_fields(self, system: str, name: str) -> tuple[EventField, ...] | None:
        """None: a type file does not describe events."""
        return None

    def event_names(self) -> tuple[str, ...] | None:
        """None: a type file does not list events."""
        return None
