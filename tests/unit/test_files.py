"""Files that the user names: whole or not at all, for nobody else to choose."""

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from surftrace.cli.arguments import UsageError
from surftrace.cli.files import write_file


def test_a_new_file_has_the_mode_that_the_umask_leaves(tmp_path: Path) -> None:
    umask = os.umask(0o027)
    try:
        write_file(str(tmp_path / "script"), "text\n", 0o777)
        write_file(str(tmp_path / "picture"), "a\udcffb")
    finally:
        os.umask(umask)
    assert (tmp_path / "script").read_text() == "text\n"
    assert (tmp_path / "script").stat().st_mode & 0o7777 == 0o750
    assert (tmp_path / "picture").read_bytes() == b"a\xffb"
    assert (tmp_path / "picture").stat().st_mode & 0o7777 == 0o640
    assert sorted(path.name for path in tmp_path.iterdir()) == ["picture", "script"]


def test_an_old_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "script"
    path.write_text("old")
    os.link(path, tmp_path / "other")
    write_file(str(path), "new")
    assert path.read_text() == "new"
    assert (tmp_path / "other").read_text() == "old"


def test_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    for name, leads_to in (("link", "precious"), ("dangling", "nothing")):
        (tmp_path / name).symlink_to(tmp_path / leads_to)
        with pytest.raises(UsageError, match=rf"^cannot write .*/{name}: it is a symbolic link$"):
            write_file(str(tmp_path / name), "text")
    assert (tmp_path / "precious").read_text() == "precious"
    assert not (tmp_path / "nothing").exists()


def test_what_is_no_plain_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, what in ((tmp_path, "a folder"), (tmp_path / "pipe", "no plain file"), (Path("/dev/null"), "no plain")):
        with pytest.raises(UsageError, match=f"it is {what}"):
            write_file(str(path), "text")
    with pytest.raises(UsageError, match="No such file or directory"):
        write_file(str(tmp_path / "nowhere" / "script"), "text")


_WRITE = "import sys; from surftrace.cli.files import write_file; write_file(sys.argv[1], 'x' * 100_000)"


def _no_room() -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))


def test_no_room_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("old")
    for name in ("old", "new"):
        argv = [sys.executable, "-c", _WRITE, str(tmp_path / name)]
        seen = subprocess.run(argv, preexec_fn=_no_room, capture_output=True, text=True)
        assert "cannot write" in seen.stderr
        assert "File too large" in seen.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
    assert (tmp_path / "old").read_text() == "old"
