"""A kernel's symbols by address: which one an address lies in, and where that one ends."""

import re
from bisect import bisect_right

from surftrace.kernel.symbols import Symbols
from surftrace.record import record

_LINE = re.compile(rb"^([0-9a-f]+) \S (\S+)(?:\t\[([^\]\n]*)\])?$", re.MULTILINE)
# What no function or variable is larger than: behind the last of a module comes what has no symbol.
_MAX_SIZE = 1 << 20


@record
class Extent:
    """What a symbol stands for in memory, padding included. `module` is empty for the kernel's own."""

    name: str
    module: str
    address: int
    size: int

    def __str__(self) -> str:
        return f"{self.module}:{self.name}" if self.module else self.name


class AddressMap:
    """The symbols in the order of their addresses; each reaches up to the next."""

    def __init__(self, symbols: Symbols) -> None:
        names: dict[int, tuple[bytes, bytes]] = {}
        for match in _LINE.finditer(symbols.text):
            # Of several names the kernel, too, tells the first: Linux kernel/kallsyms.c, get_symbol_pos.
            names.setdefault(int(match[1], 16), (match[3] or b"", match[2]))
        self._names = names
        self._addresses = sorted(names)

    def at(self, address: int) -> Extent | None:
        """What the address lies in; None where nothing is near before it."""
        index = bisect_right(self._addresses, address)
        if not index:
            return None
        start = self._addresses[index - 1]
        end = self._addresses[index] if index < len(self._addresses) else start + _MAX_SIZE
        size = min(end - start, _MAX_SIZE)
        module, name = (each.decode(errors="replace") for each in self._names[start])
        return Extent(name, module, start, size) if address < start + size else None

    def spelled(self, address: int) -> str | None:
        """The address as a probe names it, SYMBOL or MODULE:SYMBOL+0xOFFSET; None where nothing is near before it."""
        found = self.at(address)
        if found is None:
            return None
        return f"{found}+{address - found.address:#x}" if address > found.address else str(found)
