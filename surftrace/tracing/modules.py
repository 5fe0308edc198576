"""The kernel's modules that probes are in: which of them have gone, or come, since they were last looked at."""

from collections.abc import Iterable, Iterator
from pathlib import Path

_FOLDER = "/sys/module"


class ModuleWatch:
    """Some modules, loaded or not. `folder` is that of sysfs with a folder for each that is loaded."""

    def __init__(self, names: Iterable[str], folder: str = _FOLDER) -> None:
        self._folder = folder
        self._inodes = {name: self._inode(name) for name in names}

    def changes(self) -> Iterator[tuple[str, bool]]:
        """Each module that was unloaded (False) or loaded (True) since the last look: first the one, then the other."""
        for name, before in list(self._inodes.items()):
            now = self._inodes[name] = self._inode(name)
            if before is not None and now != before:
                yield name, False
            if now is not None and now != before:
                yield name, True

    def _inode(self, name: str) -> int | None:
        """What tells one stay of the module from the next; None while it is not there."""
        try:
            return Path(self._folder, name).stat().st_ino
        except OSError:
            return None
