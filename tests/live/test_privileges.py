"""Who may trace: whoever tracefs lets; all others get one line, and leave nothing."""

from collections.abc import Sequence

import pytest

from tests.kernel import images
from tests.kernel.guest import Guest
from tests.kernel.process import Result

pytestmark = [pytest.mark.kernels("5.10", "newest"), pytest.mark.usefixtures("nothing_left")]

_TRACEFS = "/sys/kernel/tracing"
_NOBODY = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
_PROBES = ["p vfs_open path->dentry", "e sched/sched_switch"]


def _surftrace(guest: Guest, *privileges: str, words: Sequence[str] = _PROBES) -> Result:
    return guest.run([*_NOBODY, *privileges, "surftrace", "-c", "5", *words])


def _refusal(result: Result) -> str:
    """The one line of an error and the one of its hint."""
    assert result.status == 1
    error, hint = result.stderr.splitlines()
    assert hint == "hint: run as root"
    return error


def test_nobody(guest: Guest) -> None:
    assert _refusal(_surftrace(guest)) == f"surftrace: error: no access to {_TRACEFS}"
    guest.run(["chmod", "755", _TRACEFS]).expect()
    error = _refusal(_surftrace(guest))
    guest.run(["chmod", "700", _TRACEFS]).expect()
    assert error == f"surftrace: error: no access to {_TRACEFS}/kprobe_events"


def test_a_dry_run_needs_nothing(guest: Guest) -> None:
    result = _surftrace(guest, words=["-S", *_PROBES[:1]])
    assert "echo 'p:surftrace_sh/f0 vfs_open" in result.expect().stdout


def test_capabilities(guest: Guest) -> None:
    names = "+dac_override,+dac_read_search"
    result = _surftrace(guest, "--inh-caps", names, "--ambient-caps", names)
    assert result.expect().stderr == ""
    assert " f0: " in result.stdout or " sched_switch: " in result.stdout


def test_owner_of_tracefs(guest: Guest) -> None:
    guest.run(["chown", "-R", "65534", _TRACEFS])
    try:
        result = _surftrace(guest)
    finally:
        guest.run(["chown", "-R", "0", _TRACEFS])
    if guest.image.name == "5.10":  # whose new instances are root's
        folder = f"{_TRACEFS}/instances/surftrace"
        assert _refusal(result) == f"surftrace: error: cannot write {folder}/buffer_percent: Permission denied"
    else:
        assert result.expect().stderr == ""


@pytest.mark.kernels("newest")
def test_group_that_may_not_write_new_instances(guest: Guest) -> None:
    guest.run(["sh", "-c", f"chgrp -R 65534 {_TRACEFS}; chmod -R g+rwX {_TRACEFS}"])
    try:
        result = _surftrace(guest)
    finally:
        guest.run(["sh", "-c", f"chgrp -R 0 {_TRACEFS}; chmod -R g-w {_TRACEFS}; chmod 700 {_TRACEFS}"])
    assert "Permission denied" in _refusal(result)


@pytest.mark.kernels("newest")
def test_lockdown(guest: Guest) -> None:
    """A kernel that is locked down cannot be unlocked: it has a guest of its own."""
    assert guest.image.name == "newest"
    with Guest(images.fetch("newest")) as locked:
        locked.run(["sh", "-c", "mount -t securityfs none /sys/kernel/security"])
        locked.run(["sh", "-c", "echo confidentiality > /sys/kernel/security/lockdown"]).expect()
        result = locked.run(["surftrace", *_PROBES])
    assert result.status == 1
    assert result.stderr.splitlines() == [
        f"surftrace: error: no access to {_TRACEFS}/kprobe_events",
        "hint: a lockdown of the kernel or a container forbids it",
    ]
