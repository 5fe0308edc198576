"""Sends what a test asks for, a command a line on standard input; runs in a guest: `python3 tests/live/traffic.py`.

REPR is a Python bytes literal; an address is IPv4 or IPv6.

    udp ADDRESS PORT REPR      one datagram
    tcp ADDRESS PORT REPR      connect to a listener of our own, send, close
    icmp ADDRESS REPR          one echo request, id 0x1234, sequence 7
    raw ADDRESS PROTOCOL REPR  one IP packet of that protocol, with this behind the IP header
    frame DEVICE REPR          one Ethernet frame, its header too
    fallocate OFFSET LENGTH REPR   allocate so much of a new file of that name below /run
    openat2 DIRFD PATH TEXT HOW    openat2(2), the kernel having copies of the bytes literals PATH and HOW (24 bytes);
                               eight Q in HOW become the address of TEXT
    write REPR REPR            write(2) the second to the file named by the first; it may fail
    prctl OPTION A B C D       prctl(2)
    kill NUMBER                send a signal to this process, then to this thread
    mount REPR                 mount a file system of that type, which there is not
    name REPR                  call this process so

Each is answered with `done` and a number once it has been sent: the local port of `udp` and `tcp`, the process id of
`kill` and `openat2`, else 0.
"""

import ast
import contextlib
import ctypes
import os
import re
import signal
import socket
import struct
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

_PR_SET_NAME = 15
_SYS_OPENAT2 = 437
_LIBC = ctypes.CDLL(None)
_WORD = re.compile(r"""b'(?:[^'\\]|\\.)*'|b"(?:[^"\\]|\\.)*"|\S+""")


def main() -> None:
    """Serve commands until standard input ends."""
    for line in sys.stdin:
        command, *words = _WORD.findall(line)
        print("done", _COMMANDS[command](*map(_value, words)) or 0, flush=True)


def _value(word: str) -> int | str | bytes:
    if word.startswith(("b'", 'b"')):
        return bytes(ast.literal_eval(word))
    try:
        return int(word, 0)
    except ValueError:
        return word


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _send_udp(address: str, port: int, data: bytes) -> int:
    with socket.socket(_family(address), socket.SOCK_DGRAM) as sender:
        sender.sendto(data, (address, port))
        return int(sender.getsockname()[1])


def _send_tcp(address: str, port: int, data: bytes) -> int:
    where, family = (address, port), _family(address)
    with socket.create_server(where, family=family) as listener, socket.create_connection(where) as sender:
        receiver, _ = listener.accept()
        with receiver:
            sender.sendall(data)
            receiver.recv(len(data))
        return int(sender.getsockname()[1])


def _send_icmp(address: str, data: bytes) -> None:
    if ":" in address:
        # The kernel makes the checksum: RFC 3542, section 3.1.
        _send_raw(address, socket.IPPROTO_ICMPV6, struct.pack("!BBHHH", 128, 0, 0, 0x1234, 7) + data)
        return
    packet = struct.pack("!BBHHH", 8, 0, 0, 0x1234, 7) + data
    total = sum(struct.unpack(f"!{len(packet) // 2}H", packet))
    checksum = ~(total + total // 0xFFFF) & 0xFFFF
    _send_raw(address, socket.IPPROTO_ICMP, packet[:2] + struct.pack("!H", checksum) + packet[4:])


def _send_raw(address: str, protocol: int, packet: bytes) -> None:
    with socket.socket(_family(address), socket.SOCK_RAW, protocol) as sender:
        sender.sendto(packet, (address, 0))


def _send_frame(device: str, frame: bytes) -> None:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
        sender.sendto(frame, (device, 0))


def _allocate(offset: int, length: int, name: bytes) -> None:
    path = Path("/run", os.fsdecode(name))
    with path.open("wb") as file:
        os.posix_fallocate(file.fileno(), offset, length)
    path.unlink()


def _openat2(directory: int, path: bytes, text: bytes, how: bytes) -> int:
    name, pointed = ctypes.create_string_buffer(path), ctypes.create_string_buffer(text)
    # Both are in memory now: they have been written.
    given = ctypes.create_string_buffer(how.replace(b"Q" * 8, struct.pack("=Q", ctypes.addressof(pointed))), len(how))
    arguments = (ctypes.c_long(_SYS_OPENAT2), ctypes.c_long(directory), name, given, ctypes.c_size_t(len(how)))
    descriptor = _LIBC.syscall(*arguments)
    if descriptor >= 0:
        os.close(descriptor)
    return os.getpid()


def _write(path: bytes, data: bytes) -> None:
    with Path(os.fsdecode(path)).open("wb", buffering=0) as file, contextlib.suppress(OSError):
        file.write(data)


def _prctl(option: int, *values: int) -> None:
    _LIBC.prctl(option, *(ctypes.c_ulong(value) for value in values))


def _kill(number: int) -> int:
    os.kill(os.getpid(), number)
    signal.pthread_kill(threading.get_ident(), number)
    return os.getpid()


def _mount(kind: bytes) -> None:
    _LIBC.mount(b"none", b"/mnt", kind, 0, None)


_COMMANDS: Mapping[str, Callable[..., int | None]] = {
    "udp": _send_udp,
    "tcp": _send_tcp,
    "icmp": _send_icmp,
    "raw": _send_raw,
    "frame": _send_frame,
    "fallocate": _allocate,
    "openat2": _openat2,
    "write": _write,
    "prctl": _prctl,
    "kill": _kill,
    "mount": _mount,
    "name": lambda name: _LIBC.prctl(_PR_SET_NAME, name, 0, 0, 0),
}


if __name__ == "__main__":
    main()
