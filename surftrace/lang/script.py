"""Saved scripts and command lines: text in, the part of it that is each probe out."""

import re
from collections.abc import Iterator, Mapping, Sequence

from surftrace.lang.parse import parse_probe
from surftrace.lang.source import CompileError, Diagnostic, Piece, Source, Span
from surftrace.lang.syntax import Probe
from surftrace.names import did_you_mean, nearest
from surftrace.record import record

# `$${` is a `${` that stands for itself.
_EXPANSION = re.compile(r"\$\$\{|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^{}\n]*))?\}|(?P<bad>\$\{)")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@record
class Script:
    """Probes in the order they were written, and what is wrong with those that could not be read.

    `names` are those that `${name}` asks for somewhere.
    """

    probes: tuple[Probe, ...]
    errors: tuple[Diagnostic, ...] = ()
    sources: tuple[Source, ...] = ()
    names: frozenset[str] = frozenset()


def is_definition_name(text: str) -> bool:
    """Can `${name}` ask for this?"""
    return _NAME.fullmatch(text) is not None


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


def parse_script(
    expressions: Sequence[str], files: Sequence[tuple[str, str]] = (), definitions: Mapping[str, str] | None = None
) -> Script:
    """Shell arguments, then (path, text) of saved scripts, whose `${name}` become what `definitions` has for them.

    What is wrong is kept, to be told with all other mistakes.
    """
    sources = [(Source(f"probe {number}", text), Span(0, len(text))) for number, text in enumerate(expressions, 1)]
    diagnostics: list[Diagnostic] = []
    names: set[str] = set()
    for path, text in files:
        script = Source(path, text, is_file=True)
        for span in probe_spans(text):
            names.update(match["name"] for match in _EXPANSION.finditer(text, span.start, span.end) if match["name"])
            try:
                sources.append(_expanded(script, span, definitions or {}))
            except CompileError as error:
                diagnostics.extend(error.diagnostics)
                sources.append((script, Span(span.start, span.start)))
    probes: list[Probe] = []
    for source, span in sources:
        if span.start == span.end and source.is_file:
            continue
        try:
            probes.append(parse_probe(source, span))
        except CompileError as error:
            diagnostics.extend(error.diagnostics)
    return Script(tuple(probes), tuple(diagnostics), tuple(source for source, _ in sources), frozenset(names))


def _expanded(script: Source, span: Span, definitions: Mapping[str, str]) -> tuple[Source, Span]:
    """The probe written there with every `${name}` filled in; CompileError with each that cannot be."""
    matches = list(_EXPANSION.finditer(script.text, span.start, span.end))
    if not matches:
        return script, span
    text = ""
    pieces: list[Piece] = []
    diagnostics: list[Diagnostic] = []

    def add(part: str, start: int, end: int) -> None:
        nonlocal text
        pieces.append(Piece(Span(len(text), len(text) + len(part)), Span(start, end)))
        text += part

    place = span.start
    for match in matches:
        add(script.text[place : match.start()], place, match.start())
        try:
            add(_value(match, script, definitions), match.start(), match.end())
        except CompileError as error:
            diagnostics.extend(error.diagnostics)
        place = match.end()
    add(script.text[place : span.end], place, span.end)
    if diagnostics:
        raise CompileError(diagnostics)
    return Source(script.name, text, True, script, tuple(pieces)), Span(0, len(text))


def _value(match: re.Match[str], script: Source, definitions: Mapping[str, str]) -> str:
    name = match["name"]
    if match["bad"]:
        message = "'${' begins no ${name} or ${name:-default}"
        raise CompileError([Diagnostic(script, Span(*match.span()), message, ("the characters themselves: $${",))])
    if name is None:
        return "${"
    if name in definitions:
        return definitions[name]
    if match["default"] is not None:
        return match["default"]
    hints = (
        *did_you_mean(nearest(name, definitions)),
        f"give it with -D {name}=VALUE",
    )
    raise CompileError([Diagnostic(script, Span(*match.span()), f"'{name}' is not defined", hints)])
