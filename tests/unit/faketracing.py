"""A tracing folder of plain files for tests: the writes that a plan makes land in them; a shell's `mkdir` and `rmdir`
of an instance give and take what the kernel does."""

import errno
import os
import stat
from pathlib import Path

from surftrace.compiler.plan import KPROBE_EVENTS
from surftrace.tracing.tracefs import Tracefs, TracefsError

_INSTANCE_FILES = ("events/enable", "options/stacktrace", "tracing_on", "error_log")


class FakeTracefs(Tracefs):
    """tracefs in a plain folder: an instance comes with its files, and goes with them."""

    __slots__ = ()

    def write(self, path: str, text: str, is_append: bool = False) -> None:
        """Write as to any file, but a probe's deletion deletes it (and is noted in the file `deleted`)."""
        if not (path == KPROBE_EVENTS and text.startswith("-:")):
            Tracefs.write(self, path, text, is_append)
            return
        probes = self.read(path).decode().splitlines()
        kept = [probe for probe in probes if probe.split(" ")[0].partition(":")[2] != text.removeprefix("-:")]
        if len(kept) != len(probes) - 1:
            raise TracefsError(f"no such probe: {text}", path=path, errno=errno.ENOENT)
        (self.root / path).write_text("".join(f"{probe}\n" for probe in kept))
        with (self.root / "deleted").open("a") as stream:
            stream.write(f"{text}\n")

    def is_open(self, folder: str) -> bool:
        """Has this process a file below this folder open? Other tests have folders of the same names."""
        links = [entry.readlink() for entry in Path("/proc/self/fd").iterdir() if entry.exists()]
        return any(self.root / folder in link.parents for link in links)

    def make_folder(self, path: str) -> None:
        """Make an instance and what the kernel puts there."""
        Tracefs.make_folder(self, path)
        for file in _INSTANCE_FILES:
            (self.root / path / file).parent.mkdir(exist_ok=True)
            (self.root / path / file).touch()

    def remove_folder(self, path: str) -> None:
        """Remove an instance with what the kernel put there, and nothing else.

        It does not go while a file of it is open, or while it has a trigger, as with the kernel's that have variables.
        """
        triggers = [*(self.root / path).glob("events/*/*/trigger")]
        if self.is_open(path) or any(trigger.read_text() for trigger in triggers):
            raise TracefsError("busy", path=path, errno=errno.EBUSY)
        for trigger in triggers:
            trigger.unlink()
            trigger.parent.rmdir()
            trigger.parent.parent.rmdir()
        for file in _INSTANCE_FILES:
            (self.root / path / file).unlink(missing_ok=True)
        for folder in ("events", "options"):
            if (self.root / path / folder).exists():
                (self.root / path / folder).rmdir()
        Tracefs.remove_folder(self, path)


def make_tracing(root: Path, probes: str = "") -> FakeTracefs:
    """A tracing folder with these probes, and no instances."""
    (root / "instances").mkdir(parents=True)
    (root / "kprobe_events").write_text(probes)
    (root / "deleted").touch()
    return FakeTracefs(root)


# Instances with every file that a script writes, and a pipe that ends at once.
_MKDIR = """\
#!/bin/bash
/bin/mkdir "$1" || exit
/bin/mkdir -p "$1/options" "$1/events"
while read -r file; do
    /bin/mkdir -p "$1/$(/usr/bin/dirname "$file")"
    : > "$1/$file"
done < "$FAKE_FILES"
printf 'an event\\n' > "$1/trace_pipe"
"""
_RMDIR = """\
#!/bin/bash
/bin/cp -r "$1" "$FAKE_KEPT"
/bin/rm -r "$1"
"""


def shell_tools(folder: Path, files: list[str]) -> dict[str, str]:
    """The environment in which a script's `mkdir` makes instances with these files, and `rmdir` keeps a copy of them.

    The copy is in the folder's `kept`.
    """
    (folder / "bin").mkdir(parents=True)
    for name, text in (("mkdir", _MKDIR), ("rmdir", _RMDIR)):
        path = folder / "bin" / name
        path.write_text(text)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    (folder / "files").write_text("".join(f"{file}\n" for file in files))
    return {
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        "FAKE_FILES": str(folder / "files"),
        "FAKE_KEPT": str(folder / "kept"),
    }
