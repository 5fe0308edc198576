"""Calling conventions: where a function's parameters are at its entry, and how its result comes back.

No probe reads the registers of floating-point numbers: such parameters, which programs alone have, are told from the
others so that these are found. A value narrower than its register or stack slot is the low-order end of it on every
machine, also on big-endian ones, and a fetch takes the low-order end too (Linux kernel/trace/trace_probe_tmpl.h,
fetch_store_raw), so that how the rest of it is extended does not matter.
"""

from collections.abc import Sequence
from dataclasses import replace

from surftrace.kernel.machine import WORD, Floats, Machine, Spill
from surftrace.record import record

_FLOAT_REGISTERS = 8
_MAX_HOMOGENEOUS = 4


@record
class ParameterType:
    """What a calling convention asks of a parameter's type. `is_aggregate` for a struct or union by value.

    `scalars` are what it holds, each as its offset, its size and whether it is a floating-point number; they are told
    for types with such a number in them alone. `is_x87`: a `long double`, which x86-64 passes on the stack.
    `is_by_reference`: a result that is never in registers, as classes are that C++ has to copy itself.
    """

    size: int
    is_aggregate: bool
    alignment: int = 8
    scalars: tuple[tuple[int, int, bool], ...] = ()
    is_x87: bool = False
    is_by_reference: bool = False


@record
class InRegister:
    """A parameter that one register holds whole."""

    register: str


@record
class OnStack:
    """A parameter that one stack slot holds whole: `$stackN`."""

    slot: int


@record
class InPieces:
    """A parameter that no single fetch can name; `how` says where it is instead."""

    how: str


Place = InRegister | OnStack | InPieces


def spelled_place(place: Place) -> str:
    """The place as a fetch argument has it, or where the parameter is instead."""
    match place:
        case InRegister(register):
            return f"%{register}"
        case OnStack(slot):
            return f"$stack{slot}"
        case InPieces(how):
            return how


def place_parameters(
    machine: Machine, parameters: Sequence[ParameterType], result: ParameterType | None = None
) -> list[Place]:
    """Where each parameter is at the entry of a function that returns `result`."""
    free = machine.argument_registers
    if result is not None and machine.returns_large_through_argument and is_returned_in_memory(result, machine):
        free = free[1:]
    places: list[Place] = []
    left = _Left(free, _FLOAT_REGISTERS, machine.first_stack_slot)
    for parameter in parameters:
        place, left = _place(parameter, left, machine)
        places.append(place)
    return places


@record
class _Left:
    """What the parameters so far have left: registers, how many for floating-point numbers, the next slot of the stack.

    `is_known` is False behind a parameter of which it is not known what it takes.
    """

    free: tuple[str, ...]
    float_count: int
    slot: int
    is_known: bool = True


def _place(parameter: ParameterType, left: _Left, machine: Machine) -> tuple[Place, _Left]:
    """One parameter's place, and what it leaves."""
    has_floats = any(is_float for _, _, is_float in parameter.scalars)
    if not left.is_known or (has_floats and machine.floats is Floats.UNKNOWN):
        how = f"where is not known: surftrace does not know how {machine.name} passes floating-point numbers"
        return InPieces(how), replace(left, is_known=False)
    if has_floats and (count := _float_count(parameter, machine)):
        return _float_place(parameter, count, left, machine)
    is_copy = _is_passed_by_reference(parameter, machine)
    words = 1 if is_copy else -(-parameter.size // WORD)
    free = left.free
    if _is_aligned(parameter, words, machine) and machine.aligns_in_registers:
        free = free[len(free) % 2 :]
    if words * WORD <= machine.largest_in_registers and words <= len(free) and not parameter.is_x87:
        return _in_registers(free[:words], is_copy), replace(left, free=free[words:])
    if machine.spill is Spill.SPLIT and free:
        how = f"in %{' and %'.join(free)}, the rest of it on the stack"
        return InPieces(how), replace(left, free=(), slot=left.slot + words - len(free))
    if machine.spill is Spill.ENDS_REGISTERS:
        free = ()
    return _spilled(parameter, words, is_copy, replace(left, free=free), machine)


def _is_aligned(parameter: ParameterType, words: int, machine: Machine) -> bool:
    return words > 1 and parameter.alignment > WORD and (parameter.is_aggregate or machine.aligns_scalars)


def _spilled(parameter: ParameterType, words: int, is_copy: bool, left: _Left, machine: Machine) -> tuple[Place, _Left]:
    slot = left.slot
    if _is_aligned(parameter, words, machine):
        slot += (slot - machine.first_stack_slot) % 2
    return _on_stack(slot, words, is_copy), replace(left, slot=slot + words)


def _float_count(parameter: ParameterType, machine: Machine) -> int:
    """How many registers of floating-point numbers a parameter takes where they are free."""
    scalars = parameter.scalars
    if machine.floats is Floats.HOMOGENEOUS:
        sizes = {size for _, size, _ in scalars}
        is_homogeneous = len(sizes) == 1 and all(is_float for _, _, is_float in scalars)
        count = parameter.size // sizes.pop() if is_homogeneous else 0
        return count if count <= _MAX_HOMOGENEOUS else 0
    if parameter.size > machine.largest_in_registers or parameter.is_x87:
        return 0
    others = {offset // WORD for offset, _, is_float in scalars if not is_float}
    return len({offset // WORD for offset, _, _ in scalars} - others) if parameter.is_aggregate else 1


def _float_place(parameter: ParameterType, count: int, left: _Left, machine: Machine) -> tuple[Place, _Left]:
    """The place of what so many floating-point registers hold, all or in part, where they are free."""
    words = -(-parameter.size // WORD)
    others = words - count if machine.floats is Floats.BY_WORD and parameter.is_aggregate else 0
    if count > left.float_count or others > len(left.free):
        # AAPCS64 6.8.2, C.3: what does not fit ends the registers of its kind.
        float_count = 0 if machine.floats is Floats.HOMOGENEOUS else left.float_count
        return _spilled(parameter, words, False, replace(left, float_count=float_count), machine)
    how = "in floating-point registers" if count > 1 else "in a floating-point register"
    how += f" and %{left.free[0]}" if others else ", which probes cannot read"
    return InPieces(how), replace(left, free=left.free[others:], float_count=left.float_count - count)


def _is_passed_by_reference(parameter: ParameterType, machine: Machine) -> bool:
    if parameter.size > machine.largest_in_registers:
        return machine.passes_larger_by_reference
    return machine.passes_odd_sizes_by_reference and parameter.is_aggregate and parameter.size not in (1, 2, 4, 8)


def is_returned_in_memory(result: ParameterType, machine: Machine) -> bool:
    """Does a function give such a result at an address that its caller passed?"""
    is_never_in_registers = result.is_aggregate and not machine.returns_aggregates_in_registers
    return result.is_by_reference or is_never_in_registers or result.size > machine.largest_returned


def _in_registers(registers: Sequence[str], is_copy: bool) -> Place:
    if is_copy:
        return InPieces(f"as the address of a copy, in %{registers[0]}")
    match len(registers):
        case 0:
            return InPieces("nowhere: it is empty")
        case 1:
            return InRegister(registers[0])
        case 2:
            return InPieces(f"in two registers, %{registers[0]} and %{registers[1]}")
        case _:
            return InPieces(f"in registers, %{registers[0]} to %{registers[-1]}")


def _on_stack(slot: int, words: int, is_copy: bool) -> Place:
    if is_copy:
        return InPieces(f"as the address of a copy, in $stack{slot}")
    return OnStack(slot) if words == 1 else InPieces("on the stack")
