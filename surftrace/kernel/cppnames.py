"""C++ names as people write them: which symbols of a table a name such as `shop::Item::total` may mean.

The runtime library of C++, which is there where its programs are, knows how compilers make symbols of names.
"""

import ctypes
import re
from collections.abc import Iterable, Iterator
from functools import cache, lru_cache

from surftrace.kernel.elfsymbols import Symbol, SymbolTable
from surftrace.kernel.symbols import CLONE_SUFFIX
from surftrace.record import record

_RUNTIMES = ("libstdc++.so.6", "libc++abi.so.1")
_MAX_CANDIDATES = 1 << 24  # more than any file has
# What Rust puts behind its names.
_HASH = re.compile(r"::h[0-9a-f]{16}$")
_ABI_TAG = re.compile(r"\[abi:\w+\]")
_CLONE = re.compile(r"(?: \[clone [^]]*\])+$")
_CLONE_SUFFIX = re.compile(CLONE_SUFFIX.decode() + "$")
# What the compiler makes besides of a function: thunks, guards, wrappers. Itanium C++ ABI 5.1.4.
_SPECIAL = ("_ZT", "_ZG")
# Itanium C++ ABI 5.1.10: the names that are abbreviated, so that symbols have not the words.
_ABBREVIATED = frozenset(("std", "allocator", "string", "basic_string", "istream", "ostream", "iostream"))
_ABBREVIATED_BASES = frozenset(("basic_istream", "basic_ostream", "basic_iostream"))
_IDENTIFIER = re.compile(r"[A-Za-z_]\w*")
_OPENING, _CLOSING = "([{<", ")]}>"
# Names with brackets that open nothing; other characters stand for theirs while a name is taken apart.
_OPERATOR = re.compile(r"\boperator\s*(<=>|<<=|>>=|->\*|<<|>>|<=|>=|->|\(\)|\[\]|<|>)")
_ANONYMOUS = "(anonymous namespace)"
_STAND_IN = {ord(character): 0xE000 + index for index, character in enumerate("()[]<> ")}
_STOOD_FOR = {stand_in: chr(character) for character, stand_in in _STAND_IN.items()}
_CONST_FIRST = re.compile(r"(?<=[(,<])\s*const\s+((?:(?:unsigned|signed|long|short)\s+)*[\w:]+)(?=\s*[*&,)>])")


def symbols_named(tables: Iterable[SymbolTable], name: str) -> dict[str, list[Symbol]]:
    """The symbols whose name in the source is that or ends in it, by the whole of that name with its parameters.

    `name` may have the parameters, or the arguments of its templates, or neither; where it is the whole of one name, it
    is no end of others. No symbols where C++ is not there.
    """
    wanted = _squeezed(_taken_apart(name))
    found: list[dict[str, list[Symbol]]] = [{}, {}, {}]
    parts = _parts_of(_taken_apart(name))
    last = parts[-1].translate(_STOOD_FOR).replace(" ", "")
    if not last or not _has_runtime():
        return {}
    for symbol in _candidates(tables, _word_of(parts)):
        whole = demangled(symbol.name)
        is_part = ".cold" in symbol.name  # the unlikely part of a function's body
        if is_part or symbol.name.startswith(_SPECIAL) or whole == symbol.name or last not in whole.replace(" ", ""):
            continue
        whole = _HASH.sub("", _CLONE.sub("", whole))
        closeness = next((n for n, names in enumerate(_names_of(whole)) if wanted in names), None)
        if closeness is not None:
            found[closeness].setdefault(whole, []).append(symbol)
    return next(filter(None, found), {})


def is_clone(symbol: str) -> bool:
    """Is it the compiler's renamed copy of a function?"""
    return _CLONE_SUFFIX.search(symbol) is not None


def _candidates(tables: Iterable[SymbolTable], word: str) -> Iterator[Symbol]:
    """The mangled symbols with a word in them: Itanium C++ ABI 5.1.3 has a name's length before it."""
    for table in tables:
        yield from table.mangled(f"{len(word)}{word}" if word else "", _MAX_CANDIDATES)


def _parts_of(name: str) -> list[str]:
    """`shop`, `Item`, `total` of `shop::Item::total(int)`."""
    name = _without_templates(_read(name).plain)
    last = [name, *_ends_of(name)]
    return [part.removesuffix(end).removesuffix("::") for part, end in zip(last, [*last[1:], ""], strict=True)]


def _word_of(parts: list[str]) -> str:
    """A word that the symbols of a name of these parts have in them; empty where there may be none."""
    for before, part in zip(["", *parts][len(parts) - 1 :: -1], parts[::-1], strict=True):
        bare = part.strip().removeprefix("~")
        # Constructors, destructors and operators have letters of their own: their class has the word.
        is_word = _IDENTIFIER.fullmatch(bare) and not bare.startswith("operator") and bare != before
        if is_word and bare not in _ABBREVIATED | _ABBREVIATED_BASES:
            return bare
        if is_word:
            return ""
    return ""


@record
class _Name:
    """A demangled name: with what is before it, what its parameters are, and what is behind these."""

    plain: str
    result: str
    parameters: str
    behind: str


def _names_of(whole: str) -> tuple[set[str], set[str], set[str]]:
    """All that a demangled name may be written as: whole, as the end of it with all its parameters, otherwise."""
    name = _read(_taken_apart(whole))
    plain = _squeezed(name.plain)
    parameters, behind = _squeezed(name.parameters), _squeezed(name.behind)
    forms = {plain, _without_last_template(plain), _without_templates(plain)}
    ends = {end for form in forms for end in (form, *_ends_of(form))}
    complete = {plain + parameters + behind, _squeezed(_taken_apart(whole))}
    return (
        complete,
        {end + parameters + behind for end in ends} if parameters else set(),
        ends | {end + parameters for end in ends},
    )


def _read(whole: str) -> _Name:
    head, parameters = _halves(whole)
    depths = _depths(head)
    limit = head.find("operator")
    spaces = [index for index, character in enumerate(head[: limit if limit >= 0 else None]) if character == " "]
    start = max((index + 1 for index in spaces if not depths[index]), default=0)
    end = parameters.rfind(")") + 1
    return _Name(head[start:], head[:start], parameters[:end], parameters[end:])


def _halves(whole: str) -> tuple[str, str]:
    """The name, and its parameters with what is behind them."""
    depths = _depths(whole)
    start = max((index for index, character in enumerate(whole) if character == "(" and not depths[index]), default=-1)
    # The parameters of a function that something is local to are no end.
    if start < 0 or "::" in whole[whole.rfind(")") :]:
        return whole, ""
    return whole[:start], whole[start:]


def _depths(text: str) -> list[int]:
    """How many brackets each character is in; a bracket is outside of itself."""
    open_brackets: list[str] = []
    depths = []
    for character in text:
        if character in _CLOSING:
            opening = _OPENING[_CLOSING.index(character)]
            if character != ">" and opening in open_brackets:  # signs of comparison may stand between
                while open_brackets.pop() != opening:
                    pass
            elif open_brackets and open_brackets[-1] == opening:
                open_brackets.pop()
        depths.append(len(open_brackets))
        if character in _OPENING:
            open_brackets.append(character)
    return depths


def _ends_of(name: str) -> Iterator[str]:
    """`Item::total` and `total` of `shop::Item::total`."""
    depths = _depths(name)
    for index in range(len(name)):
        if not depths[index] and name.startswith("::", index):
            yield name[index + 2 :]


def _without_templates(name: str) -> str:
    """The name without the arguments of all templates in it."""
    depths = _depths(name)
    outside = (character for character, depth in zip(name, depths, strict=True) if not depth and character not in "<>")
    return "".join(outside) if "<" in name else name


def _without_last_template(name: str) -> str:
    """The name without the arguments of the template that it is of."""
    if not name.endswith(">"):
        return name
    depths = _depths(name)
    return name[: max(index for index, each in enumerate(name) if each == "<" and not depths[index])]


def _taken_apart(name: str) -> str:
    """The name without tags, with stand-ins for brackets that are parts of names."""
    name = _ABI_TAG.sub("", name).replace(_ANONYMOUS, _ANONYMOUS.translate(_STAND_IN))
    return _OPERATOR.sub(lambda match: f"operator{match[1].translate(_STAND_IN)}", name)


def _squeezed(name: str) -> str:
    """The name without the spaces that say nothing; `const char *` as demangled names have it."""
    name = _CONST_FIRST.sub(r"\1 const", name.strip())
    return re.sub(r"\s*([^\w\s])\s*", r"\1", name)


@lru_cache(maxsize=1 << 17)
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
