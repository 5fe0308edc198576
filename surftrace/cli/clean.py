"""`surftrace clean [NAME ...]`: what killed traces left is removed."""

from collections.abc import Sequence

from surftrace.cli.options import CommandParser
from surftrace.output.color import Paint, Role
from surftrace.tracing.instance import remove_left_instance, sweep
from surftrace.tracing.tracefs import find_tracefs

_DESCRIPTION = """\
Remove what traces that were killed have left in the kernel: their tracefs instances, and the probes of these. Each
trace does so when it starts, for those of the usual names. Traces that run are left alone, and so is all that is not
surftrace's. A NAME is one that was given with --instance, or surftrace_sh, which the lines of -S make.
"""


def run_clean(argv: Sequence[str], paint: Paint) -> int:
    """Run the command; the result is the exit status. Raises TracefsError for a NAME that is not to be removed."""
    parser = CommandParser(prog="surftrace clean", description=_DESCRIPTION, allow_abbrev=False)
    parser.add_argument("names", nargs="*", metavar="NAME", help="an instance to remove besides")
    chosen = parser.parse_args(argv)
    tracefs = find_tracefs()
    removed = [*sweep(tracefs)]
    for name in chosen.names:
        if name not in removed:
            remove_left_instance(tracefs, name)
            removed.append(name)
    for name in removed:
        print(f"removed {paint(Role.NAME, name)}")
    if not removed:
        print("nothing is left over")
    return 0
