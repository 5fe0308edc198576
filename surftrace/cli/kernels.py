"""The kernel that a command is about: its options, and what was chosen with them."""

import argparse
import os

from surftrace.api import other_kernel, this_kernel
from surftrace.cli.arguments import CommandParser, UsageError
from surftrace.cli.options import Options
from surftrace.kernel.machine import machine_named
from surftrace.kernel.target import Target


def kernel_parser(command: str, description: str, *examples: str, has_symbols: bool = False) -> argparse.ArgumentParser:
    """The parser of a command, with the options that choose a kernel."""
    lines = "\n".join(f"  {example}" for example in examples)
    parser = CommandParser(
        prog=f"surftrace {command}",
        description=description,
        epilog=f"{'examples' if len(examples) > 1 else 'example'}:\n{lines}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("-v", "--vmlinux", metavar="PATH", help="a vmlinux with DWARF, or a folder to look for it in")
    add("-b", "--btf", dest="btfs", action="append", default=[], metavar="FILE", help="types from BTF in FILE")
    add("--module", dest="modules", action="append", default=[], metavar="FILE", help="DWARF of the module in FILE")
    add("-a", "--arch", metavar="ARCH", help="the machine of that kernel: x86_64, aarch64, ...")
    if has_symbols:
        add("--symbols", metavar="FILE", help="its symbols: a System.map or a copy of /proc/kallsyms")
    return parser


def chosen_target(chosen: argparse.Namespace | Options) -> Target:
    """The kernel of the files that were given, or else the one that runs."""
    symbols = getattr(chosen, "symbols", None)
    if _has_types(chosen):
        return other_kernel(
            btf=chosen.btfs,
            vmlinux=chosen.vmlinux,
            modules=chosen.modules,
            symbols=symbols,
            release=getattr(chosen, "kernel", None),
            arch=chosen.arch,
        )
    target = this_kernel(modules=chosen.modules, symbols=symbols)
    return Target(machine_named(chosen.arch), target.kernel) if chosen.arch is not None else target


def printed_target(chosen: argparse.Namespace | Options) -> Target:
    """The kernel that commands are printed for. UsageError where it is another one, and no file says its types."""
    if not _has_types(chosen) and not _is_of_this_machine(chosen):
        raise UsageError("the types of this machine's kernel are not those of another", "give its BTF with -b FILE")
    if not _has_types(chosen) and getattr(chosen, "kernel", None) is not None:
        raise UsageError("--kernel needs the types of that kernel", "give its BTF, -b FILE, or its DWARF, -v FILE")
    return chosen_target(chosen)


def running_target(chosen: argparse.Namespace | Options, verb: str) -> Target:
    """The kernel that runs, to `verb` in it. UsageError for options of another's; TracefsError without tracefs."""
    if not _is_of_this_machine(chosen):
        raise UsageError(f"this machine cannot {verb} for {chosen.arch}", "print the commands with -S -b FILE")
    for option in ("kernel", "symbols"):
        if getattr(chosen, option, None) is not None:
            raise UsageError(f"--{option} is for another kernel", "print the commands with -S -b FILE")
    return this_kernel(btf=chosen.btfs, vmlinux=chosen.vmlinux, modules=chosen.modules, must_trace=True)


def _has_types(chosen: argparse.Namespace | Options) -> bool:
    return bool(chosen.btfs) or chosen.vmlinux is not None


def _is_of_this_machine(chosen: argparse.Namespace | Options) -> bool:
    return chosen.arch is None or machine_named(chosen.arch) == machine_named(os.uname().machine)
