"""Frames between the host and the agent in the guest: a kind, the number of a job, and bytes."""

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

PORT_NAME = "surftrace.agent"

_HEADER = struct.Struct("<IBI")
STATUS = struct.Struct("<i")
SIGNAL = struct.Struct("<B?")


class Kind(IntEnum):
    """What a frame says; the host numbers the jobs."""

    READY = 1  # guest: the agent listens
    START = 2  # host: run a process, a `Command` as JSON
    STARTED = 3  # guest: its process id as STATUS
    STDIN = 4  # host: bytes for it; none at all ends its input
    SIGNAL = 5  # host: a signal number, and whether its whole process group gets it
    STDOUT = 6  # guest: bytes it wrote
    STDERR = 7
    EXIT = 8  # guest: exit status, or minus the signal that ended it; the job's last frame
    READ = 9  # host: a path; answered by STDOUT and an EXIT with 0 or the errno
    WRITE = 10  # host: "w" or "a", a path, a zero byte, bytes; answered by an EXIT with 0 or the errno


@dataclass(frozen=True, slots=True)
class Command:
    """A process to start; with `terminal_size` (rows, columns) it gets a terminal instead of pipes.

    With `is_preloaded` it is surftrace itself, in a fork of the agent.
    """

    argv: tuple[str, ...]
    env: dict[str, str]
    cwd: str
    terminal_size: tuple[int, int] | None = None
    is_preloaded: bool = False

    def encode(self) -> bytes:
        """Return the payload of a START frame."""
        return json.dumps([self.argv, self.env, self.cwd, self.terminal_size, self.is_preloaded]).encode()

    @classmethod
    def decode(cls, payload: bytes) -> "Command":
        """Return the command of a START frame."""
        argv, env, cwd, size, is_preloaded = json.loads(payload)
        return cls(tuple(argv), env, cwd, tuple(size) if size else None, is_preloaded)


@dataclass(frozen=True, slots=True)
class Frame:
    """One message."""

    kind: Kind
    job: int
    payload: bytes = b""

    def encode(self) -> bytes:
        """Return the bytes that go over the port."""
        return _HEADER.pack(len(self.payload), self.kind, self.job) + self.payload


class Decoder:
    """Cuts the bytes that come out of a port into frames."""

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, received: bytes) -> Iterator[Frame]:
        """Yield the frames that are complete now."""
        self._pending += received
        while len(self._pending) >= _HEADER.size:
            payload_bytes, kind, job = _HEADER.unpack_from(self._pending)
            end = _HEADER.size + payload_bytes
            if len(self._pending) < end:
                return
            payload = bytes(self._pending[_HEADER.size : end])
            del self._pending[:end]
            yield Frame(Kind(kind), job, payload)
