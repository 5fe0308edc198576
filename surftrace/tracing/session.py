"""A plan applied to the kernel, for as long as a `with` block lasts."""

import errno
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from surftrace.compiler.plan import Mark, Plan, Step
from surftrace.lang.source import DiagnosedError, Diagnostic
from surftrace.tracing.instance import Instance
from surftrace.tracing.tracefs import Tracefs, TracefsError

# Linux kernel/trace/trace.c, tracing_err_log_show: `[time] system: error: sentence`, the command, a caret under it.
_ERROR_LOG = re.compile(
    r"^\[[^\]]*\] (?P<system>[^\n]*?): error: (?P<sentence>[^\n]*)\n"
    r"  Command: (?P<command>[^\n]*)\n(?P<caret> *\^)?",
    re.MULTILINE,
)
_COMMAND_COLUMN = len("  Command: ")


class KernelRejected(DiagnosedError):
    """The kernel refused what the plan wrote: its own sentence, under the user's text."""

    exit_status = 1


@contextmanager
def applied(plan: Plan, instance: Instance) -> Iterator[None]:
    """All steps of the plan written; at the end their undos, in reverse.

    Raises KernelRejected for a definition or filter that the kernel refuses, TracefsError for the rest.
    """
    with ExitStack() as undos:
        for step in plan.steps:
            if step.undo is not None:
                undos.callback(_undo, instance.tracefs, step.undo)
            _apply(step, instance)
        yield


def _apply(step: Step, instance: Instance) -> None:
    try:
        instance.tracefs.write(step.path, step.text, step.is_append)
    except TracefsError as error:
        if not step.marks:
            raise
        raise KernelRejected([_diagnose(step, error, instance)]) from None


def _undo(tracefs: Tracefs, undo: Step) -> None:
    """Take a step back. It may never have been written: then there is nothing to take back."""
    try:
        tracefs.write(undo.path, undo.text, undo.is_append)
    except TracefsError as error:
        if error.errno not in (errno.ENOENT, errno.EINVAL):
            raise


def _diagnose(step: Step, error: TracefsError, instance: Instance) -> Diagnostic:
    sentence, column = _kernel_sentence(step, instance)
    mark = _mark_at(step, column)
    if sentence is None:
        return Diagnostic(mark.source, mark.span, f"the kernel refuses this: {error.message}", error.hints)
    return Diagnostic(mark.source, mark.span, f"the kernel refuses this: {sentence}", (f"it was given {step.text}",))


def _kernel_sentence(step: Step, instance: Instance) -> tuple[str | None, int | None]:
    """What the kernel says of this very command, and the column of its caret in it."""
    for path in (f"{instance.path}/error_log", "error_log"):
        try:
            text = instance.tracefs.read(path).decode(errors="replace")
        except TracefsError:
            continue
        for match in reversed(list(_ERROR_LOG.finditer(text))):
            if match["command"].strip() == step.text.strip():
                caret = match["caret"]
                return match["sentence"], len(caret) - 1 - _COMMAND_COLUMN if caret else None
    return None, None


def _mark_at(step: Step, column: int | None) -> Mark:
    """The mark that holds a column; the first one for a column that none holds."""
    if column is not None:
        for mark in step.marks:
            if mark.start <= column < mark.end:
                return mark
    return step.marks[0]
