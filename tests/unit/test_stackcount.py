"""Counted stacks as files and on standard output."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.compiling import shapes_btf

_ROOT = Path(__file__).parents[2]
# Folded lines go to standard output as in a count, within what notes signals.
_PROGRAM = """
import sys
from contextlib import suppress
from surftrace.api import compile, other_kernel
from surftrace.cli.options import parse_options
from surftrace.cli.stackcount import _write_folded
from surftrace.cli.standard import Output
from surftrace.tracing.countedstacks import CountedStack
from surftrace.tracing.pipe import Interrupted, interruption

probes = compile("p plain", kernel=other_kernel(btf=[sys.argv[1]], arch="x86_64"))
stacks = [CountedStack("plain", (f"function{number:x}+0x1/0x2",) * 16, hits=1) for number in range(1000)]
with interruption() as noted:
    print("begun", file=sys.stderr, flush=True)
    output = Output(noted)
    with suppress(Interrupted):
        _write_folded(stacks, probes, parse_options(["--folded", "-", "p plain"]), output)
        output.flush()
print(noted.signal.name, file=sys.stderr, flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_folded_lines_that_nobody_reads_do_not_keep_a_signal_waiting(number: signal.Signals, tmp_path: Path) -> None:
    (tmp_path / "btf").write_bytes(shapes_btf())
    words = [sys.executable, "-c", _PROGRAM, str(tmp_path / "btf")]
    with subprocess.Popen(words, cwd=_ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None and process.stderr is not None
            assert process.stderr.readline() == "begun\n"
            process.send_signal(number)
            assert process.wait(20) == 0
            assert process.stderr.read() == f"{number.name}\n"
            assert process.stdout.read().startswith("function0;function0;")
        finally:
            process.kill()
