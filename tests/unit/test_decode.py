"""Text of `trace_pipe` as real kernels print it, to records, to the lines that people read."""

import time
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from surftrace.compiler.fetch import Fetch
from surftrace.compiler.plan import Plan, TracedEvent
from surftrace.compiler.resolved import Field
from surftrace.compiler.values import prefix_of
from surftrace.lang.source import Span
from surftrace.lang.syntax import Kind
from surftrace.output.color import plain
from surftrace.output.escape import escape
from surftrace.output.numbers import show_field
from surftrace.output.text import Layout, layout_of, make_formatter
from surftrace.tracing.decode import has_text, make_decoder
from surftrace.tracing.events import Content, Event, Lost, Origin, Record, Stack, Unparsed

_SPAN = Span(0, 0)


def _field(name: str, fetch_type: str, bit_width: int | None = None, letter: str = "") -> Field:
    base = "$comm" if fetch_type == "comm" else "%di"
    fetch = Fetch(base, (), "" if fetch_type == "comm" else fetch_type)
    return Field(name, fetch, prefix_of(name), _SPAN, bit_width, letter)


def _plan(*fields: Field, kind: Kind = Kind.ENTRY) -> Plan:
    events = (
        TracedEvent("surftrace", "f0", fields, True),
        TracedEvent("surftrace", "f1", (), True),
        TracedEvent("sched", "sched_switch", (), False),
    )
    return Plan("surftrace", (), events, "little", False)


_NUMBERS = _plan(_field("n", "s32"), _field("x", "x64"))
_STRING = _plan(_field("s", "string"))
_TWO_STRINGS = _plan(_field("s", "string"), _field("n", "s32"), _field("t", "string"))


def _decode(plan: Plan, text: bytes) -> list[Record]:
    return list(make_decoder(plan)(text))


def _contents(record: Record) -> list[Content | tuple[Content, ...]]:
    assert isinstance(record, Event)
    return [value.content for value in record.values]


def _head(task: bytes = b"nc", flags: bytes = b".....", pid: int = 2733784) -> bytes:
    """The columns that trace_print_context prints: `%16s-%-7d [%03d] flags %5lu.%06lu: `."""
    return b"%16s-%-7d [%03d] %s %s: " % (task, pid, 14, flags, b"12648619.219880")


def _line(body: bytes, task: bytes = b"nc", flags: bytes = b".....") -> bytes:
    return _head(task, flags) + body + b"\n"


# What the kernels print, with the origin that it means: (id, text, origin).
_ORIGINS = (
    (
        "5.10",
        b"           <...>-2733784 [014] .... 12648619.219880: f1: (ip_output+0x0/0xd0)\n",
        Origin(b"<...>", 2733784, 14, "....", "12648619.219880"),
    ),
    (
        "5.10-flags",
        b"            bash-123     [000] d.h1   100.000001: f1: (ip_output+0x0/0xd0)\n",
        Origin(b"bash", 123, 0, "d.h1", "100.000001"),
    ),
    (
        "5.10-preemption-count-of-two-digits",
        b"            bash-123     [000] d.h1f   100.000001: f1: (ip_output+0x0/0xd0)\n",
        Origin(b"bash", 123, 0, "d.h1f", "100.000001"),
    ),
    (
        "6.1",
        b"          <idle>-0       [001] d.s2.    12.345678: f1: (ip_output+0x0/0xd0)\n",
        Origin(b"<idle>", 0, 1, "d.s2.", "12.345678"),
    ),
    (
        "6.12-fprobe-place",
        b"     kworker/0:1-9       [255] .....     1.000000: f1: (ip_output+0x4/0xd0 [nf_tables])\n",
        Origin(b"kworker/0:1", 9, 255, ".....", "1.000000"),
    ),
    (
        "long-pid",
        b"            bash-12345678 [1023] ..... 999999.999999: f1: (ip_output+0x0/0xd0)\n",
        Origin(b"bash", 12345678, 1023, ".....", "999999.999999"),
    ),
)


@pytest.mark.parametrize(("text", "origin"), [pytest.param(*rest, id=name) for name, *rest in _ORIGINS])
def test_origin(text: bytes, origin: Origin) -> None:
    (record,) = _decode(_NUMBERS, text)
    assert isinstance(record, Event)
    assert record.origin == origin
    assert record.place.startswith("ip_output+")


# A process calls itself what it likes (prctl PR_SET_NAME), in at most 15 bytes.
_TASKS = (
    *(b"a", b"Web Content", b"a b", b"a-b", b"x-1 [000] ....", b"-1", b"[kthread]", b"tokio-runtime-w", b"a\nb", b"\n"),
    *(b"a\n\n\nb", b"\n0000-1 [0] ..", b"<...>", b"f1: (a)", b"\xff\xfe\xff", "日本".encode(), b"a\tb", b"\x1b[31mred"),
    *(b"(fault)", b'"', b"a: b", b"1.000000: f1:", b" lead", b"trail ", b"%s%n", b"CPU:1 [LOST 12"),
)


@pytest.mark.parametrize("flags", [b"....", b"d.h1.", b"dNs2."])
@pytest.mark.parametrize("task", _TASKS)
def test_task_of_any_name(task: bytes, flags: bytes) -> None:
    text = b"".join(_line(b"f0: (ip_output+0x0/0xd0) n=%d x=0x10" % number, task, flags) for number in range(3))
    records = _decode(_NUMBERS, text)
    assert [_contents(record) for record in records] == [[0, 16], [1, 16], [2, 16]]
    assert {record.origin.task for record in records if isinstance(record, Event)} == {task.lstrip(b" ")}


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=15).filter(lambda task: b"\0" not in task), min_size=1, max_size=4))
def test_tasks_of_any_bytes(tasks: list[bytes]) -> None:
    text = b"".join(_line(b"f0: (ip_output+0x0/0xd0) n=1 x=0x10", task) for task in tasks)
    records = _decode(_NUMBERS, text)
    assert [record.origin.task for record in records if isinstance(record, Event)] == [
        task.lstrip(b" ") for task in tasks
    ]


# (id, plan, body, contents)
_BODIES = (
    ("decimal", _NUMBERS, b"f0: (a+0x0/0x1) n=17 x=0x10", [17, 16]),
    ("negative", _NUMBERS, b"f0: (a+0x0/0x1) n=-5 x=0x0", [-5, 0]),
    ("hexadecimal", _NUMBERS, b"f0: (a+0x0/0x1) n=0 x=0xffff888003f2a000", [0, 0xFFFF888003F2A000]),
    ("return", _NUMBERS, b"f0: (do_sys_openat2+0xba/0x2f0 <- do_filp_open) n=1 x=0x2", [1, 2]),
    ("return-to-a-module", _NUMBERS, b"f0: (nf_a+0xba/0x2f0 [nf_tables] <- nf_b [nf_tables]) n=1 x=0x2", [1, 2]),
    ("faulted-number", _NUMBERS, b"f0: (a+0x0/0x1) n=(fault) x=0x1", [None, 1]),
    ("string", _STRING, b'f0: (a+0x0/0x1) s="nc"', [b"nc"]),
    ("empty-string", _STRING, b'f0: (a+0x0/0x1) s=""', [b""]),
    ("faulted-string", _STRING, b"f0: (a+0x0/0x1) s=(fault)", [None]),
    ("string-says-fault", _STRING, b'f0: (a+0x0/0x1) s="(fault)"', [b"(fault)"]),
    ("quotes-inside", _STRING, b'f0: (a+0x0/0x1) s="say "hi""', [b'say "hi"']),
    ("newline-inside", _STRING, b'f0: (a+0x0/0x1) s="one\ntwo\n\n"', [b"one\ntwo\n\n"]),
    ("field-inside", _STRING, b'f0: (a+0x0/0x1) s="x" s="y n=1"', [b'x" s="y n=1']),
    ("not-utf-8", _STRING, b'f0: (a+0x0/0x1) s="\xff\xfe=\x80"', [b"\xff\xfe=\x80"]),
    ("comm", _plan(_field("c", "comm")), b'f0: (a+0x0/0x1) c="nc -l"', [b"nc -l"]),
    ("strings", _TWO_STRINGS, b'f0: (a+0x0/0x1) s="a=b" n=-1 t="c"', [b"a=b", -1, b"c"]),
    ("first-says-later", _TWO_STRINGS, b'f0: (a+0x0/0x1) s=" n=1 t=" n=2 t="c"', [b" n=1 t=", 2, b"c"]),
    ("one-faulted", _TWO_STRINGS, b'f0: (a+0x0/0x1) s=(fault) n=2 t="c"', [None, 2, b"c"]),
    ("last-faulted", _TWO_STRINGS, b'f0: (a+0x0/0x1) s="c" n=2 t=(fault)', [b"c", 2, None]),
)


@pytest.mark.parametrize(("plan", "body", "contents"), [pytest.param(*rest, id=name) for name, *rest in _BODIES])
def test_values(plan: Plan, body: bytes, contents: list[int | bytes | None]) -> None:
    (record,) = _decode(plan, _line(body))
    assert _contents(record) == contents


@pytest.mark.parametrize(("plan", "body", "contents"), [pytest.param(*rest, id=name) for name, *rest in _BODIES])
def test_values_amid_other_events(plan: Plan, body: bytes, contents: list[int | bytes | None]) -> None:
    other = _line(b"f1: (b+0x0/0x1)")
    records = _decode(plan, other + _line(body, b"a\nb", b"d.h1.") + _line(body) + other)
    assert [_contents(record) for record in records] == [[], contents, contents, []]


# A string that looks like what follows it: which text belongs to which field cannot be told.
_AMBIGUOUS = (
    b'f0: (a+0x0/0x1) s="" n=1 t="" n=2 t=""',
    b'f0: (a+0x0/0x1) s="a" n=1 t="b" n=2 t="c"',
    b'f0: (a+0x0/0x1) s="a" n=1 t=(fault)" n=2 t=(fault)',
    b'f0: (a+0x0/0x1) s="a" n=1 t="b" n=(fault) t=""',
)
# Not what the plan says that f0 prints.
_FOREIGN = (
    b'f0: (a+0x0/0x1) s="a" n=1',
    b'f0: (a+0x0/0x1) s="a" n=x t="b"',
    b'f0: (a+0x0/0x1) s="a n=1 t="b',
    b'f0: (a+0x0/0x1) s=a n=1 t="b"',
    b'f0: (a+0x0/0x1) n=1 s="a" t="b"',
    b"f0: ",
    b"f0: [LINE TOO BIG]",
)


@pytest.mark.parametrize("body", [_AMBIGUOUS[0], _AMBIGUOUS[1], _AMBIGUOUS[3], *_FOREIGN])
def test_what_cannot_be_told_is_shown_as_it_is(body: bytes) -> None:
    (record,) = _decode(_TWO_STRINGS, _line(body))
    assert isinstance(record, Event)
    assert (record.name, record.values, record.text) == ("f0", (), body.removeprefix(b"f0: "))


_TRICKY = st.lists(
    st.sampled_from([b'"', b" n=", b"1", b" t=", b" s=", b"(fault)", b"\n", b"=", b"x", b"\xff", b" ", b"f0: (a)"]),
    max_size=8,
).map(b"".join)


@settings(max_examples=1000, deadline=None)
@given(_TRICKY | st.none(), st.integers(-9, 9), _TRICKY | st.none())
def test_strings_are_right_or_not_decoded(first: bytes | None, number: int, second: bytes | None) -> None:
    body = b"f0: (a+0x0/0x1) s=%s n=%d t=%s" % (_printed(first), number, _printed(second))
    (record,) = _decode(_TWO_STRINGS, _line(body))
    assert _contents(record) in ([], [first, number, second])


def _printed(string: bytes | None) -> bytes:
    return b"(fault)" if string is None else b'"' + string + b'"'


# Two strings of a process make an event that ends in the middle, as a full trace page cuts it.
@pytest.mark.parametrize("count", [2, 4])
def test_hostile_strings_take_no_time(count: int) -> None:
    plan = _plan(*(_field(f"s{number}", "string") for number in range(count)))
    one = b"".join(b' s%d="' % number + b'"' for number in range(count))
    body = b"f0: (a+0x0/0x1)" + one * (4000 // len(one)) + b' s0="cut'
    start = time.process_time()
    (record,) = _decode(plan, _line(body))
    assert time.process_time() - start < 1
    assert _contents(record) == []


def test_lost_events() -> None:
    text = _line(b"f1: (a+0x0/0x1)") + b"CPU:1 [LOST 12 EVENTS]\n" + _line(b"f1: (a+0x0/0x1)")
    first, lost, last = _decode(_NUMBERS, text)
    assert lost == Lost(1, 12)
    assert isinstance(first, Event)
    assert isinstance(last, Event)
    assert first.place == last.place == "a+0x0/0x1"


def test_lost_events_first_and_alone() -> None:
    assert _decode(_NUMBERS, b"CPU:15 [LOST 4294967296 EVENTS]\n") == [Lost(15, 4294967296)]


# Linux kernel/trace/trace_output.c, trace_stack_print.
_STACK_TEXT = (
    b"<stack trace>\n => ip_output\n => __ip_queue_xmit\n => nf_hook [nf_tables]\n => entry_SYSCALL_64_after_hwframe\n"
)


@pytest.mark.parametrize("flags", [b"....", b"d.h1."])
def test_stack(flags: bytes) -> None:
    event, stack, after = _decode(
        _NUMBERS, _line(b"f1: (a+0x0/0x1)") + _head(b"a\nb", flags) + _STACK_TEXT + _line(b"f1: (b+0x0/0x1)")
    )
    assert isinstance(event, Event)
    assert isinstance(after, Event)
    assert isinstance(stack, Stack)
    assert stack.frames == ("ip_output", "__ip_queue_xmit", "nf_hook [nf_tables]", "entry_SYSCALL_64_after_hwframe")
    assert stack.origin.task == b"a\nb"


# (id, body, name, text): events of the kernel's own keep their text.
_KERNEL_EVENTS = (
    (
        "fields",
        b"sched_switch: prev_comm=a: b prev_pid=1 ==> next_comm=f0: (x) next_pid=2",
        "sched_switch",
        b"prev_comm=a: b prev_pid=1 ==> next_comm=f0: (x) next_pid=2",
    ),
    ("no-fields", b"sched_switch: ", "sched_switch", b""),
    # Linux kernel/trace/trace_syscalls.c, print_syscall_enter and print_syscall_exit: no event name.
    ("system-call", b"sys_openat(dfd: ffffff9c, filename: 7f)", "", b"sys_openat(dfd: ffffff9c, filename: 7f)"),
    ("system-call-result", b"sys_openat -> 0x3", "", b"sys_openat -> 0x3"),
)


@pytest.mark.parametrize(("body", "name", "text"), [pytest.param(*rest, id=name) for name, *rest in _KERNEL_EVENTS])
def test_kernel_event(body: bytes, name: str, text: bytes) -> None:
    (record,) = _decode(_NUMBERS, _line(body))
    assert isinstance(record, Event)
    assert (record.name, record.values, record.text) == (name, (), text)


@pytest.mark.parametrize("body", [body for _, body, *_ in _KERNEL_EVENTS])
def test_kernel_event_is_shown_with_its_own_text(body: bytes) -> None:
    (record,) = _decode(_NUMBERS, _line(body))
    shown = "12648619.219880 [014] .....               nc-2733784 " + body.decode()
    assert make_formatter("little", plain, Layout())(record) == shown


def test_text_before_the_first_event_is_kept() -> None:
    text = b"# tracer: nop\n" + _line(b"f1: (a+0x0/0x1)")
    first, second = _decode(_NUMBERS, text)
    assert first == Unparsed(b"# tracer: nop\n")
    assert isinstance(second, Event)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_make_records_and_lines(text: bytes) -> None:
    format_record = make_formatter("little", plain, Layout())
    for record in _decode(_TWO_STRINGS, text):
        assert format_record(record).replace("\n", "").isprintable()


def test_a_string_is_no_record_where_each_is_read_by_itself() -> None:
    forged = _line(b'f0: (x+0x0/0x1) s="/etc/shadow"', task=b"cron").removesuffix(b'"\n')
    text = _line(b'f0: (a+0x0/0x1) s="\n' + forged + b'"')
    assert has_text(_STRING)
    (record,) = make_decoder(_STRING, is_each=True)(text)
    assert _contents(record) == [b"\n" + forged]


def test_lost_ones_before_a_record() -> None:
    text = b"CPU:3 [LOST 12 EVENTS]\n" + _line(b'f0: (a+0x0/0x1) s="CPU:3 [LOST 13 EVENTS]\n"')
    lost, event = make_decoder(_STRING, is_each=True)(text)
    assert lost == Lost(3, 12)
    assert _contents(event) == [b"CPU:3 [LOST 13 EVENTS]\n"]


@pytest.mark.parametrize("lost", [b"", b"CPU:3 [LOST 12 EVENTS]\n"])
@pytest.mark.parametrize("text", [b"[LINE TOO BIG]\n", b"x"])
def test_a_record_that_is_no_event(lost: bytes, text: bytes) -> None:
    records = [Lost(3, 12)] if lost else []
    assert list(make_decoder(_STRING, is_each=True)(lost + text)) == [*records, Unparsed(text)]


def test_numbers_hold_no_record() -> None:
    plan = replace(_NUMBERS, events=_NUMBERS.events[:2])
    assert not has_text(plan)
    assert has_text(_NUMBERS)  # it has an event of the kernel


@pytest.mark.parametrize("number", [b"010", b"00", b"-0", b"0x", b"1_0", b"\xd9\xa1"])
def test_what_is_no_number_of_the_kernels(number: bytes) -> None:
    (record,) = _decode(_NUMBERS, _line(b"f0: (a+0x0/0x1) n=%s x=0x1" % number))
    assert isinstance(record, Event)
    assert (record.place, record.values) == ("", ())


# Output

# (id, record's body, fields, the line after the columns)
_LINES = (
    ("no-field", b"f1: (ip_output+0x0/0xd0)", _plan(), "f1: (ip_output+0x0/0xd0)"),
    (
        "return",
        b"f0: (a+0x1/0x2 <- b) n=1",
        _plan(_field("n", "s32"), kind=Kind.RETURN),
        "f0: (a+0x1/0x2 <- b) n=1",
    ),
    (
        "prefixes",
        b"f0: (a+0x1/0x2) ip_a=3707830282 b16_p=1063 B16_p=1063",
        _plan(_field("ip_a", "u32"), _field("b16_p", "u16"), _field("B16_p", "u16")),
        "f0: (a+0x1/0x2) ip_a=10.0.1.221 b16_p=9988 B16_p=0x2704",
    ),
    (
        "hexadecimal",
        b"f0: (a+0x1/0x2) x=0xFF".replace(b"FF", b"ff"),
        _plan(_field("x", "x8")),
        "f0: (a+0x1/0x2) x=0xff",
    ),
    (
        "bit-fields",
        b"f0: (a+0x1/0x2) s=15 x=15 u=15",
        _plan(_field("s", "b4@0/8", 4, "s"), _field("x", "b4@0/8", 4, "x"), _field("u", "b4@0/8")),
        "f0: (a+0x1/0x2) s=-1 x=0xf u=15",
    ),
    ("faults", b"f0: (a+0x1/0x2) s=(fault)", _STRING, "f0: (a+0x1/0x2) s=<fault>"),
    ("string-says-fault", b'f0: (a+0x1/0x2) s="(fault)"', _STRING, 'f0: (a+0x1/0x2) s="(fault)"'),
    ("quotes", b'f0: (a+0x1/0x2) s="a"b\\c"', _STRING, 'f0: (a+0x1/0x2) s="a\\"b\\\\c"'),
    (
        "control",
        b'f0: (a+0x1/0x2) s="\x1b[2J\r\n\t\x00\x7f"',
        _STRING,
        'f0: (a+0x1/0x2) s="\\x1b[2J\\r\\n\\t\\x00\\x7f"',
    ),
    ("not-utf-8", b'f0: (a+0x1/0x2) s="\xff\xc3"', _STRING, 'f0: (a+0x1/0x2) s="\\xff\\xc3"'),
    ("utf-8", 'f0: (a+0x1/0x2) s="é日"'.encode(), _STRING, 'f0: (a+0x1/0x2) s="é日"'),
    ("c1-control", 'f0: (a+0x1/0x2) s="\x9b"'.encode(), _STRING, 'f0: (a+0x1/0x2) s="\\xc2\\x9b"'),
    ("right-to-left", 'f0: (a+0x1/0x2) s="\u202e"'.encode(), _STRING, 'f0: (a+0x1/0x2) s="\\xe2\\x80\\xae"'),
)


@pytest.mark.parametrize(("body", "plan", "line"), [pytest.param(*rest, id=name) for name, *rest in _LINES])
def test_line(body: bytes, plan: Plan, line: str) -> None:
    (record,) = _decode(plan, _line(body))
    assert make_formatter("little", plain, Layout())(record).partition("-2733784 ")[2] == line


def test_columns() -> None:
    text = b"            bash-123     [000] d.h1.   100.000001: f1: (ip_output+0x0/0xd0)\n"
    (record,) = _decode(_NUMBERS, text)
    layout = Layout(len("f1_10:"), 14, lambda text: f"at {text}")
    lines = ["#         TIME [CPU] FLAGS             TASK-PID     EVENT: (PLACE) NAME=VALUE ..."]
    lines += [" at 100.000001 [000] d.h1.             bash-123     f1:    (ip_output+0x0/0xd0)"]
    assert [layout.head, make_formatter("little", plain, layout)(record)] == lines


def test_a_long_name_moves_no_other() -> None:
    plan = _plan()
    names = [replace(plan.events[0], name=name) for name in ("f1", "f20", "a_name_that_is_longer_than_the_column")]
    assert layout_of(replace(plan, events=tuple(names))).name_width == len("f20:")


# Linux kernel/trace/trace_output.c, trace_user_stack_print: with and without sym-userobj, and of a kernel's thread.
_USER_STACKS = (
    (b" =>  <00007f8f03e872ad>\n =>  <0000564743a591ec>\n", ("<00007f8f03e872ad>", "<0000564743a591ec>")),
    (b" => /usr/lib/libc.so.6[+0xd22ad]\n", ("/usr/lib/libc.so.6[+0xd22ad]",)),
    (b"", ()),
)


@pytest.mark.parametrize(("frames", "expected"), _USER_STACKS)
def test_user_stack(frames: bytes, expected: tuple[str, ...]) -> None:
    text = b"            deep-118     [000] ....     5.505870: <user stack trace>\n" + frames
    (stack,) = _decode(_NUMBERS, text)
    assert isinstance(stack, Stack)
    assert (stack.is_user, stack.frames) == (True, expected)


def test_stack_and_loss_and_rest_as_lines() -> None:
    format_record = make_formatter("little", plain, Layout())
    origin = Origin(b"a", 1, 0, "....", "1.000000")
    assert format_record(Stack(origin, ("ip_output", "a\x1bb"))) == " => ip_output\n => a\\x1bb"
    assert format_record(Lost(3, 12)) == "CPU 3: 12 events lost"
    assert format_record(Unparsed(b"a\x1b\n")) == "a\\x1b"


@given(st.integers(1, 64), st.data())
def test_signed_bit_field(width: int, data: st.DataObject) -> None:
    number = data.draw(st.integers(-(1 << width - 1), (1 << width - 1) - 1))
    field = _field("n", f"b{width}@0/64", width, "s")
    assert show_field(field, number & (1 << width) - 1, "little") == str(number)


@given(st.binary(max_size=40))
def test_escaped_bytes_read_back(data: bytes) -> None:
    text = escape(data.decode(errors="surrogateescape"), '"')
    assert text.isprintable()
    parts = text.replace("\\\\", "\0").replace('\\"', '"').replace("\\n", "\n").replace("\\t", "\t")
    raw = parts.replace("\\r", "\r").encode()
    for byte in range(256):
        raw = raw.replace(b"\\x%02x" % byte, bytes([byte])) if byte != 0 else raw
    assert raw.replace(b"\0", b"\\").replace(b"\\x00", b"\0") == data or b"\0" in data or b"\\" in data
