"""Drawn damage to BTF, of small files and in the long run of a real kernel: BtfError comes of it, and nothing else."""

import struct
from contextlib import suppress
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surftrace.btf import Btf, BtfError, Kind
from surftrace.btf.program import open_program
from surftrace.kernel.types import KernelTypes, TypeInfoError
from tests.btf import samples
from tests.btf.test_damage import KERNELS, WITH_LAYOUT, exercise, walk
from tests.fuzz.kernels import packets_btf
from tests.fuzz.limits import FACTOR, fuzzing, limited_memory, limited_time
from tests.kernel import images
from tests.unit.compiling import shapes_btf

_SMALL = (*KERNELS.values(), WITH_LAYOUT, packets_btf(), shapes_btf())
_WORDS = st.one_of(
    st.sampled_from([0, 1, 2, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 0xFFFF, 0x0100_0000]),
    st.integers(0, 300),
    st.builds(
        lambda kind, count, flag: kind << 24 | count | flag << 31,
        st.integers(0, 25),
        st.integers(0, 9),
        st.integers(0, 1),
    ),
    st.integers(0, 2**32 - 1),
)
# Where the header tells of lengths; then anywhere.
_HEADER_WORDS = 8


@st.composite
def _damaged(draw: st.DrawFn, files: tuple[bytes, ...]) -> bytes:
    """A file with bits flipped, words set, a part taken out or put in, its end cut off."""
    data = bytearray(draw(st.sampled_from(files)))
    for _ in range(draw(st.integers(1, 6))):
        start = draw(st.integers(0, len(data)))
        match draw(st.integers(0, 6)):
            case 0 if start < len(data):
                data[start] ^= 1 << draw(st.integers(0, 7))
            case 1:
                other = draw(st.sampled_from(files))
                first = draw(st.integers(0, len(other))) & ~3
                data[start & ~3 : start & ~3] = other[first : first + 4 * draw(st.integers(0, 50))]
            case 2:
                del data[start & ~3 : (start & ~3) + 4 * draw(st.integers(0, 10))]
            case 3 if not draw(st.integers(0, 3)):
                del data[start:]
            case 4 if len(data) >= 4 * _HEADER_WORDS:
                struct.pack_into("<I", data, 4 * draw(st.integers(0, _HEADER_WORDS - 1)), draw(_WORDS))
            case _ if start + 4 <= len(data):
                struct.pack_into(draw(st.sampled_from(["<I", "<I", ">I"])), data, start & ~3, draw(_WORDS))
            case _:
                pass
    return bytes(data)


@fuzzing(400)
@given(_damaged(_SMALL))
def test_small_files(data: bytes) -> None:
    with limited_time():
        exercise(data)


@fuzzing(150)
@given(_damaged((samples.module(samples.kernel()).data, packets_btf())))
def test_modules(data: bytes) -> None:
    with limited_time():
        exercise(data, Btf(samples.kernel().data))


@fuzzing(15)
@given(_damaged(_SMALL))
def test_memory(data: bytes) -> None:
    with limited_memory():
        exercise(data)


@fuzzing(100)
@given(
    _damaged((packets_btf(), shapes_btf())), st.sampled_from(["struct shape", "struct device *", "u8[4]", "enum sign"])
)
def test_types_of_small_files(data: bytes, name: str) -> None:
    with limited_time(), suppress(BtfError, TypeInfoError):
        types = KernelTypes(open_program([Btf(data)]))
        types.named(name)
        types.enumerator("UP")
        types.function("plain")
        list(types.function_names())


@cache
def _real_kernel() -> bytes:
    return images.fetch("6.12").btf.read_bytes()


_LOOKED_UP = (
    "task_struct",
    "sk_buff",
    "file",
    "pid_type",
    "net_device",
    "list_head",
    "ip_output",
    "tcp_sendmsg",
    "PIDTYPE_TGID",
)


@pytest.mark.skipif(not FACTOR, reason="a second each: make fuzz")
@fuzzing(5)
@given(st.data())
def test_a_real_kernel(data: st.DataObject) -> None:
    btf = bytearray(_real_kernel())
    (strings,) = struct.unpack_from("<I", btf, 16)
    words = st.one_of(
        st.integers(0, _HEADER_WORDS - 1),
        st.integers(0, len(btf) // 4 - 1),
        st.integers(0, strings // 4),
        st.integers(6, 2000),
    )
    for _ in range(data.draw(st.integers(1, 30))):
        struct.pack_into("<I", btf, 4 * data.draw(words), data.draw(_WORDS | st.integers(0, 150_000)))
    first_id = data.draw(st.integers(1, 100_000))
    with limited_time():
        _look_up(bytes(btf), first_id)


def _look_up(data: bytes, first_id: int) -> None:
    """Some names and some types of a large file: all would take a minute."""
    try:
        btf = Btf(data)
        program = open_program([btf])
    except BtfError:
        return
    (converter,) = program._converters
    for name in _LOOKED_UP:
        for ask in (program.function, program.variable, program.enumerator):
            with suppress(BtfError):
                ask(name)
        for keyword in ("struct", "enum"):
            with suppress(BtfError, LookupError):
                walk(program.prog.type(f"{keyword} {name}"))
    for type_id in range(first_id, min(first_id + 300, btf.end_id)):
        with suppress(BtfError):
            walk(converter.type(type_id))
    with suppress(BtfError):
        list(btf.names(tuple(Kind)))
