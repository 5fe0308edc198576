"""One BTF in, its functions out as C declares them: read from the records themselves, fast enough for all of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from surftrace.btf.convert import USER_SUFFIX, USER_TAG
from surftrace.btf.errors import BtfError
from surftrace.btf.format import Kind
from surftrace.btf.nesting import MAX_CHAIN
from surftrace.btf.reader import Btf
from surftrace.btf.records import BtfType, Parameter

# What goes before the name that is declared, and what behind it.
Declarator = tuple[str, str]

# gcc's long names of C's integers, and C's own.
SHORT_NAMES = {
    "short int": "short",
    "short unsigned int": "unsigned short",
    "long int": "long",
    "long unsigned int": "unsigned long",
    "long long int": "long long",
    "long long unsigned int": "unsigned long long",
}
_KEYWORDS = {Kind.STRUCT: "struct", Kind.UNION: "union", Kind.ENUM: "enum", Kind.ENUM64: "enum"}
_QUALIFIERS = {Kind.CONST: "const", Kind.VOLATILE: "volatile", Kind.RESTRICT: "restrict"}
_MAX_LENGTH = 1 << 16  # characters of a type: no kernel's has a tenth of it


class Signatures:
    """How the types of a BTF are spelled; `base` is that of the BTF which it continues."""

    __slots__ = ("_base", "_btf", "_declarators", "_spellings")

    def __init__(self, btf: Btf, base: Signatures | None = None) -> None:
        self._btf = btf
        self._base = base
        self._declarators: dict[int, Declarator] = {}
        self._spellings: dict[int, tuple[str, ...]] = {}

    def functions(self) -> Iterator[tuple[str, int]]:
        """Every function of this BTF (not of its base), with the id of its prototype, in file order."""
        return self._btf.references(Kind.FUNC)

    def declared(self, name: str, type_id: int) -> str:
        """The declaration of a name that is of that type: `int ip_rcv(struct sk_buff *skb)`."""
        return joined(self._declarator(type_id, 0), name)

    def takes(self, prototype_id: int, wanted: Collection[str]) -> bool:
        """Has a function a parameter whose type is spelled like one of those? See `spellings`."""
        prototype = self._btf.type(prototype_id)
        if prototype.kind is not Kind.FUNC_PROTO:
            return False
        ids = self._btf.words(prototype.tail, 2 * prototype.vlen)[1::2].tolist()
        return any(spelling in wanted for type_id in ids for spelling in self.spellings(type_id))

    def spellings(self, type_id: int) -> tuple[str, ...]:
        """The ways to write a type without qualifiers: with its typedefs first, last as what these stand for."""
        return self._spelled(type_id, 0)

    def _spelled(self, type_id: int, depth: int) -> tuple[str, ...]:
        if self._base is not None and type_id < self._btf.first_id:
            return self._base._spelled(type_id, depth)
        known = self._spellings.get(type_id)
        if known is None:
            _check_depth(type_id, depth)
            known = self._spellings[type_id] = self._all_spellings(self._btf.type(type_id), depth + 1)
        return known

    def _all_spellings(self, record: BtfType, depth: int) -> tuple[str, ...]:
        if record.kind in _QUALIFIERS or record.kind is Kind.TYPE_TAG:
            return self._spelled(record.type_id, depth)
        if record.kind is Kind.TYPEDEF:
            target = self._btf.type(record.type_id)
            is_anonymous = target.kind in _KEYWORDS and not target.name
            return (record.name, *(() if is_anonymous else self._spelled(record.type_id, depth)))
        if record.kind is Kind.PTR:
            return tuple(pointer_to(each) for each in self._spelled(record.type_id, depth))
        return (joined(self._declarator(record.id, depth), ""),)

    def _declarator(self, type_id: int, depth: int) -> Declarator:
        if self._base is not None and type_id < self._btf.first_id:
            return self._base._declarator(type_id, depth)
        known = self._declarators.get(type_id)
        if known is None:
            _check_depth(type_id, depth)
            known = self._made(self._btf.type(type_id), depth + 1)
            if len(known[0]) + len(known[1]) > _MAX_LENGTH:
                raise BtfError(f"type {type_id} takes more than {_MAX_LENGTH} characters to write")
            self._declarators[type_id] = known
        return known

    def _made(self, record: BtfType, depth: int) -> Declarator:
        match record.kind:
            case Kind.VOID:
                return "void", ""
            case Kind.INT | Kind.FLOAT | Kind.TYPEDEF:
                return SHORT_NAMES.get(record.name, record.name), ""
            case Kind.FWD:
                return f"{'union' if record.kind_flag else 'struct'} {record.name}", ""
            case Kind.STRUCT | Kind.UNION | Kind.ENUM | Kind.ENUM64:
                return f"{_KEYWORDS[record.kind]} {record.name or '{...}'}", ""
            case Kind.PTR:
                return self._pointer(record, depth)
            case Kind.CONST | Kind.VOLATILE | Kind.RESTRICT | Kind.TYPE_TAG:
                return self._qualified(record, depth)
            case Kind.ARRAY:
                before, after = self._declarator(record.type_id, depth)
                return before, f"[{record.length or ''}]{after}"
            case Kind.FUNC_PROTO:
                before, after = self._declarator(record.type_id, depth)
                return before, f"({self._parameters(record, depth)}){after}"
            case _:
                raise BtfError(f"type {record.id} is used as a type but is a {record.kind.name}")

    def _pointer(self, record: BtfType, depth: int) -> Declarator:
        before, after = self._declarator(record.type_id, depth)
        if self._bare_kind(record.type_id) in (Kind.ARRAY, Kind.FUNC_PROTO):
            return f"{before} (*", f"){after}"
        return pointer_to(before), after

    def _qualified(self, record: BtfType, depth: int) -> Declarator:
        before, after = self._declarator(record.type_id, depth)
        if record.kind is Kind.TYPE_TAG:
            return (f"{before} {USER_SUFFIX}" if record.name == USER_TAG else before), after
        word = _QUALIFIERS[record.kind]
        if self._bare_kind(record.type_id) is Kind.PTR:
            return f"{before}{'' if before.endswith('*') else ' '}{word}", after
        return f"{word} {before}", after

    def _bare_kind(self, type_id: int) -> Kind:
        """The kind below qualifiers."""
        for _ in range(MAX_CHAIN):
            record = self._btf.type(type_id)
            if record.kind not in _QUALIFIERS and record.kind is not Kind.TYPE_TAG:
                return record.kind
            type_id = record.type_id
        raise BtfError(f"more than {MAX_CHAIN} types refer to each other at type {type_id}")

    def _parameters(self, record: BtfType, depth: int) -> str:
        parameters = record.parameters
        texts = [
            "..." if each == Parameter("", 0) else joined(self._declarator(each.type_id, depth), each.name)
            for each in parameters
        ]
        return ", ".join(texts) or "void"


def joined(declarator: Declarator, name: str) -> str:
    """A declaration of its parts; without a name, a type."""
    before, after = declarator
    space = "" if not name or before.endswith("*") else " "
    return f"{before}{space}{name}{after}"


def pointer_to(spelling: str) -> str:
    """How a pointer to a type is written that is neither an array nor a function."""
    return f"{spelling}{'' if spelling.endswith('*') else ' '}*"


def _check_depth(type_id: int, depth: int) -> None:
    if depth > MAX_CHAIN:
        raise BtfError(f"more than {MAX_CHAIN} types refer to each other at type {type_id}")
