"""The fields of a trace event, from the text of its tracefs `format` file."""

import re

from surftrace.record import record

_FIELD = re.compile(
    r"^\tfield:(?P<declaration>[^;]+);\toffset:(?P<offset>\d+);\tsize:(?P<size>\d+);\tsigned:(?P<signed>[01]);",
    re.MULTILINE,
)
_DECLARATION = re.compile(r"^(?P<type>.*?)\s*(?P<name>[A-Za-z_]\w*)(?P<array>\[[^\]]*\])?$")


# `__print_symbolic(REC->state, { 1, "ESTABLISHED" }, ...)`, `__print_flags(REC->flags, "|", { (1 << 0), "X" }, ...)`.
# Linux include/trace/stages/stage3_trace_output.h.
_NAMED = re.compile(
    r"__print_(?:symbolic|flags)(?:_u64)?\(REC->(?P<field>\w+),"
    r'(?P<pairs>(?: *"[^"]*",)?(?: *\{[^{}"]*"[^"]*" *\},?)*)'
)
_PAIR = re.compile(r'\{([^{}"]*), *"([^"]*)" *\}')
_CONSTANT = re.compile(r"(0[xX][0-9a-fA-F]{1,16}|-?[1-9][0-9]{0,18}|0)|1<<([0-9]{1,2})")


@record
class EventField:
    """A field of an event's record. `type` is C's, with the array's brackets; `size` in bytes.

    `names` are those that the kernel's own text of the event gives to its numbers.
    """

    name: str
    type: str
    size: int
    is_signed: bool
    names: tuple[tuple[int, str], ...] = ()

    @property
    def is_string(self) -> bool:
        """Does the kernel compare this field as a string? (filter_assign_type in kernel/trace/trace_events_filter.c)"""
        return ("char" in self.type and "[" in self.type) or self.type in ("char *", "const char *")

    @property
    def is_dynamic(self) -> bool:
        """Does the record have only the place and the length of an array? (`__data_loc`, `__rel_loc`)"""
        return self.type.startswith(("__data_loc", "__rel_loc"))

    @property
    def is_number(self) -> bool:
        """Does the kernel compare this field as a number?"""
        return "[" not in self.type and self.size in (1, 2, 4, 8)


def parse_format(text: str) -> tuple[EventField, ...]:
    """The event's fields, common ones first. Source: Linux Documentation/trace/events.rst."""
    fields = []
    names = {match["field"]: _names(match["pairs"]) for match in _NAMED.finditer(text)}
    for match in _FIELD.finditer(text):
        if declaration := _DECLARATION.match(match["declaration"]):
            fields.append(
                EventField(
                    declaration["name"],
                    declaration["type"] + (declaration["array"] or ""),
                    int(match["size"]),
                    match["signed"] == "1",
                    names.get(declaration["name"], ()),
                )
            )
    return tuple(fields)


def _names(pairs: str) -> tuple[tuple[int, str], ...]:
    """The numbers and their names; a number that is written as more than a constant or `1 << N` is left out."""
    found: dict[int, str] = {}
    for text, name in _PAIR.findall(pairs):
        match = _CONSTANT.fullmatch(re.sub(r"[()\s]|(?<=\d)[uUlL]+", "", text))
        if match is not None:
            found.setdefault(int(match[1], 0) if match[1] else 1 << int(match[2]), name)
    return tuple(found.items())
