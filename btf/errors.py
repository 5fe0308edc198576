"""The one exception of this package."""


class BtfError(Exception):
    """A file that is not BTF, is damaged, or uses what this reader does not know."""
