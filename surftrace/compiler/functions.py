"""A function's name in, what one asks before it is probed out: its arguments' places, its source, its probes."""

import re
from collections.abc import Iterator

from surftrace.btf.format import Kind as BtfKind
from surftrace.compiler.lines import code_of
from surftrace.compiler.places import refusal
from surftrace.compiler.scope import Scope
from surftrace.kernel.calling import spelled_place
from surftrace.kernel.declarations import declared
from surftrace.kernel.machine import WORD
from surftrace.kernel.symbols import KernelSymbol, source_name
from surftrace.kernel.target import Target
from surftrace.kernel.types import KernelTypes, Type, size_of, spelled
from surftrace.lang.source import Source
from surftrace.lang.syntax import Kind
from surftrace.record import record


@record
class Parameter:
    """A parameter, or the result: its type as C spells it, and where it is, as a probe has it."""

    name: str
    type: str
    where: str


@record
class FunctionFacts:
    """A function. `sources` are FILE:LINE, where DWARF tells.

    `probe` says by what it is probed, or why not: `is_probed` is None where that is not known.
    """

    name: str
    declaration: str
    module: str
    sources: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    probe: str
    is_probed: bool | None


def facts_of(source: Source, name: str, on: Target, module: str | None = None) -> Iterator[FunctionFacts]:
    """The functions of that name, in the kernel and its modules or in one of them; none where there are none."""
    symbols = on.kernel.symbols()
    found: list[KernelSymbol] = []
    if symbols is not None:
        named = [symbol for symbol in symbols.named(name) if symbol.is_code]
        found = [each for each in named or symbols.clones(name) if module in (None, each.module)]
    owners = dict.fromkeys(each.module for each in found) or dict.fromkeys(_declaring(name, on, module))
    for owner in owners:
        types = on.types(owner)
        prototypes = _prototypes(types, source_name(name))
        if not prototypes and not found:
            continue
        own = [symbol for symbol in found if symbol.module == owner]
        probe, is_probed = _probes(name, owner, own, on)
        yield FunctionFacts(
            name,
            "\n".join(dict.fromkeys(f"{declared(each, name)}" for each in prototypes)) or f"{name}(?)",
            owner,
            tuple(_sources([*{symbol.name: None for symbol in own}] or [name], types, on, owner)),
            _parameters(source, name, prototypes[0], types, on) if len(prototypes) == 1 else (),
            probe,
            is_probed,
        )


def _declaring(name: str, on: Target, module: str | None) -> Iterator[str]:
    """The modules that have type information of a function; an empty name for the kernel itself."""
    btfs = on.kernel.btfs()
    yield from (owner for owner, btf in btfs if module in (None, owner) and btf.find(name, (BtfKind.FUNC,)))
    covered = {owner for owner, _ in btfs}
    for owner in ("", *on.kernel.modules()):
        code = code_of(on.types(owner), on.machine, owner) if owner not in covered and module in (None, owner) else None
        if code is not None and code.addresses(name):
            yield owner


def _prototypes(types: KernelTypes, name: str) -> list[Type]:
    """The prototypes that differ: functions of several files may share a name."""
    found = {declared(each, name): each for each in types.program.functions_named(name)}
    if not found and (prototype := types.function(name)) is not None:
        return [prototype]
    return list(found.values())


def _parameters(source: Source, name: str, prototype: Type, types: KernelTypes, on: Target) -> tuple[Parameter, ...]:
    kernel = on.kernel
    scope = Scope(
        source, Kind.ENTRY, name, 0, on.machine, types, kernel.symbols(), prototype, kernel.features
    )  # fmt: skip
    places = zip(prototype.parameters, scope.places(), strict=True)
    found = [
        Parameter(parameter.name or "", spelled(parameter.type), f"%{index} ({spelled_place(place)})")
        for index, (parameter, place) in enumerate(places)
    ]
    if (size := size_of(prototype.type)) is not None:
        where = f"%{on.machine.return_register}" if size <= WORD else "in two registers"
        where = "in memory of the caller's" if scope.has_result_in_memory() else where
        found.append(Parameter("$retval", spelled(prototype.type), where))
    return tuple(found)


def _sources(names: list[str], types: KernelTypes, on: Target, module: str) -> Iterator[str]:
    """Where the function is written, of each that has one of these symbols."""
    code = code_of(types, on.machine, module)
    for name in names if code is not None else ():
        assert code is not None
        for address in code.addresses(name):
            if (function := code.function_at(address)) is not None:
                yield f"{function.file.removeprefix('./')}:{function.line}"


def _probes(name: str, module: str, own: list[KernelSymbol], on: Target) -> tuple[str, bool | None]:
    """The probes of a function, or why there are none; and whether there are any, where that is known."""
    kernel = on.kernel
    place = f"{module}:{name}" if module else name
    probes = f"p {place}, r {place}"
    if not own and kernel.symbols() is not None:
        return "there is no symbol of it: all its calls are inlined, or it is not in this kernel", False
    if len(own) > 1:
        names = sorted({symbol.name for symbol in own})
        symbols = kernel.symbols()
        is_running = symbols is not None and symbols.is_running
        addresses = " or ".join(f"p {symbol.address:#x}" for symbol in own[:4] if symbol.address and is_running)
        if len(names) > 1:
            return f"the compiler made {len(own)} functions of it: name {' or '.join(names[:4])}", None
        return f"{len(own)} functions have this name" + (f": name the address, {addresses}" if addresses else ""), None
    if kernel.traceable() is None and not kernel.blacklist():
        return f"{probes} (not checked: a running kernel's tracefs lists what takes one)", None
    if reason := refusal(own[0].name if own else name, kernel):
        return re.sub(r"^.*? takes no probe: ", "", reason), False
    return probes, True
