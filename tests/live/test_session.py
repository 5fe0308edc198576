"""How a session begins, ends, fails and shares the kernel with others."""

import re
import signal
from collections.abc import Iterator

import pytest

from tests.kernel.guest import Guest
from tests.kernel.process import Result
from tests.live.helpers import HEADLINE, LAST_ECHO, running, tracefs_state, traffic, values

pytestmark = pytest.mark.kernels("5.10", "6.1")
on_one_kernel = pytest.mark.kernels("6.1")

TASKS = "p wake_up_new_task comm=p->comm"


@pytest.fixture(autouse=True)
def _nothing_left(guest: Guest) -> Iterator[None]:
    """After each test the kernel is as it was."""
    before = tracefs_state(guest)
    yield
    assert tracefs_state(guest) == before


def _surftrace(guest: Guest, *words: str) -> Result:
    return guest.run(["surftrace", *words], preloaded=True)


def _sh(guest: Guest, script: str) -> Result:
    return guest.run(["bash", "-c", script])


@pytest.mark.parametrize(
    ("number", "words", "status"),
    [
        (signal.SIGINT, (), 130),
        (signal.SIGTERM, (), 143),
        (signal.SIGHUP, (), 129),
        (signal.SIGINT, ("-t", "60"), 0),
        (signal.SIGINT, ("-c", "1000"), 0),
    ],
)
@on_one_kernel
def test_signals(guest: Guest, number: int, words: tuple[str, ...], status: int) -> None:
    with running(guest, *words, TASKS) as surftrace:
        surftrace.signal(number)
        result = surftrace.wait()
    assert result.status == status
    assert result.stderr == ""


@on_one_kernel
def test_ctrl_c_on_a_terminal(guest: Guest) -> None:
    with running(guest, TASKS, terminal=True, plain=True) as surftrace:
        guest.run(["sh", "-c", "/bin/true; /bin/true"]).expect()
        surftrace.wait_for('comm\x1b[0m=\x1b[32m"sh"')
        surftrace.write("\x03")
        result = surftrace.wait()
    assert result.status == 130
    assert "Traceback" not in result.stdout
    # The thread that watches the rate begins before the trace does.
    assert '="surftrace"' not in result.stdout


@on_one_kernel
def test_no_color(guest: Guest) -> None:
    words = ["surftrace", "-t", "1", TASKS]
    process = guest.start(words, terminal_size=(24, 80), env={"NO_COLOR": "1"}, preloaded=True)
    assert "\x1b" not in process.wait().expect().stdout
    assert "\x1b[" in _surftrace(guest, "--color", "always", "-c", "1", "p schedule").expect().stdout


@on_one_kernel
def test_time(guest: Guest) -> None:
    result = _surftrace(guest, "-t", "1", TASKS)
    assert result.expect().stderr == ""


@on_one_kernel
def test_count_of_several_probes(guest: Guest) -> None:
    result = _surftrace(guest, "-c", "20", "p schedule", "e sched/sched_switch", "r schedule")
    events = result.expect().stdout.partition(LAST_ECHO)[2].splitlines()
    assert len(events) == 20
    assert {"f0:", "sched_switch:", "f2:"} <= set(" ".join(events).split())


@on_one_kernel
def test_reader_that_goes_away(guest: Guest) -> None:
    result = _sh(guest, "set -o pipefail; surftrace 'p schedule' | head -n 8")
    assert len(result.expect().stdout.splitlines()) == 8
    assert result.stderr == ""


def test_kill_leaves_nothing_for_long(guest: Guest) -> None:
    _sh(guest, "cd /sys/kernel/tracing; mkdir instances/other; echo p:other/mine schedule >> kprobe_events").expect()
    with_other = tracefs_state(guest)
    with running(guest, TASKS, "p schedule") as surftrace:
        surftrace.signal(signal.SIGKILL)
        surftrace.wait()
    assert tracefs_state(guest) != with_other
    _surftrace(guest, "-t", "1", TASKS).expect()
    assert tracefs_state(guest) == with_other
    _sh(guest, "cd /sys/kernel/tracing; echo -:other/mine >> kprobe_events; rmdir instances/other").expect()


@on_one_kernel
def test_kill_leaves_no_kind_of_probe(guest: Guest) -> None:
    before = tracefs_state(guest)
    probes = (
        "r schedule",
        "e sched/sched_process_fork comm=child_comm",
        "P libc:sleep t=%0",
        "p ip_rcv* f:common_pid==0",
    )
    with running(guest, *probes) as surftrace:
        surftrace.signal(signal.SIGKILL)
        surftrace.wait()
    assert tracefs_state(guest) != before
    _surftrace(guest, "-t", "1", TASKS).expect()
    assert tracefs_state(guest) == before


def test_two_at_once(guest: Guest) -> None:
    with running(guest, TASKS) as first, running(guest, TASKS) as second:
        assert "instances/surftrace/" in first.stdout
        assert "instances/surftrace_2/" in second.stdout
        guest.run(["sh", "-c", "/bin/true; /bin/true"]).expect()
        for process in (first, second):
            process.wait_for('comm="sh"')
        first.signal(signal.SIGINT)
        first.wait()
        guest.run(["bash", "-c", "/bin/true; /bin/true"]).expect()
        second.wait_for('comm="bash"')
        second.signal(signal.SIGINT)
        assert second.wait().status == 130


@on_one_kernel
def test_instance_by_name(guest: Guest) -> None:
    with running(guest, "--instance", "mine", TASKS) as first:
        assert "instances/mine/" in first.stdout
        refused = _surftrace(guest, "--instance", "mine", TASKS)
        assert refused.status == 1
        assert "the instance mine is in use" in refused.stderr
        first.signal(signal.SIGKILL)
        first.wait()
    refused = _surftrace(guest, "--instance", "mine", "-t", "1", TASKS)
    assert (refused.status, refused.stderr) == (
        1,
        "surftrace: error: the instance mine exists\n"
        "hint: choose another name, or, if a killed trace left it: surftrace clean mine\n",
    )
    assert _surftrace(guest, "clean", "mine").expect().stdout == "removed mine\n"
    _surftrace(guest, "--instance", "mine", "-t", "1", TASKS).expect()


@on_one_kernel
def test_instance_of_somebody_else(guest: Guest) -> None:
    """With a group of its name, as surftrace has one."""
    make = "mkdir instances/theirs; echo p:theirs/forks wake_up_new_task >> kprobe_events"
    enable = "echo 1 > instances/theirs/events/theirs/forks/enable"
    _sh(guest, f"set -e; cd /sys/kernel/tracing; {make}; {enable}").expect()
    before = tracefs_state(guest)
    refused = _surftrace(guest, "--instance", "theirs", "-t", "1", TASKS)
    assert refused.status == 1
    assert "surftrace: error: the instance theirs exists\n" in refused.stderr
    assert tracefs_state(guest) == before
    _sh(guest, "cd /sys/kernel/tracing; rmdir instances/theirs; echo -:theirs/forks >> kprobe_events").expect()


def test_refusal_is_shown_under_the_users_text(guest: Guest) -> None:
    result = _surftrace(guest, TASKS, "p wake_up_new_task+1 x=%ax")
    assert result.status == 1
    assert result.stderr.splitlines() == [
        "probe 2: error: the kernel refuses this: Probe point is not an instruction boundary",
        "    p wake_up_new_task+1 x=%ax",
        "      ^~~~~~~~~~~~~~~~~~",
        "hint: it was given p:surftrace/f1 wake_up_new_task+0x1 x=%ax:u64",
    ]


def test_refused_filter_is_shown_under_the_users_text(guest: Guest) -> None:
    result = guest.run(["python3", "-m", "tests.live.refused_filter"]).expect()
    message, line, carets, *_ = result.stdout.splitlines()
    assert message == "probe 1: error: the kernel refuses this: Field not found"
    assert carets.index("^") == line.index("pid>7")
    assert carets.count("~") == len("pid>7") - 1


# Has the kernel's lists say of each function what a probe there meets, then tries one. The kernel is written to in the
# trial alone.
_REFUSALS = """
import random, sys
from collections import Counter
from surftrace.compiler.places import refusal
from surftrace.tracing.running import RunningKernel
from surftrace.tracing.tracefs import TracefsError, find_tracefs
tracefs = find_tracefs()
kernel = RunningKernel(tracefs)
symbols = [line.split() for line in open("/proc/kallsyms")]
count = Counter(name for _, _, name, *_ in symbols)
names = sorted(name for _, kind, name, *module in symbols if kind in "tT" and count[name] == 1 and not module)
asked = ["kprobe_dispatcher", "tracing_read_pipe"]
for trial in (names, [name for name in names if name not in kernel.traceable()], sorted(kernel.blacklist() & {*names})):
    asked += random.Random(sys.argv[1]).sample(trial, 12)
for name in asked:
    try:
        tracefs.write("kprobe_events", f"p:refusals/trial {name}", is_append=True)
        tracefs.write("kprobe_events", "-:refusals/trial", is_append=True)
        is_taken = True
    except TracefsError as error:
        is_taken = False
    print(name, is_taken, refusal(name, kernel))
"""


def test_functions_that_take_no_probe(guest: Guest) -> None:
    """What is refused before the kernel is touched is what the kernel refuses."""
    lines = guest.run(["python3", "-c", _REFUSALS, "refusals"], timeout_s=180).expect().stdout.splitlines()
    print(*lines, sep="\n")
    verdicts = [line.split(" ", 2) for line in lines]
    assert len(verdicts) == 38
    assert [verdict for verdict in verdicts if (verdict[1] == "True") == bool(verdict[2])] == []
    assert {is_taken for _, is_taken, _ in verdicts} == {"True", "False"}


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        ("kprobe_dispatcher", "it is on the kernel's blacklist, as kprobes themselves need it"),
        ("tracing_read_pipe", "the kernel does not let itself trace it (notrace, or tracing's own code)"),
    ],
)
def test_function_that_no_probe_may_touch(guest: Guest, function: str, reason: str) -> None:
    result = _surftrace(guest, "p wake_up_new_task", f"p {function}", "-t", "1")
    assert result.status == 2
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        f"probe 2: error: {function} takes no probe: {reason}",
        f"    p {function}",
        f"      ^{'~' * (len(function) - 1)}",
    ]


def test_options_of_the_main_buffer_do_not_matter(guest: Guest) -> None:
    options = {"record-tgid": "1", "latency-format": "1", "hex": "1", "irq-info": "0", "stacktrace": "1"}
    _sh(guest, "cd /sys/kernel/tracing/options;" + ";".join(f"echo {v} > {n}" for n, v in options.items())).expect()
    with running(guest, TASKS) as surftrace:
        guest.run(["sh", "-c", "/bin/true; /bin/true"]).expect()
        surftrace.wait_for('comm="sh"')
    back = {name: "1" if value == "0" else "0" for name, value in options.items()}
    _sh(guest, "cd /sys/kernel/tracing/options;" + ";".join(f"echo {v} > {n}" for n, v in back.items())).expect()
    assert "=>" not in surftrace.stdout
    assert 'comm="sh"' in values(surftrace.stdout)


@on_one_kernel
def test_names_that_this_kernel_does_not_have(guest: Guest) -> None:
    result = _surftrace(
        guest,
        "p wake_up_new_tusk",
        "e sched/sched_swich",
        "p schedule x=@jiffiez",
        "e sched/sched_switch f:prev_pud==1",
    )
    assert result.status == 2
    for name in ("wake_up_new_task", "sched/sched_switch", "@jiffies", "prev_pid"):
        assert f"hint: did you mean '{name}'" in result.stderr
    assert result.stdout == ""


@on_one_kernel
def test_without_root(guest: Guest) -> None:
    nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
    refused = guest.run([*nobody, "surftrace", TASKS])
    assert refused.status == 1
    assert refused.stderr == "surftrace: error: no access to /sys/kernel/tracing\nhint: run as root\n"
    shown = guest.run([*nobody, "surftrace", "-n", TASKS]).expect()
    assert len(shown.stdout.splitlines()) == 5


@pytest.mark.parametrize(
    ("hide", "message"),
    [
        ("umount -a -t tracefs,debugfs; umount /sys/kernel/debug /sys/kernel/tracing", "error: tracefs is not mounted"),
        ("mount -t tmpfs none /sys/kernel/btf", "error: this kernel has no BTF: there is no /sys/kernel/btf/vmlinux"),
    ],
)
@on_one_kernel
def test_what_is_missing(guest: Guest, hide: str, message: str) -> None:
    result = _sh(guest, f"unshare -m sh -c '({hide}) 2>/dev/null; exec surftrace \"{TASKS}\"'")
    assert result.status == 1
    first, hint = result.stderr.splitlines()
    assert message in first
    assert hint.startswith("hint: ")


def _undo_pasted(guest: Guest) -> None:
    """Take back what the lines of a dry run did."""
    undo = "echo 0 > instances/surftrace_sh/events/enable; echo -:surftrace_sh/f0 >> kprobe_events"
    _sh(guest, f"set -e; cd /sys/kernel/tracing; {undo}; rmdir instances/surftrace_sh").expect()


@on_one_kernel
def test_expressions_never_reach_a_shell(guest: Guest) -> None:
    hostile = (
        """p wake_up_new_task comm=p->comm f:comm=="x';touch /tmp/owned;echo '$(touch /tmp/owned)`touch /tmp/owned`" """
    )
    shown = _surftrace(guest, "-S", hostile).expect().stdout
    _surftrace(guest, "-t", "1", hostile).expect()
    _sh(guest, shown).expect()
    _undo_pasted(guest)
    _surftrace(guest, "-o", "/tmp/hostile.sh", hostile).expect()
    guest.run(["timeout", "-s", "TERM", "2", "/tmp/hostile.sh"])
    assert guest.run(["test", "-e", "/tmp/owned"]).status == 1


def test_echo_lines_pasted_into_a_shell(guest: Guest) -> None:
    lines = _surftrace(guest, "-S", HEADLINE).expect().stdout
    with traffic(guest) as sender:
        _sh(guest, lines).expect()
        sender.udp("127.0.0.1", 9988, b"Hello World\0")
        sender.udp("127.0.0.1", 9989, b"other\0")
        # A session of surftrace's own takes nothing of what a shell made.
        _surftrace(guest, "-t", "1", TASKS).expect()
        trace = guest.read("/sys/kernel/tracing/instances/surftrace_sh/trace")
    _undo_pasted(guest)
    expected = 'proto=17 ip_dst=16777343 b16_dest=1063 comm="python3" body="Hello World"'
    (shown,) = [line.partition(") ")[2] for line in trace.splitlines() if not line.startswith("#")]
    # Only what decodes the trace, surftrace or the script of -o, leaves the hidden fields out.
    assert re.fullmatch(re.escape(expected) + "( __h[01]=0xffff[0-9a-f]{12}){2}", shown)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_script_needs_nothing_but_a_shell(guest: Guest, number: int, status: int) -> None:
    _surftrace(guest, "-o", "/tmp/trace.sh", HEADLINE).expect()
    bare = ["env", "-i", "PATH=/usr/bin:/bin", "/tmp/trace.sh"]
    script = guest.start(bare)
    with traffic(guest) as sender:
        for _ in range(20):
            sender.udp("127.0.0.1", 9989, b"other\0")
            sender.udp("127.0.0.1", 9988, b"Hello World\0")
            if 'body="Hello World"' in script.stdout:
                break
        script.wait_for('body="Hello World"')
    second = guest.run(bare)
    assert second.status == 1
    assert "exists" in second.stderr
    script.signal(number)
    result = script.wait()
    assert result.status == status
    assert "other" not in result.stdout


def test_script_that_the_kernel_refuses_takes_all_back(guest: Guest) -> None:
    _surftrace(guest, "-o", "/run/refused.sh", TASKS, "p wake_up_new_task+1", TASKS).expect()
    result = guest.run(["/run/refused.sh"])
    assert result.status == 1


_STORM = """
for n in $(seq 0 4 48); do
    setsid /tmp/storm.sh > /dev/null 2> /tmp/storm.err &
    script=$!
    until kill -0 -- "-$script" 2> /dev/null; do :; done
    sleep $(printf 0.%02d "$n")
    for number in INT TERM HUP TERM; do
        kill -s "$number" -- "-$script" 2> /dev/null
    done
    wait "$script"
    case $? in 129 | 130 | 143) ;; *) echo "status $? after $n: $(cat /tmp/storm.err)" ;; esac
    cd /sys/kernel/tracing
    [ -z "$(cat kprobe_events; ls instances)" ] || echo "left after $n: $(cat kprobe_events; ls instances)"
done
"""


@on_one_kernel
def test_script_hit_by_many_signals_at_any_moment_takes_all_back(guest: Guest) -> None:
    _surftrace(guest, "-o", "/tmp/storm.sh", HEADLINE).expect()
    assert _sh(guest, _STORM).expect().stdout == ""


@on_one_kernel
def test_script_hides_the_constant_of_a_compared_string(guest: Guest) -> None:
    _surftrace(guest, "-o", "/tmp/hidden.sh", f'{TASKS} f:comm=="sh"').expect()
    script = guest.start(["/tmp/hidden.sh"])
    for _ in range(20):
        _sh(guest, "exec sh -c 'true & wait'")
        if "comm=" in script.stdout:
            break
    script.wait_for('comm="sh"')
    script.signal(signal.SIGTERM)
    result = script.wait()
    assert {line.partition(") ")[2] for line in result.stdout.splitlines()} == {'comm="sh"'}


@on_one_kernel
def test_reader_that_stops_reading_keeps_no_signal_from_ending(guest: Guest) -> None:
    # A pipe that stays open and is never read.
    script = "mkfifo /run/unread; exec 3<> /run/unread; exec surftrace 'p schedule' >&3"
    surftrace = guest.start(["bash", "-c", script])
    _sh(
        guest, "until grep -q 1 /sys/kernel/tracing/instances/surftrace/tracing_on; do sleep 0.2; done; sleep 3"
    ).expect()
    surftrace.signal(signal.SIGTERM)
    assert surftrace.wait(20).status == 143


@on_one_kernel
def test_glob_that_begins_like_something_else(guest: Guest) -> None:
    for name, pattern, other in (("7up", "7*", "up"), ("!bang", "!b*", "bang")):
        _sh(guest, f"cp /bin/true '/run/{name}'; cp /bin/true /run/{other}").expect()
        with running(guest, f'e sched/sched_process_exec f:COMM~"{pattern}"') as surftrace:
            guest.run([f"/run/{other}"]).expect()
            guest.run([f"/run/{name}"]).expect()
            surftrace.wait_for(f"filename=/run/{name}")
        assert f"/run/{other} " not in surftrace.stdout


@on_one_kernel
def test_saved_probes(guest: Guest) -> None:
    text = f'# who starts what\n\n{TASKS} \\\n    f:comm=="sh"\n  e sched/sched_process_exec\n'
    guest.write("/tmp/tasks.probes", text)
    with running(guest, "-f", "/tmp/tasks.probes", "p schedule f:common_pid==1") as surftrace:
        guest.run(["sh", "-c", "/bin/true; /bin/true"]).expect()
        surftrace.wait_for("sched_process_exec")
    guest.write("/tmp/wrong.probes", f"{TASKS}\n  p wake_up_new_task x=p->com\n")
    wrong = _surftrace(guest, "-f", "/tmp/wrong.probes")
    assert wrong.status == 2
    assert wrong.stderr.startswith("/tmp/wrong.probes:2:27: error: struct task_struct has no member 'com'\n")


@on_one_kernel
def test_function_that_the_compiler_renamed(guest: Guest) -> None:
    functions = _kernel_functions(guest)
    clone = next(name for name in functions if re.fullmatch(r"\w+\.isra\.0", name) and _is_only(name, functions))
    result = _surftrace(guest, "-t", "1", f"p {clone.split('.')[0]}")
    assert result.status == 0
    assert f"p:surftrace/f0 {clone}" in result.stdout
    assert f"tracing {clone}" in result.stderr


@on_one_kernel
def test_name_of_several_functions(guest: Guest) -> None:
    functions = _kernel_functions(guest)
    name = next(name for name in functions if functions.count(name) == 2 and "." not in name)
    result = _surftrace(guest, "-t", "1", f"p {name}")
    assert result.status == 2
    assert f"error: 2 functions have the name {name}" in result.stderr


def _kernel_functions(guest: Guest) -> list[str]:
    """The functions of the kernel itself, as kallsyms has them."""
    return re.findall(r"^[0-9a-f]+ [tT] (\S+)$", guest.read("/proc/kallsyms"), re.MULTILINE)


def _is_only(clone: str, functions: list[str]) -> bool:
    """Is this the only function made of its source's?"""
    name = clone.split(".")[0]
    return [other for other in functions if other.split(".")[0] == name] == [clone]


@on_one_kernel
def test_function_of_a_module(guest: Guest) -> None:
    guest.run(["modprobe", "dummy"]).expect()
    guest.run(["sh", "-c", "ip link add d0 type dummy; ip link set d0 up; ip addr add 10.9.9.1/24 dev d0"]).expect()
    with running(guest, "p dummy_xmit name=dev->name len=skb->len") as surftrace, traffic(guest) as sender:
        sender.udp("10.9.9.2", 9, b"x" * 100)
        surftrace.wait_for('name="d0"')
    assert values(surftrace.stdout)
    guest.run(["ip", "link", "del", "d0"]).expect()
    guest.run(["rmmod", "dummy"]).expect()
