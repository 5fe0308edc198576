"""A tracefs instance of our own: claimed by a lock that dies with the process, cleaned when its owner died."""

import errno
import fcntl
import os
import re
import shlex
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TypeVar

from surftrace.compiler.plan import (
    DYNAMIC_EVENTS,
    KPROBE_EVENTS,
    SYNTHETIC,
    SYNTHETIC_EVENTS,
    UPROBE_EVENTS,
    synthetic_name,
)
from surftrace.record import record
from surftrace.tracing.tracefs import Tracefs, TracefsError

DEFAULT_NAME = "surftrace"
# What a shell makes, from the dry run's lines or the script: nobody locks it, and no session takes it for a dead one's.
SHELL_NAME = "surftrace_sh"
# An instance's name is its probes' group too, and 5.10 takes no other characters in one.
NAME_PATTERN = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
_OURS = re.compile(rf"{DEFAULT_NAME}(_\d+)?")
# Where the kernel puts probes that name no group, and its own kinds of them; where `perf probe` does.
_OTHERS_GROUPS = frozenset(("kprobes", "uprobes", "eprobes", "fprobes", "tracepoints", "synthetic", "probe"))
# What the kernel says of what is gone already: no such file, or, of one that goes in the moment in which it is opened
# or written, no such instance. Linux kernel/trace/trace.c, tracing_check_open_get_tr, instance_rmdir; trace_events.c.
_GONE = (errno.ENOENT, errno.ENODEV)
_MAX_SESSIONS = 1000
_Result = TypeVar("_Result")
# Those that change the text of trace_pipe. Linux kernel/trace/trace.h, TRACE_FLAGS.
_OFF = (
    *("raw", "hex", "bin", "fields", "verbose", "latency-format", "record-tgid"),
    *("userstacktrace", "sym-offset", "sym-addr", "sym-userobj"),
)
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


@record
class _Probe:
    """A probe, or a synthetic event, of an instance: the file that lists it, and what is written there to remove it."""

    path: str
    instance: str
    name: str
    removal: str


@contextmanager
def claimed_instance(tracefs: Tracefs, name: str | None = None) -> Iterator[Instance]:
    """A fresh instance, removed at the end with whatever probes its group still has.

    `name` None: `surftrace`, or `surftrace_2`, ... where others run. TracefsError where the name is taken.
    """
    for error in sweep(tracefs).errors:
        if error.errno != errno.EBUSY:
            raise error
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


@record
class Swept:
    """The names that were removed; why others were not, wholly."""

    names: tuple[str, ...]
    errors: tuple[TracefsError, ...]


def sweep(tracefs: Tracefs) -> Swept:
    """Remove what dead sessions left under our own names: what cannot go does not keep the rest."""
    names, errors = [], []
    for instance in _left_instances(tracefs):
        try:
            _remove_left(instance)
            names.append(instance.name)
        except TracefsError as error:
            errors.append(error)
        finally:
            os.close(instance.lock)
    return Swept(tuple(names), tuple(errors))


def _left_instances(tracefs: Tracefs) -> Iterator[Instance]:
    """What dead sessions left, locked; probes that somebody has taken the instance from are given a new one."""
    # A session makes its instance before its probes: probes that are seen first and have none now are a dead one's.
    groups = {probe.instance for probe in _probes_of(tracefs, _OURS.pattern)}
    names = [name for name in tracefs.folders("instances") if _OURS.fullmatch(name)]
    for name in (*names, *sorted(groups.difference(names))):
        if name not in names:
            _make(tracefs, f"instances/{name}")
        if instance := _lock_existing(tracefs, name):
            yield instance


def is_swept(name: str) -> bool:
    """Is an instance of that name a dead session's, if nobody locks it?"""
    return bool(_OURS.fullmatch(name))


def remove_left_instance(tracefs: Tracefs, name: str) -> None:
    """Remove an instance of any name, and the probes of its group. TracefsError where it is in use, or not there.

    The lines and the script that a dry run prints lock none: what is in use is known by its open files.
    """
    _check_name(name)
    if not NAME_PATTERN.fullmatch(name) or not (tracefs.exists(f"instances/{name}") or _has_left_group(tracefs, name)):
        raise TracefsError(f"there is no instance {name}")
    _make(tracefs, f"instances/{name}")
    instance = _lock_existing(tracefs, name)
    if instance is None:
        raise TracefsError(f"the instance {name} is in use: a surftrace traces in it")
    try:
        _remove_left(instance)
    finally:
        os.close(instance.lock)


def _has_left_group(tracefs: Tracefs, name: str) -> bool:
    """Are there probes of that group, and nothing else? The kernel's own groups have other events."""
    probes = {probe.name.partition("/")[2] for probe in _probes_of(tracefs, re.escape(name))}
    events = tracefs.folders(f"events/{name}") if tracefs.exists(f"events/{name}") else ()
    return bool(probes) and probes.issuperset(events)


def is_others_group(name: str) -> bool:
    """Do others put their probes in the group of that name, whenever they like?"""
    return name in _OTHERS_GROUPS


def _check_name(name: str) -> None:
    if is_others_group(name):
        raise TracefsError(f"the event group {name} is for everybody's probes: no instance of surftrace's is called so")


def _check_group(tracefs: Tracefs, name: str) -> None:
    """A group of events that others made, or the kernel itself, is not ours to fill and to empty."""
    _check_name(name)
    if _OURS.fullmatch(name) or tracefs.exists(f"instances/{name}"):
        return
    if tracefs.exists(f"events/{name}"):
        raise TracefsError(f"the event group {name} exists and is not surftrace's", "choose another name")
    if tracefs.exists(f"events/{SYNTHETIC}/{synthetic_name(name)}"):
        message = f"the synthetic event {synthetic_name(name)} exists and is not surftrace's"
        raise TracefsError(message, "choose another name")


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
    """The instance, made and locked; None where another process holds it. TracefsError where it is not ours."""
    path = f"instances/{name}"
    while True:
        is_new = _make(tracefs, path)
        # Whoever holds a lock on what was made just now only looks whether it is left over.
        instance = _lock_existing(tracefs, name, is_waiting=is_new)
        if instance is None:
            if not is_new and tracefs.exists(path):
                return None
            continue  # its owner, or whoever looked, has just removed it
        if is_new and not _probes_of_group(instance):
            return instance
        try:
            if _OURS.fullmatch(name):
                _remove_left(instance)
            elif is_new:  # others have made the group meanwhile
                _remove_folder(instance)
                _check_group(tracefs, name)
            else:
                hint = f"choose another name, or, if a killed trace left it: surftrace clean {name}"
                raise TracefsError(f"the instance {name} exists", hint)
        finally:
            os.close(instance.lock)


def _lock_existing(tracefs: Tracefs, name: str, is_waiting: bool = False) -> Instance | None:
    """An instance that is there, locked; None where another process holds it, or where it is gone."""
    path = f"instances/{name}"
    try:
        lock = tracefs.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except TracefsError as error:
        if error.errno == errno.ENOENT:
            return None
        raise
    # The one that is locked may no longer be the one at this path.
    if _lock(lock, is_waiting) and tracefs.inode(path) == os.fstat(lock).st_ino:
        return Instance(tracefs, name, lock)
    os.close(lock)
    return None


def _remove_left(instance: Instance) -> None:
    """Remove an instance that nobody has locked, and the probes of its group; where it is in use, nothing of it.

    The kernel is asked first: it removes no instance that a file is open of. Linux kernel/trace/trace.c,
    __remove_instance: nor one with variables of hist triggers (trace_events_hist.c, save_hist_vars).
    """
    tracefs = instance.tracefs
    try:
        _remove_folder(instance)
    except TracefsError as error:
        if error.errno != errno.EBUSY or tracefs.is_open(instance.path):
            raise
        _unless_gone(_remove_triggers, instance)
        _remove_folder(instance)
    # Until its probes are gone a new one stands for them: if this process is killed, they are found again. Where
    # somebody has made one already, they are that one's.
    if not _probes_of_group(instance) or not _make(tracefs, instance.path):
        return
    if fresh := _lock_existing(tracefs, instance.name, is_waiting=True):
        try:
            _remove(fresh)
        finally:
            os.close(fresh.lock)


def _remove(instance: Instance) -> None:
    """Remove the instance, after what it traces and the probes of its group.

    A probe that a trigger of this very instance holds goes only after it. TracefsError where somebody else uses a part.
    """
    tracefs = instance.tracefs
    with ExitStack() as undos:
        undos.callback(_delete_probes, instance)
        undos.callback(_remove_folder, instance)
        undos.callback(_unless_in_use, _delete_probes, instance)
        undos.callback(_unless_gone, _remove_triggers, instance)
        undos.callback(_unless_gone, tracefs.write, f"{instance.path}/events/enable", "0")


def _make(tracefs: Tracefs, path: str) -> bool:
    try:
        tracefs.make_folder(path)
    except TracefsError as error:
        if error.errno != errno.EEXIST:
            raise
        return False
    return True


def _lock(descriptor: int, is_waiting: bool) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if is_waiting else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True


def _unless_gone(undo: Callable[..., None], *arguments: object) -> None:
    """Take something back, unless somebody else has done so."""
    try:
        undo(*arguments)
    except TracefsError as error:
        if error.errno not in _GONE:
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


def _delete_probe(instance: Instance, probe: _Probe) -> None:
    by_hand = f"echo {shlex.quote(probe.removal)} >> {instance.tracefs.root / probe.path}"
    with _told_in_use(f"the probe {probe.name}", "surftrace clean" if _OURS.fullmatch(instance.name) else by_hand):
        _unless_gone(instance.tracefs.write, probe.path, probe.removal, True)


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
        for probe in reversed(_probes_of_group(instance)):
            undos.callback(_delete_probe, instance, probe)


def _remove_triggers(instance: Instance) -> None:
    """Remove the hist triggers of the instance's own events: the instance does not go before those with variables.

    Linux kernel/trace/trace_events_hist.c, hist_unreg_all, which is called for a file that is truncated: one that
    another refers to stays until that one is gone.
    """
    tracefs, folder = instance.tracefs, f"{instance.path}/events"
    names = tracefs.folders(f"{folder}/{instance.name}") if tracefs.exists(f"{folder}/{instance.name}") else []
    events = [f"{SYNTHETIC}/{synthetic_name(instance.name)}", *(f"{instance.name}/{name}" for name in names)]
    for event in (*events, *events):
        if tracefs.exists(f"{folder}/{event}/trigger"):
            os.close(tracefs.open(f"{folder}/{event}/trigger", os.O_WRONLY | os.O_TRUNC))


def _probes_of_group(instance: Instance) -> list[_Probe]:
    """All that the instance has defined."""
    return _probes_of(instance.tracefs, re.escape(instance.name))


def _probes_of(tracefs: Tracefs, pattern: str) -> list[_Probe]:
    """The probes of groups whose names match, and the synthetic events of instances that are called so.

    Source: Linux Documentation/trace/kprobetrace.rst, `p[:[GRP/]EVENT] ...`; of all kinds in `dynamic_events`, which
    kernels before 5.0 have not. Documentation/trace/histogram.rst: `EVENT<tab>FIELDS` a line of `synthetic_events`.
    """
    paths = [DYNAMIC_EVENTS] if tracefs.exists(DYNAMIC_EVENTS) else [KPROBE_EVENTS, UPROBE_EVENTS]
    probe = re.compile(rf"^[pre]\d*:(?P<name>(?P<instance>{pattern})/\S+)", re.MULTILINE)
    synthetic = re.compile(rf"^(?P<name>{synthetic_name(f'(?P<instance>{pattern})')})\t", re.MULTILINE)
    return [
        _Probe(path, match["instance"], match["name"], f"{removal}{match['name']}")
        for path, form, removal in (*((path, probe, "-:") for path in paths), (SYNTHETIC_EVENTS, synthetic, "!"))
        if tracefs.exists(path)
        for match in form.finditer(tracefs.read(path).decode(errors="replace"))
    ]
