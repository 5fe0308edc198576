"""The parser's tables that the package ships are those of its grammar."""

import lark
import pytest

from surftrace.grammar import tables
from surftrace.lang import tables as parser_tables
from surftrace.lang.parse import parse_probe
from surftrace.lang.source import Source, Span

_PROBE = "p ip_output a=@(struct iphdr*)l3%2->ttl b=X!(u64)%ax c=s->grid[1].x f:a==1&&!(b!=2||c~'x')"


def test_tables_are_current() -> None:
    assert parser_tables.grammar_text() == tables.GRAMMAR, "run `make grammar`"


def test_tables_serve_the_lark_that_is_installed_here() -> None:
    assert lark.__version__ == tables.LARK_VERSION, "run `make grammar`"


def test_another_lark_reads_the_grammar(monkeypatch: pytest.MonkeyPatch) -> None:
    source = Source("probe 1", _PROBE)
    expected = parse_probe(source, Span(0, len(_PROBE)))
    monkeypatch.setattr(tables, "LARK_VERSION", "0")
    parser_tables.parser.cache_clear()
    assert parse_probe(source, Span(0, len(_PROBE))) == expected
    parser_tables.parser.cache_clear()
