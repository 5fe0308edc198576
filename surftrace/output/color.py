"""Colour by meaning, or none."""

from collections.abc import Callable
from enum import Enum
from typing import TypeAlias

from colorama import Fore, Style


class Role(Enum):
    """What a piece of text is, with the terminal's escape sequence for it."""

    ERROR = Style.BRIGHT + Fore.RED
    WARNING = Style.BRIGHT + Fore.YELLOW
    HINT = Fore.CYAN
    EVENT = Style.BRIGHT
    NAME = Fore.BLUE
    STRING = Fore.GREEN
    PLACE = Fore.MAGENTA
    FAINT = Style.DIM


Paint: TypeAlias = Callable[[Role, str], str]


def plain(_role: Role, text: str) -> str:
    """The text as it is."""
    return text


def colored(role: Role, text: str) -> str:
    """The text between the role's escape sequence and the one that ends it."""
    return f"{role.value}{text}{Style.RESET_ALL}"
