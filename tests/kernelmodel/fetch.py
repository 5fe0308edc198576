"""Probe definitions: a line and a `Kernel` in, a `Definition` out; that and a `Moment` in, the `Record` that results.

The parser and the machine that runs fetch instructions follow trace_probe.c, trace_probe.h, trace_probe_tmpl.h and
trace_probe_kernel.h function by function, errors included: a `Refused` has the name of the kernel's TP_ERR_ constant.
Not modelled: user probes, `symstr`, an event probe's `if`, fprobes, and what Linux takes from BTF.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from zlib import crc32

from tests.kernelmodel import (
    ALL_ONES,
    E2BIG,
    EINVAL,
    ENODEV,
    ENOENT,
    SPACES,
    TASK_COMM_LEN,
    WORD,
    X86_64,
    Dropped,
    Fault,
    Field,
    Kernel,
    Machine,
    Memory,
    Moment,
    Record,
    Refused,
    Unmodelled,
    as_bytes,
    as_characters,
    is_digit,
    kstrtoll,
    kstrtoull,
    leading_integer,
)

MAX_COMMAND = 4094  # trace.c, trace_parse_run_command: WRITE_BUFSIZE - 2, with a line's end behind it
MAX_TRACE_ARGS = 128
MAX_ARGSTR_LEN = 63
MAX_ARRAY_LEN = 64
MAX_ARG_NAME_LEN = 32
MAX_EVENT_NAME_LEN = 64
MAX_PROBE_EVENT_SIZE = 3072
MAX_STRING_SIZE = 4096
FETCH_INSN_MAX = 16
KRETPROBE_MAXACTIVE_MAX = 4096
PARAM_MAX_STACK = (16 << 10) // WORD  # THREAD_SIZE of x86-64 and arm64
BUF_MAX_DATA_SIZE = 4072  # ring_buffer.c: a page without its header and an event's two words

RESERVED_NAMES = frozenset(
    [f"common_{name}" for name in ("type", "flags", "preempt_count", "pid", "tgid")]
    + [f"__probe_{name}" for name in ("ip", "ret_ip", "func")]
)

# trace_probe.h, ERRORS; a reason that is not here leaves no sentence, or another one by kernel.
SENTENCES = {
    "BAD_MAXACT": "Invalid maxactive number",
    "MAXACT_TOO_BIG": "Maxactive is too big",
    "BAD_PROBE_ADDR": "Invalid probed address or symbol",
    "BAD_RETPROBE": "Retprobe address must be an function entry",
    "BAD_ADDR_SUFFIX": "Invalid probed address suffix",
    "NO_GROUP_NAME": "Group name is not specified",
    "GROUP_TOO_LONG": "Group name is too long",
    "BAD_GROUP_NAME": "Group name must follow the same rules as C identifiers",
    "NO_EVENT_NAME": "Event name is not specified",
    "EVENT_TOO_LONG": "Event name is too long",
    "BAD_EVENT_NAME": "Event name must follow the same rules as C identifiers",
    "RETVAL_ON_PROBE": "$retval is not available on probe",
    "BAD_STACK_NUM": "Invalid stack number",
    "BAD_ARG_NUM": "Invalid argument number",
    "BAD_VAR": "Invalid $-variable specified",
    "BAD_REG_NAME": "Invalid register name",
    "BAD_MEM_ADDR": "Invalid memory address",
    "BAD_IMM": "Invalid immediate value",
    "IMMSTR_NO_CLOSE": "String is not closed with '\"'",
    "FILE_ON_KPROBE": "File offset is not available with kprobe",
    "TOO_MANY_OPS": "Dereference is too much nested",
    "DEREF_NEED_BRACE": "Dereference needs a brace",
    "BAD_DEREF_OFFS": "Invalid dereference offset",
    "DEREF_OPEN_BRACE": "Dereference brace is not closed",
    "COMM_CANT_DEREF": "$comm can not be dereferenced",
    "BAD_FETCH_ARG": "Invalid fetch argument",
    "ARRAY_NO_CLOSE": "Array is not closed",
    "BAD_ARRAY_SUFFIX": "Array has wrong suffix",
    "BAD_ARRAY_NUM": "Invalid array size",
    "ARRAY_TOO_BIG": "Array number is too big",
    "BAD_TYPE": "Unknown type is specified",
    "BAD_STRING": "String accepts only memory argument",
    "BAD_BITFIELD": "Invalid bitfield",
    "ARG_NAME_TOO_LONG": "Argument name is too long",
    "NO_ARG_NAME": "Argument name is not specified",
    "BAD_ARG_NAME": "Argument name must follow the same rules as C identifiers",
    "USED_ARG_NAME": "This argument name is already used",
    "ARG_TOO_LONG": "Argument expression is too long",
    "NO_ARG_BODY": "No argument expression",
    "NO_EVENT_INFO": "This requires both group and event name to attach",
    "BAD_ATTACH_EVENT": "Attached event does not exist",
    "BAD_ATTACH_ARG": "Attached event does not have this field",
    "EVENT_TOO_BIG": "Event too big (too many fields?)",
}

# Places that only the model has: current->comm, immediate strings, the record of the attached event.
_COMM_ADDRESS = 0xFFFF_8881_0000_0B80
_EVENT_ADDRESS = 0xFFFF_8882_0000_0000
_TEXT_ADDRESS = 0xFFFF_A000_0000_0000

_ENTRY_SIZE = 8  # struct trace_entry


@dataclass(frozen=True, slots=True)
class FetchType:
    """A row of probe_fetch_types."""

    name: str
    size: int
    is_signed: bool
    is_string: bool
    field_type: str


def _fetch_types() -> Iterator[FetchType]:
    for name in ("string", "ustring", "symstr"):
        yield FetchType(name, 4, True, True, "__data_loc char[]")
    for bits in (8, 16, 32, 64):
        yield FetchType(f"u{bits}", bits // 8, False, False, f"u{bits}")
        yield FetchType(f"s{bits}", bits // 8, True, False, f"s{bits}")
        yield FetchType(f"x{bits}", bits // 8, False, False, f"u{bits}")
    yield FetchType("char", 1, False, False, "u8")
    yield FetchType("symbol", 8, False, False, "u64")


_TYPES = {fetch_type.name: fetch_type for fetch_type in _fetch_types()}


class Op(Enum):
    """enum fetch_op, as far as modelled."""

    NOP = auto()
    REG = auto()
    STACK = auto()
    STACKP = auto()
    RETVAL = auto()
    IMM = auto()
    COMM = auto()
    ARG = auto()
    EDATA = auto()
    DATA = auto()
    TP_ARG = auto()
    DEREF = auto()
    UDEREF = auto()
    ST_RAW = auto()
    ST_MEM = auto()
    ST_UMEM = auto()
    ST_STRING = auto()
    ST_USTRING = auto()
    MOD_BF = auto()
    LP_ARRAY = auto()
    END = auto()
    SYMBOL = auto()  # FETCH_NOP_SYMBOL


@dataclass(frozen=True, slots=True)
class Insn:
    """struct fetch_insn: `number` is its param or immediate, `text` its data."""

    op: Op = Op.NOP
    number: int = 0
    byte_offset: int = 0
    size: int = 0
    left_shift: int = 0
    right_shift: int = 0
    text: str = ""


@dataclass(frozen=True, slots=True)
class Argument:
    """struct probe_arg. `byte_offset` is from the arguments' start, `count` is 0 for what is no array."""

    name: str
    type: FetchType
    count: int
    byte_offset: int
    code: tuple[Insn, ...]

    @property
    def is_dynamic(self) -> bool:
        """Does its data lie behind the fixed part?"""
        return self.type.is_string

    @property
    def size(self) -> int:
        """Bytes in the fixed part of the record."""
        return self.type.size * (self.count or 1)


@dataclass(frozen=True, slots=True)
class Definition:
    """A probe as the kernel made it of a line. `kind` is 'p', 'r' or 'e'."""

    kind: str
    group: str
    name: str
    place: str
    arguments: tuple[Argument, ...]
    kernel: Kernel
    event_fields: tuple[Field, ...] = ()

    @property
    def header_size(self) -> int:
        """trace.h: struct kprobe_trace_entry_head, kretprobe_trace_entry_head, eprobe_trace_entry_head."""
        return _ENTRY_SIZE + WORD * {"p": 1, "r": 2, "e": 0}[self.kind]

    @property
    def size(self) -> int:
        """Bytes of all arguments in the fixed part (struct trace_probe::size)."""
        return sum(argument.size for argument in self.arguments)

    @property
    def fields(self) -> tuple[Field, ...]:
        """The event's own fields (kprobe_event_define_fields, traceprobe_define_arg_fields)."""
        heads = {"p": ("__probe_ip",), "r": ("__probe_func", "__probe_ret_ip"), "e": ()}[self.kind]
        fields = [Field(name, "unsigned long", _ENTRY_SIZE + WORD * n, WORD, False) for n, name in enumerate(heads)]
        for each in self.arguments:
            field_type = f"{each.type.field_type}[{each.count}]" if each.count else each.type.field_type
            place = self.header_size + each.byte_offset
            fields.append(Field(each.name, field_type, place, each.size, each.type.is_signed))
        return tuple(fields)


# --- trace_kprobe.c, trace_eprobe.c: a line


def parse_definition(
    line: str, kernel: Kernel, machine: Machine = X86_64, events: Mapping[str, Sequence[Field]] | None = None
) -> Definition:
    """The probe that a line makes; `Refused` where the kernel says no.

    `events` are the fields of each event, as `system.event`, that an event probe may be attached to. A symbol is
    neither looked up nor known as ambiguous; at offset 0 it is a function's entry.
    """
    if len(as_bytes(line)) > MAX_COMMAND:
        raise Refused("LINE_TOO_LONG")
    words = re.split(f"[{SPACES}]+", as_characters(line).partition("#")[0].strip(SPACES))
    if len(words) < 2 or words[0][:1] not in ("p", "r", "e"):
        raise Refused("NOT_A_PROBE")
    if words[0][0] == "e":
        return _event_probe(words, kernel, machine, events or {})
    return _kernel_probe(words, kernel, machine)


def _kernel_probe(words: Sequence[str], kernel: Kernel, machine: Machine) -> Definition:
    """__trace_kprobe_create."""
    kind, place = words[0][0], words[1]
    maximum, colon, name = words[0][1:].partition(":")
    if is_digit(maximum[:1]):
        _check_maxactive(kind, maximum)
    is_symbol, byte_offset = False, 0
    try:
        kstrtoull(place)
    except ValueError:
        if "/" in place and ":" in place:
            raise Unmodelled("user probes") from None
        is_symbol = True
        place, percent, suffix = place.partition("%")
        if percent and suffix != "return":
            raise Refused("BAD_ADDR_SUFFIX") from None
        kind = "r" if percent else kind
        byte_offset = _place_offset(place)
    symbol = re.split("[+-]", place)[0]
    default = f"{kind}_{symbol}_{byte_offset}" if is_symbol else f"{kind}_{place}"
    group, event = _event_name(name) if colon else ("", "")
    is_entry = is_symbol and not byte_offset and kind == "p"
    if is_symbol and byte_offset and kind == "r":
        raise Refused("BAD_RETPROBE")
    parser = _ArgumentParser(kernel, machine, kind, is_entry, ())
    event = event or re.sub(r"[:.]", "_", default[:63])
    return Definition(kind, group or "kprobes", event, words[1], parser.parse_all(words[2:]), kernel)


def _check_maxactive(kind: str, text: str) -> None:
    if kind != "r":
        raise Refused("MAXACT_NO_KPROBE")
    try:
        maxactive = kstrtoull(text, 0, 0xFFFF_FFFF)
    except ValueError:
        maxactive = 0
    if not maxactive or len(text) > MAX_EVENT_NAME_LEN - 1:
        raise Refused("BAD_MAXACT")
    if maxactive > KRETPROBE_MAXACTIVE_MAX:
        raise Refused("MAXACT_TOO_BIG")


def _place_offset(place: str) -> int:
    """traceprobe_split_symbol_offset."""
    found = re.search("[+-]", place)
    if not found:
        return 0
    try:
        byte_offset = kstrtoll(place[found.start() :])
    except ValueError:
        byte_offset = -1
    if not 0 <= byte_offset <= 0xFFFF_FFFF:
        raise Refused("BAD_PROBE_ADDR")
    return byte_offset


def _event_probe(
    words: Sequence[str], kernel: Kernel, machine: Machine, events: Mapping[str, Sequence[Field]]
) -> Definition:
    """__trace_eprobe_create."""
    _, colon, name = words[0].partition(":")
    group, event = _event_name(name) if colon else ("", "")
    try:
        system, attached = _event_name(words[1])
    except Refused:
        raise Refused("NO_EVENT_INFO") from None
    if not system or not attached:
        raise Refused("NO_EVENT_INFO")
    if "if" in words[2:]:
        raise Unmodelled("an event probe's filter")
    fields = events.get(f"{system}.{attached}")
    if fields is None:
        raise Refused("BAD_ATTACH_EVENT", ENODEV)
    parser = _ArgumentParser(kernel, machine, "e", False, tuple(fields))
    arguments = parser.parse_all(words[2:])
    return Definition("e", group or "eprobes", event or attached, words[1], arguments, kernel, tuple(fields))


def _event_name(text: str) -> tuple[str, str]:
    """traceprobe_parse_event_name: the group, and the name or ''."""
    mark = "/" if "/" in text else "."
    group, slash, event = text.partition(mark)
    if not slash:
        group, event = "", text
    elif not group:
        raise Refused("NO_GROUP_NAME")
    elif len(group) + 1 > MAX_EVENT_NAME_LEN:
        raise Refused("GROUP_TOO_LONG")
    elif not re.fullmatch(r"[A-Za-z_-][A-Za-z0-9_-]*", group):
        raise Refused("BAD_GROUP_NAME")
    if not event and not slash:
        raise Refused("NO_EVENT_NAME")
    if len(event) >= MAX_EVENT_NAME_LEN:
        raise Refused("EVENT_TOO_LONG")
    if event and not _is_good_name(event):
        raise Refused("BAD_EVENT_NAME")
    return group, event


def _is_good_name(name: str) -> bool:
    return re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) is not None


# --- trace_probe.c: an argument


@dataclass(frozen=True, slots=True)
class _ArgumentParser:
    kernel: Kernel
    machine: Machine
    kind: str
    is_entry: bool
    event_fields: tuple[Field, ...]

    def parse_all(self, words: Sequence[str]) -> tuple[Argument, ...]:
        if len(words) > MAX_TRACE_ARGS and not self.kernel.drops_surplus_arguments:
            raise Refused("TOO_MANY_ARGS", E2BIG)
        arguments: list[Argument] = []
        for word in words[:MAX_TRACE_ARGS]:
            arguments.append(self._argument(word, arguments))
        return tuple(arguments)

    def _argument(self, word: str, before: Sequence[Argument]) -> Argument:
        """traceprobe_parse_probe_arg."""
        name, equals, body = word.partition("=")
        if not equals:
            name, body = f"arg{len(before) + 1}", word
            if self.kernel.has_btf_arguments and (_is_good_name(word.partition(":")[0]) or "$arg" in word):
                raise Unmodelled("names from BTF")
        elif len(name) > MAX_ARG_NAME_LEN:
            raise Refused("ARG_NAME_TOO_LONG")
        elif not name:
            raise Refused("NO_ARG_NAME")
        if not _is_good_name(name):
            raise Refused("BAD_ARG_NAME")
        if name in RESERVED_NAMES or name in {each.name for each in before}:
            raise Refused("USED_ARG_NAME")
        return self._body(name, body, sum(each.size for each in before))

    def _body(self, name: str, body: str, byte_offset: int) -> Argument:
        """traceprobe_parse_probe_arg_body."""
        if len(body) > MAX_ARGSTR_LEN:
            raise Refused("ARG_TOO_LONG", EINVAL if self.kernel.drops_surplus_arguments else E2BIG)
        if not body:
            raise Refused("NO_ARG_BODY")
        source, colon, type_text = body.partition(":")
        count = 0
        if colon:
            type_text, count = _array(type_text)
        fetch_type = self._type(source, type_text if colon else None, count)
        if byte_offset + fetch_type.size * (count or 1) > MAX_PROBE_EVENT_SIZE:
            raise Refused("EVENT_TOO_BIG", E2BIG)
        self._check_modelled(source, type_text if colon else None)
        code = self._source(source)
        self._finish(code, fetch_type, type_text, count)
        return Argument(name, fetch_type, count, byte_offset, tuple(code))

    def _check_modelled(self, source: str, type_text: str | None) -> None:
        if type_text == "symstr":
            raise Unmodelled("symstr")
        takes_btf_type = self.kernel.has_btf_arguments and source.startswith(("$retval", "$arg"))
        if takes_btf_type and (type_text is None or "string" in type_text):
            raise Unmodelled("types from BTF")

    def _type(self, source: str, type_text: str | None, count: int) -> FetchType:
        if self.kind != "e" and (source in ("$comm", "$COMM") or source.startswith('\\"')):
            if count or type_text not in (None, "string"):
                raise Refused("NEED_STRING_TYPE")
            return _TYPES["string"]
        if (fetch_type := self._find_type("x64" if type_text is None else type_text)) is None:
            raise Refused("BAD_TYPE")
        return fetch_type

    def _find_type(self, text: str) -> FetchType | None:
        """find_fetch_type."""
        if text.startswith("b"):
            _, slash, container = text.partition("/")
            try:
                bits = kstrtoull(container) if slash else 0
            except ValueError:
                return None
            return _TYPES.get(f"u{bits}")
        return None if text == "char" and not self.kernel.has_char else _TYPES.get(text)

    def _source(self, text: str) -> list[Insn]:
        """parse_probe_arg: the instructions, of which the last may yet become a store."""
        if text.startswith(("+", "-")):
            return self._dereference(text)
        if text.startswith("@"):
            return _memory(text[1:])
        if text.startswith("$"):
            return [self._variable(text[1:])]
        if text.startswith("%") and self.kind != "e":
            if text[1:] not in self.machine.registers:
                raise Refused("BAD_REG_NAME")
            return [Insn(Op.REG, text=text[1:])]
        if text.startswith("\\"):
            return [_immediate(text[1:])]
        if self.kernel.has_btf_arguments and (text[:1].isalpha() or text[:1] == "_"):
            raise Unmodelled("names from BTF")
        raise Refused("BAD_FETCH_ARG")

    def _variable(self, name: str) -> Insn:
        """parse_probe_vars."""
        if self.kind == "e":
            for field in self.event_fields:
                if field.name == name:
                    return Insn(Op.TP_ARG, text=name)
            if name in ("comm", "COMM"):
                return Insn(Op.COMM)
            raise Refused("BAD_VAR") if self.kernel.has_btf_arguments else Refused("BAD_ATTACH_ARG", ENOENT)
        if name == "retval":
            if self.kind != "r":
                raise Refused("RETVAL_ON_PROBE")
            return Insn(Op.RETVAL)
        if name == "stack":
            return Insn(Op.STACKP)
        if name in ("comm", "COMM"):
            return Insn(Op.COMM)
        if name.startswith("stack") and is_digit(name[5:6]):
            return Insn(Op.STACK, _parameter(name[5:], 0, "BAD_STACK_NUM"))
        may_have_arguments = self.is_entry or (self.kind == "r" and self.kernel.has_btf_arguments)
        if name.startswith("arg") and self.kernel.has_btf_arguments and not may_have_arguments:
            raise Refused("NOFENTRY_ARGS")
        if name.startswith("arg") and may_have_arguments:
            number = _parameter(name[3:], 1, "BAD_ARG_NUM") - 1
            return Insn(Op.ARG if self.is_entry else Op.EDATA, number)
        raise Refused("BAD_VAR")

    def _dereference(self, text: str) -> list[Insn]:
        op = Op.UDEREF if text[1:2] == "u" else Op.DEREF
        text = text[0] + text[2:] if op is Op.UDEREF else text
        number, brace, inner = text.removeprefix("+").partition("(")
        if not brace:
            raise Refused("DEREF_NEED_BRACE")
        try:
            byte_offset = kstrtoll(number)
        except ValueError:
            raise Refused("BAD_DEREF_OFFS") from None
        inner, brace, _ = inner.rpartition(")")
        if not brace:
            raise Refused("DEREF_OPEN_BRACE")
        code = self._source(inner)
        if code[-1].op in (Op.COMM, Op.DATA):
            raise Refused("COMM_CANT_DEREF")
        _append(code, Insn(op, byte_offset=_as_int(byte_offset)))
        return code

    def _finish(self, code: list[Insn], fetch_type: FetchType, type_text: str, count: int) -> None:
        """What 6.12 calls finalize_fetch_insn."""
        _add_store(code, fetch_type, count)
        store = code[-1].op
        if type_text.startswith("b"):
            _append(code, _bit_field(type_text, fetch_type.size * 8), "BAD_BITFIELD")
        if count:
            if store not in (Op.ST_MEM, Op.ST_STRING, Op.ST_USTRING):
                raise Refused("BAD_STRING")
            _append(code, Insn(Op.LP_ARRAY, count))
        code.append(Insn(Op.END))


def _append(code: list[Insn], insn: Insn, refusal: str = "TOO_MANY_OPS") -> None:
    """One more instruction; the last of FETCH_INSN_MAX is kept for the end."""
    if len(code) == FETCH_INSN_MAX - 1:
        raise Refused(refusal)
    code.append(insn)


def _as_int(number: int) -> int:
    """What is left of a long in struct fetch_insn's `int offset`."""
    return (number + (1 << 31) & 0xFFFF_FFFF) - (1 << 31)


def _array(text: str) -> tuple[str, int]:
    """A type and its count, 0 for none."""
    name, bracket, rest = text.partition("[")
    if not bracket:
        return text, 0
    number, bracket, suffix = rest.partition("]")
    if not bracket:
        raise Refused("ARRAY_NO_CLOSE")
    if suffix:
        raise Refused("BAD_ARRAY_SUFFIX")
    try:
        count = kstrtoull(number, 0, 0xFFFF_FFFF)
    except ValueError:
        count = 0
    if not count:
        raise Refused("BAD_ARRAY_NUM")
    if count > MAX_ARRAY_LEN:
        raise Refused("ARRAY_TOO_BIG")
    return name, count


def _parameter(text: str, minimum: int, refusal: str) -> int:
    try:
        number = kstrtoull(text, 10)
    except ValueError:
        raise Refused("BAD_VAR") from None
    if not minimum <= number <= PARAM_MAX_STACK:
        raise Refused(refusal)
    return number


def _memory(text: str) -> list[Insn]:
    """`@ADDRESS` and `@SYMBOL`."""
    if text.startswith("+"):
        raise Refused("FILE_ON_KPROBE")
    dereference = Insn(Op.DEREF)
    if not is_digit(text[:1]):
        return [Insn(Op.SYMBOL, text=text), Insn(Op.IMM), dereference]
    try:
        return [Insn(Op.IMM, kstrtoull(text)), dereference]
    except ValueError:
        raise Refused("BAD_MEM_ADDR") from None


def _immediate(text: str) -> Insn:
    if text.startswith('"'):
        if len(text) < 2 or not text.endswith('"'):
            raise Refused("IMMSTR_NO_CLOSE")
        return Insn(Op.DATA, text=text[1:-1])
    try:
        if is_digit(text[:1]):
            return Insn(Op.IMM, kstrtoull(text))
        if text[:1] in ("-", "+"):
            return Insn(Op.IMM, kstrtoll(text.removeprefix("+")) & ALL_ONES)
    except ValueError:
        pass
    raise Refused("BAD_IMM")


def _add_store(code: list[Insn], fetch_type: FetchType, count: int) -> None:
    last = code[-1]
    if not fetch_type.is_string:
        memory_stores = {Op.DEREF: Op.ST_MEM, Op.UDEREF: Op.ST_UMEM}
        if last.op in memory_stores:
            code[-1] = replace(last, op=memory_stores[last.op], size=fetch_type.size)
        else:
            _append(code, Insn(Op.ST_RAW, size=fetch_type.size))
        return
    keeps_value = last.op in (Op.IMM, Op.COMM, Op.DATA, Op.TP_ARG)
    if not keeps_value and last.op not in (Op.DEREF, Op.UDEREF):
        raise Refused("BAD_STRING")
    if keeps_value or count:
        _append(code, Insn())
    # An array's pointers may be in user memory; its strings are then still read as the type says.
    is_user = fetch_type.name == "ustring" or code[-1].op is Op.UDEREF
    code[-1] = replace(code[-1], op=Op.ST_USTRING if is_user else Op.ST_STRING, size=fetch_type.size)


def _bit_field(text: str, container_bits: int) -> Insn:
    """__parse_bitfield_probe_arg: `bWIDTH@OFFSET/CONTAINER`."""
    width, length = leading_integer(text[1:])
    rest = text[1 + length :]
    if not width or not rest.startswith("@"):
        raise Refused("BAD_BITFIELD")
    bit_offset, length = leading_integer(rest[1:])
    if not length or not rest[1 + length :].startswith("/") or width + bit_offset > container_bits:
        raise Refused("BAD_BITFIELD")
    left, right = container_bits - (width + bit_offset), container_bits - width
    return Insn(Op.MOD_BF, size=container_bits // 8, left_shift=left, right_shift=right)


# --- trace_probe_tmpl.h: running it


def fetch(definition: Definition, moment: Moment, stale: bytes = b"") -> Record:
    """The record that the probe makes then (__kprobe_trace_func and its like).

    `stale` is what an earlier event left where the record comes to lie, and behind it; zeros where it is too short.
    Dropped where the ring buffer has no room for one so long.
    """
    probe = _Run(definition, _with_places(definition, moment))
    data_size = probe.data_size()
    length = definition.header_size + definition.size + data_size
    if length > BUF_MAX_DATA_SIZE:
        raise Dropped(f"{length} bytes")
    probe.page = bytearray(stale.ljust(length + WORD, b"\0"))
    probe.store_header()
    probe.store_arguments(data_size)
    return Record(bytes(probe.page), length, moment)


def _with_places(definition: Definition, moment: Moment) -> Moment:
    """The moment with the task's name, immediate strings and the attached event's record in its memory."""
    places = {_COMM_ADDRESS: as_bytes(moment.comm)[: TASK_COMM_LEN - 1].ljust(TASK_COMM_LEN, b"\0")}
    places[_EVENT_ADDRESS] = moment.event
    for text in {insn.text for each in definition.arguments for insn in each.code if insn.op is Op.DATA}:
        places[_text_address(text)] = text.encode("latin-1") + b"\0"
    return replace(moment, memory=moment.memory | Memory.of(places))


def _text_address(text: str) -> int:
    return _TEXT_ADDRESS + crc32(text.encode("latin-1")) * 2 * MAX_ARGSTR_LEN


@dataclass(slots=True)
class _Run:
    definition: Definition
    moment: Moment
    page: bytearray = field(default_factory=bytearray)

    def data_size(self) -> int:
        """__get_data_size."""
        sizes = [self._process(each.code, None) for each in self.definition.arguments if each.is_dynamic]
        return sum(size for size in sizes if size > 0)

    def store_header(self) -> None:
        head = (0).to_bytes(4, self.moment.machine.byteorder) + self.moment.pid.to_bytes(
            4, self.moment.machine.byteorder
        )
        addresses = {"p": (self.moment.address,), "r": (self.moment.address, self.moment.return_address), "e": ()}
        for address in addresses[self.definition.kind]:
            head += address.to_bytes(WORD, self.moment.machine.byteorder)
        self.page[: len(head)] = head

    def store_arguments(self, room: int) -> None:
        """store_trace_args."""
        data = self.definition.header_size + self.definition.size
        for each in self.definition.arguments:
            place = self.definition.header_size + each.byte_offset
            if each.is_dynamic:
                self._set(place, 4, _data_loc(room, data))
            result = self._process(each.code, place)
            if each.is_dynamic and result > 0:
                data += result
                room -= result

    def _process(self, code: Sequence[Insn], place: int | None) -> int:
        """process_fetch_insn and process_fetch_insn_bottom: the bytes of strings, or less than 0 for an error."""
        at = 1 if code[0].op is Op.SYMBOL else 0
        value, at = self._first(code[at], code[0].text), at + 1
        try:
            return self._bottom(code, at, value, place)
        except Fault:
            return -1

    def _bottom(self, code: Sequence[Insn], at: int, value: int, place: int | None) -> int:
        before = value
        loop = next((insn for insn in code if insn.op is Op.LP_ARRAY), None)
        total = element = 0
        at, before, value = self._dereference(code, at, before, value)
        store = code[at]
        while True:
            location = 0 if place is None else self._get(place, 4)
            result = self._length(store, value) if place is None else self._store(store, value, place)
            if place is not None and code[at + 1].op is Op.MOD_BF:
                self._bit_field(code[at + 1], place)
            if loop is None:
                return result
            total += max(result, 0)
            element += 1
            if element == loop.number:
                return total
            if store.op not in (Op.ST_STRING, Op.ST_USTRING):
                assert place is not None
                place, value = place + store.size, value + store.size & ALL_ONES
                continue
            value = before + WORD & ALL_ONES
            if place is not None:
                place += 4
                self._set(place, 4, _data_loc((location >> 16) - max(result, 0), (location & 0xFFFF) + max(result, 0)))
            if code[at - 1].op not in (Op.DEREF, Op.UDEREF):
                return -1  # "\\1:string[2]": stage 3 finds no store
            _, before, value = self._dereference(code, at - 1, before, value)

    def _dereference(self, code: Sequence[Insn], at: int, before: int, value: int) -> tuple[int, int, int]:
        """Stage 2: the index of the store, the address before the last read, and what was read."""
        while code[at].op in (Op.DEREF, Op.UDEREF):
            before = value
            address = value + code[at].byte_offset & ALL_ONES
            data = self._readable(address, WORD, code[at].op is Op.UDEREF)
            if len(data) < WORD:
                raise Fault
            value = int.from_bytes(data, self.moment.machine.byteorder)
            at += 1
        return at, before, value

    def _first(self, insn: Insn, symbol: str) -> int:
        """Stage 1: a value from the context."""
        moment = self.moment
        match insn.op:
            case Op.REG:
                return moment.registers[insn.text] & ALL_ONES
            case Op.STACKP:
                return moment.registers["sp"] & ALL_ONES
            case Op.STACK:
                return self._stack_slot(insn.number, moment.registers)
            case Op.RETVAL:
                return moment.registers[moment.machine.return_register] & ALL_ONES
            case Op.ARG:
                return self._function_argument(insn.number, moment.registers)
            case Op.EDATA:
                return self._function_argument(insn.number, moment.entry_registers)
            case Op.COMM:
                return _COMM_ADDRESS
            case Op.DATA:
                return _text_address(insn.text)
            case Op.TP_ARG:
                return self._event_field(insn.text)
        return self._symbol_address(symbol) if symbol else insn.number

    def _stack_slot(self, number: int, registers: Mapping[str, int]) -> int:
        """regs_get_kernel_stack_nth: 0 where the stack cannot be read."""
        data = self.moment.memory.readable(registers["sp"] + WORD * number & ALL_ONES, WORD)
        return int.from_bytes(data, self.moment.machine.byteorder) if len(data) == WORD else 0

    def _function_argument(self, number: int, registers: Mapping[str, int]) -> int:
        """regs_get_kernel_argument."""
        machine = self.moment.machine
        if number < len(machine.argument_registers):
            return registers[machine.argument_registers[number]] & ALL_ONES
        if machine.first_stack_argument is None:
            return 0
        return self._stack_slot(number - len(machine.argument_registers) + machine.first_stack_argument, registers)

    def _event_field(self, name: str) -> int:
        """get_event_field (trace_eprobe.c)."""
        field = next(field for field in self.definition.event_fields if field.name == name)
        record = Record(self.moment.event, len(self.moment.event), self.moment)
        if "__data_loc" in field.type and "char" in field.type:
            return _EVENT_ADDRESS + (record.number(field.byte_offset, 4) & 0xFFFF)
        if "__rel_loc" in field.type and "char" in field.type:
            return _EVENT_ADDRESS + field.byte_offset + (record.number(field.byte_offset, 4) & 0xFFFF)
        if "[" in field.type and "char" in field.type:
            return _EVENT_ADDRESS + field.byte_offset
        size = field.size if field.size in (1, 2, 4) else WORD
        return record.number(field.byte_offset, size, field.is_signed) & ALL_ONES

    def _symbol_address(self, text: str) -> int:
        """traceprobe_update_arg."""
        found = re.search("[+-]", text)
        name = text[: found.start()] if found else text
        if name not in self.moment.symbols.addresses:
            raise Refused(f"no symbol {name}", ENOENT)
        byte_offset = kstrtoll(text[found.start() :]) if found else 0
        return self.moment.symbols.addresses[name] + byte_offset & ALL_ONES

    def _readable(self, address: int, size: int, is_user: bool) -> bytes:
        """What probe_mem_read and probe_mem_read_user copy before they fault.

        mm/maccess.c: kernel memory is read in one access of 1, 2, 4 or 8 bytes, whole or not at all. On x86 and arm64
        probe_mem_read of a user address is a read of user memory (CONFIG_ARCH_HAS_NON_OVERLAPPING_ADDRESS_SPACE), which
        copies bytes up to the page that is missing.
        """
        data = self.moment.memory.readable(address, size)
        is_user_address = address < self.moment.machine.task_size
        if is_user or is_user_address:
            return data if is_user_address else b""
        return data if len(data) == size else b""

    def _store(self, insn: Insn, value: int, place: int) -> int:
        """Stage 3."""
        address = value + insn.byte_offset & ALL_ONES
        match insn.op:
            case Op.ST_RAW:
                self._set(place, insn.size, value)
            case Op.ST_MEM | Op.ST_UMEM:
                # What could not be read stays as it was: nobody looks at the result.
                data = self._readable(address, insn.size, insn.op is Op.ST_UMEM)
                if insn.op is Op.ST_MEM and not data and self.moment.machine.reads_kernel_memory_at(address):
                    data = self._unreadable_kernel_memory(insn.size)
                self.page[place : place + len(data)] = data
            case Op.ST_STRING | Op.ST_USTRING:
                return self._store_string(address, place, insn.op is Op.ST_USTRING)
            case _:
                raise AssertionError(insn)
        return 0

    def _unreadable_kernel_memory(self, size: int) -> bytes:
        if self.definition.kernel.unreadable_kernel_memory == "zeros":
            return bytes(size)
        current = self.moment.current & (1 << 8 * size) - 1
        return current.to_bytes(size, self.moment.machine.byteorder) if size > 1 else b""

    def _length(self, insn: Insn, value: int) -> int:
        """fetch_store_strlen, fetch_store_strlen_user: with the NUL; none, or less, for a fault."""
        if insn.op not in (Op.ST_STRING, Op.ST_USTRING):
            return -1
        address = value + insn.byte_offset & ALL_ONES
        is_user_address = address < self.moment.machine.task_size
        if insn.op is Op.ST_USTRING and not is_user_address:
            return 0
        data = self.moment.memory.readable(address, MAX_STRING_SIZE)
        if b"\0" in data:
            return data.index(b"\0") + 1
        if len(data) < MAX_STRING_SIZE:
            return 0 if is_user_address else -1
        return MAX_STRING_SIZE + (1 if is_user_address else 0)

    def _store_string(self, address: int, place: int, is_user: bool) -> int:
        """fetch_store_string, fetch_store_string_user, set_data_loc."""
        location = self._get(place, 4)
        room, start = location >> 16, location & 0xFFFF
        if not room:
            return -1
        is_user_address = address < self.moment.machine.task_size
        data = self.moment.memory.readable(address, room) if is_user_address or not is_user else b""
        text, nul, _ = data.partition(b"\0")
        if not nul and len(data) < room:
            # strncpy_from_kernel_nofault ends what it has copied; strncpy_from_user_nofault does not.
            is_kernel_address = self.moment.machine.reads_kernel_memory_at(address)
            copied = data + b"\0" if is_kernel_address and not is_user else data
            self.page[start : start + len(copied)] = copied
            self._set(place, 4, _data_loc(0, start))
            return -1
        copied = text + b"\0" if nul else data[: room - 1] + b"\0"
        # strncpy_from_user_nofault counts the NUL of every string but the empty one, which so becomes a fault.
        length = len(copied) if text or not is_user_address or not nul else 0
        if is_user_address and (end := (len(copied) + WORD - 1) // WORD * WORD) <= room:
            copied = copied.ljust(end, b"\0")  # lib/strncpy_from_user.c writes words, the last masked
        self.page[start : start + len(copied)] = copied
        self._set(place, 4, _data_loc(length, start))
        return length

    def _bit_field(self, insn: Insn, place: int) -> None:
        """fetch_apply_bitfield."""
        mask = (1 << 8 * insn.size) - 1
        value = self._get(place, insn.size)
        self._set(place, insn.size, (value << insn.left_shift & mask) >> insn.right_shift)

    def _get(self, place: int, size: int) -> int:
        return int.from_bytes(self.page[place : place + size], self.moment.machine.byteorder)

    def _set(self, place: int, size: int, value: int) -> None:
        value &= (1 << 8 * size) - 1
        self.page[place : place + size] = value.to_bytes(size, self.moment.machine.byteorder)


def _data_loc(length: int, byte_offset: int) -> int:
    """make_data_loc."""
    return length << 16 & 0xFFFF_FFFF | byte_offset & 0xFFFF


# --- print_probe_args


# Stands for what a string goes on with behind the record: there the ring buffer has another event.
BEHIND = "<behind the record>"


def print_record(definition: Definition, record: Record) -> str:
    """What the trace says behind an event's place: ` a=1 b="x" c=(fault) d={0x1,0x2}`."""
    text = b""
    for each in definition.arguments:
        place = definition.header_size + each.byte_offset
        values = [_print_value(each.type, record, place + n * each.type.size) for n in range(each.count or 1)]
        text += b" " + each.name.encode() + b"=" + (b"{" + b",".join(values) + b"}" if each.count else values[0])
    return text.decode(errors="surrogateescape")


def _print_value(fetch_type: FetchType, record: Record, place: int) -> bytes:
    """PRINT_TYPE_FUNC_NAME of each type."""
    value = record.number(place, fetch_type.size, fetch_type.is_signed and not fetch_type.is_string)
    if fetch_type.is_string:
        return b'"%s"' % _string(record, value & 0xFFFF) if value >> 16 else b"(fault)"
    if fetch_type.name == "char":
        return b"'%c'" % value
    if fetch_type.name == "symbol":
        return _print_symbol(record, value).encode()
    return b"0x%x" % value if fetch_type.name.startswith("x") else b"%d" % value


def _string(record: Record, place: int) -> bytes:
    text, nul, _ = record.data[place:].partition(b"\0")
    return text if nul else text + BEHIND.encode()


def _print_symbol(record: Record, address: int) -> str:
    """%pS: kernel/kallsyms.c, sprint_symbol."""
    found = record.moment.symbols.covering(address)
    if found is None:
        return f"{address:#x}"
    name, start, size = found
    return f"{name}+{address - start:#x}/{size:#x}"
