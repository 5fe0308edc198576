"""A cached kernel in, the files with DWARF that Debian built together with it out: its vmlinux, some modules."""

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import NoteSection

from tests.kernel import cache, debian
from tests.kernel.images import Image

_SUITES = {"6.1": ("bookworm", "bookworm-security")}
# Below /usr/lib/debug, with the name in the cache.
_FILES = {
    "vmlinux": "boot/vmlinux-{release}",
    "sch_htb.ko": "lib/modules/{release}/kernel/net/sched/sch_htb.ko",
}


def fetch(image: Image) -> Path:
    """Return the debug vmlinux of exactly `image`: from the cache, or else from Debian (283 MB for 6.1)."""
    return _fetch(image) / "vmlinux"


def fetch_module(image: Image) -> Path:
    """Return the file with the DWARF of the module sch_htb, of the same package."""
    return _fetch(image) / "sch_htb.ko"


def _fetch(image: Image) -> Path:
    parent = cache.folder() / "debug-kernels" / image.name
    version = debian.Package(*image.vmlinux.parent.name.split("_"))
    entry = parent / f"{version.name}_{version.version}"
    with cache.lock(f"debug-kernel-{image.name}"):
        entry.mkdir(parents=True, exist_ok=True)
        if missing := [name for name in _FILES if not (entry / name).exists()]:
            print(f"kernel {image.name}: fetching {version.name}-dbg", file=sys.stderr)
            _fill(entry, missing, image, debian.Package(f"{version.name}-dbg", version.version))
        cache.remove_older(parent, entry, 0)
    return entry


def _fill(entry: Path, names: Sequence[str], image: Image, package: debian.Package) -> None:
    archive = debian.Archive(cache.folder() / "apt" / f"{image.name}-dbg", _SUITES[image.name])
    archive.update()
    with tempfile.TemporaryDirectory(dir=entry.parent, prefix=".new-", ignore_cleanup_errors=True) as scratch:
        archive.download([package], Path(scratch))
        (deb,) = Path(scratch).glob("*.deb")
        members = [f"./usr/lib/debug/{_FILES[name].format(release=image.release)}" for name in names]
        _extract(deb, members, Path(scratch))
        for name, member in zip(names, members, strict=True):
            _check(name, Path(scratch, member), image, package)
            Path(scratch, member).rename(entry / name)


def _extract(deb: Path, members: Sequence[str], folder: Path) -> None:
    """Write some files of a package below a folder."""
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", deb], stdout=subprocess.PIPE) as files:
        subprocess.run(["tar", "-x", "-C", folder, *members], stdin=files.stdout, check=True)
    if files.returncode:
        raise debian.ArchiveError(f"dpkg-deb cannot unpack {deb.name}")


def _check(name: str, file: Path, image: Image, package: debian.Package) -> None:
    """Raise ArchiveError for a file that is not of the same build as the kernel or its module."""
    of_kernel = image.vmlinux if name == "vmlinux" else next(image.modules.rglob(name))
    found, expected = build_id(file), build_id(of_kernel)
    if not found or found != expected:
        raise debian.ArchiveError(f"{package.name} has the build '{found}' of {name}, the kernel '{expected}'")


def build_id(elf: Path) -> str:
    """Return the build id of an ELF file, in hexadecimal."""
    with elf.open("rb") as file:
        sections = ELFFile(file).iter_sections()
        notes = [note for section in sections if isinstance(section, NoteSection) for note in section.iter_notes()]
        # Xen has notes of its own under the same numbers.
        ids = (str(note.n_desc) for note in notes if (note.n_name, note.n_type) == ("GNU", "NT_GNU_BUILD_ID"))
        return next(ids, "")
