"""Real shells at a terminal: bash of the host, zsh and fish out of Debian packages in the cache, without root."""

import hashlib
import os
import pty
import re
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.kernel import cache, debian

NAMES = ("bash", "zsh", "fish")
_SUITES = ("bookworm",)
# What the two need that a Debian with Python has not: their other libraries are those of bash and Python.
_PACKAGES = frozenset(("zsh", "zsh-common", "fish", "fish-common", "libpcre2-32-0"))
_LIMIT_S = 60.0
PROMPT = "ready> "
# The line is shown on demand, between characters that no echo of it has: what a shell draws on a TAB differs.
_SHOW = "\x18\x10"
_SHOWN = re.compile(r"\x01(.*?)\x02", re.DOTALL)

_START = {
    "bash": """
        PS1='ready> '
        source <(surftrace completion bash)
        bind 'set enable-bracketed-paste off'
        bind 'set bell-style none'
        show() { printf '\\001%s\\002' "$READLINE_LINE"; }
        bind -x '"\\C-x\\C-p": show'
    """,
    "zsh": """
        module_path=(ROOT/usr/lib/*/zsh/*(/))
        fpath=(ROOT/usr/share/zsh/functions/**/*(/))
        autoload -Uz compinit && compinit -u -D
        source <(surftrace completion zsh)
        PS1='ready> '
        unset zle_bracketed_paste
        show() { print -rn -- $'\\x01'"$BUFFER"$'\\x02' }
        zle -N show
        bindkey '^X^P' show
    """,
    "fish": """
        set -g fish_greeting
        set -g fish_autosuggestion_enabled 0
        surftrace completion fish | source
        function fish_prompt; echo -n 'ready> '; end
        function show; printf '\\x01%s\\x02' (commandline); end
        bind \\cx\\cp show
    """,
}


def fetch() -> Path:
    """Return the folder with zsh and fish, asking Debian for newer ones at most once a day."""
    return cache.latest("shells", _renew)


def _renew(parent: Path) -> Path:
    archive = debian.Archive(cache.folder() / "apt/shells", _SUITES)
    archive.update()
    packages = [each for each in archive.closure(("zsh", "fish")) if each.name in _PACKAGES]
    entry = parent / hashlib.sha256(repr(packages).encode()).hexdigest()[:16]
    if not entry.exists():
        print("fetching zsh and fish", file=sys.stderr)
        with cache.new_entry(entry) as new:
            archive.unpack(packages, new)
            (new / "usr/etc").symlink_to("../etc")  # fish looks for etc beside its bin
    return entry


@dataclass(slots=True)
class Terminal:
    """A shell that waits for keys. `text` is all that it has shown."""

    descriptor: int
    text: str = ""

    def press(self, keys: str) -> str:
        """Type, and return the line that is being edited then."""
        before = len(_SHOWN.findall(self.text))
        os.write(self.descriptor, f"{keys}{_SHOW}".encode())
        while len(found := _SHOWN.findall(self.text)) == before:
            self.read()
        return str(found[-1])

    def read(self) -> None:
        """Wait until the shell shows something."""
        ready, _, _ = select.select([self.descriptor], [], [], _LIMIT_S)
        assert ready, f"the shell is silent; it has shown {self.text!r}"
        self.text += os.read(self.descriptor, 1 << 16).decode(errors="replace")


@contextmanager
def running(name: str, home: Path) -> Iterator[Terminal]:
    """A shell that has surftrace's completion, in `home` as its folder."""
    root = fetch()
    start = home / {"bash": ".bashrc", "zsh": ".zshrc", "fish": ".config/fish/config.fish"}[name]
    start.parent.mkdir(parents=True, exist_ok=True)
    start.write_text(_START[name].replace("ROOT", str(root)))
    argv = {
        "bash": ["bash", "--noprofile", "--rcfile", str(start), "-i"],
        "zsh": [f"{root}/bin/zsh", "-i"],
        "fish": [f"{root}/usr/bin/fish", "-i"],
    }[name]
    process, descriptor = pty.fork()
    if not process:
        os.chdir(home)
        os.execvpe(argv[0], argv, environment(home))
    terminal = Terminal(descriptor)
    try:
        while not terminal.text.endswith(PROMPT):
            terminal.read()
        yield terminal
    finally:
        os.kill(process, signal.SIGKILL)
        os.close(descriptor)
        os.waitpid(process, 0)


def environment(home: Path) -> dict[str, str]:
    """The environment of a shell: surftrace is that of the tests, and no terminal has too much to say."""
    libraries = next(fetch().glob("usr/lib/*-linux-gnu"))
    return {
        "HOME": str(home),
        "ZDOTDIR": str(home),
        "LANG": "C.UTF-8",
        "LD_LIBRARY_PATH": str(libraries),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "TERM": "dumb",
    }


def fish_choices(line: str, home: Path) -> list[str]:
    """Return what fish offers at the end of a line, without what it says of each."""
    argv = [f"{fetch()}/usr/bin/fish", "--no-config", "-c", "surftrace completion fish | source; complete -C $argv[1]"]
    seen = subprocess.run([*argv, line], cwd=home, env=environment(home), capture_output=True, text=True, check=True)
    assert seen.stderr == ""
    return [each.partition("\t")[0] for each in seen.stdout.splitlines()]
