"""Null and wild pointers in every link of a chain: such a value shows as a fault and matches no filter."""

import signal
from collections.abc import Iterator

import pytest

from tests.kernel.guest import Guest
from tests.live.helpers import event_lines, first_function, running, tracefs_state, without_doubted_misses

# Asked about by the process: kthreadd has no memory of its own, so that its `mm` is null, as is that of its parent, the
# idle task. 0 is the process itself. init comes last and says that all before it has been seen.
_KTHREADD, _INIT = 2, 1
_ASK = f"""
import os
for pid in {_KTHREADD}, 0, {_KTHREADD}, {_KTHREADD}, 0, {_KTHREADD}, {_INIT}:
    os.sched_getscheduler(pid)
print(os.getpid(), os.getppid())
"""

# Each is cut at another link where its task has no memory: at the second, the third, the fourth of five or more.
_CHAINS = {
    "users": "p->mm->mm_users",
    "owner": "p->mm->owner->pid",
    "again": "p->mm->owner->mm->owner->mm->mm_users",
    "above": "p->real_parent->mm->mm_users",
    "grand": "p->real_parent->real_parent->mm->owner->pid",
    "array": "p->mm->owner->comm[0:4]",
    "bits": "p->mm->owner->sched_reset_on_fork",
    "text": "p->mm->owner->comm",
    "sum": "&p->mm->owner->pid",
}

# True of every number there is, or of all but one that does not occur.
_TAUTOLOGIES = (
    "users>-2147483648",
    "users==1||users!=1",
    "!(users==12345)",
    "!(users>5&&owner==7)",
    "!(again<0||p->mm->owner->pid<0)",
    "!(users&0x40000000)",
    'text~"*"||text!="x"',
    'p->mm->owner->comm!="x"',
    '!(p->mm->owner->comm~"x*"||owner<0)',
    "&p->mm->owner->pid!=1",
    "p->mm->owner->sched_reset_on_fork<=0",
)


@pytest.fixture(autouse=True)
def _nothing_left(guest: Guest) -> Iterator[None]:
    """After each test the kernel is as it was."""
    before = tracefs_state(guest)
    yield
    assert tracefs_state(guest) == before


def _shown(guest: Guest, *words: str) -> tuple[dict[str, list[str]], int]:
    """What each probe on that function shows of the process, by the event's name; and the process."""
    with running(guest, *words) as surftrace:
        pid = int(guest.run(["python3", "-c", _ASK]).expect().stdout.split()[0])
        surftrace.wait_for(f"pid={_INIT} x=")
        surftrace.signal(signal.SIGINT)
        result = surftrace.wait()
    assert without_doubted_misses(result.stderr) == ""
    assert "__h" not in "".join(line for line in result.stdout.splitlines() if not line.startswith("echo "))
    shown: dict[str, list[str]] = {}
    for line in event_lines(result.stdout):
        if line.pid == pid and f"pid={_INIT} " not in line.values:
            shown.setdefault(line.name, []).append(line.values)
    return shown, pid


def test_null_in_a_link_is_a_fault(guest: Guest) -> None:
    chains = " ".join(f"{name}={chain}" for name, chain in _CHAINS.items())
    shown, pid = _shown(guest, f"p security_task_getscheduler pid=p->pid x=p->prio {chains}")
    cut = f"pid={_KTHREADD} x=120 " + " ".join(f"{name}=<fault>" for name in _CHAINS)
    assert [text for text in shown["f0"] if text == cut] == [cut] * 4
    whole = [text for text in shown["f0"] if text != cut]
    assert len(whole) == 2
    for text in whole:
        start = f"pid={pid} x=120 users=1 owner={pid} again=1 above="
        assert text.startswith(start)
        assert 'array={112,121,116,104} bits=0 text="python3" sum=0xffff' in text
        assert "<fault>" not in text.replace("grand=<fault>", "")


def test_null_in_a_link_matches_no_filter(guest: Guest) -> None:
    used = ("users", "owner", "again", "text")
    arguments = "pid=p->pid x=p->prio " + " ".join(f"{name}={_CHAINS[name]}" for name in used)
    probes = [f"p security_task_getscheduler {arguments} f:{text}||p->pid==1" for text in _TAUTOLOGIES]
    shown, pid = _shown(guest, *probes)
    for number, probe in enumerate(probes):
        assert [text.split()[0] for text in shown[f"f{number}"]] == [f"pid={pid}"] * 2, probe


def test_base_that_is_no_pointer(guest: Guest) -> None:
    """A register with a number in it, a user's pointer, an error pointer: none is an address to read from."""
    task = "!(struct task_struct *)"
    opened = first_function(guest, ["do_filp_open", "do_file_open"])
    shown, pid = _shown(
        guest,
        "p security_task_getscheduler pid=p->pid x=p",
        f'p do_sys_openat2 a={task}%0->pid b={task}%1->pid c={task}%1->mm->mm_users f:COMM=="python3"',
        f'p do_sys_openat2 a={task}%0->pid f:COMM=="python3"&&(!(a==1)||{task}%1->pid>=0||{task}%1->pid<0)',
        f'r {opened} pos=$retval->f_pos flags=$retval->f_flags f:COMM=="python3"',
    )
    assert pid
    assert set(shown["f1"]) == {"a=<fault> b=<fault> c=<fault>"}
    assert "f2" not in shown
    # The search for modules finds some files and, more often, none.
    assert "pos=<fault> flags=<fault>" in shown["f3"]
    assert [text for text in shown["f3"] if text.startswith("pos=0 flags=")]


@pytest.mark.kernels("6.1")
def test_without_guards_stale_values_match(guest: Guest) -> None:
    """What guards are for: without them a filter takes what an earlier event left for the value."""
    probe = "p security_task_getscheduler pid=p->pid x=p->prio owner=p->mm->owner->pid f:owner!=0"
    shown, pid = _shown(guest, "--no-guard", probe)
    assert f"pid={_KTHREADD} x=120 owner={pid}" in shown["f0"]
