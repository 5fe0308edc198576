"""Numbers as people read them: an enum's names, flags, errors, fractions, as the field's type and name ask."""

import errno
from functools import cache
from math import isfinite
from struct import Struct

from surftrace.compiler.resolved import Field
from surftrace.compiler.values import ByteOrder, show_number
from surftrace.output.escape import escape

_FLOAT, _DOUBLE = Struct("<f"), Struct("<d")
# C's FLT_DIG, which every number has, to FLT_DECIMAL_DIG, which tell every one.
_FLOAT_DIGITS = range(6, 10)
_WORDS = 1 << 64
# Linux include/linux/err.h, MAX_ERRNO.
_MAX_ERRNO = 4095
# Errors that no process sees: Linux include/linux/errno.h.
_INNER_ERRORS = {
    512: "ERESTARTSYS", 513: "ERESTARTNOINTR", 514: "ERESTARTNOHAND", 515: "ENOIOCTLCMD", 516: "ERESTART_RESTARTBLOCK",
    517: "EPROBE_DEFER", 518: "EOPENSTALE", 519: "ENOPARAM", 521: "EBADHANDLE", 522: "ENOTSYNC", 523: "EBADCOOKIE",
    524: "ENOTSUPP", 525: "ETOOSMALL", 526: "ESERVERFAULT", 527: "EBADTYPE", 528: "EJUKEBOX", 529: "EIOCBQUEUED",
    530: "ERECALLCONFLICT", 531: "ENOGRACE",
}  # fmt: skip
# An enum of so many single bits, and not of all numbers up to the last, is one of flags.
_MIN_FLAGS = 3


def show_field(field: Field, number: int, byteorder: ByteOrder) -> str:
    """A field's number as its name, its type and its format letter ask."""
    if field.prefix is not None:
        return show_number(field.prefix, number, byteorder)
    if field.letter == "f":
        return _show_float(float_of(field, number), not field.fetch.type.startswith("u32"))
    number = plain_number(field, number)
    if field.enumerators and (name := name_of(field.enumerators, number)):
        return name
    if field.fetch.type.startswith("char"):
        return f"'{escape(chr(number), chr(39))}'"
    shown = hex(number) if field.letter == "x" or field.fetch.type.startswith("x") else str(number)
    if field.has_errors and (error := error_of(number)):
        return f"{shown}(-{error})"
    return shown


def plain_number(field: Field, number: int) -> int:
    """What a field's number is by its type: a bit field with its sign, an address with what is added to it."""
    if field.bit_width is not None and field.letter == "s":
        sign = 1 << field.bit_width - 1
        number = (number ^ sign) - sign
    return (number + field.addend) % _WORDS if field.addend else number


def name_of(enumerators: tuple[tuple[int, str], ...], number: int) -> str:
    """The enumerator of that value, or those of its bits where the enum is one of flags; empty where there is none."""
    for value, name in enumerators:
        if value == number:
            return name
    flags = _flags(enumerators)
    names = [name for value, name in flags if number & value] if number > 0 else []
    rest = number & ~sum(value for value, _ in flags if number & value)
    return "|".join([*names, *([hex(rest)] if rest else [])]) if names else ""


@cache
def _flags(enumerators: tuple[tuple[int, str], ...]) -> tuple[tuple[int, str], ...]:
    """The single bits of an enum of flags; none of any other enum."""
    values = {value for value, _ in enumerators}
    bits = tuple((value, name) for value, name in enumerators if value > 0 and not value & (value - 1))
    are_all = sum(value for value, _ in bits)
    is_flags = len(bits) >= _MIN_FLAGS and all(value >= 0 and not value & ~are_all for value in values)
    return bits if is_flags and len(values) <= max(values) - min(values) else ()


def error_of(number: int) -> str:
    """The name of the error that a result below zero is, also as an address (ERR_PTR); empty where it is none."""
    number = number - _WORDS if number >= _WORDS - _MAX_ERRNO else number
    if not -_MAX_ERRNO <= number < 0:
        return ""
    return errno.errorcode.get(-number) or _INNER_ERRORS.get(-number, "")


def float_of(field: Field, bits: int) -> float:
    """The floating-point number whose bits were fetched."""
    form = _FLOAT if field.fetch.type.startswith("u32") else _DOUBLE
    return float(form.unpack(bits.to_bytes(form.size, "little"))[0])


def _show_float(number: float, is_double: bool) -> str:
    """The shortest decimal that is read as the same number."""
    if is_double or not isfinite(number):
        return repr(number)
    texts = (f"{number:.{digits}g}" for digits in _FLOAT_DIGITS)
    return repr(float(next((each for each in texts if _FLOAT.pack(float(each)) == _FLOAT.pack(number)), repr(number))))
