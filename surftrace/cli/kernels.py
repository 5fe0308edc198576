"""The kernel that a command is about: its options, and what was chosen with them."""

import argparse
import os

from surftrace.cli.options import CommandParser
from surftrace.kernel.machine import machine_named
from surftrace.kernel.offline import OfflineKernel
from surftrace.kernel.symbols import read_symbols
from surftrace.kernel.target import Kernel, Target
from surftrace.tracing.running import RunningKernel
from surftrace.tracing.tracefs import Tracefs, TracefsError, find_tracefs


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


def chosen_target(chosen: argparse.Namespace, has_tracefs: bool = False) -> Target:
    """The kernel of the files that were given, or else the one that runs; `has_tracefs` where its lists count."""
    kernel: Kernel
    symbols_path = getattr(chosen, "symbols", None)
    if chosen.btfs or chosen.vmlinux is not None:
        kernel = OfflineKernel.of_files(
            *chosen.btfs, vmlinux=chosen.vmlinux, modules=chosen.modules, symbols_path=symbols_path
        )
    else:
        symbols = read_symbols(symbols_path) if symbols_path is not None else None
        kernel = RunningKernel(_readable_tracefs() if has_tracefs else None, symbols=symbols, modules=chosen.modules)
    return Target(machine_named(chosen.arch or os.uname().machine), kernel)


def _readable_tracefs() -> Tracefs | None:
    try:
        return find_tracefs()
    except TracefsError:
        return None
