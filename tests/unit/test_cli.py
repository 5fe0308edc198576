"""The command as a shell sees it: options, exit statuses, streams, colour."""

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from surftrace import __version__
from surftrace.cli.main import main
from surftrace.cli.options import parse_options
from surftrace.errors import SurftraceError
from surftrace.output.color import Role, colored, plain
from tests.unit.compiling import shapes_btf

_PROBE = "p plain n=n"
_ROOT = Path(__file__).parents[2]
_OTHER_MACHINE = "x86_64" if os.uname().machine == "aarch64" else "aarch64"
# The environment of a usual shell: buffered streams, no colour chosen.
_ENVIRONMENT = {
    key: value
    for key, value in os.environ.items()
    if key not in ("PYTHONUNBUFFERED", "NO_COLOR", "PYTHONIOENCODING", "COLUMNS")
}


@pytest.fixture(scope="session")
def btf(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The path of the golden cases' kernel `shapes`."""
    path = tmp_path_factory.mktemp("cli") / "shapes.btf"
    path.write_bytes(shapes_btf())
    return str(path)


def _run(*argv: str | bytes, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "surftrace", *argv],
        cwd=_ROOT,
        env=_ENVIRONMENT | environment,
        capture_output=True,
        encoding="utf-8",
        errors="surrogateescape",
        timeout=20,
    )


# Usage errors: (id, arguments, what the message says)
_USAGE: tuple[tuple[str, list[str], str], ...] = (
    ("nothing", [], "no probe given"),
    ("options-only", ["-S"], "no probe given"),
    ("unknown-option", ["--nonsense", _PROBE], "--nonsense"),
    ("abbreviated-option", ["--inst", "a", _PROBE], "--inst"),
    ("missing-value", [_PROBE, "-c"], "-c"),
    ("instance-with-a-dash", ["--instance", "a-b", _PROBE], "'a-b' is no name"),
    ("instance-climbs", ["--instance", "../x", _PROBE], "'../x' is no name"),
    ("instance-empty", ["--instance", "", _PROBE], "'' is no name"),
    ("instance-too-long", ["--instance", "x" * 64, _PROBE], "is no name"),
    ("instance-newline", ["--instance", "a\n", _PROBE], "is no name"),
    ("instance-of-everybody", ["--instance", "kprobes", _PROBE], "'kprobes' is an event group for everybody"),
    ("count-zero", ["-c", "0", _PROBE], "'0' is not a whole number above 0"),
    ("count-negative", ["-c-1", _PROBE], "'-1' is not a whole number above 0"),
    ("count-fraction", ["-c", "1.5", _PROBE], "'1.5' is not"),
    ("count-other-digits", ["-c", "\u0661", _PROBE], "is not a whole number"),
    ("time-zero", ["-t", "0", _PROBE], "'0' is not a number of seconds above 0"),
    ("time-negative", ["-t-1", _PROBE], "'-1' is not"),
    ("time-not-a-number", ["-t", "nan", _PROBE], "'nan' is not"),
    ("time-endless", ["-t", "inf", _PROBE], "'inf' is not"),
    ("time-word", ["-t", "5s", _PROBE], "'5s' is not"),
    ("color", ["--color", "pink", _PROBE], "pink"),
    ("script-and-show", ["-S", "-o", "x", _PROBE], "choose one"),
    ("release-in-a-trace", ["--kernel", "6.1", "-b", "x", _PROBE], "--kernel is for another kernel"),
    ("symbols-in-a-trace", ["--symbols", "x", _PROBE], "--symbols is for another kernel"),
    ("release-without-types", ["-S", "--kernel", "6.1", _PROBE], "--kernel needs the types of that kernel"),
    ("release-without-types-in-a-script", ["-o", "x", "--kernel", "6.1", _PROBE], "--kernel needs the types"),
    ("function-and-line", ["-F", "ip_rcv", "-l", "ip_input.c:565"], "-F prints a function, -l a line: choose one"),
    ("function-and-probe", ["-F", "ip_rcv", _PROBE], "-F prints code and takes no probe: leave out 'p plain n=n'"),
    ("line-and-probe", ["-l", "a.c:1", _PROBE], "-l prints code and takes no probe: leave out 'p plain n=n'"),
    ("function-and-stack", ["-s", "-F", "ip_rcv"], "-F prints code and traces nothing: leave out -s"),
    ("function-and-flame", ["--flame", "x", "-F", "ip_rcv"], "traces nothing: leave out --flame"),
    ("count-of-stacks-and-count", ["--stack-count", "-c", "1", _PROBE], "--stack-count counts the kernel's stacks"),
    (
        "folded-and-json",
        ["--folded", "-", "--json", _PROBE],
        "--folded counts the kernel's stacks and prints no events",
    ),
    ("flame-and-user-stack", ["--flame", "x", "--user-stack", _PROBE], "leave out --user-stack"),
    ("count-of-stacks-and-script", ["--stack-count", "-o", "x", _PROBE], "leave out -o"),
    ("function-and-file", ["-f", "x", "-F", "ip_rcv"], "-F prints code and traces nothing: leave out -f"),
    ("function-and-show", ["-S", "-F", "ip_rcv"], "-F prints code and traces nothing: leave out -S"),
    ("function-and-script", ["-o", "x", "-F", "ip_rcv"], "-F prints code and traces nothing: leave out -o"),
    ("function-and-btf", ["-b", "x", "-F", "ip_rcv"], "-F prints code and traces nothing: leave out -b"),
    ("function-and-symbols", ["--symbols", "x", "-F", "ip_rcv"], "traces nothing: leave out --symbols"),
    ("function-and-guards", ["--no-guard", "-F", "ip_rcv"], "traces nothing: leave out --no-guard"),
    ("line-and-time", ["-t", "1", "-l", "ip_rcv:3"], "-l prints code and traces nothing: leave out -t"),
    ("line-and-count", ["-c", "1", "-l", "ip_rcv:3"], "-l prints code and traces nothing: leave out -c"),
    ("function-missing", ["-F"], "-F/--func"),
    ("line-missing", ["-l"], "-l/--line"),
    ("sources-in-a-trace", ["--source", "x", _PROBE], "--source is for -F and -l"),
    ("release-missing", ["-S", _PROBE, "--kernel"], "--kernel"),
)


@pytest.mark.parametrize(("argv", "message"), [pytest.param(*rest, id=name) for name, *rest in _USAGE])
def test_usage_error(argv: list[str], message: str) -> None:
    with pytest.raises(SurftraceError) as caught:
        parse_options(argv)
    assert message in caught.value.message
    assert caught.value.exit_status == 2
    assert caught.value.message[0].islower() or not caught.value.message[0].isalpha()


@pytest.mark.parametrize("name", ["surftrace", "surftrace_2"])
def test_a_shell_takes_no_instance_that_is_swept(name: str, btf: str) -> None:
    seen = _run("-b", btf, "-S", "--instance", name, _PROBE)
    assert (seen.returncode, seen.stdout) == (2, "")
    assert f"the next surftrace would remove the instance {name} of a shell" in seen.stderr


_OF_ANOTHER = "the types of this machine's kernel are not those of another"
# Commands that are printed are for any kernel whose types are known: (id, arguments, what the error says)
_TYPELESS: tuple[tuple[str, list[str], str], ...] = (
    ("trace", ["-S", "-a", _OTHER_MACHINE, _PROBE], _OF_ANOTHER),
    ("count", ["count", "-S", "-a", _OTHER_MACHINE, _PROBE], _OF_ANOTHER),
    ("latency", ["latency", "-S", "-a", _OTHER_MACHINE, _PROBE], _OF_ANOTHER),
    ("count-on-a-release", ["count", "-S", "--kernel", "6.1", _PROBE], "--kernel needs the types of that kernel"),
)


@pytest.mark.parametrize(("argv", "message"), [pytest.param(*rest, id=name) for name, *rest in _TYPELESS])
def test_a_dry_run_without_types(argv: list[str], message: str) -> None:
    seen = _run(*argv)
    assert (seen.returncode, seen.stdout) == (2, "")
    assert message in seen.stderr
    assert "give its BTF" in seen.stderr and "-S" not in seen.stderr


@pytest.mark.parametrize("command", ["count", "latency"])
def test_a_dry_run_for_another_machine(command: str, btf: str) -> None:
    seen = _run(command, "-S", "-a", "aarch64", "-b", btf, "p plain")
    assert (seen.returncode, seen.stderr) == (0, "")
    assert "plain" in seen.stdout


@pytest.mark.parametrize("command", ["count", "latency"])
def test_nothing_runs_for_another_machine(command: str, btf: str) -> None:
    seen = _run(command, "-a", _OTHER_MACHINE, "-b", btf, "p plain")
    assert (seen.returncode, seen.stdout) == (2, "")
    assert f"for {_OTHER_MACHINE}" in seen.stderr and "-S -b FILE" in seen.stderr


def test_a_command_that_there_is_not() -> None:
    seen = _run("lists", "tcp_*")
    assert (seen.returncode, seen.stdout) == (2, "")
    assert seen.stderr == "surftrace: error: there is no command 'lists'\nhint: did you mean 'list'?\n"


@pytest.mark.parametrize("argv", [["-s"], ["--nonsense"], ["-c", "0", _PROBE], ["-a", "vax", "-S", _PROBE]], ids=str)
def test_usage_error_at_the_shell(argv: list[str], btf: str) -> None:
    seen = _run("-b", btf, *argv)
    assert (seen.returncode, seen.stdout) == (2, "")
    assert seen.stderr.startswith("surftrace: error: ")


# (id, arguments, what is chosen)
_CHOSEN: tuple[tuple[str, list[str], dict[str, object]], ...] = (
    ("probe", [_PROBE], {"expressions": (_PROBE,), "is_dry_run": False, "has_stacks": False, "color": "auto"}),
    ("probes", [_PROBE, "r plain"], {"expressions": (_PROBE, "r plain")}),
    ("options-after", [_PROBE, "-S"], {"expressions": (_PROBE,), "is_dry_run": True}),
    ("options-between", [_PROBE, "-s", "r plain"], {"expressions": (_PROBE, "r plain"), "has_stacks": True}),
    ("show-as-published", ["-n", _PROBE], {"is_dry_run": True}),
    ("together", ["-sS", _PROBE], {"is_dry_run": True, "has_stacks": True}),
    ("user-stack", ["--user-stack", _PROBE], {"has_user_stacks": True, "has_stacks": False}),
    ("stack-count", ["--stack-count", _PROBE], {"is_stack_count": True, "folded": None, "flame": None}),
    ("folded", ["--folded", "-", _PROBE], {"is_stack_count": True, "folded": "-"}),
    ("flame", ["--flame", "a.svg", "-t", "3", _PROBE], {"is_stack_count": True, "flame": "a.svg", "time_s": 3.0}),
    ("files", ["-f", "a", "--file", "b"], {"files": ("a", "b"), "expressions": ()}),
    ("time", ["-t", "0.5", _PROBE], {"time_s": 0.5}),
    ("count", ["-c", "5", _PROBE], {"count": 5}),
    ("instance", ["--instance", "mine_2", _PROBE], {"instance": "mine_2"}),
    ("after-two-dashes", ["--", _PROBE], {"expressions": (_PROBE,)}),
    ("machine", ["-a", "aarch64", "-b", "x", _PROBE], {"arch": "aarch64", "btfs": ("x",)}),
    ("script", ["-o", "x", _PROBE], {"output": "x"}),
    ("release", ["-S", "-b", "x", "--kernel", "5.10", _PROBE], {"kernel": "5.10", "symbols": None}),
    ("release-in-a-script", ["-o", "y", "-b", "x", "--kernel=6.1-rc2", _PROBE], {"kernel": "6.1-rc2"}),
    ("function", ["-F", "ip_rcv", "-v", "x"], {"function": "ip_rcv", "line": None, "vmlinux": "x", "expressions": ()}),
    ("function-as-published", ["-v", "x", "--func=ip_rcv"], {"function": "ip_rcv", "line": None}),
    ("line", ["-l", "a.c:5", "--source", "y"], {"line": "a.c:5", "function": None, "source": "y"}),
    ("symbols", ["-S", "--symbols", "x", _PROBE], {"symbols": "x", "kernel": None, "btfs": ()}),
    ("symbols-with-types", ["-S", "-b", "x", "--symbols", "y", _PROBE], {"symbols": "y", "btfs": ("x",)}),
)


@pytest.mark.parametrize(("argv", "chosen"), [pytest.param(*rest, id=name) for name, *rest in _CHOSEN])
def test_options(argv: list[str], chosen: dict[str, object]) -> None:
    options = parse_options(argv)
    assert {name: getattr(options, name) for name in chosen} == chosen


def test_version() -> None:
    seen = _run("--version")
    assert (seen.returncode, seen.stdout, seen.stderr) == (0, f"surftrace {__version__}\n", "")


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_goes_to_standard_output(option: str) -> None:
    seen = _run(option)
    assert (seen.returncode, seen.stderr) == (0, "")
    assert seen.stdout.startswith("usage: surftrace")


@pytest.mark.parametrize(("columns", "width"), [("80", 100), ("200", 200), ("40", 100)])
def test_help_fits(columns: str, width: int) -> None:
    lines = _run("-h", COLUMNS=columns).stdout.splitlines()
    assert max(map(len, lines)) <= width


def test_help_names_every_option() -> None:
    text = _run("-h").stdout
    source = (_ROOT / "surftrace/cli/options.py").read_text()
    options = set(re.findall(r'"(--?[a-zA-Z][\w-]*)"', source))
    assert len(options) > 15
    assert {option for option in options if not re.search(rf"(^|[\s,]){option}\b", text)} == set()


def test_examples_of_the_help_are_well_formed() -> None:
    from surftrace.lang.script import parse_script

    probes = re.findall(r"'([pre] [^']+)'", _run("-h").stdout)
    assert len(probes) >= 4
    assert parse_script(probes).errors == ()


def test_plan_goes_to_standard_output(btf: str) -> None:
    seen = _run("-S", "-a", "x86_64", "-b", btf, _PROBE)
    assert (seen.returncode, seen.stderr) == (0, "")
    assert seen.stdout.splitlines()[1].startswith("echo 'p:surftrace_sh/f0 plain n=%si:s32' >> ")


def test_wrong_expression_goes_to_standard_error(btf: str) -> None:
    seen = _run("-S", "-b", btf, "p plain n=zz")
    assert (seen.returncode, seen.stdout) == (2, "")
    assert seen.stderr.startswith("probe 1: error: plain has no parameter 'zz'\n")


@pytest.mark.parametrize("probe", ["", " ", "\n", "#"])
def test_empty_expression(probe: str, btf: str) -> None:
    seen = _run("-S", "-b", btf, probe)
    assert (seen.returncode, seen.stdout) == (2, "")
    assert "probe 1: error: expected 'p', 'r', 'e', 'P' or 'R', found " in seen.stderr


def test_missing_file(btf: str, tmp_path: Path) -> None:
    seen = _run("-S", "-b", btf, "-f", str(tmp_path / "nothing"))
    assert (seen.returncode, seen.stdout) == (2, "")
    assert seen.stderr == f"surftrace: error: cannot read {tmp_path / 'nothing'}: No such file or directory\n"


def test_file_that_is_a_folder(btf: str, tmp_path: Path) -> None:
    seen = _run("-S", "-b", btf, "-f", str(tmp_path))
    assert (seen.returncode, seen.stdout) == (2, "")
    assert "Is a directory" in seen.stderr


@pytest.mark.parametrize("data", [b"p plain\xff\n", b"\xff\xfep\0 \0", b"\x80"], ids=repr)
def test_file_that_is_no_text(data: bytes, btf: str, tmp_path: Path) -> None:
    (tmp_path / "script").write_bytes(data)
    seen = _run("-S", "-b", btf, "-f", str(tmp_path / "script"))
    assert (seen.returncode, seen.stdout) == (2, "")
    assert "is not UTF-8 text" in seen.stderr


def test_file_named_in_bytes_that_are_no_text(btf: str, tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/\xff"
    Path(os.fsdecode(path)).write_text("p plain n=?\n")
    seen = _run("-S", "-b", btf, "-f", path)
    assert seen.returncode == 2
    assert "\\xff:1:11: error: " in seen.stderr


def test_expression_in_bytes_that_are_no_text(btf: str) -> None:
    seen = _run("-S", "-b", btf, b'p plain l=label f:l=="\xff"')
    assert (seen.returncode, seen.stdout) == (2, "")
    assert "Traceback" not in seen.stderr


@pytest.mark.parametrize("path", ["/dev/null", "/", "/nothing"])
def test_types_that_cannot_be_read(path: str) -> None:
    seen = _run("-S", "-b", path, _PROBE)
    assert (seen.returncode, seen.stdout) == (2, "")
    assert seen.stderr.startswith("surftrace: error: ")
    assert path in seen.stderr


@pytest.mark.parametrize("release", ["six", "6", "", "6.1 "])
def test_what_is_no_release(release: str, btf: str) -> None:
    seen = _run("-S", "-b", btf, "--kernel", release, _PROBE)
    assert (seen.returncode, seen.stdout) == (2, "")
    assert seen.stderr.startswith(f"surftrace: error: '{release}' is not a kernel release\nhint: a release is what")


@pytest.mark.parametrize("release", ["2.6.32", "5.10.0-46-cloud-amd64", "7.3-rc7"])
def test_plan_for_a_release(release: str, btf: str) -> None:
    seen = _run("-S", "-a", "x86_64", "-b", btf, "--kernel", release, _PROBE)
    assert (seen.returncode, seen.stderr) == (0, "")
    assert seen.stdout.splitlines()[1].startswith("echo 'p:surftrace_sh/f0 plain n=%si:s32' >> ")


def test_names_are_checked_against_symbols(btf: str, tmp_path: Path) -> None:
    symbols = tmp_path / "System.map"
    symbols.write_text("ffffffff81200000 T plain\nffffffff81200100 T plane\nffffffff82000000 D shapes\n")
    options = ("-S", "-a", "x86_64", "-b", btf, "--symbols", str(symbols))
    seen = _run(*options, _PROBE, "p plain x=@shapes")
    assert (seen.returncode, seen.stderr) == (0, "")
    seen = _run(*options, "p plaim")
    assert (seen.returncode, seen.stdout) == (2, "")
    assert "hint: did you mean 'plain'" in seen.stderr
    seen = _run(*options, "p plain x=@shapez")
    assert (seen.returncode, seen.stdout) == (2, "")
    assert "hint: did you mean '@shapes'" in seen.stderr


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"ffffffffffffffff B The real System.map is in the linux-image-<version>-dbg package\n", "the real one"),
        (b"\x7fELF\x02\x01", "it is an ELF file"),
        (b"", "it is empty"),
    ],
    ids=["debian-stub", "elf", "empty"],
)
@pytest.mark.parametrize("with_types", [True, False], ids=["with-types", "without-types"])
def test_symbols_that_are_none(content: bytes, problem: str, with_types: bool, btf: str, tmp_path: Path) -> None:
    (tmp_path / "symbols").write_bytes(content)
    types = ("-b", btf) if with_types else ()
    seen = _run("-S", *types, "--symbols", str(tmp_path / "symbols"), _PROBE)
    assert (seen.returncode, seen.stdout) == (2, "")
    assert seen.stderr.startswith(f"surftrace: error: {tmp_path / 'symbols'} is not a symbol list: ")
    assert problem in seen.stderr
    assert "\nhint: " in seen.stderr


def test_script_that_cannot_be_written(btf: str, tmp_path: Path) -> None:
    seen = _run("-b", btf, "-o", str(tmp_path / "no" / "script"), _PROBE)
    assert (seen.returncode, seen.stdout) == (2, "")
    assert "cannot write" in seen.stderr


def test_script_is_executable_and_quiet(btf: str, tmp_path: Path) -> None:
    seen = _run("-b", btf, "-o", str(tmp_path / "script"), _PROBE)
    assert (seen.returncode, seen.stdout, seen.stderr) == (0, "", "")
    assert (tmp_path / "script").stat().st_mode & 0o700 == 0o700
    assert subprocess.run(["bash", "-n", str(tmp_path / "script")]).returncode == 0


def test_script_is_not_written_through_a_link(btf: str, tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("kept")
    (tmp_path / "script").symlink_to(tmp_path / "victim")
    assert _run("-b", btf, "-o", str(tmp_path / "script"), _PROBE).returncode == 2
    assert (tmp_path / "victim").read_text() == "kept"


# Streams

_COMMAND = f"{sys.executable} -m surftrace"


def _shell(text: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["bash", "-c", text], cwd=_ROOT, env=_ENVIRONMENT | environment, capture_output=True, text=True, timeout=20
    )


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("arguments", ["-S -b '{btf}' 'p plain'", "--help", "--version"])
def test_a_closed_pipe_is_quiet(arguments: str, unbuffered: str, btf: str) -> None:
    # The reader is gone before the first byte.
    command = f"(sleep 0.2; exec {_COMMAND} {arguments.format(btf=btf)}) | exec true; exit ${{PIPESTATUS[0]}}"
    seen = _shell(command, PYTHONUNBUFFERED=unbuffered)
    assert (seen.returncode, seen.stderr) == (0, "")


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("arguments", ["-S -b '{btf}' 'p plain'", "--help"])
def test_a_full_disk_is_told_without_a_traceback(arguments: str, unbuffered: str, btf: str) -> None:
    seen = _shell(f"exec {_COMMAND} {arguments.format(btf=btf)} > /dev/full", PYTHONUNBUFFERED=unbuffered)
    assert seen.returncode in (1, 2)
    assert "No space left on device" in seen.stderr
    assert "Traceback" not in seen.stderr
    assert "Exception ignored" not in seen.stderr


@pytest.mark.parametrize("streams", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
def test_closed_streams_are_no_accident(streams: str, btf: str) -> None:
    seen = _shell(f"exec {_COMMAND} -S -b '{btf}' 'p plain' {streams}")
    assert "Traceback" not in seen.stderr
    assert seen.returncode in (0, 1, 2)


def test_a_wrong_expression_with_standard_error_closed(btf: str) -> None:
    assert _shell(f"exec {_COMMAND} -S -b '{btf}' 'p plain n=zz' 2>&-").returncode == 2


# A terminal that takes no UTF-8 shows other characters escaped; it never ends the run.
@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_letters_that_the_terminal_lacks(encoding: str, btf: str) -> None:
    seen = _run("-S", "-b", btf, 'p plain l=label f:l=="日"', PYTHONIOENCODING=encoding)
    assert "Traceback" not in seen.stderr
    assert seen.returncode == 0


# Colour

_WRONG = ["-S", "p plain n=zz"]


def _on_a_terminal(btf: str, *argv: str, **environment: str) -> str:
    """What the command prints on standard error where that is a terminal."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "surftrace", "-b", btf, *argv]
    environment = _ENVIRONMENT | {"TERM": "xterm"} | environment
    with subprocess.Popen(command, cwd=_ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=theirs) as process:
        os.close(theirs)
        text = b""
        while block := _read(ours):
            text += block
    os.close(ours)
    assert process.returncode == 2
    return text.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # EIO: the other side is closed
        return b""


# (id, arguments, environment, is there colour on a terminal, in a pipe)
_COLOURS: tuple[tuple[str, list[str], dict[str, str], bool, bool], ...] = (
    ("auto", [], {}, True, False),
    ("no-color", [], {"NO_COLOR": "1"}, False, False),
    ("no-color-empty", [], {"NO_COLOR": ""}, True, False),
    ("always", ["--color=always"], {}, True, True),
    ("always-beats-no-color", ["--color=always"], {"NO_COLOR": "1"}, True, True),
    ("never", ["--color=never"], {}, False, False),
)


@pytest.mark.parametrize(
    ("argv", "environment", "on_terminal", "in_pipe"), [pytest.param(*rest, id=name) for name, *rest in _COLOURS]
)
def test_colour(argv: list[str], environment: dict[str, str], on_terminal: bool, in_pipe: bool, btf: str) -> None:
    assert ("\x1b[" in _on_a_terminal(btf, *argv, *_WRONG, **environment)) is on_terminal
    assert ("\x1b[" in _run("-b", btf, *argv, *_WRONG, **environment).stderr) is in_pipe


def test_a_dumb_terminal_gets_no_colour(btf: str) -> None:
    assert "\x1b[" not in _on_a_terminal(btf, *_WRONG, TERM="dumb")


def test_colour_changes_no_text(btf: str) -> None:
    colourful = _run("-b", btf, "--color=always", *_WRONG).stderr
    assert re.sub(r"\x1b\[\d+m", "", colourful) == _run("-b", btf, "--color=never", *_WRONG).stderr


@pytest.mark.parametrize("role", Role, ids=[role.name for role in Role])
def test_every_colour_ends(role: Role) -> None:
    assert plain(role, "x") == "x"
    assert re.fullmatch(r"(\x1b\[\d+m)+x\x1b\[0m", colored(role, "x"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--json", "--csv"], "--json and --csv are two forms of output: choose one"),
        (["--csv", "--raw"], "--csv and --raw are two forms of output: choose one"),
        (["--json", "--time-format", "wall"], "--time-format is for people: --json has the kernel's times"),
        (["--raw", "-c", "1"], "--raw passes on what the kernel prints and counts no events: it takes no -c"),
        (["--max-rate", "-1"], "argument --max-rate: '-1' is not a whole number above 0"),
        (["--at-max-rate", "stop"], "argument --at-max-rate: 'stop' is neither pause nor end"),
    ],
)
def test_forms_of_output_and_limits(words: list[str], message: str) -> None:
    with pytest.raises(SurftraceError) as raised:
        parse_options([*words, "p vfs_read"])
    assert raised.value.message == message


def test_nothing_at_all_is_a_short_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) < 12
    assert sum(line.startswith("  surftrace ") for line in lines) == 3
