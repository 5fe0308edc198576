"""Text of one probe in, syntax tree out; what is not the language becomes one located diagnostic."""

from functools import cache
from pathlib import Path

import lark
from lark import Lark, Token, Tree, UnexpectedCharacters, UnexpectedInput, UnexpectedToken
from lark.grammar import Rule
from lark.lexer import TerminalDef

from surftrace.grammar import tables
from surftrace.lang import syntax
from surftrace.lang.source import CompileError, Diagnostic, Source, Span

# What a user calls each terminal of grammar/probe.lark.
WORDS = {
    "ENTRY": "'p'",
    "RETURN": "'r'",
    "EVENT": "'e'",
    "FUNCTION": "a function",
    "EVENT_NAME": "an event (system/name)",
    "NAME": "a name",
    "ASSIGN": "'='",
    "FORMAT": "a format letter (S, U or X)",
    "ARGUMENT": "an argument (%0, %1, ...)",
    "REGISTER": "a register (%di, ...)",
    "VARIABLE": "$retval, $comm or $stack",
    "SYMBOL": "@symbol",
    "ADDRESS": "@0xADDRESS",
    "AT": "a packet header (@(struct ...))",
    "BANG": "'!'",
    "LPAR": "'('",
    "RPAR": "')'",
    "C_TYPE": "a C type",
    "LAYER": "a layer (l2, l3 or l4)",
    "ARROW": "'->'",
    "DOT": "'.'",
    "LSQB": "'['",
    "RSQB": "']'",
    "PLUS": "'+'",
    "SIGN": "'+' or '-'",
    "NUMBER": "a number",
    "FILTER": "a filter (f:...)",
    "OR": "'||'",
    "AND": "'&&'",
    "EQUAL": "'=='",
    "NOT_EQUAL": "'!='",
    "LESS": "'<'",
    "LESS_EQUAL": "'<='",
    "GREATER": "'>'",
    "GREATER_EQUAL": "'>='",
    "BITS": "'&'",
    "GLOB": "'~'",
    "STRING": "a quoted string",
    "WORD": "a number, an address or a name",
    "$END": "the end of the probe",
}

# What helps most people who wrote something else where these are expected.
_HINTS = (
    ({"ENTRY", "RETURN", "EVENT"}, "p FUNCTION, r FUNCTION or e SYSTEM/EVENT; see surftrace --help"),
    ({"ASSIGN"}, "every value has a name: len=skb->len"),
    ({"EQUAL", "NOT_EQUAL", "LESS", "GLOB"}, "a filter compares an argument by its name: f:len>1500"),
)

# The kernel takes 4094 characters of what a probe compiles to.
MAX_LENGTH = 1 << 15

# A chain longer than this is no chain of any kernel; the bound keeps hostile text from exhausting the stack.
MAX_NESTING = 64

_TOO_DEEP = f"nested more than {MAX_NESTING} deep"


def parse_probe(source: Source, text_span: Span) -> syntax.Probe:
    """The probe written in that part of the source; CompileError where it is not one."""
    text = source.text[text_span.start : text_span.end]
    if len(text) > MAX_LENGTH:
        start = Span(text_span.start, text_span.start + 1)
        raise CompileError([Diagnostic(source, start, f"a probe has at most {MAX_LENGTH} characters")])
    try:
        tree = _parser().parse(text.replace("\\\n", "  "))
    except UnexpectedInput as error:
        raise CompileError([_syntax_error(error, source, text_span)]) from None
    return _Builder(source, text_span.start).probe(tree)


@cache
def _parser() -> Lark:
    """The parser, from the tables that the package ships where they are this lark's, else from the grammar."""
    if lark.__version__ != tables.LARK_VERSION:
        return build_parser(grammar_text())
    # What lark's own stand-alone parsers call; the public Lark.load() does the same over a pickle.
    parser: Lark = Lark._load_from_dict(tables.DATA, tables.MEMO)  # type: ignore[no-untyped-call] # lark has no hint
    return parser


def grammar_text() -> str:
    """The text of grammar/probe.lark."""
    return Path(tables.__file__).with_name("probe.lark").read_text(encoding="utf-8")


def build_parser(grammar: str) -> Lark:
    """The parser made from the grammar itself, which takes 30 ms."""
    return Lark(grammar, parser="lalr", lexer="contextual", propagate_positions=True, maybe_placeholders=True)


def render_tables() -> str:
    """The text of grammar/tables.py for the grammar and the lark that are here: `make grammar` writes it.

    lark numbers the states anew each time, so the text differs from run to run; `GRAMMAR` tells whether it is current.
    """
    grammar = grammar_text()
    data, memo = build_parser(grammar).memo_serialize([TerminalDef, Rule])
    return (
        '"""The parser\'s tables, made of probe.lark by `make grammar`. Not to be edited."""\n\n'
        f"LARK_VERSION = {lark.__version__!r}\nGRAMMAR = {grammar!r}\nDATA = {data!r}\nMEMO = {memo!r}\n"
    )


def _syntax_error(error: UnexpectedInput, source: Source, text_span: Span) -> Diagnostic:
    text = source.text[text_span.start : text_span.end]
    if isinstance(error, UnexpectedToken) and error.token.type != "$END":
        start, end = error.token.start_pos or 0, error.token.end_pos or 0
        expected, found = set(error.accepts or error.expected), f"'{error.token}'"
    elif isinstance(error, UnexpectedCharacters):
        start, end = error.pos_in_stream or 0, (error.pos_in_stream or 0) + 1
        expected, found = set(error.allowed or ()), f"'{text[start:end]}'"
    else:
        start = end = len(text.rstrip())
        expected, found = (
            set(error.accepts or error.expected) if isinstance(error, UnexpectedToken) else set(),
            "the end",
        )
    if found in ("'\"'", "'''") and "STRING" in expected:
        return Diagnostic(source, Span(text_span.start + start, text_span.end), "this quote is never closed")
    words = _words(expected)
    message = f"expected {_one_of(words)}, found {found}" if words else f"unexpected {found}"
    hints = tuple(hint for terminals, hint in _HINTS if terminals <= expected)
    return Diagnostic(source, Span(text_span.start + start, text_span.start + end), message, hints)


def _words(terminals: set[str]) -> list[str]:
    """What may stand there, in the user's words; the dozen ways to begin a value are one."""
    words = dict(WORDS)
    if {"ARGUMENT", "REGISTER", "NAME"} <= terminals:
        terminals -= {"REGISTER", "NAME", "VARIABLE", "SYMBOL", "ADDRESS", "AT", "BANG", "FORMAT"}
        words["ARGUMENT"] = "a value (%0, %di, a parameter, $retval, @symbol, ...)"
    elif {"NAME", "FILTER"} <= terminals:
        words["NAME"] = "NAME=VALUE"
    return [word for terminal, word in words.items() if terminal in terminals]


def _one_of(words: list[str]) -> str:
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _number(text: str) -> int:
    """A C integer: octal after a leading zero. Digits that are not octal's are read as decimal ones."""
    is_octal = text[0] == "0" and set(text) <= set("01234567")
    return int(text, 16) if text[:2] in ("0x", "0X") else int(text, 8 if is_octal else 10)


class _Builder:
    """The walk over one probe's parse tree: one method a rule; tokens and trees arrive in the rule's order."""

    def __init__(self, source: Source, text_start: int) -> None:
        self.source = source
        self.text_start = text_start

    def span(self, node: Tree[Token] | Token) -> Span:
        if isinstance(node, Token):
            start, end = node.start_pos, node.end_pos
        else:
            start, end = node.meta.start_pos, node.meta.end_pos
        assert start is not None
        assert end is not None
        return Span(self.text_start + start, self.text_start + end)

    def fail(self, node: Tree[Token] | Token, message: str) -> CompileError:
        return CompileError([Diagnostic(self.source, self.span(node), message)])

    def probe(self, tree: Tree[Token]) -> syntax.Probe:
        kind_token, target_node, *rest = tree.children
        kind = syntax.Kind(str(kind_token))
        filter_trees = [node for node in rest if isinstance(node, Tree) and node.data == "filter"]
        target: syntax.FunctionTarget | syntax.EventTarget
        if isinstance(target_node, Token):
            system, _, name = target_node.replace(":", "/").partition("/")
            target = syntax.EventTarget(system, name, self.span(target_node))
        else:
            function, _, number = target_node.children
            byte_offset = _number(str(number)) if number is not None else 0
            target = syntax.FunctionTarget(str(function), byte_offset, self.span(target_node))
        return syntax.Probe(
            kind,
            target,
            tuple(self.assignment(n) for n in rest if isinstance(n, Tree) and n.data == "assignment"),
            self.filter(_tree(filter_trees[0].children[1]), 0) if filter_trees else None,
            self.source,
            self.span(tree),
        )

    def assignment(self, tree: Tree[Token]) -> syntax.Assignment:
        name, _, letter, value = tree.children
        return syntax.Assignment(
            str(name),
            syntax.Format(str(letter)) if letter is not None else None,
            self.expr(_tree(value), 0),
            self.span(_token(name)),
            self.span(tree),
        )

    def expr(self, tree: Tree[Token], depth: int) -> syntax.Expr:
        if depth > MAX_NESTING:
            raise self.fail(tree, _TOO_DEEP)
        match tree.data:
            case "member":
                return self.member(tree, depth)
            case "index":
                operand, _, number, _ = tree.children
                return syntax.Index(
                    self.expr(_tree(operand), depth + 1),
                    _number(str(number)),
                    self.span(_token(number)),
                    self.span(tree),
                )
            case "cast":
                _, _, name, _, operand = tree.children
                return syntax.Cast(self.c_type(name), self.expr(_tree(operand), depth + 1), self.span(tree))
            case "packet":
                _, _, name, _, layer, skb = tree.children
                return syntax.Packet(
                    self.c_type(name),
                    int(str(layer)[1:]) if layer is not None else 3,
                    self.expr(_tree(skb), depth + 1),
                    self.span(tree),
                )
            case _:
                return self.primary(tree)

    def member(self, tree: Tree[Token], depth: int) -> syntax.Member:
        operand, arrow, cast, name = tree.children
        return syntax.Member(
            self.expr(_tree(operand), depth + 1),
            str(name),
            _token(arrow).type == "ARROW",
            self.c_type(_tree(cast).children[2]) if cast is not None else None,
            self.span(_token(name)),
            self.span(tree),
        )

    def primary(self, tree: Tree[Token]) -> syntax.Expr:
        token, span = str(tree.children[0]), self.span(tree)
        match tree.data:
            case "argument":
                return syntax.Argument(int(token[1:]), span)
            case "register":
                return syntax.Register(token[1:], span)
            case "name":
                return syntax.Name(token, span)
            case "variable":
                return syntax.Variable(token, span)
            case "address":
                return syntax.Address(int(token[1:], 16), span)
            case _:
                _, sign, number = tree.children
                byte_offset = _number(str(number)) if number is not None else 0
                return syntax.Symbol(token[1:], -byte_offset if sign == "-" else byte_offset, span)

    def c_type(self, token: Tree[Token] | Token) -> syntax.CType:
        span = self.span(token)
        text = str(token).rstrip()
        return syntax.CType(text, Span(span.start, span.start + len(text)))

    def filter(self, tree: Tree[Token], depth: int) -> syntax.Filter:
        if depth > MAX_NESTING:
            raise self.fail(tree, _TOO_DEEP)
        match tree.data:
            case "or" | "and":
                operands = tuple(self.filter(_tree(node), depth + 1) for node in tree.children[::2])
                return (syntax.Or if tree.data == "or" else syntax.And)(operands, self.span(tree))
            case "group":
                return self.filter(_tree(tree.children[1]), depth + 1)
            case "not":
                inner = next(node for node in tree.children if isinstance(node, Tree))
                return syntax.Not(self.filter(inner, depth + 1), self.span(tree))
            case _:
                return self.compare(tree)

    def compare(self, tree: Tree[Token]) -> syntax.Compare:
        name, operator, literal = tree.children
        operator_token, literal_token = _token(_tree(operator).children[0]), _token(literal)
        is_quoted = literal_token.type == "STRING"
        return syntax.Compare(
            str(name),
            syntax.Comparison(str(operator_token)),
            syntax.Literal(
                literal_token[1:-1] if is_quoted else str(literal_token),
                literal_token[0] if is_quoted else "",
                self.span(literal_token),
            ),
            self.span(_token(name)),
            self.span(operator_token),
            self.span(tree),
        )


def _tree(node: Tree[Token] | Token) -> Tree[Token]:
    assert isinstance(node, Tree)
    return node


def _token(node: Tree[Token] | Token) -> Token:
    assert isinstance(node, Token)
    return node


if __name__ == "__main__":
    import sys

    Path(sys.argv[1]).write_text(render_tables(), encoding="utf-8")
