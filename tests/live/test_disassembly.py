"""`surftrace -F` and `-l` in a running kernel: its true code, at places that it takes probes at."""

import os
import re
from collections.abc import Iterator

import pytest

from tests.kernel import images
from tests.kernel.guest import Guest
from tests.live.helpers import tracefs_state
from tests.oracle import dbg

_PLACE = re.compile(r"^(?:p|  ) ?(\S+\+0x[0-9a-f]+) +(.*)$", re.MULTILINE)
_PROBES = 12


@pytest.fixture(autouse=True)
def _nothing_left(guest: Guest) -> Iterator[None]:
    """After each test the kernel is as it was."""
    before = tracefs_state(guest)
    yield
    assert tracefs_state(guest) == before


def _shown(guest: Guest, *words: str) -> str:
    return guest.run(["surftrace", *words], preloaded=True).expect().stdout


def _every(places: list[str], count: int) -> list[str]:
    """So many of the places, from all over the function."""
    return places[:: max(1, len(places) // count)][:count]


@pytest.mark.parametrize("function", ["vfs_read", "virtio_check_driver_offered_feature"])
def test_the_kernel_takes_probes_at_the_instructions(guest: Guest, function: str) -> None:
    """vfs_read() of the kernel itself, the other of a module."""
    out = _shown(guest, "-F", function)
    assert out.splitlines()[0].endswith("(the running kernel; no DWARF tells its lines)")
    # The kernel takes no probe at what it has written for ftrace, nor behind it in the same bytes.
    places = [place for place, text in _PLACE.findall(out) if not text.startswith(("nop", "int3"))]
    assert len(places) > 2 * _PROBES
    result = guest.run(["surftrace", "-t", "0.1", *(f"p {place}" for place in _every(places, _PROBES))], preloaded=True)
    assert (result.status, result.stderr) == (0, "")


def test_an_indirect_call_and_where_it_goes(guest: Guest) -> None:
    """vfs_read() calls what reads the file, by a register that the mark names."""
    out = _shown(guest, "-F", "vfs_read")
    calls = re.findall(r"^  (vfs_read\+0x[0-9a-f]+) +(?:cs )*call .*<- reg=%(\w+)$", out, re.MULTILINE)
    assert calls
    probes = [f"p {place} reg=%{register}:symbol" for place, register in calls]
    result = guest.run(["surftrace", "-c", "1", *probes], preloaded=True, timeout_s=60)
    assert re.search(r'reg="?\w*(?:read|iter)\w*', result.stdout)


@pytest.mark.kernels("6.1")
def test_lines_of_the_running_code(guest: Guest) -> None:
    """With DWARF that is found where Debian's package puts it; the code is still that in memory."""
    vmlinux = dbg.fetch(images.fetch("6.1"))
    place = "/usr/lib/debug/boot/vmlinux-$(uname -r)"
    guest.run(["sh", "-c", f"mkdir -p /usr/lib/debug/boot; ln -s {vmlinux} {place}"]).expect()
    try:
        running, line = _shown(guest, "-F", "vfs_read"), _shown(guest, "-l", "vfs_read:18")
    finally:
        guest.run(["sh", "-c", f"rm {place}"]).expect()
    assert running.splitlines()[0] == "vfs_read at fs/read_write.c:450  (the running kernel)"
    of_file = _shown(guest, "-v", os.fspath(vmlinux), "-F", "vfs_read")
    assert _headings(running) == _headings(of_file)
    # What the kernel has rewritten: ftrace's calls, and calls through a register on a machine without Spectre.
    assert re.search(r"^  vfs_read\+0x0 +call   __fentry__$", of_file, re.MULTILINE)
    assert re.search(r"^  vfs_read\+0x0 +nopl ", running, re.MULTILINE)
    assert line.splitlines()[0] == "fs/read_write.c:468  vfs_read:18"
    assert re.search(r"^p vfs_read\+0x[0-9a-f]+ ", line, re.MULTILINE)


def _headings(shown: str) -> list[str]:
    return [line for line in shown.splitlines()[1:] if not line.startswith(("  ", "p "))]


@pytest.mark.kernels("6.1")
def test_debug_information_without_code(guest: Guest) -> None:
    """A file with the running kernel's build id and without code: the code is that in memory."""
    build_id = dbg.build_id(images.fetch("6.1").vmlinux)
    make = f"echo 'int main(void) {{}}' > main.c && gcc -g -Wl,--build-id=0x{build_id} main.c"
    guest.run(["sh", "-c", f"{make} && objcopy --only-keep-debug a.out debug"], cwd="/run").expect()
    result = guest.run(["surftrace", "-v", "/run/debug", "-F", "vfs_read"], preloaded=True).expect()
    assert result.stdout.splitlines()[0] == "vfs_read  (the running kernel; no DWARF tells its lines)"
    assert result.stderr.startswith("surftrace: /run/debug has no code")


@pytest.mark.kernels("6.1")
def test_addresses_that_are_hidden(guest: Guest) -> None:
    setting = "/proc/sys/kernel/kptr_restrict"
    before = guest.read(setting)
    guest.write(setting, "2")
    try:
        result = guest.run(["surftrace", "-F", "vfs_read"], preloaded=True)
    finally:
        guest.write(setting, before)
    assert (result.status, result.stdout) == (1, "")
    assert result.stderr.startswith("surftrace: error: the kernel hides the addresses of its code\nhint: run as root\n")
