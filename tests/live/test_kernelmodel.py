"""The model in tests/kernelmodel against kernels that run: drawn probes, filters and calls, in one program in a guest.

A process calls openat2() with values of ours. `struct open_how` is kernel memory that holds them (its `resolve` a
pointer into user memory at a known address), so that a probe on do_sys_openat2 can follow any chain, to a fault or not.
What the kernel prints, in order, must be what the model prints of the records that its filter lets through; both see
the stale bytes of the record before, in the page where the kernel prepares the records that it filters.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import os
import random
import re
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

import pytest

from tests.kernel.guest import Guest
from tests.kernelmodel import (
    LINUX_6_1,
    LINUX_6_12,
    X86_64,
    Dropped,
    Field,
    Kernel,
    Memory,
    Moment,
    Record,
    Refused,
    Symbols,
)
from tests.kernelmodel import fetch as fetching
from tests.kernelmodel import filter as filtering
from tests.kernelmodel.fetch import Definition, fetch, parse_definition, print_record
from tests.kernelmodel.filter import Filter, FilterType, filter_type
from tests.live.helpers import tracefs_state

KERNELS = {"6.1": LINUX_6_1, "6.12": LINUX_6_12}
pytestmark = pytest.mark.kernels(*KERNELS)

SEED = int(os.environ.get("SURFTRACE_SEED", "20250711"))
FILTERS_A_ROUND = 40

BASE = 0x1000_0000
PAGE = 4096
HOW = 0xFFFF_8880_1234_5600  # wherever the kernel has it
USER_HOW = BASE + 0xE00
FIRST, STRINGS, EDGE = BASE + 0x10, BASE + 0x400, BASE + 4 * PAGE
WORDS = ["", "a", "abc", "abcd", "abcdefg", "abcdefgh", "/etc/passwd", "7up", "!bang", "x*y", "a[b", "é", "with 'q'"]
WILD = [0, 8, EDGE, EDGE + 64, 0x8000_0000_0000_0000, 0xFFFF_FFFF_FFFF_FFF8, 0x7FFF_FFFF_F000, (1 << 64) - 22]
NUMBERS = [0, 1, 2, 7, 8, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF]
NUMBERS += [(1 << 63) - 1, 1 << 63, (1 << 64) - 1, (1 << 64) - 100, 0x0123_4567_89AB_CDEF]
INVALID_FLAGS = 1 << 62 | 0o10000000  # refused, after the probe; with O_PATH the kernel adds no O_LARGEFILE

_SYS_OPENAT2 = 437
PROBED = 0xFFFF_FFFF_8120_0000
SYMBOLS = Symbols({"_text": PROBED - 0x20_0000, "do_sys_openat2": PROBED, "vfs_read": PROBED + 0x10_0000})

DEFINITIONS = {
    "numbers": "p {n}=%di:s32 {n}=%di:u16 {n}=%di:x8 {n}=+0(%dx):u64 {n}=+8(%dx):s64 {n}=+010(%dx):s8 {n}=+16(%dx):s16"
    " {n}=+10(%dx):u32 {n}=+9(%dx):u8 {n}=+0xa(%dx):s32 {n}=$arg1:s32 {n}=\\-7:s16 {n}=\\0x80:u8 name=+0(%si):ustring",
    "bits": "p {n}=%di:b3@2/8 {n}=%di:b12@4/16 {n}=%di:b31@1/32 {n}=+8(%dx):b1@0/8 {n}=+8(%dx):b1@63/64"
    " {n}=+9(%dx):b20@7/32 {n}=+8(%dx):b64@0/64 {n}=+8(%dx):b4@4/8[8] {n}=+0(+16(%dx)):b5@3/16",
    "arrays": "p {n}=+8(%dx):u8[2] {n}=+8(%dx):s8[4] {n}=+8(%dx):u16[4] {n}=+8(%dx):x8[3] {n}=+8(%dx):s32[2]"
    " {n}=+0(%dx):u64[3] {n}=+0(+16(%dx)):x64[2] name=+0(%si):string {n}=+0(+16(%dx)):string[3]",
    "chains": "p {n}=+0(+16(%dx)):x32 {n}=+0(+0(+16(%dx))):u8 {n}=+8(+8(+16(%dx))):s16 {n}=-4(+16(%dx)):u16"
    " {n}=+u0(%si):u32 {n}=+u0(+16(%dx)):x64 {n}=+0(+16(%dx)):b4@4/8 {n}=+0(+0(+16(%dx))):b4@4/8 {n}=+4(%si):x64",
    "strings": "p {n}=+0(+0(+16(%dx))):string name=+0(%si):ustring {n}=+0(+16(%dx)):string {n}=$comm"
    ' {n}=+8(+16(%dx)):ustring {n}=\\"text" {n}=+u0(%si):string {n}=+0(+0(+0(+16(%dx)))):string',
    "string arrays": "p name=+0(%si):string {n}=+0(+0(+16(%dx))):string[2] {n}=+0(+16(%dx)):ustring[4] {n}=$comm"
    " {n}=+8(%dx):x16 {n}=+u0(+16(%dx)):string[2] {n}=+0(%si):string",
    "fault last": "p name=+0(%si):ustring {n}=+8(%dx):u32 {n}=+0(+16(%dx)):string {n}=+0(+0(+16(%dx))):string",
    "return": "r {n}=$retval:s32 {n}=$retval:u64 {n}=$retval:x8 {n}=$comm",
    "event probe": "e {n}=$dfd:s32 {n}=$dfd:u8 name=+0($filename):ustring {n}=+8($how):s64 {n}=+16($how):u16"
    " {n}=$usize:u32 {n}=$filename:ustring {n}=$comm:string",
}
ON_6_12 = {
    "characters": "p {n}=+8(%dx):char {n}=%di:char {n}=+0(%si):char[4] name=+0(%si):string",
    "entry arguments": "r {n}=$arg1:s32 {n}=$retval:s64 {n}=+0($arg2):ustring",
}

OPENAT2_FIELDS = (
    Field("__syscall_nr", "int", 8, 4, True),
    Field("dfd", "int", 16, 8, False),
    Field("filename", "const char *", 24, 8, False),
    Field("how", "struct open_how *", 32, 8, False),
    Field("usize", "size_t", 40, 8, False),
)
RENAME_FIELDS = (
    Field("pid", "pid_t", 8, 4, True),
    Field("oldcomm", "char[16]", 12, 16, False),
    Field("newcomm", "char[16]", 28, 16, False),
    Field("oom_score_adj", "short", 44, 2, True),
)
EVENTS = {"syscalls.sys_enter_openat2": OPENAT2_FIELDS}


@dataclasses.dataclass(frozen=True)
class Call:
    """An openat2() of the process in the guest."""

    dfd: int
    filename: int
    flags: int
    mode: int
    resolve: int
    usize: int = 24

    @property
    def how(self) -> bytes:
        return struct.pack("<3Q", self.flags, self.mode, self.resolve)

    @property
    def json(self) -> list[Any]:
        return ["openat2", self.dfd, self.filename, self.how.hex(), self.usize]

    @property
    def registers(self) -> dict[str, int]:
        return {"di": self.dfd & 0xFFFF_FFFF, "si": self.filename, "dx": HOW}

    @property
    def event(self) -> bytes:
        """The record of sys_enter_openat2."""
        dfd = self.dfd & (1 << 64) - 1
        return struct.pack("<QQ4Q", 0, _SYS_OPENAT2, dfd, self.filename, USER_HOW, self.usize)


Answer: TypeAlias = "tuple[Sequence[Record], Sequence[str]]"


@dataclasses.dataclass(frozen=True)
class Round:
    """What one event is asked; and the records that the model makes by the calls, with the texts it prints."""

    name: str
    question: Mapping[str, Any]
    fields: tuple[Field, ...]
    filters: tuple[str, ...]
    answer: Callable[[int, int], Answer]  # of the task's address, and the processor's address bits


def _pages(draw: random.Random) -> bytes:
    """Four pages: pointers and numbers, strings, where open_how comes, a long string, an end without a NUL."""
    strings = b"".join(word.encode().ljust(32, b"\0") for word in WORDS)
    targets = [*range(BASE, BASE + 0x100, 8), *range(STRINGS, STRINGS + 32 * len(WORDS), 32), EDGE - 3, *WILD]
    # What the first call goes through: valid however far it is followed.
    known = [BASE, BASE, FIRST, FIRST, STRINGS, STRINGS]
    pointers = known + [draw.choice(targets + NUMBERS[-4:]) for _ in range(64 - len(known))]
    first = (struct.pack("<64Q", *pointers).ljust(0x400, b"-") + strings).ljust(PAGE, b"\0")
    return first + b"x" * (3 * PAGE - 40) + b"\0" + b"e" * 39


def _calls(draw: random.Random) -> list[Call]:
    """The first one leaves nothing in the page that the model does not know of."""
    filenames = [STRINGS + 32 * n for n in range(len(WORDS))]
    pointers = [BASE + 8 * n for n in range(64)]
    calls = [Call(3, EDGE - 1500, INVALID_FLAGS, 1, FIRST)]
    for _ in range(24):
        dfd = draw.choice([*NUMBERS[:15], draw.getrandbits(32)])
        mode = draw.choice([*NUMBERS, draw.getrandbits(64), int.from_bytes(b"ab\0'\"xyz", "little")])
        filename = draw.choice([*filenames * 2, *WILD[:6], EDGE - 3, EDGE - 39])
        resolve = draw.choice([*pointers, *filenames, *WILD, EDGE - 3, EDGE - 8])
        usize = draw.choice([24, 24, 0, 8, 255, 256, 1 << 32])
        calls.append(Call(dfd, filename, draw.getrandbits(64) | INVALID_FLAGS, mode, resolve, usize))
    return calls


def _rounds(draw: random.Random, kernel: Kernel, memory: Memory) -> Iterator[Round]:
    definitions = DEFINITIONS | (ON_6_12 if kernel.has_char else {})
    for name, template in definitions.items():
        comm = draw.choice(["oracle", "a", "fifteen_letters", "7up"])
        line = _definition(template)
        definition = parse_definition(line, kernel, events=EVENTS)
        calls = _calls(draw)
        if name == "event probe":
            # Its records are made in the ring buffer itself, as that of the event it is attached to has the page; what
            # was there is not known, so no string may take the room of another.
            calls = [call for call in calls if not EDGE - 40 < call.filename < EDGE]
        else:
            calls = [dataclasses.replace(call, usize=24) for call in calls]
        answer = partial(_answer, definition, calls, Moment(memory=memory, comm=comm, symbols=SYMBOLS))
        filters = _filters(draw, definition.fields, answer(PROBED, 48)[0])
        question = {"definition": line, "comm": comm, "calls": [call.json for call in calls], "filters": filters}
        yield Round(name, question, definition.fields, tuple(filters), answer)
    yield _system_call_round(draw, memory)
    yield _rename_round(draw)


def _definition(template: str) -> str:
    kind, *arguments = template.split(" ")
    place = {"e": "syscalls.sys_enter_openat2"}.get(kind, "do_sys_openat2")
    named = (argument.format(n=f"f{number}") for number, argument in enumerate(arguments))
    return f"{kind}:oracle/e {place} {' '.join(named)}"


def _answer(
    definition: Definition, calls: Sequence[Call], moment: Moment, current: int, address_bits: int
) -> tuple[list[Record], list[str]]:
    """Each record lies on the one before."""
    moment = dataclasses.replace(moment, machine=dataclasses.replace(X86_64, address_bits=address_bits))
    records: list[Record] = []
    page = bytes(PAGE)
    for call in calls:
        memory = moment.memory | Memory.of({HOW: call.how, USER_HOW: call.how})
        registers = call.registers | {"ax": (1 << 64) - 22}
        now = dataclasses.replace(moment, registers=registers, memory=memory, event=call.event, current=current)
        now = dataclasses.replace(now, entry_registers=registers, address=PROBED, return_address=5)
        records.append(fetch(definition, now, page))
        page = records[-1].page
    return records, [print_record(definition, record) for record in records]


def _system_call_round(draw: random.Random, memory: Memory) -> Round:
    """A trace event as it is: a pointer to a user string, numbers of 8 bytes."""
    calls = [dataclasses.replace(call, usize=n) for n, call in enumerate(_calls(draw))]
    moment = Moment(memory=memory, comm="oracle")
    records = tuple(Record(call.event.ljust(64, b"\0"), 48, moment) for call in calls)
    filters = _filters(draw, OPENAT2_FIELDS, records)
    asked = [call.json for call in calls]
    question = {"event": "syscalls/sys_enter_openat2", "comm": "oracle", "calls": asked, "filters": filters}
    printed = tuple(
        f"dfd: {call.dfd & (1 << 64) - 1:x}, filename: {call.filename:x}, how: {USER_HOW:x}, usize: {call.usize:x})"
        for call in calls
    )
    return Round("system call", question, OPENAT2_FIELDS, tuple(filters), lambda *_: (records, printed))


def _rename_round(draw: random.Random) -> Round:
    """A trace event with strings in arrays; filters look at the old name only, which zeros follow."""
    names = ["first", *(draw.choice(["oracle", "a", "abc", "exactly_fifteen", "7up", "x*y"]) for _ in range(16))]
    records: list[Record] = []
    printed = []
    for old, new in zip(["first", *names], names, strict=False):
        data = struct.pack("<HBBii16s16sh", 0, 0, 0, 1, 1, old.encode(), new.encode(), 0)
        records.append(Record(data.ljust(64, b"\0"), 48, Moment(comm=old)))
        printed.append(f"oldcomm={old} newcomm={new} ")
    filters = _filters(draw, [Field("oldcomm", "char[16]", 12, 16, False)], records)
    calls = [["name", name] for name in names]
    question = {"event": "task/task_rename", "comm": "first", "calls": calls, "filters": filters}
    return Round("rename", question, RENAME_FIELDS, tuple(filters), lambda *_: (records, printed))


# --- drawn filters


def _filters(draw: random.Random, fields: Sequence[Field], records: Sequence[Record]) -> list[str]:
    generic = [*filtering.GENERIC_FIELDS, Field("common_pid", "int", 4, 4, True)]
    usable = [field for field in fields if not field.name.startswith("__probe_")] * 3 + generic
    usable += [field for field in fields if field.name in ("__probe_ip", "__probe_func")]
    texts = ["common_pid>0", *(_wrong(draw, fields[0].name) for _ in range(4))]
    while len(texts) < FILTERS_A_ROUND:
        texts.append(_expression(draw, usable, records, draw.choice([0, 0, 1, 1, 2, 3])))
    return texts


def _expression(draw: random.Random, fields: Sequence[Field], records: Sequence[Record], depth: int) -> str:
    if not depth:
        return _term(draw, draw.choice(fields), records)
    left, right = (_expression(draw, fields, records, depth - 1) for _ in range(2))
    space = draw.choice(["", "", " ", "\t"])
    joined = f"{left}{space}{draw.choice(['&&', '||'])}{space}{right}"
    return draw.choice([joined, f"({joined})", f"!({joined})", f"!{joined}", f"!!({space}{joined} )"])


def _term(draw: random.Random, field: Field, records: Sequence[Record]) -> str:
    record = draw.choice(records)
    space = draw.choice(["", "", " "])
    if field.name in ("__probe_ip", "__probe_func"):
        return f"{field.name}.function {draw.choice(['==', '!='])}{draw.choice(['do_sys_openat2', 'vfs_read'])} "
    kind = filter_type(field)
    if kind in (FilterType.OTHER, FilterType.CPU):
        operator = draw.choice(["==", "!=", "<", "<=", ">", ">=", "&"])
        value = record.number(field.byte_offset, field.size, field.is_signed) if field.size else 0
        if field.name == "common_pid":
            return f"common_pid{space}{draw.choice(['>=', '!='])}{space}-{draw.randrange(9)}"
        value = draw.choice([value, value, value ^ 1 << draw.randrange(64), value + 1, draw.choice(NUMBERS), -1])
        if draw.random() < 0.97:  # what the field can hold; else it may be refused, or cut
            value = value if field.is_signed and -(1 << 63) <= value < 1 << 63 else value & (1 << 63) - 1
        return f"{field.name}{space}{operator}{space}{_number(draw, value)}"
    operator = draw.choice(["==", "!=", "~", "~"])
    text = draw.choice([_string(field, record), _string(field, record), draw.choice(WORDS)])
    text = _pattern(draw, text) if operator == "~" else text
    quote = "'" if '"' in text or (draw.random() < 0.3 and "'" not in text) else '"'
    suffix = ".ustring" if kind is FilterType.PTR_STRING and draw.random() < 0.9 else ""
    return f"{field.name}{suffix}{space}{operator}{space}{quote}{text}{quote}"


def _string(field: Field, record: Record) -> str:
    found = filtering.Predicate(field, "==", 0, is_user=True).string_of(record)
    text = found[0].partition(b"\0")[0] if found else b""
    return text.decode("latin-1").encode("ascii", "ignore").decode()[:40]


def _pattern(draw: random.Random, text: str) -> str:
    start, end = sorted((draw.randrange(len(text) + 1), draw.randrange(len(text) + 1)))
    middle = text[start:end]
    character = text[start : start + 1] or "q"
    return draw.choice(
        [
            text,
            f"{text[:end]}*",
            f"*{text[start:]}",
            f"*{middle}*",
            f"{text[:start]}*{text[end:]}",
            f"{text[:start]}?{text[start + 1 :]}",
            f"{text[:start]}[{character}-z]{text[start + 1 :]}",
            f"{text[:start]}[!{character}]{text[start + 1 :]}",
            f"{text}[!q]",
            f"!{text[:end]}*",
            "*",
            "**",
            "?*",
            f"\\{text}",
        ]
    )


def _number(draw: random.Random, value: int) -> str:
    if value < 0:
        return draw.choice([f"{value}", f"-{-value:#x}", f"-0{-value:o}"])
    return draw.choice([f"{value}", f"{value}", f"{value:#x}", f"0X{value:X}", f"0{value:o}"])


_WRONG = """
{n}=1|{n}==|{n}==1z|{n}==089|{n}==1 {n}==1|({n}==1|{n}==1)|{n}==1&{n}==2|nobody==1|{n}=='x|{n}=='x'|{n}!~1|{n}~1
{n}==--1|!({n}==1))|{n}==1&&|&&{n}==1|()|!|{n}|COMM==1|COMM<'a'|{n}.function==vfs_read|{n}==18446744073709551616
({n}==1)({n}==2)|({n}==1&&)|{n}==0x|{n}==$|{n} . ==1|{n}==0000000000000000000000000
!|CPU~1|CPU=='1'|{n}=='a")|{n}=="(")|COMM=='(|comm=="
"""


def _wrong(draw: random.Random, name: str) -> str:
    shapes = [*_WRONG.strip().replace("\n", "|").split("|"), "{n}==1||", f"COMM=='{'x' * 256}'"]
    return draw.choice(shapes).format(n=name)


# --- refused definitions

_ARGUMENTS = """
a=%rdi a=%di:u7 a=%di:string a=%di:u8[2] a=+u0(%di):u8[2] a=+0(%di):u8[65] a=+0(%di):u8[0] a=+0(%di):u8[2
a=+0(%di):u8[2]x a=+0(%di:u8 a=+0:u8 a=+0z(%di):u8 a=+0($comm):u8 a=$comm:u8 a=%di:b9@0/8 a=%di:b0@0/8 a=%di:b1@0/9
a=%di:b1/8 a=%di:b8@0/8 a=$retval:u8 a=$stack2049 a=$stack2048 a=$stackx a=$what a=$arg0:u8 a= =%di 1a=%di
common_pid=%di a=%di:char a=\\1z a=\\ a=\\"x a=\\"x" a=@+4 a=@1z a=@0x1 a=@jiffies a=+0(%di)junk:u8 a=+-8(%di):u8
a=%di:x64:u8 a=:u8 a=+0(%di):b4@0/8[3] a=\\1:string[2] a=\\1:string a=$comm:string a=$comm:string[1]
a=+0(%di):ustring[64] a=%di:symbol a=+99999999999(%di):u8 a=+0x10(%di):u8[0x10] a=+0(%di):u8[] a=+010(%di):u8[010]
a=+08(%di):u8
"""
_DEEP = [
    *(f"a={'+0(' * n}%di{')' * n}" for n in (14, 15)),
    *(f"a={'+0(' * n}@jiffies{')' * n}" for n in (12, 13)),
    *(f"a={'+0(' * n}@0x1{')' * n}" for n in (13, 14)),
]
_LIMITS = [
    *(f"{'a' * n}=%di" for n in (32, 33)),
    *(f"a=+{'0' * n}(%di):u8" for n in (54, 55)),
    *(" ".join(f"a{n}=+0(%di):u64[64]" for n in range(count)) for count in (6, 7)),
    *(" ".join(f"a{n}=%di:u8" for n in range(count)) for count in (128, 129)),
    "a=%di a=%di",
    "a=+0(%di):u8 # b=nonsense",
    *("a=%di # ".ljust(n - len("p:oracle/e do_sys_openat2 "), "x") for n in (4094, 4095)),
]
_PLACES = f"""
p:{"g" * 64}/e do_sys_openat2|p:oracle/{"e" * 64} do_sys_openat2|p:oracle/e.0 do_sys_openat2|p:/e do_sys_openat2
p:1/e do_sys_openat2|p4:oracle/e do_sys_openat2|r4097:oracle/e do_sys_openat2|r4096:oracle/e do_sys_openat2
r0:oracle/e do_sys_openat2|p:oracle/e do_sys_openat2-1|p:oracle/e do_sys_openat2%x
p:oracle/e do_sys_openat2%return a=$retval:u8|p:oracle/ do_sys_openat2 a=%di:u7
r:oracle/e do_sys_openat2+4|e:oracle/e nothing|e:oracle/e syscalls.nothing
e:oracle/e syscalls.sys_enter_openat2 a=$nothing|e:oracle/e syscalls.sys_enter_openat2 a=%di
e:oracle/e syscalls/sys_enter_openat2 a=$dfd b=$comm c=$COMM:string d=@jiffies e=\\7
"""
REFUSED = [f"p:oracle/e do_sys_openat2 {argument}" for argument in [*_ARGUMENTS.split(), *_DEEP, *_LIMITS]]
REFUSED += _PLACES.strip().replace("\n", "|").split("|")
LENGTHS = [100, 4040, 4048, 4049, 4050, 4095, 4096, 8000]


@pytest.fixture(autouse=True)
def _nothing_left(guest: Guest) -> Iterator[None]:
    """After each test the kernel is as it was."""
    before = tracefs_state(guest)
    yield
    assert tracefs_state(guest) == before


def test_the_model_is_the_kernel(guest: Guest) -> None:
    kernel = KERNELS[guest.image.name]
    draw = random.Random(SEED)
    print(f"seed {SEED}")
    pages = _pages(draw)
    memory = Memory.of({BASE: pages})
    rounds = list(_rounds(draw, kernel, memory))
    long = EDGE - 40
    job = {"base": BASE, "pages": pages.hex(), "rounds": [each.question for each in rounds]}
    job |= {"refused": REFUSED, "lengths": LENGTHS, "long": long}
    result = guest.run(["python3", "-m", "tests.live.filter_oracle"], stdin=json.dumps(job), timeout_s=300).expect()
    answers = json.loads(result.stdout)
    differences = [
        difference
        for each, answer in zip(rounds, answers["rounds"], strict=True)
        for difference in _differences(each, answer, kernel, answers)
    ]
    differences += _refusal_differences(answers["refused"], kernel)
    assert not differences, "\n".join(differences)
    assert answers["lengths"] == [_entries(kernel, memory, long - length) for length in LENGTHS]


def _differences(each: Round, answers: Sequence[Any], kernel: Kernel, process: Mapping[str, int]) -> Iterator[str]:
    unlocated, texts = each.answer(process["unreadable"], process["address_bits"])
    records = [_in_guest(record, process["pid"], process["cpu"]) for record in unlocated]
    for text, (errno, sentence, printed) in zip(each.filters, answers, strict=True):
        try:
            accepted = Filter(text, each.fields, kernel, SYMBOLS)
        except Refused as refused:
            wanted = filtering.SENTENCES.get(refused.reason, "")
            if errno != refused.errno or wanted != sentence:
                yield f"{each.name}: {text!r}: kernel {errno} {sentence!r} {len(printed)}, model {refused}"
            continue
        pairs = zip(records, texts, strict=True)
        expected = [shown for record, shown in pairs if accepted.matches(record)]
        if errno or not _is_same(expected, printed):
            yield f"{each.name}: {text!r}: kernel {errno} {sentence!r}"
            yield from (f"    {line}" for line in _unified(expected, printed))


def _in_guest(record: Record, pid: int, cpu: int) -> Record:
    page = record.page[:4] + struct.pack("<i", pid) + record.page[8:]
    return dataclasses.replace(record, page=page, moment=dataclasses.replace(record.moment, pid=pid, cpu=cpu))


def _unified(expected: Sequence[str], printed: Sequence[str]) -> Iterator[str]:
    """What differs, with the long string made short."""
    shown = [re.sub("x{40,}", "x..x", line.partition(")")[2] or line) for line in printed]
    wanted = [re.sub("x{40,}", "x..x", line) for line in expected]
    return (line for line in difflib.ndiff(wanted, shown) if not line.startswith(" "))


def _is_same(expected: Sequence[str], printed: Sequence[str]) -> bool:
    """A probe's place is printed before what is expected, a trace event prints more than is known of it."""
    return len(expected) == len(printed) and all(
        re.search(_pattern_of(wanted), shown, re.DOTALL) for wanted, shown in zip(expected, printed, strict=True)
    )


def _pattern_of(wanted: str) -> str:
    pattern = re.escape(wanted).replace(re.escape(fetching.BEHIND), ".*")
    return pattern if wanted.startswith("oldcomm") else rf"(\)|^){pattern}\Z"


def _refusal_differences(answers: Sequence[tuple[int, str]], kernel: Kernel) -> Iterator[str]:
    for line, (errno, sentence) in zip(REFUSED, answers, strict=True):
        try:
            parse_definition(line, kernel, events=EVENTS)
        except Refused as refused:
            wanted = fetching.SENTENCES.get(refused.reason)
            if errno != refused.errno or (wanted and wanted != sentence):
                yield f"{line!r}: kernel {errno} {sentence!r}, model {refused}"
        else:
            if errno:
                yield f"{line!r}: kernel {errno} {sentence!r}, model accepts"


def _entries(kernel: Kernel, memory: Memory, filename: int) -> int:
    definition = parse_definition("p:g/e f n=%di:u16 s=+0(%si):ustring", kernel)
    try:
        fetch(definition, Moment({"di": 7, "si": filename}, memory))
    except Dropped:
        return 0
    return 1
