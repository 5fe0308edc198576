"""Symbol tables of ELF files, made of tuples: names, the source files of static functions, tables that are large."""

from struct import pack
from time import monotonic
from typing import Literal

import pytest

from surftrace.kernel.elfsymbols import SymbolKind, SymbolTable

_Byteorder = Literal["little", "big"]
# A symbol: name, kind, is it local, section.
_Symbol = tuple[str, SymbolKind, bool, int]

_CODE, _ABSOLUTE = 1, 0xFFF1


def _table(*symbols: _Symbol, byteorder: _Byteorder = "little") -> SymbolTable:
    strings, entries = b"\0", b""
    places: dict[str, int] = {}
    for name, kind, is_local, section in symbols:
        if name not in places:
            places[name] = len(strings)
            strings += name.encode() + b"\0"
        head = (places[name], (0 if is_local else 1) << 4 | kind, 0, section, 0x1000, 4)
        entries += pack(("<" if byteorder == "little" else ">") + "IBBHQQ", *head)
    return SymbolTable(entries, strings, byteorder)


def _file(name: str, section: int = _ABSOLUTE) -> _Symbol:
    return (name, SymbolKind.FILE, True, section)


def _static(name: str) -> _Symbol:
    return (name, SymbolKind.FUNC, True, _CODE)


def _global(name: str) -> _Symbol:
    return (name, SymbolKind.FUNC, False, _CODE)


# (id, symbols, the files of those that are called f)
_FILES: tuple[tuple[str, tuple[_Symbol, ...], list[str]], ...] = (
    ("behind-its-file", (_file("a.c"), _static("f")), ["a.c"]),
    ("others-between", (_file("a.c"), _static("g"), _static("f"), _static("g")), ["a.c"]),
    ("two-files", (_file("a.c"), _static("f"), _file("b.c"), _static("f"), _static("f")), ["a.c", "b.c", "b.c"]),
    ("before-any-file", (_static("f"), _file("a.c")), [""]),
    ("global", (_file("a.c"), _global("f")), [""]),
    ("no-file-is-in-a-section", (_file("a.c"), _file("b.c", _CODE), _static("f")), ["a.c"]),
    ("a-file-of-the-name", (_file("f"), _static("f")), ["f", "f"]),
    ("none-of-the-name", (_file("a.c"), _static("g")), []),
)


@pytest.mark.parametrize("byteorder", ["little", "big"])
@pytest.mark.parametrize(("symbols", "files"), [pytest.param(*rest, id=name) for name, *rest in _FILES])
def test_the_file_of_a_static_function(symbols: tuple[_Symbol, ...], files: list[str], byteorder: _Byteorder) -> None:
    assert [symbol.file for symbol in _table(*symbols, byteorder=byteorder).named("f")] == files


def test_clones() -> None:
    table = _table(_file("a.c"), *map(_static, ("f", "f.isra.0", "f.part.1.constprop.2", "f.cold", "xf.isra.0")))
    assert [symbol.name for symbol in table.clones("f")] == ["f.isra.0", "f.part.1.constprop.2"]


@pytest.mark.parametrize("first", [_file("a.c"), _static("g")], ids=["one-file", "no-file"])
def test_many_static_functions_of_one_name_take_no_time(first: _Symbol) -> None:
    one, many = _table(first, _static("f")), 10_000
    table = SymbolTable(one.entries[:24] + one.entries[24:] * many, one.strings, "little")
    start = monotonic()
    assert len(table.named("f")) == many
    assert monotonic() - start < 5
