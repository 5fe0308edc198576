"""What the parsers of all commands are made of: the parser itself, and the types of its arguments."""

import argparse
import re
from typing import NoReturn

from surftrace.errors import SurftraceError

_UNITS = {"K": 1, "M": 1 << 10, "G": 1 << 20}
_MAX_BUFFER_KB = 1 << 30
_MAX_DIGITS = 18


class UsageError(SurftraceError):
    """The command line is wrong."""


class CommandParser(argparse.ArgumentParser):
    """Raises UsageError for what is wrong."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and where the help is."""
        raise UsageError(message, f"{self.prog} --help lists what there is")


def add_files(parser: argparse.ArgumentParser) -> None:
    """Probes from files, and what is filled in there."""
    add = parser.add_argument
    add("-f", "--file", dest="files", action="append", default=[], metavar="FILE", help="probes from FILE, one a line")
    add(
        *("-D", "--define"),
        dest="definitions",
        action="append",
        default=[],
        type=definition,
        metavar="NAME=VALUE",
        help="what ${NAME} is in the script of -f",
    )


def add_dry_run(parser: argparse.ArgumentParser) -> None:
    """The commands themselves instead of what they do."""
    parser.add_argument(
        *("-S", "--show", "-n", "--dry-run"),
        dest="is_dry_run",
        action="store_true",
        help="print the commands as echo lines; touch nothing, need no root",
    )


def definition(text: str) -> tuple[str, str]:
    """The NAME and the VALUE of -D."""
    from surftrace.lang.script import is_definition_name

    name, equals, value = text.partition("=")
    if not equals or not is_definition_name(name):
        raise argparse.ArgumentTypeError(f"'{text}' is not NAME=VALUE")
    if not value.isprintable():
        raise argparse.ArgumentTypeError(f"the value of {name} has a control character in it")
    return name, value


def instance_name(text: str) -> str:
    """A name that the kernel takes for an instance and a group of probes."""
    from surftrace.tracing.instance import NAME_PATTERN, is_others_group

    if not NAME_PATTERN.fullmatch(text):
        raise argparse.ArgumentTypeError(f"'{text}' is no name: letters, digits and _ only, at most 63")
    if is_others_group(text):
        raise argparse.ArgumentTypeError(f"'{text}' is an event group for everybody's probes")
    return text


def seconds(text: str) -> float:
    """A number of seconds above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e9:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of seconds above 0")
    return value


def kilobytes(text: str) -> int:
    """A size such as 8M in KiB."""
    match = re.fullmatch(r"([0-9]{1,9})([KMG])", text.upper().removesuffix("B").removesuffix("I"))
    size_kb = int(match[1]) * _UNITS[match[2]] if match is not None else 0
    if not 0 < size_kb <= _MAX_BUFFER_KB:
        raise argparse.ArgumentTypeError(f"'{text}' is not a size such as 512K, 8M or 1G")
    return size_kb


def rate(text: str) -> int:
    """A number of events a second; 0 for no limit."""
    return 0 if text == "0" else whole_number(text)


def is_end(text: str) -> bool:
    """pause or end: is it the latter?"""
    if text not in ("pause", "end"):
        raise argparse.ArgumentTypeError(f"'{text}' is neither pause nor end")
    return text == "end"


def whole_number(text: str) -> int:
    """A number above 0, of 18 digits at most."""
    if not text.isascii() or not text.isdigit() or len(text) > _MAX_DIGITS or not int(text):
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number above 0")
    return int(text)


def shells_instance(name: str | None) -> str:
    """The instance of commands that a shell is to run. UsageError for a name of our own: a shell locks nothing."""
    from surftrace.tracing.instance import SHELL_NAME, is_swept

    if name is not None and is_swept(name):
        hint = "another name, such as my_trace; without one it is surftrace_sh"
        raise UsageError(f"the next surftrace would remove the instance {name} of a shell, as a dead session's", hint)
    return name or SHELL_NAME
