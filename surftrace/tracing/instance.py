"""A tracefs instance of our own: claimed by a lock that dies with the process, cleaned when its owner died."""

import errno
import fcntl
import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from surftrace.compiler.plan import KPROBE_EVENTS
from surftrace.tracing.tracefs import Tracefs, TracefsError

DEFAULT_NAME = "surftrace"
# An instance's name is its probes' group too, and 5.10 takes no other characters in one.
NAME_PATTERN = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
_OURS = re.compile(rf"{DEFAULT_NAME}(_\d+)?")
_MAX_SESSIONS = 1000
# Those that change the text of trace_pipe. Linux kernel/trace/trace.h, TRACE_FLAGS.
_OPTIONS = {
    **dict.fromkeys(("raw", "hex", "bin", "fields", "verbose", "latency-format", "record-tgid", "userstacktrace"), "0"),
    **dict.fromkeys(("context-info", "irq-info"), "1"),
}


@dataclass(frozen=True, slots=True)
class Instance:
    """An instance that this process holds the lock of."""

    tracefs: Tracefs
    name: str
    lock: int

    @property
    def path(self) -> str:
        """Its folder below the tracefs root."""
        return f"instances/{self.name}"


@contextmanager
def claimed_instance(tracefs: Tracefs, name: str | None = None) -> Iterator[Instance]:
    """A fresh instance, removed at the end with whatever probes its group still has.

    `name` None: `surftrace`, or `surftrace_2`, ... where others run. TracefsError where the name is taken.
    """
    instance = _claim_any(tracefs) if name is None else _claim(tracefs, name)
    if instance is None:
        raise TracefsError(
            f"the instance {name} is in use",
            "another surftrace traces in it: choose another name with --instance",
        )
    with ExitStack() as undos:
        undos.callback(os.close, instance.lock)
        undos.callback(_unless_gone, tracefs.remove_folder, instance.path)
        undos.callback(_delete_probes, instance)
        undos.callback(_unless_gone, tracefs.write, f"{instance.path}/events/enable", "0")
        _set_options(instance)
        yield instance


def _set_options(instance: Instance) -> None:
    """Give the instance the text format that the decoder reads: it starts with the options of the main buffer."""
    for option, value in _OPTIONS.items():
        path = f"{instance.path}/options/{option}"
        if instance.tracefs.exists(path) and instance.tracefs.read(path).strip() != value.encode():
            instance.tracefs.write(path, value)


def _claim_any(tracefs: Tracefs) -> Instance:
    for number in range(1, _MAX_SESSIONS):
        if instance := _claim(tracefs, DEFAULT_NAME if number == 1 else f"{DEFAULT_NAME}_{number}"):
            return instance
    raise TracefsError(f"{_MAX_SESSIONS} surftrace sessions run already")


def _claim(tracefs: Tracefs, name: str) -> Instance | None:
    """The instance, made and locked; None where another process holds it."""
    path = f"instances/{name}"
    while True:
        is_new = _make(tracefs, path)
        try:
            lock = tracefs.open(path, os.O_RDONLY | os.O_DIRECTORY)
        except TracefsError as error:
            if error.errno == errno.ENOENT:  # its owner has just removed it
                continue
            raise
        if not _lock(lock):
            os.close(lock)
            return None
        if tracefs.inode(path) != os.fstat(lock).st_ino:
            os.close(lock)
            continue
        instance = Instance(tracefs, name, lock)
        try:
            if not is_new:
                _check_ours(instance)
            tracefs.write(f"{path}/events/enable", "0")
            _delete_probes(instance)
            if is_new:
                return instance
            tracefs.remove_folder(path)
        except BaseException:
            os.close(lock)
            raise
        os.close(lock)


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


def _unless_gone(undo: Callable[..., None], *arguments: str) -> None:
    """Take something back, unless somebody else has done so."""
    try:
        undo(*arguments)
    except TracefsError as error:
        if error.errno != errno.ENOENT:
            raise


def _delete_probes(instance: Instance) -> None:
    """Delete all probes of the instance's group: one that cannot go does not keep the others."""
    with ExitStack() as undos:
        # The stack of undos runs backwards: the probes go in their order.
        for probe in reversed(_probes_of_group(instance)):
            undos.callback(instance.tracefs.write, KPROBE_EVENTS, f"-:{probe}", is_append=True)


def _probes_of_group(instance: Instance) -> list[str]:
    """`group/event` of each probe. Source: Linux Documentation/trace/kprobetrace.rst, `p[:[GRP/]EVENT] ...`."""
    text = instance.tracefs.read(KPROBE_EVENTS).decode(errors="replace")
    return re.findall(rf"^[pr]\d*:({re.escape(instance.name)}/\S+)", text, re.MULTILINE)
