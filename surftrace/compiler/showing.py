"""A name in, all that a kernel has under it out: types and members, functions, events, variables, enumerators."""

import re
from collections.abc import Sequence

from surftrace.btf import BtfError
from surftrace.btf.format import Kind as BtfKind
from surftrace.compiler.functions import FunctionFacts, facts_of
from surftrace.compiler.members import MemberStep, member_steps
from surftrace.dwarf.debuginfo import is_damage
from surftrace.kernel.catalog import NO_SYSTEM, event_fields, event_names, function_names
from surftrace.kernel.declarations import declared
from surftrace.kernel.formats import EventField
from surftrace.kernel.layout import LayoutLine, layout
from surftrace.kernel.target import Target
from surftrace.kernel.types import KernelTypes, Type, TypeInfoError, spelled
from surftrace.lang.source import CompileError, Diagnostic, Source, Span
from surftrace.names import did_you_mean, nearest
from surftrace.record import record

_COMMAND = "surftrace show"
_KEYWORDS = ("struct", "union", "enum")
_PATH = re.compile(r"\s*((?:(?:struct|union)\s+)?[A-Za-z_]\w*)\s*(?=\.|->)")
_TYPE_KINDS = (BtfKind.STRUCT, BtfKind.UNION, BtfKind.ENUM, BtfKind.ENUM64, BtfKind.TYPEDEF, BtfKind.INT)


@record
class ShownType:
    """A type's definition."""

    lines: tuple[LayoutLine, ...]


@record
class ShownMember:
    """The members on the way to one, the last of them what was asked for."""

    steps: tuple[MemberStep, ...]


@record
class ShownEvent:
    """A trace event; `fields` is None where they are not known."""

    system: str
    name: str
    fields: tuple[EventField, ...] | None


@record
class ShownName:
    """A variable, or a value of an enum: its declaration, and what it is."""

    declaration: str
    note: str


Shown = ShownType | ShownMember | FunctionFacts | ShownEvent | ShownName


def show(text: str, on: Target, depth: int = 1) -> list[Shown]:
    """All that a text names. CompileError where that is nothing."""
    try:
        return _Shower(Source(_COMMAND, text), on, depth).shown()
    except Exception as error:  # damage that shows only when a type is looked at
        if not isinstance(error, BtfError) and not is_damage(error):
            raise
        raise TypeInfoError(f"the kernel's type information is damaged: {error}") from None


class _Shower:
    def __init__(self, source: Source, on: Target, depth: int) -> None:
        self._source = source
        self._on = on
        self._kernel = on.kernel
        self._depth = depth

    def fail(self, message: str, *hints: str) -> CompileError:
        """The error about the whole text."""
        return CompileError([Diagnostic(self._source, Span(0, len(self._source.text)), message, hints)])

    def shown(self) -> list[Shown]:
        """What the text names."""
        text = self._source.text.strip()
        if not text:
            raise self.fail("name what is to be shown", "such as sk_buff, 'struct sk_buff.dev', ip_output")
        if path := _PATH.match(self._source.text):
            type_, types = self._holder(path[1])
            return [ShownMember(member_steps(self._source, path.end(), types, type_))]
        if owned := re.fullmatch(r"([^/:\s]+)([/:])([^/:\s]+)", text):
            return self._owned(*owned.groups())
        if re.fullmatch(r"[A-Za-z_][\w.]*", text):
            return self._everything(text)
        return [self._type(*self._named(text))]

    def _owned(self, owner: str, mark: str, name: str) -> list[Shown]:
        """`SYSTEM/NAME`, `SYSTEM:NAME`, `MODULE:NAME`."""
        found: list[Shown] = [*self._events(name, owner)]
        if mark == ":":
            found += facts_of(self._source, name, self._on, owner)
        if found:
            return found
        modules = [module for module, _ in self._kernel.btfs()[1:]]
        if mark == ":" and owner in modules:
            names = (each for module, btf in self._kernel.btfs() if module == owner for each in btf.names(_FUNCTION))
            hints = did_you_mean(f"{owner}:{each}" for each in nearest(name, names))
            raise self.fail(f"the module {owner} has no function '{name}'", *hints)
        if re.fullmatch(r"[0-9]+", name):
            raise self.fail(f"this is a line of {owner}", f"what is in scope there: surftrace vars {owner}:{name}")
        events = [each.replace(NO_SYSTEM, owner, 1).replace("/", mark) for each in event_names(self._kernel)]
        hints = did_you_mean(nearest(f"{owner}{mark}{name}", events))
        raise self.fail(f"this kernel has no event '{owner}{mark}{name}'", *hints)

    def _everything(self, name: str) -> list[Shown]:
        found: list[Shown] = [*self._types(name), *facts_of(self._source, name, self._on), *self._events(name)]
        found += self._enumerators(name)
        if not found or self._is_variable(name):
            found += self._variables(name)
        if not found:  # what BTF lacks, DWARF may have
            types = self._kernel.types()
            found += [self._type(type_, types) for type_ in _of_dwarf(name, types)]
        if not found:
            raise self.fail(f"this kernel has nothing called '{name}'", *did_you_mean(self._like(name)))
        return found

    def _like(self, name: str) -> list[str]:
        """Names of anything that are like this one."""
        names = set(function_names(self._kernel, self._on.machine))
        for _, btf in self._kernel.btfs():
            names.update(btf.names(_TYPE_KINDS))
        names.update(each.partition("/")[2] for each in event_names(self._kernel))
        return nearest(name, names)

    def _type(self, type_: Type, types: KernelTypes) -> ShownType:
        return ShownType(tuple(layout(types, type_, self._depth)))

    def _named(self, text: str) -> tuple[Type, KernelTypes]:
        """The type of a C type name, in the kernel or in a module."""
        kernel_types = self._kernel.types()
        try:
            return kernel_types.named(text), kernel_types
        except TypeInfoError as error:
            for types in self._modules_with(re.findall(r"\w+", text)[-1:]):
                if (type_ := _found(types, text)) is not None:
                    return type_, types
            if re.fullmatch(r"\S+[*?\[]\S*", text):
                raise self.fail("this is a pattern, no name", f"surftrace list '{text}' prints what fits it") from None
            raise self.fail(error.message, *error.hints) from None

    def _holder(self, text: str) -> tuple[Type, KernelTypes]:
        """The struct or union whose members a path begins with, be it called by its tag alone."""
        for types in (self._kernel.types(), *self._modules_with([text])):
            for spelling in (text, f"struct {text}", f"union {text}") if len(text.split()) == 1 else ():
                if (type_ := _found(types, spelling)) is not None:
                    return type_, types
        return self._named(text if len(text.split()) > 1 else f"struct {text}")

    def _modules_with(self, names: Sequence[str]) -> list[KernelTypes]:
        """The types of the modules that have one of these names."""
        return [
            self._kernel.types(module)
            for module, btf in self._kernel.btfs()
            if module and any(btf.find(name, _TYPE_KINDS) for name in names)
        ]

    def _types(self, name: str) -> list[Shown]:
        """The types called so, by their tag or by a typedef."""
        found: dict[str, Shown] = {}
        for types in (self._kernel.types(), *self._modules_with([name])):
            for text in (*(f"{keyword} {name}" for keyword in _KEYWORDS), name):
                type_ = _found(types, text)
                if type_ is None or text in found:
                    continue
                if type_.kind.name == "TYPEDEF":  # `typedef struct page page;` shows the struct as well
                    found.pop(spelled(type_.type), None)
                found[text] = self._type(type_, types)
        return list(found.values())

    def _events(self, name: str, system: str = "") -> list[Shown]:
        """The events of that name; of a system, where systems are known."""
        has_systems = self._kernel.event_names() is not None
        found = (each.partition("/") for each in event_names(self._kernel))
        return [
            ShownEvent(of, own, event_fields(self._kernel, of, own))
            for of, _, own in found
            if own == name and (not system or of == system or not has_systems)
        ]

    def _enumerators(self, name: str) -> list[Shown]:
        found = []
        for enum in self._kernel.types().program.enums_with(name):
            of = f"a value of enum {enum.tag}" if enum.tag else "a value of an enum without a name"
            values = (each.value for each in enum.enumerators or () if each.name == name)
            found += [ShownName(f"{name} = {value}", of) for value in values]
        return list(dict.fromkeys(found))

    def _is_variable(self, name: str) -> bool:
        symbols = self._kernel.symbols()
        return symbols is not None and any(not symbol.is_code for symbol in symbols.named(name))

    def _variables(self, name: str) -> list[Shown]:
        types = self._kernel.types()
        type_ = types.program.variable(name) or types.variable(name)
        if type_ is not None:
            return [ShownName(declared(type_, name), f"a variable: @{name}")]
        note = f"a variable: @{name}, 64 bits unless it is cast; what type it has, only DWARF tells"
        return [ShownName(name, note)] if self._is_variable(name) else []


_FUNCTION = (BtfKind.FUNC,)


def _found(types: KernelTypes, text: str) -> Type | None:
    """The type of a C type name where BTF, or else all that there is, has it."""
    try:
        return types.program.prog.type(text)
    except (LookupError, SyntaxError, ValueError, OverflowError):
        return None


def _of_dwarf(name: str, types: KernelTypes) -> list[Type]:
    if types.debug is None:
        return []
    found = (types.debug.type(text) for text in (*(f"{keyword} {name}" for keyword in _KEYWORDS), name))
    return [type_ for type_ in found if type_ is not None]
