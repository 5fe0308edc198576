"""Syntax tree in, the text that it is parsed from out: parsing what is printed gives the same tree."""

import re

from surftrace.lang import syntax
from surftrace.lang.syntax import Expr

_PREFIXED = (syntax.Conversion, syntax.Dereference, syntax.AddressOf)
_BARE = re.compile(r"[\w.$/@+-]+")  # a program's function, or source file, that needs no quotes
_PRIMARY = (
    syntax.Argument, syntax.Register, syntax.Name, syntax.Variable, syntax.Symbol, syntax.Address, syntax.ContainerOf
)  # fmt: skip


def print_probe(probe: syntax.Probe) -> str:
    """The probe as one line."""
    parts = [probe.kind.value, print_target(probe.target), *map(_assignment, probe.arguments)]
    if probe.filter is not None:
        parts.append(f"f:{print_filter(probe.filter)}")
    return " ".join(parts)


def print_target(target: syntax.Target) -> str:
    """What the probe is on."""
    match target:
        case syntax.FunctionTarget():
            return _in_module(target.module, target.name) + _plus(target.byte_offset)
        case syntax.PatternTarget():
            return _in_module(target.module, target.pattern)
        case syntax.LineTarget():
            return f"{_in_module(target.module, target.name)}:{target.line}"
        case syntax.AddressTarget():
            return f"{target.address:#x}"
        case syntax.EventTarget():
            return f"{target.system}/{target.name}"
        case syntax.UserTarget():
            name = target.name if _BARE.fullmatch(target.name) else f'"{target.name}"'
            line = f":{target.line}" if target.line is not None else ""
            return f"{target.object}:{name}{_plus(target.byte_offset)}{line}"


def print_expr(expr: Expr) -> str:
    """A value's expression, with the parentheses that it needs and no others."""
    match expr:
        case syntax.Conversion():
            return f"({expr.type.text}){print_expr(expr.operand)}"
        case syntax.Dereference():
            return f"*{print_expr(expr.operand)}"
        case syntax.AddressOf():
            return f"&{print_expr(expr.operand)}"
        case syntax.Cast():
            return f"!({expr.type.text}){_base(expr.operand)}"
        case syntax.Packet():
            return f"@({expr.type.text}){expr.layer} {_base(expr.skb)}"
        case syntax.Member():
            cast = f"!({expr.type.text})" if expr.type is not None else ""
            return f"{_postfix(expr.operand)}{'->' if expr.is_arrow else '.'}{cast}{expr.name}"
        case syntax.Index():
            return f"{_postfix(expr.operand)}[{expr.index}]"
        case syntax.Slice():
            return f"{_postfix(expr.operand)}[{expr.start}:{expr.stop}]"
        case syntax.ContainerOf():
            return f"container_of({print_expr(expr.operand)}, {expr.type.text}, {'.'.join(expr.members)})"
        case _:
            return _start(expr)


def print_filter(tree: syntax.Filter) -> str:
    """A filter, each `&&`, `||` and `!` with the parentheses that keep its operands together."""
    match tree:
        case syntax.Compare():
            literal = f"{tree.literal.quote}{tree.literal.text}{tree.literal.quote}"
            return f"{print_expr(tree.left)}{tree.operator.value}{literal}"
        case syntax.Not():
            text = print_filter(tree.operand)
            return f"!{text}" if isinstance(tree.operand, syntax.Not) else f"!({text})"
        case syntax.And() | syntax.Or():
            operator = "&&" if isinstance(tree, syntax.And) else "||"
            return operator.join(_operand(operand) for operand in tree.operands)


def _operand(tree: syntax.Filter) -> str:
    text = print_filter(tree)
    return f"({text})" if isinstance(tree, (syntax.And, syntax.Or)) else text


def _assignment(assignment: syntax.Assignment) -> str:
    name = f"{assignment.name}=" if assignment.name is not None else ""
    letter = assignment.format.value if assignment.format is not None else ""
    fetch_type = f":{assignment.type.text}" if assignment.type is not None else ""
    value = print_expr(assignment.value)
    # `Xskb` is a name as a whole, `f:u32` begins a filter.
    if (letter and value[0] not in "%!@$(*&") or (not name and fetch_type and value == "f"):
        value = f"({value})"
    return f"{name}{letter}{value}{fetch_type}"


def _start(expr: Expr) -> str:
    match expr:
        case syntax.Argument(index):
            return f"%{index}"
        case syntax.Register(name):
            return f"%{name}"
        case syntax.Name(name) | syntax.Variable(name):
            return name
        case syntax.Symbol(name, byte_offset):
            return f"@{name}{_plus(byte_offset)}"
        case syntax.Address(address):
            return f"@{address:#x}"
        case _:
            raise AssertionError(f"{expr} does not start a value")


def _postfix(expr: Expr) -> str:
    """An operand of `->`, `.` and `[]`, which bind tighter than C's prefix operators."""
    return f"({print_expr(expr)})" if isinstance(expr, _PREFIXED) else print_expr(expr)


def _base(expr: Expr) -> str:
    """An operand of `!(TYPE)` and of `@(TYPE)lN`, which take the next base alone."""
    return print_expr(expr) if isinstance(expr, (*_PRIMARY, syntax.Cast)) else f"({print_expr(expr)})"


def _in_module(module: str, name: str) -> str:
    return f"{module}:{name}" if module else name


def _plus(byte_offset: int) -> str:
    # A number has 16 hexadecimal digits at most, and 20 decimal ones.
    return f"{byte_offset:+{'#x' if abs(byte_offset) < 1 << 64 else 'd'}}" if byte_offset else ""
