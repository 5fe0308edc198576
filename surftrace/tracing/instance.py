"""A tracefs instance of our own: claimed by a lock that dies with the process, cleaned when its owner died."""

import errno
import fcntl
import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TypeVar

from surftrace.compiler.plan import DYNAMIC_EVENTS, KPROBE_EVENTS, UPROBE_EVENTS
from surftrace.record import record
from surftrace.tracing.tracefs import Tracefs, TracefsError

DEFAULT_NAME = "surftrace"
# What a shell makes, from the dry run's lines or the script: nobody locks it, and no session takes it for a dead one's.
SHELL_NAME = "surftrace_sh"
# An instance's name is its probes' group too, and 5.10 takes no other characters in one.
NAME_PATTERN = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
_OURS = re.compile(rf"{DEFAULT_NAME}(_\d+)?")
# Where the kernel puts probes that name no group, and its own kinds of them.
_OTHERS_GROUPS = frozenset(("kprobes", "uprobes", "eprobes", "fprobes", "tracepoints", "synthetic"))
_MAX_SESSIONS = 1000
_Result = TypeVar("_Result")
# Those that change the text of trace_pipe. Linux kernel/trace/trace.h, TRACE_FLAGS.
_OFF = ("raw", "hex", "bin", "fields", "verbose", "latency-format", "record-tgid", "userstacktrace")
_ON = ("context-info", "irq-info")
_OPTIONS = {
    **{f"options/{name}": "0" for name in _OFF},
    **{f"options/{name}": "1" for name in _ON},
    # A reader is woken by the first event, not when half the buffer is full.
    "buffer_percent": "0",
    # Nothing is recorded until the plan is in force as a whole: its last step switches this on.
    "tracing_on": "0",
}


@record
class Instance:
    """An instance that this process holds the lock of."""

    tracefs: Tracefs
    name: str
    lock: int

    @property
    def path(self) -> str:
        """Its folder below the tracefs root."""
        return f"instances/{self.name}"

    def stop_recording(self) -> None:
        """Let nothing more into its buffer."""
        _unless_gone(self.tracefs.write, f"{self.path}/tracing_on", "0")


@contextmanager
def claimed_instance(tracefs: Tracefs, name: str | None = None) -> Iterator[Instance]:
    """A fresh instance, removed at the end with whatever probes its group still has.

    `name` None: `surftrace`, or `surftrace_2`, ... where others run. TracefsError where the name is taken.
    """
    _unless_in_use(sweep, tracefs)
    if name is not None:
        _check_group(tracefs, name)
    instance = _claim_any(tracefs) if name is None else _claim(tracefs, name)
    if instance is None:
        raise TracefsError(
            f"the instance {name} is in use",
            "another surftrace traces in it: choose another name with --instance",
        )
    with ExitStack() as undos:
        undos.callback(os.close, instance.lock)
        undos.callback(_remove, instance)
        _set_options(instance)
        yield instance


def sweep(tracefs: Tracefs) -> list[str]:
    """Remove what dead sessions left under our own names; the result is these names.

    TracefsError where something cannot go, which does not keep the rest.
    """
    removed = []
    with ExitStack() as undos:
        for instance in _left_instances(tracefs):
            undos.callback(os.close, instance.lock)
            undos.callback(_remove, instance)
            removed.append(instance.name)
    return removed


def _left_instances(tracefs: Tracefs) -> Iterator[Instance]:
    """What dead sessions left, locked; probes that somebody has taken the instance from are given a new one."""
    # A session makes its instance before its probes: probes that are seen first and have none now are a dead one's.
    groups = {probe.partition("/")[0] for _, probe in _probes_of_groups(tracefs, _OURS.pattern)}
    names = [name for name in tracefs.folders("instances") if _OURS.fullmatch(name)]
    for name in (*names, *sorted(groups.difference(names))):
        if name not in names:
            _make(tracefs, f"instances/{name}")
        if instance := _lock_existing(tracefs, name):
            yield instance


def remove_left_instance(tracefs: Tracefs, name: str) -> None:
    """Remove an instance of any name, and the probes of its group. TracefsError where it is in use, or not ours."""
    instance = _lock_existing(tracefs, name) if NAME_PATTERN.fullmatch(name) else None
    if instance is None:
        if NAME_PATTERN.fullmatch(name) and tracefs.exists(f"instances/{name}"):
            raise TracefsError(f"the instance {name} is in use: a surftrace traces in it")
        raise TracefsError(f"there is no instance {name}")
    try:
        if name != SHELL_NAME:
            _check_ours(instance)
        _remove(instance)
    finally:
        os.close(instance.lock)


def _check_group(tracefs: Tracefs, name: str) -> None:
    """A group of events that others made, or the kernel itself, is not ours to fill and to empty."""
    is_known = name in _OTHERS_GROUPS or not tracefs.exists(f"instances/{name}")
    if is_known and tracefs.exists(f"events/{name}") and not _OURS.fullmatch(name):
        raise TracefsError(f"the event group {name} exists and is not surftrace's", "choose another name")


def _set_options(instance: Instance) -> None:
    """Give the instance the text format that the decoder reads: it starts with the options of the main buffer."""
    for option, value in _OPTIONS.items():
        path = f"{instance.path}/{option}"
        if instance.tracefs.exists(path) and instance.tracefs.read(path).strip() != value.encode():
            instance.tracefs.write(path, value)


def _claim_any(tracefs: Tracefs) -> Instance:
    for number in range(1, _MAX_SESSIONS):
        name = DEFAULT_NAME if number == 1 else f"{DEFAULT_NAME}_{number}"
        if instance := _unless_in_use(_claim, tracefs, name):
            return instance
    raise TracefsError(f"{_MAX_SESSIONS} surftrace sessions run already")


def _claim(tracefs: Tracefs, name: str) -> Instance | None:
    """The instance, made and locked; None where another process holds it."""
    while True:
        is_new = _make(tracefs, f"instances/{name}")
        instance = _lock_existing(tracefs, name)
        if instance is None:
            if tracefs.exists(f"instances/{name}"):
                return None
            continue  # its owner has just removed it
        if is_new and not _probes_of_group(instance):
            return instance
        try:
            _check_ours(instance)
            _remove(instance)
        finally:
            os.close(instance.lock)


def _lock_existing(tracefs: Tracefs, name: str) -> Instance | None:
    """An instance that is there, locked; None where another process holds it, or where it is gone."""
    path = f"instances/{name}"
    try:
        lock = tracefs.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except TracefsError as error:
        if error.errno == errno.ENOENT:
            return None
        raise
    # The one that is locked may no longer be the one at this path.
    if _lock(lock) and tracefs.inode(path) == os.fstat(lock).st_ino:
        return Instance(tracefs, name, lock)
    os.close(lock)
    return None


def _remove(instance: Instance) -> None:
    """Remove the instance, after what it traces and the probes of its group.

    A probe that a trigger of this very instance holds goes only after it. TracefsError where somebody else uses a part.
    """
    tracefs = instance.tracefs
    with ExitStack() as undos:
        undos.callback(_delete_probes, instance)
        undos.callback(_remove_folder, instance)
        undos.callback(_unless_in_use, _delete_probes, instance)
        undos.callback(_unless_gone, tracefs.write, f"{instance.path}/events/enable", "0")


def _make(tracefs: Tracefs, path: str) -> bool:
    try:
        tracefs.make_folder(path)
    except TracefsError as error:
        if error.errno != errno.EEXIST:
            raise
        return False
    return True


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _check_ours(instance: Instance) -> None:
    """An instance that nobody locks is a dead session's if it has our name or a group of probes named after it."""
    if not _OURS.fullmatch(instance.name) and not _probes_of_group(instance):
        raise TracefsError(
            f"the instance {instance.name} exists and is not surftrace's",
            f"choose another name, or remove it: rmdir {instance.tracefs.root / instance.path}",
        )


def _unless_gone(undo: Callable[..., None], *arguments: object) -> None:
    """Take something back, unless somebody else has done so."""
    try:
        undo(*arguments)
    except TracefsError as error:
        if error.errno != errno.ENOENT:
            raise


def _unless_in_use(do: Callable[..., _Result], *arguments: object) -> _Result | None:
    """Do something; None where somebody else uses what it removes."""
    try:
        return do(*arguments)
    except TracefsError as error:
        if error.errno != errno.EBUSY:
            raise
        return None


def _remove_folder(instance: Instance) -> None:
    name = instance.name
    command = "surftrace clean" if _OURS.fullmatch(name) else f"surftrace clean {name}"
    with _told_in_use(f"a file of the instance {name}", command):
        _unless_gone(instance.tracefs.remove_folder, instance.path)


def _delete_probe(instance: Instance, path: str, probe: str) -> None:
    by_hand = f"echo -:{probe} >> {instance.tracefs.root / path}"
    with _told_in_use(f"the probe {probe}", "surftrace clean" if _OURS.fullmatch(instance.name) else by_hand):
        _unless_gone(instance.tracefs.write, path, f"-:{probe}", True)


@contextmanager
def _told_in_use(what: str, command: str) -> Iterator[None]:
    """Say what stays in the kernel where somebody else uses it, and what removes it later."""
    try:
        yield
    except TracefsError as error:
        if error.errno != errno.EBUSY:
            raise
        message = f"somebody else uses {what}: it is left in the kernel"
        raise TracefsError(message, f"once nobody does: {command}", path=error.path, errno=error.errno) from None


def _delete_probes(instance: Instance) -> None:
    """Delete all probes of the instance's group: one that cannot go does not keep the others."""
    with ExitStack() as undos:
        # The stack of undos runs backwards: the probes go in their order.
        for path, probe in reversed(_probes_of_group(instance)):
            undos.callback(_delete_probe, instance, path, probe)


def _probes_of_group(instance: Instance) -> list[tuple[str, str]]:
    """The file that lists each probe of the instance's group, and its `group/event`."""
    return _probes_of_groups(instance.tracefs, re.escape(instance.name))


def _probes_of_groups(tracefs: Tracefs, pattern: str) -> list[tuple[str, str]]:
    """The file that lists each probe of groups whose names match, and its `group/event`.

    Source: Linux Documentation/trace/kprobetrace.rst, `p[:[GRP/]EVENT] ...`; of all kinds in `dynamic_events`, which
    kernels before 5.0 have not.
    """
    paths = [DYNAMIC_EVENTS] if tracefs.exists(DYNAMIC_EVENTS) else [KPROBE_EVENTS, UPROBE_EVENTS]
    probe = re.compile(rf"^[pre]\d*:(?P<probe>(?:{pattern})/\S+)", re.MULTILINE)
    return [
        (path, match["probe"])
        for path in paths
        if tracefs.exists(path)
        for match in probe.finditer(tracefs.read(path).decode(errors="replace"))
    ]
