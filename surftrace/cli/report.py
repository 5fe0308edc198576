"""Errors and warnings as people read them, on standard error; explanations, on standard output."""

import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, TextIO

from surftrace.compiler.resolved import Resolved
from surftrace.errors import SurftraceError
from surftrace.lang.source import DiagnosedError, Diagnostic, render_excerpt, render_location
from surftrace.output.color import Paint, Role
from surftrace.output.escape import escape

if TYPE_CHECKING:  # a dry run has none of it
    from surftrace.compiler.plan import Plan
    from surftrace.tracing.notices import Notice


def report_error(error: SurftraceError, stream: TextIO, paint: Paint) -> None:
    """Print an error: each diagnostic under the user's text, or one line and its hints."""
    if isinstance(error, DiagnosedError):
        report_diagnostics(error.diagnostics, stream, paint)
        return
    print(f"surftrace: {paint(Role.ERROR, 'error')}: {escape(error.message)}", file=stream)
    for hint in error.hints:
        print(f"{paint(Role.HINT, 'hint')}: {escape(hint)}", file=stream)


def report_notice(notice: "Notice", stream: TextIO, paint: Paint) -> None:
    """Print what has happened to a trace, as a warning. Whoever does not read it keeps nobody waiting for long."""
    lines = [f"surftrace: {paint(Role.WARNING, 'warning')}: {escape(notice.message)}"]
    lines += [f"{paint(Role.HINT, 'hint')}: {escape(hint)}" for hint in notice.hints]
    _write_soon(lines, stream)


def report_refused(refused: Sequence[Diagnostic], plan: "Plan", stream: TextIO, paint: Paint) -> None:
    """Print, if the kernel did not take all of a glob, how much of it, and why the first; waiting as for a notice."""
    if refused:
        count = len({step.event for step in plan.steps if step.is_optional})
        message = f"the kernel refuses {len(refused)} of {count} functions: they are left out"
        hint = f"the first one: {refused[0].message.removeprefix('the kernel refuses this: ')}"
        warning = replace(refused[0], message=message, hints=(hint, *refused[0].hints), severity="warning")
        _write_soon(_lines(warning, paint, _columns(stream)), stream)


def _write_soon(lines: Iterable[str], stream: TextIO) -> None:
    from surftrace.cli.standard import write_soon  # a dry run has nothing to write while a trace is on

    text = memoryview("".join(f"{line}\n" for line in lines).encode(stream.encoding, "backslashreplace"))
    stream.flush()
    with suppress(OSError):  # the reader has gone
        while text and (written := write_soon(stream.fileno(), text)):
            text = text[written:]


def report_diagnostics(diagnostics: tuple[Diagnostic, ...], stream: TextIO, paint: Paint) -> None:
    """Print diagnostics in their order."""
    columns = _columns(stream)
    for diagnostic in diagnostics:
        for line in _lines(diagnostic, paint, columns):
            print(line, file=stream)


def _columns(stream: TextIO) -> int | None:
    return shutil.get_terminal_size().columns if stream.isatty() else None


def print_explanation(resolved: Resolved, paint: Paint) -> None:
    """Print on standard output what each probe became."""
    from surftrace.compiler.explain import explain

    for probe in resolved.probes:
        lines = list(explain(probe))
        width = min(40, max(len(line.subject) + 2 * line.depth for line in lines[1:]))
        for line in lines:
            indent = "  " * line.depth
            subject = escape(line.subject).ljust(width - len(indent)) if line.text else escape(line.subject)
            role = Role.NAME if line.depth == 1 else Role.EVENT if not line.depth else Role.FAINT
            print(f"{indent}{paint(role, subject)}  {escape(line.text)}".rstrip())


def _lines(diagnostic: Diagnostic, paint: Paint, columns: int | None) -> Iterator[str]:
    role = Role.ERROR if diagnostic.severity == "error" else Role.WARNING
    label = paint(role, diagnostic.severity)
    yield f"{escape(render_location(diagnostic))}: {label}: {escape(diagnostic.message)}"
    line, carets = render_excerpt(diagnostic, columns)
    yield line
    indent = carets[: len(carets) - len(carets.lstrip())]
    yield indent + paint(role, carets.lstrip())
    for hint in diagnostic.hints:
        yield f"{paint(Role.HINT, 'hint')}: {escape(hint)}"
