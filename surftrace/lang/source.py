"""Where text came from: sources, spans in them, and diagnostics shown under the user's own text."""

from collections.abc import Iterable
from typing import Literal

from surftrace.errors import SurftraceError
from surftrace.record import record


@record
class Span:
    """A half-open range of character offsets in a source's text."""

    start: int
    end: int

    def to(self, other: "Span") -> "Span":
        """The span from this one's start to the other's end."""
        return Span(self.start, other.end)


@record
class Piece:
    """A part of an expanded text, and the part of the written one that it stands for.

    Parts of equal length are the same text; else the written one is `${name}`.
    """

    expanded: Span
    written: Span


@record
class Source:
    """A text that probes are read from: one shell argument (`probe 1`), or a whole saved script.

    A probe with `${name}` in it has a source of its own: `text` is what that became, `pieces` lead back to the text of
    the script, `written`.
    """

    name: str
    text: str
    is_file: bool = False
    written: "Source | None" = None
    pieces: tuple[Piece, ...] = ()

    def as_written(self, span: Span) -> "tuple[Source, Span]":
        """The user's own text that a span of this one came from."""
        if self.written is None:
            return self, span
        start = end = self.pieces[-1].written.end
        for piece in reversed(self.pieces):
            is_same = piece.expanded.end - piece.expanded.start == piece.written.end - piece.written.start
            shift = piece.written.start - piece.expanded.start
            if span.start < piece.expanded.end or piece.expanded.start == span.start:
                start = span.start + shift if is_same else piece.written.start
            if span.end <= piece.expanded.end:
                end = span.end + shift if is_same else piece.written.end
        return self.written, Span(start, max(start, end))

    def position(self, offset: int) -> tuple[int, int]:
        """Line and column of a character offset, both counted from 1."""
        line_start = self.text.rfind("\n", 0, offset) + 1
        return self.text.count("\n", 0, offset) + 1, offset - line_start + 1

    def line(self, offset: int) -> tuple[str, int]:
        """The text of the line that holds the offset, and the offset at which that line starts."""
        start = self.text.rfind("\n", 0, offset) + 1
        end = self.text.find("\n", start)
        return self.text[start : end if end >= 0 else len(self.text)], start


@record
class Diagnostic:
    """A message about a place in a source, with hints on what to do."""

    source: Source
    span: Span
    message: str
    hints: tuple[str, ...] = ()
    severity: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        head = f"{render_location(self)}: {self.severity}: {self.message}"
        return "\n".join([printable(head), *render_excerpt(self), *(f"hint: {printable(hint)}" for hint in self.hints)])


class DiagnosedError(SurftraceError):
    """An error that places in the user's text are to blame for."""

    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        self.diagnostics = tuple(diagnostics)
        super().__init__("\n".join(diagnostic.message for diagnostic in self.diagnostics))

    def __str__(self) -> str:
        return "\n".join(map(str, self.diagnostics))


class CompileError(DiagnosedError):
    """What was written cannot be compiled."""


_INDENT = "    "
_MAX_COLUMNS = 2000


def printable(text: str) -> str:
    """The text with control characters and lone surrogates made visible, a character for a character."""
    if text.isprintable():  # a long line with a thousand mistakes is shown a thousand times
        return text
    return "".join(char if char.isprintable() else " " if char.isspace() else "?" for char in text)


def render_location(diagnostic: Diagnostic) -> str:
    """`probe 1`, or `FILE:LINE:COLUMN` for a script."""
    source, span = diagnostic.source.as_written(diagnostic.span)
    if not source.is_file:
        return source.name
    line, column = source.position(span.start)
    return f"{source.name}:{line}:{column}"


def render_excerpt(diagnostic: Diagnostic, columns: int | None = None) -> tuple[str, str]:
    """The user's line and the line of carets under the diagnostic's span, cut to what fits so many columns."""
    source, span = diagnostic.source.as_written(diagnostic.span)
    line, line_start = source.line(span.start)
    line = printable(line)
    start, end = span.start - line_start, min(span.end - line_start, len(line))
    line, first = _cut(line, start, max(20, (columns or _MAX_COLUMNS) - len(_INDENT) - 1))
    start, end = start - first, min(end - first, len(line))
    return _INDENT + line, _INDENT + " " * start + "^" + "~" * (end - start - 1)


def _cut(line: str, start: int, width: int) -> tuple[str, int]:
    """So much of the line around an offset, its cut ends marked by dots, and the offset at which it begins."""
    if len(line) <= width:
        return line, 0
    first = max(0, min(start - width // 3, len(line) - width))
    cut = line[first : first + width]
    if first:
        cut = "..." + cut[3:]
    if first + width < len(line):
        cut = cut[:-3] + "..."
    return cut, first
