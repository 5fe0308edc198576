"""The process in the guest that obeys the host: starts programs, carries their bytes, reads and writes files.

Runs with the standard library alone, so that it starts fast. It ends, and the guest with it, when the port
closes.
"""

import errno
import os
import selectors
import sys
from collections.abc import Callable
from pathlib import Path

from tests.kernel import wire
from tests.kernel.child import preload
from tests.kernel.job import Job
from tests.kernel.wire import Command, Frame, Kind

_READ_BYTES = 65536


class Port:
    """The virtio port to the host."""

    def __init__(self) -> None:
        names = Path("/sys/class/virtio-ports").glob("*/name")
        (port,) = (path.parent.name for path in names if path.read_text().strip() == wire.PORT_NAME)
        self.fd = os.open(f"/dev/{port}", os.O_RDWR | os.O_CLOEXEC)
        self._decoder = wire.Decoder()

    def receive(self) -> list[Frame]:
        """Return the frames that have come; end the agent when the host is gone."""
        received = os.read(self.fd, _READ_BYTES)
        if not received:
            sys.exit()
        return list(self._decoder.feed(received))

    def send(self, kind: Kind, job: int, payload: bytes = b"") -> None:
        """Send one frame, waiting until the host has taken it."""
        rest = memoryview(Frame(kind, job, payload).encode())
        while rest:
            rest = rest[os.write(self.fd, rest) :]


class Agent:
    """The loop over the port and all jobs."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._jobs: dict[int, Job] = {}
        self._port = Port()
        self._selector.register(self._port.fd, selectors.EVENT_READ, self._serve)

    def run(self) -> None:
        """Serve until the port closes."""
        self._port.send(Kind.READY, 0)
        while True:
            for key, _ in self._selector.select():
                # An earlier event of the same round may have ended this one's job.
                if self._selector.get_map().get(key.fd) is key:
                    key.data()

    def _serve(self) -> None:
        for frame in self._port.receive():
            self._handle(frame)

    def _handle(self, frame: Frame) -> None:
        match frame.kind:
            case Kind.START:
                self._start(frame)
            case Kind.STDIN:
                self._jobs[frame.job].feed(frame.payload)
            case Kind.SIGNAL:
                self._jobs[frame.job].signal(*wire.SIGNAL.unpack(frame.payload))
            case Kind.READ:
                self._answer(frame.job, lambda: Path(os.fsdecode(frame.payload)).read_bytes())
            case Kind.WRITE:
                self._answer(frame.job, lambda: _write_file(frame.payload))
            case _:
                raise ValueError(f"the host sent {frame}")

    def _start(self, frame: Frame) -> None:
        command = Command.decode(frame.payload)
        if command.is_preloaded:
            preload()
        self._jobs[frame.job] = Job(frame.job, command, self._port, self._selector)

    def _answer(self, job: int, call: Callable[[], bytes]) -> None:
        try:
            content = call()
        except OSError as error:
            self._port.send(Kind.EXIT, job, wire.STATUS.pack(error.errno or errno.EIO))
        else:
            self._port.send(Kind.STDOUT, job, content)
            self._port.send(Kind.EXIT, job, wire.STATUS.pack(0))


def _write_file(payload: bytes) -> bytes:
    path, _, content = payload[1:].partition(b"\0")
    # One write() for all of it: tracefs takes each write as one command.
    with Path(os.fsdecode(path)).open("ab" if payload[:1] == b"a" else "wb", buffering=0) as file:
        file.write(content)
    return b""


if __name__ == "__main__":
    Agent().run()
