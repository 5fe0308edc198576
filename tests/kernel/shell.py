"""`python -m tests.kernel.shell 6.1 [-- command args]`: a shell, or one command, in a guest of its own."""

import argparse
import contextlib
import os
import shutil
import signal
import sys
import termios
import threading
import tty
from collections.abc import Iterator

from tests.kernel import images
from tests.kernel.guest import Guest
from tests.kernel.process import GuestError, Process
from tests.kernel.wire import Kind

_STREAMS = {Kind.STDOUT: 1, Kind.STDERR: 2}
_READ_BYTES = 4096
_ONE_DAY_S = 24 * 60 * 60


def main() -> int:
    """Boot, run, and return the exit status of the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.kernel.shell", description=__doc__)
    parser.add_argument("kernel", choices=(*images.NAMES, *images.ARM64_NAMES))
    parser.add_argument("command", nargs="*", default=["/bin/bash"], help="default: an interactive shell")
    arguments = parser.parse_args()
    try:
        with Guest(images.fetch(arguments.kernel), life_limit_s=_ONE_DAY_S) as guest:
            return _run(guest, arguments.command)
    except GuestError as error:
        print(error, file=sys.stderr)
        return 1


def _run(guest: Guest, argv: list[str]) -> int:
    on_terminal = os.isatty(0) and os.isatty(1)
    size = shutil.get_terminal_size()
    with _raw_terminal() if on_terminal else contextlib.nullcontext():
        process = guest.start(
            argv,
            terminal_size=(size.lines, size.columns) if on_terminal else None,
            on_output=lambda stream, output: _write(_STREAMS[stream], output),
            env={"TERM": os.environ.get("TERM", "dumb")},
        )
        threading.Thread(target=_forward_input, args=[process], daemon=True).start()
        while True:
            try:
                status = process.wait(_ONE_DAY_S).status
            except KeyboardInterrupt:
                process.signal(signal.SIGINT, whole_group=True)
            else:
                # as a shell reports a signal
                return status if status >= 0 else 128 - status


def _write(fd: int, output: bytes) -> None:
    rest = memoryview(output)
    while rest:
        rest = rest[os.write(fd, rest) :]


def _forward_input(process: Process) -> None:
    with contextlib.suppress(GuestError):
        while typed := os.read(0, _READ_BYTES):
            process.write(typed)
        process.close_stdin()


@contextlib.contextmanager
def _raw_terminal() -> Iterator[None]:
    """Pass every key on, also Ctrl-C, until the block ends."""
    before = termios.tcgetattr(0)
    tty.setraw(0)
    try:
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)


if __name__ == "__main__":
    sys.exit(main())
