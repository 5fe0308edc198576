"""The error that everything about DWARF raises."""

from surftrace.errors import SurftraceError


class DwarfError(SurftraceError):
    """A file with DWARF cannot be used."""
