"""argv in, `Options` out."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from surftrace import __version__
from surftrace.cli.arguments import (
    CommandParser,
    UsageError,
    add_dry_run,
    add_files,
    instance_name,
    is_end,
    kilobytes,
    rate,
    seconds,
    whole_number,
)
from surftrace.record import record
from surftrace.tracing.limits import DEFAULT_MAX_RATE

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

_DESCRIPTION = "Trace kernel functions and events with one C-like line."

SHORT_HELP = """\
Trace kernel functions and events with one C-like line:

  surftrace 'p ip_output skb->len ip_dst=@(struct iphdr*)l3skb->daddr f:ip_dst==10.0.0.0/8'
  surftrace -s -c 5 'r vfs_statx ret=$retval f:ret==-2'
  surftrace -S 'p wake_up_new_task p->comm users=p->mm->mm_users'     print the commands, touch nothing

Ctrl-C ends a trace and leaves the kernel as it was.
What can be traced: surftrace list 'tcp_*'; surftrace show ip_output.
Counted in the kernel: surftrace count 'p tcp_*' --by comm; surftrace latency vfs_read.
All options: surftrace --help. The language: man surftrace-probes."""

_EPILOG = """\
examples:
  surftrace 'p ip_output proto=@(struct iphdr*)l3%2->protocol ip_dst=@(struct iphdr*)l3%2->daddr'
  surftrace 'p ip_output skb->len b16_port=@(struct udphdr *)skb->dest f:b16_port<1024'
  surftrace 'p wake_up_new_task p->comm users=p->mm->mm_users f:p->comm=="python3"'
  surftrace -s 'r do_filp_open file=$retval' 'e sched/sched_switch f:prev_prio<100'
  surftrace -n 'p ip_output len=skb->len'      print the commands, touch nothing
  surftrace count 'p ip_output skb->len' --by comm --sum len     counted in the kernel
  surftrace latency vfs_read         how long its calls take
  surftrace list 'tcp_v4_*'; surftrace list --takes 'struct sk_buff *'     functions and events
  surftrace show ip_output; surftrace show 'struct sk_buff'
  surftrace lines ip_rcv; surftrace vars ip_rcv:5     what p ip_rcv:5 may name (DWARF)
  source <(surftrace completion bash)     TAB completes functions, events and members
  surftrace clean                    remove what a trace that was killed has left
  surftrace -F ip_output; surftrace -l ip_output.c:432     the places that p ip_output+0x5b may name

exit status:
  0    the trace ran and ended as asked (-t, -c, or Ctrl-C with one of them)
  1    the kernel refused a probe, or cannot trace
  2    wrong usage, or a wrong expression
  3    not all was seen, with --strict; or --at-max-rate end
  130  ended by Ctrl-C without -t or -c (129 by SIGHUP, 143 by SIGTERM)

The language is described in surftrace-probes(7), the command in surftrace(8).
"""


@record
class Options:
    """What the command line asks for. Times in seconds. `function` or `line`: code to print instead of a trace."""

    expressions: tuple[str, ...]
    files: tuple[str, ...]
    definitions: tuple[tuple[str, str], ...]
    has_stacks: bool
    has_user_stacks: bool
    is_stack_count: bool
    folded: str | None
    flame: str | None
    has_guards: bool
    is_explained: bool
    is_dry_run: bool
    output: str | None
    btfs: tuple[str, ...]
    vmlinux: str | None
    modules: tuple[str, ...]
    arch: str | None
    kernel: str | None
    symbols: str | None
    function: str | None
    line: str | None
    source: str | None
    instance: str | None
    time_s: float | None
    count: int | None
    buffer_kb: int | None
    is_overwriting: bool | None
    is_json: bool
    is_csv: bool
    is_raw: bool
    time_format: str
    max_rate: int
    is_ended_by_rate: bool
    is_strict: bool
    color: str


class _Parser(CommandParser):
    def _print_message(self, message: str, file: "SupportsWrite[str] | None" = None) -> None:
        """Write help and version as anything else: argparse's own keeps a full disk to itself."""
        (file or sys.stderr).write(message)


def parse_options(argv: Sequence[str]) -> Options:
    """The options. Raises UsageError; --help and --version print and raise SystemExit(0)."""
    chosen = trace_parser().parse_intermixed_args(argv)
    if chosen.function is not None or chosen.line is not None:
        _check_code(chosen)
    elif not chosen.expressions and not chosen.files:
        raise UsageError("no probe given", "for example: surftrace 'p ip_output len=skb->len'")
    elif chosen.source is not None:
        raise UsageError("--source is for -F and -l")
    if chosen.output is not None and chosen.is_dry_run:
        raise UsageError("-o writes a script, -S prints one: choose one of them")
    if chosen.is_explained and (chosen.is_dry_run or chosen.output is not None):
        raise UsageError("--explain prints no commands: leave out -S or -o")
    if chosen.output is not None and (chosen.time_s is not None or chosen.count is not None):
        raise UsageError("the script of -o runs until it is stopped: it takes no -t and no -c")
    _check_stack_count(chosen)
    _check_format(chosen)
    _check_target(chosen)
    if chosen.definitions and not chosen.files:
        raise UsageError("-D fills in ${name} in a script: it needs -f FILE")
    for name in ("expressions", "files", "btfs", "modules", "definitions"):
        setattr(chosen, name, tuple(getattr(chosen, name)))
    return Options(**vars(chosen))


def _check_code(chosen: argparse.Namespace) -> None:
    """Refuse what is for a trace where -F or -l prints code."""
    option = "-F" if chosen.function is not None else "-l"
    if chosen.function is not None and chosen.line is not None:
        raise UsageError("-F prints a function, -l a line: choose one of them")
    if chosen.expressions:
        raise UsageError(f"{option} prints code and takes no probe: leave out '{chosen.expressions[0]}'")
    traces = next((name for name, is_given in _of_traces(chosen) if is_given), None)
    if traces is not None:
        raise UsageError(f"{option} prints code and traces nothing: leave out {traces}")


def _of_traces(chosen: argparse.Namespace) -> Iterator[tuple[str, bool]]:
    """The options that mean nothing where code is printed, each with: was it given?"""
    yield "-s", chosen.has_stacks
    yield "--user-stack", chosen.has_user_stacks
    yield "--stack-count", chosen.is_stack_count
    yield "--folded", chosen.folded is not None
    yield "--flame", chosen.flame is not None
    yield "-f", bool(chosen.files)
    yield "-D", bool(chosen.definitions)
    yield "--no-guard", not chosen.has_guards
    yield "-S", chosen.is_dry_run
    yield "--explain", chosen.is_explained
    yield "-o", chosen.output is not None
    yield "-b", bool(chosen.btfs)
    yield "--module", bool(chosen.modules)
    yield "--kernel", chosen.kernel is not None
    yield "--symbols", chosen.symbols is not None
    yield "--instance", chosen.instance is not None
    yield "-t", chosen.time_s is not None
    yield "-c", chosen.count is not None


def _check_stack_count(chosen: argparse.Namespace) -> None:
    """Refuse what a count of stacks has not; --folded and --flame ask for one."""
    asked = next((name for name, file in (("--folded", chosen.folded), ("--flame", chosen.flame)) if file), None)
    if not chosen.is_stack_count and asked is None:
        return
    others = (
        *(("--user-stack", chosen.has_user_stacks), ("-o", chosen.output), ("-c", chosen.count)),
        *(("--json", chosen.is_json), ("--csv", chosen.is_csv), ("--raw", chosen.is_raw)),
    )
    if other := next((name for name, value in others if value), None):
        option = asked or "--stack-count"
        raise UsageError(f"{option} counts the kernel's stacks and prints no events: leave out {other}")
    chosen.is_stack_count = True


def _check_format(chosen: argparse.Namespace) -> None:
    """Refuse two forms of output at once, and what a form has not."""
    forms = (("--json", chosen.is_json), ("--csv", chosen.is_csv), ("--raw", chosen.is_raw))
    asked = [name for name, is_asked in forms if is_asked]
    if len(asked) > 1:
        raise UsageError(f"{asked[0]} and {asked[1]} are two forms of output: choose one")
    if asked and chosen.time_format != "boot":
        raise UsageError(f"--time-format is for people: {asked[0]} has the kernel's times")
    if chosen.is_raw and chosen.count is not None:
        raise UsageError("--raw passes on what the kernel prints and counts no events: it takes no -c")


def _check_target(chosen: argparse.Namespace) -> None:
    """Refuse what is for another kernel where a trace asks the running one."""
    is_trace = not (chosen.is_dry_run or chosen.is_explained) and chosen.output is None
    for option, value in (("--kernel", chosen.kernel), ("--symbols", chosen.symbols)):
        if value is not None and is_trace:
            message = f"{option} is for another kernel: a trace asks the running one itself"
            raise UsageError(message, "print the commands with -S, or write them with -o")
    if chosen.kernel is not None and not chosen.btfs and chosen.vmlinux is None:
        raise UsageError("--kernel needs the types of that kernel", "give its BTF, -b FILE, or its DWARF, -v FILE")


def trace_parser() -> argparse.ArgumentParser:
    """The parser of `surftrace` itself."""
    parser = _Parser(
        prog="surftrace",
        usage="surftrace [OPTION ...] 'PROBE' ...",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        add_help=False,
    )
    _add_probes(parser)
    _add_results(parser)
    _add_kernel(parser)
    _add_code(parser)
    _add_trace(parser)
    parser.add_argument("--version", action="version", version=f"surftrace {__version__}", help="print the version")
    parser.add_argument("-h", "--help", action="help", help="print this help")
    return parser


def _add_probes(parser: argparse.ArgumentParser) -> None:
    """What is traced."""
    add = parser.add_argument
    add(
        "expressions",
        nargs="*",
        metavar="PROBE",
        help="KIND TARGET [[NAME=]VALUE ...] [f:FILTER], KIND p, r, e, P or R",
    )
    add("-s", "--stack", dest="has_stacks", action="store_true", help="the kernel stack under each event")
    add("--user-stack", dest="has_user_stacks", action="store_true", help="the stack of the task's program, too")
    add(
        "--stack-count",
        dest="is_stack_count",
        action="store_true",
        help="count the kernel's stacks in the kernel instead of printing events",
    )
    add("--folded", metavar="FILE", help="write these, folded to a line each, for other tools; - for standard output")
    add("--flame", metavar="FILE", help="write these as a flame graph, an SVG picture")
    add_files(parser)
    add(
        "--no-guard",
        dest="has_guards",
        action="store_false",
        help="do not look at the pointers that values are read through: cheaper, but null ones show stale values",
    )


def _add_results(parser: argparse.ArgumentParser) -> None:
    """What comes of it instead of a trace."""
    add = parser.add_argument
    add_dry_run(parser)
    add(
        "--explain",
        dest="is_explained",
        action="store_true",
        help="say what each value became: its type, the reads, the symbol; touch nothing",
    )
    add("-o", "--output", metavar="FILE", help="write a bash script that traces without surftrace")


def _add_kernel(parser: argparse.ArgumentParser) -> None:
    """The kernel that it is for."""
    add = parser.add_argument
    add(
        *("-b", "--btf"),
        dest="btfs",
        action="append",
        default=[],
        metavar="FILE",
        help="types from FILE: raw BTF, or a vmlinux with it; once more for each .ko",
    )
    add(
        *("-v", "--vmlinux"),
        metavar="PATH",
        help="types that BTF lacks from the DWARF in PATH: a vmlinux, or a folder to look for it in",
    )
    add(
        "--module",
        dest="modules",
        action="append",
        default=[],
        metavar="FILE",
        help="types, lines and variables of the module in FILE, a .ko, packed or not; once more for each",
    )
    add("-a", "--arch", metavar="ARCH", help="compile for this architecture: x86_64, aarch64, ...")
    add("--kernel", metavar="RELEASE", help="with -b or -v: compile for what Linux RELEASE can do, such as 5.10")
    add("--symbols", metavar="FILE", help="check names against FILE: a System.map or a copy of /proc/kallsyms")


def _add_code(parser: argparse.ArgumentParser) -> None:
    """What is looked at instead of traced."""
    add = parser.add_argument
    add(
        *("-F", "--func"),
        dest="function",
        metavar="FUNCTION",
        help="print the function's instructions, each at its FUNCTION+OFFSET, under their lines of source",
    )
    add("-l", "--line", metavar="FILE:LINE", help="print where the code of a line is, and its instructions")
    add("--source", metavar="FOLDER", help="with -F and -l: the folder with the kernel's sources")


def _add_trace(parser: argparse.ArgumentParser) -> None:
    """How a trace runs and ends."""
    add = parser.add_argument
    add("--instance", type=instance_name, metavar="NAME", help="name of the tracefs instance and probe group")
    add("-t", "--time", dest="time_s", type=seconds, metavar="SECONDS", help="stop after SECONDS")
    add("-c", "--count", type=whole_number, metavar="N", help="stop after N events")
    add(
        "--buffer-size",
        dest="buffer_kb",
        type=kilobytes,
        metavar="SIZE",
        help="room for events in the kernel, on each CPU: 4M, 512K",
    )
    add(
        "--overwrite",
        dest="is_overwriting",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="in a full buffer new events take the place of old ones (the kernel's way), or are lost",
    )
    add("--json", dest="is_json", action="store_true", help="events as JSON Lines, for programs")
    add("--csv", dest="is_csv", action="store_true", help="events as CSV, a column for each value")
    add("--raw", dest="is_raw", action="store_true", help="events as the kernel prints them, hidden values and all")
    add(
        "--time-format",
        choices=("boot", "wall", "delta"),
        default="boot",
        help="times since boot (boot), of the wall clock (wall), since the event before (delta)",
    )
    add(
        "--max-rate",
        type=rate,
        default=DEFAULT_MAX_RATE,
        metavar="N",
        help=f"pause for a second where more than N events come in one (default {DEFAULT_MAX_RATE}; 0: never)",
    )
    add(
        "--at-max-rate",
        dest="is_ended_by_rate",
        type=is_end,
        default=False,
        metavar="pause|end",
        help="what becomes of the trace at --max-rate: it goes on after the pause (pause), or it ends (end)",
    )
    add("--strict", dest="is_strict", action="store_true", help="exit with status 3 where events were lost")
    add("--color", choices=("auto", "always", "never"), default="auto", help="colour (auto: on a terminal)")
