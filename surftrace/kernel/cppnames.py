"""C++ names as people write them: which symbols of a table a name such as `shop::Item::total` may mean.

The runtime library of C++, which is there where its programs are, knows how compilers make symbols of names.
"""

import ctypes
import re
from collections.abc import Iterable, Iterator
from functools import cache

from surftrace.kernel.elfsymbols import Symbol, SymbolTable

_RUNTIMES = ("libstdc++.so.6", "libc++abi.so.1")
_WORD = re.compile(r"[A-Za-z_]\w*")
_MAX_CANDIDATES = 20_000
# What Rust puts behind its names.
_HASH = re.compile(r"::h[0-9a-f]{16}$")
_ABI_TAG = re.compile(r"\[abi:\w+\]")
_BRACKETS = {"(": 1, "<": 1, "[": 1, ")": -1, ">": -1, "]": -1}


def symbols_named(tables: Iterable[SymbolTable], name: str) -> dict[str, list[Symbol]]:
    """The symbols whose name in the source is that or ends in it, by the whole of that name with its parameters.

    `name` may have the parameters, or the arguments of its template, or neither. No symbols where C++ is not there.
    """
    found: dict[str, list[Symbol]] = {}
    wanted = _squeezed(name)
    words = _WORD.findall(name.partition("(")[0])
    if not words or not _has_runtime():
        return {}
    for symbol in _candidates(tables, max(words, key=len)):
        whole = _HASH.sub("", demangled(symbol.name))
        if wanted in _names_of(whole):
            found.setdefault(whole, []).append(symbol)
    return found


def _candidates(tables: Iterable[SymbolTable], word: str) -> Iterator[Symbol]:
    """The mangled symbols with a word in them: Itanium C++ ABI 5.1.3 has a name's length before it."""
    for table in tables:
        yield from table.mangled(f"{len(word)}{word}", _MAX_CANDIDATES)


def _names_of(whole: str) -> set[str]:
    """All that a demangled name may be written as."""
    whole = _ABI_TAG.sub("", whole)
    plain = _squeezed(_without_result(_without_parameters(whole)))
    names = {_squeezed(whole), plain, _without_template(plain)}
    parameters = _squeezed(whole)[len(_squeezed(_without_parameters(whole))) :]
    names.add(plain + parameters)
    return names | {part for name in names for part in _ends_of(name)}


def _ends_of(name: str) -> Iterator[str]:
    """`Item::total` and `total` of `shop::Item::total`."""
    depth = 0
    for index, character in enumerate(name):
        depth += _BRACKETS.get(character, 0)
        if not depth and name.startswith("::", index):
            yield name[index + 2 :]


def _without_parameters(whole: str) -> str:
    """The name without `(int, long) const` behind it."""
    depth = 0
    for index in range(len(whole) - 1, -1, -1):
        depth -= _BRACKETS.get(whole[index], 0)
        if whole[index] == "(" and not depth:
            is_operator = whole[:index].endswith("operator")
            return whole if is_operator else whole[:index]
    return whole


def _without_result(name: str) -> str:
    """A template's name without the type of its result, which its symbol has too."""
    depth, start = 0, 0
    for index, character in enumerate(name):
        depth += _BRACKETS.get(character, 0)
        if character == " " and not depth and "operator" not in name[start:index]:
            start = index + 1
    return name[start:]


def _without_template(name: str) -> str:
    """The name without the arguments of the template that it is of."""
    if not name.endswith(">"):
        return name
    depth = 0
    for index in range(len(name) - 1, -1, -1):
        depth -= _BRACKETS.get(name[index], 0)
        if not depth:
            return name[:index]
    return name


def _squeezed(name: str) -> str:
    """The name without the spaces that say nothing."""
    return re.sub(r"\s*([^\w\s])\s*", r"\1", name.strip())


def demangled(symbol: str) -> str:
    """A symbol as its source has it; the symbol itself where it is none of C++'s, or no runtime is there."""
    demangle = _demangler()
    if demangle is None or not symbol.startswith("_Z"):
        return symbol
    status = ctypes.c_int()
    address = demangle(symbol.encode(errors="surrogateescape"), None, None, ctypes.byref(status))
    if not address:
        return symbol
    try:
        return ctypes.string_at(address).decode(errors="surrogateescape")
    finally:
        _free()(address)


def _has_runtime() -> bool:
    return _demangler() is not None


@cache
def _demangler() -> "ctypes._NamedFuncPointer | None":
    """Itanium C++ ABI, 3.4: `char *__cxa_demangle(const char *, char *, size_t *, int *)`."""
    for name in _RUNTIMES:
        try:
            function = ctypes.CDLL(name)["__cxa_demangle"]
        except (OSError, AttributeError):
            continue
        function.restype = ctypes.c_void_p
        function.argtypes = (ctypes.c_char_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
        return function
    return None


@cache
def _free() -> "ctypes._NamedFuncPointer":
    function = ctypes.CDLL(None)["free"]
    function.argtypes, function.restype = (ctypes.c_void_p,), None
    return function
