"""The variables in scope at an instruction, from DWARF: what a name means there, or why it cannot be read."""

from typing import Protocol

from surftrace.compiler.bases import check_symbol
from surftrace.compiler.chain import Value
from surftrace.compiler.scope import Scope, listed
from surftrace.dwarf.units import Function
from surftrace.dwarf.variables import Nowhere, Spot
from surftrace.errors import SurftraceError
from surftrace.kernel.code import Code
from surftrace.lang.syntax import Name
from surftrace.record import record

_SHOWN_RANGES = 4


@record
class Instruction:
    """An instruction in a function that DWARF tells of. `start` is the address of the symbol, as its file has it."""

    code: Code
    function: Function
    symbol: str
    start: int
    byte_offset: int

    @property
    def address(self) -> int:
        """Its own address, as the file with DWARF has it."""
        return self.start + self.byte_offset

    def __str__(self) -> str:
        return self.symbol + (f"+{self.byte_offset:#x}" if self.byte_offset else "")


class FixedPlace(Protocol):
    """How a probe names memory at a fixed address of the code's file."""

    def __call__(self, code: Code, address: int) -> tuple[str, int] | None:
        """What a fetch argument starts at and what it adds; None where a probe cannot name it."""
        ...


def symbol_place(code: Code, address: int) -> tuple[str, int] | None:
    """A kernel's variable: `@NAME` and the offset in it."""
    symbol = code.object_at(address)
    return (f"@{symbol[0]}", symbol[1]) if symbol is not None else None


@record
class CodeLocals:
    """What names mean at an instruction. `is_entry`: the function has not set up its frame there."""

    place: Instruction
    fixed: FixedPlace = symbol_place
    is_entry: bool = False

    def value(self, name: Name, scope: Scope) -> Value | None:
        """What the name means there; None where nothing is called so. CompileError for what cannot be read there."""
        place = self.place
        variable = place.code.variables(place.function, place.address).get(name.name)
        if variable is None:
            return None
        location = place.code.location(place.function, variable, place.address)
        if isinstance(location, Nowhere):
            hints = ranges_hint(location.ranges, place.symbol, place.start)
            raise scope.fail(name.span, f"'{name.name}' {location.reason} at {place}".replace(" here ", " "), *hints)
        if self.is_entry and location.base is not None:
            hint = f"name a line or an instruction: {place.symbol}:LINE, {place.symbol}+OFFSET"
            raise scope.fail(name.span, f"'{name.name}' has no value yet where {place.symbol} begins", hint)
        try:
            type_ = scope.types.of_thing(variable.die)
        except SurftraceError as error:
            raise scope.fail(name.span, f"'{name.name}' has {error.message}") from None
        base, byte_offsets = self._start(location, name, scope)
        return Value(base, byte_offsets, type_, is_address=location.is_address)

    def names(self) -> list[str]:
        """What is in scope there."""
        return list(self.place.code.variables(self.place.function, self.place.address))

    def _start(self, location: Spot, name: Name, scope: Scope) -> tuple[str, tuple[int, ...]]:
        if location.base is None:
            found = self.fixed(self.place.code, location.byte_offsets[0])
            if found is None or location.is_address:
                raise scope.fail(name.span, f"'{name.name}' is a fixed address here, which no event tells")
            if not scope.is_user:
                check_symbol(found[0].removeprefix("@"), name.span, scope)
            return found[0], (found[1], *location.byte_offsets[1:])
        registers = scope.machine.dwarf_registers
        if location.base >= len(registers) or registers[location.base] not in scope.machine.registers:
            raise scope.fail(name.span, f"'{name.name}' is in a register that probes cannot read")
        return f"%{registers[location.base]}", location.byte_offsets


def ranges_hint(ranges: tuple[tuple[int, int], ...], symbol: str, start: int) -> tuple[str, ...]:
    """Where the variable can be read instead; ranges that touch are one."""
    joined: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if joined and low <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(high, joined[-1][1])
        else:
            joined.append((low, high))
    shown = [f"+{low - start:#x} to +{high - start:#x}" for low, high in joined if low >= start]
    return (f"it can be read from {symbol}{listed(shown, _SHOWN_RANGES)}",) if shown else ()
