"""The process around the command line: as little start and end as a command that takes a tenth of a second can bear."""

import gc
import os
import signal
import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line and end the process with its exit status."""
    # A short run makes no garbage worth a collection; a live trace switches it on again.
    gc.disable()
    try:
        from surftrace.cli.main import main as run

        status = run()
        sys.stdout.flush()
    except BrokenPipeError:
        status = 0
    except KeyboardInterrupt:  # before a trace begins or after it has ended, with nothing left to undo
        status = 128 + signal.SIGINT
    # Nothing waits for the interpreter to take itself apart: that costs a tenth of a dry run.
    os._exit(status)
