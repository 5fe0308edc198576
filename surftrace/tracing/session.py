"""A plan applied to the kernel, for as long as a `with` block lasts."""

import errno
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from surftrace.compiler.plan import KPROBE_EVENTS, Mark, Plan, Step
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
def applied(plan: Plan, instance: Instance) -> Iterator[Sequence[Diagnostic]]:
    """All steps of the plan written; at the end their undos, in reverse. Gives what the kernel refused of a glob.

    Raises KernelRejected for any other definition or filter that the kernel refuses, TracefsError for the rest.
    """
    refused: dict[str, Diagnostic] = {}
    with ExitStack() as undos:
        for step in plan.steps:
            if step.event in refused:
                continue
            if step.undo is not None:
                undos.callback(_undo, instance.tracefs, step.undo)
            try:
                _apply(step, instance)
            except KernelRejected as error:
                if not step.is_optional:
                    raise
                refused[step.event] = error.diagnostics[0]
        optional = [step.event for step in plan.steps if step.is_optional]
        if optional and len(refused) == len(optional):
            raise KernelRejected([refused[optional[0]]])
        yield tuple(refused.values())


def pause(plan: Plan, instance: Instance) -> None:
    """Record nothing more, and let the probes cost nothing: their events are disabled, but stay."""
    instance.stop_recording()
    for step in reversed(plan.enables):
        if step.undo is not None:
            _undo(instance.tracefs, step.undo)


def resume(plan: Plan, instance: Instance) -> None:
    """Go on after `pause`: nothing is recorded until all events are enabled. One that is gone does not keep the rest.

    TracefsError where the kernel refuses it.
    """
    for step in plan.enables:
        try:
            instance.tracefs.write(step.path, step.text)
        except TracefsError as error:
            if error.errno not in (errno.ENOENT, errno.ENODEV):
                raise
    instance.tracefs.write(f"{instance.path}/tracing_on", "1")


def disabled_events(plan: Plan, instance: Instance) -> list[str]:
    """The events of the plan that are not enabled, by the names that people know; all probes of a group as one."""
    disabled = []
    for step in plan.enables:
        try:
            is_enabled = instance.tracefs.read(step.path).startswith(b"1")
        except TracefsError:
            is_enabled = False
        if not is_enabled:
            name = step.path.removeprefix(f"{instance.path}/events/").removesuffix("/enable")
            disabled.append("some probes" if name == instance.name else step.event or name)
    return disabled


def is_switched_off(instance: Instance) -> bool:
    """Does the instance record nothing, whatever is enabled? Also where it is gone."""
    try:
        return instance.tracefs.read(f"{instance.path}/tracing_on").startswith(b"0")
    except TracefsError:
        return True


def _apply(step: Step, instance: Instance) -> None:
    try:
        instance.tracefs.write(step.path, step.text, step.is_append)
    except TracefsError as error:
        if not step.marks:
            raise
        raise KernelRejected([_diagnose(step, error, instance)]) from None


def _undo(tracefs: Tracefs, undo: Step) -> None:
    """Take a step back. It may never have been written: then there is nothing to take back.

    A probe that somebody else uses is left to the removal of the instance, which says so.
    """
    try:
        tracefs.write(undo.path, undo.text, undo.is_append)
    except TracefsError as error:
        if error.errno not in (errno.ENOENT, errno.ENODEV, errno.EINVAL, errno.EBUSY):
            raise


def _diagnose(step: Step, error: TracefsError, instance: Instance) -> Diagnostic:
    sentence, column = _kernel_sentence(step, instance)
    mark = _mark_at(step, column)
    if sentence is None:
        # What the number means elsewhere is misleading here: a filter's trailing junk is EPERM, a bad quote ESRCH.
        name = errno.errorcode.get(error.errno, str(error.errno))
        message = f"the kernel refuses this and does not say why ({name})"
        return Diagnostic(mark.source, mark.span, message, (f"it was given {step.text}",))
    obstacles = _obstacles(step, sentence) if mark is step.marks[0] else ()
    hints = (*obstacles, f"it was given {step.text}")
    return Diagnostic(mark.source, mark.span, f"the kernel refuses this: {sentence}", hints)


def _obstacles(step: Step, sentence: str) -> Iterator[str]:
    """Why a place takes no probe, where the kernel's sentence says so."""
    is_inside = step.path == KPROBE_EVENTS and "+" in step.text.split(" ")[1]
    if is_inside and "register" in sentence:
        # Linux kernel/kprobes.c, check_kprobe_address_safe: jump_label_text_reserved and its like.
        yield "an instruction that the kernel rewrites (a static key's jump) takes no probe: name another place"


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
