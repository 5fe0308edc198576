"""README, docs/ and man pages: every command in them compiles, every option is described, troff has no complaint."""

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from surftrace import __version__
from surftrace.cli.main import main
from surftrace.cli.options import SHORT_HELP, parse_options
from tests.kernel import images
from tests.oracle import dbg

ROOT = Path(__file__).parent.parent
MAN = ROOT / "man/surftrace.8"
LANGUAGE = ROOT / "man/surftrace-probes.7"
README = ROOT / "README.md"
PAGES = (README, MAN, LANGUAGE, *sorted(ROOT.glob("docs/*.md")))

_PRINT_CODE = {"-F", "-l"}
_FIND = ("list", "show")

# groff_char(7): the escapes that the pages use for characters of a command.
_TROFF = {r"\-": "-", r"\(aq": "'", r"\(ti": "~", r"\e": "\\", r"\&": ""}


def plain(troff: str) -> str:
    """Return the text of a line with its fonts taken away."""
    text = re.sub(r"\\f(?:[BIRP]|\[\w*\])", "", troff)
    return re.sub("|".join(map(re.escape, _TROFF)), lambda escape: _TROFF[escape[0]], text)


def _blocks(path: Path) -> list[str]:
    """Return the code blocks of a page: fenced in Markdown, between .EX and .EE in troff."""
    text = path.read_text()
    if path.suffix == ".md":
        return re.findall(r"^```\w*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [plain(block) for block in re.findall(r"^\.EX\n(.*?)^\.EE$", text, re.MULTILINE | re.DOTALL)]


def _commands(block: str) -> Iterator[list[str]]:
    """Yield the arguments of each command line that starts with `surftrace`; a quote may span lines."""
    lines = iter(block.splitlines())
    for line in lines:
        if not line.startswith("surftrace "):
            continue
        while _is_open(line):
            line += "\n" + next(lines)
        yield shlex.split(line, comments=True)[1:]


def _is_open(line: str) -> bool:
    try:
        shlex.split(line, comments=True)
    except ValueError:
        return True
    return False


# A remark stands behind some spaces there.
_HELP_BLOCK = re.sub(r" {3,}.*", "", re.sub("^ +", "", SHORT_HELP, flags=re.MULTILINE))


def _saved_scripts(path: Path) -> dict[str, str]:
    """Return the probe files that a page shows, by name: a block with a line `# FILE: NAME`."""
    found = (re.search(r"^# FILE: (\S+)$", block, re.MULTILINE) for block in _blocks(path))
    return {match[1]: match.string for match in found if match}


def commands(path: Path) -> list[list[str]]:
    """Return the arguments of each surftrace that a page shows."""
    return [command for block in _blocks(path) for command in _commands(block)]


_EXAMPLES = [
    *(pytest.param(path, each, id=f"{path.name} {shlex.join(each)}") for path in PAGES for each in commands(path)),
    *(pytest.param(README, each, id=f"help {shlex.join(each)}") for each in _commands(_HELP_BLOCK)),
]


def _types(command: list[str]) -> list[str]:
    """Return the options that stand for what a trace finds by itself: BTF of kernel and modules, the kernel's DWARF."""
    if "-b" in command:
        return []
    image = images.fetch("6.1")
    dwarf = ["-v", str(dbg.fetch(image))]
    if _PRINT_CODE.intersection(command):
        return dwarf
    return ["-b", "vmlinux.btf", "-b", str(next(image.modules.rglob("sch_tbf.ko"))), *dwarf]


@pytest.mark.parametrize(("path", "command"), _EXAMPLES)
def test_an_example_compiles(
    path: Path, command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, text in _saved_scripts(path).items():
        (tmp_path / name).write_text(text)
    kernel = "arm64" if "aarch64" in command else "6.1"
    (tmp_path / "vmlinux.btf").symlink_to(images.fetch(kernel).btf)
    (tmp_path / "sch_htb.ko").symlink_to(dbg.fetch_module(images.fetch("6.1")))
    if any("./orders:" in word for word in command):
        source = ROOT / "tests/programs/orders.c"
        subprocess.run(["gcc", "-g", "-O1", "-o", tmp_path / "orders", source], check=True)
    monkeypatch.chdir(tmp_path)
    is_script, is_explained = "-o" in command, "--explain" in command
    is_shown = not (is_script or is_explained or _PRINT_CODE.intersection(command) or command[0] in _FIND)
    status = main([*command, *_types(command), *(("-S",) if is_shown else ())])
    shown = capsys.readouterr()
    assert status == 0
    # Offline not all events' fields are known, and a glob matches what has not the arguments: no other warning comes.
    assert shown.err.count("warning:") == shown.err.count("are not known here") + shown.err.count("are left out")
    assert shown.out or is_script
    assert shown.out.startswith("mkdir ") == is_shown


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_page_has_examples(path: Path) -> None:
    assert sum(example.values[0] == path for example in _EXAMPLES) >= 8


@pytest.mark.parametrize("path", [path for path in PAGES if path.suffix == ".md"], ids=lambda path: path.name)
def test_links_to_files_lead_somewhere(path: Path) -> None:
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", path.read_text())
    assert [target for target in targets if not (path.parent / target).exists()] == []


def _options(invocation: str) -> set[str]:
    return set(re.findall(r"(?<![\w-])--?[a-zA-Z][\w-]*", invocation))


def test_the_man_page_has_exactly_the_options_of_the_parser(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit):
        parse_options(["--help"])
    helped = re.findall(r"^  (-.*?)(?:  |$)", capsys.readouterr().out, re.MULTILINE)
    section = MAN.read_text().partition("\n.SH OPTIONS\n")[2].partition("\n.SH ")[0]
    described = re.findall(r"^\.TP\n\.\w+ (.*)$", section, re.MULTILINE)
    assert [_options(plain(text)) for text in described] == [_options(text) for text in helped]


@pytest.mark.parametrize("path", [MAN, LANGUAGE], ids=lambda path: path.name)
def test_a_man_page_has_the_version_of_the_package(path: Path) -> None:
    title = next(line for line in path.read_text().splitlines() if line.startswith(".TH "))
    assert shlex.split(title)[4] == f"surftrace {__version__}"


def test_the_changelog_begins_with_the_version_of_the_package() -> None:
    versions = re.findall(r"^## \[?(\d[^\]\s]*)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert versions[0] == __version__


def test_man_pages_are_installed() -> None:
    """setup.cfg names each page for its section, and nothing else."""
    section = (ROOT / "setup.cfg").read_text().partition("[options.data_files]\n")[2].partition("\n\n")[0]
    installed = dict(line.split(" = ") for line in section.splitlines())
    pages = sorted((ROOT / "man").iterdir())
    assert installed == {f"share/man/man{page.suffix[1:]}": f"man/{page.name}" for page in pages}


@pytest.mark.parametrize("path", [MAN, LANGUAGE], ids=lambda path: path.name)
def test_a_man_page_has_no_warnings(path: Path) -> None:
    checked = subprocess.run(
        ["mandoc", "-T", "lint", "-W", "warning", path],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_what_is_promised_is_tested() -> None:
    named = re.findall(r"`(tests/\S+?)`", (ROOT / "SECURITY.md").read_text())
    assert len(named) > 10
    assert [path for path in named if not (ROOT / path).exists()] == []
