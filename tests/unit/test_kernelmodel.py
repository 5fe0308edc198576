"""The model of the kernel in tests/kernelmodel, on cases worked out by hand from the kernel's source."""

import dataclasses
import struct

import pytest

from tests.kernelmodel import (
    ARM64,
    LINUX_6_1,
    LINUX_6_12,
    Dropped,
    Field,
    Kernel,
    Memory,
    Moment,
    Record,
    Refused,
    Symbols,
    Unmodelled,
    kstrtoll,
    kstrtoull,
)
from tests.kernelmodel.fetch import BEHIND, Definition, fetch, parse_definition, print_record
from tests.kernelmodel.filter import Filter, build_pattern

HEAP = 0xFFFF_8880_0000_1000
USER = 0x7000_0000_1000
MEMORY = Memory.of(
    {
        HEAP: struct.pack("<QqIHBb", HEAP + 0x100, -2, 0xDEAD_BEEF, 0x8001, 200, -56),
        HEAP + 0x40: struct.pack("<QQQ", HEAP + 0x100, 0, HEAP + 0x106),
        HEAP + 0x60: struct.pack("<QQ", USER, 0x10),
        HEAP + 0x100: b"hello\0world\0",
        HEAP + 0x200: b"no end",
        USER: b"user\0text",
    }
)
REGISTERS = {
    "di": HEAP,
    "si": USER,
    "dx": 0,
    "cx": 0x1_2345_6789,
    "sp": HEAP + 0x40,
    "ax": 2**64 - 22,
    "r8": 4,
    "r9": 5,
}
SYMBOLS = Symbols({"table": HEAP, "_text": 0xFFFF_FFFF_8100_0000, "vfs_read": 0xFFFF_FFFF_8100_0100}, 2**64 - 0x1000)
MOMENT = Moment(REGISTERS, MEMORY, comm="bash", pid=42, cpu=3, symbols=SYMBOLS, entry_registers={"di": 7})


def _record(
    arguments: str, kind: str = "p", stale: bytes = b"", kernel: Kernel = LINUX_6_12
) -> tuple[Definition, Record]:
    definition = parse_definition(f"{kind}:g/e vfs_read {arguments}", kernel)
    return definition, fetch(definition, MOMENT, stale)


def _printed(arguments: str, kind: str = "p", stale: bytes = b"") -> str:
    return print_record(*_record(arguments, kind, stale)).strip()


@pytest.mark.parametrize(
    ("argument", "printed"),
    [
        ("a=%cx", "a=0x123456789"),
        ("a=%cx:u32", "a=591751049"),
        ("a=%cx:u8", "a=137"),
        ("a=%cx:s8", "a=-119"),
        ("a=+8(%di):s64", "a=-2"),
        ("a=+0x8(%di):u64", "a=18446744073709551614"),
        ("a=+010(%di):s64", "a=-2"),
        ("a=-8(+0x110(%di)):u8", "a=0"),
        ("a=+4294967304(%di):s64", "a=-2"),
        ("a=+16(%di):x32", "a=0xdeadbeef"),
        ("a=+20(%di):s16", "a=-32767"),
        ("a=+22(%di):u8[2]", "a={200,200}"),
        ("a=+22(%di):x8[2]", "a={0xc8,0xc8}"),
        ("a=+16(%di):b4@0/32", "a=15"),
        ("a=+16(%di):b8@28/64", "a=29"),
        ("a=+16(%di):b12@20/32", "a=3562"),
        ("a=%cx:b4@4/8", "a=8"),
        ("a=+20(%di):b1@15/16[1]", "a={1}"),
        ("a=+0(+0(%di)):char", "a='h'"),
        ("a=+0(+0(%di)):char[5]", "a={'h','e','l','l','o'}"),
        ("a=+0(+0(%di)):string", 'a="hello"'),
        ("a=+6(+0(%di)):string", 'a="world"'),
        ("a=+0x40(%di):string[3]", 'a={"hello",(fault),"world"}'),
        ("a=+0x60(%di):string[2]", 'a={"user",(fault)}'),
        ("a=+0(%si):string", 'a="user"'),
        ("a=+0(%si):ustring", 'a="user"'),
        ("a=+u0(%si):string", 'a="user"'),
        ("a=+u0(%si):u32", "a=1919251317"),
        ("a=+u0(%di):u32", "a=0"),
        ("a=+0(+0(%di)):ustring", "a=(fault)"),
        ("a=+5(%si):string", "a=(fault)"),
        ("a=+0x200(%di):string", "a=(fault)"),
        ("a=$comm", 'a="bash"'),
        ('a=\\"text"', 'a="text"'),
        ("a=\\-1:s8", "a=-1"),
        ("a=\\0x11", "a=0x11"),
        ("a=$stack", f"a={HEAP + 0x40:#x}"),
        ("a=$stack0:x64", f"a={HEAP + 0x100:#x}"),
        ("a=$stack9:x64", "a=0x0"),
        ("a=$arg4:u8", "a=137"),
        ("a=$arg5:u64", "a=4"),
        ("a=$arg8:x64", f"a={HEAP + 0x106:#x}"),
        ("a=@table+8:s64", "a=-2"),
        ("a=@table", f"a={HEAP + 0x100:#x}"),
        (f"a=@{HEAP + 8:#x}:s64", "a=-2"),
        ("a=+0(@table):string", 'a="hello"'),
        ("a=\\18446744071578845448:symbol", "a=vfs_read+0x8/0x7effef00"),
        ("a=%dx:symbol", "a=0x0"),
        ("a=%di:u8 b=$comm c=%di:u16", 'a=0 b="bash" c=4096'),
    ],
)
def test_values(argument: str, printed: str) -> None:
    assert _printed(argument) == printed


def test_values_at_a_return() -> None:
    assert _printed("a=$retval:s32 b=$arg1:u64", "r") == "a=-22 b=7"


def test_big_endian_memory() -> None:
    machine = dataclasses.replace(ARM64, byteorder="big")
    memory = Memory.of({HEAP: bytes.fromhex("1234567890abcdef")})
    moment = Moment({"x0": HEAP}, memory, machine=machine)
    line = "p:g/e f a=+0(%x0):x16 b=+0(%x0):b4@0/16 c=+0(%x0):b4@12/16 d=+0(%x0):x64"
    definition = parse_definition(line, LINUX_6_12, machine)
    assert print_record(definition, fetch(definition, moment)) == " a=0x1234 b=4 c=1 d=0x1234567890abcdef"


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        # A number that cannot be read is what was there; a bit field of it is shifted all the same.
        ("v=+0(%dx):x32", "v=0x44434241"),
        ("v=+0(%dx):b4@4/8", "v=4"),
        ("v=+0(+0(%dx)):x32", "v=0x44434241"),
        # On the way to a bit field the stale bytes are not even shifted.
        ("v=+0(+0(%dx)):b4@4/8", "v=65"),
        ("v=+0(%dx):x8[3]", "v={0x41,0x42,0x43}"),
        ("a=%cx:u8 v=+0(%dx):x8", "a=137 v=0x42"),
        # A user read that ends at a page's end leaves what it got.
        ("v=+8(%si):x16", "v=0x4274"),
    ],
)
def test_what_a_fault_leaves(arguments: str, printed: str) -> None:
    assert _printed(arguments, stale=b"-" * 16 + b"ABCDEFGH") == printed


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        ("a=+0(%dx):string", "a=(fault)"),
        ("a=+0(+0(%dx)):string", "a=(fault)"),
        # Where others follow, a string behind a pointer that cannot be read takes their place, and shows their text.
        ("a=+0(+0(%dx)):string b=$comm", 'a="bash" b="bash"'),
        ("b=$comm a=+0(+0(%dx)):string", 'b="bash" a=(fault)'),
        ("a=+0(%dx):string b=$comm", 'a=(fault) b="bash"'),
        # strncpy_from_user_nofault returns 0 for an empty string, as for none.
        ("a=+4(%si):string", "a=(fault)"),
        ("a=+4(%si):ustring b=+6(+0(%di)):string", 'a=(fault) b="world"'),
        # The room that the empty one did not take is left over: what is in it is shown, and what is behind it.
        ("a=+4(%si):ustring b=+0(+0(%dx)):string", 'a=(fault) b=""'),
        ("a=+0(+6(%di)):string", "a=(fault)"),
        # The rest of an array behind a pointer that cannot be read stays as it was.
        ("a=+0(+0(%dx)):string[2] b=$comm", 'a={"bash",(fault)} b="bash"'),
    ],
)
def test_what_a_fault_leaves_of_strings(arguments: str, printed: str) -> None:
    assert _printed(arguments) == printed


@pytest.mark.parametrize(
    ("kernel", "printed"),
    [
        (LINUX_6_1, " a=0x44434241 b=0xffff88800300c180 c=0xc180 d=78 e=13"),
        (LINUX_6_12, " a=0x44434241 b=0x0 c=0x0 d=0 e=0"),
    ],
)
def test_kernel_memory_that_cannot_be_read(kernel: Kernel, printed: str) -> None:
    arguments = "a=+0(%dx):x32 b=+0(%cx):x64 c=+0(%cx):x16 d=+0(%cx):u8 e=+0(%cx):b4@4/8"
    definition = parse_definition(f"p:g/e f {arguments}", kernel)
    moment = Moment({"cx": 2**64 - 4095, "dx": 0x8000_0000_0000_0000})
    record = fetch(definition, moment, b"-" * 16 + b"ABCDEFGHIJKLMNN\xd0")
    assert print_record(definition, record) == printed


def test_string_that_runs_behind_the_record() -> None:
    shown = _printed("a=+4(%si):ustring b=$comm c=+0(+0(%dx)):string", stale=b"x" * 64)
    assert shown == f'a=(fault) b="bash" c="x{BEHIND}"'


def test_layout() -> None:
    definition, record = _record("a=%cx:u8 s=+0(+0(%di)):string n=%cx:u32")
    assert [(field.name, field.byte_offset, field.size) for field in definition.fields] == [
        ("__probe_ip", 8, 8),
        ("a", 16, 1),
        ("s", 17, 4),
        ("n", 21, 4),
    ]
    assert record.data == struct.pack("<HBBiQBHHI6s", 0, 0, 0, 42, 0, 0x89, 25, 6, 0x2345_6789, b"hello")


def test_event_probe() -> None:
    fields = [Field("name", "__data_loc char[]", 8, 4, False), Field("n", "int", 12, 4, True)]
    line = "e:g/e sys.event s=$name:string n=$n:s64 c=$comm:string x=+1($name):u8"
    definition = parse_definition(line, LINUX_6_1, events={"sys.event": fields})
    event = struct.pack("<QHHi", 0, 16, 3, -7) + b"ab\0"
    record = fetch(definition, dataclasses.replace(MOMENT, event=event))
    assert print_record(definition, record) == ' s="ab" n=-7 c="bash" x=98'


def test_record_longer_than_the_ring_buffer_takes() -> None:
    memory = Memory.of({HEAP: b"x" * 4200})
    definition = parse_definition("p:g/e f s=+0(%di):string", LINUX_6_1)
    with pytest.raises(Dropped):
        fetch(definition, Moment({"di": HEAP}, memory))


BODY = "+0(" * 16 + "%di" + ")" * 16


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("p:g/e f a=%rdi", "BAD_REG_NAME"),
        ("p:g/e f a=%di:u7", "BAD_TYPE"),
        ("p:g/e f a=%di:string", "BAD_STRING"),
        ("p:g/e f a=%di:u8[2]", "BAD_STRING"),
        ("p:g/e f a=+u0(%di):u8[2]", "BAD_STRING"),
        ("p:g/e f a=+0(%di):u8[65]", "ARRAY_TOO_BIG"),
        ("p:g/e f a=+0(%di):u8[0]", "BAD_ARRAY_NUM"),
        ("p:g/e f a=+0(%di):u8[2", "ARRAY_NO_CLOSE"),
        ("p:g/e f a=+0(%di):u8[2]x", "BAD_ARRAY_SUFFIX"),
        ("p:g/e f a=+0(%di:u8", "DEREF_OPEN_BRACE"),
        ("p:g/e f a=+0:u8", "DEREF_NEED_BRACE"),
        ("p:g/e f a=+0z(%di):u8", "BAD_DEREF_OFFS"),
        ("p:g/e f a=+0($comm):u8", "COMM_CANT_DEREF"),
        ("p:g/e f a=$comm:u8", "NEED_STRING_TYPE"),
        ("p:g/e f a=%di:b9@0/8", "BAD_BITFIELD"),
        ("p:g/e f a=%di:b1@8/8", "BAD_BITFIELD"),
        ("p:g/e f a=%di:b0@0/8", "BAD_BITFIELD"),
        ("p:g/e f a=$retval", "RETVAL_ON_PROBE"),
        ("p:g/e f+4 a=$arg1:u8", "BAD_VAR"),
        ("p:g/e f a=$arg0:u8", "BAD_ARG_NUM"),
        ("p:g/e f a=$what", "BAD_VAR"),
        ("p:g/e f a=", "NO_ARG_BODY"),
        ("p:g/e f =%di", "NO_ARG_NAME"),
        ("p:g/e f 1a=%di", "BAD_ARG_NAME"),
        ("p:g/e f a=%di a=%di", "USED_ARG_NAME"),
        ("p:g/e f common_pid=%di", "USED_ARG_NAME"),
        (f"p:g/e f {'a' * 33}=%di", "ARG_NAME_TOO_LONG"),
        (f"p:g/e f a=+{'0' * 55}(%di):u8", "ARG_TOO_LONG"),
        (f"p:g/e f a={BODY}", "ARG_TOO_LONG"),
        (f"p:g/e f a={BODY[3:-1]}", "TOO_MANY_OPS"),
        (f"p:{'g' * 64}/e f", "GROUP_TOO_LONG"),
        (f"p:g/{'e' * 64} f", "EVENT_TOO_LONG"),
        ("p:g/e.0 f", "BAD_EVENT_NAME"),
        ("p:/e f", "NO_GROUP_NAME"),
        ("p:g/e f " + " ".join(f"a{n}=+0(%di):u64[64]" for n in range(7)), "EVENT_TOO_BIG"),
        ("p4:g/e f", "MAXACT_NO_KPROBE"),
        ("r4097:g/e f", "MAXACT_TOO_BIG"),
        ("r:g/e f+4", "BAD_RETPROBE"),
        ("p:g/e f a=" + "1" * 4090, "LINE_TOO_LONG"),
        ("e:g/e sys.nothing", "BAD_ATTACH_EVENT"),
        ("e:g/e nothing", "NO_EVENT_INFO"),
    ],
)
def test_what_the_kernel_refuses(line: str, reason: str) -> None:
    with pytest.raises(Refused) as refused:
        parse_definition(line, LINUX_6_1)
    assert refused.value.reason == reason


def test_dereferences_up_to_the_limits() -> None:
    for start, most in (("%di", 14), ("@x", 12)):
        accepted = "+0(" * most + start + ")" * most
        parse_definition(f"p:g/e f a={accepted}", LINUX_6_1)
        with pytest.raises(Refused, match="TOO_MANY_OPS"):
            parse_definition(f"p:g/e f a=+0({accepted})", LINUX_6_1)


def test_surplus_arguments() -> None:
    line = "p:g/e f " + " ".join(f"a{n}=%di:u8" for n in range(129))
    assert len(parse_definition(line, LINUX_6_1).arguments) == 128
    with pytest.raises(Refused, match="TOO_MANY_ARGS"):
        parse_definition(line, LINUX_6_12)


@pytest.mark.parametrize("line", ["p:g/e f a=+0(%di):symstr", "p:g/e f a=$retval", "p:g/e f a=skb", "p:g/e /bin/sh:4"])
def test_what_the_model_does_not_know(line: str) -> None:
    with pytest.raises(Unmodelled):
        parse_definition(line.replace("p:", "r:") if "$retval" in line else line, LINUX_6_12)


@pytest.mark.parametrize(
    ("text", "number"),
    [("10", 10), ("010", 8), ("0x10", 16), ("0X1f", 31), ("0", 0), ("+7", 7), ("9\n", 9)],
)
def test_numbers(text: str, number: int) -> None:
    assert kstrtoull(text) == kstrtoll(text) == number
    assert kstrtoll("-" + text.removeprefix("+")) == -number


@pytest.mark.parametrize("text", ["", "0x", "08", "1z", "18446744073709551616", "++1", "-1", " 1"])
def test_numbers_refused(text: str) -> None:
    with pytest.raises(ValueError):
        kstrtoull(text)


FILTERED = "b=%cx:u8 h=%cx:s16 w=%cx:u32 q=%ax:s64 n=+8(%di):u64 s=+0(+0(%di)):string f=+0(%dx):string a=+0(%di):u8[3]"


@pytest.mark.parametrize(
    ("text", "is_match"),
    [
        ("b==137", True),
        ("b==393", True),  # cut to the field's byte
        ("b==0211", True),
        ("b == 0x89", True),
        ("b!=137", False),
        ("b<138 && b>136", True),
        ("b&1", True),
        ("b&0x76", False),
        ("h==0x6789", True),
        ("h==-39031", True),
        ("w>=591751049", True),
        ("q==-22", True),
        ("q<0", True),
        ("n==18446744073709551614", True),
        ("n>0xfffffffffffffffd", True),
        ("!b==137", False),
        ("!(b==1)", True),
        ("!!b==137", True),
        ("b==1||b==137&&w==1", False),
        ("b==137||b==1&&w==1", True),
        ("(b==137||b==1)&&w==1", False),
        ("!(b==137&&w==1)&&(q==1||q==-22)", True),
        ("a==1", False),
        ("a!=1", False),
        ("!(a!=1)", True),
        ("common_pid==42", True),
        ("common_type==0", True),
        ("CPU==3", True),
        ("CPU!=3", False),
        ("CPU&3", False),  # filter_pred_cpu has no '&'
        ("COMM=='bash'", True),
        ('comm~"ba*"', True),
        ('COMM~"*sh"', False),  # compared at the end of comm[16]
        ('COMM~"*as*"', True),
        ('s=="hello"', True),
        ('s!="hello"', False),
        ('s=="hell"', False),
        ('s=="hello "', False),
        ('s~"hel*"', True),
        ('s~"*llo"', True),
        ('s~"*ell*"', True),
        ('s~"h*o"', True),
        ('s~"h?l[a-l]o"', True),
        ('s~"h?l[!a-l]o"', False),
        ('s~"*"', True),
        ('s~"!h*"', False),
        ('s~"!x*"', True),
        ('s~"hello"', True),
        ("s=='hello'&&b==137", True),
        ('s=="(hello"', False),
        ('s~"7*"', False),
        ('f==""', True),
        ("0", True),
        ("  b==137  ", True),
    ],
)
def test_filter(text: str, is_match: bool) -> None:
    definition, record = _record(FILTERED)
    assert Filter(text, definition.fields, LINUX_6_12).matches(record) is is_match


@pytest.mark.parametrize(
    ("text", "reason", "errno"),
    [
        ("b==-1", "ILLEGAL_INTVAL", 22),
        ("b==089", "ILLEGAL_INTVAL", 22),
        ("q==0xffffffffffffffff", "ILLEGAL_INTVAL", 22),
        ("x==1", "FIELD_NOT_FOUND", 22),
        ("b=1", "INVALID_OP", 22),
        ("b!~1", "INVALID_OP", 22),
        ("b~1", "ILLEGAL_FIELD_OP", 22),
        ("b==x", "INVALID_VALUE", 22),
        ("b=='x'", "EXPECT_DIGIT", 22),
        ("s==1", "EXPECT_STRING", 22),
        ('s<"a"', "ILLEGAL_FIELD_OP", 22),
        ("b==1 w==1", "TOO_MANY_PREDS", 1),
        ("b==1&w==1", "TOO_MANY_PREDS", 1),
        ("(b==1", "TOO_MANY_OPEN", 2),
        ("b==1)", "TOO_MANY_CLOSE", 1),
        ('s=="a', "MISSING_QUOTE", 3),
        ("b==1&&", "INVALID_FILTER", 22),
        ("&&b==1", "NONE", 1),
        ("", "NONE", 22),
        ("!", "NO_FILTER", 22),
        (f's=="{"x" * 256}"', "OPERAND_TOO_LONG", 22),
        (f"b=={'0' * 24}", "OPERAND_TOO_LONG", 22),
        ("b.function==vfs_read", "ILLEGAL_FIELD_OP", 22),
        ("q.function==nothing", "NO_FUNCTION", 22),
        ("q.function==vfs_read&&b==1", "NO_FUNCTION", 22),
        ("q.function<vfs_read", "INVALID_OP", 22),
    ],
)
def test_filter_refused(text: str, reason: str, errno: int) -> None:
    definition, _ = _record(FILTERED)
    with pytest.raises(Refused) as refused:
        Filter(text, definition.fields, LINUX_6_12, SYMBOLS)
    assert (refused.value.reason, refused.value.errno) == (reason, errno)


def test_filter_by_function() -> None:
    definition, record = _record(r"x=\0xffffffff81000108:u64")
    assert Filter("x.function==vfs_read && x.function!=_text", definition.fields, LINUX_6_12, SYMBOLS).matches(record)
    with pytest.raises(Refused, match="INVALID_OP"):
        Filter("x.function==vfs_read", definition.fields, LINUX_6_1, SYMBOLS)


def test_string_that_could_not_be_read_matches_the_one_after_it() -> None:
    definition, record = _record("a=+0(%dx):string b=$comm")
    assert print_record(definition, record) == ' a=(fault) b="bash"'
    assert Filter('a=="bash"', definition.fields).matches(record)


@pytest.mark.parametrize(
    ("pattern", "text", "on_6_1", "on_6_12"),
    [
        (b"a[!b]", b"a", True, False),
        (b"a[b]", b"a", False, False),
        (b"[]x]", b"]", True, True),
        (b"a[b", b"a[b", True, True),
        (b"a\\*?", b"a*c", True, True),
        (b"*a?c*e", b"xxabcde", True, True),
        (b"*a?c*e", b"xxabcdef", False, False),
        (b"a[x-]", b"a-", True, True),
    ],
)
def test_glob(pattern: bytes, text: bytes, on_6_1: bool, on_6_12: bool) -> None:
    for kernel, expected in ((LINUX_6_1, on_6_1), (LINUX_6_12, on_6_12)):
        assert build_pattern(pattern, "~", kernel).matches(text + b"\0", len(text) + 1) is expected
