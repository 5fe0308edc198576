"""A booted kernel: `with Guest(images.fetch("6.1")) as guest: guest.run(["uname", "-r"]).stdout`."""

import compileall
import contextlib
import itertools
import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from tests.kernel import qemu, wire
from tests.kernel.images import Image
from tests.kernel.process import GuestError, Process, Result
from tests.kernel.wire import Command, Frame, Kind

BOOT_LIMIT_S = 180
LIFE_LIMIT_S = 30 * 60
MEMORY_MB = 1024

_RECEIVE_BYTES = 1 << 16
_START_LIMIT_S = 60
_FILE_LIMIT_S = 60

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ENVIRONMENT = {
    "HOME": "/root",
    "USER": "root",
    "LOGNAME": "root",
    "SHELL": "/bin/sh",
    "LANG": "C.UTF-8",
    "TERM": "xterm",
}


class Guest:
    """A virtual machine with `image`, its root's files below an overlay, and an agent that runs programs.

    On amd64 these are the host's files, with the checkout's virtual environment; elsewhere a few programs, and the
    checkout without what is compiled.
    """

    def __init__(self, image: Image, *, life_limit_s: float = LIFE_LIMIT_S, memory_mb: int = MEMORY_MB) -> None:
        """Boot; raise GuestError with the console's text when that fails."""
        self.image = image
        self._jobs: dict[int, Process] = {}
        self._numbers = itertools.count(1)
        self._error: GuestError | None = None
        self._ready = threading.Event()
        self._sending, self._ending = threading.Lock(), threading.Lock()
        for package in ("surftrace", "tests/kernel"):  # the guest would be slow at it, in vain at every boot
            compileall.compile_dir(qemu.CHECKOUT / package, quiet=2)
        self._machine = qemu.Machine(image, memory_mb)
        self._watchdog = threading.Timer(life_limit_s, self.give_up, [f"it lived longer than {life_limit_s} s"])
        self._watchdog.daemon = True
        self._watchdog.start()
        self._receiver = threading.Thread(target=self._receive, daemon=True)
        self._receiver.start()
        self._wait_for_agent()

    def _wait_for_agent(self) -> None:
        if not self._ready.wait(BOOT_LIMIT_S):
            self.give_up(f"it did not boot within {BOOT_LIMIT_S} s")
        if self._error:
            self.close()
            raise self._error

    def __enter__(self) -> "Guest":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: str | bytes = b"",
        env: Mapping[str, str] | None = None,
        cwd: str = str(qemu.CHECKOUT),
        timeout_s: float = 60,
        preloaded: bool = False,
    ) -> Result:
        """Run a program to its end. `env` is added to ENVIRONMENT; see `start` for `preloaded`."""
        process = self.start(argv, env=env, cwd=cwd, preloaded=preloaded)
        process.write(stdin)
        process.close_stdin()
        return process.wait(timeout_s)

    def start(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str = str(qemu.CHECKOUT),
        terminal_size: tuple[int, int] | None = None,
        on_output: Callable[[Kind, bytes], None] | None = None,
        preloaded: bool = False,
    ) -> Process:
        """Start a program; with `terminal_size` (rows, columns) on a terminal of its own.

        With `preloaded` it is surftrace, whatever argv[0] says, in a fork of a process that has imported all of it
        before: seconds faster, but not quite what a user runs.
        """
        assert self.image.has_host_programs or not preloaded, "surftrace does not run there"
        path = f"{Path(sys.executable).parent}:{_PATH}" if self.image.has_host_programs else _PATH
        variables = {"PATH": path, **ENVIRONMENT, **(env or {})}
        command = Command(tuple(argv), variables, cwd, terminal_size, preloaded)
        process = self._new_job(command.argv, on_output)
        self.send(Kind.START, process.job, command.encode())
        process.wait_for_start(_START_LIMIT_S)
        return process

    def read(self, path: str) -> str:
        """Return the text of a file in the guest; raise OSError as open() does."""
        return self._access(Kind.READ, path, path.encode()).stdout

    def write(self, path: str, text: str | bytes, *, append: bool = False) -> None:
        """Write a file in the guest with one write(2); raise OSError as that does."""
        content = text.encode() if isinstance(text, str) else text
        self._access(Kind.WRITE, path, b"%s%s\0%s" % (b"a" if append else b"w", path.encode(), content))

    def _access(self, kind: Kind, path: str, payload: bytes) -> Result:
        process = self._new_job((kind.name.lower(), path), None)
        self.send(kind, process.job, payload)
        result = process.wait(_FILE_LIMIT_S)
        if result.status:
            raise OSError(result.status, os.strerror(result.status), path)
        return result

    def close(self) -> None:
        """End the virtual machine."""
        self._watchdog.cancel()
        self.give_up("it was closed")
        self._receiver.join()
        self._machine.stop()

    def send(self, kind: Kind, job: int, payload: bytes) -> None:
        """Send a frame to the agent; raise GuestError when the guest is gone."""
        if self._error:
            raise self._error
        # When this fails, the receiving thread sees the same, and says why to everyone who waits.
        with self._sending, contextlib.suppress(OSError):
            self._machine.port.sendall(Frame(kind, job, payload).encode())

    def give_up(self, reason: str) -> GuestError:
        """End the guest, if it has not ended, and return the error that says why it did."""
        with self._ending:
            if self._error is None:
                self._machine.kill()
                console = self._machine.tail().strip()
                self._error = GuestError(f"guest {self.image.name}: {reason}\n--- console\n{console}")
        for process in tuple(self._jobs.values()):
            process.abandon(self._error)
        self._ready.set()
        return self._error

    def _new_job(self, argv: tuple[str, ...], on_output: Callable[[Kind, bytes], None] | None) -> Process:
        process = Process(argv, next(self._numbers), self, on_output)
        self._jobs[process.job] = process
        return process

    def _receive(self) -> None:
        try:
            self._receive_frames()
        finally:
            self.give_up("it died")

    def _receive_frames(self) -> None:
        decoder = wire.Decoder()
        with contextlib.suppress(ConnectionResetError):
            while received := self._machine.port.recv(_RECEIVE_BYTES):
                for frame in decoder.feed(received):
                    if frame.kind == Kind.READY:
                        self._ready.set()
                    else:
                        self._jobs[frame.job].receive(frame)
