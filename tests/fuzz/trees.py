"""Drawn syntax trees: whatever a tree may hold that some text is parsed to."""

import re

from hypothesis import strategies as st

from surftrace.lang import syntax
from surftrace.lang.source import Source, Span

_SPAN = Span(0, 0)
_SOURCE = Source("", "")


def _text(pattern: str) -> st.SearchStrategy[str]:
    return st.from_regex(re.compile(pattern, re.ASCII), fullmatch=True)


_IDENTIFIERS = st.one_of(
    st.sampled_from(["s", "n", "skb", "dev", "f", "p", "X", "S", "U", "Xs", "l3", "e", "true", "name"]),
    _text(r"[A-Za-z_][A-Za-z0-9_]{0,6}"),
)
_NUMBERS = st.one_of(st.integers(0, 20), st.integers(0, 10**20 - 1))
_TYPE_WORDS = st.lists(
    st.sampled_from(["u8", "struct", "device", "char", "unsigned", "long", "l2"]), min_size=1, max_size=3
)
_STARS = st.sampled_from(["", "*", " *", " * *", "**"])
_CONVERSIONS = st.builds(lambda words, stars: syntax.CType(" ".join(words) + stars, _SPAN), _TYPE_WORDS, _STARS)
_TYPES = st.builds(
    lambda words, stars, dimensions: syntax.CType(" ".join(words) + stars + dimensions, _SPAN),
    _TYPE_WORDS,
    _STARS,
    st.sampled_from(["", "", "[2]", "[2][3]", " [4]"]),
)
_PRIMARIES: st.SearchStrategy[syntax.Expr] = st.one_of(
    st.builds(syntax.Name, _IDENTIFIERS, st.just(_SPAN)),
    st.builds(syntax.Argument, st.integers(0, 9999), st.just(_SPAN)),
    st.builds(syntax.Register, _text(r"[A-Za-z0-9_]{1,5}").filter(lambda name: not name.isdigit()), st.just(_SPAN)),
    st.builds(syntax.Variable, _text(r"\$[A-Za-z0-9_]{1,6}"), st.just(_SPAN)),
    st.builds(
        syntax.Symbol,
        _text(r"[A-Za-z_][A-Za-z0-9_]{0,4}(\.[0-9][A-Za-z0-9_]{0,2}){0,2}"),
        st.integers(-(2**31), 2**31) | st.just(0),
        st.just(_SPAN),
    ),
    st.builds(syntax.Address, st.integers(0, 2**64 - 1), st.just(_SPAN)),
)


def _larger(inner: st.SearchStrategy[syntax.Expr]) -> st.SearchStrategy[syntax.Expr]:
    span = st.just(_SPAN)
    return st.one_of(
        st.builds(syntax.Cast, _TYPES, inner, span),
        st.builds(syntax.Conversion, _CONVERSIONS, inner, span),
        st.builds(syntax.Dereference, inner, span),
        st.builds(syntax.AddressOf, inner, span),
        st.builds(
            syntax.ContainerOf, inner, _TYPES, st.lists(_IDENTIFIERS, min_size=1, max_size=3).map(tuple), span, span
        ),
        st.builds(syntax.Packet, _TYPES, _text(r"l[0-9](v[0-9])?"), inner, span),
        st.builds(syntax.Member, inner, _IDENTIFIERS, st.booleans(), st.none() | _TYPES, span, span, span),
        st.builds(syntax.Index, inner, _NUMBERS, span, span),
        st.builds(syntax.Slice, inner, _NUMBERS, _NUMBERS, span, span),
    )


EXPRESSIONS: st.SearchStrategy[syntax.Expr] = st.recursive(_PRIMARIES, _larger, max_leaves=5)

_WORDS = st.one_of(
    st.sampled_from(["1", "-1", "0x10", "10.0.0.0/8", "fe80::/10", "RED", "true", "NULL", "plain", "a,b"]),
    st.text(min_size=1, max_size=6).filter(lambda text: re.fullmatch(r"[^\s\"'&|()=<>!~]+", text) is not None),
)
_LITERALS = st.one_of(
    st.builds(syntax.Literal, _WORDS, st.just(""), st.just(_SPAN)),
    *(
        st.builds(
            syntax.Literal,
            st.text(max_size=6).map(lambda text: re.sub(r"[\"']|\\\n", "", text)),
            st.just(quote),
            st.just(_SPAN),
        )
        for quote in "'\""
    ),
)
_COMPARISONS = st.builds(
    syntax.Compare,
    EXPRESSIONS,
    st.sampled_from(syntax.Comparison),
    _LITERALS,
    st.just(_SPAN),
    st.just(_SPAN),
)
FILTERS: st.SearchStrategy[syntax.Filter] = st.recursive(
    _COMPARISONS,
    lambda inner: st.one_of(
        st.builds(syntax.Not, inner, st.just(_SPAN)),
        st.builds(syntax.And, st.lists(inner, min_size=2, max_size=3).map(tuple), st.just(_SPAN)),
        st.builds(syntax.Or, st.lists(inner, min_size=2, max_size=3).map(tuple), st.just(_SPAN)),
    ),
    max_leaves=5,
)

_FETCH_TYPES = st.builds(
    syntax.FetchType,
    st.sampled_from(["u8", "x64", "string", "ustring", "symbol", "char", "b3@5/8", "u16[4]", "string[2]"])
    | _text(r"[A-Za-z_][A-Za-z0-9_]{0,4}(@[0-9]{1,2}/[0-9]{1,3})?(\[[0-9]{1,2}\])?"),
    st.just(_SPAN),
)
_ASSIGNMENTS = st.builds(
    syntax.Assignment,
    st.none() | _IDENTIFIERS,
    st.none() | st.sampled_from(syntax.Format),
    EXPRESSIONS,
    st.none() | _FETCH_TYPES,
    st.just(_SPAN),
    st.just(_SPAN),
)

_FUNCTIONS = st.sampled_from(["plain", "packets", "f", "device"]) | _text(r"[A-Za-z_][A-Za-z0-9_.$]{0,6}")
_MODULES = st.just("") | _FUNCTIONS
_PLACES: st.SearchStrategy[syntax.Target] = st.one_of(
    st.builds(syntax.FunctionTarget, _MODULES, _FUNCTIONS, st.just(0) | _NUMBERS, st.just(_SPAN), st.just(_SPAN)),
    st.builds(
        syntax.PatternTarget,
        _MODULES,
        _text(r"[A-Za-z0-9_.$]{0,4}[*?\[][A-Za-z0-9_.$*?\[\]^!-]{0,4}"),
        st.just(_SPAN),
    ),
    st.builds(
        syntax.LineTarget,
        _FUNCTIONS | _text(r"[A-Za-z0-9_.+/-]{0,4}/[A-Za-z0-9_.+-]{1,4}"),
        st.integers(0, 10**19),
        st.just(_SPAN),
        _MODULES,
    ),
    st.builds(syntax.AddressTarget, st.integers(0, 2**64 - 1), st.just(_SPAN)),
)
_NAMES_OF_EVENTS = st.sampled_from(["sched", "sched_switch"]) | _text(r"[A-Za-z_][A-Za-z0-9_-]{0,5}")
_EVENTS: st.SearchStrategy[syntax.Target] = st.builds(
    syntax.EventTarget, _NAMES_OF_EVENTS, _NAMES_OF_EVENTS, st.just(_SPAN)
)
_QUOTED_FUNCTIONS = st.text(st.characters(codec="utf-8", exclude_characters='"'), min_size=1, max_size=12)
_USER_PLACES: st.SearchStrategy[syntax.Target] = st.builds(
    syntax.UserTarget,
    st.text(min_size=1, max_size=6).filter(lambda text: re.fullmatch(r"[^\s:]+", text) is not None),
    _FUNCTIONS | _QUOTED_FUNCTIONS,
    st.just(0) | _NUMBERS,
    st.just(_SPAN),
) | st.builds(
    syntax.UserTarget,
    st.just("program"),
    _FUNCTIONS | _QUOTED_FUNCTIONS,
    st.just(0),
    st.just(_SPAN),
    st.integers(0, 99_999),
)
_KINDS = st.one_of(
    st.tuples(st.sampled_from([syntax.Kind.ENTRY, syntax.Kind.RETURN]), _PLACES),
    st.tuples(st.just(syntax.Kind.EVENT), _EVENTS),
    st.tuples(st.sampled_from([syntax.Kind.USER_ENTRY, syntax.Kind.USER_RETURN]), _USER_PLACES),
)
PROBES = st.builds(
    lambda kind, arguments, condition: syntax.Probe(kind[0], kind[1], arguments, condition, _SOURCE, _SPAN),
    _KINDS,
    st.lists(_ASSIGNMENTS, max_size=3).map(tuple),
    st.none() | FILTERS,
)
