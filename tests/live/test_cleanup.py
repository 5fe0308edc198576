"""A kernel is left as it was found, whenever and however a trace ends; what a kill leaves is removed."""

import re
import signal

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


@pytest.mark.kernels("newest")
def test_latency_killed_at_every_write(guest: Guest) -> None:
    options = ["latency", "--over", "1s", "-t", "0.05", "p vfs_read count comm=$comm f:count>0"]
    found = guest.run(["python3", "-m", "tests.live.killer", *options], timeout_s=600).expect().stdout
    kills = re.findall(r"^(\d+): (killed|ended) (.*)$", found, re.MULTILINE)
    assert found.endswith("done\n")
    assert [kill for kill in kills if kill[2] != "ok"] == []
    assert sum(what == "killed" for _, what, _ in kills) > 15


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


def test_clean_removes_nothing_that_is_in_use(guest: Guest) -> None:
    """A script of -o locks nothing: it is known by its `trace_pipe`. It keeps nothing else that was named."""
    before = tracefs_state(guest)
    guest.run(["surftrace", "-o", "/tmp/mine.sh", "--instance", "mine", *_PROBES[:3]], preloaded=True).expect()
    script = guest.start(["/tmp/mine.sh"])
    script.wait_for("vfs_open")
    with running(guest, "--instance", "dead", "e sched/sched_process_fork") as dead:
        dead.kill()
    traced = tracefs_state(guest)
    clean = guest.run(["surftrace", "clean", "nobody", "mine", "dead"])
    assert (clean.status, clean.stdout, clean.stderr) == (
        1,
        "removed dead\n",
        "surftrace: error: there is no instance nobody\n"
        "surftrace: error: somebody else uses a file of the instance mine: it is left in the kernel\n"
        "hint: once nobody does: surftrace clean mine\n",
    )
    left = tracefs_state(guest)
    assert "instances/dead/" in traced
    assert left == "".join(line for line in traced.splitlines(keepends=True) if "instances/dead/" not in line)
    script.signal(signal.SIGTERM)
    assert script.wait().status == 128 + signal.SIGTERM
    assert tracefs_state(guest) == before


_READER = "sleep 1000 < /sys/kernel/tracing/instances/surftrace_sh/events/enable > /dev/null & echo $!"


@pytest.mark.kernels("newest")
def test_clean_keeps_the_triggers_of_what_is_in_use(guest: Guest) -> None:
    """Triggers with variables keep an instance as an open file does."""
    before = tracefs_state(guest)
    guest.run(["sh", "-c", "surftrace latency -S 'p vfs_open' | sh"]).expect()
    made = tracefs_state(guest)
    assert "surftrace_sh_latency" in made
    reader = guest.run(["sh", "-c", _READER]).expect().stdout.strip()
    clean = guest.run(["surftrace", "clean", "surftrace_sh"])
    assert (clean.status, clean.stdout) == (1, "")
    assert "somebody else uses a file of the instance surftrace_sh" in clean.stderr
    assert tracefs_state(guest) == made
    guest.run(["sh", "-c", f"kill {reader}; while kill -0 {reader} 2> /dev/null; do :; done"]).expect()
    assert guest.run(["surftrace", "clean", "surftrace_sh"]).expect().stdout == "removed surftrace_sh\n"
    assert tracefs_state(guest) == before


def test_clean_removes_what_a_shell_made(guest: Guest) -> None:
    before = tracefs_state(guest)
    guest.run(["sh", "-c", "surftrace -S 'p vfs_open' | sh"]).expect()
    assert "p:surftrace_sh/f0 vfs_open" in tracefs_state(guest)
    assert guest.run(["surftrace", "clean"]).expect().stdout == "nothing is left over\n"
    assert guest.run(["surftrace", "clean", "surftrace_sh"]).expect().stdout == "removed surftrace_sh\n"
    assert tracefs_state(guest) == before
