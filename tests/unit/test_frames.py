"""Frames as kernels print them: what a source line is asked for, and what is made of the answer."""

from pathlib import Path

import pytest

from surftrace.dwarf.errors import DwarfError
from surftrace.dwarf.framelines import CodePlace
from surftrace.dwarf.sourceplace import SourcePlace
from surftrace.tracing import frames
from surftrace.tracing.frames import function_of, make_lines_of, without_offset
from surftrace.tracing.running import RunningKernel

# (id, frame, place of its event, what is asked for: symbol, offset, size, and does a call return there?)
_FRAMES: tuple[tuple[str, str, str, tuple[str, int, int, bool] | None], ...] = (
    ("call", "ksys_read+0x7b/0x110", "", ("ksys_read", 0x7B, 0x110, True)),
    ("call-behind-a-probe", "ksys_read+0x7b/0x110", "vfs_read+0x0/0x490", ("ksys_read", 0x7B, 0x110, True)),
    ("entry", "vfs_read+0x0/0x490", "", ("vfs_read", 0, 0x490, False)),
    ("probe", "vfs_read+0x0/0x490", "vfs_read+0x0/0x490", ("vfs_read", 0, 0x490, False)),
    ("probe-and-a-breakpoint", "vfs_read+0x5/0x490", "vfs_read+0x4/0x490", ("vfs_read", 4, 0x490, False)),
    ("probe-inside", "vfs_read+0x30/0x490", "vfs_read+0x30/0x490", ("vfs_read", 0x30, 0x490, False)),
    ("recursion", "vfs_read+0x30/0x490", "vfs_read+0x4/0x490", ("vfs_read", 0x30, 0x490, True)),
    ("return", "ksys_read+0x7b/0x110", "ksys_read+0x7b/0x110 <- vfs_read", ("ksys_read", 0x7B, 0x110, True)),
    ("module", "ovl_open+0xab/0x110 [overlay]", "", ("ovl_open", 0xAB, 0x110, True)),
    ("namesake-in-a-module", "f+0x5/0x20 [m]", "f+0x4/0x20", ("f", 5, 0x20, True)),
    ("clone", "do_softirq.part.0+0x3b/0x60", "", ("do_softirq.part.0", 0x3B, 0x60, True)),
    ("address", "0xffffffffc041c0da", "", None),
    ("trampoline", "[FTRACE TRAMPOLINE]", "", None),
    ("replaced-return", "[unknown/kretprobe'd]", "", None),
    ("nothing", "", "", None),
)


class _Lines:
    """Answers with what it was asked for; one symbol's DWARF is damaged."""

    def __init__(self, file: object) -> None:
        self.asked: list[CodePlace] = []

    def at(self, place: CodePlace) -> tuple[SourcePlace, ...]:
        """A line."""
        self.asked.append(place)
        if place.symbol == "damaged":
            raise DwarfError("damaged DWARF")
        return (SourcePlace(place.symbol, "a.c", len(self.asked), False),)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> dict[str, _Lines]:
    """The files that were opened, by their modules. There is none of the module `bare`."""
    files: dict[str, _Lines] = {}

    def open_file(_kernel: RunningKernel, module: str) -> _Lines | None:
        if module == "bare":
            return None
        if module == "other":
            raise DwarfError("of another build")
        assert module not in files
        return files.setdefault(module, _Lines(module))

    monkeypatch.setattr(frames, "_open", open_file)
    return files


@pytest.mark.parametrize(("frame", "place", "asked"), [pytest.param(*rest, id=name) for name, *rest in _FRAMES])
def test_what_is_asked(
    opened: dict[str, _Lines], frame: str, place: str, asked: tuple[str, int, int, bool] | None
) -> None:
    lines_of = make_lines_of(RunningKernel(None))
    assert lines_of is not None
    lines = lines_of(frame, place)
    found = [each for file in opened.values() for each in file.asked]
    assert found == ([CodePlace(*asked)] if asked is not None else [])
    assert bool(lines) == (asked is not None)


def test_each_frame_is_looked_up_once(opened: dict[str, _Lines]) -> None:
    lines_of = make_lines_of(RunningKernel(None))
    assert lines_of is not None
    assert len({lines_of("f+0x5/0x20", "") for _ in range(3)}) == 1
    assert lines_of("f+0x5/0x20", "f+0x4/0x20") != lines_of("f+0x5/0x20", "")
    assert len(opened[""].asked) == 2


@pytest.mark.parametrize("frame", ["f+0x5/0x20 [bare]", "f+0x5/0x20 [other]", "damaged+0x5/0x20"])
def test_what_has_no_line_is_no_error(opened: dict[str, _Lines], frame: str) -> None:
    lines_of = make_lines_of(RunningKernel(None))
    assert lines_of is not None
    assert lines_of(frame, "") == lines_of(frame, "") == ()
    assert lines_of("f+0x5/0x20", "")
    assert len(opened) == 1


def test_a_file_of_another_build_is_told_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "vmlinux").write_bytes(b"no ELF file")
    with pytest.raises(DwarfError):
        make_lines_of(RunningKernel(None, vmlinux=str(tmp_path / "vmlinux")))


# (frame, its function, the same with its module)
_NAMES = (
    ("vfs_read+0x5/0x490", "vfs_read", "vfs_read"),
    ("ovl_open+0xab/0x110 [overlay]", "ovl_open", "ovl_open [overlay]"),
    ("f+0x1/0x2 [m 0123abc]", "f", "f [m]"),
    ("0xffffffffc041c0da", "0xffffffffc041c0da", "0xffffffffc041c0da"),
    ("a;b\n+", "a;b\n+", "a;b\n+"),
)


@pytest.mark.parametrize(("frame", "function", "named"), _NAMES)
def test_names(frame: str, function: str, named: str) -> None:
    assert (function_of(frame), without_offset(frame)) == (function, named)
