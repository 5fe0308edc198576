"""Script and target in, `Resolved` out: every name found, every type known, every mistake told in one run."""

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from surftrace.activity import doing
from surftrace.btf import BtfError
from surftrace.compiler.contents import resolve_contents
from surftrace.compiler.events import repeated_events, resolve_event
from surftrace.compiler.places import at_each, find_symbol, matches, refusal, unknown_function
from surftrace.compiler.resolved import Resolved, ResolvedProbe
from surftrace.compiler.scope import Locals, Scope, collect, listed
from surftrace.dwarf.debuginfo import is_damage
from surftrace.kernel.symbols import KernelSymbol
from surftrace.kernel.target import Target
from surftrace.kernel.types import KernelTypes
from surftrace.lang.script import Script
from surftrace.lang.source import CompileError, Diagnostic
from surftrace.lang.syntax import (
    AddressTarget,
    EventTarget,
    FunctionTarget,
    Kind,
    LineTarget,
    PatternTarget,
    Probe,
    UserTarget,
)

if TYPE_CHECKING:
    from surftrace.kernel.code import CodePlace

# No function of any kernel comes near.
MAX_FUNCTION_SIZE = 1 << 31


def resolve(script: Script, target: Target, has_guards: bool = True) -> Resolved:
    """What the script means on this kernel. Raises CompileError with all diagnostics of all probes.

    Without guards, numbers that could not be read show and match what an earlier event left behind.
    """
    probes: list[ResolvedProbe] = []
    diagnostics = list(script.errors)
    warnings: list[Diagnostic] = []
    for number, probe in enumerate(script.probes):
        try:
            probes.extend(_Resolver(probe, f"f{number}", target, has_guards, warnings).resolve())
        except CompileError as error:
            collect(error, diagnostics)
        except Exception as error:  # damage that shows only when a type is looked at
            if not isinstance(error, BtfError) and not is_damage(error):
                raise
            message = f"the kernel's type information is damaged: {error}"
            diagnostics.append(Diagnostic(probe.source, probe.target.span, message))
    diagnostics.extend(repeated_events(script))
    if diagnostics:
        raise CompileError(sorted(diagnostics, key=lambda each: (script.sources.index(each.source), each.span.start)))
    return Resolved(tuple(probes), tuple(warnings))


class _Resolver:
    """One probe and its surroundings. `name` is that of its own event in the group."""

    def __init__(self, probe: Probe, name: str, target: Target, has_guards: bool, warnings: list[Diagnostic]) -> None:
        self.probe = probe
        self.name = name
        self.target = target
        self.has_guards = has_guards
        self.warnings = warnings

    def resolve(self) -> Iterable[ResolvedProbe]:
        """The probe; of a glob, one for each match."""
        match self.probe.target:
            case EventTarget() as event:
                return [resolve_event(self.probe, event, self.name, self.target, self.has_guards, self.warnings)]
            case FunctionTarget() as function:
                return [self.function(function)]
            case PatternTarget() as pattern:
                return self.pattern(pattern)
            case AddressTarget() as address:
                return [self.address(address)]
            case LineTarget() as line:
                return self.line(line)
            case UserTarget() as user:
                from surftrace.compiler.programs import resolve_program  # probes on the kernel do without

                return resolve_program(self.probe, user, self.name, self.target, self.has_guards, self.warnings)

    def fail(self, message: str, *hints: str) -> CompileError:
        """The error about the probe's target."""
        return CompileError([Diagnostic(self.probe.source, self.probe.target.span, message, hints)])

    def function(self, function: FunctionTarget) -> ResolvedProbe:
        """A probe on one function."""
        if function.byte_offset >= MAX_FUNCTION_SIZE:
            raise self.fail("no function is that long")
        symbols = self.target.kernel.symbols()
        if symbols is not None:
            symbol, notes = find_symbol(self.probe.source, function, symbols)
            self.warnings.extend(notes)
        else:
            symbol = KernelSymbol(function.name, function.module or self.given_module(function.name), True)
        types = self.target.types(symbol.module)
        if symbols is None and types.function(_plain(symbol.name)) is None:
            self.warnings.append(unknown_function(self.probe.source, function, types))
        if self.probe.kind is Kind.RETURN and function.byte_offset:
            hint = f"write r {function.name}, or p {function.name}+{function.byte_offset:#x}"
            raise self.fail("a return probe watches a whole function, not a place inside it", hint)
        return self.at(symbol, function.byte_offset)

    def given_module(self, name: str) -> str:
        """The module with that function among those whose files were given, where only files tell of the kernel."""
        if not self.target.kernel.modules():
            return ""
        from surftrace.compiler.lines import module_with  # most probes need no DWARF

        return module_with(name, self.target)

    def at(self, symbol: KernelSymbol, byte_offset: int) -> ResolvedProbe:
        """A probe on a symbol that is there."""
        plain_name = _plain(symbol.name)
        if reason := refusal(symbol.name, self.target.kernel):
            raise self.fail(reason)
        # Linux kernel/trace/trace_kprobe.c, trace_kprobe_module_callback: what names its module lives on when that is
        # loaded again.
        module = f"{symbol.module}:" if symbol.module else ""
        place = f"{module}{symbol.name}" + (f"+{byte_offset:#x}" if byte_offset else "")
        return self.resolved(place, self.scope(plain_name, byte_offset, symbol.module, symbol.name))

    def line(self, line: LineTarget) -> list[ResolvedProbe]:
        """A probe at each place where the code of a line begins; those without the variables are left out, and told."""
        if self.probe.kind is Kind.RETURN:
            raise self.fail("a return probe watches a whole function", "name it: r FUNCTION")
        from surftrace.compiler.lines import places_of_line  # most probes need no lines

        places = places_of_line(self.probe.source, line, self.target)

        def at_place(place: "CodePlace", name: str) -> ResolvedProbe:
            return replace(self.at(KernelSymbol(place.symbol, place.module, True), place.byte_offset), name=name)

        return at_each(self.probe, self.name, places, at_place, self.warnings)

    def address(self, address: AddressTarget) -> ResolvedProbe:
        """A probe on an address: which function it is in, and whether at its start, is not looked up."""
        low, high = self.target.machine.kernel_addresses
        if not low <= address.address < high:
            raise self.fail(f"{address.address:#x} is no address of the kernel's", f"they begin at {low:#x}")
        if self.probe.kind is Kind.RETURN:
            raise self.fail("a return probe watches a whole function", "name it: r FUNCTION")
        return self.resolved(f"{address.address:#x}", self.scope(f"{address.address:#x}", 0, ""))

    def pattern(self, pattern: PatternTarget) -> list[ResolvedProbe]:
        """A probe on each function that a glob matches; those that have not the arguments are left out, and counted."""
        symbols, repeated = matches(self.probe.source, pattern, self.target)
        found: list[ResolvedProbe] = []
        errors: dict[str, CompileError] = {}
        notes: list[Diagnostic] = []
        outer, self.warnings = self.warnings, notes
        with doing(f"compiling {len(symbols)} probes") as step:
            for number, symbol in enumerate(symbols):
                step(number, len(symbols))
                try:
                    probe = self.at(symbol, 0)
                except CompileError as error:
                    errors[symbol.name] = error
                else:
                    found.append(replace(probe, name=f"{self.name}_{len(found)}", is_one_of_many=True))
        self.warnings = outer
        self.warnings.extend(dict.fromkeys(notes))
        if not found:
            raise next(iter(errors.values()))
        span = self.probe.target.span
        if repeated:
            message = f"names that several functions have are left out: {listed(repeated, 4)}"
            self.warnings.append(Diagnostic(self.probe.source, span, message, (), "warning"))
        if errors:
            message = f"{len(errors)} of {len(symbols)} functions are left out: {listed(errors, 4)}"
            reason = next(iter(errors.values())).diagnostics[0].message
            self.warnings.append(Diagnostic(self.probe.source, span, message, (f"the first one: {reason}",), "warning"))
        return found

    def locals(self, types: KernelTypes, symbol: str, byte_offset: int, module: str) -> Locals | None:
        """The variables at the place, where DWARF tells of them."""
        if types.debug is None or not types.debug.look() or self.probe.kind is not Kind.ENTRY:
            return None
        from surftrace.compiler.lines import instruction_at  # most probes name parameters alone
        from surftrace.compiler.locals import CodeLocals

        place = instruction_at(symbol, byte_offset, types, self.target.machine, module)
        return CodeLocals(place) if place is not None else None

    def scope(self, function: str, byte_offset: int, module: str, symbol: str = "") -> Scope:
        """What the probe's expressions may name."""
        kernel = self.target.kernel
        types = self.target.types(module)
        return Scope(
            self.probe.source,
            self.probe.kind,
            function,
            byte_offset,
            self.target.machine,
            types,
            kernel.symbols(),
            types.function(function),
            kernel.features,
            locals=(lambda: self.locals(types, symbol, byte_offset, module)) if symbol else lambda: None,
        )

    def resolved(self, place: str, scope: Scope) -> ResolvedProbe:
        """The probe with its arguments and filter."""
        probe = self.probe
        fields, condition = resolve_contents(probe, scope, self.has_guards, self.warnings)
        return ResolvedProbe(probe, self.name, place, fields, condition, scope)


def _plain(name: str) -> str:
    """The name that the source code has for a symbol, without what the compiler put behind it."""
    return re.sub(r"\..*", "", name)
