"""`surftrace --stack-count`: stacks counted in the kernel, as a table, as folded lines, as a flame graph."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

from surftrace.api import Probes
from surftrace.cli.arguments import UsageError, shells_instance
from surftrace.cli.files import check_file, write_file
from surftrace.cli.options import Options
from surftrace.cli.report import report_notice, report_refused
from surftrace.cli.standard import Output
from surftrace.cli.status import end_status
from surftrace.cli.waiting import wait
from surftrace.compiler.countedfields import STACK
from surftrace.compiler.counting import Counting
from surftrace.lang.syntax import Kind
from surftrace.measures import count, count_plan
from surftrace.output.color import Paint, Role
from surftrace.output.escape import escape
from surftrace.output.flame import flame_graph
from surftrace.output.folded import FoldedStack, folded_text, total_of
from surftrace.output.text import frame_lines
from surftrace.tracing.countedstacks import CountedStack, counted_stacks
from surftrace.tracing.counting import Counts
from surftrace.tracing.frames import LinesOf, make_lines_of, without_offset
from surftrace.tracing.notices import Notice
from surftrace.tracing.pipe import Interrupted, interruption

STDOUT = "-"
# The kernel's own 2,048 rows are soon full of stacks; each takes some hundred bytes.
_ROWS = 1 << 13
# In place of frames: a stack without its outermost ones is none that begins where it ends.
_CUT, _LOST = "(cut)", "(lost)"
_CUT_HINT = "-s shows whole stacks, each with its event"
_INSIDE_HINT = "count at the begin of the function, or look at each stack with -s"
_FULL_HINT = "a filter lets less in"

_COUNTING = Counting(by=(STACK,), rows=_ROWS)


def _check(probes: Probes) -> None:
    """UsageError for a probe on a program, of which the kernel counts no stacks."""
    for probe in probes.resolved.probes:
        if probe.kind in (Kind.USER_ENTRY, Kind.USER_RETURN):
            message = f"the kernel counts stacks of its own, not those of programs: {probe.place} has none"
            raise UsageError(message, "print each with its event: --user-stack")


def print_commands(probes: Probes, options: Options) -> int:
    """Print the commands that count; touch nothing."""
    _check(probes)
    for line in probes.commands(count_plan(probes, _COUNTING, shells_instance(options.instance)).plan):
        print(line)
    return 0


def run_stack_count(probes: Probes, options: Options, paint: Paint, error_paint: Paint) -> int:
    """Count until the time or a signal, then show the stacks; the result is the exit status."""
    _check(probes)
    files = [path for path in (options.folded, options.flame) if path not in (None, STDOUT)]
    for path in files:
        check_file(path)
    has_table = options.folded is None and options.flame is None
    lines_of = make_lines_of(probes.kernel.kernel) if has_table else None

    def tell(notice: Notice) -> None:
        report_notice(notice, sys.stderr, error_paint)

    with interruption() as noted:
        with count(probes, _COUNTING, instance=options.instance, on_notice=tell, interruption=noted) as counter:
            report_refused(counter.refused, counter.plan.plan, sys.stderr, error_paint)
            _tell_doubts(probes, tell)
            print("surftrace: counting stacks", file=sys.stderr, flush=True)
            wait(counter, noted, options.time_s)
            counts = counter.finish()
        stacks = counted_stacks(counts.rows, probes.resolved.probes)
        _tell_lacks(stacks, counts, tell)
        output = Output(noted)
        if has_table:
            output.write("".join(f"{line}\n" for line in _table(stacks, lines_of, paint)))
        else:
            _write_folded(stacks, probes, options, output)
        with suppress(Interrupted):
            output.flush()
    is_lost = options.is_strict and (counts.has_lost or bool(counter.losses))
    return end_status(noted, is_lost, options.time_s is not None)


def _tell_doubts(probes: Probes, tell: Callable[[Notice], None]) -> None:
    """Say where stacks may be wrong: 6.1 was seen to go on from there with what had called another function before."""
    inside = [probe for probe in probes.resolved.probes if probe.kind is Kind.ENTRY and "+" in probe.place]
    if inside:
        message = f"the kernel may lose its way from {inside[0].place} to its callers: not all stacks will be right"
        tell(Notice(message, (_INSIDE_HINT,)))


def _tell_lacks(stacks: Sequence[CountedStack], counts: Counts, tell: Callable[[Notice], None]) -> None:
    """Say what is missing in the stacks, and of them."""
    if cut := sum(stack.is_cut for stack in stacks):
        what = f"{cut} of {len(stacks)} stacks are cut"
        tell(Notice(f"{what}: the kernel counts by the innermost 16 frames, newer ones by 31", (_CUT_HINT,)))
    for label in dict.fromkeys(stack.event for stack in stacks if stack.is_broken):
        tell(Notice(f"frames between {label} and its callers are lost"))
    for each in counts.dropped:
        tell(Notice(f"{each.hits} hits of {each.event.label} not counted: the table was full", (_FULL_HINT,)))


def _table(stacks: Sequence[CountedStack], lines_of: LinesOf | None, paint: Paint) -> Iterator[str]:
    """Each stack under its hits and their share of all, the most frequent first."""
    total = sum(stack.hits for stack in stacks)
    width = len(str(total))
    has_events = len({stack.event for stack in stacks}) > 1
    for stack in stacks:
        event = f"  {paint(Role.EVENT, escape(stack.event))}" if has_events else ""
        yield f"{paint(Role.NAME, f'{stack.hits:>{width}}')}  {100 * stack.hits / total:5.1f} %{event}"
        lines = tuple(lines_of(frame, "") for frame in stack.frames) if lines_of is not None else ()
        shown = frame_lines(stack.frames, lines, paint)
        if stack.is_broken:
            shown.insert(1, paint(Role.WARNING, f" => {_LOST}"))
        if stack.is_cut:
            shown.append(paint(Role.WARNING, f" => {_CUT}"))
        yield from shown
    yield paint(Role.FAINT, total_of(total, len(stacks)))


def _write_folded(stacks: Sequence[CountedStack], probes: Probes, options: Options, output: Output) -> None:
    """The folded lines and the picture, whichever are asked for; lines for standard output are kept there."""
    folded = list(folded_stacks(stacks))
    if options.folded == STDOUT:
        output.write(folded_text(folded))
    elif options.folded is not None:
        write_file(options.folded, folded_text(folded))
    if options.flame is not None:
        texts = (probe.source.text[probe.span.start : probe.span.end] for probe in probes.script.probes)
        write_file(options.flame, flame_graph(folded, "; ".join(texts)))


def folded_stacks(stacks: Sequence[CountedStack]) -> Iterator[FoldedStack]:
    """The stacks by their functions alone, what is missing marked; of several events, each is the outermost one."""
    has_events = len({stack.event for stack in stacks}) > 1
    for stack in stacks:
        names = [without_offset(frame) for frame in stack.frames]
        if stack.is_broken:
            names.insert(1, _LOST)
        names += [_CUT] * stack.is_cut + [stack.event] * has_events
        yield FoldedStack(tuple(reversed(names)), stack.hits)
