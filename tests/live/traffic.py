"""Sends what a test asks for, a command a line on standard input; runs in a guest: `python3 tests/live/traffic.py`.

    udp ADDRESS PORT REPR      one datagram; REPR is a Python bytes literal
    tcp ADDRESS PORT REPR      connect to a listener of our own, send, close
    name REPR                  call this process so

Each is answered with `done` and the local port once it has been sent.
"""

import ast
import ctypes
import socket
import sys

_PR_SET_NAME = 15


def main() -> None:
    """Serve commands until standard input ends."""
    for line in sys.stdin:
        command, *words = line.rstrip("\n").split(" ", 3)
        data = ast.literal_eval(words[-1])
        port = 0
        if command == "udp":
            port = _send_udp(words[0], int(words[1]), data)
        elif command == "tcp":
            port = _send_tcp(words[0], int(words[1]), data)
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


if __name__ == "__main__":
    main()
