"""A struct, union, enum or typedef in, the lines of its definition out, each with where in memory it is."""

from collections.abc import Iterator, Sequence

from drgn import TypeKind, TypeMember

from surftrace.kernel.declarations import declared
from surftrace.kernel.types import KernelTypes, Type, is_aggregate, size_of, underlying
from surftrace.record import record

_BITS = 8
_KEYWORDS = {TypeKind.STRUCT: "struct", TypeKind.UNION: "union", TypeKind.CLASS: "class"}


@record
class LayoutLine:
    """A line of C with the bytes that it is about; `note` stands for a line that is no C, such as a hole.

    `bit_offset` counts from the start of the outermost type, None for a line without a place. `size` is in bytes: of a
    bit field, that of the type which holds it.
    """

    depth: int
    text: str
    note: str = ""
    bit_offset: int | None = None
    size: int = 0
    is_bit_field: bool = False

    @property
    def place(self) -> str:
        """The byte; of a bit field also the bit in what holds it, as pahole has it."""
        if self.bit_offset is None:
            return ""
        if not self.is_bit_field:
            return str(self.bit_offset // _BITS)
        byte = self.bit_offset // _BITS // self.size * self.size
        return f"{byte}:{self.bit_offset - byte * _BITS}"


def layout(types: KernelTypes, type_: Type, depth: int) -> list[LayoutLine]:
    """The definition of a type, with structs that are members spelled out so many deep: 1 is its own members alone.

    Those without a name are spelled out always, as nothing else tells what is in them.
    """
    lines: list[LayoutLine] = []
    while type_.kind is TypeKind.TYPEDEF:
        target = types.defined(type_.type)
        if target.kind in (*_KEYWORDS, TypeKind.ENUM) and target.tag is None:
            return [*lines, *_definition(types, target, depth, "typedef ", f" {type_.name}")]
        size = "" if is_aggregate(target) else f"size: {size_of(target) or 0}"
        lines.append(LayoutLine(0, f"typedef {declared(target, str(type_.name))};", size))
        type_ = target
    type_ = types.defined(type_)
    if is_aggregate(type_) or type_.kind is TypeKind.ENUM:
        return [*lines, *_definition(types, type_, depth, "", "")]
    return lines or [LayoutLine(0, declared(type_, ""), _scalar_note(type_))]


def _scalar_note(type_: Type) -> str:
    size = size_of(type_)
    sign = ", signed" if type_.kind is TypeKind.INT and type_.is_signed else ""
    return f"size: {size}{sign}" if size is not None else ""


def _definition(types: KernelTypes, type_: Type, depth: int, before: str, after: str) -> Iterator[LayoutLine]:
    bare = type_.unqualified()
    title = f"{before}{_title(bare)}"
    if not bare.is_complete():
        yield LayoutLine(0, f"{title}{after};", "only declared: nothing here tells what is in it")
        return
    yield LayoutLine(0, f"{title} {{")
    if bare.kind is TypeKind.ENUM:
        enumerators = bare.enumerators or ()
        yield from (LayoutLine(1, f"{each.name} = {each.value},") for each in enumerators)
        yield LayoutLine(0, f"}}{after};", f"size: {size_of(bare)}, values: {len(enumerators)}")
        return
    body = _Body(types)
    yield from body.lines(bare, 1, 0, depth)
    yield LayoutLine(0, f"}}{after};", body.summary(bare))


def _title(type_: Type) -> str:
    """`struct sk_buff`; of one without a name the keyword alone."""
    keyword = _KEYWORDS.get(type_.kind, "enum")
    return f"{keyword} {type_.tag}" if type_.tag is not None else keyword


class _Body:
    """The members of one type, and what was counted among its own."""

    def __init__(self, types: KernelTypes) -> None:
        self._types = types
        self._holes: list[int] = []  # in bits, of the outermost type
        self._padding = 0

    def lines(self, type_: Type, indent: int, start: int, depth: int) -> Iterator[LayoutLine]:
        """The members of a struct or union whose first bit is `start`, and what is between them."""
        end = 0
        is_struct = type_.kind is not TypeKind.UNION
        for member in type_.members or ():
            if is_struct and member.bit_offset > end:
                yield self._hole(member.bit_offset - end, indent)
            yield from self._member(member, indent, start + member.bit_offset, depth)
            end = max(end, member.bit_offset + _bits_of(member))
        padding = (size_of(type_) or 0) * _BITS - end
        if is_struct and padding > 0 and type_.members:
            if indent == 1:
                self._padding = padding
            yield LayoutLine(indent, "", f"{_amount(padding)} padding")

    def _hole(self, bits: int, indent: int) -> LayoutLine:
        if indent == 1:
            self._holes.append(bits)
        return LayoutLine(indent, "", f"{_amount(bits)} hole")

    def _member(self, member: TypeMember, indent: int, start: int, depth: int) -> Iterator[LayoutLine]:
        name, width = member.name or "", member.bit_field_size
        if width is not None:
            size = size_of(member.type) or 1
            yield LayoutLine(indent, f"{declared(member.type, name)}:{width};", "", start, size, True)
            return
        type_ = self._types.defined(member.type)
        size = size_of(type_) or 0
        if not self._is_spelled_out(type_, depth):
            yield LayoutLine(indent, f"{declared(member.type, name)};", "", start, size)
            return
        inner, rest = _element(type_)
        bare = underlying(inner)
        yield LayoutLine(indent, f"{_title(bare)} {{")
        is_anonymous = not name and bare.tag is None
        yield from self.lines(bare, indent + 1, start, depth if is_anonymous else depth - 1)
        yield LayoutLine(indent, f"}}{' ' if name else ''}{name}{rest};", "", start, size)

    @staticmethod
    def _is_spelled_out(type_: Type, depth: int) -> bool:
        inner, _ = _element(type_)
        bare = underlying(inner)
        is_nameless = inner.kind is not TypeKind.TYPEDEF and bare.kind in _KEYWORDS and bare.tag is None
        return is_nameless or (depth > 1 and bare.kind in _KEYWORDS and bare.is_complete())

    def summary(self, type_: Type) -> str:
        """`size: 232, members: 34, holes: 1 (2 bytes), padding: 4`."""
        facts = [f"size: {size_of(type_)}", f"members: {len(type_.members or ())}"]
        if self._holes:
            facts.append(f"holes: {len(self._holes)} ({_amount(sum(self._holes))})")
        if self._padding:
            facts.append(f"padding: {_amount(self._padding)}")
        return ", ".join(facts)


def _element(type_: Type) -> tuple[Type, str]:
    """What an array is of, with its brackets; any other type as it is."""
    rest = ""
    while type_.kind is TypeKind.ARRAY:
        rest += f"[{'' if type_.length is None else type_.length}]"
        type_ = type_.type
    return type_, rest


def _bits_of(member: TypeMember) -> int:
    width = member.bit_field_size
    return width if width is not None else (size_of(member.type) or 0) * _BITS


def _amount(bits: int) -> str:
    parts: Sequence[tuple[int, str]] = ((bits // _BITS, "byte"), (bits % _BITS, "bit"))
    return " and ".join(f"{count} {unit}{'s' if count > 1 else ''}" for count, unit in parts if count)


def spelled_size(size: int) -> str:
    """`1 byte`, `8 bytes`."""
    return _amount(size * _BITS) if size else "no bytes"
