"""What tests in guests share: after each of those that ask for it, tracefs is as it was before the first."""

from collections.abc import Iterator

import pytest

from tests.kernel.guest import Guest
from tests.live.helpers import tracefs_state


@pytest.fixture(scope="module")
def state_before(guest: Guest) -> str:
    """Tracefs before the first test: to ask again before each would take a second."""
    return tracefs_state(guest)


@pytest.fixture
def nothing_left(guest: Guest, state_before: str) -> Iterator[None]:
    """After the test the kernel is as it was."""
    yield
    assert tracefs_state(guest) == state_before
