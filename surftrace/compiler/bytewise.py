"""Comparisons of bytes in network order, made of comparisons that the kernel's filter can make.

The kernel compares numbers of its own byte order with constants, and knows no masks. So the first bits of an address
are compared as pieces that lie together in such a number, and order is told byte by byte, from the first on.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TypeAlias

from surftrace.compiler.fetch import Fetch
from surftrace.compiler.resolved import AllOf, AnyOf, Condition, Test
from surftrace.compiler.values import ByteOrder
from surftrace.lang.source import Span
from surftrace.lang.syntax import Comparison

# The name of a hidden field that holds what is fetched.
Hide: TypeAlias = Callable[[Fetch], str]

# A value's size in bytes -> the sizes of the numbers that it is read as.
_CHUNKS = {1: (1,), 2: (2,), 4: (4,), 6: (4, 2), 8: (8,), 16: (8, 8)}


def same_bits(
    fetch: Fetch, data: bytes, bits: int, byteorder: ByteOrder, hide: Hide, span: Span, is_equal: bool = True
) -> Condition:
    """Are the first `bits` bits of the value those of `data`? The other way round where not `is_equal`."""
    operator = Comparison.EQUAL if is_equal else Comparison.NOT_EQUAL
    tests = tuple(
        Test(hide(piece), operator, constant, True, span) for piece, constant in _pieces(fetch, data, bits, byteorder)
    )
    if len(tests) == 1:
        return tests[0]
    return AllOf(tests) if is_equal else AnyOf(tests)


def _pieces(fetch: Fetch, data: bytes, bits: int, byteorder: ByteOrder) -> Iterator[tuple[Fetch, int]]:
    """Parts of the value that the kernel can read as one number each, and what they are in `data`."""
    start = 0
    for size in _CHUNKS[len(data)]:
        count = min(bits - 8 * start, 8 * size)
        if count <= 0:
            return
        chunk = data[start : start + size]
        if count == 8 * size:
            yield _part(fetch, start, f"u{8 * size}"), int.from_bytes(chunk, byteorder)
        elif byteorder == "big":
            part = _part(fetch, start, f"b{count}@{8 * size - count}/{8 * size}")
            yield part, int.from_bytes(chunk, "big") >> 8 * size - count
        else:
            yield from _little_endian_pieces(fetch, start, chunk, count)
        start += size


def _little_endian_pieces(fetch: Fetch, start: int, chunk: bytes, count: int) -> Iterator[tuple[Fetch, int]]:
    """The first whole bytes of a chunk are its low bits; the first bits of the byte after them lie at its top."""
    whole, rest = divmod(count, 8)
    container = 8 * len(chunk)
    if whole:
        yield _part(fetch, start, f"b{8 * whole}@0/{container}"), int.from_bytes(chunk[:whole], "little")
    if rest:
        yield _part(fetch, start, f"b{rest}@{8 * whole + 8 - rest}/{container}"), chunk[whole] >> 8 - rest


def _part(fetch: Fetch, start: int, fetch_type: str) -> Fetch:
    if not fetch.byte_offsets:
        assert start == 0, "what a register holds is one number"
        return Fetch(fetch.base, (), fetch_type)
    *before, last = fetch.byte_offsets
    return replace(fetch, byte_offsets=(*before, last + start), type=fetch_type)


def ordered(
    fetch: Fetch, operator: Comparison, data: bytes, byteorder: ByteOrder, hide: Hide, span: Span
) -> Condition | bool:
    """How the value compares with `data`, both in network order; True or False where that is always so."""
    is_greater = operator in (Comparison.GREATER, Comparison.GREATER_EQUAL)
    strict = Comparison.GREATER if is_greater else Comparison.LESS
    result: Condition | bool = operator in (Comparison.GREATER_EQUAL, Comparison.LESS_EQUAL)
    for part, constant, largest in reversed(list(_digits(fetch, data, byteorder))):
        beyond = constant < largest if is_greater else constant > 0
        within = constant > 0 if is_greater else constant < largest
        if result is True:  # equal here is enough
            loose = Comparison.GREATER_EQUAL if is_greater else Comparison.LESS_EQUAL
            result = Test(hide(part), loose, constant, True, span) if within else True
        else:
            more = Test(hide(part), strict, constant, True, span) if beyond else None
            if result is False:
                result = more if more is not None else False
            else:
                equal = AllOf((Test(hide(part), Comparison.EQUAL, constant, True, span), result))
                result = AnyOf((more, equal)) if more is not None else equal
    return result


def signed_order(field: str, operator: Comparison, constant: int, bits: int, span: Span) -> Condition | bool:
    """How a signed bit field compares, which the kernel records without its sign; True or False where always so."""
    is_less = operator in (Comparison.LESS, Comparison.LESS_EQUAL)
    if operator in (Comparison.LESS_EQUAL, Comparison.GREATER):
        constant += 1
    half = 1 << bits - 1
    if not -half < constant < half:
        return is_less == (constant >= half)
    # Now it is `< constant`, or its opposite `>= constant`; the negative values are recorded as the upper half.
    negative = Test(field, Comparison.GREATER_EQUAL, half, False, span)
    positive = Test(field, Comparison.LESS, half, False, span)
    raw = constant & (1 << bits) - 1
    below, above = (
        Test(field, Comparison.LESS, raw, False, span),
        Test(field, Comparison.GREATER_EQUAL, raw, False, span),
    )
    if constant == 0:
        return negative if is_less else positive
    if constant < 0:
        return AllOf((negative, below)) if is_less else AnyOf((positive, above))
    return AnyOf((below, negative)) if is_less else AllOf((above, positive))


def _digits(fetch: Fetch, data: bytes, byteorder: ByteOrder) -> Iterator[tuple[Fetch, int, int]]:
    """The parts of the value that compare as numbers, first one first; what each is in `data`; its largest value."""
    if byteorder == "big":
        start = 0
        for size in _CHUNKS[len(data)]:
            yield (
                _part(fetch, start, f"u{8 * size}"),
                int.from_bytes(data[start : start + size], "big"),
                (1 << 8 * size) - 1,
            )
            start += size
        return
    container = re.sub(r"\D", "", fetch.type.partition("[")[0])
    for place, byte in enumerate(data):
        part = _part(fetch, place, "u8") if fetch.byte_offsets else _part(fetch, 0, f"b8@{8 * place}/{container}")
        yield part, byte, 255
