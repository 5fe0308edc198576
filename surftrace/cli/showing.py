"""`surftrace show THING`: a type's layout, a member's place, a function and its arguments, an event's fields."""

import argparse
import sys
from collections.abc import Iterator, Sequence

from surftrace.cli.kernels import chosen_target, kernel_parser
from surftrace.compiler.functions import FunctionFacts
from surftrace.compiler.showing import Shown, ShownEvent, ShownMember, ShownName, ShownType, show
from surftrace.kernel.catalog import NO_SYSTEM
from surftrace.kernel.declarations import declared_field
from surftrace.kernel.layout import LayoutLine, spelled_size
from surftrace.output.color import Paint, Role
from surftrace.output.escape import escape

_DESCRIPTION = """\
Print what the kernel has under a name: the layout of a struct, union, enum or typedef, the place of a member, a
function with its arguments' places at its entry, a trace event with its fields.
"""
_EXAMPLES = (
    "surftrace show sk_buff           then: surftrace 'p ip_output skb->len'",
    "surftrace show 'struct sk_buff.dev->name'",
    "surftrace show ip_output",
    "surftrace show sched/sched_switch",
)
_INDENT = "    "
_MAX_WIDTH = 64
_MAX_NAMES = 40


def run_show(argv: Sequence[str], paint: Paint) -> int:
    """Run the command; the result is the exit status."""
    chosen = show_parser().parse_args(argv)
    found = show(chosen.thing, chosen_target(chosen), chosen.depth)
    paragraphs = ("".join(f"{line.rstrip()}\n" for line in _lines(each, paint)) for each in found)
    sys.stdout.write("\n".join(paragraphs))
    return 0


def _lines(shown: Shown, paint: Paint) -> Iterator[str]:
    match shown:
        case ShownType():
            return _layout(shown.lines, paint)
        case ShownMember():
            return _member(shown, paint)
        case FunctionFacts():
            return _function(shown, paint)
        case ShownEvent():
            return _event(shown, paint)
        case ShownName():
            return iter([f"{paint(Role.NAME, escape(shown.declaration))}  {paint(Role.FAINT, f'/* {shown.note} */')}"])


def _layout(lines: Sequence[LayoutLine], paint: Paint) -> Iterator[str]:
    """C, with the offset and the size of each member behind it, as pahole has them."""
    width = max((_width(line) for line in lines if line.place), default=0)
    width = min(width, _MAX_WIDTH)
    places = max((len(line.place) for line in lines), default=0)
    sizes = max((len(str(line.size)) for line in lines), default=0)
    for line in lines:
        text = f"{_INDENT * line.depth}{escape(line.text)}"
        if line.place:
            comment = f"/* {line.place.rjust(places)}  {str(line.size).rjust(sizes)} */"
            yield f"{text.ljust(width)}  {paint(Role.PLACE, comment)}"
        elif line.note:
            yield f"{text}{'  ' if line.text else ''}{paint(Role.FAINT, f'/* {line.note} */')}"
        else:
            yield paint(Role.EVENT, text) if not line.depth else text


def _width(line: LayoutLine) -> int:
    return len(_INDENT) * line.depth + len(line.text)


def _member(shown: ShownMember, paint: Paint) -> Iterator[str]:
    holders = [f"{escape(step.holder)}:" for step in shown.steps]
    texts = [escape(step.line.text) for step in shown.steps]
    for step, holder, text in zip(shown.steps, holders, texts, strict=True):
        byte, _, bit = step.line.place.partition(":")
        place = f"offset {byte}, {f'bit {bit}' if bit else spelled_size(step.line.size)}"
        name = paint(Role.NAME, text.ljust(max(map(len, texts))))
        yield f"{holder.ljust(max(map(len, holders)))}  {name}  {paint(Role.PLACE, place)}"


def _function(facts: FunctionFacts, paint: Paint) -> Iterator[str]:
    module = f"  {paint(Role.FAINT, f'[{escape(facts.module)}]')}" if facts.module else ""
    for declaration in facts.declaration.splitlines():
        yield f"{paint(Role.EVENT, escape(declaration))}{module}"
    for source in facts.sources:
        yield f"  at {escape(source)}"
    rows = [(each.name or "(no name)", escape(each.type), each.where) for each in facts.parameters]
    names, types = (max((len(row[column]) for row in rows), default=0) for column in (0, 1))
    for name, type_, where in rows:
        yield f"  {paint(Role.NAME, name.ljust(names))}  {type_.ljust(types)}  {paint(Role.PLACE, where)}"
    if facts.is_probed is False:
        yield f"  {paint(Role.WARNING, 'no probe')}: {escape(facts.probe)}"
    else:
        yield f"  probe: {escape(facts.probe)}"


def _event(event: ShownEvent, paint: Paint) -> Iterator[str]:
    system = event.system
    yield paint(Role.EVENT, escape(f"{system}/{event.name}"))
    if system == NO_SYSTEM:
        yield "  its system is not known here: the tracefs of a running kernel has it"
    if event.fields is None:
        yield "  its fields are not known here: it shares the struct of a class of events, and types do not tell which"
    fields = [(declared_field(each), each) for each in event.fields or ()]
    width = max((len(text) for text, _ in fields), default=0)
    sizes = max((len(spelled_size(each.size)) for _, each in fields), default=0)
    for text, field in fields:
        size = "any size" if field.is_dynamic else spelled_size(field.size)
        names = ", ".join(f"{value}={name}" for value, name in field.names[:_MAX_NAMES])
        more = ", ..." if len(field.names) > _MAX_NAMES else ""
        shown = escape(text.ljust(width))
        yield f"  {paint(Role.NAME, shown)}  {size.ljust(sizes)}  {paint(Role.FAINT, escape(names + more))}"


def show_parser() -> argparse.ArgumentParser:
    """The parser of `surftrace show`."""
    parser = kernel_parser("show", _DESCRIPTION, *_EXAMPLES, has_symbols=True)
    parser.add_argument(
        "thing",
        metavar="THING",
        help="a type, TYPE.MEMBER->MEMBER, FUNCTION, MODULE:FUNCTION, SYSTEM/EVENT, or any name",
    )
    parser.add_argument(
        "--depth",
        type=_depth,
        default=1,
        metavar="N",
        help="spell out structs in structs N deep (default 1: only those without a name)",
    )
    return parser


def _depth(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text[:9]) <= 100:
        raise argparse.ArgumentTypeError(f"'{text}' is not a depth from 1 to 100")
    return int(text)
