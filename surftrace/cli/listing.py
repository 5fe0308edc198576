"""`surftrace list [PATTERN ...]`: the kernel's functions and trace events, one a line."""

import argparse
import sys
from collections.abc import Sequence

from surftrace.cli.arguments import UsageError
from surftrace.cli.kernels import chosen_target, kernel_parser
from surftrace.compiler.finding import Query, find
from surftrace.kernel.catalog import ListedEvent, ListedFunction
from surftrace.kernel.declarations import declared_field
from surftrace.output.color import Paint, Role
from surftrace.output.escape import escape

_DESCRIPTION = """\
Print the kernel's functions, as C declares them, and its trace events with their fields: those that a PATTERN matches,
or all. In brackets stand the module that a function is in, and why no probe can be put at it.
"""
_EXAMPLES = (
    "surftrace list 'tcp_v4_*' 'sch_htb:*' 'sched/*'",
    "surftrace list --takes 'struct sk_buff *' --takes 'struct net_device *' '*xmit*'",
)


def run_list(argv: Sequence[str], paint: Paint) -> int:
    """Run the command; the result is the exit status."""
    chosen = list_parser().parse_args(argv)
    if chosen.only_events and chosen.takes:
        raise UsageError("--takes is about the parameters of functions: leave out --events")
    has_events = not chosen.only_functions and not chosen.takes
    query = Query(tuple(chosen.patterns), tuple(chosen.takes), not chosen.only_events, has_events)
    functions, events = find(query, chosen_target(chosen))
    lines = [*(_function(each, paint) for each in functions), *(_event(each, paint) for each in events)]
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return 0


def _function(function: ListedFunction, paint: Paint) -> str:
    before, name, after = function.declaration.partition(f"{function.name}(")
    text = f"{escape(before)}{paint(Role.NAME, escape(name[:-1]))}({escape(after)}"
    notes = [*([function.module] if function.module else []), *_problem(function)]
    return text + "".join(f"  {paint(Role.FAINT, f'[{escape(note)}]')}" for note in notes)


def _problem(function: ListedFunction) -> list[str]:
    return [f"no probe: {function.problem}"] if function.problem else []


def _event(event: ListedEvent, paint: Paint) -> str:
    fields = "..." if event.fields is None else ", ".join(map(declared_field, event.fields))
    return f"{escape(event.system)}/{paint(Role.NAME, escape(event.name))}({escape(fields)})"


def list_parser() -> argparse.ArgumentParser:
    """The parser of `surftrace list`."""
    parser = kernel_parser("list", _DESCRIPTION, *_EXAMPLES, has_symbols=True)
    add = parser.add_argument
    add(
        "patterns",
        nargs="*",
        metavar="PATTERN",
        help="a name with *, ?, [a-z] in it; SYSTEM/NAME of events, MODULE:NAME of functions in a module",
    )
    add(
        "--takes",
        action="append",
        default=[],
        metavar="TYPE",
        help="functions with a parameter of TYPE; once more for each other one that they are to have too",
    )
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument("--functions", dest="only_functions", action="store_true", help="no events")
    kinds.add_argument("--events", dest="only_events", action="store_true", help="events alone")
    return parser
