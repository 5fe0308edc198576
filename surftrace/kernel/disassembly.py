"""Machine code in, its instructions as text out, by way of objdump of GNU binutils."""

import os
import re
import subprocess

from surftrace.errors import SurftraceError
from surftrace.kernel.machine import Machine
from surftrace.record import record

# objdump's names of the machines: `objdump -i`.
_FORMATS = {
    "x86_64": "i386:x86-64",
    "aarch64": "aarch64",
    "riscv64": "riscv:rv64",
    "s390x": "s390:64-bit",
    "ppc64le": "powerpc:common64",
    "loongarch64": "Loongarch64",
}
# What GNU calls a machine, where it is another name than the kernel's.
_GNU_NAMES = {"ppc64le": "powerpc64le"}
_UNKNOWN_MACHINE = "can't use supplied machine"
_LINE = re.compile(r"^ *([0-9a-f]+):\t(.+)$", re.MULTILINE)

# A call or a jump to an address that a register holds; from the second group on, kernels' functions that do the same
# against Spectre (Linux arch/x86/lib/retpoline.S, arch/s390/lib/expoline.S). A return is none.
_INDIRECT = {
    "x86_64": r"(?:(?:cs|notrack|bnd) )*(?:call|jmp)q? +(?:\*(?:%(\w+)$)?|__x86_indirect_(?:\w+_)?thunk_(r\w{1,2})$)",
    "aarch64": r"bl?r\w* +(x\d+)\b",
    "riscv64": r"j(?:al)?r +(?:ra,)?(?!ra$)(\w+)$",
    "s390x": r"(?:basr +%r\d+,|br +)%(?!r14$)(r\d+)$|(?:brasl +%r\d+,|jg +)__s390_indirect_jump_(r\d+)$",
    "ppc64le": r"b(ctr)l?$",
    "loongarch64": r"(?:jirl +\$\w+, *|jr +)\$(?!ra\b)(\w+)(?:, *0)?$",
}
# What compilers and linkers fill the space between functions with; `udf #0` and `unimp` are zeros.
_PADDING = re.compile(
    r"(?:(?:data16|cs|ds) )*(?:nop\w*\b.*|int3|xchg +%ax,%ax|add +%al,\(%rax\)|udf +#0|unimp|c\.unimp|"
    r"bcr +0,%r0|\.long 0x0|\.word +0x0+)$"
)


class DisassemblerError(SurftraceError):
    """objdump is not there, or does not do its work."""

    exit_status = 1


@record
class MachineInstruction:
    """An instruction as objdump writes it; addresses in it begin with 0x."""

    address: int
    text: str


def disassemble(code: bytes, address: int, machine: Machine) -> tuple[MachineInstruction, ...]:
    """The instructions of code that lies at an address, without the padding behind them. DisassemblerError."""
    lines = _LINE.findall(_listing(code, address, machine))
    found = [MachineInstruction(int(start, 16), text.expandtabs().rstrip()) for start, text in lines]
    while found and _PADDING.fullmatch(found[-1].text):
        found.pop()
    return tuple(found)


def indirect_register(text: str, machine: Machine) -> str | None:
    """The register, as a probe names it, with the address that an instruction calls or jumps to.

    Empty where memory has the address; None for any other instruction.
    """
    found = re.match(_INDIRECT[machine.name], text)
    if found is None:
        return None
    name = next((group for group in found.groups() if group), "")
    return machine.aliases.get(name, name)


def _listing(code: bytes, address: int, machine: Machine) -> str:
    gnu_name = f"{_GNU_NAMES.get(machine.name, machine.name)}-linux-gnu"
    problems = []
    for program in ("objdump", f"{gnu_name}-objdump"):
        try:
            done = _run(program, code, address, machine)
        except FileNotFoundError:
            continue
        if done.returncode == 0:
            return done.stdout
        problems.append(done.stderr.strip().partition("\n")[0])
    if not problems:
        raise DisassemblerError("objdump is not installed", "install binutils, the package that it is in")
    if all(_UNKNOWN_MACHINE in problem for problem in problems):
        hint = f"install one that does: binutils-{gnu_name.replace('_', '-')}, or binutils-multiarch"
        raise DisassemblerError(f"the objdump of this machine does not know {machine.name}", hint)
    raise DisassemblerError(f"objdump fails: {problems[-1]}")


def _run(program: str, code: bytes, address: int, machine: Machine) -> "subprocess.CompletedProcess[str]":
    order = "-EL" if machine.byteorder == "little" else "-EB"
    form = ("-b", "binary", "-m", _FORMATS[machine.name], order, f"--adjust-vma={address:#x}")
    # objdump seeks in what it reads: a pipe is not enough.
    with os.fdopen(os.memfd_create("code"), "wb") as file:
        file.write(code)
        file.flush()
        return subprocess.run(
            [program, "-D", "-z", "-w", "--no-show-raw-insn", *form, "/proc/self/fd/0"],
            stdin=file,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            env=os.environ | {"LC_ALL": "C"},
            check=False,
        )
