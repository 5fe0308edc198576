"""A cached kernel in, the path of the vmlinux with DWARF that Debian built together with it out."""

import subprocess
import sys
from pathlib import Path

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import NoteSection

from tests.kernel import cache, debian
from tests.kernel.images import Image

_SUITES = {"6.1": ("bookworm", "bookworm-security")}


def fetch(image: Image) -> Path:
    """Return the debug vmlinux of exactly `image`: from the cache, or else from Debian (283 MB for 6.1)."""
    parent = cache.folder() / "debug-kernels" / image.name
    version = debian.Package(*image.vmlinux.parent.name.split("_"))
    entry = parent / f"{version.name}_{version.version}"
    with cache.lock(f"debug-kernel-{image.name}"):
        if not entry.exists():
            print(f"kernel {image.name}: fetching {version.name}-dbg", file=sys.stderr)
            with cache.new_entry(entry) as new:
                _fill(new, image, debian.Package(f"{version.name}-dbg", version.version))
        cache.remove_older(parent, entry, 0)
    return entry / "vmlinux"


def _fill(entry: Path, image: Image, package: debian.Package) -> None:
    archive = debian.Archive(cache.folder() / "apt" / f"{image.name}-dbg", _SUITES[image.name])
    archive.update()
    archive.download([package], entry)
    (deb,) = entry.glob("*.deb")
    _extract(deb, f"./usr/lib/debug/boot/vmlinux-{image.release}", entry / "vmlinux")
    deb.unlink()
    found, expected = build_id(entry / "vmlinux"), build_id(image.vmlinux)
    if not found or found != expected:
        raise debian.ArchiveError(f"{package.name} has the build '{found}', the kernel '{expected}'")


def _extract(deb: Path, member: str, path: Path) -> None:
    """Write one file of a package, without its modules."""
    with (
        path.open("wb") as out,
        subprocess.Popen(["dpkg-deb", "--fsys-tarfile", deb], stdout=subprocess.PIPE) as files,
    ):
        subprocess.run(["tar", "-xO", member], stdin=files.stdout, stdout=out, check=True)
    if files.returncode:
        raise debian.ArchiveError(f"dpkg-deb cannot unpack {deb.name}")


def build_id(elf: Path) -> str:
    """Return the build id of an ELF file, in hexadecimal."""
    with elf.open("rb") as file:
        section = ELFFile(file).get_section_by_name(".notes")
        notes = section.iter_notes() if isinstance(section, NoteSection) else ()
        # Xen has notes of its own under the same numbers.
        ids = (str(note.n_desc) for note in notes if (note.n_name, note.n_type) == ("GNU", "NT_GNU_BUILD_ID"))
        return next(ids, "")
