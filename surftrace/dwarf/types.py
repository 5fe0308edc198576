"""Types as a unit's DWARF has them, made drgn types: those that no name leads to, and those of C++ and of programs.

drgn 0.3 reads DWARF by names alone, one definition for each, and neither C++'s references nor its base classes. Here a
reference is a pointer, and a base class an anonymous member, through which drgn finds the members inherited.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeAlias

import drgn

from surftrace.dwarf.classes import bare_type, is_by_reference, target_of
from surftrace.dwarf.errors import DwarfError, guarded
from surftrace.dwarf.units import declaration_of, home_of, name_of, number_of, parameters_of, text_of
from surftrace.record import record

if TYPE_CHECKING:
    from elftools.dwarf.die import DIE

Named: TypeAlias = Callable[[str], drgn.Type]

_MAX_DEPTH = 64
_WHAT = "the DWARF of a type"
_KEYWORDS = {
    "DW_TAG_structure_type": "struct ",
    "DW_TAG_class_type": "class ",
    "DW_TAG_union_type": "union ",
    "DW_TAG_enumeration_type": "enum ",
    "DW_TAG_typedef": "",
    "DW_TAG_base_type": "",
}
_SPACES = ("DW_TAG_namespace", "DW_TAG_structure_type", "DW_TAG_class_type", "DW_TAG_union_type")
_TYPED = ("DW_TAG_formal_parameter", "DW_TAG_unspecified_parameters")
_QUALIFIERS = {
    "DW_TAG_const_type": drgn.Qualifiers.CONST,
    "DW_TAG_volatile_type": drgn.Qualifiers.VOLATILE,
    "DW_TAG_restrict_type": drgn.Qualifiers.RESTRICT,
    "DW_TAG_atomic_type": drgn.Qualifiers.ATOMIC,
}
_POINTERS = ("DW_TAG_pointer_type", "DW_TAG_reference_type", "DW_TAG_rvalue_reference_type")
# DWARF 5, 7.8: DW_ATE_ of base types.
_BOOLEAN, _FLOAT, _SIGNED, _SIGNED_CHAR = 0x02, 0x04, 0x05, 0x06
_COMPLEX = 0x03


@record
class Prototype:
    """A function's type, and whether it gives its result at an address that its caller passes, whatever the size."""

    type: drgn.Type
    is_result_by_reference: bool


class TypeReader:
    """Makes drgn types of a file's entries. DwarfError for what has none, or is damaged.

    `named` gives the type of a name where there is another source that goes first, such as a kernel's BTF.
    """

    def __init__(self, prog: drgn.Program, named: Named | None = None) -> None:
        self._prog = prog
        self._named = named
        self._known: dict[tuple[int, int], drgn.Type] = {}

    def of_thing(self, die: "DIE") -> drgn.Type:
        """The type of a variable, a parameter or a member; void where it has none."""
        return guarded(lambda: self._of(target_of(die), 0), _WHAT)

    def of(self, die: "DIE") -> drgn.Type:
        """The type that an entry describes."""
        return guarded(lambda: self._of(die, 0), _WHAT)

    def prototype(self, die: "DIE") -> Prototype:
        """The type of a function, its parameters by the names that they have there.

        A class that is passed by reference, for C++ has to copy it itself, is a pointer.
        """
        return guarded(lambda: self._prototype(die), _WHAT)

    def _prototype(self, die: "DIE") -> Prototype:
        result = self._of(target_of(die), 0)
        return Prototype(
            self._prog.function_type(result, tuple(self._parameters(die)), _is_variadic(die)),
            is_by_reference(target_of(die)),
        )

    def _parameters(self, die: "DIE") -> Iterator[drgn.TypeParameter]:
        for child in parameters_of(die):
            yield drgn.TypeParameter(self._passed(child), name_of(child) or None)

    def _passed(self, parameter: "DIE") -> drgn.Type:
        """The type of a parameter as calling conventions know it: a vector is no array of numbers there."""
        target = target_of(parameter)
        type_ = self._of(target, 0)
        if is_by_reference(target):
            return self._prog.pointer_type(type_)
        vector = bare_type(target)
        if vector is not None and "DW_AT_GNU_vector" in vector.attributes:
            return self._prog.float_type(str(type_.type_name()), drgn.sizeof(type_))
        return type_

    def _of(self, die: "DIE | None", depth: int) -> drgn.Type:
        if die is None:
            return self._prog.void_type()
        if depth > _MAX_DEPTH:
            raise DwarfError("a type that contains itself")
        if "DW_AT_signature" in die.attributes:  # the type is in a unit of its own: DWARF 5, 3.1.4
            die = die.get_DIE_from_attribute("DW_AT_signature")
        key = id(die.dwarfinfo), die.offset
        if key not in self._known:
            self._known[key] = self._made(die, depth + 1)
        return self._known[key]

    def _made(self, die: "DIE", depth: int) -> drgn.Type:
        prog, tag = self._prog, str(die.tag)
        name = qualified_name(die)
        if self._named is not None and tag in _KEYWORDS and name:
            return self._named(_KEYWORDS[tag] + name)
        if tag in _QUALIFIERS:
            return self._of(target_of(die), depth).qualified(_QUALIFIERS[tag])
        if tag in _POINTERS:
            return prog.pointer_type(self._of(target_of(die), depth))
        match tag:
            case "DW_TAG_typedef":
                return prog.typedef_type(name, self._of(target_of(die), depth))
            case "DW_TAG_base_type":
                return self._base(die, name)
            case "DW_TAG_structure_type" | "DW_TAG_class_type" | "DW_TAG_union_type":
                return self._aggregate(die, name or None)
            case "DW_TAG_enumeration_type":
                return self._enum(die, name or None, depth)
            case "DW_TAG_array_type":
                return self._array(die, depth)
            case "DW_TAG_subroutine_type":
                return prog.function_type(
                    self._of(target_of(die), depth), tuple(self._parameters(die)), _is_variadic(die)
                )
            case "DW_TAG_ptr_to_member_type":
                return self._pointer_to_member(die, depth)
            case "DW_TAG_unspecified_type":
                return prog.pointer_type(prog.void_type()) if "nullptr" in name else prog.void_type()
            case _:
                raise DwarfError(f"a type that C has not ({tag.removeprefix('DW_TAG_').replace('_', ' ')})")

    def _pointer_to_member(self, die: "DIE", depth: int) -> drgn.Type:
        """Itanium C++ ABI 2.3: an offset, or a function's address with an adjustment of `this`."""
        target = bare_type(target_of(die))
        word = self._prog.int_type("long", 8, True)
        if target is None or target.tag != "DW_TAG_subroutine_type":
            return word
        function = self._prog.pointer_type(self._of(target, depth))
        parts = (drgn.TypeMember(function, "ptr"), drgn.TypeMember(word, "adj", 64))
        return self._prog.struct_type(None, 16, parts)

    def _base(self, die: "DIE", name: str) -> drgn.Type:
        size, encoding = number_of(die, "DW_AT_byte_size") or 0, number_of(die, "DW_AT_encoding")
        if encoding == _BOOLEAN:
            return self._prog.bool_type(name, size)
        if encoding == _FLOAT:
            return self._prog.float_type(name, size)
        if encoding == _COMPLEX:
            part = self._prog.float_type(name.removeprefix("complex "), size // 2)
            parts = (drgn.TypeMember(part, "real"), drgn.TypeMember(part, "imag", 4 * size))
            return self._prog.struct_type(name, size, parts)
        return self._prog.int_type(name, size, encoding in (_SIGNED, _SIGNED_CHAR))

    def _aggregate(self, die: "DIE", name: str | None) -> drgn.Type:
        make = {
            "DW_TAG_structure_type": self._prog.struct_type,
            "DW_TAG_class_type": self._prog.class_type,
            "DW_TAG_union_type": self._prog.union_type,
        }[str(die.tag)]
        size = number_of(die, "DW_AT_byte_size")
        if size is None or "DW_AT_declaration" in die.attributes:
            return make(name)
        return make(name, size, tuple(self._members(die)))

    def _members(self, aggregate: "DIE") -> Iterator[drgn.TypeMember]:
        for die in aggregate.iter_children():
            # A member that is only declared is static: a variable of its own. A virtual base is at no fixed place.
            if die.tag not in ("DW_TAG_member", "DW_TAG_inheritance") or "DW_AT_declaration" in die.attributes:
                continue
            bit_size, bit_offset = number_of(die, "DW_AT_bit_size"), _bit_offset(die, self._is_little)
            if bit_offset is not None:
                yield drgn.TypeMember(self._member(die, bit_size), name_of(die) or None, bit_offset)

    def _member(self, die: "DIE", bit_size: int | None) -> Callable[[], drgn.Type | drgn.Object]:
        """Types of members are made once they are looked at: they may lead to all that the unit has."""
        if bit_size is None:
            return lambda: self.of_thing(die)
        return lambda: drgn.Object(self._prog, self.of_thing(die), bit_field_size=bit_size)

    @property
    def _is_little(self) -> bool:
        platform = self._prog.platform
        return platform is None or bool(platform.flags & drgn.PlatformFlags.IS_LITTLE_ENDIAN)

    def _enum(self, die: "DIE", name: str | None, depth: int) -> drgn.Type:
        if "DW_AT_declaration" in die.attributes:
            return self._prog.enum_type(name)
        values = [
            (name_of(child), number_of(child, "DW_AT_const_value") or 0)
            for child in die.iter_children()
            if child.tag == "DW_TAG_enumerator"
        ]
        target = target_of(die)
        if target is not None:
            compatible = self._of(target, depth)
            while compatible.kind == drgn.TypeKind.TYPEDEF:
                compatible = compatible.type
            compatible = compatible.unqualified()
        else:
            size = number_of(die, "DW_AT_byte_size") or 4
            is_signed = any(value < 0 for _, value in values)
            compatible = self._prog.int_type("int" if is_signed else "unsigned int", size, is_signed)
        enumerators = tuple(drgn.TypeEnumerator(each, value) for each, value in values)
        return self._prog.enum_type(name, compatible, enumerators)

    def _array(self, die: "DIE", depth: int) -> drgn.Type:
        element = self._of(target_of(die), depth)
        lengths = [_length(each) for each in die.iter_children() if each.tag == "DW_TAG_subrange_type"]
        for length in reversed(lengths):
            element = self._prog.array_type(element, length)
        return element


def qualified_name(die: "DIE") -> str:
    """The name of what an entry describes with the namespaces and classes around it; empty for what has none."""
    name = name_of(die)
    if not name:
        return ""
    declared: DIE | None = die
    for _ in range(_MAX_DEPTH):
        origin = declaration_of(declared) if declared is not None else None
        if origin is None:
            break
        declared = origin
    names = [name]
    around = declared.get_parent() if declared is not None else None
    while around is not None and around.tag in _SPACES and len(names) < _MAX_DEPTH:
        names.append(name_of(around) or "(anonymous namespace)")
        around = around.get_parent()
    return "::".join(reversed(names))


def find_type(unit: "DIE", name: str, keywords: tuple[str, ...]) -> "DIE | None":
    """The definition of that name in a unit, of a tag whose C keyword is one of `keywords`: `struct `, or empty."""
    tags = {tag for tag, keyword in _KEYWORDS.items() if keyword in keywords}
    return guarded(lambda: next(_definitions(unit, name.split("::"), tags), None), _WHAT)


def has_types(function: "DIE") -> bool:
    """Does DWARF tell the types of a function? With -g1 the compiler leaves all types out, and parameters with them."""
    return guarded(lambda: _has_types(function), _WHAT)


def _has_types(function: "DIE") -> bool:
    if "DW_AT_type" in function.attributes or any(child.tag in _TYPED for child in function.iter_children()):
        return True
    return any(die.tag == "DW_TAG_base_type" for die in home_of(function).get_top_DIE().iter_children())


def find_variables(unit: "DIE", name: str) -> "list[DIE]":
    """The variables in a unit, outside of its functions, of that name, be it their symbols' or the end of one of C++.

    Those of exactly that name go before those whose name ends in it: there is one, but where the program was optimised
    as a whole.
    """
    last = name.rpartition("::")[2]
    found = [die for die in _variables(unit, 0) if name_of(die) == last or text_of(die, "DW_AT_linkage_name") == name]
    names = {id(die): qualified_name(die) for die in found}
    exact = [die for die in found if names[id(die)] == name or text_of(die, "DW_AT_linkage_name") == name]
    return exact or [die for die in found if names[id(die)].endswith(f"::{name}")]


def _variables(around: "DIE", depth: int) -> "Iterator[DIE]":
    for die in around.iter_children():
        if die.tag == "DW_TAG_variable" and "DW_AT_declaration" not in die.attributes:
            yield die
        elif die.tag == "DW_TAG_namespace" and depth < _MAX_DEPTH:
            yield from _variables(die, depth + 1)


def _definitions(around: "DIE", names: list[str], tags: set[str]) -> "Iterator[DIE]":
    first, *rest = names
    for die in around.iter_children():
        if not rest:
            if die.tag in tags and "DW_AT_declaration" not in die.attributes and name_of(die) == first:
                yield die
        elif die.tag in _SPACES and name_of(die) == first:
            yield from _definitions(die, rest, tags)


def _is_variadic(die: "DIE") -> bool:
    return any(child.tag == "DW_TAG_unspecified_parameters" for child in die.iter_children())


def _bit_offset(member: "DIE", is_little: bool) -> int | None:
    """Where a member begins; None where only running code could tell."""
    if (bits := number_of(member, "DW_AT_data_bit_offset")) is not None:
        return bits
    place = member.attributes.get("DW_AT_data_member_location")
    if place is not None and not isinstance(place.value, int):
        return None
    start = 8 * int(place.value) if place is not None else 0
    before, size = number_of(member, "DW_AT_bit_offset"), number_of(member, "DW_AT_bit_size")
    if before is None or size is None:
        return start
    # DWARF 3 and older count from the most significant bit of a storage unit.
    storage = number_of(member, "DW_AT_byte_size") or number_of(target_of(member) or member, "DW_AT_byte_size") or 0
    return start + (8 * storage - before - size if is_little else before)


def _length(subrange: "DIE") -> int | None:
    count, upper = number_of(subrange, "DW_AT_count"), number_of(subrange, "DW_AT_upper_bound")
    if count is not None:
        return count
    return upper + 1 if upper is not None and upper + 1 < 1 << 32 else None
