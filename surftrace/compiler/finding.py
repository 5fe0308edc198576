"""Patterns and types in, the functions and events of a kernel out that fit them, or what was meant instead."""

import re
from collections.abc import Iterable, Sequence

from surftrace.compiler.places import MAX_PATTERN
from surftrace.kernel.catalog import (
    NO_SYSTEM,
    ListedEvent,
    ListedFunction,
    Pattern,
    any_of,
    event_names,
    events,
    function_names,
    functions,
    is_glob,
    wanted,
)
from surftrace.kernel.target import Target
from surftrace.kernel.types import TypeInfoError
from surftrace.lang.source import CompileError, Diagnostic, Source, Span
from surftrace.names import did_you_mean, nearest
from surftrace.record import record

_COMMAND = "surftrace list"
_ALL = (Pattern.parse("*"),)


@record
class Query:
    """What is looked for: names that fit any of the patterns; functions with a parameter of each of these types."""

    patterns: tuple[str, ...]
    takes: tuple[str, ...]
    has_functions: bool
    has_events: bool


def find(query: Query, on: Target) -> tuple[list[ListedFunction], list[ListedEvent]]:
    """All that fits. CompileError where a pattern fits nothing, or a type is none."""
    patterns = _patterns(query)
    takes = _takes(query, on)
    of_functions = [each for each in patterns if each.is_for_functions] if query.has_functions else []
    found_functions = functions(on.kernel, on.machine, of_functions, takes) if of_functions else []
    of_events = [_without_system(each, on) for each in patterns] if query.has_events else []
    found_events = events(on.kernel, any_of(of_events)) if of_events else []
    _check_found(query, patterns, found_functions, found_events, on)
    return found_functions, found_events


def _patterns(query: Query) -> Sequence[Pattern]:
    diagnostics = []
    for text in query.patterns:
        if len(text) > MAX_PATTERN:
            message = f"the pattern has {len(text)} characters: at most {MAX_PATTERN} are looked for"
            diagnostics.append(_about(text, message))
        elif not query.has_events and not Pattern.parse(text).is_for_functions:
            message = "this is a pattern of events, SYSTEM/NAME, and functions are looked for"
            diagnostics.append(_about(text, message, "a module's functions are MODULE:NAME"))
    if diagnostics:
        raise CompileError(diagnostics)
    return [Pattern.parse(text) for text in query.patterns] or _ALL


def _takes(query: Query, on: Target) -> list[frozenset[str]]:
    found, diagnostics = [], []
    for text in query.takes:
        try:
            found.append(wanted(on.kernel, re.sub(r"\b__user\b", "", text)))
        except TypeInfoError as error:
            source = Source(f"{_COMMAND} --takes", text)
            diagnostics.append(Diagnostic(source, Span(0, len(text)), error.message, error.hints))
    if diagnostics:
        raise CompileError(diagnostics)
    return found


def _without_system(pattern: Pattern, on: Target) -> Pattern:
    """An event's own name is enough where nothing tells of systems."""
    if on.kernel.event_names() is not None or is_glob(pattern.name):
        return pattern
    return Pattern(pattern.text, "*", pattern.name, pattern.is_for_functions)


def _check_found(
    query: Query,
    patterns: Iterable[Pattern],
    found_functions: Sequence[ListedFunction],
    found_events: Sequence[ListedEvent],
    on: Target,
) -> None:
    """CompileError where a pattern has not found anything."""
    diagnostics = []
    for pattern in patterns:
        is_function, is_event = pattern.chooses(), _without_system(pattern, on).chooses()
        is_found = (pattern.is_for_functions and any(is_function(f.module, f.name) for f in found_functions)) or any(
            is_event(event.system, event.name) for event in found_events
        )
        if not is_found:
            diagnostics.append(_unmatched(pattern, query, on))
    if diagnostics:
        raise CompileError(diagnostics)


def _unmatched(pattern: Pattern, query: Query, on: Target) -> Diagnostic:
    what = " and no ".join(_kinds(pattern, query))
    if query.takes:
        takes = " and ".join(f"'{each}'" for each in query.takes)
        called = f" that '{pattern.text}' matches" if query.patterns else ""
        return _about(pattern.text if query.patterns else query.takes[0], f"no function{called} takes {takes}")
    if not pattern.is_for_functions and on.kernel.event_names() is None and not on.kernel.btfs():
        return _about(pattern.text, "no event is known here", "BTF tells of them, or the tracefs of a running kernel")
    is_system_known = on.kernel.event_names() is not None or pattern.owner == "*" or not is_glob(pattern.name)
    if not pattern.is_for_functions and not is_system_known:
        message = "which system an event is of, only the tracefs of a running kernel tells"
        hint = "--events lists those of all" if pattern.name == "*" else f"name the events alone: '*/{pattern.name}'"
        return _about(pattern.text, message, hint)
    if re.search(r"\s|->", pattern.text):
        return _about(pattern.text, "this is no pattern of names", f"of a type: surftrace show '{pattern.text}'")
    verb = "matches" if is_glob(pattern.text) else "is"
    return _about(pattern.text, f"'{pattern.text}' {verb} no {what} of this kernel", *_meant(pattern, query, on))


def _kinds(pattern: Pattern, query: Query) -> list[str]:
    has_functions = query.has_functions and pattern.is_for_functions
    return [*(["function"] if has_functions else []), *(["event"] if query.has_events else [])]


def _meant(pattern: Pattern, query: Query, on: Target) -> tuple[str, ...]:
    """A hint with names that are like this one; of `name_*`, with other beginnings."""
    names: set[str] = set()
    if query.has_functions and not re.search(r"[:/]", pattern.text):
        names.update(function_names(on.kernel, on.machine))
    listed = event_names(on.kernel) if query.has_events else ()
    if on.kernel.event_names() is None:
        listed = tuple(each.replace(NO_SYSTEM, pattern.owner, 1) for each in listed)
    if "/" in pattern.text or ":" in pattern.text:
        names.update(each.replace("/", ":", 1) if ":" in pattern.text else each for each in listed)
        names.update(f"{module}:{pattern.name}" for module, _ in on.kernel.btfs()[1:] if ":" in pattern.text)
    else:
        names.update(each.partition("/")[2] for each in listed)
    start = pattern.text.rstrip("*")
    if not is_glob(pattern.text):
        return did_you_mean(nearest(pattern.text.removeprefix(f"{NO_SYSTEM}/"), names))
    if is_glob(start):
        return ()
    starts = {name[: len(start)] for name in names} - {start}
    swapped = [each for each in starts if sorted(each) == sorted(start)]  # the likeliest slip in few letters
    return did_you_mean(f"{each}*" for each in (sorted(swapped)[:3] or nearest(start, starts)))


def _about(text: str, message: str, *hints: str) -> Diagnostic:
    return Diagnostic(Source(_COMMAND, text), Span(0, len(text)), message, hints)
