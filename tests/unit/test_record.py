"""What `@record` makes behaves as a frozen dataclass does."""

from dataclasses import field, fields, replace

import pytest

from surftrace.record import record


@record
class _Point:
    """A point, and where it was read."""

    x: int
    y: int = 0
    line: int = field(default=0, compare=False)

    @property
    def sum(self) -> int:
        """Of both."""
        return self.x + self.y


@record
class _Other:
    x: int
    y: int = 0


def test_compared_by_fields() -> None:
    assert _Point(1, 2, line=3) == _Point(1, 2, line=4)
    assert _Point(1, 2) != _Point(1, 3)
    other: object = _Other(1)
    assert _Point(1) != other
    assert len({_Point(1, line=1), _Point(1, line=2), _Point(2)}) == 2


def test_shown() -> None:
    assert repr(_Point(1, line=3)) == "_Point(x=1, y=0, line=3)"


def test_is_a_dataclass_with_slots() -> None:
    assert [each.name for each in fields(_Point)] == ["x", "y", "line"]
    assert replace(_Point(1, 2), y=4).sum == 5
    assert not hasattr(_Point(1), "__dict__")
    with pytest.raises(AttributeError):
        setattr(_Point(1), "z", 3)  # noqa: B010 # mypy knows that there is no z
    match _Point(1, 2):
        case _Point(x, y):
            assert (x, y) == (1, 2)
