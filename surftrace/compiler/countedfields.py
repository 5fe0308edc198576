"""A probe and the names that a count asks for in, what the kernel's tables have of them out, and the probe with that.

A name is a value of the probe, or a field of the event; else `comm`, `pid`, `cpu` or `stack`, as every event has them.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from surftrace.compiler.arguments import HIDDEN
from surftrace.compiler.contents import MAX_ARGUMENTS
from surftrace.compiler.fetch import Fetch
from surftrace.compiler.guards import last_pointer_of, pointer_guard, sentinel, string_guard
from surftrace.compiler.resolved import Field, ResolvedProbe, Test
from surftrace.compiler.scope import listed
from surftrace.compiler.values import ByteOrder
from surftrace.kernel.features import Feature
from surftrace.kernel.formats import EventField
from surftrace.kernel.target import Target
from surftrace.lang.source import CompileError, Diagnostic
from surftrace.lang.syntax import Kind
from surftrace.names import did_you_mean, nearest
from surftrace.record import record

# Linux kernel/trace/trace_events_hist.c, parse_field: these are no fields there, whatever a probe calls so.
_WORDS = ("hitcount", "stacktrace", "common_stacktrace", "common_cpu", "common_timestamp")
# The sizes of keys: MAX_FILTER_STR_VAL for a string of the record's end, HIST_STACKTRACE_SIZE, a word for a number.
_STRING, _STACK, _WORD = 256, 16 * 8, 8
_NUMBER_TYPE = re.compile(r"[sux](8|16|32|64)|b\d+@\d+/(8|16|32|64)")
COMM, PID, CPU, STACK = "comm", "pid", "cpu", "stack"


@record
class Key:
    """What rows are told apart by: a field, shown as the trace shows it, and the kernel's keys for it, `texts`.

    An array of packet bytes takes several, each `sizes` bytes of it. `size` is that of all in the kernel.
    """

    field: Field
    texts: tuple[str, ...]
    sizes: tuple[int, ...] = ()
    size: int = _WORD
    is_string: bool = False
    byteorder: ByteOrder = "little"


@record
class Number:
    """A field as a number. `is_added`: the kernel can add it up, and put it in buckets, as it stands in the record."""

    field: Field
    bits: int
    is_signed: bool
    is_added: bool


@record
class Prepared:
    """A probe with what a count needs of it. `guards`: names of values that may not be read -> what holds where it was.

    `keys` has what was asked for, by name.
    """

    probe: ResolvedProbe
    keys: Mapping[str, Key]
    guards: Mapping[str, tuple[Test, ...]]

    def fail(self, message: str, *hints: str) -> CompileError:
        """The error about the whole probe."""
        return _failure(self.probe, message, hints)


def _failure(probe: ResolvedProbe, message: str, hints: Sequence[str] = ()) -> CompileError:
    return CompileError([Diagnostic(probe.source, probe.span, message, tuple(hints))])


def prepare(probe: ResolvedProbe, names: Sequence[str], target: Target, has_guards: bool) -> Prepared:
    """The probe with hidden fields for what its values lack. CompileError for what it has no value of that name."""
    if not probe.name:
        return _prepare_event(probe, names, target)
    fields = list(probe.fields)
    keys: dict[str, Key] = {}
    guards: dict[str, tuple[Test, ...]] = {}
    shown = {field.name: field for field in probe.fields if not field.is_hidden}
    for name in names:
        field = shown.get(name)
        if field is None:
            keys[name] = _common_key(name, probe, fields, list(shown))
            continue
        _check_word(name, probe)
        keys[name] = _key(field, probe, fields, target.machine.byteorder)
        if has_guards and (tests := _tests(field, fields, probe, target)):
            guards[name] = tests
    if len(fields) > MAX_ARGUMENTS:
        message = f"this needs {len(fields)} values with those for its guards: the kernel takes {MAX_ARGUMENTS}"
        raise _failure(probe, message)
    return Prepared(replace(probe, fields=tuple(fields)), keys, guards)


def _check_word(name: str, probe: ResolvedProbe) -> None:
    if name in _WORDS:
        raise _failure(probe, f"'{name}' is the kernel's own word in a table", ("call the value something else",))


def _key(field: Field, probe: ResolvedProbe, fields: list[Field], byteorder: ByteOrder) -> Key:
    """The kernel's keys for a probe's value; one for each part of packet bytes that no number holds."""
    if field.is_string:
        return Key(field, (field.name,), size=_STRING, is_string=True)
    if field.array_length is None:
        return Key(field, (f"{field.name}.sym-offset" if field.fetch.type == "symbol" else field.name,))
    if field.prefix is None:
        hint = "name an element, or the first bytes of it as a number"
        raise _failure(probe, f"{field.name} is an array: the kernel has no keys of these", (hint,))
    sizes = (8, 8) if field.prefix.size == 16 else (4, 2)  # the bytes of an IPv6 address
    assert sum(sizes) == field.prefix.size
    parts = []
    for number, size in enumerate(sizes):
        *offsets, last = field.fetch.byte_offsets
        fetch = replace(field.fetch, byte_offsets=(*offsets, last + sum(sizes[:number])), type=f"x{size * 8}")
        parts.append(Field(_hidden_name(fields), fetch, None, field.span, is_hidden=True))
        fields.append(parts[-1])
    return Key(field, tuple(part.name for part in parts), sizes, _WORD * len(sizes), byteorder=byteorder)


def _hidden_name(fields: Sequence[Field]) -> str:
    taken = {field.name for field in fields}
    return next(name for number in range(len(fields) + 1) if (name := f"{HIDDEN}{number}") not in taken)


def _tests(field: Field, fields: list[Field], probe: ResolvedProbe, target: Target) -> tuple[Test, ...]:
    """What holds where a value was read."""
    pointers = [each for each in fields if each.name in field.guards]
    tests = [test for pointer in pointers for test in pointer_guard(pointer)]
    if not field.is_string or field.fetch.base == "$comm":
        return tuple(tests)
    place = fields.index(field)
    is_user = probe.kind in (Kind.USER_ENTRY, Kind.USER_RETURN)
    if not is_user and target.kernel.features().has(Feature.IMMEDIATE):
        if not (place + 1 < len(fields) and fields[place + 1].is_sentinel):
            fields.insert(place + 1, sentinel(_hidden_name(fields), field.span))
        return (*tests, *string_guard(field))
    pointer = last_pointer_of(field.fetch)
    if pointer is None:
        return tuple(tests)
    machine = target.machine
    is_of_user = is_user or field.fetch.type == "ustring"
    valid = machine.user_addresses if is_of_user else (machine.user_addresses[0], machine.kernel_addresses[1])
    hidden = Field(_hidden_name(fields), pointer, None, field.span, is_hidden=True, valid=valid)
    fields.append(hidden)
    return (*tests, *pointer_guard(hidden))


def _common_key(name: str, probe: ResolvedProbe, fields: list[Field], known: Sequence[str]) -> Key:
    """What every event has; of a probe of ours, the task's name is fetched at each hit."""
    if name == COMM and probe.name:
        field = next((each for each in fields if each.fetch.base == "$comm"), None)
        if field is None:
            field = Field(_hidden_name(fields), Fetch("$comm", (), ""), None, probe.span, is_hidden=True)
            fields.append(field)
        return Key(replace(field, name=COMM), (field.name,), size=_STRING, is_string=True)
    # A kernel that knows common_cpu takes cpu as well where the event has no field of that name: parse_field.
    texts = {COMM: "common_pid.execname", PID: "common_pid", CPU: "cpu", STACK: "stacktrace"}
    types = {COMM: "string", PID: "s32", CPU: "u32", STACK: "symbol"}
    if name not in texts:
        hints = did_you_mean(nearest(name, [*known, *texts]))
        what = f"it has {listed(known)}" if known else "it has none"
        place = probe.name or probe.place
        raise _failure(probe, f"there is no value '{name}' to count {place} by", (*hints, what))
    field = Field(name, Fetch("", (), types[name]), None, probe.span)
    return Key(field, (texts[name],), size=_STACK if name == STACK else _WORD)


def _prepare_event(probe: ResolvedProbe, names: Sequence[str], target: Target) -> Prepared:
    """The kernel's own event: its fields are keys as they are."""
    system, _, event = probe.place.partition("/")
    fields = target.kernel.event_fields(system, event)
    known = {field.name: field for field in fields or ()}
    shown = [name for name in known if not name.startswith("common_")]
    keys = {}
    for name in names:
        if name in known:
            _check_word(name, probe)
            keys[name] = _event_key(known[name], probe)
        elif fields is None and name not in (COMM, PID, CPU, STACK):
            keys[name] = Key(Field(name, Fetch("", (), "u64"), None, probe.span), (name,))
        else:
            keys[name] = _common_key(name, probe, [], shown)
    return Prepared(probe, keys, {})


def _event_key(field: EventField, probe: ResolvedProbe) -> Key:
    if field.is_string and "*" not in field.type:
        size = _STRING if field.is_dynamic else -(-field.size // _WORD) * _WORD
        string = Field(field.name, Fetch("", (), "string"), None, probe.span)
        return Key(string, (field.name,), size=size, is_string=True)
    if not field.is_number:
        raise _failure(probe, f"{field.name} is a {field.type}: the kernel has no keys of these")
    letter = "x" if "*" in field.type else "s" if field.is_signed else "u"
    fetch = Fetch("", (), f"{letter}{field.size * 8}")
    return Key(Field(field.name, fetch, None, probe.span, enumerators=field.names), (field.name,))


def number_of_field(prepared: Prepared, name: str) -> Number:
    """A value as a number; CompileError for one that is none."""
    field = prepared.keys[name].field
    match = _NUMBER_TYPE.fullmatch(field.fetch.type or "x64")
    is_address = field.prefix is not None and not field.prefix.text.startswith(("b", "B"))
    if match is None or is_address or name in (COMM, STACK):
        what = field.prefix.meaning if field.prefix is not None and is_address else "no number"
        raise prepared.fail(f"{name} is {what}: it has no sum, no least and no greatest")
    is_plain = field.prefix is None and field.letter != "f" and not field.addend
    is_bits = field.bit_width is not None and field.letter == "s"
    return Number(field, int(match[1] or match[2]), match[0].startswith("s"), is_plain and not is_bits)
