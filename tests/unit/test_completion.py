"""What may stand at the end of a command line, as the shells' scripts are told; tests/oracle asks the shells."""

import argparse
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from surftrace.cli.completion import _SHELLS, _for_bash
from surftrace.cli.main import COMMANDS, main
from surftrace.cli.proposals import Proposal, parser_of
from surftrace.cli.shellwords import quoted, split_line
from surftrace.compiler.completing import Choice
from tests.btfwriter import function, struct, typedef, union, write

_ROOT = Path(__file__).parents[2]
_HOSTILE = (
    "x;touch",
    "a b",
    "$(touch run)",
    "`touch run`",
    "new\nline",
    "tab\there",
    "\x1b[31mred",
    "qu'ote",
    'q"uote',
)
_SYMBOLS = """\
ffffffff81000000 T tcp_connect
ffffffff81000010 T tcp_close
ffffffff81000020 t tcp_old.isra.0
ffffffff81000030 T plain
ffffffff81000040 d tcp_hashinfo
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the types and the symbols of a small kernel, names that no compiler makes among them."""
    folder = tmp_path_factory.mktemp("completion")
    device = struct("net_device", 24, ("name", "char[16]", 0), ("next", "struct net_device *", 16))
    buffer = struct(
        "sk_buff",
        24,
        (None, union(None, 8, ("stamp", "unsigned long", 0), ("dev_scratch", "unsigned long", 0)), 0),
        ("dev", "struct net_device *", 8),
        ("len", "unsigned int", 16),
        ("length_hint", "unsigned int", 20),
        *((name, "int", 20) for name in _HOSTILE),
    )
    kernel = write(
        device,
        buffer,
        struct("iphdr", 20, ("daddr", "__be32", 16)),
        struct("trace_event_raw_sched_switch", 16, ("prev_pid", "int", 8), ("next_pid", "int", 12)),
        typedef("__be32", "unsigned int"),
        typedef("btf_trace_sched_switch", "void *"),
        function("tcp_connect", "int", ("skb", "struct sk_buff *"), ("flags", "int")),
        function("tcp_close", "void", ("skb", "struct sk_buff *")),
        function("tcp_old", "void", ("skb", "struct sk_buff *")),
        function("plain", "void", ("n", "int")),
        *(function(f"tcp_{name}", "void") for name in _HOSTILE),
    )
    (folder / "k.btf").write_bytes(kernel.data)
    (folder / "symbols").write_text(_SYMBOLS)
    (folder / "empty").touch()
    return folder


@pytest.fixture
def _here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


def _asked(line: str, capsys: pytest.CaptureFixture[str], shell: str = "zsh") -> tuple[str, list[str]]:
    """The kind of the answer, and the choices."""
    assert main(["completion", shell, "--", line]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    kind, *choices = shown.out.split("\n")[:-1]
    return kind, [each.partition("\t")[0] for each in choices]


_LEN = ("len", "length_hint")
_B = "surftrace -a x86_64 -b k.btf --symbols symbols "

# (id, the line, the kind of the answer, the choices)
_LINES: tuple[tuple[str, str, str, list[str]], ...] = (
    ("commands", "surftrace li", "words", ["lines", "list"]),
    ("path-of-the-command", "/usr/bin/surftrace sh", "words", ["show"]),
    ("environment", "NO_COLOR=1 surftrace sh", "words", ["show"]),
    ("options", "surftrace --o", "words", ["--output", "--overwrite"]),
    ("options-of-a-command", "surftrace list --e", "words", ["--events"]),
    ("no-options-behind-two-dashes", "surftrace -- --o", "open", []),
    ("choices", "surftrace --color ", "words", ["always", "auto", "never"]),
    ("choices-behind-equal", "surftrace --color=a", "words", ["--color=always", "--color=auto"]),
    ("choices-of-words", "surftrace --at-max-rate ", "words", ["end", "pause"]),
    ("machines", "surftrace -aaar", "words", ["-aaarch64"]),
    ("files", "surftrace -f a", "files", []),
    ("files-behind-the-letter", "surftrace -ba", "files", []),
    ("folders", "surftrace lines --source /", "folders", []),
    ("shells", "surftrace completion ", "words", ["bash", "fish", "zsh"]),
    ("kinds", "surftrace '", "open", ["P ", "R ", "e ", "p ", "r "]),
    ("functions", f"{_B}'p tcp_c", "open", ["p tcp_close", "p tcp_connect"]),
    ("functions-second-probe", f"{_B}'p plain' 'r tcp_co", "open", ["r tcp_connect"]),
    ("renamed-function", f"{_B}'p tcp_o", "open", ["p tcp_old"]),
    ("events", f"{_B}'e sched/sched_", "open", ["e sched/sched_switch"]),
    ("events-with-a-colon", f"{_B}'e sched:sched_", "open", ["e sched:sched_switch"]),
    ("fields", f"{_B}'e sched/sched_switch f:p", "open", ["e sched/sched_switch f:prev_pid"]),
    ("parameters", f"{_B}'p tcp_connect ", "open", [f"p tcp_connect {n}" for n in ("f:", "flags", "skb")]),
    ("members", f"{_B}'p tcp_connect skb->le", "open", [f"p tcp_connect skb->{n}" for n in _LEN]),
    ("anonymous", f"{_B}'p tcp_connect skb->dev_", "open", ["p tcp_connect skb->dev_scratch"]),
    ("members-of-members", f"{_B}'p tcp_connect skb->dev->next->na", "open", ["p tcp_connect skb->dev->next->name"]),
    ("members-of-a-glob", f"{_B}'p tcp_c* skb->len", "open", [f"p tcp_c* skb->{n}" for n in _LEN]),
    ("named", f"{_B}'p tcp_connect a=skb->dev_", "open", ["p tcp_connect a=skb->dev_scratch"]),
    ("letter", f"{_B}'p tcp_connect Xskb->dev_", "open", ["p tcp_connect Xskb->dev_scratch"]),
    ("brackets", f"{_B}'p tcp_connect (skb)->dev_", "open", ["p tcp_connect (skb)->dev_scratch"]),
    ("element", f"{_B}'p tcp_connect skb[1].dev_", "open", ["p tcp_connect skb[1].dev_scratch"]),
    ("cast", f"{_B}'p plain !(struct sk_buff *)%0->dev_", "open", ["p plain !(struct sk_buff *)%0->dev_scratch"]),
    ("conversion", f"{_B}'p tcp_close ((struct iphdr *)skb)->d", "open", ["p tcp_close ((struct iphdr *)skb)->daddr"]),
    ("packet", f"{_B}'p tcp_connect @(struct iphdr *)skb->d", "open", ["p tcp_connect @(struct iphdr *)skb->daddr"]),
    ("filter", f"{_B}'p tcp_connect f:skb->dev->ne", "open", ["p tcp_connect f:skb->dev->next"]),
    ("own-names", f"{_B}'p tcp_connect size=skb->len f:si", "open", ["p tcp_connect size=skb->len f:size"]),
    ("dot-on-a-pointer", f"{_B}'p tcp_connect skb.le", "open", []),
    ("arrow-on-a-value", f"{_B}'p tcp_connect flags->", "open", []),
    ("in-a-string", f'{_B}\'p tcp_connect f:skb->dev->name=="le', "open", []),
    ("variables", f"{_B}'r tcp_connect $", "open", [f"r tcp_connect ${n}" for n in ("comm", "retval", "stack")]),
    ("symbols", f"{_B}'p plain @tcp_h", "open", ["p plain @tcp_hashinfo"]),
    ("kernel-types", f"{_B}'p tcp_connect skb->len:s", "open", [f"p tcp_connect skb->len:s{n}" for n in (16, 32, 64, 8)]
     + ["p tcp_connect skb->len:string", "p tcp_connect skb->len:symbol"]),
    ("types", f"{_B}'p plain a=!(struct n", "open", ["p plain a=!(struct net_device"]),
    ("headers", f"{_B}'p plain a=@(struct iph", "open", ["p plain a=@(struct iphdr"]),
    ("takes", "surftrace list -b k.btf --takes 'struct sk_", "words", ["struct sk_buff"]),
    ("pattern", "surftrace list -b k.btf --symbols symbols tcp_co", "words", ["tcp_connect"]),
    ("thing", "surftrace show -b k.btf sk_", "words", ["sk_buff"]),
    ("thing-member", "surftrace show -b k.btf 'sk_buff.dev->na", "words", ["sk_buff.dev->name"]),
    ("thing-struct", "surftrace show -b k.btf 'struct sk_buff->len", "words", [f"struct sk_buff->{n}" for n in _LEN]),
    ("probe-for-a-function", "surftrace latency -b k.btf 'p tcp_cl", "open", ["p tcp_close"]),
    ("probe-of-another-command", "surftrace count -b k.btf 'p tcp_cl", "open", ["p tcp_close"]),
    ("place", "surftrace vars -b k.btf tcp_cl", "words", ["tcp_close"]),
    ("no-such-function", f"{_B}'p nonsense skb->", "words", []),
    ("no-such-file", "surftrace -b nothing 'p tcp_c", "words", []),
    ("no-btf", "surftrace -b empty 'p tcp_c", "words", []),
    ("no-probe", f"{_B}'x y z ->", "open", []),
    ("bad-option", "surftrace --nonsense 'p", "open", ["p "]),
    ("no-line", "", "words", sorted(COMMANDS)),
)  # fmt: skip


@pytest.mark.usefixtures("_here")
@pytest.mark.parametrize(("line", "kind", "choices"), [pytest.param(*rest, id=name) for name, *rest in _LINES])
def test_what_a_line_goes_on_with(line: str, kind: str, choices: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert _asked(line, capsys) == (kind, choices)


@pytest.mark.usefixtures("_here")
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize("line", ["'p tcp_", "'p tcp_connect skb->"])
def test_names_that_mean_something_to_a_shell_are_not_offered(
    shell: str, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _, choices = _asked(f"surftrace -a x86_64 -b k.btf {line}", capsys, shell)
    assert len(choices) >= 3
    assert not [each for each in choices if not each.removeprefix(line[1:]).replace("_", "").isalnum()]


@pytest.mark.usefixtures("_here")
def test_programs_and_their_functions(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = "int serve(int n) { return n; }\nint main(void) { return serve(0); }\n"
    subprocess.run(["gcc", "-x", "c", "-o", "server", "-"], input=source, text=True, check=True)
    (folder / "with space").touch()
    (folder / "sub").mkdir(exist_ok=True)
    assert _asked("surftrace 'P ./s", capsys) == ("open", ["P ./server:", "P ./sub/", "P ./symbols:"])
    assert _asked("surftrace 'P ./w", capsys) == ("open", [])
    assert _asked("surftrace 'R ./server:ser", capsys) == ("open", ["R ./server:serve"])
    assert "P sh:" in _asked("surftrace 'P sh", capsys)[1]


# (id, the line, where in its last word a choice begins, the choice, the word that bash replaces, what takes its place)
_FOR_BASH = (
    ("colon-breaks", "surftrace list sch_htb:htb_en", 0, "sch_htb:htb_enqueue", "htb_en", "htb_enqueue"),
    ("slash-does-not", "surftrace list sch/htb_en", 0, "sch/htb_enqueue", "sch/htb_en", "sch/htb_enqueue"),
    ("open-quote", "surftrace 'p a b->htb_en", 7, "htb_enqueue", "p a b->htb_en", "p a b->htb_enqueue"),
    ("as-sudo-has-it", "surftrace 'p a b->htb_en", 7, "htb_enqueue", "'p a b->htb_en", "'p a b->htb_enqueue"),
    ("backslashes", r"surftrace p\ htb_en", 2, "htb_enqueue", r"p\ htb_en", r"p\ htb_enqueue"),
    ("after-a-quote", "surftrace 'p 'htb_en", 2, "htb_enqueue", "'p 'htb_en", "'p 'htb_enqueue"),
    ("nothing-yet", "surftrace --color=", 8, "never", "", "never"),
    ("at-the-start", "surftrace ", 0, "list", "", "list"),
    ("in-double-quotes", 'surftrace "p a ', 4, "$comm", "p a ", r"p a \$comm"),
)


@pytest.mark.parametrize(
    ("line", "start", "choice", "word", "expected"), [pytest.param(*rest, id=name) for name, *rest in _FOR_BASH]
)
def test_bash_is_given_what_it_replaces(line: str, start: int, choice: str, word: str, expected: str) -> None:
    proposal = Proposal("words", start, (Choice(choice),))
    asked = argparse.Namespace(word=word, type="9")
    assert list(_for_bash(split_line(line), proposal, asked)) == ["words", expected]


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0")), min_size=1, max_size=4))
@example(["", "a'b", 'c"d', "e\\f", "g h\ni", "$x`y`"])
def test_a_line_is_split_as_a_shell_does(words: list[str]) -> None:
    line = split_line(shlex.join(words))
    assert [*line.words, line.current] == words
    assert line.places[-1] == (len(line.raw), "")


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0\r\n")), st.sampled_from(["'", '"', ""]))
def test_quoted_text_is_read_as_itself(text: str, quote: str) -> None:
    words = f"x{quote}{quoted(text, quote)}{quote}"
    seen = subprocess.run(["bash", "-c", f"printf %s {words}"], capture_output=True, check=True)
    assert seen.stdout.decode() == f"x{text}"
    assert split_line(f"x{quote}{quoted(text, quote)}").current == f"x{text}"


@given(st.text(), st.booleans())
@example("surftrace 'p tcp_\\", True)
def test_any_line_has_a_last_word(text: str, is_fish: bool) -> None:
    line = split_line(text, is_fish)
    assert len(line.places) == len(line.current) + 1
    assert text.endswith(line.raw)


def test_fish_has_backslashes_in_single_quotes() -> None:
    assert split_line(r"surftrace 'p it\'s", is_fish=True).current == "p it's"
    assert split_line(r"surftrace 'p it\'s'", is_fish=False).current == r"p it\s"


def test_a_file_that_is_never_read_ends_the_wait(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    started = time.monotonic()
    argv = [sys.executable, "-m", "surftrace", "completion", "zsh", f"surftrace -b {tmp_path}/pipe 'p tcp_"]
    seen = subprocess.run(argv, cwd=_ROOT, capture_output=True, text=True, timeout=60)
    assert (seen.stdout, seen.stderr) == ("", "")
    assert time.monotonic() - started > 2


@pytest.mark.parametrize(("shell", "name"), _SHELLS.items())
def test_the_script_is_printed(shell: str, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert script == (_ROOT / f"surftrace/cli/scripts/{name}").read_text()
    assert f"surftrace completion {shell}" in script


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_its_parser(command: str) -> None:
    assert parser_of(command).prog == f"surftrace {command}"
