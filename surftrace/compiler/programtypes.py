"""The types that a probe on a program may name: the program's by its DWARF, C's own, and the kernel's."""

import re
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import TYPE_CHECKING

import drgn

from surftrace.btf.program import BtfProgram
from surftrace.dwarf.debuginfo import DebugFile, DebugInfo
from surftrace.dwarf.types import Prototype, TypeReader, find_type, has_types
from surftrace.dwarf.units import Function, home_of, number_of
from surftrace.kernel.formats import EventField
from surftrace.kernel.machine import Machine
from surftrace.kernel.types import KernelTypes, Type, TypeInfoError

if TYPE_CHECKING:
    from elftools.dwarf.die import DIE

_KEYWORDS = {
    drgn.TypeKind.STRUCT: ("struct ", "class "),
    drgn.TypeKind.CLASS: ("class ", "struct "),
    drgn.TypeKind.UNION: ("union ",),
    drgn.TypeKind.ENUM: ("enum ",),
    drgn.TypeKind.TYPEDEF: ("",),
}
# DWARF 5, 7.12: DW_LANG_C_plus_plus and its later versions.
_CPP = frozenset((0x0004, 0x001A, 0x0021, 0x002B))


class ProgramTypes:
    """What the unit of the probed function has by a name goes first, then what other units have, then the kernel's.

    `dwarf_path` is the file with the program's DWARF, `function` the probed function in it; None where there is none.
    All that is read is a process's memory: `__user` says nothing, and guards look at such pointers too.
    """

    def __init__(
        self,
        machine: Machine,
        kernel_types: Callable[[], KernelTypes],
        dwarf_path: str | None,
        function: Function | None,
    ) -> None:
        self._machine = machine
        self._kernel_types = kernel_types
        self._path = dwarf_path
        self._function = function

    @property
    def program(self) -> BtfProgram:
        """The program's types as a drgn program."""
        return self._own.program

    def origin(self) -> str:
        """Where the types come from, in words."""
        return f"DWARF of {self._path}, C and the kernel" if self._path is not None else "C and the kernel"

    def prototype(self) -> Prototype | None:
        """That of the probed function; None where its DWARF does not tell."""
        if self._function is None or self._function.is_assembler or not has_types(self._function.die):
            return None
        return self._reader.prototype(self._function.die)

    def function(self, name: str) -> Type | None:
        """None: the kernel's functions mean nothing here."""
        return None

    def variable(self, name: str) -> Type | None:
        """The type of one of the program's variables; None where its DWARF has none of that name."""
        return self._own.variable(name)

    def defined(self, type_: Type) -> Type:
        """The definition of a type that may be only declared; the type itself where there is none."""
        try:
            return self._own.defined(type_)
        except SyntaxError:  # drgn reads no names of templates
            return type_

    def of_thing(self, die: "DIE") -> Type:
        """The type of a variable that DWARF describes; DwarfError where it has none that is known."""
        return self._reader.of_thing(die)

    def named(self, text: str) -> Type:
        """The type of a C type name; TypeInfoError where neither the program, nor C, nor the kernel has it."""
        text = re.sub(r"\b__user\b", "", text)
        try:
            return self._own.named(text)
        except TypeInfoError as error:
            try:
                return self._kernel_types().named(text)
            except TypeInfoError:
                if self._path is None:
                    raise
                message = error.message.replace("this kernel has no", f"neither {self._path} nor the kernel has a")
                raise TypeInfoError(message, *error.hints) from None

    def enumerator(self, name: str) -> tuple[int, ...]:
        """The values of the program's enumerators of this name, else of the kernel's; none where no types are known."""
        try:
            return self._own.enumerator(name) or self._kernel_types().enumerator(name)
        except TypeInfoError:
            return ()

    def named_numbers(self, holder: Type, member: str, type_: Type) -> Type:
        """The type as it is: nothing is known of a program's members."""
        return type_

    def enumerators(self) -> Iterable[str]:
        """The names of the kernel's enumerators; none where its types are not known."""
        try:
            return self._kernel_types().enumerators()
        except TypeInfoError:
            return ()

    def of_event_field(self, field: EventField) -> Type:
        """The type of a trace event's field."""
        return self._kernel_types().of_event_field(field)

    @cached_property
    def _own(self) -> KernelTypes:
        flags = drgn.PlatformFlags.IS_64_BIT
        if self._machine.byteorder == "little":
            flags |= drgn.PlatformFlags.IS_LITTLE_ENDIAN
        prog = drgn.Program(drgn.Platform(drgn.Architecture.UNKNOWN, flags))
        files = (DebugFile(self._path),) if self._path is not None else ()
        if self._function is not None:
            unit = home_of(self._function.die).get_top_DIE()
            if number_of(unit, "DW_AT_language") in _CPP:
                prog.language = drgn.Language.CPP
            prog.register_type_finder("unit", self._find, enable_index=0)
        return KernelTypes(BtfProgram(prog), DebugInfo(prog, lambda: files))

    @cached_property
    def _reader(self) -> TypeReader:
        return TypeReader(self._own.program.prog)

    def _find(self, prog: drgn.Program, kinds: drgn.TypeKindSet, name: str, filename: str | None) -> Type | None:
        """The type finder of drgn's program: what the unit of the function defines."""
        if self._function is None:
            return None
        keywords = tuple(keyword for kind, each in _KEYWORDS.items() if kind in kinds for keyword in each)
        die = find_type(home_of(self._function.die).get_top_DIE(), name, keywords)
        return self._reader.of(die) if die is not None else None
