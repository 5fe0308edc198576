"""Where tracefs is found, and what is said where there is none to use."""

from pathlib import Path

import pytest

from surftrace.tracing.tracefs import TracefsError, find_tracefs


def _mounts(tmp_path: Path, *lines: str) -> str:
    path = tmp_path / "mounts"
    path.write_text("".join(f"{line}\n" for line in ("proc /proc proc rw 0 0", *lines)))
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


def test_mount_with_a_space_and_letters_in_its_path(tmp_path: Path) -> None:
    folder = _tracefs(tmp_path / "träge sache")
    escaped = str(folder).replace(" ", "\\040")
    assert find_tracefs(_mounts(tmp_path, f"tracefs {escaped} tracefs rw 0 0")).root == folder
