"""`place_parameters` against the compilers: gcc's DWARF says where each parameter of a function is at its entry."""

import random
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from elftools.dwarf.die import DIE
from elftools.dwarf.dwarf_expr import DWARFExprOp, DWARFExprParser
from elftools.dwarf.locationlists import LocationEntry, LocationLists, LocationListsPair
from elftools.elf.elffile import ELFFile

from surftrace.errors import SurftraceError
from surftrace.kernel.machine import (
    AARCH64,
    MACHINES,
    X86_64,
    InPieces,
    InRegister,
    Machine,
    OnStack,
    ParameterType,
    Place,
    machine_named,
    place_parameters,
)
from tests.btfwriter import function, struct, write
from tests.unit.compiling import compile_plan

_COMPILERS = {"x86_64": ("x86_64-linux-gnu-gcc", "gcc"), "aarch64": ("aarch64-linux-gnu-gcc",)}

# System V AMD64 ABI, figure 3.36; DWARF for the Arm 64-bit Architecture, 4.1.
_DWARF_REGISTERS = {
    "x86_64": ("ax", "dx", "cx", "bx", "si", "di", "bp", "sp", *(f"r{n}" for n in range(8, 16))),
    "aarch64": tuple(f"x{n}" for n in range(31)),
}

_SCALARS = {
    "char": ParameterType(1, False, 8),
    "short": ParameterType(2, False, 8),
    "int": ParameterType(4, False, 8),
    "long": ParameterType(8, False, 8),
    "void *": ParameterType(8, False, 8),
    "__int128": ParameterType(16, False, 16),
}
_STRUCTS = {f"struct s{size}": ParameterType(size, True, 8) for size in range(33)}
_TYPES = {**_SCALARS, **_STRUCTS, "struct aligned": ParameterType(16, True, 16)}
_HEAD = "".join(f"struct s{size} {{ char bytes[{size}]; }};\n" for size in range(1, 33)) + (
    "struct s0 { };\nstruct aligned { __int128 wide; };\n"
)

# (id, C types of the parameters)
_PROTOTYPES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("integers", ("char", "short", "int", "long", "void *")),
    ("more-than-registers", ("long",) * 11),
    ("narrow-on-the-stack", ("long",) * 8 + ("char", "short", "int")),
    ("struct-in-one", ("struct s1", "struct s4", "struct s8", "int")),
    ("struct-in-two", ("struct s9", "struct s16", "int")),
    ("struct-in-memory", ("struct s24", "int", "struct s17", "int")),
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
)
# The same ones every time: drawn by a generator of a fixed seed, compiled in one go.
_DRAWN = random.Random(20)
_ALL = _PROTOTYPES + tuple(
    (f"drawn-{number}", tuple(_DRAWN.choices(tuple(_TYPES), [40] * 6 + [8] * 33 + [10], k=_DRAWN.randrange(1, 14))))
    for number in range(300)
)


@cache
def _oracle(name: str) -> tuple[tuple[Place | None, ...], ...]:
    """Where the compiler puts the parameters of each prototype."""
    compiler = next((found for wanted in _COMPILERS[name] if (found := shutil.which(wanted))), None)
    if compiler is None or (name == "x86_64" and _target(compiler) != "x86_64"):
        pytest.fail(f"there is no gcc for {name}: tests/kernel/setup.sh installs it")
    source = _HEAD + "".join(
        f"void f{number}({', '.join(f'{text} a{index}' for index, text in enumerate(texts))}) {{ }}\n"
        for number, (_, texts) in enumerate(_ALL)
    )
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a.o"
        command = [compiler, "-xc", "-", "-O2", "-gdwarf-4", "-w", "-fno-ipa-icf", "-c", "-o", str(path)]
        subprocess.run(command, input=source.encode(), check=True)
        with path.open("rb") as stream:
            return tuple(_compiled_places(ELFFile(stream), MACHINES[name]))


def _target(compiler: str) -> str:
    seen = subprocess.run([compiler, "-dumpmachine"], capture_output=True, text=True, check=True)
    return seen.stdout.partition("-")[0]


def _compiled_places(elf: ELFFile, machine: Machine) -> Iterator[tuple[Place | None, ...]]:
    dwarf = elf.get_dwarf_info()
    unit, lists = next(dwarf.iter_CUs()), dwarf.location_lists()
    assert not isinstance(lists, LocationListsPair)  # what mixed DWARF versions give
    parser = DWARFExprParser(unit.structs)
    functions = {
        die.attributes["DW_AT_name"].value.decode(): die
        for die in unit.get_top_DIE().iter_children()
        if die.tag == "DW_TAG_subprogram"
    }
    for number, (_, texts) in enumerate(_ALL):
        function = functions[f"f{number}"]
        parameters = [die for die in function.iter_children() if die.tag == "DW_TAG_formal_parameter"]
        yield tuple(
            _compiled_place(parser.parse_expr(_location(die, lists)), _TYPES[text], machine)
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
    """The place, or None where the function copies the parameter (structs of 3, 5, 6, 7 bytes): DWARF names the copy.

    Linux's `$stackN` is the Nth word from the stack pointer at entry; DWARF counts from where the caller had it.
    """
    match [(operation.op_name, operation.args) for operation in operations]:
        case [(name, [])] if name.startswith("DW_OP_reg"):
            return InRegister(_DWARF_REGISTERS[machine.name][int(name.removeprefix("DW_OP_reg"))])
        case [("DW_OP_fbreg", [byte_offset])] if byte_offset < 0:
            return None
        case [("DW_OP_fbreg", [byte_offset])] if 0 < type_.size <= 8:
            slot, rest = divmod(byte_offset, 8)
            assert rest == 0
            return OnStack(machine.first_stack_slot + slot)
        case _:
            return InPieces("")


@pytest.mark.parametrize("name", MACHINES)
@pytest.mark.parametrize("number", range(len(_PROTOTYPES)), ids=[name for name, _ in _PROTOTYPES])
def test_places_are_the_compilers(name: str, number: int) -> None:
    assert _placed(name, number) == _compiled(name, number)


@pytest.mark.parametrize("name", MACHINES)
def test_places_of_drawn_prototypes_are_the_compilers(name: str) -> None:
    numbers = range(len(_PROTOTYPES), len(_ALL))
    differing = [number for number in numbers if _placed(name, number) != _compiled(name, number)]
    shortest = min(differing, key=lambda number: len(_ALL[number][1]), default=None)
    assert shortest is None or _placed(name, shortest) == _compiled(name, shortest), f"and {len(differing) - 1} more"


def _placed(name: str, number: int) -> list[tuple[str, Place | None]]:
    """What we say; None where the compiler says nothing."""
    texts = _ALL[number][1]
    places = place_parameters(MACHINES[name], [_TYPES[text] for text in texts])
    return [
        (text, None if compiled is None else InPieces("") if isinstance(place, InPieces) else place)
        for text, place, compiled in zip(texts, places, _oracle(name)[number], strict=True)
    ]


def _compiled(name: str, number: int) -> list[tuple[str, Place | None]]:
    return list(zip(_ALL[number][1], _oracle(name)[number], strict=True))


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
)


@pytest.mark.parametrize(
    ("machine", "parameters", "places"),
    [pytest.param(*rest, id=name) for name, *rest in _DOCUMENTED],
)
def test_places_are_the_documents(machine: Machine, parameters: list[ParameterType], places: list[Place]) -> None:
    assert place_parameters(machine, parameters) == places


@pytest.mark.parametrize(
    ("text", "name"),
    [("x86_64", "x86_64"), ("amd64", "x86_64"), ("x86-64", "x86_64"), ("aarch64", "aarch64"), ("arm64", "aarch64")],
)
def test_machine_by_any_of_its_names(text: str, name: str) -> None:
    assert machine_named(text).name == name


# `struct large { long words[3]; }` is returned in memory whose address the caller passes: in the first argument's
# register (System V AMD64 ABI 3.2.3), in x8 (AAPCS64 6.9).
@pytest.mark.parametrize(
    ("name", "result", "fetch"),
    [
        ("x86_64", "struct large", "a=%si:s32"),
        ("x86_64", "struct pair", "a=%di:s32"),
        ("aarch64", "struct large", "a=%x0:s32"),
        ("aarch64", "struct pair", "a=%x0:s32"),
    ],
)
def test_a_struct_returned_in_memory_takes_a_register(name: str, result: str, fetch: str) -> None:
    kernel = write(
        struct("large", 24, ("words", "long[3]", 0)),
        struct("pair", 16, ("words", "long[2]", 0)),
        function("f", result, ("a", "int")),
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


def test_unknown_machine_names_those_that_are_known() -> None:
    with pytest.raises(SurftraceError, match="unknown architecture 'vax'") as caught:
        machine_named("vax")
    assert caught.value.hints == ("known are x86_64, aarch64",)


@pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES)
def test_every_register_that_a_plan_names_is_one_of_the_machine(machine: Machine) -> None:
    named = {*machine.argument_registers, machine.return_register, *machine.aliases.values()}
    assert named <= machine.registers
    assert not set(machine.aliases) & machine.registers
