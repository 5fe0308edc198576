"""The kernel of this machine, as the compiler asks of it."""

import os
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from surftrace.btf import Btf
from surftrace.dwarf.debuginfo import DebugFile, build_id_of_file, build_id_of_notes, has_dwarf, is_dwarf_of
from surftrace.dwarf.errors import DwarfError
from surftrace.dwarf.search import find_kernel, find_module, given_kernel, given_modules
from surftrace.kernel.features import Features, exact_release, features_of_readme
from surftrace.kernel.formats import EventField, parse_format
from surftrace.kernel.offline import load_btf, load_btfs, load_module_btf, open_debug_types, open_types
from surftrace.kernel.symbols import Symbols, blacklisted_functions, traceable_functions
from surftrace.kernel.types import KernelTypes, TypeInfoError
from surftrace.tracing.tracefs import Tracefs, TracefsError, read_blacklist

_BTF_FOLDER = Path("/sys/kernel/btf")
_NOTES = Path("/sys/kernel/notes")
_KALLSYMS = Path("/proc/kallsyms")
_MODULES = Path("/sys/module")
_MODULE_NOTE = "notes/.note.gnu.build-id"


class NoBtfError(TypeInfoError):
    """The running kernel has no type information."""

    exit_status = 1


class RunningKernel:
    """Reads what it is asked for when it is asked, each thing once. `tracefs` is None where there is no access.

    `symbols` are to be taken for the kernel's own where they are given. `vmlinux` is the file or the folder with the
    kernel's DWARF, which is looked for where distributions put it where none is given; `modules` are files of modules.
    """

    def __init__(
        self,
        tracefs: Tracefs | None,
        btf_paths: Sequence[str] = (),
        symbols: Symbols | None = None,
        vmlinux: str | None = None,
        modules: Sequence[str] = (),
    ) -> None:
        self.tracefs = tracefs
        self._btf_paths = btf_paths
        self._vmlinux = vmlinux
        self._given_symbols = symbols
        self._given_modules = given_modules(modules)
        self.types = cache(self._types)
        self.symbols = cache(self._symbols)
        self.features = cache(self._features)
        self.traceable = cache(self._traceable)
        self.blacklist = cache(self._blacklist)
        self.event_names = cache(self._event_names)
        self.btfs = cache(self._all_btfs)
        self._btfs = cache(self._load_btfs)
        self._debug_files = cache(self._find_debug_files)

    def _load_btfs(self) -> list[Btf]:
        kernel = _BTF_FOLDER / "vmlinux"
        if not self._btf_paths and not kernel.exists():
            return []
        return load_btfs(*(self._btf_paths or [str(kernel)]))

    def _all_btfs(self) -> tuple[tuple[str, Btf], ...]:
        """The kernel's BTF and that of every module that is loaded, or whose file was given with BTF alone."""
        btfs = self._btfs()
        if not btfs:
            return ()
        loaded = () if self._btf_paths else (path.name for path in _BTF_FOLDER.iterdir() if path.name != "vmlinux")
        names = sorted({*loaded, *self._given_modules})
        found = ((name, self._module_btf(name, btfs[0])) for name in names)
        return (("", btfs[0]), *((name, own[1]) for name, own in found if own is not None))

    def _find_debug_files(self) -> tuple[DebugFile, ...]:
        """The file with the kernel's DWARF, if there is one. DwarfError for one that is of another kernel."""
        release, build_id = os.uname().release, _build_id(_NOTES)
        if self._vmlinux is None:
            found = find_kernel("/", release, build_id)
            return (found,) if found is not None and is_dwarf_of(found.path, build_id) else ()
        given = given_kernel(self._vmlinux, release, build_id)
        of_file = build_id_of_file(given.path)
        if build_id and of_file and of_file != build_id:
            raise DwarfError(f"{given.path} is not of the kernel that runs: their build ids differ")
        return (given,)

    def _find_module_files(self, module: str) -> tuple[DebugFile, ...]:
        """The file with a module's DWARF, if there is one."""
        given = self._given_module(module)
        if given is not None and has_dwarf(given):
            return (DebugFile(given, module),)
        build_id = _build_id(_MODULES / module / _MODULE_NOTE) or (build_id_of_file(given) if given is not None else "")
        folders = [folder for folder in (self._vmlinux, "/") if folder is not None and Path(folder).is_dir()]
        found = (find_module(folder, os.uname().release, module, build_id) for folder in folders)
        return tuple(file for file in found if file is not None)[:1]

    def debug_file(self, module: str = "") -> DebugFile | None:
        """The file with the DWARF of the kernel, or of a module; None where none is found.

        DwarfError for one that was given and is of another build.
        """
        return next(iter(self._find_module_files(module) if module else self._debug_files()), None)

    def _given_module(self, module: str) -> str | None:
        """The file that was given for a module. DwarfError for one that is not of the module that is loaded."""
        path = self._given_modules.get(module)
        loaded = _build_id(_MODULES / module / _MODULE_NOTE) if path is not None else ""
        if path is not None and loaded and build_id_of_file(path) != loaded:
            raise DwarfError(f"{path} is not of the module {module} that is loaded: their build ids differ")
        return path

    def _module_btf(self, module: str, kernel: Btf) -> tuple[str, Btf] | None:
        """A module's BTF and the file that it is from: the kernel's own, or else what was given without DWARF."""
        path, given = _BTF_FOLDER / module, self._given_module(module)
        if not self._btf_paths and path.exists():
            return str(path), load_btf(str(path), kernel)
        return (given, load_module_btf(given, kernel)) if given is not None and not has_dwarf(given) else None

    def _types(self, module: str = "") -> KernelTypes:
        btfs = list(self._btfs())
        module = module if re.fullmatch(r"\w+", module) else ""

        def find_debug() -> tuple[DebugFile, ...]:
            return (*(self._find_module_files(module) if module else ()), *self._debug_files())

        if not btfs:
            files = find_debug()
            if files:
                return open_debug_types(*files)
            raise NoBtfError(
                f"this kernel has no BTF: there is no {_BTF_FOLDER / 'vmlinux'}, nor is its DWARF found",
                "it was built without CONFIG_DEBUG_INFO_BTF: give a file that has its types, -b FILE or -v FILE",
            )
        origin = ", ".join(self._btf_paths) or str(_BTF_FOLDER / "vmlinux")
        if module and (own := self._module_btf(module, btfs[0])) is not None:
            # What the module calls something goes before what the kernel does.
            origin = own[0]
            btfs.insert(0, own[1])
        return open_types(origin, *btfs, find_debug=find_debug)

    def modules(self) -> tuple[str, ...]:
        """The modules whose files were given."""
        return tuple(self._given_modules)

    def _symbols(self) -> Symbols | None:
        if self._given_symbols is not None:
            return self._given_symbols
        try:
            return Symbols(_KALLSYMS.read_bytes(), is_running=True)
        except OSError:
            return None

    def _features(self) -> Features:
        uname = os.uname()
        return features_of_readme(self._text("README"), exact_release(uname.release, uname.version))

    def _traceable(self) -> frozenset[str] | None:
        if _is_set("CONFIG_KPROBE_EVENTS_ON_NOTRACE"):
            return None
        # Symbols that were given name other functions than this kernel lists.
        text = self._text("available_filter_functions") if self._given_symbols is None else None
        return traceable_functions(text) if text is not None else None

    def _blacklist(self) -> frozenset[str]:
        return blacklisted_functions(read_blacklist()) if self._given_symbols is None else frozenset()

    def _text(self, path: str) -> str | None:
        """A file of tracefs; None where there is none to read."""
        if self.tracefs is None:
            return None
        try:
            return self.tracefs.read(path).decode(errors="replace")
        except TracefsError:
            return None

    def event_fields(self, system: str, name: str) -> tuple[EventField, ...] | None:
        """The fields of an event, from its `format` file; None without access to tracefs."""
        if self.tracefs is None:
            return None
        try:
            return parse_format(self.tracefs.read(f"events/{system}/{name}/format").decode(errors="replace"))
        except TracefsError:
            return ()

    def _event_names(self) -> tuple[str, ...] | None:
        if self.tracefs is None:
            return None
        lines = self.tracefs.read("available_events").decode(errors="replace").split("\n")
        return tuple(line.replace(":", "/", 1) for line in lines if line)


def _is_set(option: str) -> bool:
    """Is an option in the kernel's configuration, where that is to be seen?"""
    try:
        return f"\n{option}=y\n" in Path(f"/boot/config-{os.uname().release}").read_text(errors="replace")
    except OSError:
        return False


def _build_id(path: Path) -> str:
    try:
        return build_id_of_notes(path.read_bytes())
    except OSError:
        return ""
