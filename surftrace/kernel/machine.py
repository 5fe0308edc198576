"""Registers and calling conventions: where a kernel function's arguments and result are, by architecture."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from surftrace.errors import SurftraceError


@dataclass(frozen=True, slots=True)
class Machine:
    """An architecture as its kprobes know it. Register names are those that a fetch argument takes after `%`."""

    name: str
    byteorder: Literal["little", "big"]
    registers: frozenset[str]
    argument_registers: tuple[str, ...]
    return_register: str
    # At a function's entry the first argument on the stack is `$stackN` of this N.
    first_stack_slot: int
    # A struct of over two registers is passed as the address of a copy (AAPCS64), not on the stack.
    passes_large_by_reference: bool
    # A function that returns a struct of over two registers is given an address for it in its first argument register.
    returns_large_through_argument: bool
    # Other names people know for a register: `%rdi` for `%di`.
    aliases: dict[str, str]
    # Half-open ranges of the addresses that a kernel's pointer, or a process's, may have.
    kernel_addresses: tuple[int, int] = (0xFF00000000000000, 0xFFFFFFFFFFFFF001)
    user_addresses: tuple[int, int] = (0x1000, 0x00FFFFFFFFFFF000)


@dataclass(frozen=True, slots=True)
class ParameterType:
    """What a calling convention asks of a parameter's type. `is_aggregate` for a struct or union by value."""

    size: int
    is_aggregate: bool
    alignment: int = 8


@dataclass(frozen=True, slots=True)
class InRegister:
    """A parameter that one register holds whole."""

    register: str


@dataclass(frozen=True, slots=True)
class OnStack:
    """A parameter that one stack slot holds whole: `$stackN`."""

    slot: int


@dataclass(frozen=True, slots=True)
class InPieces:
    """A parameter that no single fetch can name; `how` says where it is instead."""

    how: str


Place = InRegister | OnStack | InPieces

WORD = 8

# Linux arch/x86/kernel/ptrace.c, regoffset_table; System V AMD64 ABI 3.2.3.
X86_64 = Machine(
    "x86_64",
    "little",
    frozenset(
        ["ax", "bx", "cx", "dx", "si", "di", "bp", "sp", "ip", "flags", "orig_ax", "cs", "ss"]
        + [f"r{n}" for n in range(8, 16)]
    ),
    ("di", "si", "dx", "cx", "r8", "r9"),
    "ax",
    1,
    False,
    True,
    {f"r{name}": name for name in ("ax", "bx", "cx", "dx", "si", "di", "bp", "sp", "ip", "flags")}
    | {f"e{name}": name for name in ("ax", "bx", "cx", "dx", "si", "di", "bp", "sp", "ip", "flags")},
)

# Linux arch/arm64/kernel/ptrace.c, regoffset_table; AAPCS64 6.8.2.
AARCH64 = Machine(
    "aarch64",
    "little",
    frozenset([f"x{n}" for n in range(31)] + ["lr", "sp", "pc", "pstate"]),
    tuple(f"x{n}" for n in range(8)),
    "x0",
    0,
    True,
    False,
    {f"w{n}": f"x{n}" for n in range(31)},
)

MACHINES = {machine.name: machine for machine in (X86_64, AARCH64)}
_OTHER_NAMES = {"amd64": "x86_64", "x86-64": "x86_64", "arm64": "aarch64"}


def machine_named(name: str) -> Machine:
    """The machine of that name, as `uname -m` or Debian spells it; SurftraceError for one that is not known."""
    machine = MACHINES.get(_OTHER_NAMES.get(name, name))
    if machine is None:
        raise SurftraceError(f"unknown architecture '{name}'", f"known are {', '.join(MACHINES)}")
    return machine


def place_parameters(
    machine: Machine, parameters: Sequence[ParameterType], result: ParameterType | None = None
) -> list[Place]:
    """Where each parameter is at the entry of a function that returns `result`."""
    places: list[Place] = []
    registers = list(machine.argument_registers)
    if result is not None and result.is_aggregate and result.size > 2 * WORD and machine.returns_large_through_argument:
        registers.pop(0)
    slot = machine.first_stack_slot
    for parameter in parameters:
        words = -(-parameter.size // WORD)
        is_copy = parameter.is_aggregate and words > 2 and machine.passes_large_by_reference
        words = 1 if is_copy else words
        if words == 2 and parameter.alignment > WORD and machine is AARCH64 and len(registers) % 2:
            registers.pop(0)  # AAPCS64 C.10: a 16-byte aligned argument starts at an even register
        if words <= 2 and len(registers) >= words:
            places.append(_in_registers(registers[:words], is_copy))
            del registers[:words]
            continue
        if machine is AARCH64:
            registers.clear()  # AAPCS64 C.13: once one is on the stack, none that follows is in a register
        if words == 2 and parameter.alignment > WORD:
            slot += (slot - machine.first_stack_slot) % 2
        places.append(OnStack(slot) if words == 1 and not is_copy else InPieces("on the stack"))
        slot += words
    return places


def _in_registers(registers: Sequence[str], is_copy: bool) -> Place:
    if is_copy:
        return InPieces(f"as the address of a copy, in %{registers[0]}")
    if len(registers) == 1:
        return InRegister(registers[0])
    return InPieces("in two registers, %" + " and %".join(registers) if registers else "nowhere: it is empty")
