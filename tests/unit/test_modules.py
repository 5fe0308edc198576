"""Files of modules: as gcc and objcopy make them, packed, damaged, found where distributions put them, or named."""

import contextlib
import gzip
import lzma
import random
import shutil
import subprocess
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from surftrace.cli.main import main
from surftrace.dwarf import packed
from surftrace.dwarf.debuginfo import DebugFile, build_id_of_file, module_name
from surftrace.dwarf.errors import DwarfError
from surftrace.dwarf.linking import linked
from surftrace.dwarf.packed import content_of
from surftrace.dwarf.search import find_module, given_modules
from surftrace.dwarf.variables import Nowhere, Spot
from surftrace.errors import SurftraceError
from surftrace.kernel.code import Code
from surftrace.kernel.machine import X86_64, machine_named
from surftrace.kernel.offline import open_debug_types
from surftrace.tracing.modules import ModuleWatch

_SOURCE = """\
static const char name[] __attribute__((section(".modinfo"), used)) = "name=my_mod";
struct only_here { int a; long b[3]; };
int shared;
__attribute__((noinline)) int first(struct only_here *o, int n)
{
	static int calls;
	int sum = o->a + n;
	calls += sum;
	return sum * calls;
}
__attribute__((noinline)) int second(struct only_here *o)
{
	struct only_here copy = *o;
	copy.b[1] += first(&copy, shared);
	return first(&copy, 2) + copy.b[1];
}
"""
_FLAGS = ("-g", "-O1", "-ffunction-sections", "-fno-pic", "-fno-asynchronous-unwind-tables")
_LINK = ("-e", "0", "--build-id=none", "--section-start=.text.first=0x40000", "--section-start=.text.second=0x50000")
_TOOLS = {
    "x86_64": "",
    "aarch64": "aarch64-linux-gnu-",
    "ppc64le": "powerpc64le-linux-gnu-",
    "riscv64": "riscv64-linux-gnu-",
    "s390x": "s390x-linux-gnu-",
    "loongarch64": "loongarch64-linux-gnu-",
}


def _compiled(folder: Path, tools: str = "", *flags: str) -> Path:
    (folder / "mod.c").write_text(_SOURCE)
    subprocess.run([f"{tools}gcc", *_FLAGS, *flags, "-c", "-o", "my-mod.ko", "mod.c"], cwd=folder, check=True)
    return folder / "my-mod.ko"


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a module of two functions, each in a section of its own, with a build id."""
    folder = tmp_path_factory.mktemp("module")
    plain = _compiled(folder)
    subprocess.run(["ld", "-r", "--build-id=sha1", "-o", "linked.ko", plain], cwd=folder, check=True)
    return (folder / "linked.ko").rename(plain)


def _facts(code: Code) -> Iterator[tuple[object, ...]]:
    """What is known of the code, with addresses counted from their functions."""
    for name in ("first", "second"):
        function = code.function(name)
        assert function is not None
        start = function.address
        for row in code.rows(function):
            yield name, row.address - start, row.file, row.line, code.symbol_at(row.address)
            for variable in code.variables(function, row.address).values():
                where = code.location(function, variable, row.address)
                if isinstance(where, Nowhere):
                    yield variable.name, where.reason, [(low - start, high - start) for low, high in where.ranges]
                elif where.base is None:
                    yield variable.name, code.object_at(where.byte_offsets[0]), where.byte_offsets[1:]
                else:
                    yield variable.name, where
        yield name, function.ranges[0][1] - start, code.file.frame_rule(start)


@pytest.mark.parametrize("flags", [(), ("-gdwarf-4",), ("-gz=zlib",), ("-O0", "-fasynchronous-unwind-tables")])
def test_a_module_is_read_as_if_it_were_linked(flags: tuple[str, ...], tmp_path: Path) -> None:
    """What it says is what the same object says once ld has linked it."""
    path = _compiled(tmp_path, "", *flags)
    subprocess.run(["ld", *_LINK, "-o", "linked", path], cwd=tmp_path, check=True)
    facts = list(_facts(Code(str(path), X86_64, "my_mod")))
    assert facts == list(_facts(Code(str(tmp_path / "linked"), X86_64)))
    assert sum(isinstance(fact[-1], Spot) for fact in facts) > 10


@pytest.mark.parametrize("name", _TOOLS)
def test_modules_of_every_machine(name: str, tmp_path: Path) -> None:
    tools = _TOOLS[name]
    if shutil.which(f"{tools}gcc") is None:
        pytest.skip(f"there is no {tools}gcc")
    machine = machine_named(name)
    path = _compiled(tmp_path, tools, *(("-mno-relax",) if name == "riscv64" else ()))
    subprocess.run([f"{tools}ld", *_LINK, "-o", "linked", path], cwd=tmp_path, check=True)
    assert list(_facts(Code(str(path), machine))) == list(_facts(Code(str(tmp_path / "linked"), machine)))


def test_a_file_with_debug_information_alone(module: Path, tmp_path: Path) -> None:
    path = tmp_path / "my-mod.ko.debug"
    subprocess.run(["objcopy", "--only-keep-debug", module, path], check=True)
    assert list(_facts(Code(str(path), X86_64))) == list(_facts(Code(str(module), X86_64)))
    assert module_name(str(path)) == "my_mod"


def _pack(module: Path, folder: Path, suffix: str) -> Path:
    path = folder / f"my-mod.ko{suffix}"
    if suffix == ".gz":
        path.write_bytes(gzip.compress(module.read_bytes()))
    elif suffix == ".xz":
        path.write_bytes(lzma.compress(module.read_bytes()))
    else:
        subprocess.run(["zstd", "-q", module, "-o", path], check=True)
    return path


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".zst"])
def test_packed_files(suffix: str, module: Path, tmp_path: Path) -> None:
    path = str(_pack(module, tmp_path, suffix))
    assert content_of(path).data == module.read_bytes()
    assert list(_facts(Code(path, X86_64))) == list(_facts(Code(str(module), X86_64)))
    assert (module_name(path), build_id_of_file(path)) == ("my_mod", build_id_of_file(str(module)))
    types = open_debug_types(DebugFile(path, "my_mod"))
    assert types.named("struct only_here").size == 32


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".zst"])
def test_packed_files_that_are_damaged(suffix: str, module: Path, tmp_path: Path) -> None:
    path = _pack(module, tmp_path, suffix)
    good, draw = path.read_bytes(), random.Random(5)
    for end in (10, len(good) // 2, len(good) - 1):
        path.write_bytes(good[:end])
        with pytest.raises(DwarfError, match=r"cannot unpack|is no ELF file"):
            content_of(str(path))
    for _ in range(10):
        data = bytearray(good)
        data[draw.randrange(8, len(data))] ^= 1 + draw.randrange(255)
        path.write_bytes(data)
        with contextlib.suppress(DwarfError):
            content_of(str(path))


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".zst"])
def test_files_that_unpack_to_too_much(
    suffix: str, module: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packed, "MAX_BYTES", 1000)
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(DwarfError, match=r"my-mod\.ko\.\w+ unpacks to more than 1000 bytes"):
        content_of(str(_pack(module, tmp_path, suffix)))
    assert len(list(Path("/proc/self/fd").iterdir())) <= descriptors


def test_nothing_unpacks_zstd(module: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _pack(module, tmp_path, ".zst")
    monkeypatch.setattr(packed, "_ZSTD_LIBRARIES", ())
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DwarfError, match=r"nothing here can unpack .* with zstd") as caught:
        content_of(str(path))
    assert "install the program zstd" in caught.value.hints[0]


def test_damaged_modules(module: Path, tmp_path: Path) -> None:
    """Whatever is wrong in a file: an error of ours, or an answer."""
    good, path, draw = module.read_bytes(), tmp_path / "damaged.ko", random.Random(11)
    for _ in range(100):
        data = bytearray(good[: draw.randrange(64, len(good))] if draw.random() < 0.2 else good)
        for _ in range(draw.randrange(1, 30)):
            data[draw.randrange(4, len(data))] = draw.randrange(256)
        path.write_bytes(data)
        with contextlib.suppress(SurftraceError):
            module_name(str(path))
        with contextlib.suppress(SurftraceError, AssertionError):
            list(_facts(Code(str(path), X86_64)))
        with contextlib.suppress(SurftraceError):
            Code(str(path), X86_64, "damaged").units_of("mod.c")


@pytest.mark.parametrize("offset", [1 << 63, 1 << 40, 1 << 20])
def test_relocations_outside_of_their_section(offset: int, module: Path) -> None:
    data = bytearray(module.read_bytes())
    section = ELFFile(BytesIO(data)).get_section_by_name(".rela.debug_info")
    assert section is not None
    data[section["sh_offset"] : section["sh_offset"] + 8] = offset.to_bytes(8, "little")
    with pytest.raises(DwarfError, match=r"damaged\.ko is a damaged ELF file"):
        linked(memoryview(bytes(data)), "damaged.ko")


def test_names_of_modules(module: Path, tmp_path: Path) -> None:
    assert module_name(str(module)) == "my_mod"
    subprocess.run(["gcc", "-c", "-x", "c", "-o", tmp_path / "some-mod.ko", "/dev/null"], check=True)
    assert module_name(str(tmp_path / "some-mod.ko")) == "some_mod"
    with pytest.raises(DwarfError, match="is no kernel module: those are object files"):
        module_name("/proc/self/exe")
    copy = shutil.copy(module, tmp_path / "copy.ko")
    assert given_modules([str(module)]) == {"my_mod": str(module)}
    with pytest.raises(DwarfError, match="are both of the module my_mod"):
        given_modules([str(module), str(copy)])


def test_where_a_module_is_found(module: Path, tmp_path: Path) -> None:
    release, build_id = "6.1.0-1-amd64", build_id_of_file(str(module))
    folder = tmp_path / "lib/modules" / release
    folder.mkdir(parents=True)
    (folder / "modules.dep").write_text("kernel/a/other.ko:\nextra/my-mod.ko.xz: kernel/a/other.ko\n")
    installed = f"lib/modules/{release}/extra/my-mod.ko.xz"
    places = (
        installed,
        f"usr/lib/debug/usr/lib/modules/{release}/extra/my-mod.ko.debug",
        f"usr/lib/debug/lib/modules/{release}/extra/my-mod.ko.debug",
        f"usr/lib/debug/lib/modules/{release}/extra/my-mod.ko",
        f"usr/lib/debug/.build-id/{build_id[:2]}/{build_id[2:]}.debug",
    )
    assert find_module(str(tmp_path), release, "my_mod") is None
    for place in places:  # each is preferred to those before it
        path = tmp_path / place
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(_pack(module, tmp_path, ".xz") if place.endswith(".xz") else module, path)
        for known in (build_id, ""):
            assert find_module(str(tmp_path), release, "my_mod", known) == DebugFile(str(path), "my_mod")
    assert find_module(str(tmp_path), release, "my_mod", "00" * 20) is None
    assert find_module(str(tmp_path), release, "other_mod", "") is None
    assert find_module(str(tmp_path), "5.10", "my_mod", "") is None


_COMMAND = ("-S", "-a", "x86_64")


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A program in the kernel's place."""
    folder = tmp_path_factory.mktemp("kernel")
    (folder / "kernel.c").write_text("int plain(int n)\n{\n\treturn n;\n}\nint main(void) { return plain(1); }\n")
    subprocess.run(["gcc", "-g", "-O0", "-no-pie", "-o", "vmlinux", "kernel.c"], cwd=folder, check=True)
    return str(folder / "vmlinux")


@pytest.mark.parametrize("suffix", ["", ".xz"])
def test_on_the_command_line(
    suffix: str, kernel: str, module: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = str(_pack(module, tmp_path, suffix) if suffix else module)
    probes = (
        "p first o->b[2]",
        "p my_mod:second:2 value=o->a",
        "p first:4 calls total=sum",
        "p mod.c:14 o->a",
        "p my_mod:mod.c:14 Xo->a",
        "p plain:2 n",
    )
    assert main([*_COMMAND, "-v", kernel, "--module", file, *probes]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    definitions = [line.split("'")[1] for line in shown.out.splitlines() if line.startswith("echo 'p:")]
    assert definitions[0] == "p:surftrace_sh/f0 my_mod:first b=+0x18(%di):s64 __h0=%di:x64"
    assert definitions[1].startswith("p:surftrace_sh/f1 my_mod:second+0x")
    assert "calls=@calls.0:s32 total=%" in definitions[2]
    assert "a=+0x0(%di):s32" in definitions[3]
    assert definitions[4] == definitions[3].replace("f3", "f4").replace(":s32", ":x32")
    assert definitions[5].startswith("p:surftrace_sh/f5 plain+0x")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("p my_mod:first:40 o",), "there is no code of line first:40"),
        (("p my_mod:third:1 o",), "the DWARF of the module my_mod has no function 'third'"),
        (("p my_mod:other.c:1",), "no code of the module my_mod is compiled of 'other.c'"),
        (("p other:first:1",), "lines and variables of the module other need its DWARF, and none is found"),
        (("--module", "/proc/self/exe", "p first"), "is no kernel module"),
        (("--module", "/nowhere/a.ko", "p first"), "cannot read /nowhere/a.ko: No such file or directory"),
    ],
)
def test_what_is_not_there(
    words: tuple[str, ...], message: str, kernel: str, module: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*_COMMAND, "-v", kernel, "--module", str(module), *words]) == 2
    assert message in capsys.readouterr().err


def test_modules_that_come_and_go(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    watch = ModuleWatch(["here", "absent"], str(tmp_path))
    assert list(watch.changes()) == []
    (tmp_path / "here").rename(tmp_path / "elsewhere")
    assert list(watch.changes()) == [("here", False)]
    assert list(watch.changes()) == []
    (tmp_path / "here").mkdir()
    (tmp_path / "absent").mkdir()
    assert list(watch.changes()) == [("here", True), ("absent", True)]
    (tmp_path / "here").rename(tmp_path / "again")
    (tmp_path / "elsewhere").rename(tmp_path / "here")
    assert list(watch.changes()) == [("here", False), ("here", True)]
