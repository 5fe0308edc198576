"""The functions that the compiler put into another one's code, by address. DWARF 5, 3.3.8."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from surftrace.dwarf.units import DwarfFile, Function, name_of, number_of, unit_of
from surftrace.record import record

if TYPE_CHECKING:
    from elftools.dwarf.die import DIE

_INLINED = "DW_TAG_inlined_subroutine"
_BLOCKS = ("DW_TAG_lexical_block", _INLINED)
_MAX_DEPTH = 64


@record
class Inlined:
    """A function that was inlined: where its name stands, and the addresses of its code there, half-open."""

    name: str
    file: str
    line: int
    ranges: tuple[tuple[int, int], ...]

    def holds(self, address: int) -> bool:
        """Is this address in its code?"""
        return any(low <= address < high for low, high in self.ranges)


def inlined_into(file: DwarfFile, function: Function) -> tuple[Inlined, ...]:
    """All that is inlined into the function, each before what is inlined into it. DwarfError for damage."""
    return file.guarded(lambda: tuple(_inlined(file, file.files_of(unit_of(function.die)), function.die, 0)))


def _inlined(file: DwarfFile, paths: dict[int, str], block: "DIE", depth: int) -> Iterator[Inlined]:
    for die in block.iter_children():
        if die.tag not in _BLOCKS or depth >= _MAX_DEPTH:
            continue
        if die.tag == _INLINED:
            path = paths.get(number_of(die, "DW_AT_decl_file") or 0, "")
            yield Inlined(name_of(die), path, number_of(die, "DW_AT_decl_line") or 0, tuple(file.ranges_of(die)))
        yield from _inlined(file, paths, die, depth + 1)
