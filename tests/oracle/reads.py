"""The text of a fetch argument in, what it makes the kernel read out, so that two spellings of one read are equal."""

import re
from dataclasses import dataclass

_TEXT = re.compile(r"(?P<opened>(?:[+-]\w+\()*)(?P<base>[%$@]\w+)(?P<symbol_offset>[+-]\w+)?\)*(?::(?P<type>\S+))?")
_BIT_FIELD = re.compile(r"b(\d+)@(\d+)/\d+")


@dataclass(frozen=True, slots=True)
class Read:
    """Start at `base`, follow the pointers at `pointer_offsets`, read `width` bits at `bit_offset` behind the last.

    `bit_offset` is None for what is in a register. `form` is `s`, `u` (shown in decimal or not), `string`, or empty.
    """

    base: str
    pointer_offsets: tuple[int, ...]
    bit_offset: int | None
    width: int
    form: str


def parse_read(text: str) -> Read:
    """Parse `+0x10(+8(%di)):x32` and its like (Linux Documentation/trace/kprobetrace.rst)."""
    match = _TEXT.fullmatch(text)
    if match is None:
        raise ValueError(f"'{text}' is no fetch argument")
    byte_offsets = [int(offset, 0) for offset in reversed(match["opened"].split("(")[:-1])]
    if match["base"].startswith("@"):
        byte_offsets.insert(0, int(match["symbol_offset"] or "0", 0))
    first_bit, width, form = _shown(match["type"] or "")
    if not byte_offsets:
        return Read(match["base"], (), None, width, form)
    *pointer_offsets, last = byte_offsets
    return Read(match["base"], tuple(pointer_offsets), last * 8 + first_bit, width, form)


def _shown(kernel_type: str) -> tuple[int, int, str]:
    """The first bit, the width and the form of a type such as `x32`, `b4@4/8` or `string`."""
    if bit_field := _BIT_FIELD.fullmatch(kernel_type):
        return int(bit_field[2]), int(bit_field[1]), "u"
    if kernel_type[:1] in ("s", "u", "x") and kernel_type[1:].isdigit():
        return 0, int(kernel_type[1:]), "s" if kernel_type[0] == "s" else "u"
    if kernel_type == "symbol":
        return 0, 64, "u"
    return 0, 0, kernel_type
