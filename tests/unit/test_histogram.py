"""Texts of `hist` files, of real kernels and hostile ones, in; their rows out, or nothing that somebody made up."""

import random
from collections.abc import Sequence

import pytest

from surftrace.output.color import plain
from surftrace.output.histogram import Bucket, bar_lines, buckets_of
from surftrace.tracing.histogram import (
    Address,
    Frames,
    Histogram,
    HistogramError,
    Key,
    Range,
    Row,
    Task,
    parse_histograms,
)

# Of Debian's 6.1 and 7.3: counted while `cat` read /etc/passwd and /etc/hosts.
_TWO = b"""\
# event histogram
#
# trigger info: hist:keys=c:vals=hitcount:sort=hitcount:size=2048 [active]
#

{ c: head                                               } hitcount:          6
{ c: cat                                                } hitcount:         19

Totals:
    Hits: 25
    Entries: 2
    Dropped: 0


# event histogram
#
# trigger info: hist:keys=a:vals=hitcount,a:sort=hitcount:size=2048 if a>1 [paused]
#

{ a:        832 } hitcount:          1  a:        832
{ a:     131072 } hitcount:          2  a:     262144

Totals:
    Hits: 3
    Entries: 2
    Dropped: 4
"""
_STACKS = b"""\
{ stacktrace:
         kprobe_ftrace_handler+0x108/0x1b0
         0xffffffffc020e0c8
         nf_hook+0x5/0x310 [nf_tables]
, c: cat                                               } hitcount:          4
"""
_NEW_STACKS = _STACKS.replace(b"stacktrace:", b"common_stacktrace:")


def _text(trigger: str, rows: bytes, entries: int, hits: int = 9) -> bytes:
    """A file with one table."""
    head = f"# event histogram\n#\n# trigger info: hist:{trigger}:sort=hitcount:size=2048 [active]\n#\n\n"
    totals = f"\nTotals:\n    Hits: {hits}\n    Entries: {entries}\n    Dropped: 0\n"
    return head.encode() + rows + totals.encode()


def _string_row(*strings: bytes, names: Sequence[bytes] = (b"s", b"t"), hits: int = 1) -> bytes:
    keys = b", ".join(b"%s: %-50s" % pair for pair in zip(names, strings, strict=False))
    return b"{ %s } hitcount: %10d\n" % (keys, hits)


def test_two_tables() -> None:
    strings, numbers = parse_histograms(_TWO, ("c",), 2)
    assert strings == Histogram(
        "hist:keys=c:vals=hitcount:sort=hitcount:size=2048 [active]",
        ("c",),
        (),
        (Row((b"head",), 6), Row((b"cat",), 19)),
        25,
        0,
    )
    assert numbers.rows == (Row((832,), 1, (832,)), Row((131072,), 2, (262144,)))
    assert (numbers.keys, numbers.sums, numbers.hits, numbers.dropped) == (("a",), ("a",), 3, 4)


# (id, trigger, text of a row as a kernel has printed it, its keys, its sums)
_ROWS: tuple[tuple[str, str, bytes, tuple[Key, ...], tuple[int, ...]], ...] = (
    (
        "task",
        "keys=common_pid.execname,common_cpu:vals=hitcount",
        b"{ common_pid: cat             [       137], cpu:          1 } hitcount:          4\n",
        (Task(b"cat", 137), 1),
        (),
    ),
    (
        "cpu-of-7.3",
        "keys=common_pid.execname,common_cpucpu:vals=hitcount",
        b"{ common_pid: a b c } x: 1[   [         1], cpu:          0 } hitcount:          4\n",
        (Task(b"a b c } x: 1[", 1), 0),
        (),
    ),
    (
        "address",
        "keys=s.sym-offset,a.log2:vals=hitcount",
        b"{ s: [ffffffff8134cc51] vfs_read+0x1/0x310                                     , a: ~ 2^12 }"
        b" hitcount:          4\n",
        (Address(0xFFFFFFFF8134CC51, b"vfs_read+0x1/0x310"), Range(2049, 4096)),
        (),
    ),
    (
        "buckets",
        "keys=s.sym,a.buckets=1000:vals=hitcount",
        b"{ s: [ffffffff8134cc51] vfs_read                                     , a: ~ 4000-4999 }"
        b" hitcount:          4\n",
        (Address(0xFFFFFFFF8134CC51, b"vfs_read"), Range(4000, 4999)),
        (),
    ),
    ("power", "keys=a.log2:vals=hitcount", b"{ a: ~ 2^0  } hitcount:          4\n", (Range(0, 1),), ()),
    ("power-2", "keys=a.log2:vals=hitcount", b"{ a: ~ 2^1  } hitcount:          4\n", (Range(2, 2),), ()),
    (
        "hexadecimal",
        "keys=a.hex,common_cpu:vals=hitcount,a.hex",
        b"{ a: 20000, common_cpu:          1 } hitcount:          4  a:      a0000\n",
        (0x20000, 1),
        (0xA0000,),
    ),
    (
        "stack",
        "keys=stacktrace,c:vals=hitcount",
        _STACKS,
        (
            Frames(
                (
                    b"kprobe_ftrace_handler+0x108/0x1b0",
                    b"0xffffffffc020e0c8",
                    b"nf_hook+0x5/0x310 [nf_tables]",
                )
            ),
            b"cat",
        ),
        (),
    ),
    (
        "no-frames",
        "keys=common_stacktrace:vals=hitcount",
        b"{ stacktrace:\n} hitcount:          4\n",
        (Frames(()),),
        (),
    ),
    (
        "signed",
        "keys=c,a:vals=hitcount,a",
        b"{ c: cat                                               , a: 18446744073709551614 } hitcount:          4"
        b"  a: 18446744073709551608\n",
        (b"cat", (1 << 64) - 2),
        ((1 << 64) - 8,),
    ),
)


@pytest.mark.parametrize(("trigger", "row", "keys", "sums"), [pytest.param(*rest, id=name) for name, *rest in _ROWS])
def test_rows_of_real_kernels(trigger: str, row: bytes, keys: tuple[Key, ...], sums: tuple[int, ...]) -> None:
    (table,) = parse_histograms(_text(trigger, row, 1), ("c",), 1)
    assert table.rows == (Row(keys, 4, sums),)


def test_the_name_of_stacks_changed() -> None:
    old, new = (
        parse_histograms(_text(f"keys={name},c:vals=hitcount", rows, 1), ("c",))[0].rows
        for name, rows in (("stacktrace", _STACKS), ("common_stacktrace", _NEW_STACKS))
    )
    assert old == new != ()


def test_no_table_and_no_row() -> None:
    assert parse_histograms(b"") == ()
    (table,) = parse_histograms(_text("keys=a:vals=hitcount", b"", 0, 0))
    assert (table.rows, table.unread) == ((), b"")


# Strings that come back as they were, alone in their row and among others.
_STRINGS = (
    b"",
    b"a",
    b"\n",
    b"\x1b[2J",
    b"} hitcount:          3",
    b" } hitcount:          3\n",
    b"{ s: x",
    b"x\n\nTotals:\n    Hits: 1\n    Entries: 1\n    Dropped: 0\n",
    b"# event histogram\n#\n# trigger info: hist:keys=x:vals=hitcount\n#\n\n",
    b"\xff\xfe",
    b"        12",
    b"x" * 50,
    b"x" * 51 + b" ",
    b"y" * 255,
)


@pytest.mark.parametrize("string", _STRINGS)
def test_strings_with_one_reading(string: bytes) -> None:
    rows = _string_row(b"before") + _string_row(string) + _string_row(b"after")
    (table,) = parse_histograms(_text("keys=s:vals=hitcount", rows, 3), ("s",), 1)
    assert [row.keys for row in table.rows] == [(b"before",), (string,), (b"after",)]


# Strings that look like rows, keys or tables: nothing is read.
_FORGERIES = (
    (b"x".ljust(50) + b" } hitcount:          3\n{ s: y".ljust(60),),
    (b"x } hitcount:          3\n{ s: y",),
    (b"x".ljust(50) + b", t: " + b"y".ljust(50), b"z"),
)


@pytest.mark.parametrize("strings", _FORGERIES)
def test_strings_forge_no_rows(strings: tuple[bytes, ...]) -> None:
    keys = ",".join(["s", "t"][: len(strings)])
    rows = _string_row(*[b"plain"] * len(strings)) + _string_row(*strings)
    (table,) = parse_histograms(_text(f"keys={keys}:vals=hitcount", rows, 2), ("s", "t"), 1)
    assert (table.rows, table.unread, table.hits) == ((), rows, 9)


def test_strings_forge_no_table() -> None:
    forged = b"x".ljust(50) + b" } hitcount:          3\n\nTotals:\n    Hits: 3\n    Entries: 1\n    Dropped: 0\n\n\n"
    forged += b"# event histogram\n#\n# trigger info: hist:keys=s:vals=hitcount\n#\n\n{ s: y"
    text = _text("keys=s:vals=hitcount", _string_row(forged), 1)
    with pytest.raises(HistogramError, match="tells of 2 tables, not of 1: a string in it looks like one") as caught:
        parse_histograms(text, ("s",), 1)
    assert caught.value.text == text
    assert caught.value.has_more


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "tells of 0 tables, not of 1: somebody else has removed what counts"),
        (b"nonsense", "tells of 0 tables, not of 1"),
        (_TWO, "tells of 2 tables, not of 1"),
        (_TWO.partition(b"\n\n\n")[0] + b"\nmore", "tells of 0 tables"),
        (_text("keys=a:vals=hitcount", b"", 0).replace(b"# trigger info", b"# info"), "not of a table"),
    ],
)
def test_what_is_no_table(text: bytes, message: str) -> None:
    with pytest.raises(HistogramError, match=message):
        parse_histograms(text, (), 1)


def test_fewer_rows_than_the_kernel_counts() -> None:
    (table,) = parse_histograms(_text("keys=s:vals=hitcount", _string_row(b"a"), 2), ("s",))
    assert (table.rows, table.unread) == ((), _string_row(b"a"))


def test_damaged_texts_raise_nothing_else() -> None:
    generator = random.Random(1)
    pieces = [_TWO, _STACKS, b"{ c: ", b"} hitcount: ", b"\nTotals:\n    Hits: ", b"\n", b"9" * 30, b"\0", b"\xff"]
    for _ in range(2000):
        text = bytearray(_TWO)
        for _ in range(generator.randrange(1, 4)):
            start = generator.randrange(len(text))
            text[start : start + generator.randrange(40)] = generator.choice(pieces)[: generator.randrange(60)]
        try:
            tables = parse_histograms(bytes(text), ("c",))
        except HistogramError:
            continue
        assert all(len(row.keys) == len(table.keys) for table in tables for row in table.rows)


# (id, numbers with their hits, width, buckets)
_BUCKETS: tuple[tuple[str, list[tuple[int | Range, int]], int | None, list[Bucket]], ...] = (
    ("none", [], None, []),
    ("zero-and-one", [(0, 1), (1, 2), (Range(0, 1), 4)], None, [Bucket(0, 1, 7)]),
    ("powers", [(2, 1), (3, 1), (4, 1), (5, 1), (8, 1)], None, [Bucket(2, 2, 1), Bucket(3, 4, 2), Bucket(5, 8, 2)]),
    ("a-gap", [(2, 1), (16, 1)], None, [Bucket(2, 2, 1), Bucket(3, 4, 0), Bucket(5, 8, 0), Bucket(9, 16, 1)]),
    ("below-0", [(-3, 2), (0, 1)], None, [Bucket(-4, -3, 2), Bucket(-2, -2, 0), Bucket(-1, -1, 0), Bucket(0, 1, 1)]),
    ("errors", [(-14, 1)], None, [Bucket(-16, -9, 1)]),
    ("largest", [((1 << 64) - 1, 1)], None, [Bucket((1 << 63) + 1, 1 << 64, 1)]),
    ("of-a-width", [(-1, 1), (5, 1), (9, 1), (25, 1)], 10, [Bucket(-10, -1, 1), Bucket(0, 9, 2), Bucket(10, 19, 0),
                                                            Bucket(20, 29, 1)]),
    ("far-apart", [(0, 1), (10_000_000, 1)], 10, [Bucket(0, 9, 1), Bucket(10_000_000, 10_000_009, 1)]),
)  # fmt: skip


@pytest.mark.parametrize(("counts", "width", "expected"), [pytest.param(*rest, id=name) for name, *rest in _BUCKETS])
def test_buckets(counts: list[tuple[int | Range, int]], width: int | None, expected: list[Bucket]) -> None:
    assert buckets_of(counts, width) == expected


def test_bars() -> None:
    lines = bar_lines([Bucket(0, 1, 1000), Bucket(2, 2, 0), Bucket(3, 4, 1), Bucket(5, 8, 500)], plain)
    assert lines == [
        f"0 .. 1  1000 |{'@' * 40}|",
        f"2          0 |{' ' * 40}|",
        f"3 .. 4     1 |{'@':<40}|",
        f"5 .. 8   500 |{'@' * 20:<40}|",
    ]
    assert bar_lines([], plain) == []


def test_a_bucket_of_what_is_no_number() -> None:
    first, second = bar_lines([Bucket(5, 8, 2), Bucket(0, 0, 1, "nan")], plain)
    assert first.startswith("  5 .. 8  2 |")
    assert second.startswith("nan       1 |")
