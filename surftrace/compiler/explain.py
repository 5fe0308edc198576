"""`Resolved` in, what each value became and why out: its type, the reads on the way to it, its guards, its filter."""

import re
from collections.abc import Iterator

from surftrace.compiler.arguments import split_letter
from surftrace.compiler.expressions import evaluate
from surftrace.compiler.fetch import render_fetch
from surftrace.compiler.plan import render_condition
from surftrace.compiler.resolved import Field, ResolvedProbe
from surftrace.compiler.scope import Scope
from surftrace.kernel.calling import spelled_place
from surftrace.kernel.types import spelled
from surftrace.lang import syntax
from surftrace.lang.printing import print_expr, print_probe
from surftrace.record import record

_BITS = re.compile(r"[usx](8|16|32|64)")


@record
class Line:
    """A line of an explanation: how deep it is, what is explained, and what is said of it."""

    depth: int
    subject: str
    text: str


def explain(probe: ResolvedProbe) -> Iterator[Line]:
    """The explanation of one probe, outermost line first."""
    yield Line(0, print_probe(probe.probe), "")
    yield Line(1, probe.place, _place(probe))
    scope = probe.scope
    if scope is not None:
        yield from _types(scope)
        yield from _parameters(scope)
    shown = [field for field in probe.fields if not field.is_hidden]
    for field, assignment in zip(shown, probe.probe.arguments, strict=True):
        yield Line(1, field.name, f"{render_fetch(field.fetch)}, {_amount(field)}{_form(field)}")
        if scope is not None:
            yield from _reads(split_letter(assignment, scope)[1], scope)
        if field.guards:
            yield Line(2, "guarded by", ", ".join(field.guards))
    for field in probe.fields:
        if field.is_hidden:
            yield Line(1, field.name, f"{render_fetch(field.fetch)}, {_purpose(field)}")
    if probe.condition is not None:
        yield Line(1, "filter", render_condition(probe.condition))


def _place(probe: ResolvedProbe) -> str:
    target = probe.probe.target
    kind = {
        syntax.Kind.ENTRY: "kernel function, at its entry",
        syntax.Kind.RETURN: "kernel function, when it returns",
        syntax.Kind.EVENT: "trace event" + (", through a probe on it (eprobe)" if probe.name else ", as it is"),
        syntax.Kind.USER_ENTRY: "function of a program",
        syntax.Kind.USER_RETURN: "function of a program, when it returns",
    }[probe.kind]
    if isinstance(target, syntax.FunctionTarget):
        if target.byte_offset:
            kind = f"a place inside a kernel function, {target.byte_offset} bytes from its start"
        symbol = probe.place.partition("+")[0].rpartition(":")[2]
        if symbol != target.name:
            kind += f"; the compiler renamed {target.name}"
    if isinstance(target, syntax.LineTarget):
        kind = f"code of line {target.line} of {target.name}"
    if isinstance(target, syntax.PatternTarget):
        kind += f", matched by {target.pattern}"
    return kind


def _types(scope: Scope) -> Iterator[Line]:
    """Where the types come from."""
    if not scope.is_user:
        yield Line(2, "types", scope.types.origin())


def _parameters(scope: Scope) -> Iterator[Line]:
    """Where the function's parameters are, as far as the probe is at its entry."""
    if scope.byte_offset:
        return
    if scope.prototype is None:
        if scope.kind in (syntax.Kind.ENTRY, syntax.Kind.RETURN):
            yield Line(2, "parameters", "not known: the types have no prototype of it")
        return
    for index, (parameter, place) in enumerate(zip(scope.prototype.parameters, scope.places(), strict=True)):
        name = f"%{index} {parameter.name or ''}".rstrip()
        yield Line(2, name, f"{spelled(parameter.type)}, {spelled_place(place)}")
    yield Line(2, "$retval", spelled(scope.prototype.type))


def _reads(expr: syntax.Expr, scope: Scope) -> Iterator[Line]:
    """Each expression that the value's goes through, from its base on: its type, and the reads that make it."""
    for step in _spine(expr):
        value = evaluate(step, scope)
        reads = render_fetch(value.fetch(""))
        bits = f", bits {value.bits[0]} to {value.bits[0] + value.bits[1] - 1}" if value.bits is not None else ""
        address = "the address of " if value.is_address else ""
        type_text = spelled(value.type) if value.type is not None else "no known type"
        yield Line(2, print_expr(step), f"{type_text}, {address}{reads}{bits}")


def _spine(expr: syntax.Expr) -> Iterator[syntax.Expr]:
    match expr:
        case (
            syntax.Member(operand=syntax.Packet(skb=inner))
            | syntax.Index(operand=syntax.Member(operand=syntax.Packet(skb=inner)))
            | syntax.Slice(operand=syntax.Member(operand=syntax.Packet(skb=inner)))
        ):
            yield from _spine(inner)
        case syntax.Member() | syntax.Index() | syntax.Slice() | syntax.Cast() | syntax.Conversion():
            yield from _spine(expr.operand)
        case syntax.Dereference() | syntax.AddressOf() | syntax.ContainerOf():
            yield from _spine(expr.operand)
        case _:
            pass
    yield expr


def _amount(field: Field) -> str:
    fetch_type = field.fetch.type.partition("[")[0]
    if field.is_string or fetch_type.endswith("string"):
        return "a string" if field.array_length is None else f"{field.array_length} strings"
    if fetch_type.startswith("b"):
        width = re.split("[b@]", fetch_type)[1]
        return f"{width} bit{'s' if width != '1' else ''}"
    match = _BITS.fullmatch(fetch_type)
    size = int(match[1]) // 8 if match else 1 if fetch_type == "char" else 8
    count = field.array_length
    return f"{size} byte{'s' if size > 1 else ''}" if count is None else f"{count} times {size} bytes"


def _form(field: Field) -> str:
    if field.prefix is not None:
        return f", shown as {field.prefix.meaning}"
    if field.enumerators:
        return ", shown by its enumerators"
    return f", {field.addend:+#x} added when it is shown" if field.addend else ""


def _purpose(field: Field) -> str:
    if field.is_sentinel:
        return "hidden, stands for the string before it where that was not read"
    if field.valid is None:
        return "hidden, for the filter"
    return f"hidden, a guard: an address from {field.valid[0]:#x} to {field.valid[1] - 1:#x}"
