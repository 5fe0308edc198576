"""The commands about code: `surftrace lines FUNCTION`, `surftrace vars PLACE`."""

import argparse
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from surftrace.cli.options import UsageError
from surftrace.compiler.lines import CodeLine, CodeVariable, Listing, listing, places_of_line, variables_at_place
from surftrace.kernel.machine import machine_named
from surftrace.kernel.offline import OfflineKernel
from surftrace.kernel.target import Kernel, Target
from surftrace.lang.parse import parse_probe
from surftrace.lang.source import CompileError, Diagnostic, Source, Span
from surftrace.lang.syntax import FunctionTarget, LineTarget
from surftrace.output.color import Paint, Role
from surftrace.output.escape import escape
from surftrace.tracing.running import RunningKernel

# Where distributions put the sources of a kernel; DWARF has the paths of the machine that built it.
_SOURCE_FOLDERS = ("/usr/src/linux", "/usr/src/kernels/{release}", "/lib/modules/{release}/source")


def run(command: str, argv: Sequence[str], paint: Paint) -> int:
    """Run one of COMMANDS; the result is the exit status."""
    return COMMANDS[command](argv, paint)


def _lines(argv: Sequence[str], paint: Paint) -> int:
    """`surftrace lines FUNCTION`: the lines that a probe can name, with their text where the file is found."""
    parser = _parser("lines", "FUNCTION", "the lines of a function, or of a file.c, that have code, as p FUNCTION:LINE")
    parser.add_argument("--source", metavar="FOLDER", help="the folder with the kernel's sources")
    chosen = parser.parse_args(argv)
    source = Source("lines", chosen.place)
    target = LineTarget(chosen.place, 0, Span(0, len(chosen.place)))
    found = listing(source, target, _target(chosen))
    text = _source_text(found, chosen.source)
    print(paint(Role.EVENT, escape(found.title)))
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


def _source_text(found: Listing, folder: str | None) -> list[str]:
    release = os.uname().release
    folders = (
        [folder] if folder is not None else [found.folder, *(each.format(release=release) for each in _SOURCE_FOLDERS)]
    )
    for each in folders:
        path = Path(each, found.file)
        try:
            return path.read_text(errors="replace").splitlines()
        except OSError:
            continue
    if folder is not None:
        raise UsageError(f"there is no {found.file} in {folder}")
    return []


def _vars(argv: Sequence[str], paint: Paint) -> int:
    """`surftrace vars PLACE`: the variables in scope there, with their types and where they are."""
    parser = _parser("vars", "PLACE", "the variables in scope at FUNCTION[+OFFSET], FUNCTION:LINE or FILE.c:LINE")
    chosen = parser.parse_args(argv)
    source = Source("vars", f"p {chosen.place}")
    target = _target(chosen)
    for symbol, byte_offset, span in _named_places(source, target):
        print(paint(Role.EVENT, escape(symbol + (f"+{byte_offset:#x}" if byte_offset else ""))))
        found = variables_at_place(source, span, symbol, byte_offset, target)
        names, types = (max((len(text) for text in texts), default=0) for texts in _columns(found))
        for each in found:
            where = each.where if each.is_there else paint(Role.FAINT, each.where)
            print(f"  {paint(Role.NAME, each.name.ljust(names))}  {escape(each.type).ljust(types)}  {where}")
    return 0


def _columns(found: Sequence[CodeVariable]) -> tuple[list[str], list[str]]:
    return [each.name for each in found], [escape(each.type) for each in found]


def _named_places(source: Source, target: Target) -> Iterator[tuple[str, int, Span]]:
    place = parse_probe(source, Span(0, len(source.text))).target
    if isinstance(place, FunctionTarget) and not place.module:
        yield place.name, place.byte_offset, place.span
    elif isinstance(place, LineTarget):
        for each in places_of_line(source, place, target):
            yield each.symbol, each.byte_offset, place.span
    else:
        raise CompileError([Diagnostic(source, place.span, "this is neither a function nor a line")])


def _target(chosen: argparse.Namespace) -> Target:
    kernel: Kernel
    if chosen.btfs:
        kernel = OfflineKernel.of_files(*chosen.btfs, vmlinux=chosen.vmlinux)
    elif chosen.vmlinux is not None:
        kernel = OfflineKernel.of_files(vmlinux=chosen.vmlinux)
    else:
        kernel = RunningKernel(None)
    return Target(machine_named(chosen.arch or os.uname().machine), kernel)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message, f"{self.prog} --help lists what there is")


def _parser(command: str, place: str, description: str) -> argparse.ArgumentParser:
    parser = _Parser(prog=f"surftrace {command}", description=f"Print {description}.", allow_abbrev=False)
    parser.add_argument("place", metavar=place)
    parser.add_argument("-v", "--vmlinux", metavar="PATH", help="the kernel's DWARF: a vmlinux, or a folder to look in")
    parser.add_argument("-b", "--btf", dest="btfs", action="append", default=[], metavar="FILE", help="types from FILE")
    parser.add_argument("-a", "--arch", metavar="ARCH", help="the machine of that kernel")
    return parser


COMMANDS: Mapping[str, Callable[[Sequence[str], Paint], int]] = {"lines": _lines, "vars": _vars}
