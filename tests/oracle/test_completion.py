"""bash, zsh and fish, at a terminal, complete what surftrace's command line and its probes go on with."""

import re
from pathlib import Path

import pytest

from tests.kernel import images
from tests.oracle import shells

pytestmark = pytest.mark.xdist_group("shells")

_MEMBERS = ["name", "name_assign_type", "name_node", "napi_defer_hard_irqs", "napi_list"]  # of 6.1, as pahole has them


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the BTF of Linux 6.1 in it, and a file whose name a shell must not run."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "b.btf").symlink_to(images.fetch("6.1").btf)
    return folder


# (id, what is typed, the line after TAB)
_LINES = (
    ("command", "surftrace cl", "surftrace clean "),
    ("value-behind-equal", "surftrace --color=nev", "surftrace --color=never "),
    ("file", "surftrace -b b.b", "surftrace -b b.btf "),
    ("function", "surftrace -b b.btf 'p tcp_v4_connec", "surftrace -b b.btf 'p tcp_v4_connect"),
    ("event", "surftrace -b b.btf 'e sched/sched_swi", "surftrace -b b.btf 'e sched/sched_switch"),
    (
        "member",
        "surftrace -b b.btf 'p ip_output skb->dev->name_as",
        "surftrace -b b.btf 'p ip_output skb->dev->name_assign_type",
    ),
    (
        "member-in-double-quotes",
        'surftrace -b b.btf "p ip_output skb->dev->name_as',
        'surftrace -b b.btf "p ip_output skb->dev->name_assign_type',
    ),
    (
        "member-unquoted",
        "surftrace -b b.btf p\\ ip_output\\ skb-\\>dev-\\>name_as",
        "surftrace -b b.btf p\\ ip_output\\ skb-\\>dev-\\>name_assign_type",
    ),
    ("variable", "surftrace -b b.btf 'p ip_output $com", "surftrace -b b.btf 'p ip_output $comm"),
    ("variable-in-double-quotes", 'surftrace -b b.btf "p ip_output \\$com', 'surftrace -b b.btf "p ip_output \\$comm'),
    ("pattern", "surftrace list -b b.btf tcp_v4_connec", "surftrace list -b b.btf tcp_v4_connect "),
    ("second-command", "true; surftrace -b b.btf 'p tcp_v4_connec", "true; surftrace -b b.btf 'p tcp_v4_connect"),
    ("nothing", "surftrace -b b.btf 'p ip_output skb->nonsense", "surftrace -b b.btf 'p ip_output skb->nonsense"),
    (
        "no-expansion",
        'surftrace -o "$(touch run)" -b b.btf \'p tcp_v4_connec',
        'surftrace -o "$(touch run)" -b b.btf \'p tcp_v4_connect',
    ),
)


@pytest.mark.parametrize("shell", shells.NAMES)
def test_a_tab_completes_the_line(shell: str, home: Path) -> None:
    with shells.running(shell, home) as terminal:
        seen = {}
        for name, typed, _ in _LINES:
            seen[name] = terminal.press(f"{typed}\t")
            terminal.press("\x15")  # the line is gone
    assert seen == {name: line for name, _, line in _LINES}
    assert not (home / "run").exists()


# (id, what is typed, where what is offered begins in it, what is offered)
_LISTS = (
    ("kinds", "surftrace '", "surftrace '", ["P", "R", "e", "p", "r"]),
    ("members", "surftrace -b b.btf 'p ip_output skb->dev->na", "surftrace -b b.btf 'p ip_output skb->dev->", _MEMBERS),
    ("names", "surftrace -b b.btf 'p ip_output ", "surftrace -b b.btf 'p ip_output ", ["f:", "net", "sk", "skb"]),
)


@pytest.mark.parametrize(("typed", "before", "expected"), [pytest.param(*rest, id=name) for name, *rest in _LISTS])
@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_choices_are_listed_without_what_was_typed(
    shell: str, typed: str, before: str, expected: list[str], home: Path
) -> None:
    with shells.running(shell, home) as terminal:
        terminal.press(typed)
        start = len(terminal.text)
        terminal.press("\t\t" if shell == "bash" else "\t")
        listed = terminal.text[start:].partition("\n")[2].partition(shells.PROMPT)[0]
    rows = listed.splitlines() if shell == "zsh" else re.split(r"\s{2,}", listed)
    assert sorted(row.split()[0] for row in rows if row.strip()) == sorted(expected)  # bash lists them in columns


@pytest.mark.parametrize(("typed", "before", "expected"), [pytest.param(*rest, id=name) for name, *rest in _LISTS])
def test_fish_lists_the_choices(typed: str, before: str, expected: list[str], home: Path) -> None:
    kept = before.partition("'")[2]
    assert sorted(shells.fish_choices(typed, home)) == sorted(
        f"{kept}{each}{' ' if len(each) == 1 else ''}" for each in expected
    )
