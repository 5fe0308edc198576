"""The cache: entries are whole or absent, and a network that does not answer is no reason to fail."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.kernel import cache, images
from tests.kernel.qemu import CHECKOUT


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SURFTRACE_CACHE", str(tmp_path / "cache"))


def _make(parent: Path, name: str) -> Path:
    entry = parent / name
    with cache.new_entry(entry) as new:
        (new / "content").write_text(name)
    return entry


def _unavailable(parent: Path) -> Path:
    raise cache.Unavailable("no network")


def _outdate() -> None:
    two_days_ago = time.time() - 2 * cache.ONE_DAY_S
    os.utime(cache.folder() / "things/asked", (two_days_ago, two_days_ago))


def test_entry_is_made_once_a_day() -> None:
    first = cache.latest("things", lambda parent: _make(parent, "first"))
    assert cache.latest("things", _unavailable) == first
    _outdate()
    second = cache.latest("things", lambda parent: _make(parent, "second"))
    assert (second.name, (second / "content").read_text()) == ("second", "second")


def test_without_network_the_last_entry_serves(capsys: pytest.CaptureFixture[str]) -> None:
    first = cache.latest("things", lambda parent: _make(parent, "first"))
    _outdate()
    assert cache.latest("things", _unavailable) == first
    assert capsys.readouterr().err == "things: using what is in the cache: no network\n"
    with pytest.raises(cache.Unavailable):
        cache.latest("others", _unavailable)


def test_failure_leaves_no_half_written_entry() -> None:
    def fail(parent: Path) -> Path:
        with cache.new_entry(parent / "entry") as new:
            (new / "half").touch()
            raise cache.Unavailable("no network")

    with pytest.raises(cache.Unavailable):
        cache.latest("things", fail)
    assert list((cache.folder() / "things").iterdir()) == []


def test_two_processes_make_an_entry_once() -> None:
    script = """if True:
        import time
        from tests.kernel import cache
        def renew(parent):
            print("renewed")
            time.sleep(0.5)
            with cache.new_entry(parent / "entry"):
                return parent / "entry"
        cache.latest("things", renew)"""
    argv = [sys.executable, "-c", script]
    processes = [subprocess.Popen(argv, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [process.communicate()[0] for process in processes]
    assert sorted(outputs) == ["", "renewed\n"]


def test_kernel_without_network_and_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "apt.conf").write_text('Acquire::http::Proxy "http://127.0.0.1:1";')
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
    with pytest.raises(cache.Unavailable, match=r"apt-get failed: (.|\n)*127\.0\.0\.1"):
        images.fetch("6.1")
