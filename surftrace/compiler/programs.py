"""A probe on a function of a program or a library in, the place in its file and what may be read there out."""

from surftrace.compiler.contents import resolve_contents
from surftrace.compiler.locals import Instruction
from surftrace.compiler.places import at_each
from surftrace.compiler.programcode import ProgramCode
from surftrace.compiler.programtypes import ProgramTypes
from surftrace.compiler.resolved import ResolvedProbe
from surftrace.compiler.scope import Scope
from surftrace.dwarf.units import Function
from surftrace.errors import SurftraceError
from surftrace.kernel.code import Code, CodePlace, open_code
from surftrace.kernel.cppnames import demangled
from surftrace.kernel.machine import Machine
from surftrace.kernel.objects import PLACES, Places, find_object
from surftrace.kernel.symbols import Symbols
from surftrace.kernel.target import Target
from surftrace.kernel.userfunctions import UserFunction, dwarf_of, find_function, function_at
from surftrace.lang.source import CompileError, Diagnostic, Span
from surftrace.lang.syntax import Kind, LineTarget, Probe, UserTarget

# Bytes that every instruction starts at a multiple of: others have to be known to begin one.
_INSTRUCTION_SIZES = {"aarch64": 4, "ppc64le": 4, "loongarch64": 4, "riscv64": 2, "s390x": 2}
_FIXED_SIZE = 4
_SPLIT = "surftrace reads no .dwo files: compile it without -gsplit-dwarf"


def resolve_program(
    probe: Probe,
    user: UserTarget,
    name: str,
    target: Target,
    has_guards: bool,
    warnings: list[Diagnostic],
    places: Places = PLACES,
) -> list[ResolvedProbe]:
    """The probe on a function of a program or a library; on a line of its source, one for each place of it.

    `name` is that of its own event. Raises CompileError.
    """
    machine = target.machine
    span = Span(user.span.start, user.span.start + len(user.object))
    try:
        path = find_object(user.object, machine, places)
        span = user.span
        resolver = _Resolver(probe, user, path, target, has_guards, warnings, places)
        if user.line is not None:
            return resolver.line(user.line, name)
        function = find_function(path, user.name, machine, places)
        resolver.warn(*([function.note] if function.note else []), *_check_offset(probe, user, function, machine))
        return [resolver.at(function, user.byte_offset, name)]
    except CompileError:
        raise
    except SurftraceError as error:
        raise CompileError([Diagnostic(probe.source, span, error.message, error.hints)]) from None
    except UnicodeDecodeError as error:  # drgn reads a damaged name once it is asked for
        message = f"the DWARF of {path} is damaged: {error.reason} in a name"
        raise CompileError([Diagnostic(probe.source, span, message)]) from None
    except OSError as error:  # no file can have a name that long
        message = f"cannot read {user.object}: {error.strerror}"
        raise CompileError([Diagnostic(probe.source, span, message)]) from None


class _Resolver:
    """One probe, and the program at `path` that it is on."""

    def __init__(
        self,
        probe: Probe,
        user: UserTarget,
        path: str,
        target: Target,
        has_guards: bool,
        warnings: list[Diagnostic],
        places: Places,
    ) -> None:
        self.probe = probe
        self.user = user
        self.path = path
        self.target = target
        self.has_guards = has_guards
        self.warnings = warnings
        self.places = places

    def warn(self, *messages: str, hints: tuple[str, ...] = ()) -> None:
        """Note warnings about the probe's target."""
        for message in messages:
            self.warnings.append(Diagnostic(self.probe.source, self.user.span, message, hints, "warning"))

    def line(self, line: int, name: str) -> list[ResolvedProbe]:
        """A probe at each place where the code of a line begins."""
        source, span = self.probe.source, self.user.span
        if self.probe.kind is Kind.USER_RETURN:
            hint = f"name it: R {self.user.object}:FUNCTION"
            raise CompileError([Diagnostic(source, span, "a return probe watches a whole function", (hint,))])
        from surftrace.compiler.lines import is_source_file, places_in_code  # most probes need no lines

        code = self.code()
        if code is None:
            hint = "compile it with -g, or install its debug symbols"
            raise CompileError([Diagnostic(source, span, f"lines need DWARF, and {self.path} has none", (hint,))])
        if split := code.split_file():
            raise CompileError([Diagnostic(source, span, f"what DWARF tells of {self.path} is in {split}", (_SPLIT,))])
        named = self.user.name
        if not is_source_file(named):
            named = find_function(self.path, named, self.target.machine, self.places).name
        found = places_in_code(source, LineTarget(named, line, span), code)
        return at_each(self.probe, name, found, self.at_place, self.warnings)

    def code(self) -> Code | None:
        """The program's code as its DWARF tells of it; None where it has none."""
        path = dwarf_of(self.path, self.target.machine, self.places)
        return open_code(path, self.target.machine, program=self.path) if path is not None else None

    def at_place(self, place: CodePlace, name: str) -> ResolvedProbe:
        """A probe where the code of a line begins."""
        function = function_at(self.path, place.symbol, place.start, self.target.machine)
        return self.at(function, place.byte_offset, name)

    def at(self, function: UserFunction, byte_offset: int, name: str) -> ResolvedProbe:
        """A probe at a place in a function."""
        known = len(self.warnings)
        scope = self.scope(function, byte_offset)
        notes = self.warnings[known:]
        try:
            fields, condition = resolve_contents(self.probe, scope, self.has_guards, self.warnings)
        except CompileError as error:  # what is wrong with the DWARF explains what is not known
            raise CompileError([*notes, *error.diagnostics]) from None
        place = f"{self.path}:{function.file_offset + byte_offset:#x}"
        return ResolvedProbe(self.probe, name, place, fields, condition, scope)

    def scope(self, function: UserFunction, byte_offset: int) -> Scope:
        """What the probe's expressions may name."""
        machine = self.target.machine
        code, described = self.described(function)
        dwarf_path = code.file.path if code is not None else None
        types = ProgramTypes(machine, self.target.types, dwarf_path, described)
        prototype = None
        try:
            prototype = types.prototype()
        except SurftraceError as error:
            self.warn(f"the parameters of {function.name} are not known: {error.message}", hints=error.hints)
        place = None
        if code is not None and described is not None:
            place = Instruction(code, described, function.name, function.address, byte_offset)
        program = ProgramCode(function, machine, self.places, prototype, place)
        return Scope(
            self.probe.source,
            self.probe.kind,
            demangled(function.name),
            byte_offset,
            machine,
            types,
            Symbols(b""),  # none of the kernel's means anything here
            prototype.type if prototype is not None else None,
            self.target.kernel.features,
            locals=program.locals,
            program=program,
        )

    def described(self, function: UserFunction) -> tuple[Code | None, Function | None]:
        """The program's code and the function in it, as far as DWARF tells; damaged DWARF is as none, and told."""
        try:
            code = self.code()
            found = code.function_at(function.address) if code is not None else None
            if code is not None and found is None and (split := code.split_file(function.address)):
                self.warn(f"what DWARF tells of {function.name} is in {split}", hints=(_SPLIT,))
            return code, found
        except SurftraceError as error:  # most of what can be asked needs none of it
            self.warn(error.message, hints=error.hints)
            return None, None


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
