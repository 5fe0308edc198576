"""Names are formats: what `ip_`, `b16_` and their like make of a number, in output and in filters.

The kernel fetches packet bytes as a number in its own byte order; each prefix says what these bytes mean.
"""

import re
from collections.abc import Callable, Sequence
from typing import Literal

from surftrace.record import record

ByteOrder = Literal["little", "big"]


@record
class Prefix:
    """A name prefix. `show` makes text of the bytes; `read` makes bytes of a filter's literal, or raises ValueError.

    `array_type` is the kernel's type for values that no number holds; `has_networks` for those with CIDR notation.
    """

    text: str
    size: int
    meaning: str
    show: Callable[[bytes], str]
    read: Callable[[str], bytes]
    array_type: str | None = None
    has_networks: bool = False


def integer(text: str) -> int:
    """A C integer literal: decimal, hexadecimal, octal, negative. ValueError for anything else."""
    match = re.fullmatch(r"(-?)(?:0[xX]([0-9a-fA-F]{1,16})|(0[0-7]{0,22})|([1-9][0-9]{0,19}))", text)
    if match is None:
        raise ValueError(f"'{text}' is not a number")
    sign, hexadecimal, octal, decimal = match.groups()
    value = int(hexadecimal or octal or decimal, 16 if hexadecimal else 8 if octal else 10)
    return -value if sign else value


def _read_ip(text: str) -> bytes:
    from ipaddress import AddressValueError, IPv4Address  # 2 ms, which a probe without an address need not pay

    try:
        return IPv4Address(text).packed
    except AddressValueError:
        raise ValueError(f"'{text}' is not an IPv4 address") from None


def _read_ip6(text: str) -> bytes:
    from ipaddress import AddressValueError, IPv6Address

    try:
        address = IPv6Address(text)
    except AddressValueError:
        raise ValueError(f"'{text}' is not an IPv6 address") from None
    if address.scope_id is not None:
        raise ValueError(f"'{text}' has a zone, which no packet carries")
    return address.packed


def _read_mac(text: str) -> bytes:
    if not re.fullmatch(r"[0-9a-fA-F]{1,2}(?:([:-])[0-9a-fA-F]{1,2})(?:\1[0-9a-fA-F]{1,2}){4}", text):
        raise ValueError(f"'{text}' is not an Ethernet address")
    return bytes(int(part, 16) for part in re.split("[:-]", text))


def _read_big_endian(size: int) -> Callable[[str], bytes]:
    def read(text: str) -> bytes:
        value = integer(text)
        if not 0 <= value < 1 << 8 * size:
            raise ValueError(f"{text} does not fit {size * 8} unsigned bits")
        return value.to_bytes(size, "big")

    return read


def _show_decimal(data: bytes) -> str:
    return str(int.from_bytes(data, "big"))


def _show_hexadecimal(data: bytes) -> str:
    return hex(int.from_bytes(data, "big"))


def _show_ip(data: bytes) -> str:
    return ".".join(map(str, data))


def _show_ip6(data: bytes) -> str:
    """The text that RFC 5952 asks for, with the last part as IPv4 in ::ffff:0:0/96 (section 5)."""
    from ipaddress import IPv6Address

    if data[:12] == bytes(10) + b"\xff\xff":
        return f"::ffff:{_show_ip(data[12:])}"
    return str(IPv6Address(data))


def _show_mac(data: bytes) -> str:
    return data.hex(":")


PREFIXES = (
    Prefix("ip_", 4, "an IPv4 address", _show_ip, _read_ip, has_networks=True),
    Prefix("ip6_", 16, "an IPv6 address", _show_ip6, _read_ip6, "x64[2]", has_networks=True),
    Prefix("mac_", 6, "an Ethernet address", _show_mac, _read_mac, "x16[3]", has_networks=True),
    *(
        Prefix(
            f"{letter}{bits}_",
            bits // 8,
            f"a big-endian {bits}-bit number",
            show,
            _read_big_endian(bits // 8),
        )
        for letter, show in (("b", _show_decimal), ("B", _show_hexadecimal))
        for bits in (16, 32, 64)
    ),
)

# The prefix that fits a type which says that its bytes are in network order.
NETWORK_ORDER_TYPES = {"__be16": "b16_", "__be32": "b32_", "__be64": "b64_"}


def prefix_of(name: str) -> Prefix | None:
    """The format that an argument's name asks for."""
    return next((prefix for prefix in PREFIXES if name.startswith(prefix.text)), None)


def read_network(prefix: Prefix, text: str) -> tuple[bytes, int]:
    """The bytes and the length in bits of `address/length`; ValueError for what is none."""
    address, _, length = text.partition("/")
    data = prefix.read(address)
    bits = 8 * prefix.size
    if not re.fullmatch(r"[0-9]{1,3}", length) or int(length) > bits:
        raise ValueError(f"'/{length}' is no length of a network: 1 to {bits}")
    count = int(length)
    if count == 0:
        raise ValueError("every address is in a network of length 0")
    host_bits = bits - count
    number = int.from_bytes(data, "big")
    if number & (1 << host_bits) - 1:
        network = (number >> host_bits << host_bits).to_bytes(prefix.size, "big")
        raise ValueError(
            f"'{text}' has bits set behind its first {count}: the network is {prefix.show(network)}/{count}"
        )
    return data, count


def show_numbers(prefix: Prefix, numbers: Sequence[int], byteorder: ByteOrder) -> str:
    """The text of an array of numbers as the kernel fetched it."""
    size = prefix.size // len(numbers)
    return prefix.show(b"".join(number.to_bytes(size, byteorder) for number in numbers))


def show_number(prefix: Prefix, number: int, byteorder: ByteOrder) -> str:
    """The text of a number as the kernel fetched it."""
    return prefix.show(number.to_bytes(prefix.size, byteorder))
