"""Lines on a terminal that are written again in their own place."""

import re
import shutil
from collections.abc import Sequence

from surftrace.cli.standard import Output
from surftrace.tracing.pipe import Interrupted

# console_codes(4), ECMA-48 CPL and ED: up so many lines, and clear from there on.
_REDRAW = "\x1b[{}F\x1b[J"
# ECMA-48 SGR, as surftrace.output.color writes it.
_COLOUR = re.compile(r"\x1b\[[\d;]*m")


class Screen:
    """The lines that were drawn last: the cursor is below them, as long as nobody else writes there."""

    def __init__(self, output: Output) -> None:
        self.output = output
        self.lines: list[str] = []

    def draw(self, lines: Sequence[str]) -> None:
        """Write lines over those before, as many and as much of each as the terminal has room for.

        Interrupted as `Output.flush`.
        """
        size = shutil.get_terminal_size()
        fitted = [cut(line, size.columns) for line in lines[: max(1, size.lines - 2)]]
        if fitted == self.lines:
            return
        above = _REDRAW.format(len(self.lines)) if self.lines else ""
        self.lines = fitted
        self._put(above + "".join(f"{line}\n" for line in fitted))

    def erase(self) -> None:
        """Remove the lines, before anything else is written there. Interrupted as `Output.flush`."""
        if self.lines:
            above = _REDRAW.format(len(self.lines))
            self.lines = []
            self._put(above)

    def forget(self) -> None:
        """Leave the lines where they are: something else is written below them."""
        self.lines = []

    def _put(self, text: str) -> None:
        self.output.write(text)
        try:
            self.output.flush()
        except Interrupted:
            # Kept until the next flush, it would clear what has been told meanwhile.
            self.output.kept.clear()
            raise


def cut(line: str, columns: int) -> str:
    """The line where the terminal has room for it, else so much of it, without colour, that it takes one there."""
    text = _COLOUR.sub("", line)
    return line if len(text) < columns else text[: columns - 1]
