"""The architectures: names of registers, and which addresses pointers may have."""

import pytest

from surftrace.errors import SurftraceError
from surftrace.kernel.machine import (
    AARCH64,
    LOONGARCH64,
    MACHINES,
    PPC64LE,
    RISCV64,
    S390X,
    X86_64,
    Machine,
    machine_named,
)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        *((name, name) for name in MACHINES),
        ("amd64", "x86_64"),
        ("x86-64", "x86_64"),
        ("arm64", "aarch64"),
        ("ppc64el", "ppc64le"),
        ("loong64", "loongarch64"),
    ],
)
def test_machine_by_any_of_its_names(text: str, name: str) -> None:
    assert machine_named(text).name == name


def test_unknown_machine_names_those_that_are_known() -> None:
    with pytest.raises(SurftraceError, match="unknown architecture 'vax'") as caught:
        machine_named("vax")
    assert caught.value.hints == ("known are x86_64, aarch64, riscv64, s390x, ppc64le, loongarch64",)


@pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES)
def test_every_register_that_a_plan_names_is_one_of_the_machine(machine: Machine) -> None:
    named = {*machine.argument_registers, machine.return_register, *machine.aliases.values()}
    assert named <= machine.registers
    assert not set(machine.aliases) & machine.registers
    assert len(set(machine.argument_registers)) == len(machine.argument_registers)


# Linux arch/*/include/asm/ptrace.h and kernel/ptrace.c: how many arguments regs_get_kernel_argument takes from
# registers, and how many names regs_query_register_offset knows.
@pytest.mark.parametrize(
    ("machine", "arguments", "registers"),
    [(X86_64, 6, 21), (AARCH64, 8, 35), (RISCV64, 8, 36), (S390X, 5, 16), (PPC64LE, 8, 74), (LOONGARCH64, 8, 40)],
    ids=MACHINES,
)
def test_as_many_registers_as_the_kernel_knows(machine: Machine, arguments: int, registers: int) -> None:
    assert (len(machine.argument_registers), len(machine.registers)) == (arguments, registers)


@pytest.mark.parametrize(
    ("name", "alias", "register"),
    [
        ("x86_64", "rdi", "di"),
        ("aarch64", "w3", "x3"),
        ("riscv64", "x10", "a0"),
        ("riscv64", "x8", "s0"),
        ("riscv64", "x31", "t6"),
        ("s390x", "gpr2", "r2"),
        ("ppc64le", "lr", "link"),
        ("loongarch64", "a0", "r4"),
        ("loongarch64", "t8", "r20"),
        ("loongarch64", "s8", "r31"),
    ],
)
def test_a_register_by_another_name(name: str, alias: str, register: str) -> None:
    assert MACHINES[name].aliases[alias] == register


# Addresses of Linux Documentation/arch/x86/x86_64/mm.rst, arch/arm64/memory.rst, arch/riscv/vm-layout.rst and of the
# files that machine.py names: of the direct mapping and of modules, at the most and the fewest levels of page tables.
_KERNEL_POINTERS = {
    "x86_64": (0xFF11000000000000, 0xFFFF888000000000, 0xFFFFFFFFA0000000),
    "aarch64": (0xFFF0000000000000, 0xFFFF000000000000, 0xFFFF800000000000, 0xF4FF000012345678),
    "riscv64": (0xFF60000000000000, 0xFFFFFFD800000000, 0xFFFFFFFF80000000),
    "s390x": (0x100000, 0x3FFE0000000, 0x1FFFFFFFFFFFF8),
    "ppc64le": (0xC000000000000000, 0xC008000000000000, 0xD000000000000000),
    "loongarch64": (0x9000000000200000, 0xFFFF800000000000, 0xFFFFC00000000000),
}
_USER_POINTERS = {
    "x86_64": (0x400000, 0x7FFFFFFFE000),
    "aarch64": (0x400000, 0xFFFFFFFFE000, 0xB400007FFFFFE000),
    "riscv64": (0x10000, 0x3FFFFFF000),
    "s390x": (0x1000000, 0x3FFFFFFE000),
    "ppc64le": (0x10000000, 0x7FFFFFFF0000),
    "loongarch64": (0x120000000, 0x7FFFFFFFC000),
}
# LIST_POISON1 (Linux include/linux/poison.h): ILLEGAL_POINTER_VALUE of arch/*/Kconfig and 0x100.
_LIST_POISONS = {
    "x86_64": 0xDEAD000000000100,
    "aarch64": 0xDEAD000000000100,
    "riscv64": 0xDEAD000000000100,
    "s390x": 0x100,
    "ppc64le": 0x5DEADBEEF0000100,
    "loongarch64": 0x100,
}


@pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES)
def test_addresses_that_pointers_may_have(machine: Machine) -> None:
    kernel, user = range(*machine.kernel_addresses), range(*machine.user_addresses)
    assert all(address in kernel for address in _KERNEL_POINTERS[machine.name])
    assert all(address in user for address in _USER_POINTERS[machine.name])
    assert _LIST_POISONS[machine.name] not in kernel
    no_pointers = (0, 8, 0xFFF, 0xFFFFFFFFFFFFF001, 0xFFFFFFFFFFFFFFFF)
    assert not any(address in kernel for address in no_pointers)
    assert not any(address in user for address in no_pointers)


# Those of s390x are of two address spaces, and tags make any top byte a process's on aarch64.
@pytest.mark.parametrize("name", [name for name in MACHINES if name not in ("s390x", "aarch64")])
def test_no_address_is_a_kernels_and_a_processs(name: str) -> None:
    assert MACHINES[name].user_addresses[1] <= MACHINES[name].kernel_addresses[0]


def test_the_addresses_of_x86_64() -> None:
    assert X86_64.kernel_addresses == (0xFF00000000000000, 0xFFFFFFFFFFFFF001)
    assert X86_64.user_addresses == (0x1000, 0x00FFFFFFFFFFF000)
