"""Folded lines and flame graphs: as many hits as were counted, whatever the functions are called."""

import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surftrace.output.flame import flame_graph
from surftrace.output.folded import FoldedStack, folded_text, merged

_SVG = "{http://www.w3.org/2000/svg}"
_HOSTILE = "a;b & <c> \"d\" 'e'\n\x1b[31m\0\ud800\udcff\ufffe]]>"
_STACKS = (
    FoldedStack(("main", "read", "copy"), 6),
    FoldedStack(("main", "write"), 3),
    FoldedStack(("main", "read"), 1),
    FoldedStack(("main", "write"), 2),
)


@dataclass(frozen=True)
class _Box:
    """A box of a picture, with the numbers in its title."""

    name: str
    count: int
    x: float
    y: float
    width: float
    text: str


def _boxes(picture: str) -> list[_Box]:
    found = []
    for group in ET.fromstring(picture).iter(f"{_SVG}g"):
        title, rect, text = (group.find(f"{_SVG}{name}") for name in ("title", "rect", "text"))
        assert title is not None
        assert rect is not None
        match = re.fullmatch(r"(.*): (\d+) \(\d+\.\d\d %\)", title.text or "", re.DOTALL)
        assert match is not None
        x, y, width = (float(rect.get(name, "")) for name in ("x", "y", "width"))
        found.append(_Box(match[1], int(match[2]), x, y, width, (text.text or "") if text is not None else ""))
    return found


# (id, stacks, lines)
_FOLDED: tuple[tuple[str, tuple[FoldedStack, ...], str], ...] = (
    ("none", (), ""),
    ("sorted-and-merged", _STACKS, "main;read 1\nmain;read;copy 6\nmain;write 5\n"),
    ("no-function", (FoldedStack((), 2),), "- 2\n"),
    ("empty-name", (FoldedStack(("a", "", "b"), 2),), "a;-;b 2\n"),
    ("module", (FoldedStack(("f [m]",), 2),), "f [m] 2\n"),
    ("separator", (FoldedStack(("a;b", "c\nd"), 2),), "a:b;c\\nd 2\n"),
)


@pytest.mark.parametrize(("stacks", "lines"), [pytest.param(*rest, id=name) for name, *rest in _FOLDED])
def test_folded(stacks: tuple[FoldedStack, ...], lines: str) -> None:
    assert folded_text(stacks) == lines


_NAMES = st.text(min_size=0, max_size=6)
_ANY = st.lists(st.builds(FoldedStack, st.lists(_NAMES, max_size=5).map(tuple), st.integers(1, 50)), max_size=12)


@given(_ANY)
def test_no_hit_is_lost(stacks: list[FoldedStack]) -> None:
    """A line for each stack, whatever is in the names, and all hits in both forms."""
    total = sum(stack.count for stack in stacks)
    lines = folded_text(stacks).split("\n")
    assert lines.pop() == ""
    assert len(lines) == len(merged(stacks))
    assert sum(int(line.rpartition(" ")[2]) for line in lines) == total
    boxes = _boxes(flame_graph(stacks, "t"))
    assert sum(box.count for box in boxes if box.name == "all" and box.width > 1179) == total
    for box in boxes:
        inner = [each for each in boxes if each.y == box.y - 17 and box.x - 0.02 <= each.x < box.x + box.width - 0.02]
        assert sum(each.count for each in inner) <= box.count


def test_boxes_are_as_wide_as_their_share() -> None:
    boxes = {box.name: box for box in _boxes(flame_graph(_STACKS, "p vfs_read"))}
    assert {name: box.count for name, box in boxes.items()} == {"all": 12, "main": 12, "read": 7, "copy": 6, "write": 5}
    for box in boxes.values():
        assert box.width == pytest.approx(1180 * box.count / 12, abs=0.01)
    # What is called stands on top of its caller, side by side in the order of names.
    assert boxes["read"].y == boxes["write"].y == boxes["main"].y - 17
    assert boxes["read"].x == boxes["main"].x
    # One of its hits was in read() itself.
    assert boxes["copy"].x == pytest.approx(boxes["read"].x + 1180 / 12, abs=0.01)
    assert boxes["write"].x == pytest.approx(boxes["read"].x + boxes["read"].width, abs=0.01)


def test_the_same_stacks_give_the_same_picture() -> None:
    picture = flame_graph(_STACKS, "t")
    assert picture == flame_graph(tuple(reversed(_STACKS)), "t")
    assert "script" not in picture
    assert "href" not in picture
    assert "url(" not in picture


def test_hostile_names() -> None:
    picture = flame_graph([FoldedStack((_HOSTILE, "f"), 1)], _HOSTILE)
    (box,) = [box for box in _boxes(picture) if box.name not in ("all", "f")]
    assert box.name == "a;b & <c> \"d\" 'e'\\n\\x1b[31m\\x00\\xed\\xa0\\x80\\xff\\xef\\xbf\\xbe]]>"
    assert box.text == box.name
    assert (ET.fromstring(picture).findtext(f"{_SVG}title") or "").startswith("a;b & <c>")


def test_names_are_cut_where_boxes_are_narrow() -> None:
    stacks = [FoldedStack((f"function_{number:03}",), 1 if number else 900) for number in range(100)]
    boxes = {box.name: box for box in _boxes(flame_graph(stacks, "t"))}
    assert boxes["function_000"].text == "function_000"
    assert boxes["function_050"].text == ""
    (box,) = [box for box in _boxes(flame_graph([FoldedStack(("x" * 300,), 1)], "t")) if box.name != "all"]
    assert box.text.endswith("xx..")
    assert len(box.text) * 7.2 <= box.width


def test_boxes_that_nobody_sees_are_left_out() -> None:
    stacks = [FoldedStack((f"f{number}",), 1) for number in range(20_000)] + [FoldedStack(("wide",), 100_000)]
    boxes = _boxes(flame_graph(stacks, "t"))
    assert {box.name for box in boxes} == {"all", "wide"}
    assert {box.name: box.count for box in boxes} == {"all": 120_000, "wide": 100_000}


def test_deep_stacks_are_cut() -> None:
    deep = tuple(f"f{number}" for number in range(5000))
    boxes = _boxes(flame_graph([FoldedStack(deep, 2), FoldedStack(deep[:3], 1)], "t"))
    assert len(boxes) == 257
    assert {box.count for box in boxes if box.name == "(deeper)"} == {2}


def test_nothing_was_counted() -> None:
    assert _boxes(flame_graph([], "t")) == []
