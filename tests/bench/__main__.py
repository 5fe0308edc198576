"""`python -m tests.bench`: probes compiled by surftrace from BTF and from DWARF, and by perf from DWARF, of one kernel.

All are whole processes, run in turn, so that what else the machine does slows all; those of one round are compared.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.kernel import images
from tests.oracle import dbg, perf
from tests.oracle.reads import Read, parse_read

HEADLINE = (
    "p ip_output proto=@(struct iphdr*)l3%2->protocol ip_dst=@(struct iphdr*)l3%2->daddr"
    " b16_dest=@(struct udphdr*)l3%2->dest comm=$comm body=@(struct udphdr*)l3%2->Sdata[0]"
    " f:proto==17&&ip_dst==127.0.0.1&&b16_dest==9988"
)
_ENTRY = "ip_output len=skb->len"
_LINE = "ip_rcv:3 len=skb->len"
# A way of surftrace's, and that of perf's which it is compared with: the headline is far more than what perf is asked.
_AGAINST = {
    "surftrace": "perf probe -D",
    "surftrace -v": "perf probe -D",
    "surftrace, line": "perf, line",
}
# Those that are asked for the same, of the same file.
_SAME = ("surftrace -v", "surftrace, line")
_DEFINITION = re.compile(r"p:\S+ (?P<function>\w+)(?:\+(?P<offset>\w+))? len=(?P<read>\S+)")
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a command."""

    wall_s: float
    cpu_s: float
    peak_mb: float
    output: str


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("-n", "--runs", type=int, default=15, help="runs of each command (default: 15)")
    runs = max(1, parser.parse_args().runs)
    image = images.fetch("6.1")
    btf, vmlinux = str(image.btf), dbg.fetch(image)
    surftrace = [sys.executable, "-m", "surftrace", "-S"]
    with tempfile.TemporaryDirectory() as scratch:
        commands = {
            "surftrace": [*surftrace, "-b", btf, HEADLINE],
            "surftrace -v": [*surftrace, "-v", str(vmlinux), f"p {_ENTRY}"],
            "perf probe -D": perf.command(vmlinux, [_ENTRY], scratch),
            "surftrace, line": [*surftrace, "-b", btf, "-v", str(vmlinux), f"p {_LINE}"],
            "perf, line": perf.command(vmlinux, [_LINE], scratch),
            "stages": [sys.executable, "-m", "tests.bench.stages", btf, HEADLINE],
            "python starts": [sys.executable, "-c", "pass"],
        }
        measured = _alternately(runs, commands, _environment(scratch))
    _check_answers(measured)
    print(f"{image.release}, {runs} runs each, in turn")
    _print_comparison({name: each for name, each in measured.items() if name in {*_AGAINST, *_AGAINST.values()}})
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
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        begin = time.perf_counter()
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=errors)
        # Unlike getrusage(), of this process alone. Its memory counts from the fork on: from our own 25 MB on.
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        errors.seek(0)
        if process.returncode != 0:
            sys.exit(f"bench: {command[0]} failed: {errors.read().strip()}")
        return Run(wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, output.read())


def _check_answers(measured: Mapping[str, Sequence[Run]]) -> None:
    """Two that are compared have found the same place and read the same there."""
    for name in _SAME:
        ours, theirs = (_answer(measured[each][0].output) for each in (name, _AGAINST[name]))
        if ours != theirs:
            sys.exit(f"bench: {name} found {ours}, {_AGAINST[name]} {theirs}")


def _answer(output: str) -> tuple[str, int, Read]:
    found = _DEFINITION.search(output)
    if found is None:
        sys.exit(f"bench: no definition in {output!r}")
    return found["function"], int(found["offset"] or "0", 0), parse_read(found["read"])


def _print_comparison(measured: Mapping[str, Sequence[Run]]) -> None:
    print("\nwall time of the whole process, ms; CPU time is less disturbed by other work; the most memory it had, MB")
    _print_row("", "min", "median", "max", "CPU", "memory")
    for name, runs in measured.items():
        walls = [run.wall_s for run in runs]
        times = map(_ms, (min(walls), statistics.median(walls), max(walls), _cpu_s(runs)))
        _print_row(name, *times, f"{max(run.peak_mb for run in runs):.0f}")
    for ours, theirs in _AGAINST.items():
        wall, cpu, peak = (
            _ratio(measured[ours], measured[theirs], figure)
            for figure in (lambda run: run.wall_s, lambda run: run.cpu_s, lambda run: run.peak_mb)
        )
        print(
            f"{ours} takes {wall:.2f} of the wall time of {theirs}, {cpu:.2f} of its CPU time, {peak:.2f} of its memory"
        )


def _ratio(ours: Sequence[Run], theirs: Sequence[Run], figure: Callable[[Run], float]) -> float:
    """The median over rounds: a slow moment of the machine's slows both of a round."""
    return statistics.median(figure(our) / figure(their) for our, their in zip(ours, theirs, strict=True))


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
