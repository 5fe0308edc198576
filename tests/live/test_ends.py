"""However a trace ends, and whatever others do meanwhile, the kernel is as it was found, and so is what others have."""

import random
import re
import signal
from collections.abc import Iterator

import pytest

from tests.kernel.guest import Guest
from tests.kernel.process import Result
from tests.live.helpers import LAST_ECHO, Shell, Starter, shell, starter, without_doubted_misses

# The oldest and the newest.
pytestmark = pytest.mark.kernels("5.10", "newest")

_ROOT = "/sys/kernel/tracing"
# All but the program's see a fork.
_FORKS = 'p wake_up_new_task p->pid comm=p->comm f:comm=="python3"'
_PROBES = (_FORKS, "r kernel_clone pid=$retval", "e sched/sched_process_fork", "P libc:sleep seconds=%0")
# Each probe takes its time to go: not every end needs all kinds.
_TWO = (_FORKS, "e sched/sched_process_fork")
_FILTERED = 'p wake_up_new_task comm=p->comm pid=p->pid f:comm=="sh"&&(pid>7||pid==3)'

_MAKE_THEIRS = """
mkdir instances/theirs
echo p:theirs/forks wake_up_new_task >> kprobe_events
echo p:theirs/program /bin/true:0x2000 >> uprobe_events
echo 96 > instances/theirs/buffer_size_kb
echo 1 > instances/theirs/options/sym-addr
echo 'common_pid > 1' > instances/theirs/events/sched/sched_process_fork/filter
echo 1 > instances/theirs/events/sched/sched_process_fork/enable
echo 1 > instances/theirs/events/theirs/forks/enable
"""
_REMOVE_THEIRS = """
echo 0 > instances/theirs/events/enable
rmdir instances/theirs
for probe in $(grep -o theirs/[a-z]* dynamic_events); do echo -:$probe >> dynamic_events; done
"""


@pytest.fixture(scope="module")
def sh(guest: Guest) -> Iterator[Shell]:
    """Somebody else, who has probes and an instance."""
    with shell(guest) as others:
        before = others.tracefs_state()
        others.run(_MAKE_THEIRS)
        yield others
        others.run(_REMOVE_THEIRS)
        assert others.tracefs_state() == before


@pytest.fixture(scope="module")
def traces(guest: Guest, sh: Shell) -> Iterator[Starter]:
    """What starts traces."""
    with starter(guest) as starting:
        yield starting


@pytest.fixture(scope="module")
def _states(sh: Shell, traces: Starter) -> list[str]:
    return [sh.tracefs_state()]


@pytest.fixture(autouse=True)
def _nothing_left(sh: Shell, _states: list[str]) -> Iterator[None]:
    """After each test the kernel is as it was."""
    yield
    _states.append(sh.tracefs_state())
    assert _states[-1] == _states[-2]


def _seen(result: Result) -> tuple[int, str]:
    return result.status, without_doubted_misses(result.stderr)


def _clean(traces: Starter) -> None:
    """What was left is removed, and something was."""
    result = traces.run("clean")
    assert (result.status, result.stdout, result.stderr) == (0, "removed surftrace\n", "")


@pytest.mark.parametrize("words", [("-t", "0.05", *_PROBES), ("-c", "3", *_TWO)], ids=["-t", "-c"])
def test_end_that_was_asked_for(traces: Starter, words: tuple[str, ...]) -> None:
    trace = traces.running(*words)
    traces.fork(3)
    assert _seen(trace.wait()) == (0, "")


@pytest.mark.parametrize(
    ("number", "status", "probes"),
    [(signal.SIGINT, 130, _PROBES), (signal.SIGTERM, 143, _TWO), (signal.SIGHUP, 129, _TWO)],
    ids=["INT", "TERM", "HUP"],
)
def test_signal(traces: Starter, number: signal.Signals, status: int, probes: tuple[str, ...]) -> None:
    assert _seen(traces.running(*probes).end(number)) == (status, "")


def test_stopped_for_a_while(traces: Starter) -> None:
    trace = traces.running(*_TWO)
    trace.kill((0, signal.SIGSTOP), (0.1, signal.SIGINT), (0.1, signal.SIGCONT))
    assert _seen(trace.wait()) == (130, "")


def test_terminal_that_is_closed(traces: Starter) -> None:
    trace = traces.running(*_TWO, output="terminal")
    trace.hang_up()
    traces.fork(3)
    assert trace.wait().status == 129


def test_reader_that_goes_away(traces: Starter) -> None:
    trace = traces.running(*_TWO, output="pipe")
    trace.hang_up()
    traces.fork(3)
    assert _seen(trace.wait()) == (0, "")


@pytest.fixture
def small_disk(sh: Shell) -> Iterator[str]:
    """A folder with room for a page, which the test may use up."""
    folder = "/run/small"
    sh.run(f"mkdir {folder}; mount -t tmpfs -o size=4k small {folder}")
    yield folder
    sh.run(f"umount {folder}; rmdir {folder}")


@pytest.mark.parametrize("is_full", [True, False], ids=["full", "filled"])
def test_output_on_a_full_disk(sh: Shell, traces: Starter, small_disk: str, is_full: bool) -> None:
    if is_full:
        sh.run(f"head -c 4096 /dev/zero > {small_disk}/file")
    trace = traces.start(*_TWO, output=f"{small_disk}/output")
    if not is_full:
        trace.wait_until_on()
        traces.fork(20)
    assert _seen(trace.wait()) == (1, "surftrace: error: cannot write the output: No space left on device\n")


def test_script_on_a_full_disk(sh: Shell, traces: Starter, small_disk: str) -> None:
    script = f"{small_disk}/script"
    sh.run(f"head -c 4096 /dev/zero > {small_disk}/file")
    error = f"surftrace: error: cannot write {script}: No space left on device\n"
    assert _seen(traces.run("-o", script, *_TWO)) == (2, error)
    assert sh.run(f"ls -A {small_disk}") == "file\n"


@pytest.mark.parametrize("position", range(4))
def test_probe_that_the_kernel_refuses(traces: Starter, position: int) -> None:
    probes = [*_TWO, "P libc:sleep"]
    probes.insert(position, "p wake_up_new_task+1 x=%ax")
    result = traces.run(*probes)
    assert (result.status, result.stdout) == (1, "")
    assert result.stderr.splitlines() == [
        f"probe {position + 1}: error: the kernel refuses this: Probe point is not an instruction boundary",
        "    p wake_up_new_task+1 x=%ax",
        "      ^~~~~~~~~~~~~~~~~~",
        f"hint: it was given p:surftrace/f{position} wake_up_new_task+0x1 x=%ax:u64",
    ]


@pytest.mark.parametrize("position", [0, 3])
def test_filter_that_the_kernel_refuses(traces: Starter, position: int) -> None:
    probes = [*_TWO, "P libc:sleep"]
    probes.insert(position, _FILTERED)
    result = traces.run(*probes, spoiled="pid>7")
    assert (result.status, result.stdout) == (1, "")
    message, text, carets, *_ = result.stderr.splitlines()
    assert message == f"probe {position + 1}: error: the kernel refuses this: Field not found"
    assert text == f"    {_FILTERED}"
    assert carets == " " * text.index("pid>7") + "^~~~~"


def test_killed_and_its_instance_removed_by_hand(sh: Shell, traces: Starter) -> None:
    assert traces.running(*_PROBES).end(signal.SIGKILL).status == -signal.SIGKILL
    sh.run("rmdir instances/surftrace")
    _clean(traces)


def test_no_memory(traces: Starter) -> None:
    trace = traces.running(*_PROBES, is_poor=True)
    trace.kill((0, signal.SIGUSR1), (0.2, signal.SIGINT))
    result = trace.wait()
    assert result.status in {1, 130}
    assert "surftrace: error: out of memory\n" in result.stderr or result.status == 130


def test_no_memory_to_clean_up(traces: Starter) -> None:
    trace = traces.running(*_PROBES, is_poor=True)
    trace.kill((0, signal.SIGINT), (0.05, signal.SIGUSR1))
    assert trace.wait().status in {1, 130}
    traces.run("clean")


def test_killed_by_the_kernel_for_its_memory(sh: Shell, traces: Starter) -> None:
    group = "/run/cgroup/small"
    sh.run(
        "mkdir /run/cgroup; mount -t cgroup2 none /run/cgroup; cd /run/cgroup; echo +memory > cgroup.subtree_control"
    )
    trace = traces.running(*_PROBES)
    sh.run(f"mkdir {group}; cd {group}; echo {trace.pid} > cgroup.procs; echo 0 > memory.max")
    traces.fork(3)
    assert trace.wait().status == -signal.SIGKILL
    assert "oom_kill 1\n" in sh.run(f"cat {group}/memory.events; rmdir {group}; umount /run/cgroup; rmdir /run/cgroup")
    _clean(traces)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["INT", "KILL"])
def test_tracefs_unmounted(sh: Shell, traces: Starter, number: signal.Signals) -> None:
    trace = traces.running(*_TWO)
    sh.run(f"umount -l {_ROOT}")
    try:
        traces.fork(3)
        result = trace.end(number)
    finally:
        sh.run(f"cd /; mount -t tracefs tracefs {_ROOT}")
    assert " comm=" in result.stdout.partition(LAST_ECHO)[2]
    if number == signal.SIGINT:
        assert _seen(result) == (130, "")
    else:
        _clean(traces)


def test_tracefs_remounted(sh: Shell, traces: Starter) -> None:
    trace = traces.running(*_TWO)
    sh.run(f"mount -o remount,gid=100,mode=750 {_ROOT}")
    traces.fork(3)
    assert _seen(trace.end()) == (130, "")
    sh.run(f"mount -o remount,gid=0,mode=700 {_ROOT}")


def test_tracefs_remounted_read_only(sh: Shell, traces: Starter) -> None:
    trace = traces.running(*_TWO)
    sh.run(f"mount -o remount,ro {_ROOT}")
    try:
        result, cleaned = trace.end(), traces.run("clean")
    finally:
        sh.run(f"mount -o remount,rw {_ROOT}")
    hint = "hint: tracefs is mounted read-only: as root, mount -o remount,rw\n"
    cannot = f"surftrace: error: cannot write {_ROOT}/dynamic_events: Read-only file system\n"
    assert _seen(result) == (1, f"{cannot}{hint}")
    assert _seen(cleaned) == (1, f"surftrace: error: no access to {_ROOT}/kprobe_events\n{hint}")
    _clean(traces)


# What somebody else does in the folder of our instance, and the events that are told to be disabled.
_MEDDLING = {
    "deleted": (
        "echo 0 > events/surftrace/f1/enable; echo 0 > events/surftrace/f0/enable; "
        "echo -:surftrace/f0 >> ../../kprobe_events",
        "f0, f1",
    ),
    "held": ("for each in kprobe_events dynamic_events; do ! echo > ../../$each; done; ! rmdir $PWD", ""),
    "emptied": (
        f"echo 0 > events/enable; cd ../..; {_REMOVE_THEIRS} "
        f"echo > kprobe_events; echo > uprobe_events; {_MAKE_THEIRS}",
        "f0, f1, sched/sched_process_fork",
    ),
    "changed": (
        "for each in raw hex bin verbose latency-format; do echo 1 > options/$each; done; echo > trace; "
        "echo 16 > buffer_size_kb; echo mono > trace_clock; echo 1 > events/sched/sched_process_exec/enable; "
        "echo 'pid > 3' > events/surftrace/f0/filter; echo 0 > tracing_on",
        "(tracing_on)",
    ),
    "triggers": ("echo traceoff:1 > events/surftrace/f0/trigger", "(tracing_on)"),
    "read": ("timeout 0.1 cat trace_pipe > /dev/null || true", ""),
}


@pytest.mark.parametrize(("script", "disabled"), _MEDDLING.values(), ids=_MEDDLING)
def test_others_meddle(sh: Shell, traces: Starter, script: str, disabled: str) -> None:
    trace = traces.running("--strict", *_PROBES[:3])
    sh.run(f"cd instances/surftrace; {script}")
    traces.fork(3)
    status, text = _seen(trace.end())
    told = re.findall(r"surftrace: warning: somebody else has disabled (.*): the trace sees nothing more of it\n", text)
    told += re.findall(
        r"surftrace: warning: somebody else has switched the trace off (.*): it sees nothing more\n", text
    )
    assert (status, ", ".join(sorted(told))) == (3 if disabled else 130, disabled)
    assert len(text.splitlines()) == len(told)


def _left(what: str, command: str = "surftrace clean") -> str:
    return f"surftrace: error: somebody else uses {what}: it is left in the kernel\nhint: once nobody does: {command}\n"


def test_others_use_a_probe(sh: Shell, traces: Starter) -> None:
    """It stays for as long as they do, and is in nobody's way."""
    trace = traces.running(*_TWO)
    sh.run("echo 1 > instances/theirs/events/surftrace/f0/enable")
    left = _left("the probe surftrace/f0")
    assert _seen(trace.end()) == (1, left)
    later = traces.run("-t", "0.05", *_TWO)
    assert _seen(later) == (0, "")
    assert "instances/surftrace_2/" in later.stdout
    assert _seen(traces.run("clean")) == (1, left)
    sh.run("echo 0 > instances/theirs/events/surftrace/f0/enable")
    _clean(traces)


def test_others_use_a_probe_of_a_named_instance(sh: Shell, traces: Starter) -> None:
    trace = traces.running("--instance", "mine", *_TWO)
    sh.run("echo 1 > instances/theirs/events/mine/f0/enable")
    remove = f"echo -:mine/f0 >> {_ROOT}/dynamic_events"
    assert _seen(trace.end()) == (1, _left("the probe mine/f0", remove))
    sh.run(f"echo 0 > instances/theirs/events/mine/f0/enable; {remove}")


def test_others_use_the_instance(sh: Shell, traces: Starter) -> None:
    trace = traces.running(*_TWO)
    reader = sh.run("sleep 60 < instances/surftrace/trace > /dev/null & echo $!").strip()
    left = _left("a file of the instance surftrace")
    assert _seen(trace.end()) == (1, left)
    assert _seen(traces.run("-t", "0.05", *_TWO)) == (0, "")
    assert _seen(traces.run("clean")) == (1, left)
    sh.run(f"kill {reader}; while kill -0 {reader} 2> /dev/null; do :; done")
    _clean(traces)


def test_others_go_on(sh: Shell, traces: Starter) -> None:
    """What others trace is recorded before, during and after a trace of the same function."""
    sh.run("echo > instances/theirs/trace")
    traces.fork(1)
    trace = traces.running(*_TWO)
    traces.fork(1)
    trace.end()
    traces.fork(1)
    # The trace's own process is a fork, too.
    assert sh.run("cat instances/theirs/trace").count(": forks: (wake_up_new_task+") >= 4


_STORM = (signal.SIGINT, signal.SIGTERM)


@pytest.mark.parametrize("is_on", [False, True], ids=["as it starts", "as it ends"])
def test_many_signals(traces: Starter, is_on: bool) -> None:
    chance = random.Random(f"many signals {is_on}")
    for _ in range(5):
        signals = [(chance.uniform(0, 0.25), chance.choice(_STORM))]
        signals += [(chance.uniform(0, 0.01), chance.choice(_STORM)) for _ in range(chance.randrange(2, 20))]
        trace = traces.running(*_PROBES[:3]) if is_on else traces.start(*_PROBES[:3])
        trace.kill(*([(0, signal.SIGINT)] if is_on else []), *signals)
        status, text = _seen(trace.wait())
        # Before a trace begins, and when it is over, a signal ends it as it ends any process.
        assert status in {128 + signal.SIGINT, 128 + signal.SIGTERM, -signal.SIGINT, -signal.SIGTERM}
        assert text == ""
        assert traces.instances() == ["theirs"]
