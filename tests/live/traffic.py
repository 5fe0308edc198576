"""Sends what a test asks for, a command a line on standard input; runs in a guest: `python3 tests/live/traffic.py`.

    udp ADDRESS PORT REPR      one datagram; REPR is a Python bytes literal
    tcp ADDRESS PORT REPR      connect to a listener of our own, send, close
    icmp ADDRESS REPR          one echo request
    fallocate OFFSET LENGTH REPR   allocate so much of a new file of that name below /run
    name REPR                  call this process so

Each is answered with `done` and the local port once it has been sent.
"""

import ast
import ctypes
import os
import socket
import struct
import sys
from pathlib import Path

_PR_SET_NAME = 15


def main() -> None:
    """Serve commands until standard input ends."""
    for line in sys.stdin:
        before, _, literal = line.partition(" b")
        command, *words = before.split(" ")
        data = ast.literal_eval(f"b{literal}")
        port = 0
        if command == "udp":
            port = _send_udp(words[0], int(words[1]), data)
        elif command == "tcp":
            port = _send_tcp(words[0], int(words[1]), data)
        elif command == "icmp":
            _send_icmp(words[0], data)
        elif command == "fallocate":
            _allocate(int(words[0]), int(words[1]), data)
        else:
            ctypes.CDLL(None).prctl(_PR_SET_NAME, data, 0, 0, 0)
        print("done", port, flush=True)


def _send_udp(address: str, port: int, data: bytes) -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(data, (address, port))
        return int(sender.getsockname()[1])


def _send_tcp(address: str, port: int, data: bytes) -> int:
    with socket.create_server((address, port)) as listener, socket.create_connection((address, port)) as sender:
        receiver, _ = listener.accept()
        with receiver:
            sender.sendall(data)
            receiver.recv(len(data))
        return int(sender.getsockname()[1])


def _send_icmp(address: str, data: bytes) -> None:
    packet = struct.pack("!BBHHH", 8, 0, 0, 0x1234, 7) + data
    total = sum(struct.unpack(f"!{len(packet) // 2}H", packet))
    checksum = ~(total + total // 0xFFFF) & 0xFFFF
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as sender:
        sender.sendto(packet[:2] + struct.pack("!H", checksum) + packet[4:], (address, 0))


def _allocate(offset: int, length: int, name: bytes) -> None:
    path = Path("/run", os.fsdecode(name))
    with path.open("wb") as file:
        os.posix_fallocate(file.fileno(), offset, length)
    path.unlink()


if __name__ == "__main__":
    main()
