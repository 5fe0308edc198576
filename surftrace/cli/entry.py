"""The process around the command line: as little start and end as a command that takes a tenth of a second can bear."""

import errno
import gc
import io
import os
import signal
import sys
from pathlib import Path
from typing import NoReturn

_OUTPUT_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def main() -> NoReturn:
    """Run the command line and end the process with its exit status."""
    # A short run makes no garbage worth a collection; a live trace switches it on again.
    gc.disable()
    _prepare_streams()
    try:
        status = _status()
        if status <= 128 or _is_read():
            sys.stdout.flush()
    except BrokenPipeError:
        status = 0
    except KeyboardInterrupt:  # before a trace begins, with nothing left to undo
        status = 128 + signal.SIGINT
    except MemoryError:
        os.write(2, b"surftrace: error: out of memory\n")
        status = 1
    except OSError as error:
        if error.errno not in _OUTPUT_ERRORS:
            raise
        os.write(2, f"surftrace: error: cannot write the output: {error.strerror}\n".encode())
        status = 1
    # Nothing waits for the interpreter to take itself apart: that costs a tenth of a dry run.
    os._exit(status)


def _is_read() -> bool:
    """Whoever keeps a signal from ending the trace at once, by not reading, need not keep the process either."""
    from surftrace.tracing.pipe import is_writable  # not for a dry run

    return is_writable(sys.stdout.fileno(), 0)


def _status() -> int:
    try:
        from surftrace.cli.main import main as run
        from surftrace.cli.progress import showing_progress

        with showing_progress(sys.stderr):
            return run()
    except SystemExit as end:  # argparse, after --help and --version
        return int(end.code or 0)


def _prepare_streams() -> None:
    """Standard output and error that take any text: closed ones take it nowhere, narrow ones escape it."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 # for the process
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
