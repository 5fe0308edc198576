"""`surftrace -F FUNCTION` and `surftrace -l FILE:LINE`: the kernel's instructions, each at its place for a probe."""

import os
import sys
from functools import partial

from surftrace.api import other_kernel, this_kernel
from surftrace.cli.arguments import UsageError
from surftrace.cli.options import Options
from surftrace.cli.place import parse_place
from surftrace.cli.sources import Sources
from surftrace.compiler.assembly import Assembly, AssemblyLine, SourceLine, function_assembly, line_assembly
from surftrace.compiler.lines import code_of, code_with, needed_code
from surftrace.errors import SurftraceError
from surftrace.kernel.code import Code
from surftrace.kernel.image import Image, NoCodeError, image_of_file
from surftrace.kernel.machine import Machine, machine_named
from surftrace.kernel.target import Target
from surftrace.kernel.types import TypeInfoError
from surftrace.lang.source import CompileError, Diagnostic, Source
from surftrace.lang.syntax import AddressTarget, FunctionTarget, LineTarget
from surftrace.output.color import Paint, Role
from surftrace.output.escape import escape
from surftrace.tracing.memory import KernelMemoryError, running_image


def run(options: Options, paint: Paint) -> int:
    """Print what was asked for; the result is the exit status."""
    machine = machine_named(options.arch or os.uname().machine)
    image, target = _image(options, machine)
    printer = _Printer(Sources(options.source), paint)
    if options.function is not None:
        source, function = _function(options.function)
        printer.function(function_assembly(source, function, image, partial(_code, target), machine), image.origin)
    if options.line is not None:
        source, line = _line(options.line)
        code = code_with(source, line, target) if target is not None else needed_code(source, line.span, None)
        for found in line_assembly(source, line, image, code, machine):
            printer.blocks(found)
    return 0


def _function(text: str) -> tuple[Source, FunctionTarget | AddressTarget]:
    source, target = parse_place("surftrace -F", text)
    if isinstance(target, FunctionTarget) and target.byte_offset:
        raise CompileError([Diagnostic(source, target.span, "-F prints a whole function: leave out the offset")])
    if not isinstance(target, (FunctionTarget, AddressTarget)):
        hints = ("-l takes FILE:LINE",) if isinstance(target, LineTarget) else ()
        raise CompileError([Diagnostic(source, target.span, "-F takes the name of one function", hints)])
    return source, target


def _line(text: str) -> tuple[Source, LineTarget]:
    source, target = parse_place("surftrace -l", text)
    if not isinstance(target, LineTarget):
        hints = ("-F takes a function",)
        raise CompileError([Diagnostic(source, target.span, "-l takes FILE:LINE or FUNCTION:LINE", hints)])
    return source, target


def _image(options: Options, machine: Machine) -> tuple[Image, Target | None]:
    """The code to show, and the kernel whose DWARF tells of it; None where none does."""
    if options.vmlinux is None:
        return _running(machine)
    try:
        return _in_file(options.vmlinux, machine)
    except NoCodeError as error:
        return _running_with(options.vmlinux, machine, error)


def _in_file(vmlinux: str, machine: Machine) -> tuple[Image, Target | None]:
    image = image_of_file(vmlinux, machine)
    return image, other_kernel(vmlinux=image.origin, arch=machine.name) if image.has_dwarf else None


def _running(machine: Machine) -> tuple[Image, Target | None]:
    """The running kernel's code; where its memory cannot be read, that of its file, if that is found."""
    if machine != machine_named(os.uname().machine):
        raise UsageError(f"this machine does not run a kernel for {machine.name}", "name its vmlinux with -v")
    target = this_kernel()
    try:
        return running_image(target.kernel.symbols()), target
    except KernelMemoryError:
        code = _code(target, "")
        if code is None:
            raise
        return image_of_file(code.file.path, machine), target


def _running_with(vmlinux: str, machine: Machine, problem: NoCodeError) -> tuple[Image, Target | None]:
    """The running kernel's code, with the DWARF of a file that has no code of its own, if it is the same kernel's."""
    target = this_kernel(vmlinux=vmlinux)
    try:
        code_of(target.types(), machine)  # which compares the build ids
        image = running_image(target.kernel.symbols())
    except SurftraceError as error:
        raise NoCodeError(problem.message, f"nor is it the running kernel's: {error.message}", *error.hints) from None
    print(f"surftrace: {problem.message}: this is the running kernel's", file=sys.stderr)
    return image, target


def _code(target: Target | None, module: str) -> Code | None:
    try:
        return code_of(target.types(module), target.machine, module) if target is not None else None
    except TypeInfoError:  # there is neither BTF nor DWARF
        return None


class _Printer:
    """Prints functions and lines, each line of source once where it begins."""

    def __init__(self, sources: Sources, paint: Paint) -> None:
        self._sources = sources
        self._paint = paint

    def function(self, found: Assembly, origin: str) -> None:
        """A function, under its name and where its code is from."""
        at = f" at {_path(found.source.file)}:{found.source.line}" if found.source is not None else ""
        note = "" if found.source is not None else "; no DWARF tells its lines"
        title = self._paint(Role.EVENT, escape(f"{found.symbol}{at}"))
        print(title + self._paint(Role.FAINT, escape(f"  ({origin}{note})")))
        self.blocks(found)

    def blocks(self, found: Assembly) -> None:
        """Instructions under their lines of source."""
        if found.source is not None:
            self._sources.required_lines(found.source.file, found.folder)
        width = max((len(f"{line.byte_offset:x}") for block in found.blocks for line in block.lines), default=0)
        last: SourceLine | None = None
        for block in found.blocks:
            if block.source is not None:
                print(self._heading(block.source, found.folder) if block.source != last else "")
            last = block.source
            for line in block.lines:
                # A place that a probe on this line is at is shown as that probe.
                kind = "p " if line.byte_offset in found.places else "  "
                offset = f"{line.byte_offset:#x}".ljust(len("0x") + width)
                place = self._paint(Role.PLACE, escape(f"{found.symbol}+{offset}"))
                print(f"{kind}{place}  {self._instruction(line)}")

    def _heading(self, line: SourceLine, folder: str) -> str:
        place = self._paint(Role.EVENT, escape(f"{_path(line.file)}:{line.line}"))
        name = f"inlined {line.inlined}()" if line.inlined else line.number
        text = self._sources.line(line.file, line.line, folder).strip()
        return "  ".join(filter(None, (place, self._paint(Role.NAME, escape(name)) if name else "", escape(text))))

    def _instruction(self, line: AssemblyLine) -> str:
        if line.register is None:
            return escape(line.text)
        note = f"  <- reg=%{line.register}" if line.register else "  <- indirect"
        return self._paint(Role.WARNING, escape(line.text) + note)


def _path(file: str) -> str:
    return file.removeprefix("./")
