"""`surftrace latency FUNCTION`: how long its calls take, as a histogram, or each call that takes long."""

import argparse
import gc
import math
import re
import sys
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress

from surftrace import __version__
from surftrace.api import Probes, compile
from surftrace.cli.arguments import UsageError, add_dry_run, instance_name, seconds, shells_instance, whole_number
from surftrace.cli.kernels import kernel_parser, printed_target, running_target
from surftrace.cli.report import report_diagnostics, report_notice
from surftrace.cli.screen import Screen
from surftrace.cli.standard import Output
from surftrace.cli.status import end_status
from surftrace.measures import latency, latency_plan
from surftrace.output.color import Paint, Role, plain
from surftrace.output.jsonl import Json, notice_json, to_json
from surftrace.output.latency import (
    account_json,
    call_head,
    duration_json,
    duration_lines,
    make_call_formatter,
    make_call_json_formatter,
)
from surftrace.tracing.latency import Latency
from surftrace.tracing.notices import Notice
from surftrace.tracing.pipe import Interrupted, Interruption, interruption

_DESCRIPTION = """\
Measure how long the calls of a kernel function take, from its entry to its return. The kernel counts them by powers of
two of nanoseconds, and nothing of them reaches this program until it prints the counts. With --over each call that
takes so long is printed when it ends, with the values of the probe as they were at its entry.
"""
_EXAMPLES = (
    "surftrace latency vfs_read",
    "surftrace latency --by comm -t 10 'p vfs_read f:count>4096'",
    "surftrace latency --over 10ms 'p vfs_read count comm=$comm name=file->f_path.dentry->d_name.!(char *)name'",
)
_UNITS_NS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9}
# What a terminal shows meanwhile is as old as this at most.
_EVERY_S = 1.0
# How long poll(2) waits at most.
_LONG_S = 3600.0


def run_latency(argv: Sequence[str], paint: Paint) -> int:
    """Run the command; the result is the exit status."""
    chosen = latency_parser().parse_args(argv)
    if chosen.count is not None and chosen.over_ns is None:
        raise UsageError("-c ends after N slow calls: it needs --over TIME")
    for option, value in (("--by", chosen.by), ("--every", chosen.every_s)):
        if chosen.over_ns is not None and value is not None:
            raise UsageError(f"--over prints each slow call: leave out {option}")
    is_kind = re.match(r"\s*[preRP]\s", chosen.probe)
    target = printed_target(chosen) if chosen.is_dry_run else running_target(chosen, "measure")
    probes = compile(chosen.probe if is_kind else f"p {chosen.probe}", kernel=target)
    error_paint = paint if sys.stderr.isatty() else plain
    report_diagnostics(probes.warnings, sys.stderr, error_paint)
    if chosen.is_dry_run:
        plan = latency_plan(probes, over_ns=chosen.over_ns, by=chosen.by, instance=shells_instance(chosen.instance))
        for line in probes.commands(plan.plan):
            print(line)
        return 0
    return _Measurement(probes, chosen, paint, error_paint).run()


def latency_parser() -> argparse.ArgumentParser:
    """The parser of `surftrace latency`."""
    parser = kernel_parser("latency", _DESCRIPTION, *_EXAMPLES)
    add = parser.add_argument
    add("probe", metavar="FUNCTION", help="a function, or a probe at its entry: 'p FUNCTION [VALUE ...] [f:FILTER]'")
    add(
        "--over",
        dest="over_ns",
        type=_duration,
        metavar="TIME",
        help="print each call of TIME or longer: 10ms, 50us, 1s",
    )
    add("--by", metavar="VALUE", help="a histogram for each comm, pid, or value of the probe")
    add("--every", dest="every_s", type=seconds, metavar="SECONDS", help="print the counts so often (a terminal: 1)")
    add("-t", "--time", dest="time_s", type=seconds, metavar="SECONDS", help="stop after SECONDS")
    add("-c", "--count", type=whole_number, metavar="N", help="with --over: stop after N slow calls")
    add("--json", dest="is_json", action="store_true", help="JSON Lines, for programs")
    add("--instance", type=instance_name, metavar="NAME", help="name of the tracefs instance and probe group")
    add("--strict", dest="is_strict", action="store_true", help="exit with status 3 where calls were not measured")
    add_dry_run(parser)
    return parser


def _duration(text: str) -> int:
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)(ns|us|ms|s)", text, re.ASCII)
    value_ns = round(float(match[1]) * _UNITS_NS[match[2]]) if match is not None else 0
    if value_ns <= 0:
        raise argparse.ArgumentTypeError(f"'{text}' is not a time such as 50us, 10ms or 1s")
    return value_ns


class _Measurement:
    """One run of the command on this kernel."""

    def __init__(self, probes: Probes, chosen: argparse.Namespace, paint: Paint, error_paint: Paint) -> None:
        self.probes = probes
        self.chosen = chosen
        self.paint = paint
        self.error_paint = error_paint
        self.told: deque[Notice] = deque()

    def run(self) -> int:
        """Measure until the time, the count or a signal; the result is the exit status."""
        gc.enable()
        chosen = self.chosen
        with interruption() as noted:
            self.output = Output(noted)
            self.screen = Screen(self.output)
            measuring = latency(
                self.probes,
                over_ns=chosen.over_ns,
                by=chosen.by,
                time_s=chosen.time_s,
                count=chosen.count,
                instance=chosen.instance,
                on_notice=self._tell,
                interruption=noted,
            )
            with measuring as running, suppress(Interrupted):  # nobody reads what we write; the kernel is put in order
                self._write_head(running)
                if chosen.over_ns is None:
                    self._count(running, noted)
                else:
                    self._follow(running)
            with suppress(Interrupted):
                self._write_end(running)
        return self._status(running, noted)

    def _tell(self, notice: Notice) -> None:
        self.screen.forget()
        report_notice(notice, sys.stderr, self.error_paint)
        if self.chosen.is_json:
            self.told.append(notice)

    def _notices(self) -> list[str]:
        """The notices that are in no line of JSON yet, as such lines."""
        return [to_json(notice_json(self.told.popleft().message)) for _ in range(len(self.told))]

    def _write_head(self, latency: Latency) -> None:
        """Whoever reads it knows that the measurement is on."""
        if self.chosen.is_json:
            start: dict[str, Json] = {"type": "start", "schema": 1, "surftrace": __version__}
            self.output.write(f"{to_json(start | {'function': latency.plan.function})}\n")
        elif self.chosen.over_ns is not None:
            self.output.write(f"{self.paint(Role.FAINT, call_head(latency.plan.function))}\n")
        else:
            print(f"measuring {latency.plan.function}", file=sys.stderr, flush=True)
        self.output.flush()

    def _count(self, latency: Latency, noted: Interruption) -> None:
        """Print the counts now and then, on a terminal each time in the place of those before, and at the end."""
        chosen, is_screen = self.chosen, self.output.is_terminal and not self.chosen.is_json
        every_s = chosen.every_s or (_EVERY_S if is_screen else math.inf)
        end_s = math.inf if chosen.time_s is None else time.monotonic() + chosen.time_s
        is_over = False
        while not is_over:
            is_over = noted.is_soon(max(0.0, min(every_s, end_s - time.monotonic(), _LONG_S)))
            is_over = is_over or time.monotonic() >= end_s
            if is_screen and not is_over:
                self.screen.draw(self._lines(latency))
            elif is_over or every_s < math.inf:
                lines = self._lines(latency)
                self.screen.erase()
                self.output.write("".join(f"{line}\n" for line in lines))
                self.output.flush()

    def _lines(self, latency: Latency) -> list[str]:
        durations, byteorder = latency.durations(), latency.plan.plan.byteorder
        if self.chosen.is_json:
            return [*self._notices(), *(to_json(duration_json(each, byteorder)) for each in durations)]
        return list(duration_lines(durations, latency.plan.function, byteorder, self.paint, latency.undecoded))

    def _follow(self, latency: Latency) -> None:
        """Print slow calls as they end."""
        plan = latency.plan
        if self.chosen.is_json:
            show = make_call_json_formatter(plan.plan.byteorder)
        else:
            show = make_call_formatter(plan.function, plan.plan.byteorder, self.paint)
        for call in latency.slow_calls():
            if call is None:
                self.output.write("".join(f"{line}\n" for line in self._notices()))
                self.output.flush()
            else:
                self.output.write(f"{show(call)}\n")

    def _write_end(self, latency: Latency) -> None:
        account = latency.account
        if self.chosen.is_json:
            lines = [*self._notices(), to_json(account_json(account))]
            self.output.write("".join(f"{line}\n" for line in lines))
            self.output.flush()
        elif account.unfinished:
            calls = "1 call" if account.unfinished == 1 else f"{account.unfinished} calls"
            or_inner = "" if latency.plan.has_exact_keys else ", or the function was called again within them"
            print(f"{calls} had begun and not ended{or_inner}", file=sys.stderr)

    def _status(self, latency: Latency, noted: Interruption) -> int:
        is_lost = self.chosen.is_strict and (bool(latency.trace.losses) or latency.account.has_lost)
        return end_status(noted, is_lost, self.chosen.time_s is not None or self.chosen.count is not None)
