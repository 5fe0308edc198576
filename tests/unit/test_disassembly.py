"""Machine code of all architectures through objdump; symbols by address; code out of files."""

import subprocess
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from surftrace.errors import SurftraceError
from surftrace.kernel.addresses import AddressMap, Extent
from surftrace.kernel.disassembly import DisassemblerError, disassemble, indirect_register
from surftrace.kernel.image import CodeError, NoCodeError, image_of_file
from surftrace.kernel.machine import AARCH64, MACHINES, X86_64
from surftrace.kernel.symbols import Symbols

_COMPILERS = {
    "x86_64": "gcc",
    "aarch64": "aarch64-linux-gnu-gcc",
    "riscv64": "riscv64-linux-gnu-gcc",
    "s390x": "s390x-linux-gnu-gcc",
    "ppc64le": "powerpc64le-linux-gnu-gcc",
}
_SOURCE = """\
int (*table[2])(int);
int plain(int n) { return n + 1; }
int called(int (*function)(int)) { return function(2) + plain(1); }
"""


def _text_section(path: Path) -> bytes:
    with path.open("rb") as file:
        section = ELFFile(file).get_section_by_name(".text")
        assert section is not None
        return bytes(section.data())


@pytest.mark.parametrize(("name", "compiler"), _COMPILERS.items(), ids=_COMPILERS)
def test_one_indirect_call(name: str, compiler: str, tmp_path: Path) -> None:
    (tmp_path / "source.c").write_text(_SOURCE)
    argv = [compiler, "-O1", "-fno-inline", "-fcf-protection=none", "-c", "source.c"]
    subprocess.run(argv if name == "x86_64" else [*argv[:3], *argv[4:]], cwd=tmp_path, check=True)
    machine = MACHINES[name]
    found = disassemble(_text_section(tmp_path / "source.o"), 0x10000, machine)
    assert found[0].address == 0x10000
    registers = [indirect_register(each.text, machine) for each in found]
    (register,) = (each for each in registers if each is not None)
    assert register in machine.registers


# (machine, instruction, the register that has the address)
_INDIRECT = (
    ("x86_64", "call   *%rax", "ax"),
    ("x86_64", "call   *%r11", "r11"),
    ("x86_64", "notrack jmp *%rdx", "dx"),
    ("x86_64", "cs cs cs call *%rax", "ax"),
    ("x86_64", "cs call __x86_indirect_thunk_r11", "r11"),
    ("x86_64", "call   *0x18(%rax)", ""),
    ("x86_64", "jmp    *-0x7e5ff6c0(,%rax,8)", ""),
    ("x86_64", "call   __x86_indirect_thunk_rax", "ax"),
    ("x86_64", "jmp    __x86_indirect_jump_thunk_r10", "r10"),
    ("x86_64", "call   __x86_indirect_thunk_array+0x20", None),
    ("x86_64", "jmp    __x86_return_thunk", None),
    ("x86_64", "call   nf_hook_slow", None),
    ("x86_64", "mov    %rax,%rbx", None),
    ("aarch64", "blr     x1", "x1"),
    ("aarch64", "br      x16", "x16"),
    ("aarch64", "blraaz  x8", "x8"),
    ("aarch64", "bl      printk", None),
    ("aarch64", "brk     #0x800", None),
    ("aarch64", "ret", None),
    ("riscv64", "jalr    a5", "a5"),
    ("riscv64", "jr      t1", "t1"),
    ("riscv64", "jalr    -12(ra)", None),
    ("riscv64", "ret", None),
    ("s390x", "basr    %r14,%r1", "r1"),
    ("s390x", "br      %r1", "r1"),
    ("s390x", "br      %r14", None),
    ("s390x", "brasl   %r14,__s390_indirect_jump_r2", "r2"),
    ("ppc64le", "bctrl", "ctr"),
    ("ppc64le", "bctr", "ctr"),
    ("ppc64le", "blr", None),
    ("loongarch64", "jirl    $ra, $a2, 0", "r6"),
    ("loongarch64", "jr      $t0", "r12"),
    ("loongarch64", "jr      $ra", None),
)


@pytest.mark.parametrize(("machine", "text", "register"), _INDIRECT)
def test_indirect_register(machine: str, text: str, register: str | None) -> None:
    assert indirect_register(text, MACHINES[machine]) == register


def test_padding_is_left_out() -> None:
    code = bytes.fromhex("90 ffd0 c3 cc cc 90 662e0f1f840000000000")
    found = disassemble(code, 0xFFFFFFFF81000000, X86_64)
    assert [(each.address, each.text) for each in found] == [
        (0xFFFFFFFF81000000, "nop"),
        (0xFFFFFFFF81000001, "call   *%rax"),
        (0xFFFFFFFF81000003, "ret"),
    ]


def test_without_objdump(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DisassemblerError) as caught:
        disassemble(b"\x90", 0, X86_64)
    assert caught.value.message == "objdump is not installed"
    assert "binutils" in caught.value.hints[0]


def test_an_objdump_that_does_not_know_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "objdump").write_text('#!/bin/sh\necho "objdump: can\'t use supplied machine aarch64" >&2\nexit 1\n')
    (tmp_path / "objdump").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DisassemblerError) as caught:
        disassemble(b"\x90", 0, AARCH64)
    assert caught.value.message == "the objdump of this machine does not know aarch64"
    assert caught.value.hints == ("install one that does: binutils-aarch64-linux-gnu, or binutils-multiarch",)


def test_an_objdump_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "objdump").write_text("#!/bin/sh\necho 'objdump: out of memory' >&2\nexit 1\n")
    (tmp_path / "objdump").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DisassemblerError, match="objdump fails: objdump: out of memory"):
        disassemble(b"\x90", 0, AARCH64)


_KALLSYMS = b"""\
ffffffff81000000 T _text
ffffffff81000000 T startup_64
ffffffff81000040 t helper
ffffffff82000000 D table
ffffffffc0001000 t init_device\t[device]
"""


def test_symbols_by_address() -> None:
    found = AddressMap(Symbols(_KALLSYMS))
    assert found.at(0xFFFFFFFF81000000) == Extent("_text", "", 0xFFFFFFFF81000000, 0x40)
    assert found.at(0xFFFFFFFF8100003F) == Extent("_text", "", 0xFFFFFFFF81000000, 0x40)
    assert found.at(0x1000) is None
    # What is far behind the last symbol before it is not a part of that.
    assert found.at(0xFFFFFFFF81F00000) is None
    assert found.spelled(0xFFFFFFFF81000044) == "helper+0x4"
    assert found.spelled(0xFFFFFFFF82000000) == "table"
    assert found.spelled(0xFFFFFFFFC0001001) == "device:init_device+0x1"
    assert found.spelled(0) is None


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program at fixed addresses, with all its symbols."""
    folder = tmp_path_factory.mktemp("disassembly")
    (folder / "source.c").write_text(_SOURCE + "int main(void) { return called(plain); }\n")
    argv = ["gcc", "-g", "-O1", "-fno-inline", "-no-pie", "-fno-pie", "-o", "prog", "source.c"]
    subprocess.run(argv, cwd=folder, check=True)
    return folder / "prog"


def test_code_of_a_file(program: Path) -> None:
    image = image_of_file(str(program), X86_64)
    (start,) = image.starts("called", "")
    extent = image.addresses.at(start)
    assert extent is not None
    assert extent.name == "called"
    texts = [each.text for each in disassemble(image.read(start, extent.size), start, X86_64)]
    assert texts[-1] == "ret"
    assert image.origin == str(program)
    with pytest.raises(CodeError, match="has no code at 0x10"):
        image.read(0x10, 4)


def test_files_without_code(program: Path, tmp_path: Path) -> None:
    subprocess.run(["objcopy", "--only-keep-debug", program, tmp_path / "debug"], check=True)
    with pytest.raises(NoCodeError, match="has no code: it is the debug information that was taken out of"):
        image_of_file(str(tmp_path / "debug"), X86_64)
    subprocess.run(["strip", "-o", tmp_path / "stripped", program], check=True)
    with pytest.raises(CodeError, match="has no symbols: they were stripped"):
        image_of_file(str(tmp_path / "stripped"), X86_64)


def test_files_that_are_none(program: Path, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no ELF file at all")
    for path, machine in ((tmp_path / "text", X86_64), (tmp_path / "nothing", X86_64), (program, AARCH64)):
        with pytest.raises(SurftraceError):
            image_of_file(str(path), machine)
