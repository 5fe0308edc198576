"""Numbers as people read them: names of values, of flags, of errors."""

import pytest

from surftrace.compiler.fetch import Fetch
from surftrace.compiler.resolved import Field
from surftrace.lang.source import Span
from surftrace.output.numbers import error_of, name_of, show_field

_STATES = tuple((number, f"S{number}") for number in range(6))
_FLAGS = ((0, "NONE"), (1, "A"), (2, "B"), (4, "C"), (3, "AB"), (0x80, "H"))


@pytest.mark.parametrize(
    ("enumerators", "number", "name"),
    [
        (_STATES, 3, "S3"),
        (_STATES, 6, ""),  # numbers up to the last one are no flags
        (_FLAGS, 0, "NONE"),
        (_FLAGS, 3, "AB"),
        (_FLAGS, 5, "A|C"),
        (_FLAGS, 0x81, "A|H"),
        (_FLAGS, 0x45, "A|C|0x40"),
        (_FLAGS, 0x40, ""),
        (_FLAGS, -3, ""),
        (((1, "A"), (2, "B")), 3, ""),  # two bits may be a count of two
        (((1, "A"), (2, "B"), (4, "C"), (9, "X")), 5, ""),  # a value with a bit of its own
        (((-1, "BAD"), (1, "A"), (2, "B"), (4, "C")), 5, ""),
        ((), 5, ""),
    ],
)
def test_names(enumerators: tuple[tuple[int, str], ...], number: int, name: str) -> None:
    assert name_of(enumerators, number) == name


# Linux include/uapi/asm-generic/errno-base.h, include/linux/errno.h.
@pytest.mark.parametrize(
    ("number", "name"),
    [
        (-1, "EPERM"),
        (-2, "ENOENT"),
        (-512, "ERESTARTSYS"),
        (-517, "EPROBE_DEFER"),
        (-4000, ""),
        (-5000, ""),
        (0, ""),
        (2, ""),
        ((1 << 64) - 2, "ENOENT"),
        ((1 << 64) - 4096, ""),
        (0xFFFF888000000000, ""),
    ],
)
def test_errors(number: int, name: str) -> None:
    assert error_of(number) == name


@pytest.mark.parametrize(
    ("type_", "number", "has_errors", "shown"),
    [
        ("s32", -2, True, "-2(-ENOENT)"),
        ("s32", -2, False, "-2"),
        ("s64", 7, True, "7"),
        ("x64", (1 << 64) - 13, True, "0xfffffffffffffff3(-EACCES)"),
        ("x64", 0xFFFF888000000000, True, "0xffff888000000000"),
    ],
)
def test_results(type_: str, number: int, has_errors: bool, shown: str) -> None:
    field = Field("x", Fetch("$retval", (), type_), None, Span(0, 1), has_errors=has_errors)
    assert show_field(field, number, "little") == shown
