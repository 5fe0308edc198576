"""surftrace: one C-like line in, live decoded kernel events out."""

__version__ = "0.1.0"
