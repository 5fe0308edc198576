"""Debian's cloud kernels in the cache: a name such as "6.1" in, the paths of vmlinux, BTF, modules and root out."""

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.kernel import cache, debian, roots, vmlinux


@dataclass(frozen=True, slots=True)
class Image:
    """A kernel on disk. `modules` is its lib/modules/RELEASE folder, with every module uncompressed.

    `vmlinux` is what QEMU boots: on arm64 the Image. `root` holds the guest's programs: on amd64 the host's own.
    """

    name: str
    release: str
    vmlinux: Path
    btf: Path
    modules: Path
    architecture: str
    root: Path

    @property
    def has_host_programs(self) -> bool:
        """Whether the guest runs what the host runs, the virtual environment too."""
        return self.root == Path("/")


@dataclass(frozen=True, slots=True)
class _Source:
    meta_package: str
    suites: tuple[str, ...]
    architecture: str = "amd64"


_SOURCES = {
    "5.10": _Source("linux-image-cloud-amd64", ("bullseye", "bullseye-security")),
    "6.1": _Source("linux-image-cloud-amd64", ("bookworm", "bookworm-security")),
    "6.12": _Source("linux-image-6.12-cloud-amd64", ("bookworm-security",)),
    "newest": _Source("linux-image-cloud-amd64", ("sid", "experimental")),
    "arm64": _Source("linux-image-cloud-arm64", ("bookworm", "bookworm-security"), "arm64"),
    "arm64-6.12": _Source("linux-image-6.12-cloud-arm64", ("bookworm-security",), "arm64"),
}
NAMES = tuple(name for name, source in _SOURCES.items() if source.architecture == "amd64")
ARM64_NAMES = tuple(name for name, source in _SOURCES.items() if source.architecture == "arm64")


def fetch(name: str) -> Image:
    """Return the kernel called `name`, asking Debian for its current version at most once a day."""
    entry = cache.latest(f"kernels/{name}", lambda parent: _renew(name, parent))
    (modules,) = (entry / "lib/modules").iterdir()
    architecture = _SOURCES[name].architecture
    root = Path("/") if architecture == "amd64" else roots.fetch(architecture)
    return Image(name, modules.name, entry / "vmlinux", entry / "vmlinux.btf", modules, architecture, root)


def _renew(name: str, parent: Path) -> Path:
    source = _SOURCES[name]
    archive = debian.Archive(cache.folder() / "apt" / name, source.suites, source.architecture)
    archive.update()
    packages = archive.kernel_packages(source.meta_package)
    entry = parent / f"{packages[0].name}_{packages[0].version}"
    if not entry.exists():
        print(f"fetching the kernel {packages[0].name}", file=sys.stderr)
        with cache.new_entry(entry) as new:
            _fill(new, archive, packages)
    return entry


def _fill(entry: Path, archive: debian.Archive, packages: tuple[debian.Package, ...]) -> None:
    unpacked = entry / "unpacked"
    archive.unpack(packages, unpacked)
    (packed,) = (*unpacked.glob("boot/vmlinuz-*"), *unpacked.glob("usr/lib/modules/*/vmlinuz"))
    if archive.architecture == "arm64":
        vmlinux.copy_arm64_image(packed, entry / "vmlinux")
        vmlinux.find_btf(entry / "vmlinux", entry / "vmlinux.btf")
    else:
        vmlinux.decompress(packed, entry / "vmlinux")
        vmlinux.extract_btf(entry / "vmlinux", entry / "vmlinux.btf")
    (modules,) = (*unpacked.glob("lib/modules/*"), *unpacked.glob("usr/lib/modules/*"))
    (entry / "lib/modules").mkdir(parents=True)
    modules.rename(entry / "lib/modules" / modules.name)
    vmlinux.index_modules(entry, modules.name)
    shutil.rmtree(unpacked)
