"""A probe on a function of a program or a library in, the place in its file and what may be read there out."""

import re
from collections.abc import Callable, Iterable

import drgn

from surftrace.btf.program import BtfProgram
from surftrace.compiler.contents import resolve_contents
from surftrace.compiler.resolved import ResolvedProbe
from surftrace.compiler.scope import Scope
from surftrace.kernel.elf import ObjectError
from surftrace.kernel.formats import EventField
from surftrace.kernel.machine import Machine
from surftrace.kernel.objects import PLACES, Places, UserFunction, find_function, find_object
from surftrace.kernel.symbols import Symbols
from surftrace.kernel.target import Target
from surftrace.kernel.types import KernelTypes, Type, TypeInfoError
from surftrace.lang.source import CompileError, Diagnostic, Span
from surftrace.lang.syntax import Kind, Probe, UserTarget
from surftrace.record import record

# Bytes that every instruction starts at a multiple of: others have to be known to begin one.
_INSTRUCTION_SIZES = {"aarch64": 4, "ppc64le": 4, "loongarch64": 4, "riscv64": 2, "s390x": 2}
_FIXED_SIZE = 4


def resolve_program(
    probe: Probe,
    user: UserTarget,
    name: str,
    target: Target,
    has_guards: bool,
    warnings: list[Diagnostic],
    places: Places = PLACES,
) -> ResolvedProbe:
    """The probe on a function of a program or a library. `name` is that of its own event. Raises CompileError."""
    machine = target.machine
    span = Span(user.span.start, user.span.start + len(user.object))
    try:
        path = find_object(user.object, machine, places)
        span = user.span
        function = find_function(path, user.name, machine, places)
    except ObjectError as error:
        raise CompileError([Diagnostic(probe.source, span, error.message, error.hints)]) from None
    except OSError as error:  # no file can have a name that long
        message = f"cannot read {user.object}: {error.strerror}"
        raise CompileError([Diagnostic(probe.source, span, message)]) from None
    notes = [function.note] if function.note else []
    notes.extend(_check_offset(probe, user, function, machine))
    warnings.extend(Diagnostic(probe.source, user.span, note, (), "warning") for note in notes)
    scope = Scope(
        probe.source,
        probe.kind,
        user.name,
        user.byte_offset,
        machine,
        _UserTypes(machine, target.types),
        Symbols(b""),  # none of the kernel's means anything here
        None,
        target.kernel.features,
    )
    fields, condition = resolve_contents(probe, scope, has_guards, warnings)
    place = f"{path}:{function.file_offset + user.byte_offset:#x}"
    return ResolvedProbe(probe, name, place, fields, condition, scope)


def _check_offset(probe: Probe, user: UserTarget, function: UserFunction, machine: Machine) -> list[str]:
    """What to warn of about a place inside a function: the kernel writes its breakpoint there whatever it finds."""
    offset = user.byte_offset
    if not offset:
        return []
    problem = ""
    hints: tuple[str, ...] = ()
    if probe.kind is Kind.USER_RETURN:
        problem = "a return probe watches a whole function, not a place inside it"
        hints = (f"write R {user.object}:{user.name}, or P {user.object}:{user.name}+{offset:#x}",)
    elif function.size and offset >= function.size:
        problem = f"{function.name} has {function.size} bytes: +{offset:#x} is not in it"
    elif offset % _INSTRUCTION_SIZES.get(machine.name, 1):
        problem = f"no instruction of {machine.name} begins at +{offset:#x}"
    if problem:
        raise CompileError([Diagnostic(probe.source, user.span, problem, hints)])
    if _INSTRUCTION_SIZES.get(machine.name) == _FIXED_SIZE:
        return []
    return [f"the program breaks unless an instruction begins at {function.name}+{offset:#x}: objdump -d shows where"]


@record
class _UserTypes:
    """C's own types, which need no kernel; the kernel's, which are read once one of them is asked for."""

    machine: Machine
    kernel_types: Callable[[], KernelTypes]

    @property
    def program(self) -> BtfProgram:
        """The kernel's types as a program."""
        return self.kernel_types().program

    def origin(self) -> str:
        """C's own types, and the kernel's."""
        return "C and the kernel"

    def function(self, name: str) -> Type | None:
        """None: the kernel's functions mean nothing here."""
        return None

    def variable(self, name: str) -> Type | None:
        """None: probes on programs do not read the kernel's."""
        return None

    def defined(self, type_: Type) -> Type:
        """The type as it is."""
        return type_

    def named(self, text: str) -> Type:
        """The type of a C type name; TypeInfoError where neither C nor the kernel has it.

        All that is read is a process's memory: `__user` says nothing, and guards look at such pointers too.
        """
        text = re.sub(r"\b__user\b", "", text)
        try:
            return self._own().named(text)
        except TypeInfoError:
            return self.kernel_types().named(text)

    def enumerator(self, name: str) -> tuple[int, ...]:
        """The values of the kernel's enumerators of this name; none also where its types are not known."""
        try:
            return self.kernel_types().enumerator(name)
        except TypeInfoError:
            return ()

    def enumerators(self) -> Iterable[str]:
        """The names of the kernel's enumerators; none where its types are not known."""
        try:
            return self.kernel_types().enumerators()
        except TypeInfoError:
            return ()

    def of_event_field(self, field: EventField) -> Type:
        """The type of a trace event's field."""
        return self.kernel_types().of_event_field(field)

    def _own(self) -> KernelTypes:
        flags = drgn.PlatformFlags.IS_64_BIT
        if self.machine.byteorder == "little":
            flags |= drgn.PlatformFlags.IS_LITTLE_ENDIAN
        return KernelTypes(BtfProgram(drgn.Program(drgn.Platform(drgn.Architecture.UNKNOWN, flags))))
