"""The kernel that a command is about: its options, and what was chosen with them."""

import argparse

from surftrace.api import other_kernel, this_kernel
from surftrace.cli.arguments import CommandParser
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


def chosen_target(chosen: argparse.Namespace) -> Target:
    """The kernel of the files that were given, or else the one that runs."""
    symbols = getattr(chosen, "symbols", None)
    if chosen.btfs or chosen.vmlinux is not None:
        return other_kernel(
            btf=chosen.btfs, vmlinux=chosen.vmlinux, modules=chosen.modules, symbols=symbols, arch=chosen.arch
        )
    target = this_kernel(modules=chosen.modules, symbols=symbols)
    return Target(machine_named(chosen.arch), target.kernel) if chosen.arch is not None else target
