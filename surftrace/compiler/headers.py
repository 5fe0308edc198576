"""Packet headers: where a header starts, counted from `skb->data`, which stands at layer N in the traced function."""

from collections.abc import Callable

from surftrace.record import record


@record
class _Header:
    """A header that can be asked for: `layer` is its own, `families` the network headers that it may follow."""

    layer: int
    families: tuple[int, ...] = (4, 6)


_NETWORK_HEADERS = {4: "iphdr", 6: "ipv6hdr"}

_HEADERS = {
    "ethhdr": _Header(2),
    "vlan_hdr": _Header(3),  # what follows the Ethernet header of a tagged frame
    "arphdr": _Header(3),
    "iphdr": _Header(3, (4,)),
    "ipv6hdr": _Header(3, (6,)),
    "icmphdr": _Header(4, (4,)),
    "icmp6hdr": _Header(4, (6,)),
    "tcphdr": _Header(4),
    "udphdr": _Header(4),
    "sctphdr": _Header(4),
}
HEADERS = tuple(_HEADERS)

# How a layer is written -> the layer, and the version of the network header that is counted with.
LAYERS = {"l2": (2, 4), "l3": (3, 4), "l4": (4, 4), "l2v6": (2, 6), "l3v6": (3, 6)}

# Members that every header has for what follows it: name -> bytes a unit; a string is read to its end.
DATA_MEMBERS = {"cdata": 1, "sdata": 2, "ldata": 4, "qdata": 8, "Sdata": 1}


class HeaderError(Exception):
    """A header that cannot be reached from the layer where data stands: what is wrong, and what would do."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def header_offset(tag: str, layer_name: str, size_of: Callable[[str], int]) -> int:
    """Bytes from `skb->data` at this layer (one of LAYERS) to the header, an IP header taken without options.

    `tag` is a struct's; `size_of` gives the size of a struct by its tag. Raises HeaderError.
    """
    header = _HEADERS.get(tag)
    if header is None:
        raise HeaderError(f"struct {tag} is not a packet header", f"headers are {', '.join(HEADERS)}")
    layer, family = LAYERS[layer_name]
    if header.layer < layer:
        raise HeaderError(
            f"struct {tag} lies below {layer_name}: skb->data is already past it",
            f"data must stand at l{header.layer} or lower for this header",
        )
    if layer_name.endswith("v6") and family not in header.families:
        raise HeaderError(f"struct {tag} is not of IPv6", f"write {layer_name.removesuffix('v6')}")
    between = []
    if layer == 2 and header.layer > 2:
        between.append("ethhdr")
    if layer <= 3 and header.layer == 4:
        # ICMPv6 comes behind IPv6 alone, whichever layer is written.
        between.append(_NETWORK_HEADERS[family if family in header.families else header.families[0]])
    return sum(size_of(name) for name in between)
