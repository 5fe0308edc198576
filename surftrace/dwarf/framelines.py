"""A place in the code of a file in, its lines of source out, with those of the functions that are inlined there.

drgn finds them in a millisecond or two, where pyelftools takes a third of a second to parse a unit of the kernel.
"""

import os
from functools import cached_property

import drgn

from surftrace.dwarf.debuginfo import DebugFile, add_debug_file, is_damage
from surftrace.dwarf.errors import DwarfError
from surftrace.dwarf.linking import linked
from surftrace.dwarf.packed import content_of
from surftrace.dwarf.sourceplace import SourcePlace
from surftrace.record import record

# Those that drgn has stack traces for, by e_machine of elf(5).
_ARCHITECTURES = {
    21: drgn.Architecture.PPC64,
    22: drgn.Architecture.S390X,
    62: drgn.Architecture.X86_64,
    183: drgn.Architecture.AARCH64,
}
_IS_64_BIT, _LITTLE = 2, 1
_CODE_KINDS = (drgn.SymbolKind.FUNC, drgn.SymbolKind.UNKNOWN)  # assembler's labels have no kind


@record
class CodePlace:
    """A place as the kernel prints it: SYMBOL+OFFSET/SIZE. A symbol's size reaches to the next one there.

    `is_return`: a call returns to it, so that what it is about is the instruction before.
    """

    symbol: str
    byte_offset: int
    size: int
    is_return: bool


class FrameLines:
    """The lines of the code in one file. Made of a file that cannot be read, or has no DWARF, it raises DwarfError."""

    def __init__(self, file: DebugFile) -> None:
        self._path = file.path
        self._image = -1
        data = content_of(file.path).data
        machine = int.from_bytes(data[18:20], "little" if data[5] == _LITTLE else "big")
        self._architecture = _ARCHITECTURES.get(machine) if data[4] == _IS_64_BIT else None
        if self._architecture is not None:
            self._program  # noqa: B018  # a file that is damaged is to be known at once

    @cached_property
    def _program(self) -> drgn.Program:
        assert self._architecture is not None
        flags = drgn.PlatformFlags.IS_64_BIT
        if content_of(self._path).data[5] == _LITTLE:
            flags |= drgn.PlatformFlags.IS_LITTLE_ENDIAN
        program = drgn.Program(drgn.Platform(self._architecture, flags))
        path = self._linked()
        add_debug_file(program, DebugFile(path))
        if self._image >= 0:
            program.extra_module(path).address_range = (0, (1 << 64) - 1)
        return program

    def _linked(self) -> str:
        """A path at which the file is found as if it were linked: a module's sections get addresses of their own."""
        content = content_of(self._path)
        data = linked(content.data, self._path)
        if data is content.data:
            return content.path
        self._image = os.memfd_create("surftrace")
        with os.fdopen(self._image, "wb", closefd=False) as file:
            file.write(data)
        return f"/proc/self/fd/{self._image}"

    def at(self, place: CodePlace) -> tuple[SourcePlace, ...]:
        """The lines of a place, innermost first, each but the last of what is inlined into the next.

        None where DWARF has none, or several functions have the symbol and different lines there.
        """
        if self._architecture is None:
            return ()
        try:
            found = {self._lines(address, place.symbol) for address in self._addresses(place)}
        except Exception as error:  # drgn's own, of no type that tells
            if not is_damage(error):
                raise
            raise DwarfError(f"damaged DWARF: {error}") from None
        return found.pop() if len(found) == 1 else ()

    def _addresses(self, place: CodePlace) -> list[int]:
        """What drgn takes for return addresses, at each function of the symbol that is large enough, and no larger."""
        return [
            each.address + place.byte_offset + (not place.is_return)
            for each in self._program.symbols(place.symbol)
            if each.kind in _CODE_KINDS
            and each.size <= place.size
            and (not each.size or place.byte_offset < each.size + place.is_return)
        ]

    def _lines(self, address: int, symbol: str) -> tuple[SourcePlace, ...]:
        lines = []
        for frame in self._program.stack_trace_from_pcs([address]):
            try:
                file, line, _ = frame.source()
            except LookupError:
                continue
            name = frame.name if frame.is_inline else symbol
            if line:
                lines.append(SourcePlace(name or symbol, file.removeprefix("./"), line, frame.is_inline))
        return tuple(lines)
