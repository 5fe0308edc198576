"""Addresses in the memory of this machine's own processes: nm(1) tells which functions are there."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from surftrace.kernel.machine import machine_named
from surftrace.tracing import mappings
from surftrace.tracing.mappings import UserPlaces
from tests import programs

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")

_MACHINE = machine_named("x86_64")
_MAPS = """\
1000-2000 r-xp 00001000 08:01 12 /opt/a b\\012c
2000-3000 rw-p 00002000 08:01 12 /opt/a b\\012c
3000-4000 rw-p 00000000 00:00 0\x20
4000-5000 rw-p 00000000 00:00 0 [heap]
5000-6000 r-xp 00003000 08:01 13 /opt/gone (deleted)
7000-8000 r-xp 00000000 00:00 0 [vdso]
"""


@pytest.fixture(autouse=True)
def _first_name_space(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests may run in a container, whose numbers of processes are its own."""
    monkeypatch.setattr(mappings, "_FIRST_PIDS", Path("/proc/self/ns/pid").stat().st_ino)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program with functions; beside it the same without symbols, and without those but with a debug file."""
    folder = tmp_path_factory.mktemp("frames")
    path = programs.build(folder, "frames", "-O0", sources=("frames.c",))
    subprocess.run(["strip", "-o", folder / "stripped", path], check=True)
    subprocess.run(["objcopy", "--only-keep-debug", path, folder / "linked.debug"], check=True)
    subprocess.run(["strip", "-o", folder / "linked", path], check=True)
    subprocess.run(["objcopy", "--add-gnu-debuglink=linked.debug", "linked"], cwd=folder, check=True)
    return path


def _running(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([path, "1", "wait"], stdin=subprocess.PIPE) as process:
        while "frames" not in (text := Path(f"/proc/{process.pid}/maps").read_text()) and str(path) not in text:
            pass  # until it has become the program
        yield process
        process.kill()


def _start(pid: int, path: Path) -> int:
    """Where the file's first byte is in the task's memory."""
    lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    return int(next(line for line in lines if line.endswith(str(path))).partition("-")[0], 16)


def _symbols(path: Path) -> dict[str, tuple[int, int]]:
    found = subprocess.run(["nm", "-S", path], capture_output=True, text=True, check=True).stdout
    return {name: (int(at, 16), int(size, 16)) for at, size, name in re.findall(r"(\w+) (\w+) T (\w+)", found)}


@pytest.mark.parametrize("name", ["frames", "linked"])
def test_functions(program: Path, name: str) -> None:
    """The first frame is where the program is, the others are behind calls: one may be a function's last."""
    path, symbols = program.with_name(name), _symbols(program)
    for process in _running(path):
        start = _start(process.pid, path)
        (inner, inner_size), (middle, _) = symbols["inner"], symbols["middle"]
        addresses = (start + inner, start + inner + inner_size, start + middle + 4)
        found = UserPlaces(_MACHINE).frames(process.pid, addresses)
    assert found == (f"inner+0x0 [{path}]", f"inner+{inner_size:#x} [{path}]", f"middle+0x4 [{path}]")


def test_a_file_without_symbols(program: Path) -> None:
    path, (middle, _) = program.with_name("stripped"), _symbols(program)["middle"]
    for process in _running(path):
        found = UserPlaces(_MACHINE).frames(process.pid, (_start(process.pid, path) + middle + 4,))
    assert found == (f"{path}[+{middle + 4:#x}]",)


def test_a_file_that_was_replaced(program: Path, tmp_path: Path) -> None:
    """What is mapped counts, not what is at its path by now."""
    path = tmp_path / "frames"
    shutil.copy(program, path)
    for process in _running(path):
        start = _start(process.pid, path)
        path.unlink()
        path.write_bytes(b"\x7fELF")
        (found,) = UserPlaces(_MACHINE).frames(process.pid, (start + _symbols(program)["outer"][0],))
    assert found == f"outer+0x0 [{path}]"


# (id, address, frame), none of them with a symbol
_PLACES = (
    ("file", 0x1234, "/opt/a b\nc[+0x1234]"),
    ("data-of-a-file", 0x2010, "/opt/a b\nc[+0x2010]"),
    ("no-file", 0x3000, "0x3000"),
    ("heap", 0x4010, "[heap][+0x10]"),
    ("deleted", 0x5FFF, "/opt/gone[+0x3fff]"),
    ("hole", 0x6000, "0x6000"),
    ("vdso", 0x7001, "[vdso][+0x1]"),
    ("below-all", 0x10, "0x10"),
    ("above-all", 0x8000, "0x8000"),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A proc(5) with one task, of which no file can be opened."""
    (tmp_path / "7").mkdir()
    (tmp_path / "7/maps").write_text(_MAPS)
    (tmp_path / "self/ns").mkdir(parents=True)
    (tmp_path / "self/ns/pid").hardlink_to(tmp_path / "7/maps")
    return tmp_path


@pytest.fixture
def _faked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mappings, "_FIRST_PIDS", (folder / "self/ns/pid").stat().st_ino)


@pytest.mark.usefixtures("_faked")
@pytest.mark.parametrize(("address", "frame"), [pytest.param(*rest, id=name) for name, *rest in _PLACES])
def test_places(folder: Path, address: int, frame: str) -> None:
    assert UserPlaces(_MACHINE, str(folder)).frames(7, (address,)) == (frame,)


@pytest.mark.usefixtures("_faked")
def test_what_is_mapped_is_known_for_a_while(folder: Path) -> None:
    now_s = [0.0]
    places = UserPlaces(_MACHINE, str(folder), lambda: now_s[0])
    assert places.frames(7, (0x4010,)) == ("[heap][+0x10]",)
    (folder / "7/maps").write_text("")
    assert places.frames(7, (0x4010,)) == ("[heap][+0x10]",)
    now_s[0] += 1
    assert places.frames(7, (0x4010,)) == ("0x4010",)


@pytest.mark.usefixtures("_faked")
def test_a_task_that_has_gone(folder: Path) -> None:
    places = UserPlaces(_MACHINE, str(folder))
    assert places.frames(8, (0x4010, 0x10)) == ("0x4010", "0x10")
    assert places.frames(8, ()) == ()


def test_numbers_of_another_name_space(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mappings, "_FIRST_PIDS", 1)
    assert UserPlaces(_MACHINE, str(folder)).frames(7, (0x4010,)) == ("0x4010",)
