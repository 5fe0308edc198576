"""The guest's first file system: an image in, a cpio archive with busybox, modules and init.sh out."""

import shlex
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.kernel.images import Image

_INIT = Path(__file__).with_name("init.sh")
_FOLDERS = ("bin", "dev", "proc", "sys", "modules", "host", "overlay", "root")
_NEEDED_MODULES = ("virtio_pci", "virtio_console", "virtiofs", "overlay")


def build(image: Image, settings: Mapping[str, str]) -> bytes:
    """Return the archive, which needs no compression; `settings` are variables for init.sh."""
    archive = bytearray()
    for folder in _FOLDERS:
        archive += _entry(folder, stat.S_IFDIR | 0o755)
    archive += _entry("bin/busybox", stat.S_IFREG | 0o755, (image.root / "bin/busybox").read_bytes())
    archive += _entry("init", stat.S_IFREG | 0o755, _INIT.read_bytes())
    paths = tuple(_load_order(image))
    for path in paths:
        archive += _entry(f"modules/{path.name}", stat.S_IFREG | 0o644, path.read_bytes())
    order = "".join(f"{path.name}\n" for path in paths)
    archive += _entry("modules/order", stat.S_IFREG | 0o644, order.encode())
    assignments = "".join(f"{name}={shlex.quote(value)}\n" for name, value in settings.items())
    archive += _entry("settings", stat.S_IFREG | 0o644, assignments.encode())
    return bytes(archive + _entry("TRAILER!!!", 0))


def _load_order(image: Image) -> Iterator[Path]:
    """Yield the needed modules, each after its dependencies; what is built in is not in modules.dep."""
    dependencies: dict[str, list[str]] = {}
    for line in (image.modules / "modules.dep").read_text().splitlines():
        path, _, needs = line.partition(":")
        # modules.dep(5): the last of a line is to be loaded first
        dependencies[Path(path).stem] = [path, *needs.split()]
    loaded = set()
    for module in _NEEDED_MODULES:
        for path in reversed(dependencies.get(module, ())):
            if path not in loaded:
                loaded.add(path)
                yield image.modules / path


def _entry(name: str, mode: int, content: bytes = b"") -> bytes:
    """Return a cpio member: Documentation/driver-api/early-userspace/buffer-format.rst of Linux."""
    encoded = name.encode() + b"\0"
    inode, uid, gid, links, mtime, major, minor, device_major, device_minor, check = (
        0,
        0,
        0,
        1,
        0,
        0,
        0,
        0,
        0,
        0,
    )
    fields = (inode, mode, uid, gid, links, mtime, len(content), major, minor, device_major, device_minor)
    header = b"070701" + b"".join(b"%08x" % field for field in (*fields, len(encoded), check))
    head = header + encoded
    return head + bytes(-len(head) % 4) + content + bytes(-len(content) % 4)
