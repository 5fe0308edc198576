"""A class of C++ in, whether functions pass it as the address of a copy out: Itanium C++ ABI 3.1.1, "Non-trivial".

Clang says it in DWARF, GCC does not: it follows from the class's constructors and destructor, its bases and members.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from surftrace.dwarf.units import declaration_of, name_of, number_of

if TYPE_CHECKING:
    from elftools.dwarf.die import DIE

_MAX_DEPTH = 64
_CLASSES = ("DW_TAG_structure_type", "DW_TAG_class_type", "DW_TAG_union_type")
_REFERENCES = ("DW_TAG_reference_type", "DW_TAG_rvalue_reference_type")
# What stands before a type that it does not change: typedefs and qualifiers.
_WRAPPERS = ("DW_TAG_typedef", *(f"DW_TAG_{each}_type" for each in ("const", "volatile", "restrict", "atomic")))
# DWARF 5, 7.15: DW_CC_ of classes.
_BY_REFERENCE, _BY_VALUE = 4, 5
_IN_CLASS = 1  # DW_DEFAULTED_in_class


def target_of(die: "DIE") -> "DIE | None":
    """The entry of a thing's type; None for void."""
    entry: DIE | None = die
    for _ in range(_MAX_DEPTH):
        if entry is None or "DW_AT_type" in entry.attributes:
            break
        entry = declaration_of(entry)
    return entry.get_DIE_from_attribute("DW_AT_type") if entry is not None else None


def is_by_reference(die: "DIE | None", depth: int = 0) -> bool:
    """Is a parameter of that type the address of a copy, and a result at an address that the caller passes?"""
    die = bare_type(die)
    if die is None or die.tag not in _CLASSES or depth > _MAX_DEPTH:
        return False
    convention = number_of(die, "DW_AT_calling_convention")
    if convention in (_BY_REFERENCE, _BY_VALUE):
        return convention == _BY_REFERENCE
    if "DW_AT_containing_type" in die.attributes:  # the class whose table of virtual functions it has
        return True
    children = list(die.iter_children())
    return (
        any(child.tag == "DW_TAG_inheritance" and number_of(child, "DW_AT_virtuality") for child in children)
        or any(_copies(child, die) for child in children if child.tag == "DW_TAG_subprogram")
        or any(is_by_reference(part, depth + 1) for part in _parts(children))
    )


def _parts(children: "list[DIE]") -> "Iterator[DIE | None]":
    """The types of a class's bases and members."""
    for child in children:
        if child.tag == "DW_TAG_inheritance" or (
            child.tag == "DW_TAG_member" and "DW_AT_declaration" not in child.attributes
        ):
            part = bare_type(target_of(child))
            while part is not None and part.tag == "DW_TAG_array_type":
                part = bare_type(target_of(part))
            yield part


def _copies(function: "DIE", owner: "DIE") -> bool:
    """Is this a destructor, or a constructor that copies or moves, of the program's own making?"""
    attributes = function.attributes
    is_made_for_it = "DW_AT_artificial" in attributes or number_of(function, "DW_AT_defaulted") == _IN_CLASS
    if is_made_for_it or "DW_AT_deleted" in attributes:
        return False
    name = name_of(function)
    if name.startswith("~"):
        return True
    if name != name_of(owner).partition("<")[0]:
        return False
    given = [child for child in function.iter_children() if child.tag == "DW_TAG_formal_parameter"]
    passed = target_of(given[1]) if len(given) > 1 else None
    if passed is None or passed.tag not in _REFERENCES:
        return False
    copied = bare_type(target_of(passed))
    return copied is not None and copied.offset == owner.offset


def bare_type(die: "DIE | None") -> "DIE | None":
    """The type without typedefs and qualifiers."""
    for _ in range(_MAX_DEPTH):
        if die is None or die.tag not in _WRAPPERS:
            break
        die = target_of(die)
    return die
