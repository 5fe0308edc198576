"""`surftrace completion SHELL`: the shell's script, and what the script asks for when TAB is pressed."""

import argparse
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import files

from surftrace.cli.arguments import CommandParser
from surftrace.cli.proposals import Proposal, propose
from surftrace.cli.shellwords import Line, quoted, split_line
from surftrace.output.color import Paint
from surftrace.output.escape import escape

_DESCRIPTION = """\
Print the script with which a shell completes surftrace's options, commands, functions, events, types and members when
TAB is pressed. The script calls this command with the LINE up to the cursor; nothing of the line is run.
"""
# The shells, each with the name that its script has where it looks for scripts.
_SHELLS = {"bash": "surftrace.bash", "zsh": "_surftrace", "fish": "surftrace.fish"}
# Who waits for a TAB has other things to do.
_PATIENCE_S = 3.0
# COMP_TYPE of bash(1) where the choices are listed, and none of several is inserted.
_LISTING = str(ord("?"))
_MAX_NOTE = 100
_MAX_NOTED = 500


def run_completion(argv: Sequence[str], paint: Paint) -> int:
    """Run the command; the result is the exit status."""
    chosen = completion_parser().parse_args(argv)
    if chosen.line is None:
        script = files("surftrace.cli") / "scripts" / _SHELLS[chosen.shell]
        sys.stdout.write(script.read_text(encoding="utf-8"))
        return 0
    line = split_line(chosen.line, chosen.shell == "fish")
    with _short():
        try:
            proposal = propose(line)
        except Exception:  # whatever is wrong with the line, it is told when the line is run
            proposal = Proposal("words")
    answer = _for_bash(line, proposal, chosen) if chosen.shell == "bash" else _for_others(line, proposal, chosen.shell)
    sys.stdout.write("".join(f"{text}\n" for text in answer))
    return 0


@contextmanager
def _short() -> Iterator[None]:
    """End the process after a while: reading DWARF may take longer, and a FIFO that is named may never be read."""
    before = signal.signal(signal.SIGALRM, lambda *_: os._exit(1))
    signal.setitimer(signal.ITIMER_REAL, _PATIENCE_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _for_bash(line: Line, proposal: Proposal, chosen: argparse.Namespace) -> Iterator[str]:
    """What becomes of the word that bash replaces, which begins behind a quote or a character of COMP_WORDBREAKS."""
    at, quote = line.places[proposal.start]
    behind = line.raw.removesuffix(chosen.word)
    wholes = [line.raw[:at] + quoted(each.text, quote) for each in proposal.choices]
    texts = [whole.removeprefix(behind) for whole in wholes if whole.startswith(behind)]
    yield proposal.kind
    if chosen.type == _LISTING and len(texts) > 1:
        yield from (quoted(each.text, quote) for each in proposal.choices)
        return
    yield from texts
    if proposal.kind == "open" and len(texts) == 1:
        yield f"{texts[0]} "  # a single choice would end the word with its quote


def _for_others(line: Line, proposal: Proposal, shell: str) -> Iterator[str]:
    """Each whole word without quotes, a tab, and what is shown for it: these shells quote it themselves."""
    kept = line.current[: proposal.start]
    has_notes = len(proposal.choices) <= _MAX_NOTED
    yield proposal.kind
    for each in proposal.choices:
        note = escape(each.note)[:_MAX_NOTE] if has_notes else ""
        shown = note if shell == "fish" else f"{each.text}{'  -- ' if note else ''}{note}"
        yield f"{kept}{each.text}\t{shown}"
    if proposal.kind == "open" and len(proposal.choices) == 1 and shell == "fish":
        yield f"{kept}{proposal.choices[0].text} \t"


def completion_parser() -> argparse.ArgumentParser:
    """The parser of `surftrace completion`."""
    parser = CommandParser(
        prog="surftrace completion",
        description=_DESCRIPTION,
        epilog="example:\n  source <(surftrace completion bash)",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("shell", choices=_SHELLS, metavar="SHELL", help="bash, zsh or fish")
    add("line", nargs="?", metavar="LINE", help="a command line: print what may stand at its end")
    add("word", nargs="?", default="", help=argparse.SUPPRESS)
    add("type", nargs="?", default="", help=argparse.SUPPRESS)
    return parser
