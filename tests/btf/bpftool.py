"""The oracle: what Debian's bpftool reads in a BTF file."""

from __future__ import annotations

import json
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

from tests.kernel import cache as test_cache

Dump = dict[int, dict[str, Any]]  # type id -> the record as bpftool's JSON has it


@cache
def _program() -> str:
    """bpftool: the host's, or Debian's package unpacked in the cache."""
    installed = shutil.which("bpftool")
    if installed:
        return installed
    entry = test_cache.folder() / "bpftool"
    with test_cache.lock("bpftool"):
        if not entry.exists():
            with test_cache.new_entry(entry) as new:
                download = ["apt-get", "download", "-o", "APT::Sandbox::User=", "bpftool"]
                subprocess.run(download, cwd=new, check=True, capture_output=True)
                (package,) = new.glob("*.deb")
                subprocess.run(["dpkg-deb", "-x", package, new], check=True)
    return str(entry / "usr/sbin/bpftool")


def dump(path: Path, base: Path | None = None) -> Dump:
    """Every type of a BTF file or ELF."""
    options = ["-B", str(base)] if base else []
    argv = [_program(), "-j", *options, "btf", "dump", "file", str(path), "format", "raw"]
    done = subprocess.run(argv, capture_output=True, check=True)
    return {record["id"]: record for record in json.loads(done.stdout)["types"]}
