"""The process around the command line: as little start and end as a command that takes a tenth of a second can bear."""

import gc
import os
import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line and end the process with its exit status."""
    # A short run makes no garbage worth a collection; a live trace switches it on again.
    gc.disable()
    from surftrace.cli.main import main as run

    try:
        status = run()
        sys.stdout.flush()
    except BrokenPipeError:
        status = 0
    # Nothing waits for the interpreter to take itself apart: that costs a tenth of a dry run.
    os._exit(status)
