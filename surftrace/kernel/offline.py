"""A kernel that is not this machine's: files with its types and its symbols, and its release, are all that is known."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import drgn

from surftrace.btf import Btf, BtfError, load
from surftrace.btf.program import BtfProgram, open_program
from surftrace.dwarf.debuginfo import DebugFile, DebugInfo, has_dwarf, platform_of
from surftrace.dwarf.packed import content_of
from surftrace.dwarf.search import given_kernel, given_modules
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


def load_module_btf(path: str, base: Btf) -> Btf:
    """The BTF in a module's file, which may be compressed. TypeInfoError where it has none."""
    return load_btf(content_of(path).path, base)


def open_types(path: str, *btfs: Btf, find_debug: FindDebug = lambda: ()) -> KernelTypes:
    """The types of all these; `path` names them in errors. `find_debug` gives files with DWARF for what BTF lacks."""
    try:
        program = open_program(btfs)
    except BtfError as error:
        raise TypeInfoError(f"{path}: {error}") from None
    return KernelTypes(program, DebugInfo(program.prog, find_debug), path)


def open_debug_types(*files: DebugFile) -> KernelTypes:
    """The types of a kernel of which there is DWARF alone."""
    program = BtfProgram(drgn.Program(platform_of(files[0].path)))
    debug = DebugInfo(program.prog, lambda: files)
    debug.load()
    return KernelTypes(program, debug)


def _module_of(path: str) -> str:
    """What the module is called whose BTF is in a file: the file is its own, or a copy of one in /sys/kernel/btf."""
    return path.rpartition("/")[2].partition(".")[0].replace("-", "_")


@record
class OfflineKernel:
    """A kernel known by its types, and where they were given by its symbols and its release."""

    kernel_types: KernelTypes
    kernel_features: Features = ALL_FEATURES
    kernel_symbols: Symbols | None = None
    kernel_modules: tuple[str, ...] = ()
    kernel_btfs: tuple[tuple[str, Btf], ...] = ()

    @classmethod
    def of_files(
        cls,
        *btfs: str,
        vmlinux: str | None = None,
        modules: Sequence[str] = (),
        release: str | None = None,
        symbols_path: str | None = None,
    ) -> "OfflineKernel":
        """The kernel whose BTF is in the first of those files, raw or in an ELF, and its modules', in the others.

        `vmlinux` is the file or the folder with its DWARF: for what BTF lacks, or all there is. `modules` are files of
        modules, with DWARF or else BTF. `symbols_path` is a System.map or a copy of kallsyms. SurftraceError for a file
        or a release that is none.
        """
        features = features_of_release(release) if release is not None else ALL_FEATURES
        symbols = read_symbols(symbols_path) if symbols_path is not None else None
        named = given_modules(modules)
        files = [given_kernel(vmlinux, release or "", "")] if vmlinux is not None else []
        files += [DebugFile(path, name) for name, path in named.items() if has_dwarf(path)]
        loaded: list[tuple[str, Btf]] = []
        if btfs:
            loaded += zip(("", *map(_module_of, btfs[1:])), load_btfs(*btfs), strict=True)
            base = loaded[0][1]
            loaded += [(name, load_module_btf(path, base)) for name, path in named.items() if not has_dwarf(path)]
            types = open_types(btfs[0], *(each for _, each in loaded), find_debug=lambda: files)
        else:
            types = open_debug_types(*files)
        return cls(types, features, symbols, tuple(named), tuple(loaded))

    def types(self, module: str = "") -> KernelTypes:
        """The file's types, whatever the module."""
        return self.kernel_types

    def modules(self) -> tuple[str, ...]:
        """The modules whose files were given."""
        return self.kernel_modules

    def btfs(self) -> Sequence[tuple[str, Btf]]:
        """The BTF of the files that were given."""
        return self.kernel_btfs

    def symbols(self) -> Symbols | None:
        """The symbols of the file that was given; None where none was."""
        return self.kernel_symbols

    def features(self) -> Features:
        """What the release that was given has; all features where none was."""
        return self.kernel_features

    def traceable(self) -> frozenset[str] | None:
        """None: only a running kernel tells."""
        return None

    def blacklist(self) -> frozenset[str]:
        """None: only a running kernel tells."""
        return frozenset()

    def event_fields(self, system: str, name: str) -> tuple[EventField, ...] | None:
        """The fields as the event's struct has them; None where the types have none of its name."""
        return self.kernel_types.event_fields(name)

    def event_names(self) -> tuple[str, ...] | None:
        """None: a type file does not list events."""
        return None
