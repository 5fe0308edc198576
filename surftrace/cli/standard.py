"""Standard output, for a reader that may stop reading: that must not keep a signal from ending the trace."""

import errno
import os
import sys
from contextlib import nullcontext

from surftrace.tracing.pipe import Interrupted, Interruption, is_writable

# After the signal that ends the trace, whoever reads has so long to take what was recorded before.
_PATIENCE_S = 1.0
# A terminal that is closed refuses what is written some moments before its SIGHUP comes.
_HANGUP_S = 0.1
# PIPE_BUF of pipe(7).
_UNBLOCKED_BYTES = 4096


class Output:
    """What is written is kept until the next flush."""

    def __init__(self, noted: Interruption) -> None:
        self.noted = noted
        self.descriptor = sys.stdout.fileno()
        self.is_terminal = os.isatty(self.descriptor)
        self.pending: list[bytes] = []
        sys.stdout.flush()

    def write(self, text: str) -> None:
        """Keep a text."""
        self.pending.append(text.encode(sys.stdout.encoding, sys.stdout.errors or "backslashreplace"))

    def pass_on(self, data: bytes) -> None:
        """Keep bytes as they are."""
        self.pending.append(data)

    def flush(self) -> None:
        """Write all that was kept. Interrupted where a signal has come and nobody takes it, or the terminal is gone."""
        kept, self.pending = b"".join(self.pending), []
        data = memoryview(kept)
        while data:
            if self.noted.is_ending and not is_writable(self.descriptor, _PATIENCE_S):
                raise Interrupted
            # A pipe with room takes so much without blocking; a terminal that was stopped (Ctrl-S) may take nothing.
            try:
                with self.noted.raising() if self._may_block() else nullcontext():
                    written = os.write(self.descriptor, data[:_UNBLOCKED_BYTES])
            except OSError as error:
                if self.is_terminal and error.errno == errno.EIO and self.noted.is_soon(_HANGUP_S):
                    raise Interrupted from None
                raise
            data = data[written:]

    def _may_block(self) -> bool:
        return not self.noted.is_ending and (self.is_terminal or not is_writable(self.descriptor, 0))
