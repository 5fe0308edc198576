"""The commands about code: `surftrace lines FUNCTION`, `surftrace vars PLACE`."""

import argparse
import re
from collections.abc import Iterator, Sequence

from surftrace.cli.arguments import UsageError
from surftrace.cli.kernels import chosen_target, kernel_parser
from surftrace.cli.place import parse_place
from surftrace.cli.sources import Sources
from surftrace.compiler.lines import CodeLine, CodeVariable, Listing, listing, places_of_line, variables_at_place
from surftrace.kernel.target import Target
from surftrace.lang.printing import print_target
from surftrace.lang.source import CompileError, Diagnostic, Source
from surftrace.lang.syntax import FunctionTarget, LineTarget
from surftrace.output.color import Paint, Role
from surftrace.output.escape import escape


def run_lines(argv: Sequence[str], paint: Paint) -> int:
    """`surftrace lines FUNCTION`: the lines that a probe can name, with their text where the file is found."""
    chosen = lines_parser().parse_args(argv)
    if place := re.match(r"(.*)[:+](?=\d)", chosen.place):
        hint = f"all its lines: surftrace lines {place[1]}; what is in scope there: surftrace vars {chosen.place}"
        raise UsageError(f"'{chosen.place}' is a place in {place[1]}", hint)
    source, target = parse_place("surftrace lines", chosen.place, ":0")
    assert isinstance(target, LineTarget)
    found = listing(source, target, chosen_target(chosen))
    text = Sources(chosen.source).required_lines(found.file, found.folder)
    note = "" if text else "  (its text is not found: --source names the folder that it is in)"
    print(paint(Role.EVENT, escape(found.title)) + paint(Role.FAINT, note))
    for row in _rows(found, text):
        number, code, places = row
        print(f"{paint(Role.NAME, number)}  {escape(code)}{paint(Role.FAINT, places)}".rstrip())
    return 0


def _rows(found: Listing, text: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """The columns of each line that is shown: all from the first to the last where their text is known."""
    by_line = {each.line: each for each in found.lines}
    width = max((len(str(each.number)) for each in found.lines), default=1)
    shown = range(min(by_line, default=1), max(by_line, default=0) + 1) if text else sorted(by_line)
    for line in shown:
        each = by_line.get(line)
        number = str(each.number) if each is not None else ""
        content = text[line - 1].expandtabs() if 0 < line <= len(text) else ""
        yield number.rjust(width), content, "" if text else _places(each)


def _places(line: CodeLine | None) -> str:
    return ", ".join(str(place) for place in line.places) if line is not None else ""


def run_vars(argv: Sequence[str], paint: Paint) -> int:
    """`surftrace vars PLACE`: the variables in scope there, with their types and where they are."""
    chosen = vars_parser().parse_args(argv)
    target = chosen_target(chosen)
    source, places = _named_places(chosen.place, target)
    for place in places:
        found = variables_at_place(source, place.span, place.name, place.byte_offset, target, place.module)
        print(paint(Role.EVENT, escape(print_target(place))))
        names, types = (max((len(text) for text in texts), default=0) for texts in _columns(found))
        for each in found:
            where = each.where if each.is_there else paint(Role.FAINT, each.where)
            print(f"  {paint(Role.NAME, each.name.ljust(names))}  {escape(each.type).ljust(types)}  {where}")
        if not found:
            print(f"  {paint(Role.FAINT, 'no variables')}")
    return 0


def _columns(found: Sequence[CodeVariable]) -> tuple[list[str], list[str]]:
    return [each.name for each in found], [escape(each.type) for each in found]


def _named_places(text: str, target: Target) -> tuple[Source, list[FunctionTarget]]:
    """The places in functions that a text names, and the source that errors are about."""
    source, place = parse_place("surftrace vars", text)
    if isinstance(place, FunctionTarget):
        return source, [place]
    if not isinstance(place, LineTarget):
        raise CompileError([Diagnostic(source, place.span, "this is neither a function of the kernel nor a line")])
    found = places_of_line(source, place, target)
    span = place.span
    return source, [FunctionTarget(each.module, each.symbol, each.byte_offset, span, span) for each in found]


def lines_parser() -> argparse.ArgumentParser:
    """The parser of `surftrace lines`."""
    example = "surftrace lines ip_rcv           then: surftrace 'p ip_rcv:5 skb->len'"
    parser = kernel_parser("lines", "Print the lines of a function, or of a file, that have code.", example)
    parser.add_argument("place", metavar="FUNCTION", help="a function, or a source file: ip_input.c, ipv4/ip_input.c")
    parser.add_argument("--source", metavar="FOLDER", help="the folder with the kernel's sources, for the lines' text")
    return parser


def vars_parser() -> argparse.ArgumentParser:
    """The parser of `surftrace vars`."""
    example = "surftrace vars ip_rcv:5          then: surftrace 'p ip_rcv:5 net->ifindex'"
    parser = kernel_parser(
        "vars", "Print the variables in scope at a place, with the fetch arguments of a probe.", example
    )
    parser.add_argument("place", metavar="PLACE", help="FUNCTION, FUNCTION:LINE, FUNCTION+OFFSET or FILE.c:LINE")
    return parser
