"""Debian's archive: what a suite offers today, and its packages unpacked, without touching the host's apt."""

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tests.kernel import cache

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
SECURITY_SUFFIX = "-security"

# Every suite counts alike, so the highest version wins, also out of experimental, which apt ranks last.
PREFERENCES = "Package: *\nPin: release o=Debian\nPin-Priority: 500\n"


class ArchiveError(cache.Unavailable):
    """The archive did not answer, or not with what was asked for."""


@dataclass(frozen=True, slots=True)
class Package:
    """A binary package of an exact version."""

    name: str
    version: str


@dataclass(frozen=True, slots=True)
class Archive:
    """An apt of its own in `folder`, which knows only `suites` and one architecture, and nothing as installed."""

    folder: Path
    suites: tuple[str, ...]
    architecture: str = "amd64"

    def update(self) -> None:
        """Fetch the lists of all suites; raise ArchiveError unless every suite answered."""
        for name in ("lists/partial", "cache/archives/partial"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        (self.folder / "status").touch()
        (self.folder / "preferences").write_text(PREFERENCES)
        lines = (f"deb [signed-by={KEYRING}] {mirror(suite)} {suite} main\n" for suite in self.suites)
        (self.folder / "sources.list").write_text("".join(lines))
        self._apt("apt-get", "update", "-o", "APT::Update::Error-Mode=any")

    def kernel_packages(self, meta_package: str) -> tuple[Package, ...]:
        """Return the packages that hold the kernel of `meta_package`: the image, and since 7.1 its parts."""
        listing = self._apt("apt-cache", "depends", "--recurse", "--important", meta_package)
        # Debian's 7.1 moved vmlinuz to linux-binary-RELEASE and the modules to linux-modules-RELEASE.
        names = re.findall(r"^(linux-(?:image|binary|modules)-\d\S*)$", listing, re.MULTILINE)
        names = [name for name in dict.fromkeys(names) if name != meta_package]
        if not names:
            raise ArchiveError(f"{meta_package} of {', '.join(self.suites)} depends on no kernel")
        return tuple(Package(name, self._candidate(name)) for name in names)

    def closure(self, names: Sequence[str]) -> tuple[Package, ...]:
        """Return the packages `names` and all that they depend on."""
        plan = self._apt("apt-get", "install", "--simulate", "--no-install-recommends", *names)
        found = re.findall(r"^Inst (\S+) \((\S+)", plan, re.MULTILINE)
        return tuple(Package(name, version) for name, version in sorted(found))

    def _candidate(self, name: str) -> str:
        policy = self._apt("apt-cache", "policy", name)
        found = re.search(r"Candidate: (\S+)", policy)
        if not found or found[1] == "(none)":
            raise ArchiveError(f"{name} has no version in {', '.join(self.suites)}")
        return found[1]

    def download(self, packages: Sequence[Package], into: Path) -> None:
        """Fetch the files of `packages`, which apt verifies, into a folder."""
        wanted = [f"{package.name}={package.version}" for package in packages]
        self._apt("apt-get", "download", *wanted, cwd=into)

    def unpack(self, packages: Sequence[Package], into: Path) -> None:
        """Download `packages` and unpack their files below `into`."""
        downloads = into / "downloads"
        downloads.mkdir(parents=True)
        self.download(packages, downloads)
        for deb in sorted(downloads.glob("*.deb")):
            _output("dpkg-deb", "-x", str(deb), str(into))
            deb.unlink()
        downloads.rmdir()

    def _apt(self, program: str, *argv: str, cwd: Path | None = None) -> str:
        settings = {
            "APT::Architecture": self.architecture,
            "APT::Architectures": self.architecture,
            "Dir::Etc::sourcelist": self.folder / "sources.list",
            "Dir::Etc::sourceparts": "-",
            "Dir::Etc::preferences": self.folder / "preferences",
            "Dir::Etc::preferencesparts": "-",
            "Dir::State::lists": self.folder / "lists",
            "Dir::State::status": self.folder / "status",
            "Dir::Cache": self.folder / "cache",
            "APT::Sandbox::User": "",  # the cache is the user's own: _apt could not read it
            "Acquire::Languages": "none",
            "Acquire::Check-Valid-Until": "false",  # mirrors of sid and experimental lag behind
            "Acquire::Retries": "1",
            "Acquire::http::Timeout": "20",
        }
        options = [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]
        return _output(program, *options, *argv, cwd=cwd)


def mirror(suite: str) -> str:
    """Return the address from which the host's apt fetches archives such as that of `suite`."""
    archive = "debian-security" if suite.endswith(SECURITY_SUFFIX) else "debian"
    targets = _output("apt-get", "indextargets", "--no-release-info", "--format", "$(REPO_URI)")
    known = (uri for uri in targets.split() if urlsplit(uri).path.strip("/") == archive)
    return next(known, f"http://deb.debian.org/{archive}")


def _output(*argv: str, cwd: Path | None = None) -> str:
    done = subprocess.run(argv, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ArchiveError(f"{argv[0]} failed: {done.stderr.strip()}")
    return done.stdout
