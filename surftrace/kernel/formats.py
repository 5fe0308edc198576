"""The fields of a trace event, from the text of its tracefs `format` file."""

import re

from surftrace.record import record

_FIELD = re.compile(
    r"^\tfield:(?P<declaration>[^;]+);\toffset:(?P<offset>\d+);\tsize:(?P<size>\d+);\tsigned:(?P<signed>[01]);",
    re.MULTILINE,
)
_DECLARATION = re.compile(r"^(?P<type>.*?)\s*(?P<name>[A-Za-z_]\w*)(?P<array>\[[^\]]*\])?$")


@record
class EventField:
    """A field of an event's record. `type` is C's, with the array's brackets; `size` in bytes."""

    name: str
    type: str
    size: int
    is_signed: bool

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
    for match in _FIELD.finditer(text):
        if declaration := _DECLARATION.match(match["declaration"]):
            fields.append(
                EventField(
                    declaration["name"],
                    declaration["type"] + (declaration["array"] or ""),
                    int(match["size"]),
                    match["signed"] == "1",
                )
            )
    return tuple(fields)
