"""Types from DWARF: of programs that gcc makes here, found where distributions put them, or damaged."""

import random
import subprocess
from pathlib import Path

import drgn
import pytest

from surftrace.btf import Btf
from surftrace.cli.main import main
from surftrace.dwarf.debuginfo import (
    DebugFile,
    DebugInfo,
    build_id_of_file,
    is_damage,
    is_dwarf_of,
    platform_of,
)
from surftrace.dwarf.errors import DwarfError
from surftrace.dwarf.search import find_kernel, given_kernel
from surftrace.kernel.offline import open_debug_types, open_types
from surftrace.kernel.types import TypeInfoError
from tests.btfwriter import forward, function, integer, struct, write

_SOURCE = """
struct inner { int a; char text[12]; unsigned flag : 3; };
struct shape { long first; struct inner *pointed; struct inner held; };
enum colour { RED = 3, BLUE = 7 };
typedef struct shape shape_t;
struct inner elsewhere = { .a = 5 };
enum colour favourite = BLUE;
int plain(shape_t *s, int n) { return s->pointed->a + n; }
int main(void) { shape_t s = { .pointed = &elsewhere }; return plain(&s, favourite); }
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program with DWARF and a build id."""
    folder = tmp_path_factory.mktemp("debug")
    (folder / "source.c").write_text(_SOURCE)
    flags = ("-g", "-O1", "-Wl,--build-id=sha1")
    subprocess.run(["gcc", *flags, "-o", folder / "prog", folder / "source.c"], check=True)
    return folder / "prog"


def _opened(path: Path) -> DebugInfo:
    return DebugInfo(drgn.Program(platform_of(str(path))), lambda: [DebugFile(str(path))])


def test_what_a_file_knows(program: Path) -> None:
    info = _opened(program)
    plain = info.function("plain")
    assert plain is not None
    assert [parameter.name for parameter in plain.parameters] == ["s", "n"]
    elsewhere, inner = info.variable("elsewhere"), info.type("struct inner")
    assert elsewhere is not None
    assert inner is not None
    assert (elsewhere.type_name(), elsewhere.size, inner.size) == ("struct inner", 20, 20)
    assert (info.enumerator("BLUE"), info.enumerator("GREEN")) == (7, None)
    assert (info.function("nothing"), info.variable("plain"), info.type("struct nothing")) == (None, None, None)


def test_an_object_file(program: Path) -> None:
    path = program.with_suffix(".o")
    subprocess.run(["gcc", "-g", "-c", "-o", path, program.with_name("source.c")], check=True)
    shape = _opened(path).type("struct shape")
    assert shape is not None
    assert shape.size == 40


def test_files_are_opened_when_something_is_asked(program: Path) -> None:
    asked = []

    def find() -> list[DebugFile]:
        asked.append(1)
        return [DebugFile(str(program))]

    info = DebugInfo(drgn.Program(platform_of(str(program))), find)
    assert (info.files, asked) == ((), [])
    assert info.load()
    assert not info.load()
    assert (info.files, asked) == ((DebugFile(str(program)),), [1])


def test_btf_goes_first_and_dwarf_fills_what_it_lacks(program: Path) -> None:
    btf = Btf(
        write(
            integer("u64", 8),
            struct("shape", 8, ("only", "u64", 0)),
            forward("inner"),
            function("other", "u64", ("i", "struct inner *")),
        ).data
    )
    types = open_types("test", btf, find_debug=lambda: [DebugFile(str(program))])
    assert types.named("struct shape").size == 8
    declared = types.named("struct inner")
    assert not declared.is_complete()
    assert types.defined(declared).size == 20
    assert types.named("enum colour").enumerators is not None
    assert types.enumerator("RED") == (3,)
    variable = types.variable("elsewhere")
    assert variable is not None
    assert variable.size == 20
    assert types.function("plain") is not None
    with pytest.raises(TypeInfoError, match="no type 'struct nothing'"):
        types.named("struct nothing")


def test_all_from_dwarf(program: Path) -> None:
    types = open_debug_types(DebugFile(str(program)))
    assert (types.byteorder, types.named("shape_t *").size) == ("little", 8)


def test_where_a_kernel_is_found(program: Path, tmp_path: Path) -> None:
    build_id = build_id_of_file(str(program))
    assert len(build_id) == 40
    places = (
        "vmlinux",
        "vmlinux-6.1.0-1-amd64",
        "lib/modules/6.1.0-1-amd64/build/vmlinux",
        "usr/lib/debug/lib/modules/6.1.0-1-amd64/vmlinux",
        "usr/lib/debug/boot/vmlinux-6.1.0-1-amd64",
        f"usr/lib/debug/.build-id/{build_id[:2]}/{build_id[2:]}.debug",
    )
    for place in places:  # each is preferred to those before it
        path = tmp_path / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        assert find_kernel(str(tmp_path), "6.1.0-1-amd64", build_id) == DebugFile(str(path))
    assert given_kernel(str(tmp_path), "", "") == DebugFile(str(tmp_path / "vmlinux"))
    assert given_kernel(str(program), "", "") == DebugFile(str(program))
    with pytest.raises(DwarfError, match=r"there is no vmlinux of 5\.10 in"):
        given_kernel(str(tmp_path / "lib"), "5.10", "")


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "is no ELF file"), (b"#!/bin/sh\n" * 9, "is no ELF file"), (None, "has no DWARF")],
)
def test_files_without_dwarf(content: bytes | None, message: str, program: Path, tmp_path: Path) -> None:
    path = tmp_path / "file"
    if content is None:
        subprocess.run(["strip", "-g", "-o", path, program], check=True)
    else:
        path.write_bytes(content)
    with pytest.raises(DwarfError, match=message):
        open_debug_types(DebugFile(str(path)))
    with pytest.raises(DwarfError, match=r"cannot read .*: No such file or directory"):
        open_debug_types(DebugFile(str(tmp_path / "nothing")))


def test_which_file_is_of_a_build(program: Path, tmp_path: Path) -> None:
    build_id = build_id_of_file(str(program))
    assert is_dwarf_of(str(program), build_id)
    assert not is_dwarf_of(str(program), "00" * 20)
    subprocess.run(["strip", "-g", "-o", tmp_path / "stripped", program], check=True)
    assert not is_dwarf_of(str(tmp_path / "stripped"), build_id)
    assert not is_dwarf_of(str(tmp_path / "nothing"), build_id)


def test_damaged_files(program: Path, tmp_path: Path) -> None:
    """Whatever is wrong in a file: DwarfError, or no such type."""
    good, path, draw = program.read_bytes(), tmp_path / "damaged", random.Random(3)
    for _ in range(150):
        data = bytearray(good[: draw.randrange(64, len(good))] if draw.random() < 0.3 else good)
        for _ in range(draw.randrange(1, 30)):
            data[draw.randrange(4, len(data))] = draw.randrange(256)
        path.write_bytes(data)
        try:
            info = _opened(path)
            info.function("plain")
            info.variable("elsewhere")
            if (shape := info.type("struct shape")) is not None and shape.is_complete():
                assert all(isinstance(member.bit_offset, int) for member in shape.members)
            build_id_of_file(str(path))
        except Exception as error:
            if not isinstance(error, DwarfError) and not is_damage(error):
                raise


def test_on_the_command_line(program: Path, capsys: pytest.CaptureFixture[str]) -> None:
    probe = "p plain a=s->pointed->a t=s->held.text f=@elsewhere.flag c=@favourite f:c==BLUE"
    assert main(["-S", "-a", "x86_64", "-v", str(program), probe]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    texts = ("a=+0x0(+0x8(%di)):s32", "t=+0x14(%di):string", "f=@elsewhere+0x10:b3@0/8", "c=@favourite:u32")
    assert all(text in shown.out for text in texts)
    assert main(["--explain", "-a", "x86_64", "-v", str(program), probe]) == 0
    assert f"DWARF of {program}\n" in capsys.readouterr().out
    assert main(["-S", "-a", "x86_64", "-v", str(program.with_name("nothing")), probe]) == 2
    assert "cannot read" in capsys.readouterr().err
