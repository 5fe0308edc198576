"""A kernel that is not this machine's: files with its types and its symbols, and its release, are all that is known."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import drgn

from surftrace.btf import Btf, BtfError, load
from surftrace.btf.program import BtfProgram, open_program
from surftrace.dwarf.debuginfo import DebugFile, DebugInfo, platform_of
from surftrace.dwarf.search import given_kernel
from surftrace.kernel.features import ALL_FEATURES, Features, features_of_release
from surftrace.kernel.formats import EventField
from surftrace.kernel.symbols import Symbols, read_symbols
from surftrace.kernel.types import KernelTypes, TypeInfoError
from surftrace.record import record

FindDebug: TypeAlias = Callable[[], Sequence[DebugFile]]

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


def open_types(path: str, *btfs: Btf, find_debug: FindDebug = lambda: ()) -> KernelTypes:
    """The types of all these; `path` names them in errors. `find_debug` gives files with DWARF for what BTF lacks."""
    try:
        program = open_program(btfs)
    except BtfError as error:
        raise TypeInfoError(f"{path}: {error}") from None
    return KernelTypes(program, DebugInfo(program.prog, find_debug), path)


def open_debug_types(file: DebugFile) -> KernelTypes:
    """The types of a kernel of which there is DWARF alone."""
    program = BtfProgram(drgn.Program(platform_of(file.path)))
    debug = DebugInfo(program.prog, lambda: (file,))
    debug.load()
    return KernelTypes(program, debug)


@record
class OfflineKernel:
    """A kernel known by its types, and where they were given by its symbols and its release."""

    kernel_types: KernelTypes
    kernel_features: Features = ALL_FEATURES
    kernel_symbols: Symbols | None = None

    @classmethod
    def of_files(
        cls,
        *btfs: str,
        vmlinux: str | None = None,
        release: str | None = None,
        symbols_path: str | None = None,
    ) -> "OfflineKernel":
        """The kernel whose BTF is in the first of those files, raw or in an ELF, and its modules', in the others.

        `vmlinux` is the file or the folder with its DWARF: for what BTF lacks, or all there is. `symbols_path` is a
        System.map or a copy of kallsyms. SurftraceError for a file or a release that is none.
        """
        features = features_of_release(release) if release is not None else ALL_FEATURES
        symbols = read_symbols(symbols_path) if symbols_path is not None else None
        debug = given_kernel(vmlinux, release or "", "") if vmlinux is not None else None
        if btfs:
            files = (debug,) if debug is not None else ()
            types = open_types(btfs[0], *load_btfs(*btfs), find_debug=lambda: files)
        else:
            assert debug is not None
            types = open_debug_types(debug)
        return cls(types, features, symbols)

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
