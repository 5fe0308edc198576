"""Functions of programs and libraries: gcc's files in, offsets out, as binutils and perf know them."""

import lzma
import os
import random
import re
import shutil
import struct
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from surftrace.compiler.plan import Plan, build_plan
from surftrace.compiler.programs import resolve_program
from surftrace.compiler.resolve import resolve
from surftrace.errors import SurftraceError
from surftrace.kernel.elf import ObjectError
from surftrace.kernel.ldcache import default_folders, known_libraries, parse_cache
from surftrace.kernel.machine import AARCH64, X86_64, Machine
from surftrace.kernel.objects import Places, find_object
from surftrace.kernel.offline import OfflineKernel
from surftrace.kernel.target import Target
from surftrace.kernel.types import KernelTypes, TypeInfoError
from surftrace.kernel.userfunctions import UserFunction, find_function
from surftrace.lang.script import parse_script
from surftrace.lang.source import CompileError, Diagnostic
from surftrace.lang.syntax import UserTarget
from surftrace.tracing.decode import make_decoder
from surftrace.tracing.events import Event
from tests.unit.compiling import offline_kernel, shapes_btf

pytestmark = pytest.mark.skipif(
    not all(shutil.which(program) for program in ("gcc", "objcopy", "objdump", "strip")), reason="needs gcc, binutils"
)

_SOURCE = """
#include <stdio.h>
#include <unistd.h>
int counter = 3;
__thread int per_thread;
__attribute__((noinline)) int func(int a, const char *text) { return a + counter + (text && *text); }
static __attribute__((noinline, used)) int hidden(int a) { return a * counter; }
int other(int a) __attribute__((alias("func")));
__attribute__((noinline)) int renamed(int a) __asm__("renamed.constprop.0");
int renamed(int a) { return a - counter; }
static int one(void) { return 1; }
int __choice_sse(void) { return 2; }
static int (*choose(void))(void) { return counter ? one : __choice_sse; }
int choice(void) __attribute__((ifunc("choose")));
__asm__(".text\\n.globl bare\\nbare:\\n ret\\n");
int main(int argc, char **argv) {
    if (argc > 5) sleep(1);
    return puts("x") + func(argc, argv[0]) + hidden(1) + renamed(2) + choice() + per_thread;
}
"""
_FUNCTIONS = ("func", "hidden", "main", "bare", "_start")
_LIBRARY = "int shared(int a) { return a + 2; } int thing;"
_LINKS = {
    "pie": ("-fPIE", "-pie"),
    "fixed": ("-fno-pie", "-no-pie"),
    "far": ("-fno-pie", "-no-pie", "-Wl,-Ttext-segment=0x10000000"),
    "one_segment": ("-fPIE", "-pie", "-Wl,-z,noseparate-code"),
    "static": ("-fno-pie", "-no-pie", "-static"),
    "large_pages": ("-fPIE", "-pie", "-Wl,-z,max-page-size=0x200000"),
    "old_hash": ("-fPIE", "-pie", "-Wl,--hash-style=sysv", "-O2", "-g"),
}


def _run(*words: str | Path, cwd: Path | None = None) -> str:
    return subprocess.run(
        [str(word) for word in words],
        check=True,
        cwd=cwd,
        capture_output=True,
        text=True,
        env={**os.environ, "LC_ALL": "C"},
    ).stdout


def _build(folder: Path, name: str, source: str, *flags: str | Path) -> Path:
    file = folder / f"{name}.c"
    file.write_text(source)
    _run("gcc", "-o", folder / name, file, *flags)
    return folder / name


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for all built files, which tests do not change."""
    return tmp_path_factory.mktemp("objects")


@pytest.fixture(scope="session")
def program(folder: Path) -> Path:
    """A usual program."""
    return _build(folder, "prog", _SOURCE, *_LINKS["pie"])


@pytest.fixture(scope="session")
def stripped(folder: Path, program: Path) -> Path:
    """The same without symbols and build id."""
    _run("strip", "-R", ".note.gnu.build-id", "-o", folder / "stripped", program)
    return folder / "stripped"


def _offsets(path: Path) -> dict[str, int]:
    """What objdump says about the place of functions in the file."""
    lines = re.findall(r"^[0-9a-f]+ <([^>]+)> \(File Offset: (0x[0-9a-f]+)\):", _run("objdump", "-F", "-d", path), re.M)
    return {name: int(offset, 16) for name, offset in lines}


def _find(path: Path, name: str, machine: Machine = X86_64, places: Places | None = None) -> UserFunction:
    return find_function(str(path), name, machine, places or Places())


def _error(call: Callable[[], object]) -> ObjectError:
    with pytest.raises(ObjectError) as caught:
        call()
    assert not caught.value.message.endswith(".")
    return caught.value


@pytest.mark.parametrize("link", _LINKS)
def test_offsets_are_those_of_objdump(folder: Path, link: str) -> None:
    path = _build(folder, f"prog_{link}", _SOURCE, *_LINKS[link])
    known = _offsets(path)
    assert {name: _find(path, name).file_offset for name in _FUNCTIONS} == {name: known[name] for name in _FUNCTIONS}


def test_offsets_of_libraries_are_those_of_perf() -> None:
    if not shutil.which("perf") or os.geteuid():
        pytest.skip("no perf")
    for library, name in (("libc", "sleep"), ("libc", "fopen"), ("libm", "floor")):
        path = find_object(library, X86_64)
        try:
            found = _find(Path(path), name)
        except ObjectError as error:
            assert "only chooses" in error.message
            continue
        definition = subprocess.run(["perf", "probe", "-x", path, "-D", name], capture_output=True, text=True).stdout
        if definition:
            assert f":{found.file_offset:#x}\n" in definition


def test_an_alias_is_the_same_place(program: Path) -> None:
    assert _find(program, "other").file_offset == _find(program, "func").file_offset


def test_a_renamed_function_is_found(program: Path) -> None:
    found = _find(program, "renamed")
    assert found.file_offset == _offsets(program)["renamed.constprop.0"]
    assert found.note == "the compiler renamed renamed: tracing renamed.constprop.0"


def test_a_name_that_ends_as_another_is_its_own(folder: Path) -> None:
    path = _build(folder, "tails", "int xmain(void) { return 1; } int main(void) { return xmain(); }")
    assert {name: _find(path, name).file_offset for name in ("main", "xmain")} == {
        name: offset for name, offset in _offsets(path).items() if name in ("main", "xmain")
    }


_ERRORS = [
    ("counter", "'counter' of {path} is a variable, not a function", ()),
    ("per_thread", "'per_thread' of {path} is a variable, not a function", ()),
    ("hiden", "{path} has no function 'hiden'", ("did you mean 'hidden'?",)),
    (
        "choice",
        "'choice' of {path} only chooses which function is to be choice when a program starts",
        ("name one that it chooses from: __choice_sse",),
    ),
]


@pytest.mark.parametrize(("name", "message", "hints"), _ERRORS, ids=[error[0] for error in _ERRORS])
def test_what_is_no_function(program: Path, name: str, message: str, hints: tuple[str, ...]) -> None:
    error = _error(lambda: _find(program, name))
    assert (error.message, error.hints) == (message.format(path=program), hints)


def test_an_imported_function_names_its_library(program: Path) -> None:
    error = _error(lambda: _find(program, "puts"))
    assert re.fullmatch(rf"{program} has no function 'puts' of its own: it comes from /\S*/libc.so\S*", error.message)
    assert error.hints == ("write libc:puts",)


def test_an_imported_function_of_a_library_that_only_the_program_finds(folder: Path) -> None:
    (folder / "own").mkdir(exist_ok=True)
    library = _build(folder / "own", "libown.so.1", _LIBRARY, "-shared", "-fPIC", "-Wl,-soname,libown.so.1")
    uses = "int shared(int); int main(void) { return shared(1); }"
    path = _build(folder, "uses", uses, library, "-Wl,-rpath,$ORIGIN/own")
    error = _error(lambda: _find(path, "shared"))
    assert error.message == f"{path} has no function 'shared' of its own: it comes from {library}"
    assert error.hints == (f"write {library}:shared",)
    moved = folder / "moved"
    moved.mkdir(exist_ok=True)
    shutil.copy(path, moved / "uses")
    error = _error(lambda: _find(moved / "uses", "shared"))
    assert error.message.endswith("it comes from a library that is not found here")


def test_static_functions_of_one_name(folder: Path) -> None:
    (folder / "second.c").write_text("static int twin(int a) { return a + 9; } int second(int a) { return twin(a); }")
    source = "static int twin(int a) { return a; } int second(int); int main(void) { return twin(1) + second(2); }"
    path = _build(folder, "twins", source, folder / "second.c")
    error = _error(lambda: _find(path, "twin"))
    assert error.message == f"{path} has 2 functions 'twin': which one is not clear"
    addresses = re.findall(r"([0-9a-f]+) t twin", _run("nm", "-n", path))
    files = {address: int(address, 16) for address in addresses}
    first, second = sorted(files.values())
    assert error.hints == (f"they are twin at {first:#x} of twins.c, twin at {second:#x} of second.c",)


def test_versions(folder: Path) -> None:
    source = """
    int old(void) { return 1; } int new(void) { return 2; }
    __asm__(".symver old,call@V1"); __asm__(".symver new,call@@V2");
    __attribute__((visibility("default"))) int only(void) { return 3; }
    """
    (folder / "map").write_text("V1 { global: only; call; local: *; }; V2 { global: call; } V1;")
    flags = ("-shared", "-fPIC", f"-Wl,--version-script={folder / 'map'}")
    path = _build(folder, "libversions.so.1", source, *flags)
    new, only = _offsets(path)["call@@V2"], _offsets(path)["only"]
    for each in (path, folder / "libversions_stripped.so.1"):
        if each != path:
            _run("strip", "-o", each, path)
        found = _find(each, "call")
        assert found.file_offset == new
        assert found.note == "there are several versions of call: tracing call@@V2, not call@V1"
        assert (_find(each, "only").file_offset, _find(each, "only").note) == (only, "")


def test_a_stripped_program_is_told_so(stripped: Path) -> None:
    error = _error(lambda: _find(stripped, "func"))
    assert error.message == f"{stripped} has no symbols: where its functions are is not known"


def test_debug_file_by_build_id(tmp_path: Path, program: Path) -> None:
    path, debug = tmp_path / "prog", tmp_path / "debug"
    _run("strip", "-o", path, program)
    note = re.search(r"Build ID: ([0-9a-f]+)", _run("readelf", "-n", program))
    assert note is not None
    file = debug / ".build-id" / note[1][:2] / f"{note[1][2:]}.debug"
    file.parent.mkdir(parents=True)
    _run("objcopy", "--only-keep-debug", program, file)
    found = _find(path, "hidden", places=Places(debug_folder=str(debug)))
    assert found.file_offset == _offsets(program)["hidden"]
    assert "__choice_sse" in _error(lambda: _find(path, "choice", places=Places(debug_folder=str(debug)))).hints[0]


@pytest.mark.parametrize("where", [".", ".debug", "global"])
def test_debug_file_by_link_and_checksum(tmp_path: Path, program: Path, stripped: Path, where: str) -> None:
    path = tmp_path / "prog"
    debug = tmp_path / "debug"
    folder = debug / str(tmp_path).lstrip("/") if where == "global" else tmp_path / where
    folder.mkdir(parents=True, exist_ok=True)
    _run("objcopy", "--only-keep-debug", "-R", ".note.gnu.build-id", program, folder / "prog.debug")
    _run("objcopy", f"--add-gnu-debuglink={folder / 'prog.debug'}", stripped, path)
    places = Places(debug_folder=str(debug))
    assert _find(path, "hidden", places=places).file_offset == _offsets(program)["hidden"]
    with (folder / "prog.debug").open("ab") as file:
        file.write(b"changed")
    assert "no symbols" in _error(lambda: _find(path, "hidden", places=places)).message


def test_a_small_table_within(tmp_path: Path, program: Path, stripped: Path) -> None:
    (tmp_path / "small").write_bytes(lzma.compress(program.read_bytes()))
    _run("objcopy", f"--add-section=.gnu_debugdata={tmp_path / 'small'}", stripped, tmp_path / "prog")
    assert _find(tmp_path / "prog", "hidden").file_offset == _offsets(program)["hidden"]


def _other_file(tmp_path: Path, program: Path, what: str) -> Path:
    path = tmp_path / "it"
    content = bytearray(program.read_bytes())
    match what:
        case "32-bit":
            content[4] = 1
        case "aarch64":
            content[18:20] = struct.pack("<H", 183)
        case "unlinked":
            content[16:18] = struct.pack("<H", 1)
        case "big-endian":
            content[5], content[16:20] = 2, struct.pack(">HH", 3, 62)
        case "text":
            content = bytearray(b"hello\n")
        case "empty":
            content = bytearray()
        case "cut":
            content = content[:10]
        case "script":
            content = bytearray(b"#!/usr/bin/python3 -E\n")
        case "env":
            content = bytearray(b"#!/usr/bin/env -S bash\n")
        case _:
            content = bytearray(b"#!\n")
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("what", "message", "hints"),
    [
        ("32-bit", "is a 32-bit program for x86_64: only 64-bit ones can be probed", ()),
        ("aarch64", "is a program for aarch64, not for x86_64", ()),
        ("big-endian", "is a program for x86_64, not for x86_64", ()),
        ("unlinked", "is an object file that is not linked yet", ()),
        ("text", "is no ELF file, as programs and libraries are", ()),
        ("empty", "is no ELF file, as programs and libraries are", ()),
        ("cut", "is a damaged ELF file", ()),
        (
            "script",
            "is a script: its functions are none of the processor's",
            ("a function of what runs it: /usr/bin/python3:FUNCTION",),
        ),
        (
            "env",
            "is a script: its functions are none of the processor's",
            ("a function of what runs it: bash:FUNCTION",),
        ),
        ("bare script", "is a script: its functions are none of the processor's", ()),
    ],
)
def test_files_of_other_kinds(tmp_path: Path, program: Path, what: str, message: str, hints: tuple[str, ...]) -> None:
    path = _other_file(tmp_path, program, what)
    error = _error(lambda: _find(path, "func"))
    assert (error.message, error.hints) == (f"{path} {message}", hints)


def test_damage_never_leaks_or_hangs(tmp_path: Path, program: Path) -> None:
    path = tmp_path / "damaged"
    whole = program.read_bytes()
    generator = random.Random(1)
    headers = struct.unpack_from("<Q", whole, 40)[0]
    for round_ in range(160):
        content = bytearray(whole)
        if round_ % 4 == 0:
            del content[generator.randrange(len(content)) :]
        # In the file's header, in the segments', in the sections', anywhere.
        start, end = ((4, 64), (64, 800), (headers, len(whole)), (0, len(whole)))[generator.randrange(4)]
        for _ in range(generator.randrange(1, 9)):
            at = generator.randrange(start, end)
            if at < len(content):
                content[at] = generator.choice((0, 0xFF, 0x7F, generator.randrange(256)))
        path.write_bytes(content)
        for name in ("func", "puts", "choice", "nothing_like_it"):
            try:
                _find(path, name)
            except ObjectError as error:
                assert str(path) in error.message


def test_a_program_is_found_in_path(tmp_path: Path, program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(program.parent))
    assert find_object("prog", X86_64) == str(program)
    monkeypatch.chdir(program.parent)
    assert find_object("./prog", X86_64) == find_object(f"../{program.parent.name}/prog", X86_64) == str(program)
    monkeypatch.setenv("PATH", str(tmp_path))
    error = _error(lambda: find_object("prog", X86_64))
    assert (error.message, error.hints) == ("'prog' is not in PATH", ("for the file here: ./prog",))


def test_paths_that_a_definition_cannot_hold(tmp_path: Path, program: Path) -> None:
    for name, what in (
        ("a b", "a space"),
        ("a#b", "a #"),
        ("a\nb", "a control character"),
        ("à", "the byte 0xa0, which is a space to the kernel"),
    ):
        path = tmp_path / name
        shutil.copy(program, path)
        error = _error(lambda path=path: find_object(str(path), X86_64))  # type: ignore[misc] # a default binds the path
        assert error.message == f"the kernel takes no path with {what} in it: {path}"
        (tmp_path / "link").symlink_to(path)
        assert find_object(str(tmp_path / "link"), X86_64) == str(tmp_path / "link")
        (tmp_path / "link").unlink()


def test_a_link_becomes_its_file(tmp_path: Path, program: Path) -> None:
    (tmp_path / "link").symlink_to(program)
    assert find_object(str(tmp_path / "link"), X86_64) == str(program)
    # Its text is `/`, which is another folder than it leads to where the process has a root of its own.
    assert find_object(f"/proc/self/root{program}", X86_64) == str(program)


def test_paths_to_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    for name, message in (
        (f"{tmp_path}/none", f"cannot read {tmp_path}/none: No such file or directory"),
        (f"{tmp_path}/pipe", f"{tmp_path}/pipe is no file"),
        (f"{tmp_path}/", f"{tmp_path}/ is a folder"),
        (f"{tmp_path}/loop", f"cannot read {tmp_path}/loop: Too many levels of symbolic links"),
        ("/dev/zero", "/dev/zero is no file"),
        ("./a\0b", "'./a\\x00b' is no path"),
        ("/" + "x" * 300, f"cannot read /{'x' * 300}: File name too long"),
    ):
        assert _error(lambda name=name: find_object(name, X86_64)).message == message  # type: ignore[misc] # the same


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str
    path: str
    processors: int = 0


def _cache(*entries: _Entry, has_old_part: bool = False) -> bytes:
    """glibc's sysdeps/generic/dl-cache.h; elf/cache.c writes it."""
    strings, records = b"", []
    start = 48 + 24 * len(entries)
    for entry in entries:
        places = []
        for text in (entry.name, entry.path):
            places.append(start + len(strings))
            strings += text.encode() + b"\0"
        records.append(struct.pack("<iIIIQ", 0x0303, *places, 0, entry.processors))
    header = struct.pack("<17s3sIIB3xI12x", b"glibc-ld.so.cache", b"1.1", len(entries), len(strings), 2, 0)
    old = struct.pack("<11sxI", b"ld.so-1.7.0", 1) + struct.pack("<iII", 3, 0, 0) if has_old_part else b""
    return old + b"\0" * (-len(old) % 8) + header + b"".join(records) + strings


@pytest.mark.parametrize("has_old_part", [False, True])
def test_cache_of_the_dynamic_linker(has_old_part: bool) -> None:
    entries = [_Entry("liba.so.1", "/lib/liba.so.1"), _Entry("liba.so.1", "/lib/glibc-hwcaps/x/liba.so.1", 1 << 62)]
    cache = _cache(*entries, has_old_part=has_old_part)
    found = [(each.name, each.path, each.is_default) for each in parse_cache(cache, X86_64)]
    assert found == [(entry.name, entry.path, not entry.processors) for entry in entries]
    for end in range(len(cache)):
        list(parse_cache(cache[:end], X86_64))


def test_cache_of_this_machine_is_what_ldconfig_prints() -> None:
    ldconfig = shutil.which("ldconfig", path=f"{os.environ['PATH']}:/sbin:/usr/sbin")
    if ldconfig is None or not Path("/etc/ld.so.cache").exists():
        pytest.skip("no glibc")
    lines = re.findall(r"^\t(\S+) \(.*\) => (\S+)$", _run(ldconfig, "-p"), re.MULTILINE)
    assert [(each.name, each.path) for each in known_libraries(X86_64)] == lines


@pytest.fixture
def libraries(tmp_path: Path, folder: Path) -> Path:
    """A folder with libraries, and things that are none."""
    built = _build(folder, "libshared.so", _LIBRARY, "-shared", "-fPIC")
    for name in ("libone.so.1", "libtwo.so.1", "libtwo.so.2", "libcap.so.2", "libc.musl-x86_64.so.1"):
        shutil.copy(built, tmp_path / name)
    (tmp_path / "libone.so").symlink_to("libone.so.1")
    (tmp_path / "libcap.so").write_text("/* GNU ld script */ INPUT(libcap.so.2)")
    narrow = bytearray(built.read_bytes())
    narrow[4] = 1
    (tmp_path / "libone.so.0").write_bytes(narrow)
    return tmp_path


def _in_folders(folder: Path) -> Places:
    return Places(library_cache=folder / "none", library_folders=(str(folder), str(folder / "none")))


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("libone", "libone.so.1"),
        ("libone.so.1", "libone.so.1"),
        ("libcap", "libcap.so.2"),
        ("libc", "libc.musl-x86_64.so.1"),
        ("libtwo.so.2", "libtwo.so.2"),
    ],
)
def test_libraries_without_a_cache(libraries: Path, name: str, file: str) -> None:
    assert find_object(name, X86_64, _in_folders(libraries)) == str(libraries / file)


def test_libraries_of_a_cache(libraries: Path) -> None:
    (libraries / "hwcaps").mkdir()
    shutil.copy(libraries / "libone.so.1", libraries / "hwcaps")
    cache = libraries / "cache"
    entries = [
        _Entry("libone.so.1", f"{libraries}/hwcaps/libone.so.1", 1 << 62),
        _Entry("libone.so.1", f"{libraries}/libone.so.0"),
        _Entry("libone.so.1", f"{libraries}/libone.so.1"),
        _Entry("libgone.so.1", f"{libraries}/libgone.so.1"),
    ]
    cache.write_bytes(_cache(*entries))
    places = Places(library_cache=cache)
    assert find_object("libone", X86_64, places) == f"{libraries}/libone.so.1"
    error = _error(lambda: find_object("libgone", X86_64, places))
    assert error.message == "there is no program 'libgone' in PATH, and no such library"


def test_libraries_that_are_not_one(libraries: Path) -> None:
    places = _in_folders(libraries)
    error = _error(lambda: find_object("libtwo", X86_64, places))
    assert error.message == "'libtwo' may be 2 libraries"
    assert error.hints == (f"name one of {libraries}/libtwo.so.1, {libraries}/libtwo.so.2",)
    assert _error(lambda: find_object("libtow", X86_64, places)).hints == ("did you mean 'libtwo'?",)
    assert default_folders(AARCH64)[0] == "/lib/aarch64-linux-gnu"


# What becomes of the whole line.


class _NoTypes:
    """A kernel without type information."""

    def __init__(self, kernel: OfflineKernel) -> None:
        self.symbols, self.features, self.traceable = kernel.symbols, kernel.features, kernel.traceable
        self.event_fields, self.event_names, self.modules = kernel.event_fields, kernel.event_names, kernel.modules
        self.blacklist, self.btfs = kernel.blacklist, kernel.btfs

    def types(self, module: str = "") -> KernelTypes:
        """None are there."""
        raise TypeInfoError("this kernel has no BTF")


def _compile(text: str, machine: Machine = X86_64, has_types: bool = True) -> tuple[Plan, tuple[Diagnostic, ...]]:
    kernel = offline_kernel(shapes_btf())
    target = Target(machine, kernel if has_types else _NoTypes(kernel))
    resolved = resolve(parse_script([text]), target)
    return build_plan(resolved, "surftrace", machine.byteorder), resolved.warnings


def _texts(plan: Plan) -> dict[str, str]:
    return {step.path.rpartition("/")[2]: step.text for step in plan.steps[:2]}


def test_definitions(program: Path) -> None:
    offset = _offsets(program)["func"]
    for text, steps in (
        (
            "P {p}:func f:common_pid==114811",
            {"uprobe_events": "p:surftrace/f0 {p}:{o:#x}", "filter": "common_pid==114811"},
        ),
        (
            "R {p}:func cmd=!(char *)$retval",
            {"uprobe_events": "r:surftrace/f0 {p}:{o:#x} cmd=+0x0($retval):string", "enable": "1"},
        ),
        (
            "P {p}:func t=%0 comm=$comm x=%r9 s=$stack1 at=@0x4040 f:t==0",
            {
                "uprobe_events": "p:surftrace/f0 {p}:{o:#x} t=%di:u64 comm=$comm x=%r9:u64 s=$stack1:u64 "
                "at=@0x4040:u64",
                "filter": "t==0",
            },
        ),
        (
            "P {p}:func a=!(int *)%0[2] t=%1:string f:a==1",
            {
                "uprobe_events": "p:surftrace/f0 {p}:{o:#x} a=+0x8(%di):s32 t=+0x0(%si):string __h0=%di:x64",
                "filter": "__h0>=0x1000&&__h0<0xfffffffffff000&&a==1",
            },
        ),
    ):
        plan, warnings = _compile(text.format(p=program), has_types=False)
        assert _texts(plan) == {path: step.format(p=program, o=offset) for path, step in steps.items()}
        assert not warnings
        undo = plan.steps[0].undo
        assert undo is not None
        assert (undo.path, undo.text, undo.is_append) == ("uprobe_events", "-:surftrace/f0", True)


def test_a_place_inside_is_warned_of(program: Path) -> None:
    plan, warnings = _compile(f"P {program}:func+0x4 a=%di")
    assert f"{program}:{_offsets(program)['func'] + 4:#x} " in plan.steps[0].text
    assert [warning.message for warning in warnings] == [
        "the program breaks unless an instruction begins at func+0x4: objdump -d shows where"
    ]


_MISTAKES = [
    ("P {p}:func+0x4000 a=%di", "func has 41 bytes: +0x4000 is not in it", "{p}:func+0x4000"),
    ("R {p}:func+4", "a return probe watches a whole function, not a place inside it", "{p}:func+4"),
    ("R {p}:func a=%0", "arguments are gone when a function returns", "%0"),
    ("P {p}:func a=$retval", "$retval is there only when a function returns", "$retval"),
    ("P {p}:func a=$arg1", "the kernel knows '$arg1' for its own functions only", "$arg1"),
    ("P {p}:func a=@jiffies", "{p} has no variable 'jiffies'", "@jiffies"),
    ("P {p}:func a=@0xffffffff81000000", "0xffffffff81000000 is no address of a program's", "@0xffffffff81000000"),
    ("P {p}:func a=%0->x", "the type information has no prototype of func, so it has no members", "%0"),
    ("P {p}:func a=text", "the type information has no prototype of func, so its parameters have no names", "text"),
    ("P {p}:func a=%rdi", "x86_64 has no register '%rdi'", "%rdi"),
    ("P {p}:func a=!(struct none *)%0", "this kernel has no type 'struct none *'", "struct none *"),
    ("P {p}:func a=%0 f:a==none", "'none' is not a number, nor the name of one", "none"),
    ("P {p}:func+4 a=%0", "arguments are only sure to be in place at func's entry, not at +0x4", "%0"),
    ("P ./none:func", "cannot read ./none: No such file or directory", "./none"),
    ("P {p}:fun", "{p} has no function 'fun'", "{p}:fun"),
]


@pytest.mark.parametrize(("text", "message", "under"), _MISTAKES, ids=[mistake[1] for mistake in _MISTAKES])
def test_mistakes(program: Path, text: str, message: str, under: str) -> None:
    size = _find(program, "func").size
    text, message, under = (
        each.format(p=program).replace("41 bytes", f"{size} bytes") for each in (text, message, under)
    )
    with pytest.raises(CompileError) as caught:
        _compile(text)
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.message == message
    assert diagnostic.source.text[diagnostic.span.start : diagnostic.span.end] == under


def test_types_of_the_kernel_are_there_once_they_are_named(program: Path) -> None:
    with pytest.raises(SurftraceError, match="this kernel has no BTF"):
        _compile(f"P {program}:func a=!(struct list_head *)%0", has_types=False)
    plan, _ = _compile(
        f"P {program}:func a=(unsigned long)%0 b=!(char __user **)%1[1] c=!(long *)%1[0:4]", has_types=False
    )
    assert " a=%di:u64 b=+0x0(+0x8(%si)):string c=+0x0(%si):s64[4] " in plan.steps[0].text


def test_another_machine(tmp_path: Path) -> None:
    if not shutil.which("aarch64-linux-gnu-gcc"):
        pytest.skip("no aarch64-linux-gnu-gcc")
    (tmp_path / "a.c").write_text("int func(int a) { return a; } void _start(void) { func(1); }")
    _run("aarch64-linux-gnu-gcc", "-nostdlib", "-static", "-o", tmp_path / "a", tmp_path / "a.c")
    plan, warnings = _compile(f"P {tmp_path}/a:func+4 v=%x0", AARCH64)
    value = int(re.findall(r"([0-9a-f]+) T func", _run("nm", tmp_path / "a"))[0], 16)
    header = re.findall(r"LOAD +(0x\w+) (0x\w+) .* R E ", _run("readelf", "-lW", tmp_path / "a"))[0]
    assert plan.steps[0].text.split()[1].endswith(f":{value - int(header[1], 16) + int(header[0], 16) + 4:#x}")
    assert not warnings
    with pytest.raises(CompileError, match="no instruction of aarch64 begins"):
        _compile(f"P {tmp_path}/a:func+2 v=%x0", AARCH64)


@pytest.mark.parametrize("place", ["0x557e2b8c8c20", "0x557e2b8a1b2c <- 0x557e2b8c8c20"])
def test_text_of_events(program: Path, place: str) -> None:
    plan, _ = _compile(f"R {program}:func cmd=!(char *)$retval")
    line = f'            bash-412     [001] .....    12.345678: f0: ({place}) cmd="ls -l"\n'
    (event,) = make_decoder(plan)(line.encode())
    assert isinstance(event, Event)
    assert (event.place, [value.content for value in event.values]) == (place, [b"ls -l"])
    (event,) = make_decoder(plan)(line.replace("0x557e2c", "0x0").replace('"ls -l"', "(fault)").encode())
    assert isinstance(event, Event)
    assert [value.content for value in event.values] == [None]


def test_places_are_those_that_are_given(libraries: Path) -> None:
    (probe,) = parse_script(["P libone:shared a=%0"]).probes
    assert isinstance(probe.target, UserTarget)
    target = Target(X86_64, offline_kernel(shapes_btf()))
    (resolved,) = resolve_program(probe, probe.target, "f0", target, True, [], _in_folders(libraries))
    assert resolved.place.startswith(f"{libraries}/libone.so.1:0x")
