"""The cache folder outside the checkout: what the network offered last, in entries that are whole or absent."""

import contextlib
import fcntl
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ONE_DAY_S = 24 * 60 * 60
_KEEP_OLD_S = 7 * ONE_DAY_S


class Unavailable(Exception):
    """The network did not give what was asked for."""


def folder() -> Path:
    """Return `$SURFTRACE_CACHE`, by default `surftrace-tests` in the user's cache folder; it exists."""
    user_cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    path = Path(os.environ.get("SURFTRACE_CACHE") or f"{user_cache}/surftrace-tests").expanduser().absolute()
    path.mkdir(parents=True, exist_ok=True)
    return path


def latest(name: str, renew: Callable[[Path], Path]) -> Path:
    """Return the current entry of the cache's folder `name`, renewed at most once a day.

    `renew` gets that folder, asks the network and returns the entry to use, an old one or one it made with
    `new_entry`. When it raises Unavailable the current entry stays; without one the error goes on. No two processes
    renew the same folder at once.
    """
    parent = folder() / name
    with lock(name):
        parent.mkdir(parents=True, exist_ok=True)
        current, asked = parent / "current", parent / "asked"
        if not current.exists() or not _is_younger(asked, ONE_DAY_S):
            try:
                _set_current(current, renew(parent))
            except Unavailable as error:
                if not current.exists():
                    raise
                print(f"{name}: using what is in the cache: {error}", file=sys.stderr)
            asked.touch()
        return current.resolve()


@contextlib.contextmanager
def new_entry(path: Path) -> Iterator[Path]:
    """Yield an empty folder that becomes `path` when the block ends well, and vanishes when it does not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".new-", ignore_cleanup_errors=True) as scratch:
        entry = Path(scratch, path.name)
        entry.mkdir()
        yield entry
        entry.rename(path)


@contextlib.contextmanager
def lock(name: str) -> Iterator[None]:
    """Hold the lock called `name` against every other process; the kernel drops it with the process."""
    path = folder() / "locks" / name.replace("/", "-")
    path.parent.mkdir(exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _set_current(link: Path, entry: Path) -> None:
    scratch = link.with_name(".current")
    scratch.unlink(missing_ok=True)
    scratch.symlink_to(entry.name)
    scratch.rename(link)
    # A guest or an installation of another process may still use the last one.
    remove_older(link.parent, entry, _KEEP_OLD_S)


def remove_older(parent: Path, keep: Path, age_s: float) -> None:
    """Remove the folders in `parent` that are older than `age_s` seconds, but `keep`."""
    for path in parent.iterdir():
        if path.is_dir() and not path.is_symlink() and path != keep and not _is_younger(path, age_s):
            shutil.rmtree(path, ignore_errors=True)


def _is_younger(path: Path, age_s: float) -> bool:
    return path.exists() and time.time() - path.stat().st_mtime < age_s
