"""Guards: a read that faults leaves in its place what an earlier event left there, so that its pointers are looked at.

Every pointer that a chain of reads goes through is fetched as a hidden field of its own. Where one is null, or no
address of the kernel's, the value was not read: it shows as a fault, and no comparison with it holds, nor its negation.
(Linux kernel/trace/trace_probe_tmpl.h, process_fetch_insn_bottom: a failed read returns, and nothing is stored.)
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

from surftrace.compiler.fetch import Fetch
from surftrace.compiler.resolved import AllOf, AnyOf, Condition, Field, NoneOf, Test
from surftrace.lang.source import Span
from surftrace.lang.syntax import Comparison

# Comparisons that hold where a value was read.
Guard: TypeAlias = tuple[Test, ...]

# What the kernel's filter sees in place of a string that could not be read.
UNREAD = "<fault>"

# What always points to memory.
_STACK = ("$stack", "%sp")

_OPPOSITES = {
    Comparison.EQUAL: Comparison.NOT_EQUAL,
    Comparison.NOT_EQUAL: Comparison.EQUAL,
    Comparison.LESS: Comparison.GREATER_EQUAL,
    Comparison.GREATER_EQUAL: Comparison.LESS,
    Comparison.GREATER: Comparison.LESS_EQUAL,
    Comparison.LESS_EQUAL: Comparison.GREATER,
}


def pointers_of(fetch: Fetch) -> tuple[Fetch, ...]:
    """The pointers that are read through, the first one first, but a string's last one.

    That one may be a process's, which most machines read by the same fetch; and the kernel itself marks a string whose
    last read faults.
    """
    stops = range(1 if fetch.is_memory else 0, len(fetch.byte_offsets) - fetch.is_string)
    pointers = [_pointer(fetch, stop) for stop in stops]
    return tuple(pointer for pointer in pointers if pointer.base not in _STACK or pointer.byte_offsets)


def last_pointer_of(fetch: Fetch) -> Fetch | None:
    """The pointer that the last read goes through; None where it is the kernel's own."""
    count = len(fetch.byte_offsets)
    is_own = count <= 1 and (fetch.is_memory or fetch.base == "$stack")
    return None if is_own or not count else _pointer(fetch, count - 1)


def _pointer(fetch: Fetch, stop: int) -> Fetch:
    """What is read at offset number `stop`."""
    user_reads = frozenset(number for number in fetch.user_reads if number < stop)
    return Fetch(fetch.base, fetch.byte_offsets[:stop], "x64", user_reads)


def guarded(condition: Condition, guards: Mapping[str, Sequence[Guard]]) -> Condition:
    """The filter, false where a field in it was not read. `guards`: a field's name -> what holds where it was read.

    Negations are moved to the comparisons, so that neither a comparison nor its opposite holds for what was not read.
    """
    if not any(guards.get(test.field) for test in tests_of(condition)):
        return condition
    return _guard(_without_negations(condition, False), guards)


def tests_of(condition: Condition) -> list[Test]:
    """All comparisons of a filter."""
    match condition:
        case Test():
            return [condition]
        case NoneOf():
            return tests_of(condition.operand)
        case AllOf() | AnyOf():
            return [test for operand in condition.operands for test in tests_of(operand)]


def opposite(test: Test) -> Test | NoneOf:
    """What holds where a comparison does not."""
    operator = _OPPOSITES.get(test.operator)
    return NoneOf(test) if operator is None else replace(test, operator=operator)


def _without_negations(condition: Condition, is_negated: bool) -> Condition:
    match condition:
        case Test():
            return opposite(condition) if is_negated else condition
        case NoneOf():
            return _without_negations(condition.operand, not is_negated)
        case AllOf() | AnyOf():
            operands = tuple(_without_negations(operand, is_negated) for operand in condition.operands)
            return AllOf(operands) if isinstance(condition, AllOf) != is_negated else AnyOf(operands)


def _guard(condition: Condition, guards: Mapping[str, Sequence[Guard]]) -> Condition:
    needed = _shared_guards(condition, guards)
    rest = {name: [guard for guard in each if guard not in needed] for name, each in guards.items()}
    inner = _guard_operands(condition, rest)
    if not needed:
        return inner
    tests = [test for guard in needed for test in guard]
    return AllOf((*tests, *(inner.operands if isinstance(inner, AllOf) else (inner,))))


def _shared_guards(condition: Condition, guards: Mapping[str, Sequence[Guard]]) -> list[Guard]:
    """What has to hold whichever of the comparisons decides: checked once, before all."""
    match condition:
        case Test():
            return list(guards.get(condition.field, ()))
        case NoneOf():
            return _shared_guards(condition.operand, guards)
        case AllOf():
            lists = [_shared_guards(operand, guards) for operand in condition.operands]
            return list(dict.fromkeys(guard for each in lists for guard in each))
        case AnyOf():
            first, *others = [_shared_guards(operand, guards) for operand in condition.operands]
            return [guard for guard in first if all(guard in each for each in others)]


def _guard_operands(condition: Condition, guards: Mapping[str, Sequence[Guard]]) -> Condition:
    match condition:
        case Test() | NoneOf():
            return condition
        case AllOf():
            return AllOf(tuple(_guard(operand, guards) for operand in condition.operands))
        case AnyOf():
            return AnyOf(tuple(_guard(operand, guards) for operand in condition.operands))


def pointer_guard(pointer: Field) -> Guard:
    """The hidden pointer is an address."""
    assert pointer.valid is not None
    low, high = pointer.valid
    return (
        Test(pointer.name, Comparison.GREATER_EQUAL, low, True, pointer.span),
        Test(pointer.name, Comparison.LESS, high, True, pointer.span),
    )


def string_guard(string: Field) -> Guard:
    """The string was read: where it was not, the text of the sentinel behind it stands in its place.

    A string that faults takes no room in the record, so that it begins where the next one does (Linux
    kernel/trace/trace_probe_tmpl.h, store_trace_args).
    """
    return (Test(string.name, Comparison.NOT_EQUAL, UNREAD, False, string.span),)


def sentinel(name: str, span: Span) -> Field:
    """The hidden string to put right behind another that a filter compares."""
    return Field(name, Fetch(f'\\"{UNREAD}"', (), "string"), None, span, is_hidden=True)
