"""`python -m tests.bench`: one probe compiled by surftrace from BTF and by perf from DWARF, of one kernel.

Both are whole processes, run in turn, so that what else the machine does slows both.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.kernel import images
from tests.oracle import dbg, perf

HEADLINE = (
    "p ip_output proto=@(struct iphdr*)l3%2->protocol ip_dst=@(struct iphdr*)l3%2->daddr"
    " b16_dest=@(struct udphdr*)l3%2->dest comm=$comm body=@(struct udphdr*)l3%2->Sdata[0]"
    " f:proto==17&&ip_dst==127.0.0.1&&b16_dest==9988"
)
# The types from DWARF alone; from BTF, with a line and a variable there from DWARF.
_DWARF = ("surftrace -v", "surftrace, line")
_LINE = "p ip_rcv:3 len=skb->len"
PERF_PROBE = "ip_output len=skb->len"
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a command."""

    wall_s: float
    cpu_s: float
    output: str


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("-n", "--runs", type=int, default=15, help="runs of each command (default: 15)")
    runs = max(1, parser.parse_args().runs)
    image = images.fetch("6.1")
    btf, vmlinux = str(image.btf), dbg.fetch(image)
    with tempfile.TemporaryDirectory() as scratch:
        commands = {
            "surftrace": [sys.executable, "-m", "surftrace", "-S", "-b", btf, HEADLINE],
            "perf probe -D": perf.command(vmlinux, [PERF_PROBE], scratch),
            _DWARF[0]: [sys.executable, "-m", "surftrace", "-S", "-v", str(vmlinux), f"p {PERF_PROBE}"],
            _DWARF[1]: [sys.executable, "-m", "surftrace", "-S", "-b", btf, "-v", str(vmlinux), _LINE],
            "stages": [sys.executable, "-m", "tests.bench.stages", btf, HEADLINE],
            "python starts": [sys.executable, "-c", "pass"],
        }
        measured = _alternately(runs, commands, _environment(scratch))
    print(f"{image.release}, {runs} runs each, in turn")
    _print_comparison({name: measured[name] for name in ("surftrace", *_DWARF, "perf probe -D")})
    _print_breakdown(measured)


def _environment(scratch: str) -> dict[str, str]:
    """This checkout, with the bytecode that an installed surftrace has, whatever the caller's variables say."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONPYCACHEPREFIX": scratch}


def _alternately(
    runs: int, commands: Mapping[str, Sequence[str]], environment: Mapping[str, str]
) -> dict[str, list[Run]]:
    """The runs of each command, after one that fills the page cache and writes the bytecode."""
    rounds = [{name: _run(command, environment) for name, command in commands.items()} for _ in range(runs + 1)]
    return {name: [each[name] for each in rounds[1:]] for name in commands}


def _run(command: Sequence[str], environment: Mapping[str, str]) -> Run:
    cpu_before, begin = _cpu_of_children_s(), time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    wall_s, cpu_s = time.perf_counter() - begin, _cpu_of_children_s() - cpu_before
    if done.returncode != 0:
        sys.exit(f"bench: {command[0]} failed: {done.stderr.strip()}")
    return Run(wall_s, cpu_s, done.stdout)


def _cpu_of_children_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _print_comparison(measured: Mapping[str, Sequence[Run]]) -> None:
    print("\nwall time of the whole process, ms; CPU time is less disturbed by other work")
    _print_row("", "min", "median", "max", "CPU")
    for name, runs in measured.items():
        walls = [run.wall_s for run in runs]
        _print_row(name, *map(_ms, (min(walls), statistics.median(walls), max(walls), _cpu_s(runs))))
    theirs = measured["perf probe -D"]
    for name, ours in measured.items():
        if ours is not theirs:
            wall_ratio = statistics.median(run.wall_s for run in ours) / statistics.median(run.wall_s for run in theirs)
            cpu_ratio = _cpu_s(ours) / _cpu_s(theirs)
            print(f"{name} takes {wall_ratio:.2f} of perf's wall time, {cpu_ratio:.2f} of its CPU time (medians)")


def _cpu_s(runs: Sequence[Run]) -> float:
    return statistics.median(run.cpu_s for run in runs)


def _print_breakdown(measured: Mapping[str, Sequence[Run]]) -> None:
    """Print the CPU time of each stage. The rest is options, printing and leaving."""
    stages = [json.loads(run.output) for run in measured["stages"]]
    parts = {"python starts": _cpu_s(measured["python starts"])}
    parts |= {name: statistics.median(each[name] for each in stages) for name in stages[0]}
    whole_s = _cpu_s(measured["surftrace"])
    parts |= {"rest": whole_s - sum(parts.values()), "whole": whole_s}
    print("\nwhere surftrace's CPU time goes, medians in ms")
    for name, part_s in parts.items():
        _print_row(name, _ms(part_s))


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.0f}"


def _print_row(name: str, *values: str) -> None:
    print(f"  {name:<16}" + "".join(f"{value:>8}" for value in values))


if __name__ == "__main__":
    main()
