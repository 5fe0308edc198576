"""Probes in, nothing out: what they compile to is what a kernel takes, or their diagnostics are under their text."""

import io
import subprocess
import zlib
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from functools import cache

from surftrace.cli.report import print_explanation, report_diagnostics, report_error
from surftrace.compiler.contents import MAX_ARGUMENTS
from surftrace.compiler.fetch import MAX_FETCH_LENGTH
from surftrace.compiler.plan import MAX_COMMAND, Plan, Step, TracedEvent, build_plan
from surftrace.compiler.render import echo_lines, shell_script
from surftrace.compiler.resolve import resolve
from surftrace.compiler.resolved import Resolved
from surftrace.errors import SurftraceError
from surftrace.kernel.machine import Machine
from surftrace.kernel.target import Target
from surftrace.lang.parse import parse_probe
from surftrace.lang.printing import print_probe
from surftrace.lang.script import Script, parse_script
from surftrace.lang.source import DiagnosedError, Diagnostic, Source, Span, render_excerpt, render_location
from surftrace.lang.syntax import Probe
from surftrace.output.color import plain
from surftrace.tracing.decode import make_decoder
from surftrace.tracing.events import Event, Record
from tests import kernelmodel
from tests.fuzz.kernels import SYMBOL_ADDRESSES, FuzzKernel, model_events
from tests.fuzz.limits import limited_time
from tests.kernelmodel.fetch import Definition, fetch, parse_definition, print_record
from tests.kernelmodel.filter import Filter

_MAX_NAME = 31
_INDENT = "    "
_CUT_LINE = 1990
# A bash for so many plans would take longer than all else.
_SCRIPTS_PER_BASH = 12

_MODELS = {"x86_64": kernelmodel.X86_64, "aarch64": kernelmodel.ARM64}
_MODEL_SYMBOLS = kernelmodel.Symbols(SYMBOL_ADDRESSES, 0xFFFF_FFFF_8300_0000)

# Wherever a probe looks it finds pointers, numbers, and strings that look like fields.
_PAGE = 0xFFFF_8880_0000_1000
_CONTENT = (
    _PAGE.to_bytes(8, "little") + b'a" __h0=0x1 b="\0\xff\x80' + bytes(range(1, 90)) + (_PAGE + 8).to_bytes(8, "little")
)


def check(
    kernel: FuzzKernel,
    machine: Machine,
    expressions: Sequence[str],
    script_text: str = "",
    definitions: Mapping[str, str] | None = None,
    has_guards: bool = True,
) -> bool:
    """Compile, and look at all that comes of it. Did it compile?"""
    with limited_time():
        script = parse_script(expressions, [("s", script_text)], definitions)
        try:
            resolved = resolve(script, Target(machine, kernel), has_guards)
            plan = build_plan(resolved, "surftrace", machine.byteorder)
        except SurftraceError as error:
            diagnostics = error.diagnostics if isinstance(error, DiagnosedError) else ()
            is_compiled = False
            _check_report(error)
        else:
            diagnostics, is_compiled = resolved.warnings, True
            report_diagnostics(resolved.warnings, io.StringIO(), plain)
            with redirect_stdout(io.StringIO()):
                print_explanation(resolved, plain)
            _check_text(plan)
    for diagnostic in diagnostics:
        _check_carets(diagnostic)
    check_printed(script)
    if not is_compiled:
        return False
    _check_plan(plan, resolved)
    _check_in_model(plan, machine, kernel)
    return True


def check_printed(script: Script) -> None:
    """What is printed of each probe parses to the same tree."""
    for probe in script.probes:
        assert reparsed(probe) == probe, print_probe(probe)


def reparsed(probe: Probe) -> Probe:
    """The probe after it was printed and parsed."""
    text = print_probe(probe)
    return parse_probe(Source("printed", text), Span(0, len(text)))


def _check_report(error: SurftraceError) -> None:
    stream = io.StringIO()
    report_error(error, stream, plain)
    assert stream.getvalue().replace("\n", "").isprintable()
    assert error.message
    if isinstance(error, DiagnosedError):
        assert error.diagnostics


def _check_carets(diagnostic: Diagnostic) -> None:
    span, text = diagnostic.span, diagnostic.source.text
    assert 0 <= span.start <= span.end <= len(text)
    source, span = diagnostic.source.as_written(span)
    assert 0 <= span.start <= span.end <= len(source.text)
    assert render_location(diagnostic)
    line, carets = render_excerpt(diagnostic)
    assert line.isprintable()
    column = len(carets) - len(carets.lstrip(" "))
    assert carets == " " * column + "^" + "~" * (len(carets) - column - 1)
    if len(line) < _CUT_LINE:
        assert column == len(_INDENT) + span.start - (source.text.rfind("\n", 0, span.start) + 1)
    # Under the text, or just behind it where something is missing.
    assert len(carets) <= len(line) + 1
    _check_cut(diagnostic, line[column : column + 1])


def _check_cut(diagnostic: Diagnostic, char: str) -> None:
    """Cut to a narrow terminal, the caret is still under the same character, or under the dots in its place."""
    line, carets = render_excerpt(diagnostic, 40)
    column = carets.index("^")
    assert len(line) < 40
    assert len(carets) <= 40
    assert line[column : column + 1] in (char, ".")


def _check_text(plan: Plan) -> None:
    for step in plan.steps:
        assert step.text.isprintable()
        assert len(step.text.encode(errors="surrogateescape")) <= MAX_COMMAND
        for mark in step.marks:
            assert 0 <= mark.start < mark.end <= len(step.text)
    assert all(line.isprintable() for line in echo_lines(plan, "/sys/kernel/tracing"))
    script = shell_script(plan, ("surftrace -o x",)).encode(errors="surrogateescape")
    if zlib.crc32(script) % _SCRIPTS_PER_BASH == 0:
        subprocess.run(["bash", "-n"], input=script, check=True, timeout=10)


def _check_plan(plan: Plan, resolved: Resolved) -> None:
    for event, probe in zip(plan.events, resolved.probes, strict=True):
        assert event.is_ours == bool(probe.name)
        assert len(event.fields) <= MAX_ARGUMENTS
        if not event.is_ours:
            continue
        head, place, *arguments = _definition_of(plan, event).text.split(" ")
        assert (head, place) == (f"{probe.kind.value.lower()}:surftrace/{event.name}", probe.place)
        assert [argument.partition("=")[0] for argument in arguments] == [field.name for field in event.fields]
        assert len({field.name for field in event.fields}) == len(event.fields)
        assert all(len(argument.partition("=")[2]) <= MAX_FETCH_LENGTH for argument in arguments)
        assert all(len(field.name) <= _MAX_NAME for field in event.fields)
        _check_guards(event)
        shown = [field for field in event.fields if not field.is_hidden]
        assert len(shown) == len(probe.probe.arguments)
        assert event.fields[: len(shown)] == tuple(shown) or any(field.is_sentinel for field in event.fields)


def _check_guards(event: TracedEvent) -> None:
    """What a field is guarded by is a hidden pointer of the same event."""
    pointers = {field.name for field in event.fields if field.is_hidden and field.valid is not None}
    assert all(set(field.guards) <= pointers for field in event.fields)


def _definition_of(plan: Plan, event: TracedEvent) -> Step:
    (step,) = (step for step in plan.steps if step.event == event.name and step.path.endswith("_events"))
    return step


def _filter_of(plan: Plan, event: TracedEvent) -> str | None:
    path = f"{plan.instance_path}/events/{event.system}/{event.name}/filter"
    # An event that is traced as it is may be named like one of ours, never in the same group.
    return next((step.text for step in plan.steps if step.path == path), None)


def _check_in_model(plan: Plan, machine: Machine, kernel: FuzzKernel) -> None:
    """The kernel takes every definition and every filter; what it prints is decoded, and shows nothing hidden."""
    model = _MODELS.get(machine.name)
    if model is None or kernel.model is None:
        return
    for event in plan.events:
        try:
            _check_event(plan, event, model, kernel, kernel.model)
        except kernelmodel.Unmodelled:
            continue


def _check_event(
    plan: Plan, event: TracedEvent, machine: kernelmodel.Machine, known: FuzzKernel, kernel: kernelmodel.Kernel
) -> None:
    filter_text = _filter_of(plan, event)
    if not event.is_ours:
        fields = _events().get(f"{event.system}.{event.name}")
        if filter_text is not None and fields is not None and known.is_known:
            Filter(filter_text, fields, kernel, _MODEL_SYMBOLS)
        return
    step = _definition_of(plan, event)
    if step.path == "uprobe_events":
        return
    definition = parse_definition(step.text, kernel, machine, _events())
    if filter_text is not None:
        compiled = Filter(filter_text, definition.fields, kernel, _MODEL_SYMBOLS)
    record = _record(definition, machine)
    if record is None:
        return
    if filter_text is not None:
        compiled.matches(record)
    text = print_record(definition, record).encode(errors="surrogateescape")
    line = b"            task-1       [000] .....     1.000001: %s: (place)%s\n" % (event.name.encode(), text)
    decoded = list(make_decoder(plan)(line))
    check_records(plan, decoded)
    assert isinstance(decoded[0], Event)


def _record(definition: Definition, machine: kernelmodel.Machine) -> kernelmodel.Record | None:
    registers = dict.fromkeys(machine.registers, _PAGE)
    memory = kernelmodel.Memory.of({_PAGE: _CONTENT})
    event = _CONTENT.ljust(128, b"\1")
    moment = kernelmodel.Moment(
        registers, memory, symbols=_MODEL_SYMBOLS, entry_registers=registers, event=event, machine=machine
    )
    try:
        return fetch(definition, moment)
    except kernelmodel.Dropped:
        return None
    except kernelmodel.Refused as refused:
        # Only a symbol's address: which there are, the compiler knows of some kernels only.
        assert refused.reason.startswith("no symbol"), refused
        return None


def check_records(plan: Plan, records: Sequence[Record]) -> None:
    """Every event has the values of all fields that are shown, and of none that is hidden, or none at all."""
    shown = {event.name: [field for field in event.fields if not field.is_hidden] for event in plan.events}
    for record in records:
        if isinstance(record, Event) and record.values:
            assert [value.field for value in record.values] == shown[record.name]


@cache
def _events() -> Mapping[str, tuple[kernelmodel.Field, ...]]:
    return model_events()
