"""README, docs/ and man pages: every command in them compiles, every option is described, troff has no complaint."""

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from surftrace import __version__
from surftrace.cli.main import COMMANDS, main
from surftrace.cli.options import SHORT_HELP
from tests.kernel import images
from tests.oracle import dbg

ROOT = Path(__file__).parent.parent
MAN = ROOT / "man/surftrace.8"
LANGUAGE = ROOT / "man/surftrace-probes.7"
README = ROOT / "README.md"
MAN_PAGES = tuple(sorted((ROOT / "man").iterdir()))
# Of each command, its page.
_PAGES_OF_COMMANDS = {path.stem.partition("-")[2]: path for path in MAN_PAGES if path.match("surftrace-*.8")}
PAGES = (README, *MAN_PAGES, *sorted(ROOT.glob("docs/*.md")))

_PRINT_CODE = {"-F", "-l"}
# Commands that print, each with the kinds of files that its examples need.
_PRINT = {"list": "btf dwarf", "show": "btf dwarf", "lines": "dwarf", "vars": "dwarf", "completion": ""}
# Others need tracefs: tests/live runs them.
_LIVE = ("clean",)

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
        words = shlex.split(line, comments=True)[1:]
        yield words[: words.index(">")] if ">" in words else words


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
    *(
        pytest.param(path, each, id=f"{path.name} {shlex.join(each)}")
        for path in PAGES
        for each in commands(path)
        if each[0] not in _LIVE
    ),
    *(pytest.param(README, each, id=f"help {shlex.join(each)}") for each in _commands(_HELP_BLOCK)),
]


def _types(command: list[str]) -> list[str]:
    """Return the options that stand for what a trace finds by itself: BTF of kernel and modules, the kernel's DWARF."""
    if "-b" in command:
        return []
    image = images.fetch("6.1")
    dwarf = ["-v", str(dbg.fetch(image))]
    needed = "dwarf" if _PRINT_CODE.intersection(command) else _PRINT.get(command[0], "btf dwarf")
    btf = ["-b", "vmlinux.btf", "-b", str(next(image.modules.rglob("sch_tbf.ko")))]
    return [*(btf if "btf" in needed else []), *(dwarf if "dwarf" in needed else [])]


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
    is_shown = not (is_script or is_explained or _PRINT_CODE.intersection(command) or command[0] in _PRINT)
    status = main([*command, *_types(command), *(("-S",) if is_shown else ())])
    shown = capsys.readouterr()
    assert status == 0
    # Offline not all events' fields are known, and a glob matches what has not the arguments: no other warning comes.
    assert shown.err.count("warning:") == shown.err.count("are not known here") + shown.err.count("are left out")
    assert shown.out or is_script
    assert shown.out.startswith("mkdir ") == is_shown


_OF_COMMANDS = [path for path in PAGES if path.name != "python.md"]


@pytest.mark.parametrize("path", _OF_COMMANDS, ids=lambda path: path.name)
def test_a_page_has_examples(path: Path) -> None:
    assert len(commands(path)) >= (2 if path in _PAGES_OF_COMMANDS.values() else 8)


@pytest.mark.parametrize("path", [path for path in PAGES if path.suffix == ".md"], ids=lambda path: path.name)
def test_links_to_files_lead_somewhere(path: Path) -> None:
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", path.read_text())
    assert [target for target in targets if not (path.parent / target).exists()] == []


def _options(invocation: str) -> set[str]:
    return set(re.findall(r"(?<![\w-])--?[a-zA-Z][\w-]*", invocation))


@pytest.mark.parametrize("command", ["", *_PAGES_OF_COMMANDS])
def test_a_man_page_has_exactly_the_options_of_the_parser(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit):
        main([*command.split(), "--help"])
    helped = re.findall(r"^  (-.*?)(?:  |$)", capsys.readouterr().out, re.MULTILINE)
    page = _PAGES_OF_COMMANDS.get(command, MAN)
    section = page.read_text().partition("\n.SH OPTIONS\n")[2].partition("\n.SH ")[0]
    described = re.findall(r"^\.T[PQ]\n\.\w+ (.*)$", section, re.MULTILINE)
    assert [_options(plain(text)) for text in described] == [_options(text) for text in helped]


def test_surftrace_8_names_the_page_of_each_command() -> None:
    section = plain(MAN.read_text().partition("\n.SH COMMANDS\n")[2].partition("\n.SH ")[0])
    assert sorted(re.findall(r"^\.BR surftrace-(\w+) \(8\)$", section, re.MULTILINE)) == sorted(_PAGES_OF_COMMANDS)
    assert _PAGES_OF_COMMANDS.keys() == COMMANDS.keys()


@pytest.mark.parametrize("path", MAN_PAGES, ids=lambda path: path.name)
def test_a_man_page_has_the_version_of_the_package(path: Path) -> None:
    title = next(line for line in path.read_text().splitlines() if line.startswith(".TH "))
    assert shlex.split(title)[4] == f"surftrace {__version__}"


def test_the_changelog_begins_with_the_version_of_the_package() -> None:
    versions = re.findall(r"^## \[?(\d[^\]\s]*)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert versions[0] == __version__


def test_man_pages_are_installed() -> None:
    """setup.cfg names each page for its section."""
    section = (ROOT / "setup.cfg").read_text().partition("[options.data_files]\n")[2].partition("\n\n")[0]
    places = dict(line.split(" = ") for line in section.splitlines())
    installed = {page: place for place, pattern in places.items() for page in ROOT.glob(pattern)}
    pages = {page: place for page, place in installed.items() if page.parent.name == "man"}
    assert pages == {page: f"share/man/man{page.suffix[1:]}" for page in MAN_PAGES}


@pytest.mark.parametrize("path", MAN_PAGES, ids=lambda path: path.name)
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
