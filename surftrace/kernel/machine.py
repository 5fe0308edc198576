"""The architectures: their registers, the addresses of pointers, what their calling conventions differ in."""

from dataclasses import dataclass
from enum import Enum, auto
from typing import Literal

from surftrace.errors import SurftraceError


class Spill(Enum):
    """What becomes of a parameter that the registers left over do not hold whole."""

    TO_STACK = auto()  # All of it is on the stack; a later and smaller one may still be in a register.
    ENDS_REGISTERS = auto()  # All of it is on the stack, and so are all that follow.
    SPLIT = auto()  # Its first words are in the registers left over, the others on the stack.


class Floats(Enum):
    """Which parameters go to the registers of floating-point numbers."""

    UNKNOWN = auto()  # Not known here: neither where one is, nor where those behind it are.
    BY_WORD = auto()  # Every word of 8 bytes that has nothing else in it.
    HOMOGENEOUS = auto()  # Numbers, and aggregates of up to four of one size.


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """An architecture as its kprobes know it. Register names are those that a fetch argument takes after `%`."""

    name: str
    # A member of struct pt_regs that no other machine's has.
    pt_regs_member: str
    byteorder: Literal["little", "big"] = "little"
    registers: frozenset[str]
    # Other names people know for a register: `%rdi` for `%di`.
    aliases: dict[str, str]
    # Half-open ranges of the addresses that a kernel's pointer, or a process's, may have.
    kernel_addresses: tuple[int, int]
    user_addresses: tuple[int, int]
    # One address may be both: no ARCH_HAS_NON_OVERLAPPING_ADDRESS_SPACE in Linux arch/*/Kconfig.
    has_overlapping_addresses: bool = False

    argument_registers: tuple[str, ...]
    # The registers by the numbers that DWARF has for them: each machine's own supplement of the standard.
    dwarf_registers: tuple[str, ...]
    return_register: str
    stack_pointer: str = "sp"
    # At a function's entry the first argument on the stack is `$stackN` of this N.
    first_stack_slot: int = 0
    # What is larger, in bytes, is never whole in registers: it is spilled, or a register has the address of a copy.
    largest_in_registers: int = 16
    passes_larger_by_reference: bool
    # An aggregate of 0, 3, 5, 6 or 7 bytes is passed as the address of a copy too.
    passes_odd_sizes_by_reference: bool = False
    # A parameter aligned to 16 bytes starts at an even one of the argument registers.
    aligns_in_registers: bool = False
    # An `__int128` counts as aligned to 16 bytes, as an aggregate with one in it does.
    aligns_scalars: bool = True
    spill: Spill
    floats: Floats = Floats.UNKNOWN
    # What is larger, in bytes, is returned in memory; so is an aggregate of any size, where none are in registers.
    largest_returned: int = 16
    returns_aggregates_in_registers: bool = True
    # The caller passes the address of that memory in the first argument register, before the arguments.
    returns_large_through_argument: bool = True


WORD = 8


def _numbered(prefix: str, first: int, end: int) -> tuple[str, ...]:
    return tuple(f"{prefix}{n}" for n in range(first, end))


_USER_START = 0x1000  # null pointers to structs have members below
_ERRORS = 0xFFFFFFFFFFFFF001  # error pointers, -4095 to -1: Linux include/linux/err.h, MAX_ERRNO

# Linux arch/x86/kernel/ptrace.c, regoffset_table; System V AMD64 ABI 3.2.3. Documentation/arch/x86/x86_64/mm.rst:
# page tables of 5 levels.
_X86_WIDENED = ("ax", "bx", "cx", "dx", "si", "di", "bp", "sp", "ip", "flags")
X86_64 = Machine(
    name="x86_64",
    pt_regs_member="r15",
    registers=frozenset((*_X86_WIDENED, "orig_ax", "cs", "ss", *_numbered("r", 8, 16))),
    aliases={f"{prefix}{name}": name for prefix in "re" for name in _X86_WIDENED},
    kernel_addresses=(0xFF00000000000000, _ERRORS),
    user_addresses=(_USER_START, 0x00FFFFFFFFFFF000),
    argument_registers=("di", "si", "dx", "cx", "r8", "r9"),
    dwarf_registers=("ax", "dx", "cx", "bx", "si", "di", "bp", "sp", *_numbered("r", 8, 16)),
    return_register="ax",
    first_stack_slot=1,  # after the return address
    passes_larger_by_reference=False,
    spill=Spill.TO_STACK,
    floats=Floats.BY_WORD,
)

# Linux arch/arm64/kernel/ptrace.c, regoffset_table; AAPCS64 6.8.2 and 6.9. Documentation/arch/arm64/memory.rst:
# addresses of 52 bits. Above them a kernel's pointer may have a tag of 0xf0 to 0xff (include/linux/kasan-tags.h,
# CONFIG_KASAN_HW_TAGS), a process's any (Documentation/arch/arm64/tagged-address-abi.rst).
AARCH64 = Machine(
    name="aarch64",
    pt_regs_member="pstate",
    registers=frozenset((*_numbered("x", 0, 31), "lr", "sp", "pc", "pstate")),
    aliases={f"w{n}": f"x{n}" for n in range(31)},
    kernel_addresses=(0xF0F0000000000000, _ERRORS),
    user_addresses=(_USER_START, 0xFF10000000000000),
    argument_registers=_numbered("x", 0, 8),
    dwarf_registers=(*_numbered("x", 0, 31), "sp"),
    return_register="x0",
    passes_larger_by_reference=True,
    aligns_in_registers=True,  # C.10
    spill=Spill.ENDS_REGISTERS,  # C.13
    floats=Floats.HOMOGENEOUS,
    returns_large_through_argument=False,  # but in x8
)

# Linux 5.12 and later: arch/riscv/kernel/ptrace.c, regoffset_table; RISC-V ELF psABI, "Integer Calling Convention",
# lp64. Documentation/arch/riscv/vm-layout.rst: Sv57.
_RISCV_X1_TO_X31 = (
    *("ra", "sp", "gp", "tp", "t0", "t1", "t2", "s0", "s1"),
    *(*_numbered("a", 0, 8), *_numbered("s", 2, 12), *_numbered("t", 3, 7)),
)
RISCV64 = Machine(
    name="riscv64",
    pt_regs_member="epc",
    registers=frozenset((*_RISCV_X1_TO_X31, "epc", "status", "badaddr", "cause", "orig_a0")),
    aliases={f"x{n}": name for n, name in enumerate(_RISCV_X1_TO_X31, 1)} | {"fp": "s0", "pc": "epc"},
    kernel_addresses=(0xFF00000000000000, _ERRORS),
    user_addresses=(_USER_START, 0x0100000000000000),
    argument_registers=_numbered("a", 0, 8),
    dwarf_registers=("zero", *_RISCV_X1_TO_X31),
    return_register="a0",
    passes_larger_by_reference=True,
    spill=Spill.SPLIT,
)

# Linux arch/s390/kernel/ptrace.c, regs_query_register_offset; "ELF Application Binary Interface s390x Supplement",
# "Parameter Passing". The 160 bytes at the stack pointer are for the callee to save registers in: STACK_FRAME_OVERHEAD
# in arch/s390/include/uapi/asm/ptrace.h. Kernel and user addresses overlap: they are of two address spaces. A kernel's
# are below _REGION1_SIZE, 2**53, whatever the levels of its page tables (arch/s390/boot/startup.c,
# setup_kernel_memory_layout), and above struct lowcore, 8 KiB that null pointers point to (asm/lowcore.h); a process's
# are below TASK_SIZE_MAX, -PAGE_SIZE (asm/processor.h).
S390X = Machine(
    name="s390x",
    pt_regs_member="psw",
    byteorder="big",
    registers=frozenset(_numbered("r", 0, 16)),
    aliases={f"gpr{n}": f"r{n}" for n in range(16)} | {"sp": "r15"},
    has_overlapping_addresses=True,
    kernel_addresses=(0x2000, 1 << 53),
    user_addresses=(_USER_START, 0xFFFFFFFFFFFFF000),
    argument_registers=_numbered("r", 2, 7),
    dwarf_registers=_numbered("r", 0, 16),
    return_register="r2",
    stack_pointer="r15",
    first_stack_slot=160 // WORD,
    largest_in_registers=8,
    passes_larger_by_reference=True,
    passes_odd_sizes_by_reference=True,
    spill=Spill.ENDS_REGISTERS,
    largest_returned=8,
    returns_aggregates_in_registers=False,
)

# Linux arch/powerpc/kernel/ptrace/ptrace-view.c, regoffset_table; "64-Bit ELF V2 ABI Specification: Power
# Architecture", "Parameter Save Area": after a header of 32 bytes the stack has a slot for every word of the arguments,
# also for those in the eight registers. Addresses: PAGE_OFFSET in arch/powerpc/Kconfig, before Linux 5.2 also from 0xd
# and 0xf (arch/powerpc/include/asm/book3s/64/hash.h) on; TASK_SIZE_4PB in asm/task_size_64.h. A big-endian kernel is of
# ELF V1 or V2 as it was configured (arch/powerpc/Kconfig, PPC64_BIG_ENDIAN_ELF_ABI_V2): ppc64 alone does not tell.
_PPC_SPECIAL = ("nip", "msr", "ctr", "link", "xer", "ccr", "softe", "trap", "dar", "dsisr")
PPC64LE = Machine(
    name="ppc64le",
    pt_regs_member="nip",
    registers=frozenset((*_numbered("gpr", 0, 32), *_numbered("r", 0, 32), *_PPC_SPECIAL)),
    aliases={"sp": "gpr1", "toc": "gpr2", "pc": "nip", "lr": "link", "cr": "ccr"},
    kernel_addresses=(0xC000000000000000, _ERRORS),
    user_addresses=(_USER_START, 0x0010000000000000),
    argument_registers=_numbered("gpr", 3, 11),
    dwarf_registers=_numbered("gpr", 0, 32),
    return_register="gpr3",
    stack_pointer="gpr1",
    first_stack_slot=32 // WORD + 8,
    largest_in_registers=8 * WORD,
    passes_larger_by_reference=False,
    aligns_in_registers=True,
    aligns_scalars=False,
    spill=Spill.SPLIT,
)

# Linux 6.3 and later: arch/loongarch/kernel/ptrace.c, regoffset_table; "LoongArch ELF psABI", lp64: RISC-V's rules.
# Addresses: XKPRANGE and XKVRANGE in arch/loongarch/include/asm/addrspace.h; VA_BITS, up to 55, in asm/pgtable.h.
_LOONGARCH_R0_TO_R31 = (
    *("zero", "ra", "tp", "sp", *_numbered("a", 0, 8)),
    *(*_numbered("t", 0, 9), "u0", "fp", *_numbered("s", 0, 9)),
)
_LOONGARCH_CONTROL = ("csr_era", "csr_badvaddr", "csr_crmd", "csr_prmd", "csr_euen", "csr_ecfg", "csr_estat")
LOONGARCH64 = Machine(
    name="loongarch64",
    pt_regs_member="csr_era",
    registers=frozenset((*_numbered("r", 0, 32), "orig_a0", *_LOONGARCH_CONTROL)),
    aliases={name: f"r{n}" for n, name in enumerate(_LOONGARCH_R0_TO_R31)} | {"s9": "r22", "pc": "csr_era"},
    kernel_addresses=(0x8000000000000000, _ERRORS),
    user_addresses=(_USER_START, 0x0080000000000000),
    argument_registers=_numbered("r", 4, 12),
    dwarf_registers=_numbered("r", 0, 32),
    return_register="r4",
    stack_pointer="r3",
    passes_larger_by_reference=True,
    spill=Spill.SPLIT,
)

MACHINES = {machine.name: machine for machine in (X86_64, AARCH64, RISCV64, S390X, PPC64LE, LOONGARCH64)}
_OTHER_NAMES = {
    "amd64": "x86_64",
    "x86-64": "x86_64",
    "arm64": "aarch64",
    "ppc64el": "ppc64le",
    "loong64": "loongarch64",
}


def machine_named(name: str) -> Machine:
    """The machine of that name, as `uname -m` or Debian spells it; SurftraceError for one that is not known."""
    machine = MACHINES.get(_OTHER_NAMES.get(name, name))
    if machine is None:
        raise SurftraceError(f"unknown architecture '{name}'", f"known are {', '.join(MACHINES)}")
    return machine
