"""A kernel that is not this machine's: files with its types and its symbols, and its release, are all that is known."""

from surftrace.btf import Btf, BtfError, load
from surftrace.btf.program import open_program
from surftrace.kernel.features import ALL_FEATURES, Features, features_of_release
from surftrace.kernel.formats import EventField
from surftrace.kernel.symbols import Symbols, read_symbols
from surftrace.kernel.types import KernelTypes, TypeInfoError
from surftrace.record import record

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


@record
class OfflineKernel:
    """A kernel known by its types, and where they were given by its symbols and its release."""

    kernel_types: KernelTypes
    kernel_features: Features = ALL_FEATURES
    kernel_symbols: Symbols | None = None

    @classmethod
    def from_btf(
        cls, kernel: str, *modules: str, release: str | None = None, symbols_path: str | None = None
    ) -> "OfflineKernel":
        """The kernel whose BTF is in that file, raw or in an ELF, and its modules', in others.

        `symbols_path` is a System.map or a copy of kallsyms. SurftraceError for a file or a release that is none.
        """
        features = features_of_release(release) if release is not None else ALL_FEATURES
        symbols = read_symbols(symbols_path) if symbols_path is not None else None
        return cls(open_types(kernel, *load_btfs(kernel, *modules)), features, symbols)

    def types(self, module: str = "") -> KernelTypes:
        """The file's types, whatever the module."""
        return self.kernel_types

    def symbols(self) -> Symbols | None:
        """The symbols of the file that was given; None where none was."""
        return self.kernel_symbols

    def features(self) -> Features:
        """What the release that was given has; all features where none was."""
        return self.kernel_features

    def traceable(self) -> frozenset[str] | None:
        """None: only a running kernel tells."""
        return None

    def event_fields(self, system: str, name: str) -> tuple[EventField, ...] | None:
        """The fields as the event's struct has them; None where the types have none of its name."""
        return self.kernel_types.event_fields(name)

    def event_names(self) -> tuple[str, ...] | None:
        """None: a type file does not list events."""
        return None
