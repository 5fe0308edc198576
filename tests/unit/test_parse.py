"""Text to syntax tree: the spans, the words for terminals, saved scripts."""

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lark import Lark

from surftrace.cli.main import main
from surftrace.lang import syntax
from surftrace.lang.parse import WORDS, parse_probe
from surftrace.lang.printing import print_probe
from surftrace.lang.script import parse_script, probe_spans
from surftrace.lang.source import Source, Span, render_excerpt, render_location
from surftrace.lang.syntax import Probe
from tests.cases.casefile import parse_cases
from tests.unit.compiling import shapes_btf

_ROOT = Path(__file__).parents[2]
_GRAMMAR = (_ROOT / "grammar" / "probe.lark").read_text()


def _golden_probes() -> Iterator[str]:
    """The probes of all golden cases that are well-formed."""
    for path in sorted((_ROOT / "tests" / "cases").glob("*.test")):
        for case in parse_cases(path.read_text()):
            yield from (word for word in case.argv if not parse_script([word]).errors)


_PROBES = sorted(set(_golden_probes()))


def _parse(text: str) -> Probe:
    return parse_probe(Source("probe 1", text), Span(0, len(text)))


def _nodes(node: object) -> Iterator[object]:
    """A node and all below it."""
    if isinstance(node, tuple):
        for item in node:
            yield from _nodes(item)
    elif dataclasses.is_dataclass(node) and not isinstance(node, (Source, Span, type)):
        yield node
        for field in dataclasses.fields(node):
            yield from _nodes(getattr(node, field.name))


def _cut(text: str, span: Span) -> str:
    return text[span.start : span.end].replace("\\\n", "  ")


def _plainest(text: str) -> str:
    return re.sub(r"\s+", "", text)


def _is_its_text(node: object, text: str) -> bool:  # noqa: C901  one case a node
    """Does the text that a node's span cuts out say what the node says?"""
    match node:
        case syntax.CType():
            return text == node.text
        case syntax.Argument():
            return re.fullmatch(r"%0*(\d+)", text) is not None and int(text[1:]) == node.index
        case syntax.Register():
            return text == f"%{node.name}"
        case syntax.Name() | syntax.Variable():
            return text == node.name
        case syntax.Symbol():
            return text.startswith(f"@{node.name}")
        case syntax.Address():
            return text.startswith("@0") and int(text[1:], 16) == node.address
        case syntax.Cast():
            return text.startswith("!")
        case syntax.Conversion():
            return text.startswith("(")
        case syntax.Dereference():
            return text.startswith("*")
        case syntax.AddressOf():
            return text.startswith("&")
        case syntax.ContainerOf():
            return text.startswith("container_of") and text.endswith(")")
        case syntax.Packet():
            return text.startswith("@")
        case syntax.Member():
            return text.endswith(node.name)
        case syntax.Index() | syntax.Slice():
            return text.endswith("]")
        case syntax.FetchType():
            return text == node.text
        case syntax.Assignment():
            return node.name is None or _plainest(text).startswith(f"{node.name}=")
        case syntax.Literal():
            return text == f"{node.quote}{node.text}{node.quote}"
        case syntax.Compare():
            return node.operator.value in text
        case syntax.Not():
            return text.startswith("!")
        case syntax.FunctionTarget():
            return text.startswith(f"{node.module}:{node.name}" if node.module else node.name)
        case syntax.PatternTarget():
            return text == (f"{node.module}:{node.pattern}" if node.module else node.pattern)
        case syntax.LineTarget():
            return text.startswith(f"{node.module}:{node.name}:" if node.module else f"{node.name}:")
        case syntax.AddressTarget():
            return int(text, 16) == node.address
        case syntax.UserTarget():
            return any(text.startswith(f"{node.object}:{quote}{node.name}{quote}") for quote in ("", '"', "'"))
        case syntax.EventTarget():
            return text.replace(":", "/") == f"{node.system}/{node.name}"
        case syntax.And() | syntax.Or():
            return ("&&" if isinstance(node, syntax.And) else "||") in text
        case syntax.Probe():
            return text.startswith(node.kind.value)
        case _:
            return False


def _check_spans(text: str, probe: Probe) -> None:
    for node in _nodes(probe):
        span = node.span  # type: ignore[attr-defined] # every node of the tree has one
        cut = _cut(text, span)
        assert cut == cut.strip(), node
        assert _is_its_text(node, cut), (node, cut)


@pytest.mark.parametrize("text", _PROBES)
def test_what_is_printed_parses_to_the_same_tree(text: str) -> None:
    probe = _parse(text)
    printed = print_probe(probe)
    assert _parse(printed) == probe
    assert print_probe(_parse(printed)) == printed


def test_there_are_golden_probes() -> None:
    assert len(_PROBES) > 100


@pytest.mark.parametrize("text", _PROBES)
def test_each_span_cuts_out_its_text(text: str) -> None:
    _check_spans(text, _parse(text))


@pytest.mark.parametrize("text", _PROBES)
def test_a_probes_span_is_all_of_it(text: str) -> None:
    assert _cut(text, _parse(text).span) == text.strip()


def _inner_spans(probe: Probe) -> Iterator[tuple[Span, str]]:
    for node in _nodes(probe):
        match node:
            case syntax.Assignment() if node.name is not None:
                yield node.name_span, node.name
            case syntax.Member():
                yield node.name_span, node.name
                yield node.operator_span, "->" if node.is_arrow else "."
            case syntax.Compare():
                yield node.operator_span, node.operator.value
            case _:
                pass


@pytest.mark.parametrize("text", _PROBES)
def test_each_name_and_operator_span_cuts_out_its_text(text: str) -> None:
    for span, name in _inner_spans(_parse(text)):
        assert _cut(text, span) == name


# White space may stand between any two tokens, a continued line is white space, and spans follow.
_SPACES = st.sampled_from([" ", "  ", "\t", "\\\n", " \\\n\t"])


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(_PROBES), st.data())
def test_spaces_between_arguments_move_spans_with_them(text: str, data: st.DataObject) -> None:
    words = re.split(r" (?=\w+=|f:)", text)
    spaced = words[0] + "".join(data.draw(_SPACES) + word for word in words[1:])
    probe = _parse(spaced)
    assert probe == _parse(text)
    _check_spans(spaced, probe)


def _terminals() -> set[str]:
    return {terminal.name for terminal in Lark(_GRAMMAR, parser="lalr", lexer="contextual").terminals}


def test_every_terminal_has_its_words_and_nothing_else_has() -> None:
    assert set(WORDS) - {"$END"} == _terminals() - {"WHITE_SPACE"}


def test_every_terminal_is_named() -> None:
    assert not [name for name in _terminals() if name.startswith("_")]
    assert set(re.findall(r"^([A-Z_]+)(?:\.\d+)?:", _GRAMMAR, re.MULTILINE)) == _terminals()


def test_no_two_terminals_have_the_same_words() -> None:
    assert len(set(WORDS.values())) == len(WORDS)


# What the kernel takes as a name is ASCII: other letters and digits are no part of the language.
@pytest.mark.parametrize(
    "text",
    [
        "p pla\u00efn",
        "p plain\u0661",
        "p plain \u00e9=n",
        "p plain a\u00e9=n",
        "p plain a=n\u00b2",
        "p plain a=s->n\u00e9",
        "p plain a=%d\u00ec",
        "p plain a=$stack\u0661",
        "p plain a=$arg\u0661",
        "p plain a=$arg\u00b2",
        "p plain a=@jiff\u00efes",
        "e sch\u00e9d/switch",
        "p plain n=n f:n\u00e9==1",
    ],
)
def test_letters_beyond_ascii_are_refused(text: str) -> None:
    assert parse_script([text]).errors


# (id, text of a script, the texts of its probes)
_SCRIPTS = (
    ("empty", "", ()),
    ("blank", "\n \n\t\n", ()),
    ("comment", "# p a\n", ()),
    ("comment-without-an-end", "# p a", ()),
    ("indented-comment", "   # p a\np b\n", ("p b",)),
    ("one", "p a\n", ("p a",)),
    ("no-newline-at-the-end", "p a\np b", ("p a", "p b")),
    ("blank-lines-between", "p a\n\n\np b\n", ("p a", "p b")),
    ("continued", "p a \\\n x=n\np b\n", ("p a \\\n x=n", "p b")),
    ("continued-twice", "p a \\\n\\\n x=n\n", ("p a \\\n\\\n x=n",)),
    ("continued-to-the-end", "p a \\\n", ("p a \\\n",)),
    ("continued-to-the-end-without-newline", "p a \\", ("p a \\",)),
    ("a-comment-is-not-continued", "# a \\\np b\n", ("p b",)),
    ("hash-inside", 'p a f:COMM=="#"\n', ('p a f:COMM=="#"',)),
    ("shebang", "#!/usr/bin/env -S surftrace -f\np a\n", ("p a",)),
    ("a-continued-blank-line", "\\\np a\n", ("\\\np a",)),
    ("tabs", "\tp\ta\tx=n\n", ("\tp\ta\tx=n",)),
)


@pytest.mark.parametrize(("text", "probes"), [pytest.param(*rest, id=name) for name, *rest in _SCRIPTS])
def test_probe_spans(text: str, probes: tuple[str, ...]) -> None:
    assert tuple(text[span.start : span.end] for span in probe_spans(text)) == probes


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="p ax=n\\\n\r\t#'", max_size=40))
def test_probe_spans_are_apart_and_leave_nothing_out(text: str) -> None:
    end, left = 0, ""
    for span in probe_spans(text):
        assert end <= span.start < span.end <= len(text)
        assert text[span.start : span.end].strip()
        left += text[end : span.start]
        end = span.end
    left += text[end:]
    assert all(line.strip() in ("", "\\") or line.lstrip().startswith("#") for line in left.split("\n"))


def test_a_long_script_is_split_in_no_time() -> None:
    text = "p a \\\n" * 20_000 + "x=n\n" + "# comment \\\n" * 20_000
    assert len(list(probe_spans(text))) == 1


# (id, text of a script, where its error is, the text over the carets, carets)
_POSITIONS = (
    ("first-line", "q a\n", "s:1:1", "q a", "^"),
    ("second-line", "p a\np b x=?\n", "s:2:7", "p b x=?", "      ^"),
    ("after-a-comment", "# c\n\np b =\n", "s:3:5", "p b =", "    ^"),
    ("on-a-continued-line", "p a \\\n  x=n \\\n  y=?\n", "s:3:5", "  y=?", "    ^"),
    ("after-tabs", "\tp\ta\tx=?\n", "s:1:8", " p a x=?", "       ^"),
    ("missing-at-the-end", "p a x=\np b\n", "s:1:7", "p a x=", "      ^"),
    ("missing-at-the-end-of-the-file", "p a x=", "s:1:7", "p a x=", "      ^"),
    ("a-backslash-at-the-end", "p a \\", "s:1:5", "p a \\", "    ^"),
    ("control-character", "p a \x01x=n\n", "s:1:5", "p a ?x=n", "    ^~"),
    ("another-line-end", "p a\x0cx=?\n", "s:1:7", "p a x=?", "      ^"),
)


@pytest.mark.parametrize(
    ("text", "location", "line", "carets"), [pytest.param(*rest, id=name) for name, *rest in _POSITIONS]
)
def test_position_of_an_error_in_a_script(text: str, location: str, line: str, carets: str) -> None:
    (diagnostic,) = parse_script([], [("s", text)]).errors
    excerpt = (f"    {line}", f"    {carets}")
    assert (render_location(diagnostic), render_excerpt(diagnostic)) == (location, excerpt)


def test_every_bad_probe_of_a_script_is_told() -> None:
    script = parse_script(["p"], [("s", "p a x=?\np b\nq\n")])
    assert [render_location(error) for error in script.errors] == ["probe 1", "s:1:7", "s:3:1"]
    assert [probe.source.text[probe.span.start : probe.span.end] for probe in script.probes] == ["p b"]


# (id, bytes of a script, definitions in the plan)
_FILES = (
    ("crlf", b"p plain n=n\r\nr plain\r\n", ("p:surftrace_sh/f0 plain n=%si:s32", "r:surftrace_sh/f1 plain")),
    ("crlf-continued", b"p plain n=n \\\r\n c=c\r\n", ("p:surftrace_sh/f0 plain n=%si:s32 c=%cx:s8",)),
    ("crlf-comment", b"# a\r\np plain\r\n", ("p:surftrace_sh/f0 plain",)),
    ("byte-order-mark", b"\xef\xbb\xbfp plain\n", ("p:surftrace_sh/f0 plain",)),
    ("byte-order-mark-and-comment", b"\xef\xbb\xbf# a\np plain\n", ("p:surftrace_sh/f0 plain",)),
    ("no-newline-at-the-end", b"p plain", ("p:surftrace_sh/f0 plain",)),
)


@pytest.mark.parametrize(("data", "definitions"), [pytest.param(*rest, id=name) for name, *rest in _FILES])
def test_script_file(
    data: bytes, definitions: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "btf").write_bytes(shapes_btf())
    (tmp_path / "script").write_bytes(data)
    status = main(["-S", "-a", "x86_64", "-b", str(tmp_path / "btf"), "-f", str(tmp_path / "script")])
    stdout, stderr = capsys.readouterr()
    assert (status, stderr) == (0, "")
    assert tuple(re.findall(r"^echo '([pr]:.*?)'", stdout, re.MULTILINE)) == definitions


# A file that has nothing to trace would set up an empty trace that never shows anything.
@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n"])
def test_a_script_without_probes_is_an_error(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "btf").write_bytes(shapes_btf())
    (tmp_path / "script").write_text(text)
    status = main(["-S", "-b", str(tmp_path / "btf"), "-f", str(tmp_path / "script")])
    stdout, stderr = capsys.readouterr()
    assert (status, stdout) == (2, "")
    assert "no probe" in stderr
