"""The beginning of a probe in, the words out that its last one may become on this kernel."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from drgn import TypeKind

from surftrace.compiler.arguments import split_letter
from surftrace.compiler.events import event_scope
from surftrace.compiler.expressions import evaluate
from surftrace.compiler.headers import DATA_MEMBERS, HEADERS
from surftrace.compiler.resolve import resolve
from surftrace.compiler.scope import Scope
from surftrace.kernel.catalog import NO_SYSTEM, Pattern, event_names, function_names, functions
from surftrace.kernel.cppnames import demangled
from surftrace.kernel.objects import find_object
from surftrace.kernel.symbols import is_function_name
from surftrace.kernel.target import Target
from surftrace.kernel.types import (
    KernelTypes,
    Type,
    TypeInfoError,
    field_of,
    is_aggregate,
    member_names,
    spelled,
    underlying,
)
from surftrace.kernel.userfunctions import function_names as function_names_of
from surftrace.lang.parse import parse_probe
from surftrace.lang.script import Script
from surftrace.lang.source import Source, Span
from surftrace.lang.syntax import EventTarget, Packet, PatternTarget
from surftrace.record import record

_KINDS = {
    "p": "the entry of a kernel function, or a place inside it",
    "r": "the return of a kernel function",
    "e": "a trace event",
    "P": "the entry of a function of a program or library",
    "R": "the return of such a function",
}
_KEYWORDS = {"struct": TypeKind.STRUCT, "union": TypeKind.UNION, "enum": TypeKind.ENUM}
_NAME = r"[A-Za-z_]\w*"
# What is behind an argument's colon: WORDS in lang/parse.py says it to people.
_FETCH_TYPES = ("char", "string", "symbol", "ustring", *(f"{sign}{bits}" for sign in "sux" for bits in (8, 16, 32, 64)))
_VARIABLES = {
    "comm": "the name of the current task",
    "retval": "what the function returns",
    "stack": "the address of the stack",
}
_COMMON_FIELDS = ("CPU", "COMM", "common_pid")
# What a shell may have special characters in is no name of C, nor of an event.
_PLAIN = re.compile(r"[A-Za-z_][\w.$:/-]* ?")
# So few letters are no search: thousands of names are then told without their declarations.
_MIN_PREFIX = 2


@record
class Choice:
    """What a word may become. `note` says what that is; it is empty where nothing is known."""

    text: str
    note: str = ""


@record
class Choices:
    """What the text may become from `start` on, sorted."""

    start: int
    found: tuple[Choice, ...]


_NOTHING = Choices(0, ())


def complete_probe(text: str, on: Target) -> Choices:
    """The choices at the end of a probe that is being written. SurftraceError where the text so far means nothing."""
    match = re.match(r"\s*(?:(?P<kind>[preRP])\s+(?:(?P<target>\S+)(?P<rest>\s.*)?)?)?", text, re.DOTALL)
    assert match is not None
    kind, target, rest = match["kind"], match["target"] or "", match["rest"]
    if kind is None:
        return _chosen(text, len(text) - len(text.lstrip()), (Choice(f"{key} ", note) for key, note in _KINDS.items()))
    if rest is not None:
        return _in_values(text, match.start("rest"), f"{kind} {target}", on)
    start = len(text) - len(target)
    match kind:
        case "e":
            return _chosen(text, start, complete_event(target, on))
        case "p" | "r":
            return _chosen(text, start, complete_function(target, on))
    program, colon, name = target.partition(":")
    return _chosen(text, start + len(program) + 1, _of_program(program, name, on)) if colon else _NOTHING


def _of_program(program: str, name: str, on: Target) -> Iterator[Choice]:
    """The functions of a program or library that begin so; C++'s by their names in the source."""
    path = find_object(program, on.machine)
    for each in function_names_of(path, on.machine):
        if not each.startswith("_Z"):
            yield Choice(each)
        elif re.findall(r"\w*$", name)[0] in each and (whole := demangled(each)) is not None:
            yield Choice(whole.partition("(")[0], whole)


def complete_function(word: str, on: Target) -> Iterator[Choice]:
    """The functions that take a probe and begin so; a module's where the word begins with it and a colon."""
    module, colon, name = word.rpartition(":")
    if re.search(r"[^\w.$:]", word):
        return
    if len(name) < _MIN_PREFIX and not colon:
        yield from map(Choice, _all_functions(on))
        return
    for each in functions(on.kernel, on.machine, [Pattern.parse(f"{word}*")]):
        if not each.problem:
            yield Choice(f"{module}{colon}{each.name}", each.declaration)


def _all_functions(on: Target) -> Iterable[str]:
    symbols, traceable = on.kernel.symbols(), on.kernel.traceable()
    if traceable is not None:
        return traceable - on.kernel.blacklist()
    if symbols is not None:
        return filter(is_function_name, symbols.function_names())
    return function_names(on.kernel, on.machine)


def complete_event(word: str, on: Target) -> Iterator[Choice]:
    """The events that begin so, or their systems where it does not have one yet. `:` stands for `/` too."""
    system, mark, name = re.fullmatch(r"([^/:]*)([/:]?)(.*)", word, re.DOTALL).groups()  # type: ignore[union-attr] # fits all
    known = [each.partition("/")[::2] for each in event_names(on.kernel)]
    if not mark:
        systems = dict.fromkeys(of for of, _ in known if of != NO_SYSTEM and of.startswith(system))
        if len(systems) != 1:
            yield from (Choice(f"{each}/") for each in systems)
            return
        system, mark = next(iter(systems)), "/"
    yield from (
        Choice(f"{system}{mark}{own}") for of, own in known if of in (system, NO_SYSTEM) and own.startswith(name)
    )


def complete_type(text: str, on: Target, headers_alone: bool = False) -> Choices:
    """The C types that begin as the end of a text does: `struct sk_`, `const struct sk_`, `u6`."""
    match = re.search(rf"(?:\b(?P<keyword>struct|union|enum)\s+)?(?P<name>(?:{_NAME})?)$", text)
    assert match is not None
    start, name, keyword = match.start("name"), match["name"], match["keyword"]
    if headers_alone:
        names: Iterable[str] = HEADERS if keyword == "struct" else ("struct ",)
    elif keyword is not None:
        names = on.types().program.type_names(_KEYWORDS[keyword])
    else:
        keywords = (f"{each} " for each in _KEYWORDS)
        typedefs = on.types().program.type_names(TypeKind.TYPEDEF) if len(name) >= _MIN_PREFIX else ()
        names = (*keywords, *typedefs)
    return _chosen(text, start, map(Choice, names))


def complete_path(text: str, on: Target) -> Choices:
    """The members that `struct sk_buff.dev->na` goes on with. SurftraceError where no type is called so."""
    match = re.fullmatch(rf"\s*(?P<type>(?:(?:struct|union)\s+)?{_NAME})(?P<path>\W.*)?(?:\.|->)(?P<name>\w*)", text)
    if match is None:
        return _NOTHING
    types = on.types()
    type_ = _holder(match["type"], types)
    for name in re.findall(_NAME, match["path"] or ""):
        field = field_of(types.defined(_inner(type_)), name)
        if field is None:
            return _NOTHING
        type_ = field.type
    return _chosen(text, match.start("name"), _members(types.defined(_inner(type_)), match["name"]))


def _holder(text: str, types: KernelTypes) -> Type:
    if " " not in text:
        for keyword in ("struct", "union"):
            try:
                return types.named(f"{keyword} {text}")
            except TypeInfoError:
                continue
    return types.named(text)


def _in_values(text: str, values: int, beginning: str, on: Target) -> Choices:
    """The choices in a value or in the filter; `beginning` is the probe up to them."""
    match = re.search(rf"(?:{_NAME})?$", text)
    assert match is not None
    before, start = text[values : match.start()], match.start()
    if re.sub(r'"[^"]*"', "", before).count('"'):  # a string of the user's own
        return _NOTHING
    cast = re.search(r"(?P<mark>[!@]?)\((?P<type>[\w\s*]*)$", before)
    if cast and (cast["mark"] or re.match(r"\s*(const|struct|union|enum)\s", cast["type"])):
        found = complete_type(cast["type"] + match[0], on, cast["mark"] == "@")
        return Choices(found.start + values + cast.start("type"), found.found)
    if before.endswith(("->", ".")):
        return _chosen(text, start, _after_operator(beginning, before, match[0], on))
    is_filter = re.search(r"\sf:", before) is not None
    if before.endswith("@"):
        symbols = on.kernel.symbols()
        return _chosen(text, start, map(Choice, symbols.variable_names() if symbols is not None else ()))
    if before.endswith("$"):
        return _chosen(text, start, (Choice(*each) for each in _VARIABLES.items()))
    if re.search(r"[\w)\]]:$", before) and not is_filter:
        return _chosen(text, start, map(Choice, _FETCH_TYPES))
    if re.search(r"[%\d[]$", before):
        return _NOTHING
    choices = [*_names(_scope(beginning, on))]
    if is_filter:
        given = re.findall(rf"\s({_NAME})=(?!=)", re.split(r"\sf:", before)[0])
        choices += map(Choice, (*given, *_COMMON_FIELDS))
    elif before[-1:].isspace():
        choices.append(Choice("f:", "the filter"))
    return _chosen(text, start, choices)


def _scope(beginning: str, on: Target) -> Scope:
    """What may be named in the probe that begins so. SurftraceError where there is no such probe."""
    source = Source("probe", beginning)
    probe = parse_probe(source, Span(0, len(beginning)))
    if isinstance(probe.target, EventTarget):
        fields = on.kernel.event_fields(probe.target.system, probe.target.name)
        return event_scope(probe, f"{probe.target.system}/{probe.target.name}", on, fields)
    if isinstance(probe.target, PatternTarget):
        # What it matches has the parameters that are named, or is left out.
        pattern = f"{probe.target.module}:{probe.target.pattern}" if probe.target.module else probe.target.pattern
        found = functions(on.kernel, on.machine, [Pattern.parse(pattern)])
        name = next((f"{each.module}:{each.name}".lstrip(":") for each in found if not each.problem), "")
        return _scope(f"{probe.kind.value} {name}", on)
    scope = resolve(Script((probe,), (), (source,)), on, has_guards=False).probes[0].scope
    assert scope is not None
    return scope


def _names(scope: Scope) -> Iterator[Choice]:
    """The fields of the event, or the parameters, and the variables in scope at the place."""
    if scope.event_fields is not None:
        yield from (Choice(field.name, field.type) for field in scope.event_fields.values())
        return
    parameters = scope.prototype.parameters if scope.prototype is not None else ()
    yield from (Choice(each.name, spelled(each.type)) for each in parameters if each.name)
    if (known := scope.locals()) is not None:
        yield from map(Choice, known.names())


def _after_operator(beginning: str, before: str, name: str, on: Target) -> Iterable[Choice]:
    """The members of the value that `before` ends with, before its operator: none where that one does not fit it."""
    is_arrow = before.endswith("->")
    before = before[: -2 if is_arrow else -1]
    text = f"{beginning} {before[_start_of_operand(before) :]}"
    source = Source("probe", text)
    scope = replace(_scope(beginning, on), source=source)
    written = parse_probe(source, Span(0, len(text))).arguments
    if len(written) != 1:
        return ()
    expr = split_letter(written[0], scope)[1]
    is_packet = isinstance(expr, Packet)
    type_ = scope.type_named(expr.type) if isinstance(expr, Packet) else evaluate(expr, scope).type
    if type_ is None or (underlying(type_).kind == TypeKind.POINTER) != is_arrow:
        return ()
    members = _members(scope.types.defined(_inner(type_)), name)
    return (*members, *map(Choice, DATA_MEMBERS)) if is_packet else members


def _start_of_operand(text: str) -> int:
    """Where the value begins that a text ends with: back over names, members, brackets and a cast before them."""
    at = len(text)
    while at:
        if text[at - 1] in ")]":
            at = _opening(text, at)
            while at and text[at - 1] in "!@":
                at -= 1
        elif text.endswith("->", 0, at):
            at -= 2
        elif re.match(r"[\w.%$@]", text[at - 1]):
            at -= 1
        else:
            break
    return at


def _opening(text: str, end: int) -> int:
    """Where the bracket stands that the one before `end` closes; the text's start where none does."""
    depth = 0
    for at in range(end - 1, -1, -1):
        depth += (text[at] in ")]") - (text[at] in "([")
        if not depth:
            return at
    return 0


def _inner(type_: Type) -> Type:
    """What a pointer points to, what an array is of; other types as they are."""
    bare = underlying(type_)
    while bare.kind in (TypeKind.POINTER, TypeKind.ARRAY):
        bare = underlying(bare.type)
    return bare


def _members(holder: Type, name: str) -> Iterator[Choice]:
    if not is_aggregate(holder):
        return
    for each in member_names(holder):
        if each.startswith(name) and (field := field_of(holder, each)) is not None:
            yield Choice(each, spelled(field.type))


def _chosen(text: str, start: int, choices: Iterable[Choice]) -> Choices:
    """The choices that begin as the text does from `start` on, each once. What is no plain word is never offered."""
    written = text[start:]
    found = {each.text: each for each in choices if each.text.startswith(written) and _PLAIN.fullmatch(each.text)}
    return Choices(start, tuple(sorted(found.values(), key=lambda each: each.text)))
