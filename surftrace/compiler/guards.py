"""Guards: a read that faults leaves in its place what an earlier event left there, so that its pointers are looked at.

Every pointer that a chain of reads goes through is fetched as a hidden field of its own. Where one is null, or no
address of the kernel's, the value was not read: it shows as a fault, and no comparison with it holds, nor its negation.
(Linux kernel/trace/trace_probe_tmpl.h, process_fetch_insn_bottom: a failed read returns, and nothing is stored.)
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from surftrace.compiler.fetch import Fetch
from surftrace.compiler.resolved import AllOf, AnyOf, Condition, Field, NoneOf, Test
from surftrace.lang.source import Span
from surftrace.lang.syntax import Comparison

_OPPOSITES = {
    Comparison.EQUAL: Comparison.NOT_EQUAL,
    Comparison.NOT_EQUAL: Comparison.EQUAL,
    Comparison.LESS: Comparison.GREATER_EQUAL,
    Comparison.GREATER_EQUAL: Comparison.LESS,
    Comparison.GREATER: Comparison.LESS_EQUAL,
    Comparison.LESS_EQUAL: Comparison.GREATER,
}


def pointers_of(fetch: Fetch) -> tuple[Fetch, ...]:
    """The pointers that are read through, the first one first. The last one to a user's string is left out.

    The kernel itself marks a string whose last read faults, and only that read is of another address space.
    """
    stops = range(1 if fetch.is_memory else 0, len(fetch.byte_offsets))
    pointers = [Fetch(fetch.base, fetch.byte_offsets[:stop], "x64") for stop in stops]
    if fetch.type.startswith("ustring"):
        pointers = pointers[:-1]
    return tuple(pointer for pointer in pointers if pointer.base != "$stack" or pointer.byte_offsets)


def guarded(condition: Condition, guards: Mapping[str, Sequence[Field]]) -> Condition:
    """The filter, false where a field in it was not read. `guards`: a field's name -> the pointers it was read through.

    Negations are moved to the comparisons, so that neither a comparison nor its opposite holds for what was not read.
    """
    if not any(guards.get(test.field) for test in _tests(condition)):
        return condition
    return _guard(_without_negations(condition, False), guards)


def _tests(condition: Condition) -> list[Test]:
    match condition:
        case Test():
            return [condition]
        case NoneOf():
            return _tests(condition.operand)
        case AllOf() | AnyOf():
            return [test for operand in condition.operands for test in _tests(operand)]


def _without_negations(condition: Condition, is_negated: bool) -> Condition:
    match condition:
        case Test():
            if not is_negated:
                return condition
            opposite = _OPPOSITES.get(condition.operator)
            return NoneOf(condition) if opposite is None else replace(condition, operator=opposite)
        case NoneOf():
            return _without_negations(condition.operand, not is_negated)
        case AllOf() | AnyOf():
            operands = tuple(_without_negations(operand, is_negated) for operand in condition.operands)
            return AllOf(operands) if isinstance(condition, AllOf) != is_negated else AnyOf(operands)


def _guard(condition: Condition, guards: Mapping[str, Sequence[Field]]) -> Condition:
    needed = _shared_guards(condition, guards)
    inner = _guard_rest(
        condition, {name: [each for each in fields if each not in needed] for name, fields in guards.items()}
    )
    if not needed:
        return inner
    span = _tests(condition)[0].span
    tests = [test for guard in needed for test in range_tests(guard, span)]
    return AllOf((*tests, *(inner.operands if isinstance(inner, AllOf) else (inner,))))


def _shared_guards(condition: Condition, guards: Mapping[str, Sequence[Field]]) -> list[Field]:
    """The pointers that have to be right whichever of the comparisons decides: checked once, before all."""
    match condition:
        case Test():
            return list(guards.get(condition.field, ()))
        case NoneOf():
            return _shared_guards(condition.operand, guards)
        case AllOf():
            lists = [_shared_guards(operand, guards) for operand in condition.operands]
            return list({guard.name: guard for fields in lists for guard in fields}.values())
        case AnyOf():
            first, *others = [_shared_guards(operand, guards) for operand in condition.operands]
            return [guard for guard in first if all(guard in fields for fields in others)]


def _guard_rest(condition: Condition, guards: Mapping[str, Sequence[Field]]) -> Condition:
    match condition:
        case Test() | NoneOf():
            return condition
        case AllOf():
            return AllOf(tuple(_guard(operand, guards) for operand in condition.operands))
        case AnyOf():
            return AnyOf(tuple(_guard(operand, guards) for operand in condition.operands))


def range_tests(guard: Field, span: Span) -> tuple[Test, Test]:
    """Is the hidden pointer an address?"""
    assert guard.valid is not None
    low, high = guard.valid
    return (
        Test(guard.name, Comparison.GREATER_EQUAL, low, True, span),
        Test(guard.name, Comparison.LESS, high, True, span),
    )
