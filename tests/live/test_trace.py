"""The headline case and its nearest kin, on every kernel, against real processes and real traffic."""

import re
import signal
from collections.abc import Iterator

import pytest

from tests.kernel.guest import Guest
from tests.live.helpers import HEADLINE, LAST_ECHO, event_lines, first_function, running, tracefs_state, traffic, values


@pytest.fixture(autouse=True)
def _nothing_left(guest: Guest) -> Iterator[None]:
    """After each test the kernel is as it was."""
    before = tracefs_state(guest)
    yield
    assert tracefs_state(guest) == before


def test_headline(guest: Guest) -> None:
    with running(guest, HEADLINE, plain=True) as surftrace, traffic(guest) as sender:
        echo_lines = surftrace.stdout.splitlines()
        for number in range(3):
            sender.udp("127.0.0.1", 9989, b"another port\0")
            sender.udp("127.0.0.2", 9988, b"another address\0")
            sender.udp("127.0.0.1", 9988, b"Hello World\0")
            # Seen while the trace goes on: one line an event, as it happens.
            surftrace.wait_for("\n")
            assert len(event_lines(surftrace.stdout)) == number + 1
        surftrace.signal(signal.SIGINT)
        result = surftrace.wait()
    assert result.status == 130
    assert result.stderr == ""
    assert [line.split(" ")[0] for line in echo_lines] == ["mkdir", *["echo"] * 5, "#"]
    expected = 'proto=17 ip_dst=127.0.0.1 b16_dest=9988 comm="python3" body="Hello World"'
    assert values(result.stdout) == [expected] * 3
    for line in event_lines(result.stdout):
        assert line.name == "f0"
        assert line.pid == sender.process.pid
        assert line.place.startswith("ip_output+")
    assert len(result.stdout.splitlines()) == len(echo_lines) + 3


def test_stack(guest: Guest) -> None:
    with running(guest, "-s", "-c", "1", "p ip_output len=skb->len") as surftrace, traffic(guest) as sender:
        sender.udp("127.0.0.1", 9988, b"x" * 100)
        result = surftrace.wait()
    assert result.status == 0
    event, *frames = result.stdout.partition(LAST_ECHO)[2].splitlines()
    assert event.endswith(" len=128")
    assert re.fullmatch(r" => ip_output\+0x[15]/0x[0-9a-f]+", frames[0])
    assert [frame for frame in frames if frame.startswith(" => udp_sendmsg+0x")]
    assert all(frame.startswith(" => ") for frame in frames)


def test_each_event_has_its_own_stack(guest: Guest) -> None:
    with running(guest, "-s", "-c", "30", "p schedule", "p vfs_read", "p vfs_write") as surftrace:
        guest.run(["sh", "-c", "for n in 1 2 3 4; do cat /proc/self/stat & done; wait"]).expect()
        result = surftrace.wait()
    place = ""
    for line in result.stdout.partition(LAST_ECHO)[2].splitlines():
        if line.startswith(" => "):
            assert place == "" or line.startswith(f" => {place}+")
            place = ""
        else:
            assert place == "", "an event without its stack"
            place = event_lines(line)[0].place.partition("+")[0]


def test_return_value(guest: Guest) -> None:
    function = first_function(guest, ("do_filp_open", "do_file_open"))
    probe = f"r {function} filp=$retval name=$retval->f_path.dentry->d_name.!(char *)name pos=$retval->f_pos"
    with running(guest, probe + ' f:name=="passwd"') as surftrace:
        guest.run(["cat", "/etc/passwd", "/etc/hosts"]).expect()
        surftrace.wait_for('name="passwd"')
        surftrace.signal(signal.SIGINT)
        result = surftrace.wait()
    lines = event_lines(result.stdout)
    assert lines
    for line in lines:
        assert line.values.startswith("filp=0xffff")
        assert line.values.endswith('name="passwd" pos=0')
        assert line.place.endswith(f"<- {function}")


def test_event(guest: Guest) -> None:
    with running(guest, 'e sched/sched_process_exec f:filename~"*/true"') as surftrace:
        guest.run(["/bin/false"])
        guest.run(["/bin/true"]).expect()
        surftrace.wait_for("sched_process_exec: filename=/bin/true")
        surftrace.signal(signal.SIGINT)
        result = surftrace.wait()
    assert result.status == 130
    assert "/bin/false" not in result.stdout.partition(LAST_ECHO)[2]


def test_published_task_probe(guest: Guest) -> None:
    probe = (
        "p wake_up_new_task comm=%0->comm users=S%0->mm->mm_users node=%0->se.run_node.rb_left point=@task_group_cache "
        "name=!(struct kmem_cache*)@task_group_cache->name size=!(struct kmem_cache*)@task_group_cache->size "
        'f:comm=="sh"'
    )
    with running(guest, "-c", "1", probe) as surftrace:
        guest.run(["sh", "-c", "true; /bin/true; true"]).expect()
        result = surftrace.wait()
    slab_size = guest.run(["sh", "-c", "cat /sys/kernel/slab/task_group/slab_size"]).stdout.strip()
    (line,) = values(result.stdout)
    assert line.startswith('comm="sh" users=')
    assert line.endswith(f'name="task_group" size={slab_size}')
