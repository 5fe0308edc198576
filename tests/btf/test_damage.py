"""Damaged BTF gives BtfError and nothing else: no other exception, no hang, no crash inside drgn."""

from __future__ import annotations

import struct as binary
from collections.abc import Iterator
from contextlib import suppress

import drgn
import pytest
from hypothesis import given
from hypothesis import strategies as st

from surftrace.btf import Btf, BtfError, Kind
from surftrace.btf.program import BtfProgram, open_program
from surftrace.btf.signatures import Signatures
from tests.btf import samples
from tests.btfwriter import Declaration, array, integer, pointer, prototype, typedef, write
from tests.fuzz.limits import fuzzing

KERNELS = {order: samples.kernel(order).data for order in ("little", "big")}
WITH_LAYOUT = samples.kernel(layout=True).data
SIZELESS = (drgn.TypeKind.VOID, drgn.TypeKind.FUNCTION)


def exercise(data: bytes, base: Btf | None = None) -> list[str]:
    """Do everything that can be done with a BTF file; the messages of the BtfErrors met."""
    try:
        btf = Btf(data, base)
        program = open_program([btf])
    except BtfError as error:
        return [str(error)]
    return [*_look_up(program, btf), *_convert(program, btf), *_declare(btf)]


def _look_up(program: BtfProgram, btf: Btf) -> Iterator[str]:
    try:
        names = [*btf.names(tuple(Kind)), "sk_buff", "PLUS", "LEAST"]
    except BtfError as error:
        yield str(error)
        return
    for name in names:
        try:
            program.function(name)
            program.variable(name)
            for kind in (drgn.TypeKind.STRUCT, drgn.TypeKind.INT):
                program._find(program.prog, drgn.TypeKindSet([kind]), name, None)
            program.enumerator(name)
        except BtfError as error:
            yield str(error)
    try:
        walk(program.prog.type("struct sk_buff *"))
    except (BtfError, LookupError) as error:
        yield str(error)


def _declare(btf: Btf) -> Iterator[str]:
    """Every function as C declares it, and the spellings of every type."""
    signatures = Signatures(btf, Signatures(btf.base) if btf.base is not None else None)
    try:
        functions = [*signatures.functions()]
    except BtfError as error:
        yield str(error)
        functions = []
    for name, type_id in functions:
        try:
            signatures.declared(name, type_id)
            signatures.takes(type_id, {"struct sk_buff *"})
        except BtfError as error:
            yield str(error)
    for type_id in range(btf.first_id, btf.end_id):
        with suppress(BtfError):  # which the conversion of the type meets too
            signatures.spellings(type_id)


def _convert(program: BtfProgram, btf: Btf) -> Iterator[str]:
    (converter,) = (each for each in program._converters if each.btf is btf)
    for type_id in range(btf.first_id, btf.end_id):
        try:
            walk(converter.type(type_id))
        except BtfError as error:
            yield str(error)


def walk(found: drgn.Type) -> None:
    """Ask drgn all it can tell about a type."""
    found.type_name()
    str(found)
    repr(found)
    if found.is_complete() and found.unaliased_kind() not in SIZELESS:
        drgn.sizeof(found)
    if found.kind in (drgn.TypeKind.STRUCT, drgn.TypeKind.UNION) and found.members is not None:
        found.has_member("no_such_member")
        for member in found.members:
            assert member.type.type_name()
            assert member.bit_field_size is None or member.bit_field_size > 0
    if found.kind is drgn.TypeKind.FUNCTION:
        assert all(parameter.type.type_name() for parameter in found.parameters)


def test_the_whole_sample_is_sound() -> None:
    kernel = samples.kernel()
    inert = [
        f"type {type_id} is used as a type but is a {kind}"
        for type_id in range(1, kernel.next_id)
        if (kind := Btf(kernel.data).type(type_id).kind.name) in ("FUNC", "VAR", "DATASEC", "DECL_TAG")
    ]
    assert exercise(kernel.data) == inert


@pytest.mark.parametrize("data", [*KERNELS.values(), WITH_LAYOUT], ids=["little", "big", "layout"])
def test_truncated_anywhere(data: bytes) -> None:
    for size in range(len(data)):
        assert exercise(data[:size])


@pytest.mark.parametrize(("byteorder", "change"), [("little", 0x01), ("little", 0x80), ("big", 0xFF)])
def test_one_byte_changed_anywhere(byteorder: str, change: int) -> None:
    data = bytearray(KERNELS[byteorder])
    for index in range(len(data)):
        data[index] ^= change
        exercise(bytes(data))
        data[index] ^= change


@pytest.mark.parametrize("word", [0, 1, 7, 0x7FFFFFFF, 0xFFFFFFFF], ids=hex)
def test_one_word_changed_anywhere(word: int) -> None:
    data = bytearray(KERNELS["little"])
    for index in range(0, len(data) - 3, 4):
        kept = data[index : index + 4]
        data[index : index + 4] = binary.pack("<I", word)
        exercise(bytes(data))
        data[index : index + 4] = kept


def test_module_changed_anywhere() -> None:
    kernel = samples.kernel()
    base = Btf(kernel.data)
    data = bytearray(samples.module(kernel).data)
    for index in range(len(data)):
        for change in (0x01, 0xFF):
            data[index] ^= change
            exercise(bytes(data), base)
            data[index] ^= change


@fuzzing(300)
@given(
    changes=st.lists(
        st.tuples(st.integers(0, len(KERNELS["little"]) // 4 - 1), st.integers(0, 60) | st.integers(0, 2**32 - 1)),
        min_size=1,
        max_size=12,
    )
)
def test_words_changed_at_random(changes: list[tuple[int, int]]) -> None:
    data = bytearray(KERNELS["little"])
    for index, word in changes:
        binary.pack_into("<I", data, index * 4, word)
    exercise(bytes(data))


def self_reference(kind: Kind, name: str | None = None, tail: tuple[int, ...] = ()) -> Declaration:
    return Declaration(kind, name, ("type", 1), tail)


def compound(kind: Kind, name: str | None, *members: tuple[str | None, int]) -> Declaration:
    """A structure of 8 bytes whose members, given by type id, all lie at 0."""
    words = [word for member_name, type_id in members for word in (member_name, type_id, 0)]
    return Declaration(kind, name, 8, tuple(words), len(members))


def doubling(levels: int) -> list[Declaration]:
    """Each union holds the next one twice."""
    unions = [compound(Kind.UNION, None, (None, level + 2), (None, level + 2)) for level in range(levels)]
    return [*unions, compound(Kind.UNION, None, ("end", levels + 2)), integer("int", 4, is_signed=True)]


ENDLESS = {
    "typedef": [self_reference(Kind.TYPEDEF, "a")],
    "const": [self_reference(Kind.CONST)],
    "pointer": [self_reference(Kind.PTR)],
    "type tag": [self_reference(Kind.TYPE_TAG, "user")],
    "array": [Declaration(Kind.ARRAY, None, 0, (1, 1, 1))],
    "returns itself": [self_reference(Kind.FUNC_PROTO)],
    "takes itself": [Declaration(Kind.FUNC_PROTO, None, 0, (None, 2), 1), pointer(1)],
    "two typedefs": [typedef("a", 2), typedef("b", 1)],
    "anonymous structure in itself": [compound(Kind.STRUCT, None, (None, 1))],
    "anonymous member of its own type": [compound(Kind.STRUCT, "a", (None, 1))],
    "anonymous structure points to itself": [compound(Kind.STRUCT, None, ("self", 2)), pointer(1)],
    "by way of a typedef": [compound(Kind.STRUCT, "a", (None, 2)), typedef("b", 1)],
    "by way of a prototype": [compound(Kind.STRUCT, None, ("call", 2)), pointer(3), prototype(1)],
    "doubling": doubling(31),
    "nested": [compound(Kind.UNION, None, (None, level + 2)) for level in range(5000)],
    "pointers": [pointer(level + 2) for level in range(5000)],
    "pointers backwards": [pointer(level) for level in range(5000)],
    "array of arrays": [Declaration(Kind.ARRAY, None, 0, (level + 2, 0, 0xFFFFFFFF)) for level in range(40)],
    "structure holds itself": [compound(Kind.STRUCT, "a", ("a", 1), ("b", 2)), array(1, 0xFFFFFFFF)],
}


@pytest.mark.parametrize("declarations", ENDLESS.values(), ids=ENDLESS)
def test_endless(declarations: list[Declaration]) -> None:
    assert exercise(write(*declarations).data)
