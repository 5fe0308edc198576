"""Packet headers: where a header starts, counted from `skb->data`, which stands at layer N in the traced function."""

from collections.abc import Callable

# (header, layer) -> the headers that lie between skb->data and it.
_BETWEEN: dict[str, dict[int, tuple[str, ...]]] = {
    "ethhdr": {2: ()},
    "iphdr": {2: ("ethhdr",), 3: ()},
    "icmphdr": {2: ("ethhdr", "iphdr"), 3: ("iphdr",), 4: ()},
    "tcphdr": {2: ("ethhdr", "iphdr"), 3: ("iphdr",), 4: ()},
    "udphdr": {2: ("ethhdr", "iphdr"), 3: ("iphdr",), 4: ()},
}
_LAYER_OF = {"ethhdr": 2, "iphdr": 3, "icmphdr": 4, "tcphdr": 4, "udphdr": 4}

HEADERS = tuple(_BETWEEN)
LAYERS = (2, 3, 4)

# Members that every header has for what follows it: name -> bytes a unit; a string is read to its end.
DATA_MEMBERS = {"cdata": 1, "sdata": 2, "ldata": 4, "qdata": 8, "Sdata": 1}


class HeaderError(Exception):
    """A header that cannot be reached from the layer where data stands: what is wrong, and what would do."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def header_offset(header: str, layer: int, size_of: Callable[[str], int]) -> int:
    """Bytes from `skb->data` at this layer to the header, an IP header taken without options.

    `header` is a struct's tag; `size_of` gives the size of a struct by its tag. Raises HeaderError.
    """
    if header not in _BETWEEN:
        raise HeaderError(f"struct {header} is not a packet header", f"headers are {', '.join(HEADERS)}")
    between = _BETWEEN[header].get(layer)
    if between is None:
        raise HeaderError(
            f"struct {header} lies below l{layer}: skb->data is already past it",
            f"data must stand at l{_LAYER_OF[header]} or lower for this header",
        )
    return sum(size_of(name) for name in between)
