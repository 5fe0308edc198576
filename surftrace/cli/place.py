"""A place in the kernel's code as the command line has it, without a probe around it."""

from surftrace.lang.parse import parse_probe
from surftrace.lang.source import CompileError, Diagnostic, Piece, Source, Span
from surftrace.lang.syntax import Target

_KIND = "p "


def parse_place(name: str, text: str, rest: str = "") -> tuple[Source, Target]:
    """What a probe there would be put at, and the source that errors are about. CompileError where it is no place.

    `rest` is what the place lacks to be a probe's.
    """
    start, end = len(_KIND), len(_KIND) + len(text)
    pieces = (
        Piece(Span(0, start), Span(0, 0)),
        Piece(Span(start, end), Span(0, len(text))),
        Piece(Span(end, end + len(rest)), Span(len(text), len(text))),
    )
    source = Source(name, f"{_KIND}{text}{rest}", written=Source(name, text), pieces=pieces if rest else pieces[:-1])
    probe = parse_probe(source, Span(0, len(source.text)))
    if probe.arguments or probe.filter is not None:
        values = Span(probe.target.span.end, end)
        raise CompileError([Diagnostic(source, values, "a place stands alone here, without values")])
    return source, probe.target
