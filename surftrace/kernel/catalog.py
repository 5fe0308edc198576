"""A kernel in, the functions and trace events out that it has under some names, each as C would declare it."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet

from surftrace.activity import doing
from surftrace.btf import Btf, BtfError
from surftrace.btf.format import Kind
from surftrace.btf.signatures import Signatures
from surftrace.dwarf.errors import DwarfError
from surftrace.kernel.code import open_code
from surftrace.kernel.declarations import declared, spellings, taken_as
from surftrace.kernel.formats import EventField
from surftrace.kernel.machine import Machine
from surftrace.kernel.symbols import Symbols, is_function_name, name_pattern, source_name
from surftrace.kernel.target import Kernel
from surftrace.kernel.types import TypeInfoError
from surftrace.record import record

# What stands for the system of an event where only types tell of it.
NO_SYSTEM = "?"
# Linux include/trace/bpf_probe.h: every tracepoint has a typedef of its function.
_TRACEPOINT = "btf_trace_"
# Linux include/trace/stages/stage7_class_define.h: every event has a variable.
_EVENT_VARIABLE = rb" __event_(\w+)"

IsChosen = Callable[[str, str], bool]


@record
class ListedFunction:
    """A function of the kernel. `declaration` is C's, or the name with `(?)`; `problem` says why no probe takes it."""

    name: str
    module: str
    declaration: str
    problem: str


@record
class ListedEvent:
    """A trace event; `fields` is None where they are not known."""

    system: str
    name: str
    fields: tuple[EventField, ...] | None


@record
class Pattern:
    """What names somebody asks for: `tcp_*`; `sched/*`, an event; `sch_htb:*`, in a module, or events of a system."""

    text: str
    owner: str
    name: str
    is_for_functions: bool

    @classmethod
    def parse(cls, text: str) -> "Pattern":
        """The pattern that somebody wrote."""
        owner, mark, name = text.partition("/") if "/" in text else text.partition(":")
        return cls(text, owner, name, mark != "/") if mark else cls(text, "*", text, True)

    def chooses(self) -> IsChosen:
        """The function that says of a module, or a system, and a name whether the pattern means it."""
        owner, name = name_pattern(self.owner), name_pattern(self.name)
        if self.owner == "*":
            return lambda _, text: name.fullmatch(text) is not None
        return lambda of, text: name.fullmatch(text) is not None and owner.fullmatch(of) is not None


def functions(
    kernel: Kernel, machine: Machine, patterns: Sequence[Pattern], takes: Sequence[frozenset[str]] = ()
) -> list[ListedFunction]:
    """The functions that any of the patterns means, sorted by name.

    `takes`: only those which have for each of these sets a parameter whose type is spelled like one of it. Functions
    without a prototype are named where they can be traced, and where nothing is asked of their parameters.
    """
    symbols = kernel.symbols()
    known = _known(symbols, patterns) if symbols is not None else None
    is_chosen = any_of(patterns)
    found = dict.fromkeys(_declared(kernel, machine, is_chosen, takes))
    problem = _problems(kernel, known)
    listed = [ListedFunction(name, module, text, problem(name)) for name, module, text in found]
    if known is not None and not takes:
        listed += _undeclared(kernel, known, is_chosen, {(name, module) for name, module, _ in found})
    return sorted(listed, key=lambda each: (each.name, each.module, each.declaration))


def any_of(patterns: Sequence[Pattern]) -> IsChosen:
    """The function that says whether any of the patterns means a name."""
    choices = [pattern.chooses() for pattern in patterns]
    return choices[0] if len(choices) == 1 else lambda owner, name: any(each(owner, name) for each in choices)


def _known(symbols: Symbols, patterns: Sequence[Pattern]) -> Mapping[str, Sequence[str]]:
    """The functions among the symbols that patterns may mean, or that were made of what they mean, with their modules.

    All symbols take longer than those of some names, which a search finds.
    """
    globs = dict.fromkeys(glob for pattern in patterns for glob in (pattern.name, f"{pattern.name}.*"))
    if "*" in globs:
        return symbols.functions()
    found: dict[str, dict[str, None]] = {}
    for glob in globs:
        for symbol in symbols.matching(glob):
            found.setdefault(symbol.name, {})[symbol.module] = None
    return {name: tuple(modules) for name, modules in found.items()}


def function_names(kernel: Kernel, machine: Machine) -> Iterator[str]:
    """The names of all functions."""
    for _, btf in kernel.btfs():
        yield from btf.names((Kind.FUNC,))
    yield from (name for _, name in _in_dwarf(kernel, machine))


def wanted(kernel: Kernel, text: str) -> frozenset[str]:
    """The spellings of the parameters that take the type of this C type name. TypeInfoError for what is none."""
    try:
        return taken_as(kernel.types().named(text))
    except TypeInfoError:
        # A module has types of its own; its program is made for this alone.
        for module, _ in kernel.btfs()[1:]:
            try:
                return taken_as(kernel.types(module).named(text))
            except TypeInfoError:
                continue
        raise


def events(kernel: Kernel, is_chosen: IsChosen) -> list[ListedEvent]:
    """The trace events that are chosen by their system and name, sorted by these."""
    found = [tuple(each.split("/", 1)) for each in event_names(kernel)]
    chosen = sorted((system, name) for system, name in found if is_chosen(system, name))
    return [ListedEvent(system, name, event_fields(kernel, system, name)) for system, name in chosen]


def event_names(kernel: Kernel) -> tuple[str, ...]:
    """All trace events, as `system/name`: as the kernel lists them, or else by the types of their tracepoints."""
    names = kernel.event_names()
    if names is not None:
        return names
    typedefs = (name for _, btf in kernel.btfs() for name in btf.names((Kind.TYPEDEF,)))
    found = dict.fromkeys(name.removeprefix(_TRACEPOINT) for name in typedefs if name.startswith(_TRACEPOINT))
    symbols = kernel.symbols()
    if symbols is not None:  # which tell events from tracepoints alone
        named = {each.decode(errors="replace") for each in re.findall(_EVENT_VARIABLE, symbols.text)}
        found = dict.fromkeys(name for name in found if name in named) if named else found
    return tuple(f"{NO_SYSTEM}/{name}" for name in found)


def event_fields(kernel: Kernel, system: str, name: str) -> tuple[EventField, ...] | None:
    """The event's own fields, without those that all events have; None where they are not known."""
    fields = kernel.event_fields(system, name)
    if fields is None:
        fields = kernel.types().event_fields(name)
    return tuple(each for each in fields if not each.name.startswith("common_")) if fields is not None else None


def _declared(
    kernel: Kernel, machine: Machine, is_chosen: IsChosen, takes: Sequence[frozenset[str]]
) -> Iterator[tuple[str, str, str]]:
    """The chosen functions with a prototype: name, module, declaration."""
    yield from _declared_by_dwarf(kernel, machine, is_chosen, takes)
    try:
        yield from _declared_by_btf(kernel.btfs(), is_chosen, takes)
    except BtfError as error:
        raise TypeInfoError(f"the kernel's type information is damaged: {error}") from None


def _declared_by_btf(
    btfs: Sequence[tuple[str, Btf]], is_chosen: IsChosen, takes: Sequence[frozenset[str]]
) -> Iterator[tuple[str, str, str]]:
    kernels: dict[int, Signatures] = {}
    for module, btf in btfs:
        base = kernels.get(id(btf.base)) if btf.base is not None else None
        signatures = kernels[id(btf)] = Signatures(btf, base)
        for name, prototype in signatures.functions():
            if is_chosen(module, name) and all(signatures.takes(prototype, spelled) for spelled in takes):
                yield name, module, signatures.declared(name, prototype)


def _declared_by_dwarf(
    kernel: Kernel, machine: Machine, is_chosen: IsChosen, takes: Sequence[frozenset[str]]
) -> Iterator[tuple[str, str, str]]:
    chosen = [each for each in _in_dwarf(kernel, machine) if is_chosen(*each)]
    if not chosen:
        return
    types = kernel.types()
    with doing(f"reading the types of {len(chosen)} functions from DWARF") as step:
        for number, (module, name) in enumerate(chosen):
            step(number, len(chosen))
            try:
                prototype = types.function(name)
            except DwarfError:  # of a few functions that are no C, drgn reads no parameters
                prototype = None
            if prototype is None and not takes:
                yield name, module, f"{name}(?)"
            if prototype is not None:
                taken = [set(spellings(parameter.type)) for parameter in prototype.parameters]
                if all(any(spelled & each for each in taken) for spelled in takes):
                    yield name, module, declared(prototype, name)


def _in_dwarf(kernel: Kernel, machine: Machine) -> Iterator[tuple[str, str]]:
    """The module and the name of every function in the DWARF that is at hand of what has no BTF."""
    covered = {module for module, _ in kernel.btfs()}
    if covered and covered.issuperset(kernel.modules()):
        return
    debug = kernel.types().debug
    for file in debug.look() if debug is not None else ():
        if file.name not in covered:
            symbols = open_code(file.path, machine, file.name).function_names()
            names = dict.fromkeys(source_name(symbol) for symbol in symbols if is_function_name(symbol))
            yield from ((file.name, name) for name in names)


def _undeclared(
    kernel: Kernel,
    known: Mapping[str, Sequence[str]],
    is_chosen: IsChosen,
    declared_ones: AbstractSet[tuple[str, str]],
) -> Iterator[ListedFunction]:
    """Functions that the symbols have and no type information: those that can be traced."""
    traceable, blacklist = kernel.traceable(), kernel.blacklist()
    for name, modules in known.items():
        is_code = name in traceable if traceable is not None else name[0].isalpha() or name[0] == "_"
        if name in blacklist or not is_code:
            continue
        for module in dict.fromkeys(modules):
            if is_chosen(module, name) and not declared_ones & {(name, module), (source_name(name), module)}:
                yield ListedFunction(name, module, f"{name}(?)", "")


def _problems(kernel: Kernel, known: Mapping[str, Sequence[str]] | None) -> Callable[[str], str]:
    """The function that says why the kernel takes no probe in a function, in few words; see `places.refusal`."""
    traceable, blacklist = kernel.traceable(), kernel.blacklist()
    symbols: dict[str, list[str]] = {}
    for symbol in known or ():
        symbols.setdefault(source_name(symbol), []).append(symbol)

    def problem(name: str) -> str:
        if name in blacklist:
            return "blacklist"
        if known is not None and name not in known and name not in symbols:
            return "no symbol"
        if traceable is None or not traceable.isdisjoint((name, *symbols.get(name, ()))):
            return ""
        return "not traceable"

    return problem


def is_glob(text: str) -> bool:
    """Does it stand for several names?"""
    return re.search(r"[*?\[]", text) is not None
