"""Folders of Debian programs in the cache, for guests that cannot run the host's: an architecture in, a folder out."""

import hashlib
import sys
from pathlib import Path

from tests.kernel import cache, debian

_SUITES = ("bookworm", "bookworm-security")

# What the agent, surftrace's shell script and the tests' senders need, and a shell to look around.
_PACKAGES = ("bash", "busybox-static", "coreutils", "dash", "grep", "kmod", "libpython3-stdlib", "python3-minimal")
_FOLDERS = ("dev", "proc", "root", "run", "sys", "tmp", "var/tmp")  # some are in packages as well


def fetch(architecture: str) -> Path:
    """Return the folder for `architecture`, asking Debian for newer packages at most once a day."""
    return cache.latest(f"roots/{architecture}", lambda parent: _renew(architecture, parent))


def _renew(architecture: str, parent: Path) -> Path:
    archive = debian.Archive(cache.folder() / "apt" / f"root-{architecture}", _SUITES, architecture)
    archive.update()
    packages = archive.closure(_PACKAGES)
    entry = parent / hashlib.sha256(repr(packages).encode()).hexdigest()[:16]
    if not entry.exists():
        print(f"fetching {len(packages)} {architecture} packages for the guest", file=sys.stderr)
        with cache.new_entry(entry) as new:
            archive.unpack(packages, new)
            for name in _FOLDERS:
                (new / name).mkdir(parents=True, exist_ok=True)
    return entry
