"""The variables in scope at an address: where each is there, or why it is nowhere.

DWARF 5, 2.6 (location descriptions), 3.3.8 (inlined functions), 6.4 (call frames).
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeAlias

from surftrace.dwarf.units import DwarfFile, Function, name_of, unit_of
from surftrace.dwarf.units import parameters_of as parameter_entries
from surftrace.record import record

if TYPE_CHECKING:
    from elftools.dwarf.die import DIE

_BLOCKS = ("DW_TAG_lexical_block", "DW_TAG_inlined_subroutine", "DW_TAG_subprogram")
_VARIABLES = ("DW_TAG_formal_parameter", "DW_TAG_variable")
_MAX_DEPTH = 64
# Addresses by their number in .debug_addr, as Clang has them.
_INDEXED = ("DW_OP_addrx", "DW_OP_GNU_addr_index")
_THREAD_LOCAL = ("DW_OP_form_tls_address", "DW_OP_GNU_push_tls_address")


@record
class Spot:
    """Where a value is: start at `base`, add and read at each of `byte_offsets` in turn.

    `base` is a register's number in DWARF, or None where the first offset is an address of its own. `is_address`: the
    value is not what the last read gives, but the address it would be made at.
    """

    base: int | None
    byte_offsets: tuple[int, ...]
    is_address: bool = False


@record
class Nowhere:
    """Why a variable cannot be read at the place. `ranges` are the addresses at which it can."""

    reason: str
    ranges: tuple[tuple[int, int], ...] = ()


Location: TypeAlias = Spot | Nowhere


@record
class Variable:
    """A variable or parameter in scope. `depth` counts the blocks and inlined functions around it."""

    name: str
    die: "DIE"
    is_parameter: bool
    depth: int


def variables_at(file: DwarfFile, function: Function, address: int) -> list[Variable]:
    """What is in scope there, the innermost first: the name means the first of that name."""
    return file.guarded(lambda: list(_in_scope(file, function.die, address, 0)))


def parameters_of(function: Function) -> list[Variable]:
    """The function's parameters, those without a name too."""
    return [Variable(name_of(die), die, True, 0) for die in parameter_entries(function.die)]


def _in_scope(file: DwarfFile, block: "DIE", address: int, depth: int) -> Iterator[Variable]:
    own = []
    for die in block.iter_children():
        if die.tag in _VARIABLES and (name := name_of(die)):
            own.append(Variable(name, die, die.tag == _VARIABLES[0], depth))
        elif die.tag in _BLOCKS and depth < _MAX_DEPTH and _holds(file, die, address):
            yield from _in_scope(file, die, address, depth + 1)
    yield from own


def _holds(file: DwarfFile, die: "DIE", address: int) -> bool:
    return any(low <= address < high for low, high in file.ranges_of(die))


def location_at(file: DwarfFile, function: Function, variable: Variable, address: int) -> Location:
    """Where the variable is when the instruction at that address is about to run."""
    return file.guarded(lambda: _location_at(file, function, variable.die, address))


def _location_at(file: DwarfFile, function: Function, die: "DIE", address: int) -> Location:
    if "DW_AT_const_value" in die.attributes:
        return Nowhere(f"is the constant {die.attributes['DW_AT_const_value'].value}")
    if "DW_AT_location" not in die.attributes:
        return Nowhere("was optimised out")
    entries = list(_entries(file, die))
    found = next((expression for low, high, expression in entries if low <= address < high), None)
    if found is None:
        ranges = tuple((low, high) for low, high, expression in entries if expression)
        return Nowhere("has no place here" if ranges else "was optimised out", ranges)
    location = _evaluated(file, function, found, die, address)
    if isinstance(location, Spot):
        return location
    others = tuple(
        (low, high)
        for low, high, expression in entries
        if isinstance(_evaluated(file, function, expression, die, low), Spot)
    )
    return Nowhere(location.reason, others)


def _entries(file: DwarfFile, die: "DIE") -> Iterator[tuple[int, int, list[int]]]:
    """The expressions of a location, each with the addresses that it is for."""
    from elftools.dwarf.locationlists import BaseAddressEntry, LocationEntry, LocationExpr, LocationParser

    parser = LocationParser(file.info.location_lists())
    found = parser.parse_from_attribute(die.attributes["DW_AT_location"], die.cu["version"], die)
    if isinstance(found, LocationExpr):
        yield 0, 1 << 64, found.loc_expr
        return
    base = file.base_of(unit_of(die))
    for entry in found or ():
        if isinstance(entry, BaseAddressEntry):
            base = entry.base_address
        elif isinstance(entry, LocationEntry):
            start = 0 if entry.is_absolute else base
            yield start + entry.begin_offset, start + entry.end_offset, entry.loc_expr


class _Unknown(Exception):
    """Why an expression gives no place that a probe can read."""


def _evaluated(file: DwarfFile, function: Function, expression: list[int], die: "DIE", address: int) -> Location:
    if not expression:
        return Nowhere("was optimised out")
    try:
        return _Machine(file, function, die, address).run(expression)
    except _Unknown as error:
        return Nowhere(str(error))


class _Machine:
    """Runs a location expression over addresses that are known as far as a register and reads behind it."""

    def __init__(self, file: DwarfFile, function: Function, die: "DIE", address: int) -> None:
        self.file = file
        self.function = function
        self.die = die
        self.address = address
        self.spot: Spot | None = None
        self.is_value = False

    def run(self, expression: list[int]) -> Spot:
        from elftools.dwarf.dwarf_expr import DWARFExprParser

        operations = DWARFExprParser(self.die.cu.structs).parse_expr(expression)
        if any(operation.op_name in _THREAD_LOCAL for operation in operations):
            raise _Unknown("is each thread's own: no probe can tell where")
        for operation in operations:
            self.step(operation.op_name, operation.args)
        if self.spot is None:
            raise _Unknown("is described in a way that surftrace does not know")
        return _value(self.spot) if self.is_value else self.spot

    def step(self, name: str, arguments: list[int]) -> None:
        if name in ("DW_OP_piece", "DW_OP_bit_piece"):
            raise _Unknown("is in several pieces here")
        if "entry_value" in name:
            raise _Unknown("is known here only by what it was at the function's entry")
        if self.spot is None:
            self.start(name, arguments)
        elif name == "DW_OP_plus_uconst":
            *before, last = self.spot.byte_offsets
            self.spot = Spot(self.spot.base, (*before, last + arguments[0]))
        elif name == "DW_OP_deref":
            self.spot = Spot(self.spot.base, (*self.spot.byte_offsets, 0))
        elif name == "DW_OP_stack_value":
            self.is_value = True
        else:
            raise _Unknown("is computed here from other values")

    def start(self, name: str, arguments: list[int]) -> None:
        kind, number = name.rstrip("0123456789"), name[len(name.rstrip("0123456789")) :]
        if kind == "DW_OP_reg" and number:
            self.spot = Spot(int(number), ())
        elif name == "DW_OP_regx":
            self.spot = Spot(arguments[0], ())
        elif kind == "DW_OP_breg" and number:
            self.spot = Spot(int(number), (arguments[0],))
        elif name == "DW_OP_bregx":
            self.spot = Spot(arguments[0], (arguments[1],))
        elif name == "DW_OP_addr":
            self.spot = Spot(None, (arguments[0],))
        elif name in _INDEXED:
            self.spot = Spot(None, (self.file.info.get_addr(self.die.cu, arguments[0]),))
        elif name == "DW_OP_fbreg":
            frame = self.frame_base()
            *before, last = frame.byte_offsets
            self.spot = Spot(frame.base, (*before, last + arguments[0]))
        elif name == "DW_OP_call_frame_cfa":
            self.spot = frame_address(self.file, self.address)
        elif kind in ("DW_OP_lit", "DW_OP_const") or name.startswith(("DW_OP_const", "DW_OP_implicit_value")):
            value = number if kind == "DW_OP_lit" else arguments[0] if arguments else ""
            raise _Unknown(f"is the constant {value} here" if isinstance(value, (int, str)) else "is a constant here")
        else:
            raise _Unknown("is computed here from other values")

    def frame_base(self) -> Spot:
        base = self.function.die.attributes.get("DW_AT_frame_base")
        if base is None:
            raise _Unknown("is in a frame whose base is not known")
        inner = _Machine(self.file, self.function, self.die, self.address)
        frame = inner.run(base.value)
        # In a register, the base is what it holds.
        return frame if frame.byte_offsets else Spot(frame.base, (0,))


def _value(spot: Spot) -> Spot:
    """The address itself, not what lies there."""
    *before, last = spot.byte_offsets
    return (
        Spot(spot.base, tuple(before))
        if not last and spot.base is not None
        else Spot(spot.base, spot.byte_offsets, True)
    )


def frame_address(file: DwarfFile, address: int) -> Spot:
    """The canonical frame address there, as a register and an offset."""
    rule = file.frame_rule(address)
    if rule is None:
        raise _Unknown("is in a frame that nothing tells of")
    return Spot(rule[0], (rule[1],))
