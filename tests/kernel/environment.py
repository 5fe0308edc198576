"""The checkout's virtual environment: `python3 -m tests.kernel.environment [EXTRA]` makes it, or brings it up to date.

Packages come from a wheelhouse in the cache folder, one for each set of requirements and Python, filled from the
package index at most once a day; so a second run, and a new clone, need no network. Runs before anything is
installed: the standard library alone.
"""

import configparser
import hashlib
import platform
import subprocess
import sys
import time
import venv
from pathlib import Path

from tests.kernel import cache

_CHECKOUT = Path(__file__).resolve().parents[2]
_VENV = _CHECKOUT / ".venv"
_VENV_PYTHON = _VENV / "bin/python"
_PIP = (str(_VENV_PYTHON), "-m", "pip", "--quiet", "--disable-pip-version-check")
_BUILD_REQUIREMENTS = ("setuptools>=64", "wheel")  # pyproject.toml's, and what older setuptools asks for


def main() -> int:
    """Install the checkout into .venv, with the requirements of the extra that is named, if any."""
    extra = sys.argv[1] if len(sys.argv) > 1 else ""
    setup = _CHECKOUT / "setup.cfg"
    # setup.cfg also says which commands and folders an installation has
    state = f"{sys.version} {platform.machine()}\n{setup.read_text()}"
    stamp = _VENV / f"installed-{extra}"
    if stamp.exists() and stamp.read_text() == state:
        return 0
    try:
        _install(extra, _requirements(setup, extra))
    except (cache.Unavailable, subprocess.CalledProcessError) as error:
        print(error, file=sys.stderr)
        return 1
    stamp.write_text(state)
    return 0


def _requirements(setup: Path, extra: str) -> tuple[str, ...]:
    config = configparser.ConfigParser()
    config.read(setup)
    lines = config["options"]["install_requires"]
    if extra:
        lines += config["options.extras_require"][extra]
    return (*_BUILD_REQUIREMENTS, *filter(None, lines.splitlines()))


def _install(extra: str, requirements: tuple[str, ...]) -> None:
    if not _VENV_PYTHON.exists() or _version(_VENV_PYTHON) != _version(Path(sys.executable)):
        venv.create(_VENV, with_pip=True, clear=True, symlinks=True)
    key = hashlib.sha256("\n".join((_version(_VENV_PYTHON), *requirements)).encode()).hexdigest()[:16]
    wheels = cache.latest(f"wheels/{key}", lambda parent: _fill(parent, requirements))
    target = f"{_CHECKOUT}[{extra}]" if extra else str(_CHECKOUT)
    subprocess.run([*_PIP, "install", "--no-index", "--find-links", str(wheels), "--editable", target], check=True)


def _fill(parent: Path, requirements: tuple[str, ...]) -> Path:
    """Fetch wheels for `requirements`, or build them, into a new entry of `parent`."""
    print(f"fetching Python packages: {', '.join(requirements)}", file=sys.stderr)
    entry = parent / time.strftime("%Y%m%d-%H%M%S")
    with cache.new_entry(entry) as new:
        done = subprocess.run([*_PIP, "wheel", "--wheel-dir", str(new), *requirements], check=False)
        if done.returncode != 0:
            raise cache.Unavailable("the package index does not answer")
    return entry


def _version(python: Path) -> str:
    print_version = "import platform, sys; print(sys.version, platform.machine())"
    return subprocess.run([python, "-c", print_version], stdout=subprocess.PIPE, text=True, check=False).stdout


if __name__ == "__main__":
    sys.exit(main())
