"""Events for programs: lines of JSON that the published schema describes, lines of CSV that are read back."""

import csv
import io
import json
from dataclasses import replace

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from surftrace.compiler.fetch import Fetch
from surftrace.compiler.plan import Plan, TracedEvent
from surftrace.compiler.resolved import Field
from surftrace.compiler.values import prefix_of
from surftrace.dwarf.sourceplace import SourcePlace
from surftrace.lang.source import Span
from surftrace.output.color import plain
from surftrace.output.jsonl import make_json_formatter, to_json
from surftrace.output.table import make_csv
from surftrace.output.text import Layout, make_formatter
from surftrace.tracing.events import Content, Event, Lost, Origin, Record, Stack, Unparsed, Value
from tests.schemas import NAMES, validator

_VALIDATOR = validator("trace")
_ORIGIN = Origin(b"nc", 12, 3, "d..1.", "17.000042")


def _field(name: str, type_: str, letter: str = "", **rest: object) -> Field:
    return Field(name, Fetch("%di", (), type_), prefix_of(name), Span(0, 0), letter=letter, **rest)  # type: ignore[arg-type]


_ERROR = "0xfffffffffffffffe"
_ENUM = ((0, "NONE"), (1, "A"), (2, "B"), (4, "C"))

# (field, what was fetched, its value in JSON, its name there, its cell in CSV)
_VALUES: tuple[tuple[Field, Content | tuple[Content, ...], object, str | None, str], ...] = (
    (_field("n", "s32"), -7, -7, None, "-7"),
    (_field("u", "u64"), (1 << 64) - 1, (1 << 64) - 1, None, str((1 << 64) - 1)),
    (_field("x", "x64"), 0xFFFF888000000000, "0xffff888000000000", None, "0xffff888000000000"),
    (_field("sum", "x64", addend=16), (1 << 64) - 8, "0x8", None, "0x8"),
    (_field("bits", "b3@0/8", "s", bit_width=3), 7, -1, None, "-1"),
    (_field("state", "u32", enumerators=_ENUM), 4, 4, "C", "C"),
    (_field("flags", "u32", enumerators=_ENUM), 5, 5, "A|C", "A|C"),
    (_field("no", "u32", enumerators=_ENUM), 8, 8, None, "8"),
    (_field("ret", "s32", has_errors=True), -2, -2, "-ENOENT", "-2(-ENOENT)"),
    (_field("ptr", "x64", has_errors=True), (1 << 64) - 2, _ERROR, "-ENOENT", f"{_ERROR}(-ENOENT)"),
    (_field("f", "u32", "f"), 0x3FC00000, 1.5, None, "1.5"),
    (_field("inf", "u64", "f"), 0x7FF0000000000000, "inf", None, "inf"),
    (_field("c", "char"), ord("a"), "a", None, "'a'"),
    (_field("ip_a", "x32"), 0x0100007F, "127.0.0.1", None, "127.0.0.1"),
    (_field("b16_p", "x16"), 0x0427, 9988, None, "9988"),
    (_field("B16_p", "x16"), 0x0427, "0x2704", None, "0x2704"),
    (_field("fn", "symbol"), b"tcp_v4_rcv+0x0/0x10 [m]", "tcp_v4_rcv+0x0/0x10 [m]", None, "tcp_v4_rcv+0x0/0x10 [m]"),
    (_field("s", "string"), b'a "b",\n\xff', 'a "b",\n\\xff', None, 'a "b",\\n\\xff'),
    (_field("gone", "string"), None, None, None, "<fault>"),
    (_field("list", "u8[3]"), (1, 2, 3), [1, 2, 3], None, "{1,2,3}"),
    (_field("strings", "string[2]"), (b"a", None), ["a", None], None, '{"a",<fault>}'),
    (_field("ip6_a", "x64[2]"), (0, 1 << 56), "::1", None, "::1"),
    (_field("pid", "s32"), 1, 1, None, "1"),
)  # fmt: skip


def _event(*values: Value, stack: tuple[str, ...] = ()) -> Event:
    return Event(_ORIGIN, "f0", "ip_rcv+0x0/0x10", values, b"", stack)


def _plan(*fields: Field, has_stacks: bool = False) -> Plan:
    return Plan("surftrace", (), (TracedEvent("surftrace", "f0", fields, True),), "little", has_stacks)


def _json(record: Record) -> dict[str, object]:
    line = make_json_formatter("little")(record)
    assert "\n" not in line
    shown = json.loads(line)
    _VALIDATOR.validate(shown)
    assert isinstance(shown, dict)
    return shown


def _values(shown: dict[str, object]) -> dict[str, object]:
    values = shown["values"]
    assert isinstance(values, dict)
    return values


@pytest.mark.parametrize("name", NAMES)
def test_the_schema_is_one(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(validator(name).schema)


def test_what_cannot_be_seen_is_escaped() -> None:
    text = "\x7f \x9b31m \u202e \U000e0001 ü日"
    line = to_json({"text": text})
    assert line == r'{"text":"\u007f \u009b31m \u202e \udb40\udc01 ü日"}'
    assert json.loads(line) == {"text": text}


@pytest.mark.parametrize(("field", "content", "value", "name", "cell"), _VALUES, ids=[each[0].name for each in _VALUES])
def test_a_value(
    field: Field, content: Content | tuple[Content, ...], value: object, name: str | None, cell: str
) -> None:
    shown = _json(_event(Value(field, content)))
    assert shown["values"] == {field.name: value}
    assert json.dumps(_values(shown)[field.name]) == json.dumps(value)  # 1 is not 1.0, nor true
    assert shown.get("names") == ({field.name: name} if name is not None else None)
    header, format_record = make_csv(_plan(field), "little")
    line = format_record(_event(Value(field, content)))
    (row,) = csv.DictReader(io.StringIO(f"{header}\n{line}\n"))
    assert row[f"value.{field.name}" if field.name == "pid" else field.name] == cell
    assert (row["pid"] == "12", row["event"]) == (True, "f0")


def test_an_event() -> None:
    assert _json(_event(stack=("ip_rcv", "a"))) == {
        "type": "event", "time_ns": 17_000_042_000, "cpu": 3, "task": "nc", "pid": 12, "event": "f0",
        "place": "ip_rcv+0x0/0x10", "values": {}, "stack": ["ip_rcv", "a"],
    }  # fmt: skip
    other = Event(_ORIGIN, "sched_switch", "", (), b"prev_comm=a\xff")
    assert _json(other)["text"] == "prev_comm=a\\xff"


_LINES = (
    (SourcePlace("dst_output", "include/net/dst.h", 456, True), SourcePlace("ip_rcv", "net/ipv4/ip_input.c", 9, False)),
    (),
    (SourcePlace("only\n", "a.h", 3, True),),
)


def test_lines_of_a_stack() -> None:
    event = replace(
        _event(stack=("ip_rcv+0x1/0x9", "0xff", "f+0x1/0x2 [m]")), lines=_LINES, user_stack=("main+0x1 [/a]",)
    )
    shown = _json(event)
    assert shown["stack"] == ["ip_rcv+0x1/0x9", "0xff", "f+0x1/0x2 [m]"]
    assert shown["stack_lines"] == [
        [
            {"function": "dst_output", "file": "include/net/dst.h", "line": 456, "inlined": True},
            {"function": "ip_rcv", "file": "net/ipv4/ip_input.c", "line": 9},
        ],
        [],
        [{"function": "only\n", "file": "a.h", "line": 3, "inlined": True}],
    ]
    assert shown["user_stack"] == ["main+0x1 [/a]"]
    assert make_formatter("little", plain, Layout())(event).split("\n")[1:] == [
        " => dst_output (inlined) at include/net/dst.h:456",
        " => ip_rcv+0x1/0x9 at net/ipv4/ip_input.c:9",
        " => 0xff",
        " => only\\n (inlined) at a.h:3",
        " => f+0x1/0x2 [m]",
        " => main+0x1 [/a]",
    ]


def test_user_stacks_have_a_column() -> None:
    header, format_record = make_csv(replace(_plan(_field("user_stack", "u8")), has_user_stacks=True), "little")
    event = replace(_event(Value(_field("user_stack", "u8"), 5)), user_stack=("a;b\n [/c]", "0x1"))
    (row,) = csv.DictReader(io.StringIO(f"{header}\n{format_record(event)}\n"))
    assert (row["value.user_stack"], row["user_stack"]) == ("5", "a;b\\n [/c];0x1")


@given(
    st.one_of(
        st.builds(Lost, st.integers(0, 512), st.integers(0)),
        st.builds(Unparsed, st.binary()),
        st.builds(Stack, st.just(_ORIGIN), st.tuples(st.text())),
        st.builds(Event, st.just(_ORIGIN), st.text(), st.just(""), st.just(()), st.binary()),
        st.builds(lambda text: _event(Value(_field("s", "string"), text)), st.binary()),
    )
)
def test_every_record_is_as_the_schema_says(record: Record) -> None:
    _json(record)
    header, format_record = make_csv(_plan(_field("s", "string"), has_stacks=True), "little")
    line = format_record(record)
    if line is not None:
        assert "\n" not in line
        assert len(list(csv.reader([header, line]))) == 2
        assert len({len(row) for row in csv.reader([header, line])}) == 1
