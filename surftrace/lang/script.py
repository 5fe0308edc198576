"""Saved scripts and command lines: text in, the part of it that is each probe out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from surftrace.lang.parse import parse_probe
from surftrace.lang.source import CompileError, Diagnostic, Source, Span
from surftrace.lang.syntax import Probe


@dataclass(frozen=True, slots=True)
class Script:
    """Probes in the order they were written, and what is wrong with those that could not be read."""

    probes: tuple[Probe, ...]
    errors: tuple[Diagnostic, ...] = ()
    sources: tuple[Source, ...] = ()


def probe_spans(text: str) -> Iterator[Span]:
    """The probes of a saved script: a line each, continued by a trailing backslash; `#` starts a comment line."""
    start = 0
    while start < len(text):
        end = start
        while True:
            end = text.find("\n", end)
            if end < 0 or text[end - 1 : end] != "\\" or text[start:].lstrip().startswith("#"):
                break
            end += 1
        end = len(text) if end < 0 else end
        if (line := text[start:end].strip()) and not line.startswith("#"):
            yield Span(start, end)
        start = end + 1


def parse_script(expressions: Sequence[str], files: Sequence[tuple[str, str]] = ()) -> Script:
    """Shell arguments, then (path, text) of saved scripts. Bad syntax is kept, to be told with all other mistakes."""
    sources = [(Source(f"probe {number}", text), Span(0, len(text))) for number, text in enumerate(expressions, 1)]
    for path, text in files:
        source = Source(path, text, is_file=True)
        sources.extend((source, span) for span in probe_spans(text))
    probes: list[Probe] = []
    diagnostics: list[Diagnostic] = []
    for source, span in sources:
        try:
            probes.append(parse_probe(source, span))
        except CompileError as error:
            diagnostics.extend(error.diagnostics)
    return Script(tuple(probes), tuple(diagnostics), tuple(source for source, _ in sources))
