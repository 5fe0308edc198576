"""The harness itself: what a test may rely on in a guest, and how a guest that fails shows it."""

import dataclasses
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kernel import images
from tests.kernel.guest import Guest
from tests.kernel.process import GuestError, ProcessError
from tests.kernel.qemu import CHECKOUT
from tests.kernel.wire import Kind

on_one_kernel = pytest.mark.kernels("6.1")


@pytest.fixture
def own_guest() -> Iterator[Guest]:
    """Boot a guest that the test may break."""
    with Guest(images.fetch("6.1")) as booted:
        yield booted


def test_runs_the_kernel_of_its_image(guest: Guest) -> None:
    assert guest.run(["uname", "-r"]).expect().stdout.strip() == guest.image.release


def test_is_a_usual_machine(guest: Guest) -> None:
    checks = (
        'test "$(id -u)" = 0',
        'test "$(nproc)" = 2',
        "test -f /sys/kernel/tracing/kprobe_events",
        "test -d /sys/kernel/debug/tracing",
        "test -f /sys/kernel/btf/vmlinux",
        "ip link show lo | grep -q LOWER_UP",
        "touch /tmp/file /dev/shm/file /run/file",
        "hostname | grep -q ^guest-",
    )
    for check in checks:
        guest.run(["sh", "-c", check]).expect()


def test_loads_modules(guest: Guest) -> None:
    guest.run(["modprobe", "-a", "dummy", "veth", "sch_htb", "xt_mark"]).expect()
    assert "sch_htb" in guest.read("/proc/modules")


def test_runs_the_checkout_in_its_virtual_environment(guest: Guest) -> None:
    result = guest.run(["python3", "-c", "import drgn, sys; print(sys.prefix)"]).expect()
    assert result.stdout.strip() == sys.prefix


@on_one_kernel
def test_output_and_status(guest: Guest) -> None:
    result = guest.run(
        ["sh", "-c", "cat; echo err >&2; pwd; echo $COLOR; exit 3"], stdin="in ", env={"COLOR": "red"}, cwd="/tmp"
    )
    assert (result.stdout, result.stderr, result.status) == ("in /tmp\nred\n", "err\n", 3)
    with pytest.raises(ProcessError, match=r"ended with status 3\n--- stdout\nin /tmp\nred\n\n--- stderr\nerr"):
        result.expect()


@on_one_kernel
def test_large_input_comes_back_unchanged(guest: Guest) -> None:
    content = bytes(range(256)) * 8192
    assert guest.run(["cat"], stdin=content).stdout_bytes == content


@on_one_kernel
def test_input_that_nobody_reads(guest: Guest) -> None:
    assert guest.run(["true"], stdin=bytes(1 << 20)).status == 0


@on_one_kernel
@pytest.mark.parametrize("path", ["no-such-program", "/etc/passwd"])
def test_program_that_cannot_be_started(guest: Guest, path: str) -> None:
    result = guest.run([path], stdin="x")
    assert result.status == 127
    assert path in result.stderr


@on_one_kernel
def test_output_comes_while_the_process_runs(guest: Guest) -> None:
    process = guest.start(["sh", "-c", "echo first; echo second; read line; echo got $line >&2; sleep 1000"])
    assert process.wait_for("first") == "first"
    assert process.wait_for("second") == "\nsecond"
    process.write("word\n")
    process.wait_for("got word\n", stream=Kind.STDERR)
    with pytest.raises(ProcessError, match=r"did not write 'third' to stdout within 0\.1 s"):
        process.wait_for("third", timeout_s=0.1)
    process.kill()
    assert process.wait().status == -signal.SIGKILL


@on_one_kernel
def test_waiting_for_text_ends_with_the_process(guest: Guest) -> None:
    process = guest.start(["echo", "one"])
    with pytest.raises(ProcessError, match="did not write 'two'"):
        process.wait_for("two", timeout_s=1000)


@on_one_kernel
def test_signal_reaches_the_process_alone(guest: Guest) -> None:
    process = guest.start(
        ["sh", "-c", "trap 'echo caught; exit 9' INT; sleep 0.5 & echo ready; wait $!; wait $!; echo end"]
    )
    process.wait_for("ready")
    process.signal(signal.SIGINT)
    result = process.wait()
    assert (result.stdout, result.status) == ("ready\ncaught\n", 9)


@on_one_kernel
def test_ctrl_c_on_a_terminal(guest: Guest) -> None:
    process = guest.start(["sh", "-c", "stty size; tty; exec sleep 1000"], terminal_size=(31, 97))
    process.wait_for("31 97\r\n/dev/pts/")
    process.write("\x03")
    result = process.wait()
    assert result.status == -signal.SIGINT
    assert result.stdout.endswith("^C")


@on_one_kernel
def test_several_processes_at_once(guest: Guest) -> None:
    processes = [guest.start(["cat"]) for _ in range(5)]
    for number, process in enumerate(processes):
        process.write(f"line {number}\n")
    for number, process in enumerate(processes):
        process.wait_for(f"line {number}\n")
        process.close_stdin()
    assert [process.wait().status for process in processes] == [0] * 5


@on_one_kernel
def test_timeout_ends_the_whole_process_group(guest: Guest) -> None:
    with pytest.raises(ProcessError, match=r"did not end within 1 s\n--- stdout\nstarted"):
        guest.run(["sh", "-c", "sleep 4321 & echo started; sleep 4321"], timeout_s=1)
    assert guest.run(["pgrep", "-f", "sleep 4321"]).stdout == ""


@on_one_kernel
def test_background_process_does_not_delay_the_end(guest: Guest) -> None:
    assert guest.run(["sh", "-c", "sleep 4 & echo done"], timeout_s=3).stdout == "done\n"


@on_one_kernel
def test_files(guest: Guest) -> None:
    guest.write("/tmp/harness", "one\n")
    guest.write("/tmp/harness", "two\n", append=True)
    assert guest.read("/tmp/harness") == "one\ntwo\n"
    with pytest.raises(FileNotFoundError, match="/tmp/no-such-file"):
        guest.read("/tmp/no-such-file")
    with pytest.raises(OSError, match=r"\[Errno 22\].*kprobe_events"):
        guest.write("/sys/kernel/tracing/kprobe_events", "p no_such_function", append=True)


@on_one_kernel
@pytest.mark.parametrize("arguments", [["--version"], ["--no-such-option"]])
def test_preloaded_surftrace_is_the_same(guest: Guest, arguments: list[str]) -> None:
    started, forked = (guest.run(["surftrace", *arguments], preloaded=preloaded) for preloaded in (False, True))
    assert started == forked


@on_one_kernel
def test_what_the_guest_writes_stays_there(guest: Guest) -> None:
    path = CHECKOUT / "LICENSE"
    on_host = path.read_text()
    guest.write(str(path), "changed")
    guest.run(["touch", str(CHECKOUT / "new-in-guest")]).expect()
    assert guest.read(str(path)) == "changed"
    assert path.read_text() == on_host
    assert not (CHECKOUT / "new-in-guest").exists()
    guest.write(str(path), on_host)


def test_panic_shows_the_console(own_guest: Guest) -> None:
    with pytest.raises(GuestError, match=r"guest 6.1: it died(.|\n)*sysrq triggered crash"):
        own_guest.run(["sh", "-c", "echo c > /proc/sysrq-trigger"])
    with pytest.raises(GuestError, match="sysrq triggered crash"):
        own_guest.run(["true"])


def test_hang_ends_with_the_limit() -> None:
    with pytest.raises(GuestError, match="lived longer than 8 s"), Guest(images.fetch("6.1"), life_limit_s=8) as guest:
        guest.run(["sleep", "1000"], timeout_s=100)


def test_boot_that_fails_shows_why(tmp_path: Path) -> None:
    (tmp_path / "vmlinux").write_text("no kernel")
    image = dataclasses.replace(images.fetch("6.1"), vmlinux=tmp_path / "vmlinux")
    with pytest.raises(GuestError, match=r"guest 6.1: it died(.|\n)*qemu: linux kernel too old"):
        Guest(image)


def test_two_guests_at_once() -> None:
    with Guest(images.fetch("5.10")) as older, Guest(images.fetch("newest")) as newer:
        releases = [guest.run(["uname", "-r"]).expect().stdout.strip() for guest in (older, newer)]
    assert releases == [older.image.release, newer.image.release]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_outlives_the_process_that_booted(number: signal.Signals) -> None:
    argv = [sys.executable, "-m", "tests.kernel.shell", "6.1", "--", "sh", "-c", "echo up; sleep 1000"]
    with subprocess.Popen(argv, cwd=CHECKOUT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as owner:
        assert owner.stdout and owner.stdout.readline() == b"up\n"
        children = [int(pid) for pid in Path(f"/proc/{owner.pid}/task/{owner.pid}/children").read_text().split()]
        assert len(children) == 2
        owner.send_signal(number)
    deadline = time.monotonic() + 10
    while any(_is_running(pid) for pid in children) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(_is_running(pid) for pid in children)


def _is_running(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"
