"""A long run's processes get a limit of memory: what runs away meets MemoryError, not the machine's end."""

import resource
from collections.abc import Iterator

import pytest

from tests.fuzz.limits import FACTOR, MAX_ADDRESS_SPACE


@pytest.fixture(scope="session", autouse=True)
def _limited_address_space() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    if FACTOR:
        resource.setrlimit(resource.RLIMIT_AS, (MAX_ADDRESS_SPACE, hard))
    yield
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
