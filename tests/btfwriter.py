"""Writes BTF for tests: declarations in, bytes out.

    kernel = write(
        struct("sk_buff", 232,
            ("len", "unsigned int", 112),
            ("cloned", "__u8", 126, 0, 1),                  # a bit field: byte, bit in it, bits
            (None, union(None, 8, ("dev", "struct net_device *", 0)), 16)),
        typedef("__u8", "unsigned char"),
        enum("pid_type", PIDTYPE_PID=0, PIDTYPE_TGID=1),
        function("ip_output", "int", ("skb", "struct sk_buff *")),
        function("_printk", "int", ("fmt", "const char *"), ...),
        variable("runqueues", "struct rq"),
    )
    module = write(struct("nf_conn", 8, ("skb", "struct sk_buff *", 0)), base=kernel)
    Btf(module.data, base=Btf(kernel.data))

A type is a declaration or C text: a name, with `const` or `volatile` before it and `*` or `[N]` behind it.
C's own types need no declaration; a tag that is not declared becomes a forward declaration.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from struct import pack
from types import EllipsisType, MappingProxyType
from typing import TypeAlias

from surftrace.btf.format import KIND_FLAG, KIND_SHIFT, MAGIC, TAIL_WORDS, VERSION, Kind

Type: TypeAlias = "str | Declaration | int"  # C text, a declaration, or an id as it is
Ref: TypeAlias = "tuple[str, Type]"  # a word that becomes the id of a type: ("type", Type)
Word: TypeAlias = "int | str | Ref | None"  # a number, a name, a type, no name

C_INTEGERS = {
    "char": (1, True),
    "signed char": (1, True),
    "unsigned char": (1, False),
    "short int": (2, True),
    "short unsigned int": (2, False),
    "int": (4, True),
    "unsigned int": (4, False),
    "long int": (8, True),
    "long unsigned int": (8, False),
    "long long int": (8, True),
    "long long unsigned int": (8, False),
    "__int128": (16, True),
}
C_SPELLINGS = {
    "short": "short int",
    "unsigned short": "short unsigned int",
    "long": "long int",
    "unsigned long": "long unsigned int",
    "long long": "long long int",
    "unsigned long long": "long long unsigned int",
}
_SIGNED, _BOOL = 1 << 24, 4 << 24


@dataclass(frozen=True)
class Declaration:
    """A type record whose words may still be names and types."""

    kind: int
    name: str | None
    size_or_type: Word = 0
    tail: tuple[Word, ...] = ()
    vlen: int = 0
    kind_flag: bool = False


@dataclass(frozen=True)
class Written:
    """The bytes, and what a split BTF needs of its base."""

    data: bytes
    ids: dict[object, int]
    next_id: int
    strings: dict[str, int]
    string_end: int
    byteorder: str


def struct(name: str | None, size: int, *members: Sequence[object]) -> Declaration:
    """`members` are (name or None, type, byte offset); a bit field adds its bit there, and its bits."""
    return _compound(Kind.STRUCT, name, size, members)


def union(name: str | None, size: int, *members: Sequence[object]) -> Declaration:
    """As `struct`; offsets are 0 in most."""
    return _compound(Kind.UNION, name, size, members)


def _compound(kind: Kind, name: str | None, size: int, members: Sequence[Sequence[object]]) -> Declaration:
    has_bit_fields = any(len(member) > 3 for member in members)
    tail: list[Word] = []
    for member_name, member_type, byte, *bit_field in members:
        assert member_name is None or isinstance(member_name, str)
        assert isinstance(byte, int) and isinstance(member_type, (str, int, Declaration))
        bit, bits = bit_field or (0, 0)
        assert isinstance(bit, int) and isinstance(bits, int)
        tail += [member_name, ("type", member_type), byte * 8 + bit | bits << 24]
    return Declaration(kind, name, size, tuple(tail), len(members), has_bit_fields)


def forward(name: str, *, is_union: bool = False) -> Declaration:
    """A tag without its definition."""
    return Declaration(Kind.FWD, name, kind_flag=is_union)


def typedef(name: str, target: Type) -> Declaration:
    return Declaration(Kind.TYPEDEF, name, ("type", target))


def pointer(target: Type) -> Declaration:
    return Declaration(Kind.PTR, None, ("type", target))


def array(element: Type, length: int) -> Declaration:
    return Declaration(Kind.ARRAY, None, 0, (("type", element), ("type", "unsigned int"), length))


def qualified(kind: Kind, target: Type) -> Declaration:
    return Declaration(kind, None, ("type", target))


def type_tag(name: str, target: Type) -> Declaration:
    return Declaration(Kind.TYPE_TAG, name, ("type", target))


def integer(name: str, size: int, *, is_signed: bool = False, bits: int = 0) -> Declaration:
    return Declaration(Kind.INT, name, size, (_SIGNED * is_signed | (bits or 8 * size),))


def boolean(name: str = "_Bool", size: int = 1) -> Declaration:
    return Declaration(Kind.INT, name, size, (_BOOL | 8 * size,))


def floating(name: str, size: int) -> Declaration:
    return Declaration(Kind.FLOAT, name, size)


def enum(name: str | None, size: int = 4, *, is_signed: bool | None = None, **values: int) -> Declaration:
    """Of 8 bytes it is an ENUM64. Signed where a value is negative, if not told."""
    if is_signed is None:
        is_signed = any(value < 0 for value in values.values())
    tail: list[Word] = []
    for key, value in values.items():
        tail += [key, value & 0xFFFFFFFF]
        tail += [value >> 32 & 0xFFFFFFFF] if size == 8 else []
    return Declaration(Kind.ENUM64 if size == 8 else Kind.ENUM, name, size, tuple(tail), len(values), is_signed)


def prototype(returned: Type, *parameters: tuple[str | None, Type] | EllipsisType) -> Declaration:
    """`parameters` are (name, type); a last `...` makes it variadic."""
    pairs = [(None, 0) if parameter is ... else parameter for parameter in parameters]
    tail: list[Word] = []
    for name, type_ in pairs:
        tail += [name, ("type", type_)]
    return Declaration(Kind.FUNC_PROTO, None, ("type", returned), tuple(tail), len(pairs))


def function(name: str, returned: Type, *parameters: tuple[str | None, Type] | EllipsisType) -> Declaration:
    return Declaration(Kind.FUNC, name, ("type", prototype(returned, *parameters)))


def variable(name: str, type_: Type) -> Declaration:
    return Declaration(Kind.VAR, name, ("type", type_), (1,))


def section(name: str, size: int, *variables: tuple[Declaration, int, int]) -> Declaration:
    """`variables` are (declaration, byte offset, size)."""
    tail: list[Word] = []
    for declared, offset, length in variables:
        tail += [("type", declared), offset, length]
    return Declaration(Kind.DATASEC, name, size, tuple(tail), len(variables))


def declaration_tag(name: str, target: Declaration, component: int = -1) -> Declaration:
    return Declaration(Kind.DECL_TAG, name, ("type", target), (component & 0xFFFFFFFF,))


def write(
    *declarations: Declaration,
    base: Written | None = None,
    byteorder: str = "little",
    header_size: int = 24,
    layout: bool = False,
    extra_layouts: Mapping[int, tuple[int, int]] = MappingProxyType({}),
) -> Written:
    """BTF with these declarations and all they refer to, in the order of first use.

    `layout` adds the section of Linux 7.2 that tells each kind's record size, `extra_layouts` more kinds in
    it: (bytes once, bytes for each of vlen). A `base` gives its byte order.
    """
    writer = _Writer(base.byteorder if base else byteorder, base)
    layouts = {kind: (once * 4, each * 4) for kind, (once, each) in TAIL_WORDS.items()}
    return writer.write(declarations, header_size, {**layouts, **extra_layouts} if layout else {})


@dataclass
class _Writer:
    byteorder: str
    base: Written | None
    records: list[bytes] = field(default_factory=list)
    ids: dict[object, int] = field(default_factory=dict)
    strings: dict[str, int] = field(default_factory=dict)
    text: bytes = b""
    declared: dict[object, Declaration] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.base:
            self.ids, self.strings = dict(self.base.ids), dict(self.base.strings)
        else:
            self.text = b"\0"

    def write(
        self, declarations: Sequence[Declaration], header_size: int, layouts: Mapping[int, tuple[int, int]]
    ) -> Written:
        for declaration in declarations:
            for key in _keys(declaration):
                self.declared.setdefault(key, declaration)
        for declaration in declarations:
            self.id_of(declaration)
        types = b"".join(self.records)
        kinds = range(max(layouts, default=-1) + 1)
        layout = b"".join(self._pack("BBH", *layouts.get(kind, (0, 0)), 0) for kind in kinds)
        header_size = max(header_size, 32) if layout else header_size
        spans = [0, len(types), len(types) + len(layout), len(self.text), len(types), len(layout)]
        header = self._pack("HBBI6I", MAGIC, VERSION, 0, header_size, *spans)[: 32 if layout else 24]
        data = header.ljust(header_size, b"\0") + types + layout + self.text
        string_start = self.base.string_end if self.base else 0
        string_end = string_start + len(self.text)
        return Written(data, self.ids, self._next_id(), self.strings, string_end, self.byteorder)

    def id_of(self, type_: Type) -> int:
        if isinstance(type_, int):
            return type_
        declaration = type_ if isinstance(type_, Declaration) else self._parse(type_)
        if declaration is None:
            return 0
        if declaration not in self.ids:
            index = len(self.records)
            self.ids[declaration] = self._next_id()
            for key in _keys(declaration):
                self.ids.setdefault(key, self.ids[declaration])
            self.records.append(b"")
            self.records[index] = self._record(declaration)
        return self.ids[declaration]

    def _next_id(self) -> int:
        return (self.base.next_id if self.base else 1) + len(self.records)

    def _record(self, declaration: Declaration) -> bytes:
        info = declaration.kind << KIND_SHIFT | declaration.vlen | KIND_FLAG * declaration.kind_flag
        words = (declaration.name, info, declaration.size_or_type, *declaration.tail)
        return self._pack(f"{len(words)}I", *[self._word(word) for word in words])

    def _word(self, word: Word) -> int:
        if isinstance(word, int):
            return word
        if isinstance(word, tuple):
            return self.id_of(word[1])
        return self._string(word or "")

    def _string(self, string: str) -> int:
        if not string:
            return 0
        if string not in self.strings:
            self.strings[string] = (self.base.string_end if self.base else 0) + len(self.text)
            self.text += string.encode() + b"\0"
        return self.strings[string]

    def _parse(self, text: str) -> Declaration | None:
        """The declaration that C text stands for; None for `void`."""
        text = " ".join(text.replace("*", " * ").split())
        if text.endswith("]"):
            element, _, length = text[:-1].partition("[")
            first, *more = (length or "0").split("][")
            inner = element + "".join(f"[{each}]" for each in more)
            return array(inner, int(first or 0))
        if text.endswith(" * const"):
            return qualified(Kind.CONST, text.removesuffix(" const"))
        if text.endswith(" *"):
            return pointer(text.removesuffix(" *"))
        for word, kind in (("const ", Kind.CONST), ("volatile ", Kind.VOLATILE)):
            if text.startswith(word):
                return qualified(kind, text.removeprefix(word))
        return None if text == "void" else self._named(text)

    def _named(self, name: str) -> Declaration:
        name = C_SPELLINGS.get(name, name)
        if name in self.declared:
            return self.declared[name]
        if name in self.ids and self.base:
            known = (key for key, type_id in self.ids.items() if type_id == self.ids[name])
            return next(key for key in known if isinstance(key, Declaration))
        tag, _, rest = name.partition(" ")
        if tag in ("struct", "union"):
            return forward(rest, is_union=tag == "union")
        if name in ("bool", "_Bool"):
            return boolean() if name == "_Bool" else typedef("bool", "_Bool")
        if name not in C_INTEGERS:
            raise ValueError(f"type {name!r} is not declared")
        size, is_signed = C_INTEGERS[name]
        return integer(name, size, is_signed=is_signed)

    def _pack(self, form: str, *values: int) -> bytes:
        return pack(("<" if self.byteorder == "little" else ">") + form, *values)


_TAGS = {Kind.STRUCT: "struct ", Kind.UNION: "union ", Kind.ENUM: "enum ", Kind.ENUM64: "enum "}
_PLAIN = (Kind.TYPEDEF, Kind.INT, Kind.FLOAT)


def _keys(declaration: Declaration) -> list[str]:
    """How C text refers to a declaration."""
    if declaration.name is None:
        return []
    if declaration.kind in _TAGS:
        return [_TAGS[Kind(declaration.kind)] + declaration.name]
    return [declaration.name] if declaration.kind in _PLAIN else []
