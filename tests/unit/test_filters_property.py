"""Compiled filters and values against plain arithmetic: drawn probes run on drawn memory in the model of the kernel.

The model (tests/kernelmodel) does with the plan's text what a kernel does; the expectation is made here from the packet
and the struct that were drawn, without any of the compiler. A chain that is cut by a pointer that is none has no value:
a comparison with it, and its negation, holds for nothing.
"""

import operator
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from surftrace.compiler.plan import KPROBE_EVENTS, Plan
from surftrace.kernel.machine import MACHINES, X86_64, Machine
from surftrace.output.color import plain
from surftrace.output.text import Layout, make_formatter
from surftrace.tracing.decode import make_decoder
from surftrace.tracing.events import Event
from tests import kernelmodel
from tests.btfwriter import enum, function, typedef, write
from tests.btfwriter import struct as c_struct
from tests.kernelmodel import LINUX_6_1, Memory, Moment, Record
from tests.kernelmodel.fetch import Definition, fetch, parse_definition, print_record
from tests.kernelmodel.filter import Filter
from tests.unit.compiling import compile_plan


@dataclass(frozen=True, slots=True)
class _Arch:
    """A machine as we know it and as the model does, where its kernel's memory is, and what leads nowhere there."""

    machine: Machine
    model: kernelmodel.Machine
    base: int
    no_pointers: tuple[int, ...]
    parameters: tuple[str, ...]

    @property
    def order(self) -> str:
        """The byte order as struct writes it."""
        return "<" if self.machine.byteorder == "little" else ">"


_LITTLE = _Arch(
    X86_64,
    kernelmodel.X86_64,
    0xFFFF_8880_0000_0000,
    (0, 8, 0x7FFF_0000_1000, 0xDEAD_0000_0000_0100, 2**64 - 2, 2**64 - 4095),
    ("di", "si", "dx"),
)
# On s390x the kernel's addresses are low ones, and a process's the same: nobody can tell them apart.
_BIG = _Arch(
    MACHINES["s390x"],
    kernelmodel.Machine("big", frozenset(f"r{n}" for n in range(16)), (), None, "r2", 0, 64),
    0x1_0000_0000,
    (0, 8, 0xDEAD_0000_0000_0100, 2**64 - 2, 2**64 - 4095),
    ("r2", "r3", "r4"),
)
_ARCHES = pytest.mark.parametrize("arch", [_LITTLE, _BIG], ids=["x86_64", "s390x"])
_SKB, _DATA, _DEVICE, _NAME = 0x1000, 0x2000, 0x3000, 0x4000


@cache
def _btf(byteorder: str) -> bytes:
    """A packet's header with a field of each width, a buffer that leads to it, and a device behind another pointer."""
    return write(
        typedef("u8", "unsigned char"),
        typedef("u16", "unsigned short"),
        typedef("u32", "unsigned int"),
        typedef("u64", "unsigned long long"),
        typedef("__be16", "u16"),
        typedef("__be32", "u32"),
        typedef("__be64", "u64"),
        enum("state", DOWN=0, UP=1, LOST=7),
        c_struct("in6_addr", 16, ("bytes", "u8[16]", 0)),
        c_struct(
            "packet",
            64,
            ("mac", "u8[6]", 0),
            ("port", "__be16", 6),
            ("address", "__be32", 8),
            ("sequence", "__be64", 12),
            ("address6", "struct in6_addr", 20),
            ("low", "u8", 36, 0, 3),
            ("level", "signed char", 36, 3, 5),
        ),
        c_struct(
            "device",
            64,
            ("index", "int", 0),
            ("state", "enum state", 4),
            ("name", "char[16]", 8),
            ("alias", "const char *", 24),
            ("small", "signed char", 32),
        ),
        c_struct(
            "buffer", 64, ("length", "u32", 0), ("packet", "struct packet *", 8), ("device", "struct device *", 16)
        ),
        function("probed", "int", ("buffer", "struct buffer *"), ("number", "int"), ("port", "__be16")),
        byteorder=byteorder,
    ).data


@dataclass(frozen=True, slots=True)
class _Scene:
    """What the probe finds. Pointers are offsets from the kernel's memory, or negative: one that leads nowhere."""

    arch: _Arch
    header: bytes
    length: int
    index: int
    state: int
    small: int
    name: bytes
    number: int
    port: int
    buffer: int
    packet: int
    device: int
    alias: int
    stale: bytes

    def pointer(self, place: int) -> int:
        """The address that a pointer is."""
        return self.arch.base + place if place >= 0 else self.arch.no_pointers[~place % len(self.arch.no_pointers)]

    def moment(self) -> Moment:
        """The registers and the memory."""
        order = self.arch.order
        alias = self.pointer(self.alias)
        device = struct.pack(f"{order}ii16sQb", self.index, self.state, self.name, alias, self.small).ljust(64, b"\0")
        packet, place = self.pointer(self.packet), self.pointer(self.device)
        memory = {
            _SKB: struct.pack(f"{order}IxxxxQQ", self.length, packet, place).ljust(64, b"\0"),
            _DATA: self.header.ljust(64, b"\0"),
            _DEVICE: device,
            _NAME: self.name + b"\0",
        }
        contents = {self.arch.base + place: data for place, data in memory.items()}
        values = (self.pointer(self.buffer), self.number & 2**64 - 1, self.port)
        registers = dict(zip(self.arch.parameters, values, strict=True))
        return Moment(registers, Memory.of(contents), comm="task", machine=self.arch.model)


def _pointers(good: int) -> st.SearchStrategy[int]:
    return st.one_of(st.just(good), st.just(good), st.just(good), st.integers(-6, -1))


_NAMES = st.text("ab*?[]!7", min_size=0, max_size=6).map(str.encode)
_SCENES = partial(
    st.builds,
    _Scene,
    header=st.binary(min_size=37, max_size=37),
    length=st.integers(0, 2**32 - 1),
    index=st.integers(-(2**31), 2**31 - 1),
    state=st.sampled_from([0, 1, 2, 7]),
    small=st.integers(-128, 127),
    name=_NAMES,
    number=st.integers(-(2**31), 2**31 - 1),
    port=st.integers(0, 2**16 - 1),
    buffer=_pointers(_SKB),
    packet=_pointers(_DATA),
    device=_pointers(_DEVICE),
    alias=_pointers(_NAME),
    stale=st.binary(max_size=300),
)

_Value = int | bytes | None


@dataclass(frozen=True, slots=True)
class _Field:
    """A value: how it is written, its bytes in network order where that counts (`size`), and what it truly is."""

    name: str
    written: str
    kind: str
    size: int
    true: Callable[[_Scene], _Value]


def _in_packet(start: int, size: int) -> Callable[[_Scene], _Value]:
    def true(scene: _Scene) -> _Value:
        is_there = (scene.buffer, scene.packet) == (_SKB, _DATA)
        return int.from_bytes(scene.header[start : start + size], "big") if is_there else None

    return true


def _bits(first: int, width: int, is_signed: bool) -> Callable[[_Scene], _Value]:
    def true(scene: _Scene) -> _Value:
        if (scene.buffer, scene.packet) != (_SKB, _DATA):
            return None
        shift = first if scene.arch is _LITTLE else 8 - first - width  # big-endian C counts from the top
        value = scene.header[36] >> shift & (1 << width) - 1
        return value - (1 << width) if is_signed and value >> width - 1 else value

    return true


def _of_device(name: str) -> Callable[[_Scene], _Value]:
    return lambda scene: getattr(scene, name) if (scene.buffer, scene.device) == (_SKB, _DEVICE) else None


def _port(scene: _Scene) -> _Value:
    """A register holds the bytes as a number of this machine's."""
    return int.from_bytes(scene.port.to_bytes(2, scene.arch.machine.byteorder), "big")


def _alias(scene: _Scene) -> _Value:
    return scene.name if (scene.buffer, scene.device, scene.alias) == (_SKB, _DEVICE, _NAME) else None


_FIELDS = (
    _Field("ip_a", "buffer->packet->address", "ip", 4, _in_packet(8, 4)),
    _Field("b32_a", "buffer->packet->address", "number", 4, _in_packet(8, 4)),
    _Field("b16_p", "buffer->packet->port", "number", 2, _in_packet(6, 2)),
    _Field("b64_s", "buffer->packet->sequence", "number", 8, _in_packet(12, 8)),
    _Field("B16_r", "port", "number", 2, _port),
    _Field("ip6_a", "buffer->packet->address6", "ip6", 16, _in_packet(20, 16)),
    _Field("mac_a", "buffer->packet->mac", "mac", 6, _in_packet(0, 6)),
    _Field("low", "buffer->packet->low", "plain", 0, _bits(0, 3, False)),
    _Field("level", "buffer->packet->level", "plain", 0, _bits(3, 5, True)),
    _Field("length", "buffer->length", "plain", 0, lambda scene: scene.length if scene.buffer == _SKB else None),
    _Field("index", "buffer->device->index", "plain", 0, _of_device("index")),
    _Field("small", "buffer->device->small", "plain", 0, _of_device("small")),
    _Field("state", "buffer->device->state", "enum", 0, _of_device("state")),
    _Field("number", "number", "plain", 0, lambda scene: scene.number),
    _Field("name", "buffer->device->name", "text", 0, _of_device("name")),
    _Field("alias", "buffer->device->alias", "text", 0, _alias),
)
_LIMITS = {
    "low": (0, 7), "level": (-16, 15), "length": (0, 2**32 - 1), "index": (-(2**31), 2**31 - 1), "small": (-128, 127),
    "number": (-(2**31), 2**31 - 1), "state": (0, 2**31 - 1),
}  # fmt: skip
_ENUMERATORS = {0: "DOWN", 1: "UP", 7: "LOST"}

_OPERATORS: Mapping[str, Callable[[int, int], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "&": lambda value, mask: bool(value & mask),
}


@dataclass(frozen=True, slots=True)
class _Condition:
    """A filter as text, and whether it holds: None where that hangs on what was not read."""

    text: str
    holds: Callable[[_Scene], bool | None]


def _address(kind: str, value: int) -> str:
    if kind == "mac":
        return value.to_bytes(6, "big").hex(":")
    return str(IPv4Address(value)) if kind == "ip" else str(IPv6Address(value))


@st.composite
def _comparisons(draw: st.DrawFn, scene: _Scene) -> _Condition:
    field = draw(st.sampled_from(_FIELDS))
    left = draw(st.sampled_from([field.name, field.written]))
    true = field.true(scene)
    if field.kind == "text":
        return _text_comparison(draw, left, field, true)
    assert true is None or isinstance(true, int)
    if field.kind in ("ip", "ip6", "mac") and draw(st.booleans()):
        return _network_comparison(draw, field, true)
    bits = 8 * field.size
    low, high = _LIMITS.get(field.name, (0, (1 << bits) - 1))
    near = st.integers(-2, 2).map(lambda step: min(max((true or 0) + step, low), high))
    literal = draw(st.one_of(near, st.integers(low, high)))
    operators = [text for text in _OPERATORS if text != "&" or (field.kind == "plain" and literal >= 0)]
    sign = draw(st.sampled_from(operators))
    # What always or never holds is refused.
    is_settled = (sign in ("<=", ">") and literal == high) or (sign in ("<", ">=") and literal == low)
    if is_settled or (sign == "&" and literal == 0):
        sign = "=="
    if field.kind in ("ip", "ip6", "mac"):
        written = _address(field.kind, literal)
        left = field.name
    else:
        written = draw(st.sampled_from([str(literal), hex(literal) if literal >= 0 else str(literal)]))
        if field.kind == "number" and field.name != "B16_r":
            left = field.name if draw(st.booleans()) else field.written
        if field.kind == "enum" and literal in _ENUMERATORS and draw(st.booleans()):
            written = _ENUMERATORS[literal]
    return _Condition(f"{left}{sign}{written}", lambda found: _compared(field, sign, literal, found))


def _compared(field: _Field, sign: str, literal: int, scene: _Scene) -> bool | None:
    value = field.true(scene)
    if value is None:
        return None
    assert isinstance(value, int)
    if sign == "&":
        value &= (1 << 64) - 1
    return _OPERATORS[sign](value, literal)


def _network_comparison(draw: st.DrawFn, field: _Field, true: int | None) -> _Condition:
    bits = 8 * field.size
    length = draw(st.integers(1, bits))
    base = draw(st.one_of(st.just(true or 0), st.integers(0, (1 << bits) - 1)))
    network = base >> bits - length
    is_equal = draw(st.booleans())

    def holds(scene: _Scene) -> bool | None:
        value = field.true(scene)
        assert not isinstance(value, bytes)
        return None if value is None else (value >> bits - length == network) == is_equal

    address = _address(field.kind, network << bits - length)
    return _Condition(f"{field.name}{'==' if is_equal else '!='}{address}/{length}", holds)


def _text_comparison(draw: st.DrawFn, left: str, field: _Field, true: _Value) -> _Condition:
    assert true is None or isinstance(true, bytes)
    literal = draw(st.one_of(st.just(true or b"a"), _NAMES)).decode()
    is_equal = draw(st.booleans())

    def holds(scene: _Scene) -> bool | None:
        value = field.true(scene)
        return None if value is None else (value == literal.encode()) == is_equal

    return _Condition(f'{left}{"==" if is_equal else "!="}"{literal}"', holds)


def _not(condition: _Condition) -> _Condition:
    def holds(scene: _Scene) -> bool | None:
        value = condition.holds(scene)
        return None if value is None else not value

    return _Condition(f"!({condition.text})", holds)


def _joined(left: _Condition, right: _Condition, is_and: bool) -> _Condition:
    def holds(scene: _Scene) -> bool | None:
        values = (left.holds(scene), right.holds(scene))
        decisive = not is_and
        if decisive in values:
            return decisive
        return None if None in values else not decisive

    return _Condition(f"({left.text}){'&&' if is_and else '||'}({right.text})", holds)


def _conditions(scene: _Scene) -> st.SearchStrategy[_Condition]:
    return st.recursive(
        _comparisons(scene),
        lambda inner: st.one_of(inner.map(_not), st.builds(_joined, inner, inner, st.booleans())),
        max_leaves=4,
    )


def _arguments() -> str:
    return " ".join(f"{field.name}={field.written}" for field in _FIELDS)


def _compiled(arch: _Arch, probe: str) -> Plan:
    return compile_plan(_btf(arch.machine.byteorder), probe, machine=arch.machine)


def _ran(plan: Plan, scene: _Scene) -> tuple[Definition, Record]:
    text = next(step.text for step in plan.steps if step.path == KPROBE_EVENTS)
    definition = parse_definition(text, LINUX_6_1, scene.arch.model)
    return definition, fetch(definition, scene.moment(), scene.stale)


_settings = settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))


@_ARCHES
@_settings
@given(data=st.data())
def test_a_filter_lets_through_what_it_says(arch: _Arch, data: st.DataObject) -> None:
    scene = data.draw(_SCENES(arch=st.just(arch)))
    condition = data.draw(_conditions(scene))
    plan = _compiled(arch, f"p probed {_arguments()} f:{condition.text}")
    definition, record = _ran(plan, scene)
    text = next(step.text for step in plan.steps if step.path.endswith("/filter"))
    matches = Filter(text, definition.fields, LINUX_6_1).matches(record)
    assert matches == (condition.holds(scene) is True), text


def _shown(field: _Field, value: _Value) -> str:
    if value is None:
        return "<fault>"
    if isinstance(value, bytes):
        return '"' + value.decode() + '"'
    if field.kind in ("ip", "ip6", "mac"):
        return _address(field.kind, value)
    if field.kind == "enum":
        return _ENUMERATORS.get(value, str(value))
    return hex(value) if field.name.startswith("B") else str(value)


@_ARCHES
@_settings
@given(data=st.data())
def test_a_value_is_shown_as_it_is(arch: _Arch, data: st.DataObject) -> None:
    scene = data.draw(_SCENES(arch=st.just(arch)))
    plan = _compiled(arch, f"p probed {_arguments()}")
    definition, record = _ran(plan, scene)
    line = f"{'task':>16}-{1:<7} [000] ..... {1:>5}.000000: f0: (probed+0x0/0x10){print_record(definition, record)}\n"
    (event,) = make_decoder(plan)(line.encode("latin-1"))
    assert isinstance(event, Event)
    shown = make_formatter(arch.machine.byteorder, plain, Layout())(event).partition("(probed+0x0/0x10) ")[2]
    assert shown == " ".join(f"{field.name}={_shown(field, field.true(scene))}" for field in _FIELDS)
