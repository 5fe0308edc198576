"""Types of one kernel, as drgn types: a thin face over the type source, and questions the compiler asks of a type."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeAlias

import drgn
from drgn import TypeKind

from surftrace.btf.program import BtfProgram
from surftrace.dwarf.debuginfo import DebugInfo
from surftrace.errors import SurftraceError
from surftrace.kernel.formats import EventField
from surftrace.names import nearest
from surftrace.record import record

if TYPE_CHECKING:
    from elftools.dwarf.die import DIE

Type: TypeAlias = drgn.Type

_AGGREGATES = (TypeKind.STRUCT, TypeKind.UNION, TypeKind.CLASS)
_KEYWORDS = {"struct": TypeKind.STRUCT, "union": TypeKind.UNION, "enum": TypeKind.ENUM}
_USER = "__user"
_USER_POINTER = re.compile(r"(.*\S)\s*\b__user\s*\*")
# Members of an event's record that are no fields: the common ones, which every event has, and what is behind it.
_NO_FIELDS = ("ent", "__data")
_DYNAMIC = "__data_loc_"
# Four `long double` of AArch64: no machine has more of one parameter in registers.
_LARGEST_IN_REGISTERS = 64
_CHARACTERS = frozenset(("char", "signed char"))


# Members that hold an enum's values in a smaller integer, each with one of its enumerators. Linux include/net/sock.h,
# include/net/inet_connection_sock.h.
_NAMED_NUMBERS = {
    ("sock_common", "skc_state"): "TCP_ESTABLISHED",
    ("inet_connection_sock", "icsk_ca_state"): "TCP_CA_Open",
    ("sock", "sk_type"): "SOCK_STREAM",
}


class TypeInfoError(SurftraceError):
    """The type information that was given cannot be read, or does not have what was asked."""


@record
class Field:
    """Where a member is in the struct that was asked, however deep in anonymous ones.

    `bit_width` is None for a member that is no bit field; `bit_offset` counts from the struct's start in the type
    source's way: on little-endian machines from the least significant bit up.
    """

    type: Type
    bit_offset: int
    bit_width: int | None


@record
class KernelTypes:
    """All the types and function prototypes that one kernel's type information has.

    Types are read when they are looked at: any use of one may raise BtfError.
    """

    program: BtfProgram
    debug: DebugInfo | None = None
    btf_path: str = ""

    def origin(self) -> str:
        """The files that the types come from, in words: DWARF where something was asked of it."""
        files = [f"DWARF of {file.path}" for file in (self.debug.files if self.debug is not None else ())]
        return ", ".join([f"BTF of {self.btf_path}", *files] if self.btf_path else files)

    @property
    def byteorder(self) -> str:
        """`little` or `big`, as the type information is."""
        platform = self.program.prog.platform
        assert platform is not None
        return "little" if platform.flags & drgn.PlatformFlags.IS_LITTLE_ENDIAN else "big"

    def register_names(self) -> list[str]:
        """The members of struct pt_regs, which tell of which machine the types are; none where it is not there."""
        try:
            return member_names(self.program.prog.type("struct pt_regs"))
        except LookupError:
            return []

    def function(self, name: str) -> Type | None:
        """A function's prototype with its parameters' names, or None."""
        found = self.program.function(name)
        return self.debug.function(name) if found is None and self.debug is not None else found

    def variable(self, name: str) -> Type | None:
        """The type of a variable, or None: BTF does not tell that of most."""
        return self.debug.variable(name) if self.debug is not None else None

    def defined(self, type_: Type) -> Type:
        """The type's definition where that is known, be it of the type itself only declared."""
        bare = underlying(type_)
        if self.debug is None or bare.is_complete():
            return type_
        try:
            known = self.program.prog.type(spelled(bare))
        except LookupError:
            known = bare
        return known if known.is_complete() else self.debug.type(spelled(bare)) or type_

    def of_thing(self, die: "DIE") -> Type:
        """The type of a variable that DWARF describes; DwarfError where it has none that is known."""
        from surftrace.dwarf.types import TypeReader  # what has types by name alone does without

        return TypeReader(self.program.prog, self.named).of_thing(die)

    def function_names(self) -> Iterator[str]:
        """Every function that has a prototype."""
        return iter(self.program.functions())

    def named(self, text: str) -> Type:
        """The type of a C type name. TypeInfoError where it is no type name, or none that this kernel has.

        `char __user *` is a pointer to what `is_user` tells.
        """
        if match := _USER_POINTER.fullmatch(text.strip()):
            program = self.program.prog
            return program.pointer_type(user_type(program, self.named(match[1])))
        try:
            return self.program.prog.type(text)
        except SyntaxError as error:
            raise TypeInfoError(f"'{text}' is not a C type: {error.msg or error}") from None
        except (ValueError, OverflowError) as error:
            raise TypeInfoError(f"'{text}' is no type: {error}") from None
        except LookupError:
            pass
        found = self.debug.type(text) if self.debug is not None else None
        if found is None:
            raise TypeInfoError(f"this kernel has no type '{text}'", *self._like(text))
        return found

    def enumerator(self, name: str) -> tuple[int, ...]:
        """The values that the kernel's enums give to an enumerator's name: none, one, or several that differ."""
        values = self.program.enumerator(name)
        if values or self.debug is None:
            return values
        value = self.debug.enumerator(name)
        return () if value is None else (value,)

    def named_numbers(self, holder: Type, member: str, type_: Type) -> Type:
        """The type of a member, with the names of an enum that its numbers are of although C does not say so."""
        enumerator = _NAMED_NUMBERS.get((underlying(holder).tag or "", member))
        bare = underlying(type_)
        enum = self.program.enum_with(enumerator) if enumerator is not None and bare.kind == TypeKind.INT else None
        if enum is None:
            return type_
        return self.program.prog.enum_type(enum.tag, bare.unqualified(), enum.enumerators)

    def enumerators(self) -> Iterable[str]:
        """The names of the enumerators of all of the kernel's enums."""
        return self.program.enumerators()

    def of_event_field(self, field: EventField) -> Type:
        """The type of a trace event's field, as its format file declares it."""
        program = self.program.prog
        if field.is_string:
            if "*" in field.type:
                return program.pointer_type(program.int_type("char", 1, True))
            length = None if field.is_dynamic else field.size
            return program.array_type(program.int_type("char", 1, True), length)
        if field.is_dynamic:  # of elements that have no place of their own in the record
            return program.array_type(program.int_type("unsigned char", 1, False), None)
        try:
            type_ = self.named(field.type)
        except TypeInfoError:
            type_ = program.int_type(field.type, field.size, field.is_signed)
        bare = underlying(type_)
        if not field.names or bare.kind != TypeKind.INT:
            return type_
        enumerators = [drgn.TypeEnumerator(name, value) for value, name in field.names]
        return program.enum_type(None, bare.unqualified(), enumerators)

    def event_fields(self, name: str) -> tuple[EventField, ...] | None:
        """A trace event's fields as the struct of its records has them; None where no struct bears the event's name.

        Source: Linux include/trace/stages/stage1_struct_define.h; events of one class share the class's struct.
        """
        try:
            members = self.program.prog.type(f"struct trace_event_raw_{name}").members or ()
        except LookupError:
            return None
        return tuple(_event_field(member) for member in members if member.name and member.name not in _NO_FIELDS)

    def _like(self, text: str) -> tuple[str, ...]:
        """A hint with the type of this name that has another keyword or none, else with the name nearest to it."""
        # What is around the name, stars and qualifiers, is offered as it was written.
        found = re.search(
            r"\b(?:(struct|union|enum)\s+)?(?!(?:struct|union|enum|const|volatile)\b)\b([A-Za-z_]\w*)", text
        )
        if found is None:
            return ()
        keyword, name = found.groups()
        for candidate in (f"struct {name}", f"union {name}", f"enum {name}", name):
            try:
                self.program.prog.type(candidate)
            except (LookupError, SyntaxError):  # C's own words are no tags
                continue
            return (f"did you mean '{text[: found.start()]}{candidate}{text[found.end() :]}'?",)
        near = nearest(name, self.program.type_names(_KEYWORDS.get(keyword, TypeKind.TYPEDEF)), 1)
        return tuple(f"did you mean '{text[: found.start(2)]}{each}{text[found.end() :]}'?" for each in near)


def _event_field(member: drgn.TypeMember) -> EventField:
    name = str(member.name)
    if name.startswith(_DYNAMIC):
        # The struct has not what the array is of. Most are strings; the kernel shows another one as a fault.
        return EventField(name.removeprefix(_DYNAMIC), "__data_loc char[]", 4, False)
    bare = underlying(member.type)
    is_signed = bare.kind == TypeKind.INT and bool(bare.is_signed)
    return EventField(name, spelled(member.type), size_of(member.type) or 0, is_signed)


def underlying(type_: Type) -> Type:
    """The type without typedefs and qualifiers."""
    while type_.kind == TypeKind.TYPEDEF:
        type_ = type_.type
    return type_.unqualified()


def spelled(type_: Type) -> str:
    """The type as C spells it, short: `struct sk_buff *`, never a whole anonymous definition."""
    if type_.kind in _AGGREGATES and type_.tag is None:
        return f"anonymous {'struct' if type_.kind == TypeKind.STRUCT else 'union'}"
    return str(type_.type_name())


def a_spelled(type_: Type) -> str:
    """The type as C spells it, after `a` or `an`."""
    text = spelled(type_)
    bare = text.lstrip("_")
    return f"{'an' if bare[0] in 'aeio' or bare.startswith('unsigned') else 'a'} {text}"


def is_aggregate(type_: Type) -> bool:
    """Is this, below its typedefs, a struct or union?"""
    return underlying(type_).kind in _AGGREGATES


def user_type(program: drgn.Program, type_: Type) -> Type:
    """The type marked as one that lies in a process's memory, not in the kernel's."""
    return program.typedef_type(f"{spelled(type_)} {_USER}", type_)


def is_user(type_: Type) -> bool:
    """Does this lie in a process's memory?"""
    while type_.kind == TypeKind.TYPEDEF:
        if type_.name.endswith(_USER):
            return True
        type_ = type_.type
    return False


def enumerators_of(type_: Type) -> tuple[tuple[int, str], ...]:
    """The values of an enum with their names, each value's first name; none where it is only declared."""
    names: dict[int, str] = {}
    for enumerator in (type_.enumerators or ()) if type_.is_complete() else ():
        names.setdefault(enumerator.value, enumerator.name)
    return tuple(names.items())


def is_char(type_: Type) -> bool:
    """Is this `char`, however qualified? `u8` and its like are numbers."""
    bare = type_.unqualified()
    while bare.kind == TypeKind.TYPEDEF:
        bare = bare.type.unqualified()
        if bare.kind == TypeKind.INT and bare.name != "char":
            return False
    return bare.kind == TypeKind.INT and bare.name in _CHARACTERS and bare.size == 1


def size_of(type_: Type) -> int | None:
    """The type's size in bytes; None where it has none (void, functions, incomplete types)."""
    try:
        return int(drgn.sizeof(type_))
    except (TypeError, ValueError, LookupError):
        return None


def alignment_of(type_: Type) -> int:
    """The alignment of a parameter's type, as far as calling conventions ask: 16 with a 128-bit integer in it, else 8.

    Only what fits two registers is looked into.
    """
    bare = underlying(type_)
    size = size_of(bare)
    if size != 16:
        return 8
    if bare.kind in _AGGREGATES:
        return max((alignment_of(member.type) for member in bare.members or ()), default=8)
    return alignment_of(bare.type) if bare.kind == TypeKind.ARRAY else 16


def scalars_of(type_: Type) -> tuple[tuple[int, int, bool], ...]:
    """The numbers and pointers in a type that has floating-point numbers, each with its offset, its size, and whether
    it is such a number. None for other types, and for what is larger than registers are.
    """
    size = size_of(type_)
    found = list(_scalars(type_, 0)) if size is not None and size <= _LARGEST_IN_REGISTERS else []
    return tuple(found) if any(is_float for _, _, is_float in found) else ()


def _scalars(type_: Type, start: int) -> Iterator[tuple[int, int, bool]]:
    bare = underlying(type_)
    if bare.kind in _AGGREGATES:
        for member in bare.members or ():
            yield from _scalars(member.type, start + member.bit_offset // 8)
    elif bare.kind == TypeKind.ARRAY:
        size = size_of(bare.type) or 0
        for index in range(bare.length or 0):
            yield from _scalars(bare.type, start + index * size)
    else:
        yield start, size_of(bare) or 0, bare.kind == TypeKind.FLOAT


def is_x87(type_: Type) -> bool:
    """Is this a `long double`, or a struct of one?"""
    bare = underlying(sole_scalar(type_))
    return bare.kind == TypeKind.FLOAT and str(bare.name) == "long double"


def sole_scalar(type_: Type) -> Type:
    """The scalar that a struct or union wraps and nothing else (`atomic_t`, `kuid_t`); other types as they are."""
    inner = type_
    while (bare := underlying(inner)).kind in _AGGREGATES:
        members = list(bare.members or ())
        if len(members) != 1 or members[0].bit_field_size is not None or size_of(members[0].type) != size_of(bare):
            return type_
        inner = members[0].type
    return type_ if bare.kind == TypeKind.ARRAY else inner


def field_of(type_: Type, name: str) -> Field | None:
    """The member of that name, searched through anonymous structs and unions; None where there is none."""
    try:
        member = underlying(type_).member(name)
    except (LookupError, TypeError):
        return None
    return Field(member.type, member.bit_offset, member.bit_field_size)


def member_names(type_: Type) -> list[str]:
    """The names of all members, those of anonymous structs and unions included."""
    names: list[str] = []
    pending = [underlying(type_)]
    while pending and len(names) < 10_000:
        bare = pending.pop()
        for member in (bare.members or ()) if bare.kind in _AGGREGATES else ():
            if member.name:
                names.append(member.name)
            else:
                pending.append(underlying(member.type))
    return names


def parameter_names(function: Type) -> Sequence[str | None]:
    """The names of a function's parameters, in their order."""
    return [parameter.name for parameter in function.parameters]
