"""Every golden case gives what its file says; `pytest tests/cases --update-cases` writes what is seen into it."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from surftrace.cli.main import main
from tests.cases.casefile import Case, parse_cases, update
from tests.cases.kernels import write_kernels

_FOLDER = Path(__file__).parent
_COMMANDS = ("list", "show")
_FILES = sorted(_FOLDER.glob("*.test"))
_CASES = [
    pytest.param(path, case, id=f"{path.stem}-{case.name}") for path in _FILES for case in parse_cases(path.read_text())
]


@pytest.fixture(scope="session")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The BTF file of each kernel that cases name."""
    return write_kernels(tmp_path_factory.mktemp("kernels"))


def _argv(case: Case, kernels: dict[str, Path]) -> list[str]:
    words = case.argv
    for index, word in enumerate(words[:-1]):
        if word == "-b" and words[index + 1] in kernels:
            words[index + 1] = str(kernels[words[index + 1]])
    return words if {"-S", "-o"} & set(words) or words[0] in _COMMANDS else ["-S", *words]


def _without_paths(text: str, kernels: dict[str, Path]) -> str:
    for name, path in kernels.items():
        text = text.replace(str(path), name)
    return "".join(f"{line.rstrip()}\n" for line in text.splitlines())


@pytest.mark.parametrize(("path", "case"), _CASES)
def test_case(
    path: Path,
    case: Case,
    kernels: dict[str, Path],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    pytestconfig: pytest.Config,
) -> None:
    monkeypatch.chdir(_FOLDER)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("PATH", str(kernels["tuprobe"].parent), prepend=os.pathsep)
    status = main([*_argv(case, kernels), "-a", "x86_64"] if "-a" not in case.argv else _argv(case, kernels))
    stdout, stderr = capsys.readouterr()
    seen = replace(case, stdout=_without_paths(stdout, kernels), stderr=_without_paths(stderr, kernels), status=status)
    if pytestconfig.getoption("--update-cases"):
        update(path, {case.name: seen})
        return
    assert seen == case


def test_names_are_unique() -> None:
    names = [param.id for param in _CASES]
    assert len(names) == len(set(names))
    assert len(names) > 100
