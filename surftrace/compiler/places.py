"""The name of a function in, the kernel's symbol for it out: renamed by the compiler, twice there, or not at all."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TypeVar

from surftrace.compiler.lookup import where_functions
from surftrace.compiler.resolved import ResolvedProbe
from surftrace.compiler.scope import Types, listed
from surftrace.kernel.features import Feature, Features
from surftrace.kernel.symbols import KernelSymbol, Symbols
from surftrace.kernel.target import Kernel, Target
from surftrace.kernel.types import KernelTypes
from surftrace.lang.source import CompileError, Diagnostic, Source
from surftrace.lang.syntax import FunctionTarget, PatternTarget, Probe
from surftrace.names import did_you_mean, nearest

_Place = TypeVar("_Place")

# No name of a kernel has a quarter of it: Linux include/linux/kallsyms.h, KSYM_NAME_LEN.
MAX_PATTERN = 2048
# A glob that matches more is a mistake; each probe costs the kernel milliseconds.
MAX_MATCHES = 1000


def find_symbol(source: Source, function: FunctionTarget, symbols: Symbols) -> tuple[KernelSymbol, list[Diagnostic]]:
    """The one symbol that a function's name means, and a note where it is not the name that was written."""
    named = symbols.named(function.name)
    found = [symbol for symbol in named if symbol.is_code and function.module in ("", symbol.module)]
    if len(found) == 1:
        return found[0], []
    if found:
        raise _ambiguous(source, function, found, symbols.is_running)
    clones = [clone for clone in symbols.clones(function.name) if function.module in ("", clone.module)]
    if len(clones) == 1:
        message = f"the compiler renamed {function.name}: tracing {clones[0].name}"
        return clones[0], [Diagnostic(source, function.name_span, message, (), "warning")]
    if clones:
        message = f"the compiler made {len(clones)} functions of {function.name}"
        hint = f"name one of {listed(clone.name for clone in clones)}"
        raise CompileError([Diagnostic(source, function.name_span, message, (hint,))])
    if function.module:
        return _in_module(source, function, symbols)
    hints = did_you_mean(nearest(function.name, symbols.function_names()))
    message = f"this kernel has no function '{function.name}'"
    if named:
        message = f"'{function.name}' is a variable, not a function"
    else:
        hints += where_functions(function.name, symbols)
    raise CompileError([Diagnostic(source, function.name_span, message, hints)])


def _ambiguous(source: Source, function: FunctionTarget, found: list[KernelSymbol], is_running: bool) -> CompileError:
    where = listed(dict.fromkeys(symbol.module or "the kernel itself" for symbol in found))
    message = f"{len(found)} functions have the name {function.name} (in {where}): which one is not clear"
    modules = sorted({symbol.module for symbol in found if symbol.module})
    addresses = [f"p {symbol.address:#x}" for symbol in found if symbol.address and not symbol.module]
    hints = [f"name the module: {' or '.join(f'{module}:{function.name}' for module in modules)}"] if modules else []
    if addresses and is_running:
        hints.append(f"name the address: {' or '.join(addresses[:4])}")
    return CompileError([Diagnostic(source, function.name_span, message, tuple(hints))])


def _in_module(source: Source, function: FunctionTarget, symbols: Symbols) -> tuple[KernelSymbol, list[Diagnostic]]:
    """A function of a module: of one that is not loaded, it is traced from when it is."""
    if symbols.has_module(function.module):
        elsewhere = [symbol.module or "the kernel itself" for symbol in symbols.named(function.name)]
        hints = (f"it is in {listed(elsewhere)}",) if elsewhere else ()
        message = f"the module {function.module} has no function '{function.name}'"
        raise CompileError([Diagnostic(source, function.name_span, message, hints)])
    message = f"no module {function.module} is loaded: {function.name} is traced once it is"
    note = Diagnostic(source, function.span, message, (), "warning")
    return KernelSymbol(function.name, function.module, True), [note]


def unknown_function(source: Source, function: FunctionTarget, types: KernelTypes) -> Diagnostic:
    """The warning for a function that the type information does not have, where nothing else lists functions."""
    hints = did_you_mean(nearest(function.name, types.function_names()))
    message = f"the type information has no function '{function.name}'"
    return Diagnostic(source, function.name_span, message, hints, "warning")


def refusal(name: str, kernel: Kernel) -> str:
    """Why the kernel takes no probe in a function, as far as its lists say."""
    if name in kernel.blacklist():
        return f"{name} takes no probe: it is on the kernel's blacklist, as kprobes themselves need it"
    traceable, symbols = kernel.traceable(), kernel.symbols()
    # Linux kernel/trace/trace_kprobe.c, within_notrace_func: a clone (foo.cold) goes by what it was made of, too.
    if traceable is None or {name, name.partition(".")[0]} & traceable or symbols is None or not symbols.named(name):
        return ""
    return f"{name} takes no probe: the kernel does not let itself trace it (notrace, or tracing's own code)"


def compared_function(name: str, symbols: Symbols | None, types: Types, features: Features) -> int | str | None:
    """What a filter compares a pointer with for a function's name: the name, else the address; None for no function.

    ValueError where this kernel can compare with neither.
    """
    found = symbols.named(name) if symbols is not None else []
    if not found and (symbols is not None or types.function(name) is None):
        return None
    if len({symbol.address for symbol in found}) > 1:
        raise ValueError(f"this kernel has {len(found)} functions '{name}': write the address of the one you mean")
    if features.has(Feature.FUNCTION_FILTER):
        return name
    if not found or not found[0].address or symbols is None or not symbols.is_running:
        raise ValueError(features.lacking(Feature.FUNCTION_FILTER))
    return found[0].address


def matches(source: Source, target: PatternTarget, on: Target) -> tuple[tuple[KernelSymbol, ...], tuple[str, ...]]:
    """The functions that a glob means and that can be traced; and the names among them that are not one's alone."""
    if len(target.pattern) > MAX_PATTERN:
        message = f"the pattern has {len(target.pattern)} characters: at most {MAX_PATTERN} are looked for"
        raise CompileError([Diagnostic(source, target.span, message)])
    symbols, traceable = on.kernel.symbols(), on.kernel.traceable()
    if symbols is None and target.module:
        message = f"the functions of the module {target.module} are not known here"
        hint = "give the symbols of its kernel, a copy of /proc/kallsyms, with --symbols"
        raise CompileError([Diagnostic(source, target.span, message, (hint,))])
    if symbols is None:
        names = on.types(target.module).function_names()
        symbols = Symbols("".join(f"0 T {name}\n" for name in names).encode(errors="surrogateescape"))
        found = symbols.matching(target.pattern)
    else:
        found = [symbol for symbol in symbols.matching(target.pattern) if target.module in ("", symbol.module)]
    count = Counter(symbol.name for symbol in found)
    known = sorted((symbol for symbol in found if traceable is None or symbol.name in traceable), key=lambda s: s.name)
    chosen = tuple(symbol for symbol in known if count[symbol.name] == 1)
    repeated = tuple(dict.fromkeys(symbol.name for symbol in known if count[symbol.name] > 1))
    if not chosen:
        what = "no function" if not found else "no function that can be traced" if not known else "no name of one alone"
        raise CompileError([Diagnostic(source, target.span, f"'{target.pattern}' matches {what} of this kernel")])
    if len(chosen) > MAX_MATCHES:
        message = f"'{target.pattern}' matches {len(chosen)} functions: at most {MAX_MATCHES} are traced at once"
        raise CompileError([Diagnostic(source, target.span, message)])
    return chosen, repeated


def at_each(
    probe: Probe,
    name: str,
    places: Sequence[_Place],
    make: Callable[[_Place, str], ResolvedProbe],
    warnings: list[Diagnostic],
) -> list[ResolvedProbe]:
    """A probe at each of several places of one line; those that lack what is asked for are left out, and told.

    `make` gives the probe at a place under the name of its own event. CompileError where no place has all.
    """
    if len(places) == 1:
        return [make(places[0], name)]
    found: list[ResolvedProbe] = []
    errors: list[tuple[str, CompileError]] = []
    for place in places:
        try:
            found.append(make(place, f"{name}_{len(found)}"))
        except CompileError as error:
            errors.append((str(place), error))
    if not found:
        raise errors[0][1]
    if errors:
        left_out = listed(text for text, _ in errors)
        message = f"{len(errors)} of {len(places)} places of this line are left out: {left_out}"
        hint = f"the first one: {errors[0][1].diagnostics[0].message}"
        warnings.append(Diagnostic(probe.source, probe.target.span, message, (hint,), "warning"))
    return found
