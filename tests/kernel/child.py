"""What a forked agent turns into: another program, or surftrace itself, which needs no start of Python then."""

import fcntl
import importlib
import os
import signal
import site
import sys
import termios
from typing import NoReturn

from tests.kernel.wire import Command

_CANNOT_START = 127
_FD_LIMIT = 4096
_PRELOADED = ("drgn", "lark", "elftools.elf.elffile", "colorama", "surftrace.cli.main", "surftrace.cli.live")


def preload() -> None:
    """Import surftrace and all it needs, so that every later fork has it."""
    if "surftrace.cli.main" not in sys.modules:
        site.main()  # the agent starts without: python -S
        for name in _PRELOADED:
            importlib.import_module(name)


def become(command: Command, fds: tuple[int, int, int]) -> NoReturn:
    """Turn this process, a fork of the agent, into `command` with `fds` as its standard files."""
    os.setsid()
    if command.terminal_size:
        fcntl.ioctl(fds[0], termios.TIOCSCTTY, 0)
    for number, fd in enumerate(fds):
        os.dup2(fd, number)
    os.closerange(len(fds), _FD_LIMIT)
    try:
        os.chdir(command.cwd)
        if not command.is_preloaded:
            _execute(command)
    except OSError as error:
        os.write(2, f"{command.argv[0]}: {error}\n".encode())
        os._exit(_CANNOT_START)
    _run_surftrace(command)


def _execute(command: Command) -> NoReturn:
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)  # Python ignores them
    os.execvpe(command.argv[0], command.argv, command.env)


def _run_surftrace(command: Command) -> NoReturn:
    os.environ.clear()
    os.environ.update(command.env)
    sys.argv = list(command.argv)
    sys.stdin, sys.stdout, sys.stderr = (
        os.fdopen(fd, mode, encoding="utf-8", errors=errors, closefd=False)
        for fd, mode, errors in ((0, "r", "strict"), (1, "w", "strict"), (2, "w", "backslashreplace"))
    )
    # The interpreter's own end is wanted, with exit handlers and the traceback of a bug.
    sys.exit(sys.modules["surftrace.cli.main"].main())
