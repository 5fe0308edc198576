"""`surftrace clean [NAME ...]`: what killed traces left is removed."""

import argparse
import sys
from collections.abc import Sequence

from surftrace.cli.arguments import CommandParser
from surftrace.cli.report import report_error
from surftrace.output.color import Paint, Role, plain
from surftrace.tracing.instance import remove_left_instance, sweep
from surftrace.tracing.tracefs import TracefsError, find_tracefs

_DESCRIPTION = """\
Remove what traces that were killed have left in the kernel: their tracefs instances, and the probes of these. Each
trace does so when it starts, for those of the usual names. A NAME is one that was given with --instance, or
surftrace_sh, which the lines of -S make: an instance of that name, and the probes of that group, are removed whoever
made them. What is in use is left alone: traces that run, and an instance that somebody has a file of open.
"""


def run_clean(argv: Sequence[str], paint: Paint) -> int:
    """Run the command; the result is the exit status. What does not go is told, and keeps nothing else."""
    chosen = clean_parser().parse_args(argv)
    tracefs = find_tracefs()
    swept = sweep(tracefs)
    removed = [*swept.names]
    # One that was swept without success may be named as well.
    errors = {error.message: error for error in swept.errors}
    for name in dict.fromkeys(chosen.names):
        if name not in removed:
            try:
                remove_left_instance(tracefs, name)
                removed.append(name)
            except TracefsError as error:
                errors[error.message] = error
    for name in removed:
        print(f"removed {paint(Role.NAME, name)}")
    if not removed and not errors:
        print("nothing is left over")
    sys.stdout.flush()
    for each in errors.values():
        report_error(each, sys.stderr, paint if sys.stderr.isatty() else plain)
    return TracefsError.exit_status if errors else 0


def clean_parser() -> argparse.ArgumentParser:
    """The parser of `surftrace clean`."""
    parser = CommandParser(prog="surftrace clean", description=_DESCRIPTION, allow_abbrev=False)
    parser.add_argument("names", nargs="*", metavar="NAME", help="an instance to remove besides")
    return parser
