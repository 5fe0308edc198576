"""The parser: from the tables that the package ships, else made of the grammar; and the text of these tables."""

from functools import cache
from pathlib import Path

import lark
from lark import Lark
from lark.grammar import Rule
from lark.lexer import TerminalDef

from surftrace.grammar import tables


@cache
def parser() -> Lark:
    """The parser, from the tables that the package ships where they are this lark's, else from the grammar."""
    if lark.__version__ != tables.LARK_VERSION:
        return build_parser(grammar_text())
    # What lark's own stand-alone parsers call; the public Lark.load() does the same over a pickle.
    loaded: Lark = Lark._load_from_dict(tables.DATA, tables.MEMO)  # type: ignore[no-untyped-call] # lark has no hint
    return loaded


def grammar_text() -> str:
    """The text of grammar/probe.lark."""
    return Path(tables.__file__).with_name("probe.lark").read_text(encoding="utf-8")


def build_parser(grammar: str) -> Lark:
    """The parser made from the grammar itself, which takes 50 ms."""
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


if __name__ == "__main__":
    import sys

    Path(sys.argv[1]).write_text(render_tables(), encoding="utf-8")
