"""Options of the tests, and the `guest` fixtures: each real kernel, booted once for all the tests that use it."""

from collections.abc import Iterable, Iterator

import pytest

from tests.kernel import images, qemu
from tests.kernel.guest import LIFE_LIMIT_S, Guest
from tests.live.limits import SOAK_S


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the flag that rewrites golden cases."""
    parser.addoption("--update-cases", action="store_true", help="write what is seen into tests/cases/*.test")


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker that chooses kernels; let no worker of pytest-xdist outlive a killed pytest."""
    config.addinivalue_line("markers", "kernels(*names): use the `guest` fixture with these kernels only")
    if hasattr(config, "workerinput"):
        qemu.die_with_parent()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that uses `guest` on every kernel, or on those its `kernels` marker names."""
    if "guest" not in metafunc.fixturenames:
        return
    marker = metafunc.definition.get_closest_marker("kernels")
    names = marker.args if marker else images.NAMES
    if unknown := set(names) - set(images.NAMES):
        raise pytest.UsageError(f"{metafunc.definition.nodeid} asks for unknown kernels: {unknown}")
    metafunc.parametrize("guest", _grouped(names), indirect=True, scope="session")


def _grouped(names: Iterable[str]) -> list[object]:
    """Parameters that give all the tests of a kernel to one pytest-xdist worker, so that only one boots it."""
    return [pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in names]


@pytest.fixture(scope="session")
def guest(request: pytest.FixtureRequest) -> Iterator[Guest]:
    """Return the running guest with the kernel of the test's parameter."""
    with Guest(images.fetch(request.param), life_limit_s=LIFE_LIMIT_S + 2 * SOAK_S) as booted:
        yield booted


@pytest.fixture(scope="session", params=_grouped(images.ARM64_NAMES))
def arm64_guest(request: pytest.FixtureRequest) -> Iterator[Guest]:
    """Return the running guest with an arm64 kernel; surftrace itself does not run there."""
    with Guest(images.fetch(request.param)) as booted:
        yield booted
