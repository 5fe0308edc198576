"""A line of source, as a value."""

from surftrace.record import record


@record
class SourcePlace:
    """A line of source. `function` is what it is in; `is_inlined`: that was put into the code of the next one."""

    function: str
    file: str
    line: int
    is_inlined: bool

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"
