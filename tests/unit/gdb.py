"""gdb as an oracle: commands in, what it prints out; a fetch argument as an expression of gdb's."""

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

_C_TYPES = {8: "char", 16: "short", 32: "int", 64: "long"}


def run(program: Path, *commands: str) -> str:
    """What gdb prints while it carries out the commands."""
    words = [word for command in commands for word in ("-ex", command)]
    done = subprocess.run(
        ["gdb", "-batch", "-nx", "-q", *words, str(program)], capture_output=True, text=True, check=False, timeout=60
    )
    return done.stdout + done.stderr


def values(text: str) -> list[str]:
    """What each `print` printed."""
    return re.findall(r"^\$\d+ = (.*)$", text, re.MULTILINE)


def at_places(program: Path, places: Sequence[tuple[str, Sequence[str]]]) -> list[list[str]]:
    """The values of expressions at the first hit of each of some places, which the program comes to in that order."""
    commands = [f"tbreak {place}" for place, _ in places] + ["run"]
    for number, (_, expressions) in enumerate(places):
        commands += [f"echo at {number}\\n", *(f"print {expression}" for expression in expressions), "continue"]
    parts = re.split(r"^at \d+$", run(program, *commands), flags=re.MULTILINE)[1:]
    return [values(part) for part in parts]


def expression(fetch: str) -> str:
    """A fetch argument such as `+0x10(%si):s32` as gdb computes it; a string is its first character."""
    text, _, kernel_type = fetch.rpartition(":")
    if kernel_type == "string":
        return f"*(char *)({_address(text)})"
    if match := re.fullmatch(r"b(\d+)@(\d+)/(8|16|32|64)", kernel_type):
        return f"({_scalar(text, 'u', int(match[3]))} >> {match[2]}) & {(1 << int(match[1])) - 1}"
    match = re.fullmatch(r"([sux])(8|16|32|64)", kernel_type)
    assert match is not None, fetch
    return _scalar(text, match[1], int(match[2]))


def _scalar(text: str, sign: str, bits: int) -> str:
    c_type = f"{'' if sign == 's' else 'unsigned '}{_C_TYPES[bits]}"
    address = _address(text)
    return f"({c_type})({address[1:]})" if address.startswith("=") else f"*({c_type} *)({address})"


def _address(text: str) -> str:
    """The address of what is fetched; after `=` for what is a register's value itself."""
    if match := re.fullmatch(r"\$stack(\d+)", text):
        return f"$rsp+{8 * int(match[1])}"
    if match := re.fullmatch(r"%(\w+)", text):
        return f"=$r{match[1].removeprefix('r')}"
    match = re.fullmatch(r"([+-]0x[0-9a-f]+)\((.*)\)", text)
    assert match is not None, text
    inner = _address(match[2])
    base = inner[1:] if inner.startswith("=") else f"*(long *)({inner})"
    return f"{base}{match[1]}"
