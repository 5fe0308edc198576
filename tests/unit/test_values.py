"""Names are formats: what each prefix shows, what it reads, and that one is the other's inverse."""

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surftrace.compiler.values import (
    NETWORK_ORDER_TYPES,
    PREFIXES,
    ByteOrder,
    Prefix,
    integer,
    prefix_of,
    show_number,
)

_BY_TEXT = {prefix.text: prefix for prefix in PREFIXES}
_EACH_PREFIX = pytest.mark.parametrize("prefix", PREFIXES, ids=list(_BY_TEXT))
_BYTE_ORDERS: tuple[ByteOrder, ...] = ("little", "big")
_EACH_ORDER = pytest.mark.parametrize("byteorder", _BYTE_ORDERS)

# (prefix, bytes as they are in the packet, what is shown)
_SHOWN = (
    ("ip_", b"\x0a\x00\x01\xdd", "10.0.1.221"),
    ("ip_", b"\x00\x00\x00\x00", "0.0.0.0"),
    ("ip_", b"\xff\xff\xff\xff", "255.255.255.255"),
    ("b16_", b"\x27\x04", "9988"),
    ("b16_", b"\x00\x01", "1"),
    ("b32_", b"\x00\x00\x00\x01", "1"),
    ("b32_", b"\xff\xff\xff\xff", "4294967295"),
    ("b64_", b"\x80\x00\x00\x00\x00\x00\x00\x00", "9223372036854775808"),
    ("B16_", b"\x27\x04", "0x2704"),
    ("B16_", b"\x00\x04", "0x4"),
    ("B32_", b"\xde\xad\xbe\xef", "0xdeadbeef"),
    ("B64_", b"\x00\x00\x00\x00\xde\xad\xbe\xef", "0xdeadbeef"),
)


@_EACH_ORDER
@pytest.mark.parametrize(("text", "data", "shown"), _SHOWN)
def test_show(text: str, data: bytes, shown: str, byteorder: ByteOrder) -> None:
    assert show_number(_BY_TEXT[text], int.from_bytes(data, byteorder), byteorder) == shown


# (prefix, literal, the bytes in the packet)
_READ = (
    ("ip_", "10.0.1.221", b"\x0a\x00\x01\xdd"),
    ("b16_", "9988", b"\x27\x04"),
    ("b16_", "0x2704", b"\x27\x04"),
    ("b16_", "010", b"\x00\x08"),
    ("b16_", "65535", b"\xff\xff"),
    ("B16_", "9988", b"\x27\x04"),
    ("b32_", "1", b"\x00\x00\x00\x01"),
    ("b64_", "0xffffffffffffffff", b"\xff" * 8),
    ("B64_", "0", b"\x00" * 8),
)


@pytest.mark.parametrize(("text", "literal", "data"), _READ)
def test_read(text: str, literal: str, data: bytes) -> None:
    assert _BY_TEXT[text].read(literal) == data


# The published example: b16_dest==9988 is 1063 on a little-endian machine, ip_dst==10.0.1.221 is 0xdd01000a.
def test_read_as_published() -> None:
    assert int.from_bytes(_BY_TEXT["b16_"].read("9988"), "little") == 1063
    assert int.from_bytes(_BY_TEXT["ip_"].read("10.0.1.221"), "little") == 0xDD01000A


_REFUSED = (
    ("ip_", "10.0.1"),
    ("ip_", "10.0.1.256"),
    ("ip_", "10.0.1.01"),
    ("ip_", "10.0.1.1 "),
    ("ip_", "0x0a0001dd"),
    ("ip_", ""),
    ("ip_", "::1"),
    ("b16_", "65536"),
    ("b16_", "-1"),
    ("b16_", "9988.0"),
    ("b16_", ""),
    ("b32_", "0x100000000"),
    ("b64_", "18446744073709551616"),
    ("B16_", "ff"),
)


@pytest.mark.parametrize(("text", "literal"), _REFUSED)
def test_read_refuses(text: str, literal: str) -> None:
    with pytest.raises(ValueError, match=r"is not|does not fit"):
        _BY_TEXT[text].read(literal)


@_EACH_ORDER
@_EACH_PREFIX
@given(data=st.binary(min_size=8, max_size=8))
def test_what_is_shown_reads_back(prefix: Prefix, byteorder: ByteOrder, data: bytes) -> None:
    number = int.from_bytes(data[: prefix.size], byteorder)
    assert int.from_bytes(prefix.read(show_number(prefix, number, byteorder)), byteorder) == number


@_EACH_PREFIX
@given(number=st.integers(0, (1 << 128) - 1))
def test_every_literal_of_a_number_shows_alike(prefix: Prefix, number: int) -> None:
    number &= (1 << 8 * prefix.size) - 1
    literals = [str(number), hex(number), f"0x{number:X}", f"0{number:o}"]
    data = number.to_bytes(prefix.size, "big")
    if prefix.text == "ip_":
        literals = [str(IPv4Address(number))]
    elif prefix.text == "ip6_":
        literals = [str(IPv6Address(number)), IPv6Address(number).exploded, IPv6Address(number).exploded.upper()]
    elif prefix.text == "mac_":
        literals = [data.hex(":"), data.hex("-").upper()]
    assert {prefix.show(prefix.read(text)) for text in literals} == {prefix.show(data)}


@_EACH_PREFIX
def test_a_prefix_is_found_by_name(prefix: Prefix) -> None:
    assert prefix_of(f"{prefix.text}x") is prefix


@pytest.mark.parametrize("name", ["ip", "xip_a", "b8_a", "b16", "B128_a", "IP_a", ""])
def test_other_names_have_no_prefix(name: str) -> None:
    assert prefix_of(name) is None


def test_no_prefix_begins_another() -> None:
    texts = [prefix.text for prefix in PREFIXES]
    assert not [(a, b) for a in texts for b in texts if a != b and a.startswith(b)]


@pytest.mark.parametrize(("type_name", "text"), NETWORK_ORDER_TYPES.items())
def test_the_prefix_of_a_network_order_type_has_its_size(type_name: str, text: str) -> None:
    assert _BY_TEXT[text].size * 8 == int(type_name.removeprefix("__be"))


_INTEGERS = (
    ("0", 0),
    ("00", 0),
    ("7", 7),
    ("-7", -7),
    ("0x1F", 31),
    ("0X1f", 31),
    ("-0x1f", -31),
    ("010", 8),
    ("-010", -8),
    ("18446744073709551615", (1 << 64) - 1),
    ("0xffffffffffffffff", (1 << 64) - 1),
    ("01777777777777777777777", (1 << 64) - 1),
)


@pytest.mark.parametrize(("text", "value"), _INTEGERS)
def test_integer(text: str, value: int) -> None:
    assert integer(text) == value


_NO_INTEGERS = (
    *("", "-", "--1", "+1", "1.0", "1e3", "0x", "0xg", "08", "1_0", "0x_1", " 1", "1 ", "1u", "0b1", "0o7"),
    *("\u0661", "\u00b2", "1\u0661", "- 1", "nan", "1" * 5000, "0x" + "f" * 5000),
)


@pytest.mark.parametrize("text", _NO_INTEGERS, ids=lambda text: ascii(text[:12]))
def test_integer_refuses(text: str) -> None:
    with pytest.raises(ValueError, match="is not a number"):
        integer(text)


@given(st.text(max_size=30))
def test_integer_raises_nothing_else(text: str) -> None:
    try:
        value = integer(text)
    except ValueError:
        return
    assert abs(value) < 1 << 100
