"""What a Linux kernel does with a probe and a filter, for tests: a model written from its C source, not from ours.

Here is what both halves share: memory, a moment in a task's life, a record in the ring buffer, and how the kernel reads
numbers. `fetch` makes a record of a probe definition and a moment; `filter` decides whether a record is let through.
tests/live/test_kernelmodel.py holds the model against kernels that run.

    definition = parse_definition("p:g/f0 do_sys_openat2 dfd=%di:s32 mode=+8(%dx):u16", LINUX_6_1)
    moment = Moment({"di": 2**64 - 100, "dx": 0x1000}, Memory.of({0x1008: b"\\xa4\\x01"}), comm="sh", pid=7)
    record = fetch(definition, moment, stale=b"")
    print_record(record)                                                  # ' dfd=-100 mode=420'
    Filter("dfd<0&&mode==0644", definition.fields).matches(record)        # True

Sources are of Debian's 6.1.192 and 6.12.117, kernel/trace/ where no folder is named.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

EPERM, ENOENT, ESRCH, E2BIG, ENODEV, EINVAL = 1, 2, 3, 7, 19, 22

WORD = 8
ALL_ONES = (1 << 64) - 1
TASK_COMM_LEN = 16

# lib/ctype.c: 0xa0 is a space too, and the letters of Latin-1 are letters.
SPACES = " \t\n\v\f\r\xa0"
_LETTERS = frozenset(chr(c) for c in (*range(65, 91), *range(97, 123), *range(192, 256)) if c not in (215, 247))
_DIGITS = frozenset("0123456789")


class Refused(Exception):
    """The kernel's answer to a write: `reason` as its source names it (TP_ERR_, FILT_ERR_), and the errno."""

    def __init__(self, reason: str, errno: int = EINVAL) -> None:
        super().__init__(f"{reason} (errno {errno})")
        self.reason, self.errno = reason, errno


class Unmodelled(Exception):
    """The kernel takes this, but the model does not know what becomes of it."""


class Fault(Exception):
    """A read of memory that is not there."""


class Dropped(Exception):
    """The record is longer than the ring buffer takes: the kernel drops the event without a word."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """What differs between kernels."""

    name: str
    has_char: bool
    has_btf_arguments: bool  # parameters by name, and $argN in return probes
    drops_surplus_arguments: bool
    has_function_filters: bool
    # lib/glob.c: "[!a]" takes the string's end for one more character.
    glob_class_matches_end: bool
    # What copy_from_kernel_nofault leaves of a kernel address that cannot be read is the compiler's doing, seen in the
    # code of Debian's amd64 kernels: "current" is the low bytes of the task's address, or for one byte what was there.
    unreadable_kernel_memory: Literal["current", "zeros"]


LINUX_6_1 = Kernel("6.1", False, False, True, False, True, "current")
LINUX_6_12 = Kernel("6.12", True, True, False, True, False, "zeros")


@dataclass(frozen=True, slots=True)
class Machine:
    """An architecture (arch/*/kernel/ptrace.c: regs_query_register_offset, regs_get_kernel_argument)."""

    byteorder: Literal["little", "big"]
    registers: frozenset[str]
    argument_registers: tuple[str, ...]
    first_stack_argument: int | None  # of which $stackN; None: the kernel reads further arguments as 0
    return_register: str
    task_size: int  # user addresses are below
    address_bits: int  # as the processor has them, which may be more than the kernel uses

    def reads_kernel_memory_at(self, address: int) -> bool:
        """Does the kernel try to read there, or know without that this is no address of its own?

        copy_from_kernel_nofault_allowed, __is_canonical_address.
        """
        top = address >> self.address_bits - 1
        is_canonical = top in (0, ALL_ONES >> self.address_bits - 1)
        return is_canonical and address >= self.task_size + 4096


X86_64 = Machine(
    "little",
    frozenset(["ax", "bx", "cx", "dx", "si", "di", "bp", "sp", "ip", "flags", "orig_ax", "cs", "ss"])
    | {f"r{n}" for n in range(8, 16)},
    ("di", "si", "dx", "cx", "r8", "r9"),
    1,
    "ax",
    0x7FFF_FFFF_F000,
    48,
)
ARM64 = Machine(
    "little",
    frozenset([f"x{n}" for n in range(31)] + ["lr", "sp", "pc", "pstate"]),
    tuple(f"x{n}" for n in range(8)),
    None,
    "x0",
    1 << 48,
    49,
)


@dataclass(frozen=True, slots=True)
class Memory:
    """Sparse memory: what was not stored cannot be read."""

    bytes_at: Mapping[int, int] = field(default_factory=dict)

    @classmethod
    def of(cls, contents: Mapping[int, bytes]) -> Memory:
        """Memory with these bytes from each address on."""
        return cls({address + n: byte for address, data in contents.items() for n, byte in enumerate(data)})

    def __or__(self, other: Memory) -> Memory:
        return Memory({**self.bytes_at, **other.bytes_at})

    def readable(self, address: int, size: int) -> bytes:
        """The bytes from there on up to the first that cannot be read, at most `size`."""
        found = bytearray()
        while len(found) < size and (byte := self.bytes_at.get(address + len(found) & ALL_ONES)) is not None:
            found.append(byte)
        return bytes(found)

    def read(self, address: int, size: int) -> bytes:
        """Exactly so many bytes, or Fault."""
        data = self.readable(address, size)
        if len(data) < size:
            raise Fault(f"{address + len(data):#x}")
        return data


@dataclass(frozen=True, slots=True)
class Symbols:
    """kallsyms. A symbol ends where the next begins (kernel/kallsyms.c, get_symbol_pos), the last one at `end`."""

    addresses: Mapping[str, int] = field(default_factory=dict)
    end: int = ALL_ONES

    def covering(self, address: int) -> tuple[str, int, int] | None:
        """The name, address and size of the symbol that this address is in."""
        ordered = sorted((start, name) for name, start in self.addresses.items())
        starts = sorted({start for start, _ in ordered})
        position = bisect_right(starts, address)
        if not position or address >= self.end:
            return None
        start = starts[position - 1]
        end = starts[position] if position < len(starts) else self.end
        return next(name for at, name in ordered if at == start), start, end - start


@dataclass(frozen=True, slots=True)
class Moment:
    """The task and the registers that a probe finds.

    The stack is memory at the register `sp`. At a return, `$argN` is of `entry_registers`. `event` is the record of the
    event that an event probe is attached to.
    """

    registers: Mapping[str, int] = field(default_factory=dict)
    memory: Memory = field(default_factory=Memory)
    comm: str = "task"
    pid: int = 1
    cpu: int = 0
    symbols: Symbols = field(default_factory=Symbols)
    entry_registers: Mapping[str, int] = field(default_factory=dict)
    address: int = 0  # __probe_ip, __probe_func
    return_address: int = 0  # __probe_ret_ip
    event: bytes = b""
    current: int = 0xFFFF_8880_0300_C180  # the address of its task_struct
    machine: Machine = X86_64


@dataclass(frozen=True, slots=True)
class Field:
    """A field of an event as its `format` file has it (struct ftrace_event_field)."""

    name: str
    type: str
    byte_offset: int
    size: int
    is_signed: bool


@dataclass(frozen=True, slots=True)
class Record:
    """An event in the ring buffer: `page` from the record's first byte on, of which `length` are its own."""

    page: bytes
    length: int
    moment: Moment

    @property
    def data(self) -> bytes:
        """The record without what lies behind it."""
        return self.page[: self.length]

    def number(self, byte_offset: int, size: int, is_signed: bool = False) -> int:
        """The number of that size at that place."""
        data = self.page[byte_offset : byte_offset + size].ljust(size, b"\0")
        return int.from_bytes(data, self.moment.machine.byteorder, signed=is_signed)


def as_bytes(text: str) -> bytes:
    """The bytes that reach the kernel."""
    return text.encode(errors="surrogateescape")


def as_characters(text: str) -> str:
    """A text of one character a byte, for the parsers to work on as C does."""
    return as_bytes(text).decode("latin-1")


def is_alphanumeric(character: str) -> bool:
    """isalnum() of the kernel; False for no character."""
    return character in _LETTERS or character in _DIGITS


def is_digit(character: str) -> bool:
    """isdigit() of the kernel; False for no character."""
    return character in _DIGITS


def leading_integer(text: str, base: int = 0) -> tuple[int, int]:
    """The number that a text begins with, and how many characters that took.

    lib/kstrtox.c: _parse_integer_fixup_radix, _parse_integer. "0x" without a digit is the number 0 of base 8.
    """
    start = 0
    is_hexadecimal = text[:2].lower() == "0x" and text[2:3].lower() in frozenset("0123456789abcdef")
    if base == 0:
        base = 16 if is_hexadecimal else 8 if text[:1] == "0" else 10
    if base == 16 and text[:2].lower() == "0x":
        start = 2
    digits = "0123456789abcdef"[:base]
    end = start
    while end < len(text) and text[end].lower() in digits and text[end].isascii():
        end += 1
    return (int(text[start:end], base) if end > start else 0), (end if end > start else 0)


def kstrtoull(text: str, base: int = 0, limit: int = ALL_ONES) -> int:
    """The unsigned number, at most `limit`; ValueError where the kernel says -EINVAL or -ERANGE."""
    unsigned = text.removeprefix("+")
    value, length = leading_integer(unsigned, base)
    if not length or unsigned[length:] not in ("", "\n") or value > limit:
        raise ValueError(text)
    return value


def kstrtoll(text: str, base: int = 0) -> int:
    """The signed number; ValueError where the kernel says -EINVAL or -ERANGE."""
    if not text.startswith("-"):
        return kstrtoull(text, base, ALL_ONES >> 1)
    if text.startswith("-+"):
        raise ValueError(text)
    return -kstrtoull(text[1:], base, 1 << 63)
