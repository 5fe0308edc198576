"""`python -m tests.bench.guards`: what the guards of a probe cost a hit, in an emulated guest: relative figures only.

A system call that does little is made many times: with no probe on it, with the probe, with the probe and its guards;
each also with a filter that lets nothing through. All in turn, round after round, in one guest.
"""

import argparse
import statistics
import subprocess
import sys

from tests.kernel import images
from tests.kernel.guest import Guest

_ONE = "p security_task_getscheduler pid=p->pid"
_THREE = "p security_task_getscheduler users=p->mm->owner->mm->mm_users"
_MANY = (
    "p security_task_getscheduler pid=p->pid users=p->mm->mm_users owner=p->mm->owner->pid exit=p->mm->owner->exit_code"
)

_PROBES = {
    "a member of an argument": (_ONE, "pid==1"),
    "one value behind three more pointers": (_THREE, "users==12345"),
    "four values, three pointers": (_MANY, "users==12345&&owner==1"),
}

_LOOP = """
import os, time
begin = time.perf_counter()
for _ in range({count}):
    os.sched_getscheduler(0)
print((time.perf_counter() - begin) / {count} * 1e9)
"""


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.guards", description=__doc__)
    parser.add_argument("-n", "--rounds", type=int, default=7, help="rounds (default: 7)")
    parser.add_argument("-k", "--kernel", choices=images.NAMES, default="6.12")
    arguments = parser.parse_args()
    image = images.fetch(arguments.kernel)
    variants: dict[tuple[str, str], str] = {("no probe", ""): ""}
    for name, (probe, condition) in _PROBES.items():
        for filtered in ("", f" f:{condition}"):
            for option in ("--no-guard", ""):
                commands = _commands(str(image.btf), probe + filtered, option)
                variants[name + (", filtered out" if filtered else ""), option] = commands
    times: dict[tuple[str, str], list[float]] = {key: [] for key in variants}
    with Guest(image) as guest:
        for _ in range(arguments.rounds):
            for key, commands in variants.items():
                times[key].append(_time_ns(guest, commands))
    _print(times)


def _commands(btf: str, probe: str, option: str) -> str:
    words = [sys.executable, "-m", "surftrace", "-S", "-b", btf, *([option] if option else []), probe]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


_CLEAN = """
cd /sys/kernel/tracing
echo 0 > instances/surftrace_sh/events/surftrace_sh/f0/enable
rmdir instances/surftrace_sh
echo -:surftrace_sh/f0 >> kprobe_events
"""


def _time_ns(guest: Guest, commands: str) -> float:
    if commands:
        guest.run(["bash", "-e", "-c", commands]).expect()
    result = guest.run(["python3", "-c", _LOOP.format(count=20_000)]).expect().stdout
    if commands:
        guest.run(["bash", "-e", "-c", _CLEAN]).expect()
    return float(result)


def _print(times: dict[tuple[str, str], list[float]]) -> None:
    medians = {key: statistics.median(each) for key, each in times.items()}
    base = medians.pop(("no probe", ""))
    print(f"a call without a probe: {base:.0f} ns; medians of what a hit adds, ns")
    print(f"  {'':<52}{'no guard':>10}{'guards':>10}{'ratio':>8}")
    for name in dict.fromkeys(name for name, _ in medians):
        without, with_guards = medians[name, "--no-guard"] - base, medians[name, ""] - base
        print(f"  {name:<52}{without:>10.0f}{with_guards:>10.0f}{with_guards / without:>8.2f}")


if __name__ == "__main__":
    main()
