"""Text of one probe in, syntax tree out; what is not the language becomes one located diagnostic."""

import re

from lark import UnexpectedCharacters, UnexpectedInput, UnexpectedToken

from surftrace.lang import syntax
from surftrace.lang.build import build_probe
from surftrace.lang.source import CompileError, Diagnostic, Source, Span
from surftrace.lang.tables import parser

# What a user calls each terminal of grammar/probe.lark.
WORDS = {
    "ENTRY": "'p'",
    "RETURN": "'r'",
    "EVENT": "'e'",
    "USER_ENTRY": "'P'",
    "USER_RETURN": "'R'",
    "FUNCTION": "a function",
    "PATTERN": "a glob (tcp_*)",
    "FILE": "a source file (net/ipv4/ip_output.c:LINE)",
    "USER_FUNCTION": "a function of it",
    "OBJECT": "a program or library (PROGRAM:FUNCTION)",
    "EVENT_NAME": "an event (system/name)",
    "NAME": "a name",
    "ASSIGN": "'='",
    "FORMAT": "a format letter (S, U or X)",
    "FETCH_TYPE": "a type of the kernel's (u32, string, x8[4], ...)",
    "ARGUMENT": "an argument (%0, %1, ...)",
    "REGISTER": "a register (%di, ...)",
    "VARIABLE": "$retval, $comm or $stack",
    "SYMBOL": "@symbol",
    "ADDRESS": "@0xADDRESS",
    "CONTAINER_OF": "container_of(...)",
    "AT": "a packet header (@(struct ...))",
    "BANG": "'!'",
    "STAR": "'*'",
    "LPAR": "'('",
    "RPAR": "')'",
    "COMMA": "','",
    "CAST_TYPE": "a cast, (TYPE)",
    "C_TYPE": "a C type",
    "LAYER": "a layer (l2, l3 or l4)",
    "ARROW": "'->'",
    "DOT": "'.'",
    "COLON": "':'",
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
    "AMPERSAND": "'&'",
    "MATCH": "'~'",
    "STRING": "a quoted string",
    "WORD": "a number, an address or a name",
    "$END": "the end of the probe",
}

# What helps most people who wrote something else where these are expected.
_HINTS = (
    (
        {"ENTRY", "RETURN", "EVENT"},
        "p FUNCTION, r FUNCTION, e SYSTEM/EVENT, P PROGRAM:FUNCTION or R PROGRAM:FUNCTION; see surftrace --help",
    ),
    ({"EQUAL", "NOT_EQUAL", "LESS", "MATCH"}, "a filter compares a value: f:skb->len>1500"),
)

# What helps those who wrote this where the terminal is expected.
_HINTS_FOUND = {
    "'|'": ("OR", "|| joins comparisons of which one is to hold"),
    "'#'": ("FILTER", "a comment is a line of its own, which begins with #"),
    "'='": ("EQUAL", "a filter compares with =="),
}

# How a value may begin, told as one.
_VALUE_STARTS = frozenset(
    (
        *("ARGUMENT", "REGISTER", "NAME", "VARIABLE", "SYMBOL", "ADDRESS", "CONTAINER_OF", "AT", "BANG", "STAR"),
        *("AMPERSAND", "LPAR", "FORMAT"),
    )
)
_COMPARISONS = frozenset(("EQUAL", "NOT_EQUAL", "LESS", "LESS_EQUAL", "GREATER", "GREATER_EQUAL", "MATCH", "AMPERSAND"))

# The comparison of the same two the other way round.
_MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
_CONSTANT_FIRST = re.compile(
    r"""(?P<constant>"[^"]*"|'[^']*'|[\w.:/-]*\w)\s*(?P<operator>[=!<>]=|[<>&~])\s*"""
    r"(?P<value>(?:!(?=\())?(?![\d.:\[])(?:->|\([^()]*\)|[\w.:\[\]%$@*])+)\s*(?=&&|\|\||\)|$)"
)
_CAST_ADDRESS = re.compile(r"(?P<left>\([A-Za-z_]\w*\))&\s*(?P<right>[A-Za-z_]\w*)[\s)]*&?$")

# The kernel takes 4094 characters of what a probe compiles to.
MAX_LENGTH = 1 << 15


def parse_probe(source: Source, text_span: Span) -> syntax.Probe:
    """The probe written in that part of the source; CompileError where it is not one."""
    text = source.text[text_span.start : text_span.end]
    if len(text) > MAX_LENGTH:
        start = Span(text_span.start, text_span.start + 1)
        raise CompileError([Diagnostic(source, start, f"a probe has at most {MAX_LENGTH} characters")])
    try:
        tree = parser().parse(text.replace("\\\n", "  "))
    except UnexpectedInput as error:
        raise CompileError([_syntax_error(error, source, text_span)]) from None
    return build_probe(tree, source, text_span.start)


def _syntax_error(error: UnexpectedInput, source: Source, text_span: Span) -> Diagnostic:
    text = source.text[text_span.start : text_span.end]
    if isinstance(error, UnexpectedToken) and error.token.type != "$END":
        start = error.token.start_pos or 0
        # Where a token fits no rule, lark offers what any other place would have made of the text.
        word = str(error.token).split()[0] if error.token.type.endswith("C_TYPE") else str(error.token)
        end = start + len(word)
        expected, found = set(error.accepts or error.expected), f"'{word}'"
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
    terminal, hint = _HINTS_FOUND.get(found, ("", ""))
    if filter_hint := _filter_hint(text, start, expected):
        hints = (filter_hint,)
    elif terminal in expected:
        hints = (hint,)
    elif source.is_file and {"ENTRY", "RETURN"} <= expected and text[:1].isspace():
        hints = ("a backslash at the end of a line continues the probe in the next", *hints)
    return Diagnostic(source, Span(text_span.start + start, text_span.start + end), message, hints)


def _filter_hint(text: str, start: int, expected: set[str]) -> str:
    """What to write instead in a filter that goes wrong there: the value on the left, `(n) & FLAG` for `(n)&FLAG`."""
    before = text[:start]
    if not re.search(r"\sf:", before):
        return ""
    cast = _CAST_ADDRESS.search(before)
    if cast and (expected >= _COMPARISONS or expected == {"STRING", "WORD"}):
        return f"an & right behind {cast['left']} takes an address, to cast it: write {cast['left']} & {cast['right']}"
    if not {"ARGUMENT", "NAME"} <= expected or not re.search(r"(?:f:|&&|\|\||\()\s*$", before):
        return ""
    if first := _CONSTANT_FIRST.match(text, start):
        operator = _MIRRORED.get(first["operator"], first["operator"])
        return f"the value stands on the left: {first['value']}{operator}{first['constant']}"
    return "the value stands on the left: skb->len>1500" if re.match(r"[\"']|-?[0-9]", text[start:]) else ""


def _words(terminals: set[str]) -> list[str]:
    """What may stand there, in the user's words; the dozen ways to begin a value are one, and so are comparisons."""
    words = dict(WORDS)
    if {"ARGUMENT", "REGISTER", "NAME"} <= terminals:
        is_argument = "FILTER" in terminals
        terminals = terminals - _VALUE_STARTS | {"ARGUMENT"}
        words["ARGUMENT"] = "[NAME=]VALUE" if is_argument else "a value (%0, %di, a parameter, $retval, @symbol, ...)"
    if terminals >= _COMPARISONS:
        terminals = terminals - _COMPARISONS | {"EQUAL"}
        words["EQUAL"] = "a comparison (== != < <= > >= & ~)"
    return list(dict.fromkeys(word for terminal, word in words.items() if terminal in terminals))


def _one_of(words: list[str]) -> str:
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))
