"""Where tracefs is found, and what is said where there is none to use."""

import os
import subprocess
from pathlib import Path

import pytest

from surftrace.tracing.tracefs import Tracefs, TracefsError, find_tracefs


def _mounts(tmp_path: Path, *lines: str) -> str:
    path = tmp_path / "mounts"
    text = "".join(f"{line}\n" for line in ("proc /proc proc rw 0 0", *lines))
    path.write_bytes(text.encode(errors="surrogateescape"))
    return str(path)


def _tracefs(folder: Path, *, has_kprobes: bool = True) -> Path:
    folder.mkdir(parents=True)
    if has_kprobes:
        (folder / "kprobe_events").touch()
    return folder


def test_not_mounted(tmp_path: Path) -> None:
    with pytest.raises(TracefsError, match=r"^tracefs is not mounted$") as raised:
        find_tracefs(_mounts(tmp_path))
    assert raised.value.hints == ("as root: mount -t tracefs tracefs /sys/kernel/tracing",)


def test_kernel_without_kprobes(tmp_path: Path) -> None:
    folder = _tracefs(tmp_path / "tracing", has_kprobes=False)
    with pytest.raises(TracefsError, match=r"^this kernel has no kprobes$") as raised:
        find_tracefs(_mounts(tmp_path, f"tracefs {folder} tracefs rw 0 0"))
    assert "CONFIG_KPROBE_EVENTS" in raised.value.hints[0]


def test_folder_of_debugfs(tmp_path: Path) -> None:
    folder = _tracefs(tmp_path / "debug" / "tracing")
    assert find_tracefs(_mounts(tmp_path, f"debugfs {folder.parent} debugfs rw 0 0")).root == folder


@pytest.mark.parametrize("folder", ["a\rb", "a\fb", "a\x85b", "a\u2028b", "a\x1cb", "a\udcffb"])
def test_others_mount_what_looks_like_lines(folder: str, tmp_path: Path) -> None:
    traced = _tracefs(tmp_path / "tracing")
    mounts = _mounts(tmp_path, f"tmpfs /mnt/{folder} tmpfs rw 0 0", "", f"tracefs {traced} tracefs rw 0 0", "short")
    assert find_tracefs(mounts).root == traced


def test_a_file_that_somebody_has_open(tmp_path: Path) -> None:
    folder = f"instances/{tmp_path.name}_{os.getpid()}"  # no other test's
    (tmp_path / folder).mkdir(parents=True)
    (tmp_path / folder / "trace").touch()
    tracefs = Tracefs(tmp_path)
    assert not tracefs.is_open(folder)
    with (tmp_path / folder / "trace").open() as stream:
        other = subprocess.Popen(["sleep", "60"], stdin=stream)
    assert tracefs.is_open(folder)
    assert not tracefs.is_open(folder[:-1])
    other.kill()
    other.wait()
    assert not tracefs.is_open(folder)


def test_mount_with_a_space_and_letters_in_its_path(tmp_path: Path) -> None:
    folder = _tracefs(tmp_path / "träge sache")
    escaped = str(folder).replace(" ", "\\040")
    assert find_tracefs(_mounts(tmp_path, f"tracefs {escaped} tracefs rw 0 0")).root == folder
