"""Symbol lists: kallsyms and System.map, names by pattern, files that are neither."""

import re
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from surftrace.errors import SurftraceError
from surftrace.kernel.symbols import KernelSymbol, Symbols, read_symbols, traceable_functions

_KALLSYMS = b"""\
0000000000000000 A fixed_percpu_data
ffffffff81000000 T _text
ffffffff81200000 T tcp_v4_rcv
ffffffff811ffff0 t __pfx_tcp_v4_rcv
ffffffff81200100 t tcp_v4_rcv.cold
ffffffff81200200 t tcp_v4_fill_cb.isra.0
ffffffff81200300 t tcp_v6_rcv
ffffffff81200400 W tcp_weak
ffffffff81200500 t twice
ffffffff81200600 t twice
ffffffff82000000 D tcp_hashinfo
ffffffff82000100 b tcp_lock
ffffffffc0000000 t tcp_diag_dump\t[tcp_diag]
ffffffffc0001000 d tcp_diag_handler\t[tcp_diag]
ffffffffc0002000 t bpf_prog_6deef7357e7b4530\t[bpf]
"""
_SYSTEM_MAP = re.sub(rb"\t\[.*\]", b"", _KALLSYMS)
_STUB = b"ffffffffffffffff B The real System.map is in the linux-image-<version>-dbg package\n"


def test_named() -> None:
    symbols = Symbols(_KALLSYMS)
    assert symbols.named("tcp_v4_rcv") == [KernelSymbol("tcp_v4_rcv", "", True, 0xFFFFFFFF81200000)]
    assert symbols.named("tcp_diag_handler") == [
        KernelSymbol("tcp_diag_handler", "tcp_diag", False, 0xFFFFFFFFC0001000)
    ]
    assert [symbol.address for symbol in symbols.named("twice")] == [0xFFFFFFFF81200500, 0xFFFFFFFF81200600]
    assert symbols.named("tcp") == []
    assert symbols.named("T tcp_v4_rcv") == []


def test_addresses_that_the_kernel_hides() -> None:
    assert Symbols(b"0000000000000000 T vfs_read\n").named("vfs_read") == [KernelSymbol("vfs_read", "", True, 0)]


def test_clones() -> None:
    assert [symbol.name for symbol in Symbols(_KALLSYMS).clones("tcp_v4_fill_cb")] == ["tcp_v4_fill_cb.isra.0"]


@pytest.mark.parametrize(("module", "expected"), [("tcp_diag", True), ("tcp", False), ("", False), ("\udcff", False)])
def test_has_module(module: str, expected: bool) -> None:
    assert Symbols(_KALLSYMS).has_module(module) is expected


_FUNCTIONS = [
    *("_text", "tcp_v4_rcv", "tcp_v4_fill_cb.isra.0", "tcp_v6_rcv", "tcp_weak", "twice", "twice"),
    *("tcp_diag_dump", "bpf_prog_6deef7357e7b4530"),
]
_GLOBS = [
    *("*", "**", "tcp_v4_rcv", "tcp_v4_*", "*_rcv", "tcp_v?_rcv", "tcp_v[46]_rcv", "tcp_v[!4]_rcv", "tcp_v[4-5]_rcv"),
    *(
        "*v4*",
        "*c*c*c*",
        "t*_*_*",
        "*.isra.*",
        "tcp.v4.rcv",
        "",
        "?",
        "[",
        "tcp_v[4",
        "tcp_v[]4]_rcv",
        "tcp_v[!]4]_rcv",
    ),
    *("tcp_v[9-0]_rcv", "tcp_v[!9-0]_rcv", "tcp_v[+--]*", "tcp_v[\\d]_rcv", "T *", "*\t*", "(t)wice", "twice$", "é*"),
]


@pytest.mark.parametrize("glob", _GLOBS)
@pytest.mark.parametrize("text", [_KALLSYMS, _SYSTEM_MAP], ids=["kallsyms", "System.map"])
def test_matching_is_as_in_a_shell(glob: str, text: bytes) -> None:
    found = [symbol.name for symbol in Symbols(text).matching(glob)]
    assert found == [name for name in _FUNCTIONS if fnmatchcase(name, glob)]


def test_matching_negates_as_bash_does_too() -> None:
    assert [symbol.name for symbol in Symbols(_KALLSYMS).matching("tcp_v[^4]_rcv")] == ["tcp_v6_rcv"]


def test_matching_never_takes_white_space() -> None:
    assert Symbols(b"ffffffff81000000 T a\nffffffff81000008 T b\n").matching("a[!x]*") == []
    assert Symbols(b"ffffffff81000000 T a\nffffffff81000008 T b\n").matching("a?ffffffff81000008*") == []


def test_matching_many_stars_is_quick() -> None:
    text = b"ffffffff81000000 T %s\n" % (b"a" * 100) * 1000
    assert Symbols(text).matching("*a" * 20 + "*b") == []


def test_matching_tells_modules_and_addresses() -> None:
    assert Symbols(_KALLSYMS).matching("*_dump") == [
        KernelSymbol("tcp_diag_dump", "tcp_diag", True, 0xFFFFFFFFC0000000)
    ]


# (id, content)
_LISTS = (
    ("kallsyms", _KALLSYMS),
    ("system-map", _SYSTEM_MAP),
    ("crlf", _KALLSYMS.replace(b"\n", b"\r\n")),
    ("32-bit", b"c0100000 T _text\nc0200000 T tcp_v4_rcv\n"),
    ("one-line", b"ffffffff81200000 T tcp_v4_rcv\n"),
    ("no-end-of-line", b"ffffffff81200000 T tcp_v4_rcv"),
    ("larger-than-what-is-looked-at-first", b"ffffffff81100000 t other\n" * 10_000 + _KALLSYMS),
)


@pytest.mark.parametrize("content", [pytest.param(content, id=name) for name, content in _LISTS])
def test_read_symbols(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "symbols").write_bytes(content)
    (symbol,) = read_symbols(str(tmp_path / "symbols")).named("tcp_v4_rcv")
    assert (symbol.module, symbol.is_code, symbol.address & 0xFFFFFF) == ("", True, 0x200000)


def test_symbols_of_modules_with_crlf(tmp_path: Path) -> None:
    (tmp_path / "symbols").write_bytes(_KALLSYMS.replace(b"\n", b"\r\n"))
    (symbol,) = read_symbols(str(tmp_path / "symbols")).named("tcp_diag_dump")
    assert symbol.module == "tcp_diag"


# (id, content, problem, hint)
_NOT_LISTS = (
    ("empty", b"", "it is empty", "give a System.map, or a copy of /proc/kallsyms"),
    ("text", b"hello\nworld\n", "line 1 is not ADDRESS TYPE NAME", "give a System.map"),
    ("later-line", _KALLSYMS + b"hello\n" + _KALLSYMS, "line 16 is not ADDRESS TYPE NAME", "give a System.map"),
    ("blank-lines", b"\n\n", "line 1 is not", "give a System.map"),
    ("debian-stub", _STUB, "it says that the real one is elsewhere", "is in the linux-image-<version>-dbg package"),
    ("elf", b"\x7fELF\x02\x01\x01" + bytes(100), "it is an ELF file", "nm vmlinux > System.map"),
    ("binary", bytes(100), "it holds binary data", "give a System.map"),
    ("binary-later", b"ffffffff81100000 t other\n" * 10_000 + bytes(10), "it holds binary data", "give a System.map"),
    ("one-long-line", b"f" * 200_000, "line 1 is not", "give a System.map"),
    ("not-utf-8", b"\xff\xfe\n", "line 1 is not", "give a System.map"),
)


@pytest.mark.parametrize(("content", "problem", "hint"), [pytest.param(*rest, id=name) for name, *rest in _NOT_LISTS])
def test_what_is_no_symbol_list(content: bytes, problem: str, hint: str, tmp_path: Path) -> None:
    path = tmp_path / "symbols"
    path.write_bytes(content)
    with pytest.raises(SurftraceError) as caught:
        read_symbols(str(path))
    assert caught.value.message.startswith(f"{path} is not a symbol list: {problem}")
    assert hint in caught.value.hints[0]


@pytest.mark.parametrize(("path", "problem"), [("/nothing", "No such file"), ("/", "Is a directory")])
def test_a_symbol_list_that_cannot_be_read(path: str, problem: str) -> None:
    with pytest.raises(SurftraceError, match=f"cannot read {path}: {problem}"):
        read_symbols(path)


def test_an_endless_file_is_no_symbol_list() -> None:
    with pytest.raises(SurftraceError, match="it holds binary data"):
        read_symbols("/dev/zero")


def test_traceable_functions() -> None:
    text = "vfs_read\novl_statfs [overlay]\ndummy_xmit\t[dummy]\ntwice\ntwice\n__ftrace_invalid_address___64\n\n"
    assert traceable_functions(text) == {"vfs_read", "ovl_statfs", "dummy_xmit", "twice"}
