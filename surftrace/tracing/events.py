"""What a trace is made of once it is decoded: events with typed values, stacks, losses."""

from typing import TypeAlias

from surftrace.compiler.resolved import Field
from surftrace.dwarf.sourceplace import SourcePlace
from surftrace.record import record

Content: TypeAlias = int | bytes | None
# The lines of source of each frame of a stack, innermost first.
Lines: TypeAlias = tuple[tuple[SourcePlace, ...], ...]


@record
class Value:
    """A field's value: a number as the kernel fetched it, a string's bytes, or None where nothing was read.

    An array's is a tuple of these. A `symbol` is the kernel's text for an address, bytes as a string is.
    """

    field: Field
    content: "Content | tuple[Content, ...]"


@record
class Origin:
    """Where and when: the columns before an event's name, as the kernel prints them."""

    task: bytes
    pid: int
    cpu: int
    flags: str
    timestamp: str

    @property
    def time_ns(self) -> int:
        """Nanoseconds on the trace's clock, since boot."""
        seconds, _, fraction = self.timestamp.partition(".")
        return int(seconds) * 1_000_000_000 + int(f"{fraction:0<9}"[:9])


@record
class Event:
    """An event of the plan. `place` is what a probe prints in parentheses.

    `text` is the kernel's own text after the name: of events that are not ours, and of a probe whose strings make it
    impossible to tell which text belongs to which field; `values` is empty then. `stack` are the functions that led
    there, innermost first, where they were asked for, `lines` the lines of source of each, where DWARF tells any.
    `user_stack` are those of the task's program that led into the kernel.
    """

    origin: Origin
    name: str
    place: str
    values: tuple[Value, ...]
    text: bytes
    stack: tuple[str, ...] = ()
    lines: Lines = ()
    user_stack: tuple[str, ...] = ()


@record
class Stack:
    """The kernel's stack, or the task's own, of the CPU's event before, innermost frame first, as the trace has it."""

    origin: Origin
    frames: tuple[str, ...]
    is_user: bool = False


@record
class Lost:
    """So many events of a CPU were overwritten before they were read."""

    cpu: int
    count: int


@record
class Unparsed:
    """Text of the trace that is none of these."""

    text: bytes


Record: TypeAlias = Event | Stack | Lost | Unparsed
