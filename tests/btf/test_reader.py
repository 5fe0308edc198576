"""What `Btf` and its records say of a small kernel, in both byte orders."""

from __future__ import annotations

import struct as binary

import pytest

from surftrace.btf import Btf, BtfError, Enumerator, Kind, Member, Parameter
from surftrace.btf.format import KIND_SHIFT
from tests.btf import samples
from tests.btfwriter import Declaration, enum, function, integer, struct, typedef, write

VARIANTS = {
    "little": samples.kernel("little"),
    "big": samples.kernel("big"),
    "header of 32 bytes": samples.kernel(header_size=32),
    "header of 44 bytes": samples.kernel("big", header_size=44),
    "layout section": samples.kernel(layout=True),
}
NEW_KIND = Declaration(21, "future", 0, (7, 7, 7), 2)
NEW_KIND_LAYOUT = (4, 4)


@pytest.fixture(params=[*VARIANTS])
def kernel(request: pytest.FixtureRequest) -> Btf:
    return Btf(VARIANTS[request.param].data)


def test_byte_order_and_pointer_size() -> None:
    assert Btf(VARIANTS["big"].data).byteorder == "big"
    assert Btf(VARIANTS["little"].data).byteorder == "little"
    assert Btf(VARIANTS["little"].data).pointer_size == 8


@pytest.mark.parametrize(("size", "expected"), [(4, 4), (8, 8), (2, 8)], ids=["32 bits", "64 bits", "nonsense"])
def test_pointer_size_is_that_of_long(size: int, expected: int) -> None:
    assert Btf(write(integer("long unsigned int", size)).data).pointer_size == expected


def test_members(kernel: Btf) -> None:
    (type_id,) = kernel.find("sk_buff", [Kind.STRUCT])
    record = kernel.type(type_id)
    assert (record.kind, record.name, record.size) == (Kind.STRUCT, "sk_buff", 40)
    shapes = [(each.name, each.bit_offset, each.bit_field_size) for each in record.members]
    assert shapes[:4] == [("", 0, 0), ("len", 64, 0), ("cloned", 96, 1), ("pkt_type", 101, 3)]
    assert kernel.type(record.members[1].type_id).name == "unsigned int"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("pid_type", [("PIDTYPE_PID", 0), ("PIDTYPE_TGID", 1)]),
        ("sign", [("MINUS", -1), ("PLUS", 1)]),
        ("wide", [("HUGE", 1 << 40)]),
        ("wide_sign", [("LEAST", -(1 << 63))]),
        ("opaque", []),
    ],
)
def test_enumerators(kernel: Btf, name: str, expected: list[tuple[str, int]]) -> None:
    (type_id,) = kernel.find(name, [Kind.ENUM, Kind.ENUM64])
    record = kernel.type(type_id)
    assert record.enumerators == tuple(Enumerator(*each) for each in expected)
    assert record.is_complete is bool(expected)


def test_old_pahole_marks_no_enumeration_as_signed() -> None:
    old = Btf(write(enum("sign", is_signed=False, MINUS=0xFFFFFFFF)).data)
    assert old.type(1).enumerators == (Enumerator("MINUS", -1),)
    new = Btf(write(enum("sign", is_signed=False, TOP=0xFFFFFFFF), enum("other", MINUS=-1)).data)
    assert new.type(1).enumerators == (Enumerator("TOP", 0xFFFFFFFF),)


def test_parameters(kernel: Btf) -> None:
    (type_id,) = kernel.find("_printk", [Kind.FUNC])
    prototype = kernel.type(kernel.type(type_id).type_id)
    assert [each.name for each in prototype.parameters] == ["fmt", ""]
    assert prototype.parameters[-1] == Parameter("", 0)


def test_find_wants_the_kind_and_the_whole_name(kernel: Btf) -> None:
    assert kernel.find("sk_buff", [Kind.UNION]) == []
    assert kernel.find("buff", [Kind.STRUCT]) == []
    assert kernel.find("sk_buf", [Kind.STRUCT]) == []
    assert kernel.find("", list(Kind)) == []
    assert kernel.find("sk_buff\0", list(Kind)) == []
    assert kernel.find("\udc80", list(Kind)) == []


def test_names(kernel: Btf) -> None:
    assert list(kernel.names([Kind.FUNC])) == ["ip_output", "_printk"]
    assert list(kernel.names([Kind.STRUCT])) == ["sk_buff", "list_head", "ops", "matrix"]


def test_void_and_ids_out_of_range(kernel: Btf) -> None:
    assert kernel.type(0).kind is Kind.VOID
    for type_id in (-1, kernel.end_id, 1 << 31):
        with pytest.raises(BtfError, match="out of range"):
            kernel.type(type_id)


def test_several_of_one_name_in_file_order() -> None:
    btf = Btf(write(struct("a", 4), typedef("a", "int"), struct("a", 8)).data)
    assert [btf.type(each).size for each in btf.find("a", [Kind.STRUCT])] == [4, 8]


def test_a_string_repeated_more_often_than_any_tool_would() -> None:
    btf = Btf(write(*[struct(f"a{index}", index) for index in range(100, 140)]).data)
    data = bytearray(btf._buffer)
    for index in range(100, 140):
        at = data.index(b"a%d\0" % index)
        data[at : at + 4] = b"name"
    assert len(Btf(bytes(data)).find("name", [Kind.STRUCT])) == 40


@pytest.mark.parametrize("byteorder", ["little", "big"])
def test_split(byteorder: str) -> None:
    written = samples.kernel(byteorder)
    base = Btf(written.data)
    btf = Btf(samples.module(written).data, base)
    assert btf.first_id == base.end_id
    (device,) = btf.find("net_device", [Kind.STRUCT])
    assert device >= base.end_id
    assert btf.type(device).members == (Member("head", base.find("list_head", [Kind.STRUCT])[0], 0, 0),)
    assert btf.find("list_head", [Kind.STRUCT]) == []  # the base's own
    assert btf.find("ip_output", [Kind.FUNC]) != base.find("ip_output", [Kind.FUNC])
    assert list(btf.names([Kind.FUNC])) == ["ip_output", "nf_hook"]
    assert (btf.type(1), btf.pointer_size) == (base.type(1), 8)


def test_split_of_the_other_byte_order() -> None:
    with pytest.raises(BtfError, match="big-endian BTF cannot continue little-endian BTF"):
        Btf(samples.module(samples.kernel("big")).data, Btf(samples.kernel("little").data))


def test_split_without_its_base() -> None:
    with pytest.raises(BtfError, match="a module's BTF, which means nothing without its kernel's"):
        Btf(samples.module(samples.kernel()).data)


def test_unknown_kind_is_named_with_its_offset() -> None:
    first = typedef("a", 0)
    with pytest.raises(BtfError, match=r"^unknown BTF kind 21 at offset 0x24$"):
        Btf(write(first, NEW_KIND).data)


def test_unknown_kind_with_a_layout_is_stepped_over() -> None:
    written = write(typedef("a", 0), NEW_KIND, typedef("b", 0), layout=True, extra_layouts={21: NEW_KIND_LAYOUT})
    btf = Btf(written.data)
    assert btf.type(3).name == "b"
    assert btf.find("future", list(Kind)) == []
    with pytest.raises(BtfError, match="type 2 is of the unknown kind 21"):
        btf.type(2)


def test_unknown_kind_that_the_layout_does_not_tell() -> None:
    with pytest.raises(BtfError, match="unknown BTF kind 21"):
        Btf(write(NEW_KIND, layout=True).data)


def test_vlen_of_more_than_16_bits() -> None:
    values = {f"E{index}": index for index in range(0x10001)}
    btf = Btf(write(enum("large", is_signed=False, **values), typedef("after", "int")).data)
    assert len(btf.type(1).enumerators) == 0x10001
    assert btf.find("after", [Kind.TYPEDEF]) == [2]


def _header(**changes: int) -> bytes:
    fields = {"magic": 0xEB9F, "version": 1, "flags": 0, "hdr_len": 24}
    fields |= {"type_off": 0, "type_len": 12, "str_off": 12, "str_len": 1}
    return binary.pack("<HBBIIIII", *(fields | changes).values())


PTR = binary.pack("<III", 0, Kind.PTR << KIND_SHIFT, 0)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "no BTF: it does not begin with the magic 0xeb9f"),
        (b"\x7fELF", "no BTF: it does not begin with the magic 0xeb9f"),
        (_header()[:20], "the BTF header is cut off at 20 bytes"),
        (_header(version=2), "unknown BTF version 2"),
        (_header(hdr_len=20), "the BTF header claims 20 bytes"),
        (_header(hdr_len=99), "the BTF header claims 99 bytes"),
        (_header() + PTR, "the BTF string section ends at 37, the file at 36"),
        (_header(type_len=400) + PTR, "the BTF type section ends at 424, the file at 36"),
        (_header(type_len=11) + PTR + b"\0", "the BTF type section is not a multiple of 4 bytes"),
        (_header(type_len=8) + PTR + b"\0", "the type record at offset 0x18 is cut off"),
        (_header(type_len=4) + PTR + b"\0", "the type record at offset 0x18 is cut off"),
        (_header() + PTR + b"x", "the BTF string section does not end with a zero byte"),
    ],
)
def test_damaged_header(data: bytes, message: str) -> None:
    with pytest.raises(BtfError) as caught:
        Btf(data)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (1 << 20, "string offset 1048576 is out of range"),
        (1, "is not UTF-8"),
        (4, "is longer than 4096 bytes"),
    ],
)
def test_damaged_name(name: int, message: str) -> None:
    strings = b"\0\xff\xff\0" + b"x" * 5000 + b"\0"
    record = binary.pack("<III", name, Kind.TYPEDEF << KIND_SHIFT, 0)
    btf = Btf(_header(str_len=len(strings)) + record + strings)
    with pytest.raises(BtfError, match=message):
        btf.type(1).name  # noqa: B018
    with pytest.raises(BtfError, match=message):
        list(btf.names([Kind.TYPEDEF]))


def test_functions_and_structures_may_share_a_name() -> None:
    btf = Btf(write(struct("pipe", 8), function("pipe", "int")).data)
    assert len(btf.find("pipe", [Kind.STRUCT])) == len(btf.find("pipe", [Kind.FUNC])) == 1
