"""What a filter may compare: the kinds of field, as the kernel's filter knows them."""

from collections.abc import Mapping

from surftrace.compiler.fetch import Fetch
from surftrace.compiler.values import Prefix
from surftrace.record import record


@record
class Number:
    """A field that the kernel compares as a number of that many bits. `is_bit_field`: stored without its sign.

    `fetch` is what the field is fetched by, where parts of it can be fetched too; `enumerators` are the names of its
    values; `addend` is what is still to be added to the field for the value that was asked for. `has_bits`: it compares
    with & as well. `is_code`: it may be the address of a function.
    """

    bits: int
    is_signed: bool
    prefix: Prefix | None = None
    is_bit_field: bool = False
    fetch: Fetch | None = None
    enumerators: tuple[tuple[int, str], ...] = ()
    addend: int = 0
    has_bits: bool = True
    is_code: bool = False


@record
class Text:
    """A field that the kernel compares as a string. `is_user`: it points to one in a process's memory."""

    is_user: bool = False


@record
class Bytes:
    """An array of bytes that a prefix gives a meaning: compared piece by piece."""

    prefix: Prefix
    fetch: Fetch


@record
class Opaque:
    """A field that the kernel cannot compare with anything that makes sense: an array, a struct."""

    what: str


@record
class Unknown:
    """A field with an error of its own: nothing more is said of its comparisons."""


Operand = Number | Text | Bytes | Opaque | Unknown

# Linux kernel/trace/trace_events_filter.c, filter_pred_cpu: & with a bit mask never holds.
_CPU = Number(32, True, has_bits=False)

# What every event has: Linux kernel/trace/trace_events.c, trace_define_generic_fields and trace_define_common_fields.
COMMON_OPERANDS: Mapping[str, Operand] = {
    "common_type": Number(16, False),
    "common_flags": Number(8, False),
    "common_preempt_count": Number(8, False),
    "common_pid": Number(32, True),
    "CPU": _CPU,
    "cpu": _CPU,
    "COMM": Text(),
    "comm": Text(),
}
