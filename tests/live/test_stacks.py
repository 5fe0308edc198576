"""Stacks of the kernel and of programs under events, and stacks that the kernel counts."""

import json
import re
import shutil
import signal
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest

from surftrace.output import jsonl
from tests import programs
from tests.kernel import wire
from tests.kernel.guest import Guest
from tests.live.helpers import LAST_ECHO, running, tracefs_state, without_doubted_misses

pytestmark = [
    pytest.mark.kernels("5.10", "newest"),
    pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc"),
]

_VALIDATOR = jsonschema.Draft202012Validator(
    json.loads((Path(jsonl.__file__).parent / "trace.schema.json").read_text())
)
# Optimised, a function that calls none has no frame.
_FRAME_FLAGS = ("-O0", "-fno-omit-frame-pointer")
_PROBE = "p security_task_getscheduler"
_SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program with frames of known functions; beside it the same without symbols, `frames.stripped`."""
    path = programs.build(tmp_path_factory.mktemp("frames"), "frames", *_FRAME_FLAGS, sources=("frames.c",))
    subprocess.run(["strip", "-o", f"{path}.stripped", path], check=True)
    return path


@pytest.fixture(autouse=True)
def _nothing_left(guest: Guest) -> Iterator[None]:
    """After each test the kernel is as it was."""
    before = tracefs_state(guest)
    yield
    assert tracefs_state(guest) == before


def test_stack_of_a_program(guest: Guest, program: Path) -> None:
    """The kernel's functions and the program's, as far as its own main()."""
    with running(guest, "-s", "--user-stack", "-c", "1", f'{_PROBE} f:COMM=="frames"') as surftrace:
        task = guest.start([str(program), "1", "wait"])
        result = surftrace.wait()
        task.kill()
    event, *frames = result.stdout.partition(LAST_ECHO)[2].splitlines()
    assert "frames-" in event
    assert re.fullmatch(r" => security_task_getscheduler\+0x[15]/0x[0-9a-f]+", frames[0])
    assert any(re.fullmatch(r" => __x64_sys_sched_getscheduler\+0x[0-9a-f]+/0x[0-9a-f]+", frame) for frame in frames)
    of_program = [frame for frame in frames if frame.endswith(f" [{program}]")]
    assert [frame.partition("+")[0] for frame in of_program] == [" => inner", " => middle", " => outer", " => main"]
    assert frames.index(of_program[0]) > frames.index(next(frame for frame in frames if "do_syscall_64" in frame))
    assert without_doubted_misses(result.stderr) == ""


def test_stack_of_a_program_without_symbols(guest: Guest, program: Path) -> None:
    """Places in its file, which addr2line(1) of the program with symbols knows."""
    process = guest.start(
        ["surftrace", "--json", "--user-stack", "-c", "1", f'{_PROBE} f:COMM=="frames.stripped"'], preloaded=True
    )
    process.wait_for('"start"')
    task = guest.start([f"{program}.stripped", "1", "wait"])
    event = json.loads(process.wait().stdout.splitlines()[1])
    task.kill()
    _VALIDATOR.validate(event)
    assert "stack" not in event
    offsets = [
        re.fullmatch(rf"{re.escape(str(program))}\.stripped\[\+(0x[0-9a-f]+)\]", each)
        for each in event["user_stack"][:4]
    ]
    places = [f"{int(match[1], 16) - (number > 0):#x}" for number, match in enumerate(offsets) if match is not None]
    # A linker gives code the addresses that it has in the file, but for where a page begins.
    named = subprocess.run(["addr2line", "-f", "-e", program, *places], capture_output=True, text=True, check=True)
    assert named.stdout.splitlines()[::2] == ["inner", "middle", "outer", "main"]


def test_counted_stacks(guest: Guest) -> None:
    """As often as there were calls, by way of two system calls; then as lines and as a picture."""
    calls = "import os; [os.sched_getscheduler(0) for _ in range(5)]; [os.sched_getparam(0) for _ in range(3)]"
    probe = f'{_PROBE} f:COMM=="python3"'
    counting = guest.start(["surftrace", "--folded", "-", "--flame", "/tmp/flame.svg", probe], preloaded=True)
    if guest.image.name == "5.10":
        result = counting.wait()
        assert (result.status, result.stdout) == (2, "")
        assert "this kernel cannot do histograms in the kernel (hist triggers)" in result.stderr
        return
    counting.wait_for("counting stacks", stream=wire.Kind.STDERR)
    guest.run(["python3", "-c", calls]).expect()
    counting.signal(signal.SIGINT)
    result = counting.wait()
    assert result.status == 130
    counts = {names: int(count) for names, _, count in (line.rpartition(" ") for line in result.stdout.splitlines())}
    assert sorted(counts.values()) == [3, 5]
    by_call = {re.search(r"__x64_sys_\w+", names)[0]: count for names, count in counts.items()}  # type: ignore[index]  # each has one
    assert by_call == {"__x64_sys_sched_getscheduler": 5, "__x64_sys_sched_getparam": 3}
    for names in counts:
        assert names.split(";")[0] == "entry_SYSCALL_64_after_hwframe"
        assert names.split(";")[-1] == "security_task_getscheduler"
    picture = ET.fromstring(guest.run(["cat", "/tmp/flame.svg"]).expect().stdout)
    titles = {title.text for title in picture.iter(f"{_SVG}title")}
    assert {"all: 8 (100.00 %)", "__x64_sys_sched_getparam: 3 (37.50 %)", "do_syscall_64: 8 (100.00 %)"} <= titles


@pytest.mark.kernels("newest")
def test_table_of_stacks(guest: Guest) -> None:
    """Several probes, a time; and the same commands that the dry run prints."""
    probes = [f'{_PROBE} f:COMM=="python3"', 'r security_task_getscheduler f:COMM=="python3"']
    counting = guest.start(["surftrace", "--stack-count", *probes], preloaded=True)
    counting.wait_for("counting stacks", stream=wire.Kind.STDERR)
    triggers = guest.run(["sh", "-c", "cat /sys/kernel/tracing/instances/surftrace/events/surftrace/*/trigger"]).stdout
    guest.run(["python3", "-c", "import os; [os.sched_getscheduler(0) for _ in range(4)]"]).expect()
    counting.signal(signal.SIGTERM)
    result = counting.wait()
    assert result.status == 143
    heads = [line for line in result.stdout.splitlines() if not line.startswith(" => ")]
    assert heads == [
        "4   50.0 %  security_task_getscheduler",
        "4   50.0 %  security_task_getscheduler (return)",
        "8 hits in 2 stacks",
    ]
    leaves = re.findall(r"%.*\n => (\w+)\+", result.stdout)
    assert leaves[0] == "security_task_getscheduler"
    assert leaves[1] not in ("security_task_getscheduler", "arch_rethook_trampoline")
    assert triggers.count("stacktrace:vals=hitcount") == 2
