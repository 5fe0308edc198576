"""`place_parameters` against the compilers: gcc's DWARF says where each parameter of a function is at its entry."""

import random
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias

import pytest
from elftools.dwarf.die import DIE
from elftools.dwarf.dwarf_expr import DWARFExprOp, DWARFExprParser
from elftools.dwarf.locationlists import LocationEntry, LocationLists, LocationListsPair
from elftools.elf.elffile import ELFFile

from surftrace.kernel.calling import InPieces, InRegister, OnStack, ParameterType, Place, place_parameters
from surftrace.kernel.machine import AARCH64, LOONGARCH64, MACHINES, PPC64LE, RISCV64, S390X, X86_64, Floats, Machine
from tests.btfwriter import function, struct, write
from tests.unit.compiling import compile_plan

_GCC = ("-fno-ipa-icf", "-c")
_LINKED = ("-fno-ipa-icf", "-shared", "-nostdlib")  # where pyelftools does not know all relocations
# The first one that is there is taken.
_COMPILERS = {
    "x86_64": (("x86_64-linux-gnu-gcc", *_GCC), ("gcc", *_GCC)),
    "aarch64": (("aarch64-linux-gnu-gcc", *_GCC),),
    "riscv64": (("riscv64-linux-gnu-gcc", *_LINKED),),
    "s390x": (("s390x-linux-gnu-gcc", *_GCC),),
    "ppc64le": (("powerpc64le-linux-gnu-gcc", *_GCC),),
    "loongarch64": (("loongarch64-linux-gnu-gcc", *_LINKED), ("clang-16", "--target=loongarch64-linux-gnu", "-c")),
}
_NOT_IN_BOOKWORM = ("loongarch64",)

# System V AMD64 ABI, figure 3.36; DWARF for the Arm 64-bit Architecture, 4.1; RISC-V DWARF Specification, "DWARF
# Register Numbers"; ELF ABI s390x Supplement, "DWARF Register Number Mapping"; 64-Bit ELF V2 ABI Specification, 2.4;
# LoongArch DWARF, "Registers".
_DWARF_REGISTERS = {
    "x86_64": ("ax", "dx", "cx", "bx", "si", "di", "bp", "sp", *(f"r{n}" for n in range(8, 16))),
    "aarch64": tuple(f"x{n}" for n in range(31)),
    "riscv64": ("zero", *(MACHINES["riscv64"].aliases[f"x{n}"] for n in range(1, 32))),
    "s390x": tuple(f"r{n}" for n in range(16)),
    "ppc64le": tuple(f"gpr{n}" for n in range(32)),
    "loongarch64": tuple(f"r{n}" for n in range(32)),
}
# At entry DWARF's frame base is so many bytes above the stack pointer: the return address is between them, or the area
# for registers that s390x's callers leave.
_FRAME_BASE_BYTES = {"x86_64": 8, "s390x": 160}

_SCALARS = {
    "char": ParameterType(1, False, 8),
    "short": ParameterType(2, False, 8),
    "int": ParameterType(4, False, 8),
    "long": ParameterType(8, False, 8),
    "void *": ParameterType(8, False, 8),
    "__int128": ParameterType(16, False, 16),
}
_STRUCTS = {f"struct s{size}": ParameterType(size, True, 8) for size in range(33)}
_ALIGNED = {"struct aligned": ParameterType(16, True, 16), "struct aligned32": ParameterType(32, True, 16)}
_TYPES = {**_SCALARS, **_STRUCTS, **_ALIGNED, "struct s72": ParameterType(72, True, 8)}
# Those with floating-point numbers, each with the members of a struct.
_FLOATS = {
    "float": ("", ParameterType(4, False, 8, ((0, 4, True),))),
    "double": ("", ParameterType(8, False, 8, ((0, 8, True),))),
    "long double": ("", ParameterType(16, False, 16, ((0, 16, True),), is_x87=True)),
    "struct f": ("float x;", ParameterType(4, True, 8, ((0, 4, True),))),
    "struct d": ("double x;", ParameterType(8, True, 8, ((0, 8, True),))),
    "struct fi": ("float x; int n;", ParameterType(8, True, 8, ((0, 4, True), (4, 4, False)))),
    "struct dl": ("double x; long n;", ParameterType(16, True, 8, ((0, 8, True), (8, 8, False)))),
    "struct ld": ("long n; float x, y;", ParameterType(16, True, 8, ((0, 8, False), (8, 4, True), (12, 4, True)))),
    "struct f3": ("float x[3];", ParameterType(12, True, 8, tuple((4 * n, 4, True) for n in range(3)))),
    "struct d4": ("double x[4];", ParameterType(32, True, 8, tuple((8 * n, 8, True) for n in range(4)))),
    "struct d5": ("double x[5];", ParameterType(40, True, 8, tuple((8 * n, 8, True) for n in range(5)))),
    "struct w": ("long double x;", ParameterType(16, True, 16, ((0, 16, True),), is_x87=True)),
    "union u": ("double x; long n;", ParameterType(8, True, 8, ((0, 8, True), (0, 8, False)))),
}
_HEAD = "".join(f"struct s{size} {{ char bytes[{size}]; }};\n" for size in (*range(1, 33), 72)) + (
    "struct s0 { };\nstruct aligned { __int128 wide; };\nstruct aligned32 { __int128 wide[2]; };\n"
)

# (id, C types of the parameters)
_PROTOTYPES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("integers", ("char", "short", "int", "long", "void *")),
    ("more-than-registers", ("long",) * 11),
    ("narrow-on-the-stack", ("long",) * 8 + ("char", "short", "int")),
    ("struct-in-one", ("struct s1", "struct s4", "struct s8", "int")),
    ("struct-in-two", ("struct s9", "struct s16", "int")),
    ("struct-in-memory", ("struct s24", "int", "struct s17", "int")),
    ("struct-of-no-power-of-two", ("struct s3", "struct s5", "struct s6", "struct s7", "int")),
    ("struct-of-no-power-of-two-on-the-stack", (*("long",) * 9, "struct s3", "struct s7", "int")),
    ("struct-empty", ("struct s0", "int", "struct s0")),
    ("struct-does-not-fit-then-integers", (*("long",) * 5, "struct s16", "int", "int")),
    ("struct-does-not-fit-8-registers", (*("long",) * 7, "struct s12", "int", "int")),
    ("wide-first", ("__int128", "int")),
    ("wide-at-an-odd-register", ("int", "__int128", "int")),
    ("wide-does-not-fit", (*("long",) * 5, "__int128", "int", "int")),
    ("wide-does-not-fit-8-registers", (*("long",) * 7, "__int128", "int", "int")),
    ("wide-on-the-stack-after-one", (*("long",) * 9, "__int128", "long")),
    ("wide-on-the-stack-after-two", (*("long",) * 10, "__int128", "long")),
    ("struct-on-the-stack-after-one", (*("long",) * 9, "struct s16", "long")),
    ("aligned-struct", ("int", "struct aligned", "int")),
    ("aligned-struct-on-the-stack", (*("long",) * 9, "struct aligned", "long")),
    ("large-struct-on-the-stack", (*("long",) * 9, "struct s32", "long")),
    ("large-struct-does-not-fit", (*("long",) * 4, "struct s32", "long", "struct s24", "long")),
    ("struct-larger-than-all-registers", ("int", "struct s72", "int")),
    ("large-aligned-struct", ("int", "struct aligned32", "int")),
    ("large-aligned-struct-on-the-stack", (*("long",) * 9, "struct aligned32", "long")),
)
_HEAD += "".join(f"{name} {{ {members} }};\n" for name, (members, _) in _FLOATS.items() if members)
# The same ones every time: drawn by a generator of a fixed seed, compiled in one go.
_DRAWN = random.Random(20)
_WEIGHTS = [40] * len(_SCALARS) + [8] * len(_STRUCTS) + [10] * len(_ALIGNED) + [10]


def _drawn() -> tuple[str, tuple[str, ...]]:
    result = _DRAWN.choice(("void", *_DRAWN.choices(tuple(_TYPES), _WEIGHTS)))
    return result, tuple(_DRAWN.choices(tuple(_TYPES), _WEIGHTS, k=_DRAWN.randrange(1, 14)))


def _drawn_with_floats() -> tuple[str, tuple[str, ...]]:
    types = (*_FLOATS, "int", "long", "struct s12", "struct s16", "struct aligned", "__int128")
    return "void", tuple(_DRAWN.choices(types, k=_DRAWN.randrange(1, 16)))


# What is returned, and the parameters.
_ALL = (
    *(("void", texts) for _, texts in _PROTOTYPES),
    *((result, ("int", "long")) for result in _TYPES),
    *(_drawn() for _ in range(300)),
)
_ALL_WITH_FLOATS = tuple(_drawn_with_floats() for _ in range(300))
_PARAMETER_TYPES = {**_TYPES, **{name: type_ for name, (_, type_) in _FLOATS.items()}}


@cache
def _oracle(
    name: str, prototypes: tuple[tuple[str, tuple[str, ...]], ...] = _ALL
) -> tuple[tuple[Place | None, ...], ...]:
    """Where the compiler puts the parameters of each prototype."""
    compiler = next((command for command in _COMPILERS[name] if shutil.which(command[0])), None)
    if compiler is None and name in _NOT_IN_BOOKWORM:
        pytest.skip(f"there is no compiler for {name}")
    if compiler is None or (name == "x86_64" and _target(compiler[0]) != "x86_64"):
        pytest.fail(f"there is no gcc for {name}: tests/kernel/setup.sh installs it")
    source = _HEAD + "".join(
        f"{result} f{number}({', '.join(f'{text} a{index}' for index, text in enumerate(texts))}) {{ }}\n"
        for number, (result, texts) in enumerate(prototypes)
    )
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a.o"
        command = [*compiler, "-xc", "-", "-O2", "-gdwarf-4", "-w", "-o", str(path)]
        subprocess.run(command, input=source.encode(), check=True)
        with path.open("rb") as stream:
            return tuple(_compiled_places(ELFFile(stream), MACHINES[name], prototypes))


def _target(compiler: str) -> str:
    seen = subprocess.run([compiler, "-dumpmachine"], capture_output=True, text=True, check=True)
    return seen.stdout.partition("-")[0]


def _compiled_places(
    elf: ELFFile, machine: Machine, prototypes: tuple[tuple[str, tuple[str, ...]], ...]
) -> Iterator[tuple[Place | None, ...]]:
    dwarf = elf.get_dwarf_info()
    unit, lists = next(dwarf.iter_CUs()), dwarf.location_lists()
    assert not isinstance(lists, LocationListsPair)  # what mixed DWARF versions give
    parser = DWARFExprParser(unit.structs)
    functions = {
        die.attributes["DW_AT_name"].value.decode(): die
        for die in unit.get_top_DIE().iter_children()
        if die.tag == "DW_TAG_subprogram"
    }
    for number, (_, texts) in enumerate(prototypes):
        function = functions[f"f{number}"]
        parameters = [die for die in function.iter_children() if die.tag == "DW_TAG_formal_parameter"]
        yield tuple(
            _compiled_place(parser.parse_expr(_location(die, lists)), _PARAMETER_TYPES[text], machine)
            for die, text in zip(parameters, texts, strict=True)
        )


def _location(parameter: DIE, lists: LocationLists | None) -> list[int]:
    """The location where the function begins; none for a parameter that takes no room."""
    location = parameter.attributes.get("DW_AT_location")
    if location is None:
        return []
    if location.form == "DW_FORM_exprloc":
        return list(location.value)
    assert lists is not None
    first = lists.get_location_list_at_offset(location.value)[0]
    assert isinstance(first, LocationEntry)
    return list(first.loc_expr)


def _compiled_place(operations: list[DWARFExprOp], type_: ParameterType, machine: Machine) -> Place | None:
    """The place, or None where the function copies the parameter (of 3, 5, 6, 7 bytes): DWARF names the copy."""
    if not 0 < type_.size <= 8:
        return InPieces("")
    match [(operation.op_name, operation.args) for operation in operations]:
        case [(name, [])] if name.startswith("DW_OP_reg"):
            number = int(name.removeprefix("DW_OP_reg"))
            known = _DWARF_REGISTERS[machine.name]
            return InRegister(known[number]) if number < len(known) else InPieces("")
        case [(name, [0]), ("DW_OP_stack_value", [])] if name.startswith("DW_OP_breg"):  # clang, for a struct
            return InRegister(_DWARF_REGISTERS[machine.name][int(name.removeprefix("DW_OP_breg"))])
        case [("DW_OP_fbreg", [byte_offset])]:
            return _compiled_slot(byte_offset, type_, machine)
        case [("DW_OP_fbreg", [byte_offset]), ("DW_OP_deref_size", [8]), ("DW_OP_stack_value", [])]:  # clang
            return _compiled_slot(byte_offset, type_, machine)
        case _:
            return InPieces("")


def _compiled_slot(byte_offset: int, type_: ParameterType, machine: Machine) -> Place | None:
    """Linux's `$stackN` is the Nth word from the stack pointer at entry, DWARF's frame base somewhere above it.

    What is before the first of the stack's arguments is the function's own copy, in its frame or, on ppc64le, in the
    slot that the caller leaves for the register.
    """
    slot, rest = divmod(byte_offset + _FRAME_BASE_BYTES.get(machine.name, 0), 8)
    if slot < machine.first_stack_slot:
        return None
    assert rest == (8 - type_.size if machine.byteorder == "big" else 0)  # the low-order end of the slot
    return OnStack(slot)


@pytest.mark.parametrize("name", MACHINES)
@pytest.mark.parametrize("number", range(len(_PROTOTYPES)), ids=[name for name, _ in _PROTOTYPES])
def test_places_are_the_compilers(name: str, number: int) -> None:
    assert _placed(name, number) == _compiled(name, number)


@pytest.mark.parametrize("name", MACHINES)
def test_places_of_drawn_prototypes_are_the_compilers(name: str) -> None:
    _check_all(name, range(len(_PROTOTYPES), len(_ALL)), _ALL)


@pytest.mark.parametrize("name", [name for name, each in MACHINES.items() if each.floats is not Floats.UNKNOWN])
def test_places_beside_floating_point_numbers_are_the_compilers(name: str) -> None:
    _check_all(name, range(len(_ALL_WITH_FLOATS)), _ALL_WITH_FLOATS)


def test_nothing_is_said_of_what_is_not_known() -> None:
    types = [_TYPES["long"], _FLOATS["double"][1], _TYPES["long"]]
    first, *others = place_parameters(RISCV64, types)
    assert first == InRegister("a0")
    assert all(isinstance(place, InPieces) for place in others)


_Prototypes: TypeAlias = tuple[tuple[str, tuple[str, ...]], ...]


def _check_all(name: str, numbers: range, prototypes: _Prototypes) -> None:
    differing = [
        number for number in numbers if _placed(name, number, prototypes) != _compiled(name, number, prototypes)
    ]
    shortest = min(differing, key=lambda number: len(prototypes[number][1]), default=None)
    assert shortest is None or _placed(name, shortest, prototypes) == _compiled(name, shortest, prototypes), (
        f"and {len(differing) - 1} more"
    )


def _placed(name: str, number: int, prototypes: _Prototypes = _ALL) -> list[tuple[str, Place | None]]:
    """What we say; None where the compiler says nothing."""
    result, texts = prototypes[number]
    places = place_parameters(MACHINES[name], [_PARAMETER_TYPES[text] for text in texts], _TYPES.get(result))
    return [
        (text, None if compiled is None else InPieces("") if isinstance(place, InPieces) else place)
        for text, place, compiled in zip(texts, places, _oracle(name, prototypes)[number], strict=True)
    ]


def _compiled(name: str, number: int, prototypes: _Prototypes = _ALL) -> list[tuple[str, Place | None]]:
    return list(zip(prototypes[number][1], _oracle(name, prototypes)[number], strict=True))


# The same without a compiler, from the documents: (id, machine, parameters, places)
_LONG = ParameterType(8, False)
_WIDE = ParameterType(16, False, 16)
_PAIR = ParameterType(16, True)
_LARGE = ParameterType(24, True)
_DOCUMENTED = (
    (
        "amd64-3.2.3-registers-in-order",
        X86_64,
        [_LONG] * 7,
        [*(InRegister(name) for name in ("di", "si", "dx", "cx", "r8", "r9")), OnStack(1)],
    ),
    (
        "amd64-3.2.3-all-of-it-in-registers-or-none",
        X86_64,
        [*[_LONG] * 5, _PAIR, _LONG],
        [*(InRegister(name) for name in ("di", "si", "dx", "cx", "r8")), InPieces("on the stack"), InRegister("r9")],
    ),
    (
        "amd64-3.2.3-over-two-words-in-memory",
        X86_64,
        [_LARGE, _LONG],
        [InPieces("on the stack"), InRegister("di")],
    ),
    (
        "aapcs64-C.9-registers-in-order",
        AARCH64,
        [_LONG] * 9,
        [*(InRegister(f"x{number}") for number in range(8)), OnStack(0)],
    ),
    (
        "aapcs64-C.10-even-register",
        AARCH64,
        [_LONG, _WIDE, _LONG],
        [InRegister("x0"), InPieces("in two registers, %x2 and %x3"), InRegister("x4")],
    ),
    (
        "aapcs64-B.4-large-by-reference",
        AARCH64,
        [_LARGE, _LONG],
        [InPieces("as the address of a copy, in %x0"), InRegister("x1")],
    ),
    (
        "aapcs64-C.13-none-after-the-stack",
        AARCH64,
        [*[_LONG] * 7, _PAIR, _LONG],
        [*(InRegister(f"x{number}") for number in range(7)), InPieces("on the stack"), OnStack(2)],
    ),
    (
        "riscv-scalars-in-order",
        RISCV64,
        [_LONG, _WIDE, *[_LONG] * 6],
        [
            InRegister("a0"),
            InPieces("in two registers, %a1 and %a2"),
            *(InRegister(f"a{number}") for number in range(3, 8)),
            OnStack(0),
        ],
    ),
    (
        "riscv-low-word-in-the-last-register",
        RISCV64,
        [*[_LONG] * 7, _PAIR, _LONG],
        [
            *(InRegister(f"a{number}") for number in range(7)),
            InPieces("in %a7, the rest of it on the stack"),
            OnStack(1),
        ],
    ),
    (
        "riscv-over-two-words-by-reference",
        RISCV64,
        [_LARGE, _LONG],
        [InPieces("as the address of a copy, in %a0"), InRegister("a1")],
    ),
    # Linux arch/s390/include/asm/ptrace.h, regs_get_kernel_argument: five registers, then the stack after 160 bytes
    (
        "s390x-registers-in-order",
        S390X,
        [_LONG] * 7,
        [*(InRegister(f"r{number}") for number in range(2, 7)), OnStack(20), OnStack(21)],
    ),
    (
        "s390x-of-1-2-4-8-bytes-by-value",
        S390X,
        [_WIDE, ParameterType(4, True), ParameterType(3, True), *[_LONG] * 2, _PAIR],
        [
            InPieces("as the address of a copy, in %r2"),
            InRegister("r3"),
            InPieces("as the address of a copy, in %r4"),
            InRegister("r5"),
            InRegister("r6"),
            InPieces("as the address of a copy, in $stack20"),
        ],
    ),
    (
        "ppc64-v2-a-slot-for-every-register",
        PPC64LE,
        [_LONG] * 9,
        [*(InRegister(f"gpr{number}") for number in range(3, 11)), OnStack(12)],
    ),
    (
        "ppc64-v2-aggregates-by-value",
        PPC64LE,
        [_LONG, _LARGE, *[_LONG] * 3, _PAIR, _LONG],
        [
            InRegister("gpr3"),
            InPieces("in registers, %gpr4 to %gpr6"),
            *(InRegister(f"gpr{number}") for number in range(7, 10)),
            InPieces("in %gpr10, the rest of it on the stack"),
            OnStack(13),
        ],
    ),
    (
        "ppc64-v2-an-aggregate-aligned-and-a-scalar-not",
        PPC64LE,
        [_LONG, ParameterType(16, True, 16), _LONG, _WIDE],
        [
            InRegister("gpr3"),
            InPieces("in two registers, %gpr5 and %gpr6"),
            InRegister("gpr7"),
            InPieces("in two registers, %gpr8 and %gpr9"),
        ],
    ),
    (
        "loongarch-as-riscv",
        LOONGARCH64,
        [_LARGE, *[_LONG] * 6, _WIDE, _LONG],
        [
            InPieces("as the address of a copy, in %r4"),
            *(InRegister(f"r{number}") for number in range(5, 11)),
            InPieces("in %r11, the rest of it on the stack"),
            OnStack(1),
        ],
    ),
)


@pytest.mark.parametrize(
    ("machine", "parameters", "places"),
    [pytest.param(*rest, id=name) for name, *rest in _DOCUMENTED],
)
def test_places_are_the_documents(machine: Machine, parameters: list[ParameterType], places: list[Place]) -> None:
    assert place_parameters(machine, parameters) == places


# `struct large { long words[3]; }` is returned in memory whose address the caller passes: in the first argument's
# register (System V AMD64 ABI 3.2.3), in x8 (AAPCS64 6.9). s390x returns every struct so ("Return Values").
@pytest.mark.parametrize(
    ("name", "result", "fetch"),
    [
        ("x86_64", "struct large", "a=%si:s32"),
        ("x86_64", "struct pair", "a=%di:s32"),
        ("aarch64", "struct large", "a=%x0:s32"),
        ("aarch64", "struct pair", "a=%x0:s32"),
        ("riscv64", "struct large", "a=%a1:s32"),
        ("riscv64", "struct pair", "a=%a0:s32"),
        ("s390x", "struct large", "a=%r3:s32"),
        ("s390x", "struct pair", "a=%r3:s32"),
        ("s390x", "__int128", "a=%r3:s32"),
        ("s390x", "long", "a=%r2:s32"),
        ("ppc64le", "struct large", "a=%gpr4:s32"),
        ("ppc64le", "struct pair", "a=%gpr3:s32"),
        ("loongarch64", "struct large", "a=%r5:s32"),
        ("loongarch64", "struct pair", "a=%r4:s32"),
    ],
)
def test_a_struct_returned_in_memory_takes_a_register(name: str, result: str, fetch: str) -> None:
    kernel = write(
        struct("large", 24, ("words", "long[3]", 0)),
        struct("pair", 16, ("words", "long[2]", 0)),
        function("f", result, ("a", "int")),
        byteorder=MACHINES[name].byteorder,
    )
    plan = compile_plan(kernel.data, "p f a=a", machine=MACHINES[name])
    assert plan.steps[0].text == f"p:surftrace/f0 f {fetch}"


# A struct with an `__int128` in it is aligned to 16 bytes as the integer itself is (AAPCS64 C.10).
def test_a_struct_aligned_to_16_bytes_starts_at_an_even_register() -> None:
    kernel = write(
        struct("wide", 16, ("number", "__int128", 0)),
        function("f", "void", ("a", "int"), ("wide", "struct wide"), ("b", "int")),
    )
    plan = compile_plan(kernel.data, "p f b=b", machine=AARCH64)
    assert plan.steps[0].text == "p:surftrace/f0 f b=%x4:s32"
