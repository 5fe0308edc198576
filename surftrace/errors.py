"""The root of every error that surftrace raises on purpose; `cli` alone catches it."""


class SurftraceError(Exception):
    """Something that the user can read and act upon: `message`, and `hints` on what to do."""

    exit_status = 2

    def __init__(self, message: str, *hints: str) -> None:
        super().__init__(message)
        self.message = message
        self.hints = hints
