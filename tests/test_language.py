"""The language's manual page and the golden cases: every row of the page has a case of its use, and one of its misuse.

In man/surftrace-probes.7 a comment names each row:

    .\\" row: NAME
    .\\" row: NAME (no misuse: REASON)
    .\\" row: NAME (no use: REASON)                    a form that the page says is refused

In tests/cases/*.test comment lines of a case name the rows that it is for:

    # row: NAME, NAME
    # misuse: NAME, NAME
"""

import re
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import pytest

from surftrace.compiler.arguments import MAX_NAME, RESERVED_NAMES
from surftrace.compiler.contents import MAX_ARGUMENTS
from surftrace.compiler.fetch import MAX_ARRAY, MAX_DEREFERENCES, MAX_FETCH_LENGTH, MAX_SYMBOL_DEREFERENCES
from surftrace.compiler.filters import MAX_STRING
from surftrace.compiler.headers import DATA_MEMBERS, HEADERS, LAYERS, HeaderError, header_offset
from surftrace.compiler.places import MAX_MATCHES
from surftrace.compiler.plan import MAX_COMMAND
from surftrace.compiler.values import PREFIXES
from surftrace.kernel.features import Feature
from surftrace.lang.build import MAX_NESTING
from tests.cases.casefile import Case, parse_cases
from tests.test_docs import LANGUAGE, plain

_CASES = Path(__file__).parent / "cases"
_ROW = re.compile(r'^\.\\" row: (?P<name>[\w-]+)(?: \(no (?P<lacks>misuse|use): (?P<reason>[^()]+)\))?$', re.MULTILINE)
_TABLE = re.compile(r"^\.TS\n.*?^_\n(.*?)^\.TE$", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"(?P<what>row|misuse): (?P<names>[\w, -]+)")
_SIZES = {"ethhdr": 14, "iphdr": 20, "ipv6hdr": 40}


def _text() -> str:
    return LANGUAGE.read_text()


def _rows() -> dict[str, str]:
    """The page's rows, each with the sort of case that it cannot have, if any."""
    found = [(match["name"], match["lacks"] or "") for match in _ROW.finditer(_text())]
    assert len(found) == len(dict(found)), "two rows have one name"
    return dict(found)


def _cases(what: str) -> dict[str, list[tuple[str, Case]]]:
    """The cases for each row that they name, as `row` or as `misuse`, with the name of their file."""
    cases: dict[str, list[tuple[str, Case]]] = {}
    for path in sorted(_CASES.glob("*.test")):
        for case in parse_cases(path.read_text()):
            for comment in case.comments:
                match = _COMMENT.fullmatch(comment)
                for name in match["names"].split(", ") if match is not None and match["what"] == what else ():
                    cases.setdefault(name, []).append((path.name, case))
    return cases


def _tables() -> list[list[list[str]]]:
    """The page's tables: rows of cells, without the head."""
    return [
        [[plain(cell) for cell in line.split("\t")] for line in table.splitlines() if not line.startswith(".")]
        for table in _TABLE.findall(_text())
    ]


def _table(first_cell: str) -> list[list[str]]:
    """The table whose first row begins with that."""
    (table,) = (table for table in _tables() if table[0][0] == first_cell)
    return table


def test_every_row_is_marked_as_one() -> None:
    assert len(_rows()) == len(re.findall(r'^\.\\"\s*row\b', _text(), re.MULTILINE))
    assert len(_rows()) > 100


@pytest.mark.parametrize(("what", "lacking"), [("row", "use"), ("misuse", "misuse")])
def test_every_row_has_a_case(what: str, lacking: str) -> None:
    wanted = {name for name, lacks in _rows().items() if lacks != lacking}
    assert wanted == _cases(what).keys(), f"rows and `# {what}:` comments in tests/cases differ"


def test_what_is_used_compiles() -> None:
    wrong = [f"{path} {case.name}" for each in _cases("row").values() for path, case in each if case.status]
    assert wrong == []


def test_what_is_misused_is_told() -> None:
    silent = [f"{path} {case.name}" for each in _cases("misuse").values() for path, case in each if not _is_told(case)]
    assert silent == []


def _is_told(case: Case) -> bool:
    """Is there an error with its exit status, or at least a warning?"""
    return "error: " in case.stderr if case.status else "warning: " in case.stderr


def test_no_form_is_without_its_marker() -> None:
    """Every entry of a list has a marker before it, and every line of a table but for that of the features."""
    entries = re.findall(r"^(.*)\n\.(?:TP|IP)\b", _text(), re.MULTILINE)
    assert [line for line in entries if not _ROW.fullmatch(line)] == []
    for table in _TABLE.findall(_text()):
        lines = table.splitlines()
        forms = [line for line in lines if not line.startswith(".")]
        marked = [after for before, after in pairwise(lines) if _ROW.fullmatch(before)]
        assert marked == ([] if Feature.HIST_TRIGGER.words in table else forms)


def test_the_features_are_those_of_the_compiler() -> None:
    assert _table(Feature.HIST_TRIGGER.words) == [[feature.words, feature.since] for feature in Feature]


def test_the_prefixes_are_those_of_the_compiler() -> None:
    assert {(row[0], int(row[1])) for row in _table("ip_")} == {(prefix.text, prefix.size) for prefix in PREFIXES}


def test_the_headers_are_those_of_the_compiler() -> None:
    terms = {"E": _SIZES["ethhdr"], "I": _SIZES["iphdr"]}
    layers = ("l2", "l3", "l4", "l2v6", "l3v6")
    assert set(layers) == set(LAYERS)
    assert {row[0] for row in _table("ethhdr")} == set(HEADERS)
    for header, *cells in _table("ethhdr"):
        offsets = [
            None if cell == "error" else sum(terms[term] if term in terms else int(term) for term in cell.split("+"))
            for cell in cells
        ]
        assert offsets == [_offset(header, layer, _SIZES) for layer in layers], header


def _offset(header: str, layer: str, sizes: Mapping[str, int]) -> int | None:
    try:
        return header_offset(header, layer, lambda tag: sizes[tag])
    except HeaderError:
        return None


def test_the_data_members_are_those_of_the_compiler() -> None:
    assert {row[0].partition("[")[0]: int(row[1]) for row in _table("cdata[N]")} == DATA_MEMBERS


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        (MAX_FETCH_LENGTH, "{} characters for what a value is compiled to"),
        (MAX_NAME, "{} characters for a name"),
        (MAX_ARGUMENTS, "{} values in a probe"),
        (MAX_COMMAND, "{} characters for a probe's definition, and for a filter"),
        (MAX_ARRAY, "{} elements of an array"),
        (MAX_DEREFERENCES, "{} nested reads"),
        (MAX_SYMBOL_DEREFERENCES, "{} from\n.BR @"),
        (MAX_STRING, "{} bytes for a string in a filter"),
        (MAX_NESTING, "{} levels of an expression or a filter"),
        (MAX_MATCHES, "At most {}."),
    ],
)
def test_the_limits_are_those_of_the_compiler(limit: int, words: str) -> None:
    assert words.format(limit) in _text()


def test_the_reserved_names_are_those_of_the_compiler() -> None:
    section = _text().partition("\n.SH RESERVED NAMES\n")[2].partition("\n.SH ")[0]
    named = re.findall(r"\b(?:common|__probe)_\w+", section)
    assert sorted(named) == sorted(RESERVED_NAMES)
