"""A kernel is left as it was found, whenever and however a trace ends; what a kill leaves is removed."""

import re

import pytest

from tests.kernel.guest import Guest
from tests.live.helpers import running, tracefs_state
from tests.live.limits import SOAK_S

# The oldest and the newest.
pytestmark = pytest.mark.kernels("5.10", "newest")

_PROBES = (
    *("p vfs_read count f:count>0", "r vfs_open ret=$retval"),
    *("e sched/sched_switch f:prev_prio<100", "P libc:malloc size=%0"),
)


# 5.10 waits a second for each probe that goes: a minute here is four there, which `make soak` takes.
@pytest.mark.kernels(*(("5.10", "newest") if SOAK_S else ("newest",)))
def test_killed_at_every_write(guest: Guest) -> None:
    options = ["-t", "0.05", "--buffer-size", "64K"]
    found = guest.run(["python3", "-m", "tests.live.killer", *options, *_PROBES], timeout_s=600).expect().stdout
    kills = re.findall(r"^(\d+): (killed|ended) (.*)$", found, re.MULTILINE)
    assert found.endswith("done\n")
    assert [kill for kill in kills if kill[2] != "ok"] == []
    # Each write of the plan and each of its undoing was one to be killed at.
    assert sum(what == "killed" for _, what, _ in kills) > 20


def test_clean(guest: Guest) -> None:
    before = tracefs_state(guest)
    clean = guest.run(["surftrace", "clean"])
    assert (clean.status, clean.stdout, clean.stderr) == (0, "nothing is left over\n", "")
    with running(guest, "p vfs_read") as killed, running(guest, "--instance", "mine", "r vfs_read") as other:
        killed.kill()
        other.kill()
        with running(guest, "p vfs_open") as runs:
            assert guest.run(["surftrace", "clean", "surftrace"]).stderr == (
                "surftrace: error: the instance surftrace is in use: a surftrace traces in it\n"
            )
            assert guest.run(["surftrace", "clean", "mine"]).expect().stdout == "removed mine\n"
            assert "p:surftrace/f0 vfs_open" in tracefs_state(guest)
            runs.kill()
        assert guest.run(["surftrace", "clean"]).expect().stdout == "removed surftrace\n"
    assert tracefs_state(guest) == before


def test_clean_removes_nothing_of_others(guest: Guest) -> None:
    guest.run(["mkdir", "/sys/kernel/tracing/instances/theirs"]).expect()
    result = guest.run(["surftrace", "clean", "theirs"])
    assert (result.status, result.stderr) == (
        1,
        "surftrace: error: the instance theirs exists and is not surftrace's\n"
        "hint: choose another name, or remove it: rmdir /sys/kernel/tracing/instances/theirs\n",
    )
    assert guest.run(["surftrace", "clean", "nobody"]).stderr == "surftrace: error: there is no instance nobody\n"
    guest.run(["rmdir", "/sys/kernel/tracing/instances/theirs"]).expect()


def test_clean_removes_what_a_shell_made(guest: Guest) -> None:
    before = tracefs_state(guest)
    guest.run(["sh", "-c", "surftrace -S 'p vfs_open' | sh"]).expect()
    assert "p:surftrace_sh/f0 vfs_open" in tracefs_state(guest)
    assert guest.run(["surftrace", "clean"]).expect().stdout == "nothing is left over\n"
    assert guest.run(["surftrace", "clean", "surftrace_sh"]).expect().stdout == "removed surftrace_sh\n"
    assert tracefs_state(guest) == before
