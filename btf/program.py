"""BTF in, a drgn program out whose types come from it, each when it is first asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import drgn

from surftrace.btf.convert import Converter
from surftrace.btf.errors import BtfError
from surftrace.btf.format import Kind
from surftrace.btf.reader import Btf
from surftrace.btf.records import BtfType

_KINDS: dict[drgn.TypeKind, tuple[Kind, ...]] = {
    drgn.TypeKind.STRUCT: (Kind.STRUCT, Kind.FWD),
    drgn.TypeKind.UNION: (Kind.UNION, Kind.FWD),
    drgn.TypeKind.ENUM: (Kind.ENUM, Kind.ENUM64),
    drgn.TypeKind.TYPEDEF: (Kind.TYPEDEF,),
    drgn.TypeKind.INT: (Kind.INT,),
    drgn.TypeKind.BOOL: (Kind.INT,),
    drgn.TypeKind.FLOAT: (Kind.FLOAT,),
}
# drgn asks for C's shortest spelling first, then for each other one; gcc writes these.
_GCC_NAMES = {
    "short": "short int",
    "unsigned short": "short unsigned int",
    "long": "long int",
    "unsigned long": "long unsigned int",
    "long long": "long long int",
    "unsigned long long": "long long unsigned int",
}


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class BtfProgram:
    """A drgn program (`prog`) whose type finder reads BTF, and what drgn's own lookups do not offer."""

    prog: drgn.Program
    _converters: list[Converter] = field(default_factory=list)
    _found: dict[tuple[drgn.TypeKind, str], drgn.Type | None] = field(default_factory=dict)

    def function(self, name: str) -> drgn.Type | None:
        """The prototype of a function, with the names of its parameters."""
        return next(self._functions(name), None)

    def functions_named(self, name: str) -> tuple[drgn.Type, ...]:
        """Every prototype of this name: static functions of different files may share it."""
        return tuple(self._functions(name))

    def functions(self) -> Iterator[str]:
        """Names of all functions."""
        return self._names((Kind.FUNC,))

    def variable(self, name: str) -> drgn.Type | None:
        """The type of a variable; BTF of most kernels has the per-CPU ones only."""
        for converter, record in self._records(name, (Kind.VAR,)):
            return converter.type(record.type_id)
        return None

    def enumerator(self, name: str) -> tuple[int, ...]:
        """The values that the enumerators of this name have, whatever their enums; each once, in the file's order."""
        return tuple(
            dict.fromkeys(
                enumerator.value
                for converter in self._converters
                for type_id in converter.btf.find_enumerator(name)
                for enumerator in converter.btf.type(type_id).enumerators
                if enumerator.name == name
            )
        )

    def enum_with(self, name: str) -> drgn.Type | None:
        """The first enum that has an enumerator of this name."""
        return next(self.enums_with(name), None)

    def enums_with(self, name: str) -> Iterator[drgn.Type]:
        """Every enum that has an enumerator of this name."""
        for converter in self._converters:
            for type_id in converter.btf.find_enumerator(name):
                yield converter.type(type_id)

    def enumerators(self) -> Iterator[str]:
        """Names of the enumerators of all enums."""
        for converter in self._converters:
            for type_id in converter.btf.ids((Kind.ENUM, Kind.ENUM64)):
                yield from (each.name for each in converter.btf.type(type_id).enumerators)

    def type_names(self, kind: drgn.TypeKind) -> Iterator[str]:
        """Names of all types of a kind that are defined: tags without `struct`, `union` or `enum`."""
        return self._names([each for each in _KINDS.get(kind, ()) if each is not Kind.FWD])

    def _names(self, kinds: Sequence[Kind]) -> Iterator[str]:
        for converter in self._converters:
            yield from converter.btf.names(kinds)

    def _records(self, name: str, kinds: Sequence[Kind]) -> Iterator[tuple[Converter, BtfType]]:
        for converter in self._converters:
            for type_id in converter.btf.find(name, kinds):
                yield converter, converter.btf.type(type_id)

    def _functions(self, name: str) -> Iterator[drgn.Type]:
        for converter, record in self._records(name, (Kind.FUNC,)):
            prototype = converter.type(record.type_id)
            if prototype.kind is not drgn.TypeKind.FUNCTION:
                raise BtfError(f"function {name} has the type {record.type_id}, which is no prototype")
            yield prototype

    def _candidates(self, kind: drgn.TypeKind, name: str) -> list[tuple[Converter, BtfType]]:
        found = [
            (converter, record)
            for converter, record in self._records(name, _KINDS.get(kind, ()))
            if _is_of(record, kind)
        ]
        return sorted(found, key=lambda each: not each[1].is_complete)

    def _definition(self, name: str, kind: drgn.TypeKind) -> drgn.Type | None:
        for converter, record in self._candidates(kind, name):
            return converter.type(record.id) if record.is_complete else None
        return None

    def _find(self, _prog: drgn.Program, kinds: drgn.TypeKindSet, name: str, filename: str | None) -> drgn.Type | None:
        if filename:  # BTF has no file names
            return None
        for kind in kinds:
            if (kind, name) not in self._found:
                self._found[kind, name] = self._first(kind, name)
            found = self._found[kind, name]
            if found is not None:
                return found
        return None

    def _first(self, kind: drgn.TypeKind, name: str) -> drgn.Type | None:
        for spelling in (_GCC_NAMES.get(name), name):
            for converter, record in self._candidates(kind, spelling) if spelling else ():
                return converter.type(record.id)
        return None


def open_program(btfs: Sequence[Btf], architecture: drgn.Architecture = drgn.Architecture.UNKNOWN) -> BtfProgram:
    """A program with the types of all of `btfs` and of their bases; a name is looked up in this order.

    A base comes after the first that it is the base of, where it is not named before.
    """
    chain = _with_bases(btfs)
    if not chain:
        raise BtfError("no BTF given")
    flags = drgn.PlatformFlags(0)
    if chain[0].pointer_size == 8:
        flags |= drgn.PlatformFlags.IS_64_BIT
    if chain[0].byteorder == "little":
        flags |= drgn.PlatformFlags.IS_LITTLE_ENDIAN
    program = BtfProgram(drgn.Program(drgn.Platform(architecture, flags)))
    converters: dict[int, Converter] = {}
    for btf in sorted(chain, key=_depth):
        base = converters[id(btf.base)] if btf.base else None
        converters[id(btf)] = Converter(btf, program.prog, base, program._definition)
    program._converters.extend(converters[id(btf)] for btf in chain)
    program.prog.register_type_finder("btf", program._find, enable_index=0)
    return program


def _with_bases(btfs: Sequence[Btf]) -> list[Btf]:
    chain = {id(btf): btf for btf in btfs}
    for btf in btfs:
        base = btf.base
        while base:
            chain.setdefault(id(base), base)
            base = base.base
    return list(chain.values())


def _depth(btf: Btf) -> int:
    """How many bases it stands on."""
    return 1 + _depth(btf.base) if btf.base else 0


def _is_of(record: BtfType, kind: drgn.TypeKind) -> bool:
    """Whether a record of one of `_KINDS[kind]` is indeed of this kind."""
    if record.kind is Kind.FWD:
        return record.kind_flag is (kind is drgn.TypeKind.UNION)
    if record.kind is Kind.INT:
        return record.is_bool is (kind is drgn.TypeKind.BOOL)
    return True
