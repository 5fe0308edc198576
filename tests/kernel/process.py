"""A process in a guest, seen from the host: its output so far, its input, signals, and how it ended."""

import shlex
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from tests.kernel import wire
from tests.kernel.wire import Frame, Kind

_KILL_LIMIT_S = 20


class GuestError(Exception):
    """The guest did not boot, died or hangs; the text ends with the console's tail."""


class ProcessError(Exception):
    """A process ended, or did not end, against what was expected of it; the text holds its output."""


@dataclass(frozen=True, slots=True)
class Result:
    """How a process ended. `status` is its exit status, or minus the signal that ended it."""

    argv: tuple[str, ...]
    status: int
    stdout_bytes: bytes
    stderr_bytes: bytes

    @property
    def stdout(self) -> str:
        """The standard output as text; all the output of a process on a terminal."""
        return self.stdout_bytes.decode(errors="backslashreplace")

    @property
    def stderr(self) -> str:
        """The standard error as text."""
        return self.stderr_bytes.decode(errors="backslashreplace")

    def expect(self, status: int = 0) -> "Result":
        """Return the result itself; raise ProcessError when the exit status is another."""
        if self.status != status:
            raise ProcessError(_story(self.argv, f"ended with status {self.status}", self.stdout, self.stderr))
        return self


class Connection(Protocol):
    """What a process needs of its guest."""

    def send(self, kind: Kind, job: int, payload: bytes) -> None:
        """Send a frame to the agent; raise GuestError when the guest is gone."""

    def give_up(self, reason: str) -> GuestError:
        """End the guest and return the error to raise."""


class Process:
    """A job of the agent. Several threads may use it; `on_output` is called by the thread that receives."""

    def __init__(
        self,
        argv: tuple[str, ...],
        job: int,
        guest: Connection,
        on_output: Callable[[Kind, bytes], None] | None,
    ) -> None:
        self.argv = argv
        self.pid = 0
        self.job = job
        self._guest = guest
        self._on_output = on_output
        self._output = {Kind.STDOUT: bytearray(), Kind.STDERR: bytearray()}
        self._searched_bytes = {Kind.STDOUT: 0, Kind.STDERR: 0}
        self._status: int | None = None
        self._error: GuestError | None = None
        self._changed = threading.Condition()

    def receive(self, frame: Frame) -> None:
        """Take a frame of this job from the agent."""
        with self._changed:
            match frame.kind:
                case Kind.STARTED:
                    (self.pid,) = wire.STATUS.unpack(frame.payload)
                case Kind.STDOUT | Kind.STDERR:
                    self._output[frame.kind] += frame.payload
                case Kind.EXIT:
                    (self._status,) = wire.STATUS.unpack(frame.payload)
                case _:
                    raise ValueError(f"the agent sent {frame}")
            self._changed.notify_all()
        if self._on_output and frame.kind in self._output:
            self._on_output(frame.kind, frame.payload)

    def abandon(self, error: GuestError) -> None:
        """Let every waiting call raise `error`: the guest is gone."""
        with self._changed:
            self._error = error
            self._changed.notify_all()

    @property
    def stdout(self) -> str:
        """The standard output so far."""
        return self._output[Kind.STDOUT].decode(errors="backslashreplace")

    @property
    def stderr(self) -> str:
        """The standard error so far."""
        return self._output[Kind.STDERR].decode(errors="backslashreplace")

    def wait_for_start(self, timeout_s: float) -> None:
        """Wait until the process runs, or could not be started."""
        self._wait_until(lambda: self.pid > 0 or self._status is not None, timeout_s)
        if not self.pid and self._status is None:
            raise self._guest.give_up(f"the agent did not start {self.argv[0]} within {timeout_s} s")

    def wait_for(self, text: str, timeout_s: float = 60, stream: Kind = Kind.STDOUT) -> str:
        """Wait until the process writes `text` after what an earlier call found; return all up to its end."""
        wanted, output = text.encode(), self._output[stream]
        start = self._searched_bytes[stream]
        self._wait_until(lambda: wanted in output[start:] or self._status is not None, timeout_s)
        with self._changed:
            found = output.find(wanted, start)
            if found < 0:
                what = f"did not write {text!r} to {stream.name.lower()}"
                raise ProcessError(_story(self.argv, f"{what} within {timeout_s} s", self.stdout, self.stderr))
            end = self._searched_bytes[stream] = found + len(wanted)
            return output[start:end].decode(errors="backslashreplace")

    def write(self, text: str | bytes) -> None:
        """Write to the standard input, or type on the terminal."""
        if text:
            self._guest.send(Kind.STDIN, self.job, text.encode() if isinstance(text, str) else text)

    def close_stdin(self) -> None:
        """End the standard input. On a terminal type \\x04 instead."""
        self._guest.send(Kind.STDIN, self.job, b"")

    def signal(self, number: int, whole_group: bool = False) -> None:
        """Send a signal to the process, or to its whole process group."""
        self._guest.send(Kind.SIGNAL, self.job, wire.SIGNAL.pack(number, whole_group))

    def kill(self) -> None:
        """Kill the whole process group."""
        self.signal(signal.SIGKILL, whole_group=True)

    def wait(self, timeout_s: float = 60) -> Result:
        """Wait for the end; after `timeout_s` kill the process group and raise ProcessError."""
        self._wait_until(lambda: self._status is not None, timeout_s)
        if self._status is not None:
            stdout, stderr = (bytes(self._output[stream]) for stream in (Kind.STDOUT, Kind.STDERR))
            return Result(self.argv, self._status, stdout, stderr)
        self.kill()
        self._wait_until(lambda: self._status is not None, _KILL_LIMIT_S)
        if self._status is None:
            raise self._guest.give_up(f"{self.argv[0]} survived SIGKILL for {_KILL_LIMIT_S} s")
        raise ProcessError(_story(self.argv, f"did not end within {timeout_s} s", self.stdout, self.stderr))

    def _wait_until(self, is_done: Callable[[], bool], timeout_s: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._error is not None or is_done(), timeout_s)
            if self._error is not None and not is_done():
                raise self._error


def _story(argv: tuple[str, ...], what: str, stdout: str, stderr: str) -> str:
    return f"{shlex.join(argv)}\n{what}\n--- stdout\n{stdout}\n--- stderr\n{stderr}"
