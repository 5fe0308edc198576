"""Echo lines and scripts, run by bash over plain files: they write each step's text and run nothing else."""

import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from surftrace.compiler.plan import Plan, Step, build_plan
from surftrace.compiler.render import echo_lines, quote, shell_script
from surftrace.compiler.resolve import resolve
from surftrace.kernel.machine import X86_64
from surftrace.kernel.target import Target
from surftrace.lang.script import parse_script
from tests.unit.compiling import compile_plan, offline_kernel, shapes_btf
from tests.unit.faketracing import make_tracing, shell_tools

_HOSTILE = (
    "$(touch pwned)",
    "`touch pwned`",
    "'; touch pwned; '",
    "'\\''; touch pwned #",
    '"; touch pwned; "',
    "\\'; touch pwned",
    "'$(touch pwned)'",
    "${IFS}touch${IFS}pwned",
    "!!",
    "!touch",
    "~root",
    "*",
    "?",
    "{a,b}",
    "a\\nb",
    "a\\",
    "-n",
    "-e a",
    "#",
    "| touch pwned",
    "& touch pwned &",
    "> pwned",
    "<(touch pwned)",
    "%s%n",
    "{0}",
    "{comments}",
    "{{}}",
    "é日",
    "'",
    "''",
    "\\",
    "  two  spaces  ",
)


def _plan(*steps: Step) -> Plan:
    return Plan("surftrace", steps, (), "little", False)


def _files_of(plan: Plan) -> list[str]:
    """The files of the plan's instance, below it."""
    prefix = f"{plan.instance_path}/"
    return sorted({step.path.removeprefix(prefix) for step in plan.steps if step.path.startswith(prefix)})


def _bash(text: str, cwd: Path, env: dict[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
    return _shell("bash", text, cwd, env)


def _shell(name: str, text: str, cwd: Path, env: dict[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [name, "-c", text], cwd=cwd, env=env, capture_output=True, text=True, timeout=20, errors="surrogateescape"
    )


# The shell that most have as sh: its echo takes backslashes for escapes.
@pytest.mark.parametrize("shell", ["bash", "sh"])
@pytest.mark.parametrize("text", [*_HOSTILE, "\\1", "a\\tb\\", "\\\\", '\\"<fault>"', "[!a]\\!b"])
def test_echo_line_writes_the_steps_text(text: str, shell: str, tmp_path: Path) -> None:
    plan = _plan(Step("first", text), Step("second", f"p:{text}", is_append=True), Step("second", text, is_append=True))
    _, *lines = echo_lines(plan, str(tmp_path / "tracing"))
    (tmp_path / "tracing").mkdir()
    seen = _shell(shell, "\n".join(lines), tmp_path)
    assert (tmp_path / "tracing" / "first").read_text() == f"{text}\n"
    assert (tmp_path / "tracing" / "second").read_text() == f"p:{text}\n{text}\n"
    assert (seen.returncode, seen.stdout, seen.stderr) == (0, "", "")
    assert [path.name for path in tmp_path.iterdir()] == ["tracing"]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20), max_size=20))
def test_bash_takes_quoted_text_as_it_is(texts: list[str]) -> None:
    words = " ".join(map(quote, texts))
    seen = subprocess.run(["bash", "-c", f"printf '%s\\0' {words} end"], capture_output=True, check=True)
    assert seen.stdout.decode() == "".join(f"{text}\0" for text in [*texts, "end"])


# Where tracefs is mounted is the administrator's choice: /proc/mounts may name a folder with a space.
@pytest.mark.parametrize("folder", ["a b", "a'b", "$(touch pwned)", "a;b"])
def test_echo_lines_work_in_any_folder(folder: str, tmp_path: Path) -> None:
    (tmp_path / folder / "instances").mkdir(parents=True)
    plan = _plan(Step("instances/surftrace/tracing_on", "1"))
    seen = _bash("\n".join(echo_lines(plan, str(tmp_path / folder))), tmp_path)
    assert seen.stderr == ""
    assert (tmp_path / folder / "instances/surftrace/tracing_on").read_text() == "1\n"
    assert [path.name for path in tmp_path.iterdir()] == [folder]


# Probes whose text reaches the kernel: filters hold what the user likes.
_STRINGS = tuple(text for text in _HOSTILE if '"' not in text)


@pytest.mark.parametrize("text", _STRINGS)
def test_a_filters_string_reaches_the_filter(text: str, tmp_path: Path) -> None:
    plan = compile_plan(shapes_btf(), f'p plain l=label f:l=="{text}"')
    (tmp_path / "tracing/instances").mkdir(parents=True)
    make, *lines = echo_lines(plan, str(tmp_path / "tracing"))
    env = shell_tools(tmp_path / "tools", _files_of(plan))
    seen = _bash("\n".join([make, *lines]), tmp_path, env)
    assert (seen.returncode, seen.stdout, seen.stderr) == (0, "", "")
    folder = tmp_path / "tracing/instances/surftrace/events/surftrace/f0"
    assert (folder / "filter").read_text().endswith(f'&&l=="{text}"\n')
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tools", "tracing"]


_EXPRESSIONS = (
    "p plain n=n f:n==1",
    *(f'p plain l=label f:l=="{text}"' for text in _STRINGS),
    "p plain l=label f:l=='a\"b'",
)
_COMMENTS = (
    *_HOSTILE,
    "a\ntouch pwned",
    "a\rtouch pwned",
    "a\x0btouch pwned",
    "a\x0ctouch pwned",
    "a\u2028touch pwned",
    "a\x85touch pwned",
    "a \\\ntouch pwned",
    "",
    "\n\n",
)


def _run_script(plan: Plan, comments: tuple[str, ...], folder: Path) -> "subprocess.CompletedProcess[str]":
    """The script over a fake tracing folder, in place of the kernel's."""
    path, env = _write_script(plan, comments, folder)
    return subprocess.run(["bash", str(path)], cwd=folder, env=env, capture_output=True, text=True, timeout=20)


def _write_script(plan: Plan, comments: tuple[str, ...], folder: Path) -> tuple[Path, dict[str, str]]:
    """The script for a fake tracing folder, in place of the kernel's, and its environment."""
    make_tracing(folder / "tracing")
    text = shell_script(plan, comments)
    head = "tracing=/sys/kernel/tracing\n[ -e"
    assert text.count(head) == 1
    env = shell_tools(folder / "tools", _files_of(plan))
    path = folder / "tools" / "script"
    # The one place that names the kernel's folder names the fake one; the next line then keeps it.
    path.write_text(text.replace(head, f"tracing={folder / 'tracing'}\n[ -e"), errors="surrogateescape")
    return path, env


_ENDLESS = """\
/bin/rm "$1/trace_pipe"
/usr/bin/mkfifo "$1/trace_pipe"
/usr/bin/yes ' bash-1 [000] ..... 1.0: f0: (plain+0x0/0x10) n=1 __h0=0x0' > "$1/trace_pipe" 2> /dev/null &
"""


# With a guard the script decodes the trace itself, in the shell that its first line names.
@pytest.mark.parametrize(
    ("expression", "shell"), [("p plain n=n", "bash"), ("p plain n=n", "dash"), ("p plain n=s->serial", "bash")]
)
def test_script_ends_with_its_reader(expression: str, shell: str, tmp_path: Path) -> None:
    """Also where SIGPIPE is ignored, as systemd has it and as it is in here."""
    plan = compile_plan(shapes_btf(), expression)
    path, env = _write_script(plan, (), tmp_path)
    with (tmp_path / "tools/bin/mkdir").open("a") as stream:
        stream.write(_ENDLESS)
    with subprocess.Popen(
        [shell, str(path)], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, restore_signals=False
    ) as script:
        assert script.stdout is not None
        assert b" f0: " in script.stdout.readline()
        script.stdout.close()
        try:
            assert script.wait(20) == 1
        finally:
            script.terminate()
        assert script.stderr is not None
        assert script.stderr.read().count(b"\n") == 1
    assert list((tmp_path / "tracing/instances").iterdir()) == []


def _check_script(plan: Plan, comments: tuple[str, ...], folder: Path) -> None:
    seen = _run_script(plan, comments, folder)
    assert seen.stderr == ""
    assert seen.stdout == "an event\n"
    assert sorted(path.name for path in folder.iterdir()) == ["tools", "tracing"]
    # All that was set up is gone from the kernel, the definitions with their undos.
    assert list((folder / "tracing/instances").iterdir()) == []
    definitions = [step for step in plan.steps if step.path == "kprobe_events"]
    undos = [step.undo.text for step in reversed(definitions) if step.undo is not None]
    written = (folder / "tracing/kprobe_events").read_text().splitlines()
    assert written == [*(step.text for step in definitions), *undos]


@pytest.mark.parametrize("expression", _EXPRESSIONS)
def test_script_writes_what_the_plan_says(expression: str, tmp_path: Path) -> None:
    plan = compile_plan(shapes_btf(), expression, "r plain", "e sched/sched_switch")
    _check_script(plan, (expression,), tmp_path)
    last = {step.path: step.text for step in plan.steps if step.path.startswith("instances/")}
    last |= {step.undo.path: step.undo.text for step in plan.steps if step.undo is not None and step.path in last}
    for path, text in last.items():
        kept = tmp_path / "tools/kept" / path.removeprefix("instances/surftrace/")
        assert kept.read_text() == f"{text}\n", path


@pytest.mark.parametrize("comment", _COMMENTS)
def test_a_comment_of_a_script_stays_one(comment: str, tmp_path: Path) -> None:
    _check_script(compile_plan(shapes_btf(), "p plain n=n"), (comment, comment), tmp_path)


@pytest.mark.parametrize("comment", _COMMENTS)
def test_every_line_of_a_comment_is_one(comment: str) -> None:
    without, with_comment = (
        shell_script(compile_plan(shapes_btf(), "p plain"), comments).splitlines() for comments in ((), (comment,))
    )
    added = with_comment[2 : len(with_comment) - len(without) + 3]
    assert all(line.startswith("#") or not line for line in added)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=30), max_size=5))
def test_bash_can_read_every_script(comments: list[str]) -> None:
    text = shell_script(compile_plan(shapes_btf(), 'p plain l=label f:l=="\'"'), tuple(comments))
    seen = subprocess.run(["bash", "-n"], input=text.replace("\0", "").encode(), capture_output=True)
    assert (seen.returncode, seen.stderr) == (0, b"")


def test_script_with_stacks(tmp_path: Path) -> None:
    script = parse_script(["p plain"])
    resolved = resolve(script, Target(X86_64, offline_kernel(shapes_btf())))
    plan = build_plan(resolved, "mine", "little", has_stacks=True)
    _check_script(plan, (), tmp_path)
    assert (tmp_path / "tools/kept/options/stacktrace").read_text() == "1\n"
    assert (tmp_path / "tools/kept/options/sym-offset").read_text() == "1\n"


def test_user_stacks_are_shown_by_the_kernel() -> None:
    """What reads no addresses, a script and --raw, has the files that they are in."""
    resolved = resolve(parse_script(["p plain"]), Target(X86_64, offline_kernel(shapes_btf())))
    lines = list(echo_lines(build_plan(resolved, "mine", "little", has_user_stacks=True), "/t"))
    folder = "/t/instances/mine/options"
    assert lines[-4:-1] == [
        f"echo 0 > {folder}/stacktrace",
        f"echo 1 > {folder}/userstacktrace",
        f"echo 1 > {folder}/sym-userobj",
    ]


def test_script_refuses_an_instance_that_exists(tmp_path: Path) -> None:
    plan = compile_plan(shapes_btf(), "p plain")
    (tmp_path / "tracing/instances/surftrace").mkdir(parents=True)
    (tmp_path / "tracing/kprobe_events").write_text("p:surftrace/f0 other\n")
    text = shell_script(plan).replace("tracing=/sys/kernel/tracing\n", f"tracing={tmp_path / 'tracing'}\n", 1)
    seen = _bash(text, tmp_path)
    assert seen.returncode == 1
    assert "the instance surftrace exists" in seen.stderr
    assert (tmp_path / "tracing/instances/surftrace").is_dir()
    assert (tmp_path / "tracing/kprobe_events").read_text() == "p:surftrace/f0 other\n"


def test_script_without_the_right_to_write_says_so(tmp_path: Path) -> None:
    text = shell_script(compile_plan(shapes_btf(), "p plain"))
    for folder in ("/sys/kernel/tracing", "/sys/kernel/debug/tracing"):
        text = text.replace(folder, str(tmp_path / "nothing"))
    seen = _bash(text, tmp_path)
    assert seen.returncode == 1
    assert "cannot write" in seen.stderr
    assert list(tmp_path.iterdir()) == []


def test_script_that_fails_midway_undoes_what_it_did(tmp_path: Path) -> None:
    plan = compile_plan(shapes_btf(), "p plain n=n f:n==1")
    make_tracing(tmp_path / "tracing")
    files = [file for file in _files_of(plan) if not file.endswith("filter")]
    env = shell_tools(tmp_path / "tools", files)
    text = shell_script(plan).replace("tracing=/sys/kernel/tracing\n", f"tracing={tmp_path / 'tracing'}\n", 1)
    # The kernel refuses the filter: here a folder stands where its file would be.
    mkdir = tmp_path / "tools/bin/mkdir"
    mkdir.write_text(mkdir.read_text() + '/bin/mkdir -p "$1/events/surftrace/f0/filter"\n')
    seen = _bash(text, tmp_path, env)
    assert seen.returncode != 0
    assert (tmp_path / "tracing/kprobe_events").read_text().splitlines()[-1] == "-:surftrace/f0"
    assert list((tmp_path / "tracing/instances").iterdir()) == []
