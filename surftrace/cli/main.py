"""The `surftrace` command: options in, a dry run, a script or a live trace out, an exit status."""

import os
import re
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TextIO

from surftrace.api import Probes, compile, this_kernel
from surftrace.cli.arguments import UsageError, shells_instance
from surftrace.cli.kernels import printed_target
from surftrace.cli.options import SHORT_HELP, Options, parse_options
from surftrace.cli.report import print_explanation, report_diagnostics, report_error
from surftrace.errors import SurftraceError
from surftrace.kernel.machine import machine_named
from surftrace.kernel.target import Target
from surftrace.names import did_you_mean, nearest
from surftrace.output.color import Paint, colored, plain

Command = Callable[[Sequence[str], Paint], int]
# What may stand first instead of a probe, and the module with its `run_NAME` and `NAME_parser`.
COMMANDS = {
    "clean": "clean",
    "completion": "completion",
    "latency": "latency",
    "count": "counting",
    "lines": "code",
    "list": "listing",
    "show": "showing",
    "vars": "code",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the result is its exit status."""
    paint = _paint("auto", sys.stderr)
    words = sys.argv[1:] if argv is None else argv
    if not words:
        print(SHORT_HELP)
        return 0
    try:
        if words[0] in COMMANDS:
            # The modules of the other commands are not loaded for a trace.
            module = import_module(f"surftrace.cli.{COMMANDS[words[0]]}")
            command: Command = getattr(module, f"run_{words[0]}")
            return command(words[1:], _paint("auto", sys.stdout))
        if re.fullmatch("[a-z]{3,}", words[0]) and (hints := did_you_mean(nearest(words[0], COMMANDS))):
            raise UsageError(f"there is no command '{words[0]}'", *hints)
        options = parse_options(words)
        paint = _paint(options.color, sys.stderr)
        if options.function is not None or options.line is not None:
            from surftrace.cli import assembly  # a trace needs none of it

            return assembly.run(options, _paint(options.color, sys.stdout))
        return _run(options, paint)
    except SurftraceError as error:
        report_error(error, sys.stderr, paint)
        return error.exit_status
    except BrokenPipeError:
        # The reader of our output has gone; what Python still holds for it must not raise again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _paint(color: str, stream: TextIO) -> Paint:
    """Colour where it was asked for, or where a terminal reads and NO_COLOR (no-color.org) is not set."""
    is_wanted = color == "always" or (color == "auto" and stream.isatty() and _has_color())
    return colored if is_wanted else plain


def _has_color() -> bool:
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _run(options: Options, paint: Paint) -> int:
    if options.is_dry_run or options.is_explained or options.output is not None:
        return _compile_only(options, paint)
    if options.arch is not None and machine_named(options.arch) != machine_named(os.uname().machine):
        raise UsageError(f"this machine cannot run a trace for {options.arch}", "print it with -S, or write it with -o")
    kernel = this_kernel(btf=options.btfs, vmlinux=options.vmlinux, modules=options.modules, must_trace=True)
    probes = _compile(options, kernel, paint)
    if options.is_stack_count:
        from surftrace.cli.stackcount import run_stack_count

        return run_stack_count(probes, options, _paint(options.color, sys.stdout), paint)
    from surftrace.cli.live import trace  # the live part is not loaded for a dry run

    return trace(probes, options, _paint(options.color, sys.stdout), paint)


def _compile_only(options: Options, paint: Paint) -> int:
    probes = _compile(options, printed_target(options), paint)
    if options.is_explained:
        print_explanation(probes.resolved, _paint(options.color, sys.stdout))
        return 0
    if options.is_stack_count:
        from surftrace.cli.stackcount import print_commands

        return print_commands(probes, options)
    plan = probes.plan(
        shells_instance(options.instance),
        stacks=options.has_stacks,
        user_stacks=options.has_user_stacks,
        buffer_kb=options.buffer_kb,
        overwrite=options.is_overwriting,
    )
    if options.output is not None:
        from surftrace.cli.files import write_file  # few runs write any

        write_file(options.output, probes.shell_script(plan), 0o777)
        return 0
    for line in probes.commands(plan):
        print(line)
    return 0


def _compile(options: Options, kernel: Target, paint: Paint) -> Probes:
    probes = compile(
        *options.expressions,
        files=options.files,
        definitions=dict(options.definitions),
        kernel=kernel,
        guards=options.has_guards,
    )
    report_diagnostics(probes.warnings, sys.stderr, paint)
    return probes
