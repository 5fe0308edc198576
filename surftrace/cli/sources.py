"""The text of source files, where they are found."""

import os
from pathlib import Path

from surftrace.cli.arguments import UsageError

# Where distributions put the sources of a kernel; DWARF has the paths of the machine that built it.
_FOLDERS = ("/usr/src/linux", "/usr/src/kernels/{release}", "/lib/modules/{release}/source")


class Sources:
    """Looks for files in `folder`, else in the folder that they were compiled in and where distributions put them."""

    def __init__(self, folder: str | None) -> None:
        self._folder = folder
        self._texts: dict[tuple[str, str], list[str]] = {}

    def lines(self, file: str, compiled_in: str) -> list[str]:
        """The lines of a file, its path as the compiler was given it; none where it is not found."""
        key = file, compiled_in
        if key not in self._texts:
            self._texts[key] = self._read(file, compiled_in)
        return self._texts[key]

    def required_lines(self, file: str, compiled_in: str) -> list[str]:
        """The same; UsageError where a folder was named and does not have the file."""
        found = self.lines(file, compiled_in)
        if self._folder is not None and not found:
            raise UsageError(f"there is no {file} in {self._folder}")
        return found

    def line(self, file: str, number: int, compiled_in: str) -> str:
        """One line, counted from 1; empty where it is not found."""
        found = self.lines(file, compiled_in)
        return found[number - 1].expandtabs() if 0 < number <= len(found) else ""

    def _read(self, file: str, compiled_in: str) -> list[str]:
        release = os.uname().release
        usual = (compiled_in, *(folder.format(release=release) for folder in _FOLDERS))
        for folder in usual if self._folder is None else (self._folder,):
            try:
                return Path(folder, file).read_text(errors="replace").splitlines()
            except OSError:
                continue
        return []
