"""The `surftrace` command: options in, a dry run, a script or a live trace out, an exit status."""

import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import TextIO

from surftrace.cli.options import SHORT_HELP, Options, UsageError, parse_options
from surftrace.cli.report import print_explanation, report_diagnostics, report_error
from surftrace.compiler.plan import Buffer, Plan, build_plan
from surftrace.compiler.render import echo_lines, shell_script
from surftrace.compiler.resolve import resolve
from surftrace.compiler.resolved import Resolved
from surftrace.errors import SurftraceError
from surftrace.kernel.machine import Machine, machine_named
from surftrace.kernel.offline import OfflineKernel
from surftrace.kernel.symbols import read_symbols
from surftrace.kernel.target import Kernel, Target
from surftrace.lang.script import Script, parse_script
from surftrace.lang.source import CompileError
from surftrace.names import did_you_mean, nearest
from surftrace.output.color import Paint, colored, plain
from surftrace.tracing.instance import SHELL_NAME
from surftrace.tracing.running import RunningKernel
from surftrace.tracing.tracefs import DEFAULT_ROOT, Tracefs, TracefsError, find_tracefs

Command = Callable[[Sequence[str], Paint], int]
# What may stand first instead of a probe, and the module with its `run_NAME`.
COMMANDS = {
    "clean": "clean",
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
    definitions = dict(options.definitions)
    script = parse_script(options.expressions, [(path, _read_script(path)) for path in options.files], definitions)
    if unused := sorted(definitions.keys() - script.names):
        if script.errors:  # a ${name} without a definition may be what this one was meant for
            raise CompileError(list(script.errors))
        hints = did_you_mean(nearest(unused[0], script.names))
        raise UsageError(f"nothing asks for ${{{unused[0]}}} in {', '.join(options.files)}", *hints)
    if not script.sources:
        raise UsageError(f"no probe in {', '.join(options.files)}")
    if options.is_dry_run or options.is_explained or options.output is not None:
        return _compile_only(options, script, paint)
    if _machine(options) != machine_named(os.uname().machine):
        raise UsageError(f"this machine cannot run a trace for {options.arch}", "print it with -S, or write it with -o")
    tracefs = find_tracefs()
    kernel = RunningKernel(tracefs, options.btfs, vmlinux=options.vmlinux, modules=options.modules)
    target = Target(_machine(options), kernel)
    resolved = _resolve(script, options, target, paint)
    from surftrace.cli.live import trace  # the live part is not loaded for a dry run

    return trace(resolved, target, tracefs, options, _paint(options.color, sys.stdout), paint)


def _read_script(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"cannot read {path}: it is not UTF-8 text") from None


def _compile_only(options: Options, script: Script, paint: Paint) -> int:
    has_types = options.btfs or options.vmlinux is not None
    if not has_types and _machine(options) != machine_named(os.uname().machine):
        raise UsageError("the types of this machine's kernel are not those of another", "give its BTF with -b FILE")
    tracefs = _accessible_tracefs()
    resolved = _resolve(script, options, Target(_machine(options), _kernel(options, tracefs)), paint)
    if options.is_explained:
        print_explanation(resolved, _paint(options.color, sys.stdout))
        return 0
    plan = _plan(resolved, options, options.instance or SHELL_NAME)
    if options.output is not None:
        comments = tuple(probe.source.text[probe.span.start : probe.span.end] for probe in script.probes)
        from surftrace.cli.files import write_file  # few runs write any

        write_file(options.output, shell_script(plan, comments), 0o777)
        return 0
    root = str(tracefs.root) if tracefs is not None else DEFAULT_ROOT
    for line in echo_lines(plan, root):
        print(line)
    return 0


def _kernel(options: Options, tracefs: Tracefs | None) -> Kernel:
    """The kernel of the files that were given; the running one where its types were not."""
    if options.btfs or options.vmlinux is not None:
        return OfflineKernel.of_files(
            *options.btfs,
            vmlinux=options.vmlinux,
            modules=options.modules,
            release=options.kernel,
            symbols_path=options.symbols,
        )
    symbols = read_symbols(options.symbols) if options.symbols is not None else None
    return RunningKernel(tracefs, symbols=symbols, modules=options.modules)


def _accessible_tracefs() -> Tracefs | None:
    """tracefs where there is one to look at; a dry run does without."""
    try:
        return find_tracefs()
    except TracefsError:
        return None


def _resolve(script: Script, options: Options, target: Target, paint: Paint) -> Resolved:
    resolved = resolve(script, target, options.has_guards)
    report_diagnostics(resolved.warnings, sys.stderr, paint)
    return resolved


def _plan(resolved: Resolved, options: Options, instance: str) -> Plan:
    buffer = Buffer(options.buffer_kb, options.is_overwriting)
    return build_plan(resolved, instance, _machine(options).byteorder, options.has_stacks, buffer)


def _machine(options: Options) -> Machine:
    return machine_named(options.arch or os.uname().machine)
