"""A function of a program, by its DWARF: where its parameters are, what is in scope in it, the program's variables."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from surftrace.compiler.chain import Value
from surftrace.compiler.locals import CodeLocals, Instruction
from surftrace.compiler.scope import Scope, listed
from surftrace.dwarf.errors import DwarfError
from surftrace.dwarf.types import Prototype, find_variables, qualified_name
from surftrace.dwarf.units import Function, home_of, unit_of
from surftrace.dwarf.variables import Nowhere, Spot, Variable, parameters_of
from surftrace.kernel.calling import InPieces, InRegister, OnStack, Place
from surftrace.kernel.code import Code
from surftrace.kernel.cppnames import is_clone
from surftrace.kernel.elf import ObjectError
from surftrace.kernel.elfsymbols import SymbolKind
from surftrace.kernel.machine import WORD, Machine
from surftrace.kernel.objects import Places
from surftrace.kernel.types import Type
from surftrace.kernel.userfunctions import UserFunction, find_variable
from surftrace.lang import syntax
from surftrace.record import record

if TYPE_CHECKING:
    from elftools.dwarf.die import DIE

_CALL_FRAME = 0x9C  # DW_OP_call_frame_cfa: DWARF 5, 7.7.1


@record
class ProgramCode:
    """The probed function of a program. `place` is where its DWARF has the probe; None where there is none."""

    function: UserFunction
    machine: Machine
    folders: Places
    prototype: Prototype | None
    place: Instruction | None

    @property
    def is_result_by_reference(self) -> bool:
        """Is the result at an address that the caller passes, whatever its size?"""
        return self.prototype is not None and self.prototype.is_result_by_reference

    def places(self, by_convention: Sequence[Place]) -> list[Place]:
        """Where each parameter is at the function's entry: what the compiler says goes before the convention."""
        if self.place is None:
            return list(by_convention)
        code, function = self.place.code, self.place.function
        # Whoever calls it from elsewhere knows nothing of what the compiler did to it; nobody does that to a clone.
        is_called_from_elsewhere = function.is_external and not is_clone(self.function.name)
        places = []
        for parameter, usual in zip(parameters_of(function), by_convention, strict=True):
            location = code.location(function, parameter, self.place.start)
            places.append(self._place(location, usual, is_called_from_elsewhere))
        return places

    def _place(self, location: Spot | Nowhere, usual: Place, is_called_from_elsewhere: bool) -> Place:
        if isinstance(location, Nowhere):
            return (
                usual if is_called_from_elsewhere else InPieces(f"nowhere: it {location.reason.removesuffix(' here')}")
            )
        registers = self.machine.dwarf_registers
        if not location.byte_offsets and location.base is not None:
            is_whole = isinstance(usual, (InRegister, OnStack)) and location.base < len(registers)
            return InRegister(registers[location.base]) if is_whole else usual
        # Clang counts from the stack pointer as it is behind the prologue, also for where the function begins.
        slot = self._stack_slot(location) if self._counts_from_frame() else -1
        # What is below the stack pointer has no value yet: the function itself is to put it there.
        return OnStack(slot) if slot >= self.machine.first_stack_slot and isinstance(usual, OnStack) else usual

    def _counts_from_frame(self) -> bool:
        assert self.place is not None
        base = self.place.function.die.attributes.get("DW_AT_frame_base")
        return base is not None and base.value == [_CALL_FRAME]

    def _stack_slot(self, location: Spot) -> int:
        registers = self.machine.dwarf_registers
        is_in_frame = location.base is not None and location.base < len(registers)
        if not is_in_frame or registers[location.base or 0] != self.machine.stack_pointer:
            return -1
        byte_offset, *more = location.byte_offsets
        return byte_offset // WORD if not more and not location.is_address and not byte_offset % WORD else -1

    def variable(self, symbol: syntax.Symbol, scope: Scope) -> Value:
        """The memory of a variable of the program's, wherever it is loaded."""
        span = symbol.span
        address, type_ = self._own_variable(symbol, scope) or self._variable_anywhere(symbol, scope)
        base = self.file_place(address + symbol.byte_offset)
        if base is None:
            raise scope.fail(span, f"'{symbol.name}' is before {self.function.name}: the kernel cannot name its memory")
        return Value(*base, None if symbol.byte_offset else type_)

    def _own_variable(self, symbol: syntax.Symbol, scope: Scope) -> tuple[int, Type] | None:
        """The address and the type of what the unit of the function defines by that name; None where it does not.

        Static variables of other units may share the name.
        """
        if self.place is None:
            return None
        code, function = self.place.code, self.place.function
        try:
            found = code.file.guarded(lambda: self._variables_of_unit(function, symbol.name))
            if len(found) > 1:
                message = f"'{symbol.name}' is the name of {len(found)} variables"
                raise scope.fail(symbol.span, message, f"they are {listed(sorted(map(qualified_name, found)))}")
            if not found:
                return None
            location = code.location(function, Variable(symbol.name, found[0], False, 0), self.place.address)
            type_ = scope.types.of_thing(found[0])
        except DwarfError as error:
            raise scope.fail(symbol.span, error.message, *error.hints) from None
        if isinstance(location, Nowhere):
            raise scope.fail(symbol.span, f"'{symbol.name}' {location.reason.removesuffix(' here')}")
        return (location.byte_offsets[0], type_) if location.base is None and not location.is_address else None

    def _variables_of_unit(self, function: Function, name: str) -> "list[DIE]":
        found = find_variables(unit_of(function.die).get_top_DIE(), name)
        home = home_of(function.die)
        # Where a program was optimised as a whole, the unit has the variables of all sources.
        return [die for die in found if home_of(die) == home] or found

    def _variable_anywhere(self, symbol: syntax.Symbol, scope: Scope) -> tuple[int, Type | None]:
        path = self.function.path
        try:
            found = find_variable(path, symbol.name, self.machine, self.folders)
        except ObjectError as error:
            raise scope.fail(symbol.span, error.message, *error.hints) from None
        if found is None:
            raise scope.fail(symbol.span, f"{path} has no variable '{symbol.name}'")
        if found.kind == SymbolKind.TLS:
            raise scope.fail(symbol.span, f"'{symbol.name}' is each thread's own: no probe can tell where")
        return found.address, scope.types.variable(symbol.name)

    def file_place(self, address: int) -> tuple[str, tuple[int]] | None:
        """Memory at an address of the program's as a probe names it; None for what is before the file's start.

        The kernel takes it that all of the file is loaded as the function is: Linux kernel/trace/trace_uprobe.c,
        translate_user_vaddr.
        """
        byte_offset = address - self.function.address + self.function.file_offset
        return (f"@+{byte_offset:#x}", (0,)) if byte_offset >= 0 else None

    def locals(self) -> CodeLocals | None:
        """The variables in scope at the probe."""
        if self.place is None:
            return None
        return CodeLocals(self.place, self._fixed, is_entry=not self.place.byte_offset)

    def _fixed(self, code: Code, address: int) -> tuple[str, int] | None:
        found = self.file_place(address)
        return (found[0], 0) if found is not None else None
