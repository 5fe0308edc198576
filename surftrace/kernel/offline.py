"""A kernel that is not this machine's: all that is known of it is a file with its types."""

from collections.abc import Sequence
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
        hint = (
            ["give its kernel's first: -b vmlinux -b module.ko"]
            if base is None and "module's BTF" in str(error)
            else []
        )
        raise TypeInfoError(_about(path, error), *hint) from None


def load_btfs(paths: Sequence[str]) -> list[Btf]:
    """The BTF of a kernel, from the first file, and of its modules, from the others."""
    kernel = load_btf(paths[0])
    return [kernel, *(load_btf(path, kernel) for path in paths[1:])]


def open_types(path: str, *btfs: Btf) -> KernelTypes:
    """The types of all these; `path` names them in errors."""
    try:
        return KernelTypes(open_program(btfs))
    except BtfError as error:
        raise TypeInfoError(_about(path, error)) from None


def _about(path: str, error: BtfError) -> str:
    return str(error) if str(error).startswith(path) else f"{path}: {error}"


@dataclass(frozen=True, slots=True)
class OfflineKernel:
    """A kernel known by its types alone."""

    kernel_types: KernelTypes

    @classmethod
    def from_btf(cls, paths: Sequence[str]) -> "OfflineKernel":
        """The kernel whose BTF is in the first file, raw or in an ELF, and its modules', in the others."""
        return cls(open_types(paths[0], *load_btfs(paths)))

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
