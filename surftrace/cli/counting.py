"""`surftrace count PROBE ... --by NAME`: the kernel counts, and what it has counted is printed."""

import argparse
import math
import re
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import field

from surftrace.api import Probes, compile
from surftrace.cli.arguments import (
    UsageError,
    add_dry_run,
    add_files,
    instance_name,
    seconds,
    shells_instance,
    whole_number,
)
from surftrace.cli.kernels import kernel_parser, printed_target, running_target
from surftrace.cli.report import report_diagnostics, report_notice, report_refused
from surftrace.cli.screen import Screen
from surftrace.cli.standard import Output
from surftrace.cli.status import end_status
from surftrace.cli.waiting import next_time, wait
from surftrace.compiler.counting import MAX_ROWS, Counting, CountingPlan, Spread
from surftrace.measures import count, count_plan
from surftrace.output.color import Paint, Role, plain
from surftrace.output.counted import count_lines, json_rows, json_totals, summarize, undecoded_lines
from surftrace.output.jsonl import Json, notice_json, to_json
from surftrace.record import record
from surftrace.tracing.counting import Counter, Counts, Uncounted
from surftrace.tracing.notices import Notice
from surftrace.tracing.pipe import Interrupted, Interruption, interruption

_DESCRIPTION = """\
Count the hits of probes, in the kernel: no event leaves it, whatever comes, so that millions a second can be counted.
Rows are told apart by values of the probes, fields of an event, or comm, pid, cpu and stack, which all have. The
table is printed at the end, or every so many seconds.
"""
_EXAMPLES = (
    "surftrace count 'p ip_output len=skb->len ip_dst=@(struct iphdr*)l3skb->daddr' --by ip_dst --sum len",
    "surftrace count 'r vfs_read ret=$retval' --by comm --hist ret -t 10",
    "surftrace count 'p tcp_*' --every 1 --top 20",
    "surftrace count 'e sched/sched_switch' --by prev_comm,prev_state",
)


def run_count(argv: Sequence[str], paint: Paint) -> int:
    """Run the command; the result is the exit status."""
    chosen = count_parser().parse_intermixed_args(argv)
    if not chosen.expressions and not chosen.files:
        raise UsageError("no probe given", "for example: surftrace count 'p ip_output len=skb->len' --by len")
    counting = Counting(chosen.by, chosen.sums, chosen.ranges, tuple(chosen.spreads), chosen.rows)
    target = printed_target(chosen) if chosen.is_dry_run else running_target(chosen, "count")
    probes = compile(
        *chosen.expressions,
        files=chosen.files,
        definitions=dict(chosen.definitions),
        kernel=target,
        guards=chosen.has_guards,
    )
    error_paint = paint if sys.stderr.isatty() else plain
    report_diagnostics(probes.warnings, sys.stderr, error_paint)

    if chosen.is_dry_run:
        for line in probes.commands(count_plan(probes, counting, shells_instance(chosen.instance)).plan):
            print(line)
        return 0
    return _count(probes, counting, chosen, paint)


@record
class _Shown:
    """How counts are printed. `told`: notices that are in no line of JSON yet."""

    chosen: argparse.Namespace
    plan: CountingPlan
    output: Output
    screen: Screen
    paint: Paint
    told: deque[Notice] = field(default_factory=deque)


def _count(probes: Probes, counting: Counting, chosen: argparse.Namespace, paint: Paint) -> int:
    """Count until the time or a signal."""
    error_paint = paint if sys.stderr.isatty() else plain
    with interruption() as noted:
        output = Output(noted)
        screen = Screen(output)
        told: deque[Notice] = deque()

        def tell(notice: Notice) -> None:
            screen.forget()
            report_notice(notice, sys.stderr, error_paint)
            told.append(notice)

        with count(probes, counting, instance=chosen.instance, on_notice=tell, interruption=noted) as counter:
            shown = _Shown(chosen, counter.plan, output, screen, paint, told)
            report_refused(counter.refused, counter.plan.plan, sys.stderr, error_paint)
            _say_on(counter, noted, chosen)
            with suppress(Interrupted):
                _watch(counter, shown, noted)
            counts = counter.finish()
        _tell_uncounted(counts, tell)
        with suppress(Interrupted):
            _print_last(counter, counts, shown)
    is_lost = chosen.is_strict and (counts.has_lost or bool(counter.losses))
    return end_status(noted, is_lost, chosen.time_s is not None)


def _say_on(counter: Counter, noted: Interruption, chosen: argparse.Namespace) -> None:
    """Who waits for a table knows that there will be one."""
    count = len(counter.plan.events) - len(counter.refused)
    what = f"{count} probe{'s' if count != 1 else ''}"
    until = f"for {chosen.time_s:g} s" if chosen.time_s is not None else "until Ctrl-C"
    if not noted.is_ending:
        print(f"surftrace: counting {what} {until}", file=sys.stderr, flush=True)


def _watch(counter: Counter, shown: _Shown, noted: Interruption) -> None:
    """Print what was counted every so often, until the time or a signal. Raises Interrupted."""
    chosen = shown.chosen
    if chosen.every_s is None:
        wait(counter, noted, chosen.time_s)
        return
    deadline = time.monotonic() + (chosen.time_s if chosen.time_s is not None else math.inf)
    next_s = time.monotonic() + chosen.every_s
    while not noted.is_soon(max(0.0, min(next_s, deadline) - time.monotonic())) and time.monotonic() < deadline:
        next_s = next_time(next_s, chosen.every_s, time.monotonic())
        _print_again(counter.read(), shown)
    shown.screen.erase()


def _print_again(counts: Counts, shown: _Shown) -> None:
    """Print what was counted so far, on a terminal over what is there already."""
    if shown.chosen.is_json:
        _print_json(counts, shown, "counts", {})
    elif shown.output.is_terminal:
        shown.screen.draw(_lines(counts, shown))
    else:
        shown.output.write("".join(f"{line}\n" for line in [*_lines(counts, shown), ""]))
        shown.output.flush()


def _lines(counts: Counts, shown: _Shown) -> list[str]:
    byteorder = shown.plan.plan.byteorder
    rows = summarize(counts, shown.plan.counting, byteorder)
    top = rows[: shown.chosen.top]
    lines = count_lines(top, shown.plan.counting, byteorder, shown.paint) if top else ["no hits"]
    if rest := rows[len(top) :]:
        hits = sum(row.hits for row in rest)
        lines.append(shown.paint(Role.FAINT, f"and {len(rest)} more rows with {hits} hits (--top {shown.chosen.top})"))
    return [*lines, *undecoded_lines(counts, shown.paint)]


def _print_last(counter: Counter, counts: Counts, shown: _Shown) -> None:
    if shown.chosen.is_json:
        missed: list[Json] = [{"event": event, "count": count} for event, count in counter.losses.hits]
        _print_json(counts, shown, "end", {"missed": missed})
        return
    shown.output.write("".join(f"{line}\n" for line in _lines(counts, shown)))
    shown.output.flush()


def _print_json(counts: Counts, shown: _Shown, kind: str, more: dict[str, Json]) -> None:
    byteorder = shown.plan.plan.byteorder
    for _ in range(len(shown.told)):
        shown.output.write(f"{to_json(notice_json(shown.told.popleft().message))}\n")
    rows = summarize(counts, shown.plan.counting, byteorder)[: shown.chosen.top]
    for row in json_rows(rows, byteorder):
        shown.output.write(f"{to_json(row)}\n")
    shown.output.write(f"{to_json({'type': kind, **json_totals(counts), **more})}\n")
    shown.output.flush()


def _tell_uncounted(counts: Counts, tell: Callable[[Notice], None]) -> None:
    """Say which hits are in no row."""
    for each in counts.unread:
        tell(Notice(f"{each.hits} hits of {each.event.label} not counted: their {each.name} could not be read"))
    for each in counts.dropped:
        tell(Notice(*_dropped(each)))
    for label in dict.fromkeys(event.label for event, _ in counts.undecoded):
        message = f"a string in a table of {label} looks like rows of it: they are printed as the kernel has them"
        tell(Notice(message, ("count by pid, or by a number, instead of by a string",)))


def _dropped(hits: Uncounted) -> tuple[str, tuple[str, ...]]:
    what = f"numbers of {hits.name}" if hits.name else "hits"
    hint = f"a larger one holds more (--size, up to {MAX_ROWS}), a filter lets less in"
    return f"{hits.hits} {what} of {hits.event.label} not counted: the table was full", (hint,)


def count_parser() -> argparse.ArgumentParser:
    """The parser of the command."""
    parser = kernel_parser("count", _DESCRIPTION, *_EXAMPLES, has_symbols=True)
    parser.add_argument("--kernel", metavar="RELEASE", help="with -S and -b or -v: count on Linux RELEASE, such as 6.1")
    _add_probes(parser)
    _add_table(parser)
    _add_end(parser)
    return parser


def _add_probes(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("expressions", nargs="*", metavar="PROBE", help="a probe, as for a trace; its filter says what is counted")
    add_files(parser)
    add(
        "--no-guard",
        dest="has_guards",
        action="store_false",
        help="do not look at the pointers that values are read through: what is behind null ones is counted, too",
    )


def _add_table(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--by", type=_names, default=(), metavar="NAME,...", help="a row for each value of NAME; up to 3 of them")
    add("--sum", dest="sums", type=_names, default=(), metavar="NAME,...", help="sum and average of NAME in each row")
    add("--range", dest="ranges", type=_names, default=(), metavar="NAME,...", help="least and greatest NAME of a row")
    add(
        "--hist",
        dest="spreads",
        action="append",
        default=[],
        type=_spread,
        metavar="NAME[:WIDTH]",
        help="a histogram of NAME under each row: buckets of powers of two, or of WIDTH numbers",
    )
    add("--top", type=whole_number, metavar="N", help="print the N rows with most hits")
    add("--size", dest="rows", type=_size, metavar="N", help=f"room for N rows: 2048 if not given, up to {MAX_ROWS}")


def _add_end(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("-t", "--time", dest="time_s", type=seconds, metavar="SECONDS", help="stop after SECONDS")
    add("--every", dest="every_s", type=seconds, metavar="SECONDS", help="print what was counted so far every SECONDS")
    add("--json", dest="is_json", action="store_true", help="rows as JSON Lines, for programs")
    add("--strict", dest="is_strict", action="store_true", help="exit with status 3 where hits were not counted")
    add("--instance", type=instance_name, metavar="NAME", help="name of the tracefs instance and probe group")
    add_dry_run(parser)


def _names(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    if not all(re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII) for name in names):
        raise argparse.ArgumentTypeError(f"'{text}' is no list of names: NAME,NAME")
    return names


def _spread(text: str) -> Spread:
    name, colon, width = text.partition(":")
    _names(name)
    return Spread(name, whole_number(width) if colon else None)


def _size(text: str) -> int:
    rows = whole_number(text)
    if rows > MAX_ROWS:
        raise argparse.ArgumentTypeError(f"the kernel's tables have {MAX_ROWS} rows at most")
    return rows
