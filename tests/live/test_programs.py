"""Probes on programs and libraries: what they show is what the program did."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kernel.guest import Guest
from tests.live.helpers import Line, event_lines, running, tracefs_state, values

pytestmark = [
    pytest.mark.kernels("5.10", "6.1", "newest"),
    pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc"),
]

_SOURCE = r"""
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
struct pair { int a; long b; };
__attribute__((noinline)) int func(int v, struct pair *pair, const char *text)
{
    __asm__ volatile(""); /* or the compiler calls it when it likes */
    return v + (pair ? pair->a : 0) + (text ? *text : 0);
}
__attribute__((noinline)) const char *text_of(int n)
{
    static const char *texts[] = { NULL, "one", "say \"two\"" };
    __asm__ volatile("");
    return texts[n];
}
__attribute__((noinline)) int many(int a, int b, int c, int d, int e, int f, int g, int h) { return a + h; }
int main(int argc, char **argv)
{
    struct pair pair = { -3, 1L << 40 };
    int result = 0, count = argc > 1 ? atoi(argv[1]) : 1;
    for (int i = 0; i < count; i++) {
        result += func(7 + i, &pair, "hello");
        result += func(-8, NULL, NULL);
    }
    for (int n = 1; n < 4; n++)
        result += text_of(n % 3) != NULL;
    result += many(1, 2, 3, 4, 5, 6, 77, 88);
    alarm(1234);
    alarm(0);
    sleep(0);
    result += fopen("/dev/null", "r") != NULL;
    result += fopen("/nothing/there", "r") != NULL;
    return result == 0;
}
"""


@pytest.fixture(autouse=True)
def _nothing_left(guest: Guest) -> Iterator[None]:
    """After each test the kernel is as it was."""
    before = tracefs_state(guest)
    yield
    assert tracefs_state(guest) == before


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the host that guests see."""
    return tmp_path_factory.mktemp("programs")


def _build(folder: Path, name: str, *flags: str) -> Path:
    (folder / "source.c").write_text(_SOURCE)
    subprocess.run(["gcc", "-O1", *flags, "-o", folder / name, folder / "source.c"], check=True)
    return folder / name


@pytest.fixture(scope="session")
def program(folder: Path) -> Path:
    """The program, which is at any address."""
    return _build(folder, "prog", "-fPIE", "-pie")


def _traced(guest: Guest, count: int, probe: str, program: Path, argument: str = "1") -> list[Line]:
    with running(guest, "-c", str(count), probe) as surftrace:
        guest.run([str(program), argument]).expect()
        result = surftrace.wait()
    assert result.stderr == ""
    return event_lines(result.stdout)


@pytest.mark.parametrize("link", [("-fPIE", "-pie"), ("-fno-pie", "-no-pie", "-s", "-rdynamic")], ids=["pie", "fixed"])
def test_arguments(guest: Guest, folder: Path, link: tuple[str, ...]) -> None:
    program = _build(folder, f"prog{link[1]}", *link)
    probe = f"P {program}:func v=%0:s32 a=!(int *)%1[0] b=!(long *)%1[1] text=!(char *)%2 t4=%2:string comm=$comm"
    lines = _traced(guest, 2, probe, program)
    assert [line.values for line in lines] == [
        f'v=7 a=-3 b={1 << 40} text="hello" t4="hello" comm="{program.name}"',
        f'v=-8 a=<fault> b=<fault> text=<fault> t4=<fault> comm="{program.name}"',
    ]
    symbols = subprocess.run(["nm", "-D" if "-s" in link else "-a", program], capture_output=True, text=True).stdout
    address = int(re.findall(r"([0-9a-f]+) T func", symbols)[0], 16)
    assert {int(line.place, 16) & 0xFFF for line in lines} == {address & 0xFFF}


def test_arguments_on_the_stack(guest: Guest, program: Path) -> None:
    lines = _traced(guest, 1, f"P {program}:many last=%5 g=$stack1 h=$stack2:u32 top=$stack ip=X%ip", program)
    assert re.fullmatch(r"last=6 g=77 h=88 top=\d+ ip=0x[0-9a-f]+", lines[0].values)


def test_return_values(guest: Guest, program: Path) -> None:
    lines = _traced(guest, 3, f"R {program}:text_of s=!(char *)$retval raw=$retval", program)
    assert [line.values.partition(" raw=")[0] for line in lines] == ['s="one"', r's="say \"two\""', "s=<fault>"]
    assert lines[2].values.endswith("raw=0")
    assert all(re.fullmatch(r"0x[0-9a-f]+ <- 0x[0-9a-f]+", line.place) for line in lines)


_FILTERS = [
    ("P {p}:func v=%0:s32 f:v<0", ["v=-8"]),
    ("P {p}:func v=%0:s32 f:!(v<0)", ["v=7"]),
    ("P {p}:func a=!(int *)%1[0] f:a==-3", ["a=-3"]),
    ("P {p}:func a=!(int *)%1[0] f:!(a==12345)", ["a=-3"]),
    ('P {p}:func text=!(char *)%2 f:text~"hel*"', ['text="hello"']),
    ('P {p}:func v=%0:s32 f:!(!(char *)%2=="bye")', ["v=7"]),
    ('R {p}:text_of s=!(char *)$retval f:s=="one"', ['s="one"']),
    ('R {p}:text_of s=!(char *)$retval f:s!="one"', [r's="say \"two\""']),
    ("R {p}:text_of r=$retval f:r==0", ["r=0"]),
    ("R {p}:text_of n=%ax:u8 f:common_pid==1", []),
]


def test_filters_both_ways(guest: Guest, program: Path) -> None:
    probes = [probe.format(p=program) for probe, _ in _FILTERS]
    with running(guest, *probes, "P libc:sleep end=%0") as surftrace:
        guest.run([str(program)]).expect()
        surftrace.wait_for("end=0")
        surftrace.wait_for("\n")
    lines = event_lines(surftrace.stdout)
    shown = [[line.values for line in lines if line.name == f"f{number}"] for number in range(len(probes))]
    assert shown == [expected for _, expected in _FILTERS]


def test_a_place_inside(guest: Guest, program: Path) -> None:
    code = subprocess.run(["objdump", "-d", "--no-show-raw-insn", program], capture_output=True, text=True).stdout
    body = re.search(r"^([0-9a-f]+) <many>:\n(.*?)\n\n", code, re.MULTILINE | re.DOTALL)
    assert body is not None
    last = int(re.findall(r"^ *([0-9a-f]+):\s+ret", body[2], re.MULTILINE)[-1], 16)
    probe = f"P {program}:many+{last - int(body[1], 16):#x} sum=%ax:s32"
    with running(guest, "-c", "1", probe) as surftrace:
        guest.run([str(program)]).expect()
        result = surftrace.wait()
    assert "objdump -d shows where" in result.stderr
    assert values(result.stdout) == ["sum=89"]


def test_functions_of_the_library(guest: Guest, program: Path) -> None:
    own = 'comm=$comm f:comm=="prog"'
    probes = [f"P libc:alarm t=%0 {own}&&t>0", f"R libc:fopen f=X$retval {own}&&f==0", f"P libc.so.6:sleep t=%0 {own}"]
    with running(guest, "-c", "3", *probes) as surftrace:
        guest.run([str(program)]).expect()
        result = surftrace.wait()
    assert {(line.name, line.values) for line in event_lines(result.stdout)} == {
        ("f0", 't=1234 comm="prog"'),
        ("f1", 'f=0x0 comm="prog"'),
        ("f2", 't=0 comm="prog"'),
    }


def test_two_processes_at_once(guest: Guest, program: Path) -> None:
    with running(guest, "-c", "40", f"P {program}:func v=%0:s32 text=!(char *)%2 f:v>0") as surftrace:
        processes = [guest.start([str(program), "20"]) for _ in range(2)]
        for process in processes:
            process.wait().expect()
        result = surftrace.wait()
    by_process: dict[int, list[str]] = {}
    for line in event_lines(result.stdout):
        by_process.setdefault(line.pid, []).append(line.values)
    assert list(by_process.values()) == [[f'v={7 + n} text="hello"' for n in range(20)]] * 2


def test_what_a_shell_reads(guest: Guest) -> None:
    with running(guest, "-c", "2", "R bash:readline cmd=!(char *)$retval") as surftrace:
        shell = guest.start(["bash", "--norc", "-i"], terminal_size=(24, 80))
        shell.write("echo 'a b'\nexit\n")
        shell.wait()
        result = surftrace.wait()
    assert values(result.stdout) == ["cmd=\"echo 'a b'\"", 'cmd="exit"']


def test_one_process_of_many(guest: Guest) -> None:
    shell = guest.start(["bash", "--norc", "-i"], terminal_size=(24, 80))
    shell.write("echo P''ID=$$.\n")
    shell.wait_for("PID=")
    pid = int(shell.wait_for(".").rstrip("."))
    with running(guest, "-c", "1", f"P bash:readline f:common_pid=={pid}") as surftrace:
        other = guest.start(["bash", "--norc", "-i"], terminal_size=(24, 80))
        other.write("exit\n")
        other.wait()
        shell.write("true\nexit\n")
        shell.wait()
        result = surftrace.wait()
    assert [line.pid for line in event_lines(result.stdout)] == [pid]
