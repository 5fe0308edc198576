"""A process in the guest, as the agent sees it: its output goes to the host as it comes, its input waits for it."""

import fcntl
import functools
import os
import pty
import selectors
import struct
import termios
from collections.abc import Callable
from typing import Protocol

from tests.kernel import wire
from tests.kernel.child import become
from tests.kernel.wire import Command, Kind

_READ_BYTES = 65536
_Theirs = tuple[int, int, int]  # the standard input, output and error of the process


class Sender(Protocol):
    """The way to the host."""

    def send(self, kind: Kind, job: int, payload: bytes) -> None:
        """Send one frame."""


class Job:
    """A running process: its output goes to the host as it comes, its input waits here until it reads."""

    def __init__(self, number: int, command: Command, port: Sender, selector: selectors.BaseSelector) -> None:
        self._number = number
        self._port = port
        self._selector = selector
        self._input = bytearray()
        self._input_ends = False
        theirs, self._input_fd, self._outputs = _terminal(command.terminal_size) if command.terminal_size else _pipes()
        self._pid = os.fork()
        if self._pid == 0:
            become(command, theirs)
        self._has_ended = False
        for fd in set(theirs):
            os.close(fd)
        os.set_blocking(self._input_fd, False)
        for fd in self._outputs:
            os.set_blocking(fd, False)
            self._watch(fd, functools.partial(self._forward, fd))
        port.send(Kind.STARTED, number, wire.STATUS.pack(self._pid))
        self._pid_fd = os.pidfd_open(self._pid)
        self._watch(self._pid_fd, self._finish)

    def _watch(self, fd: int, call: Callable[[], object], event: int = selectors.EVENT_READ) -> None:
        self._selector.register(fd, event, call)

    def _forward(self, fd: int) -> bool:
        """Send what the process wrote to `fd`; tell whether there was something."""
        try:
            output = os.read(fd, _READ_BYTES)
        except BlockingIOError:
            return False
        except OSError:  # a terminal whose last user is gone reads as EIO
            output = b""
        if output:
            self._port.send(self._outputs[fd], self._number, output)
        else:
            self._selector.unregister(fd)
            os.close(fd)
            del self._outputs[fd]
        return bool(output)

    def feed(self, payload: bytes) -> None:
        """Queue bytes for the process; none at all end its input."""
        if self._input_fd < 0:
            return
        self._input_ends |= not payload
        self._input += payload
        if self._input_fd not in self._selector.get_map():
            self._watch(self._input_fd, self._write_input, selectors.EVENT_WRITE)

    def _write_input(self) -> None:
        try:
            del self._input[: os.write(self._input_fd, self._input) if self._input else 0]
        except BlockingIOError:
            return
        except OSError:  # the process closed its input: the rest has no reader
            self._input_ends, self._input = True, bytearray()
        if not self._input and self._input_ends:
            self._close_input()
        elif not self._input:
            self._selector.unregister(self._input_fd)

    def _close_input(self) -> None:
        if self._input_fd in self._selector.get_map():
            self._selector.unregister(self._input_fd)
        os.close(self._input_fd)
        self._input_fd = -1

    def signal(self, number: int, whole_group: bool) -> None:
        """Send a signal to the process, or to its whole process group."""
        if not self._has_ended:  # later its process id may be another's
            (os.killpg if whole_group else os.kill)(self._pid, number)

    def _finish(self) -> None:
        """Send the last output and the exit status; what still runs in the background writes to nobody."""
        for fd in tuple(self._outputs):
            while self._forward(fd):
                pass
        for fd in self._outputs:
            self._selector.unregister(fd)
            os.close(fd)
        if self._input_fd >= 0:
            self._close_input()
        self._selector.unregister(self._pid_fd)
        os.close(self._pid_fd)
        _, status = os.waitpid(self._pid, 0)
        self._has_ended = True
        self._port.send(Kind.EXIT, self._number, wire.STATUS.pack(os.waitstatus_to_exitcode(status)))


def _pipes() -> tuple[_Theirs, int, dict[int, Kind]]:
    stdin, input_fd = os.pipe()
    out_fd, stdout = os.pipe()
    err_fd, stderr = os.pipe()
    return (stdin, stdout, stderr), input_fd, {out_fd: Kind.STDOUT, err_fd: Kind.STDERR}


def _terminal(size: tuple[int, int]) -> tuple[_Theirs, int, dict[int, Kind]]:
    ours, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
    return (terminal, terminal, terminal), os.dup(ours), {ours: Kind.STDOUT}
