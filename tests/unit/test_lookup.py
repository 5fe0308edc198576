"""Hints with a command that lists what there is: for the running kernel, and only where that prints something."""

from dataclasses import replace

import pytest

from surftrace.compiler.lookup import where_events, where_functions
from surftrace.compiler.resolve import resolve
from surftrace.kernel.machine import X86_64
from surftrace.kernel.symbols import Symbols
from surftrace.kernel.target import Target
from surftrace.lang.script import parse_script
from surftrace.lang.source import CompileError
from tests.unit.compiling import offline_kernel, shapes_btf

_TEXT = b"""\
ffffffff81000000 T plain
ffffffff81000010 T tcp_connect
ffffffff81000020 T tcp_close
ffffffff81000030 T __pfx_tcpdump_all
ffffffff81000040 t tcp_cold_start.cold
ffffffff81000050 D udp_table
"""

# (id, what was written, the pattern)
_FUNCTIONS = (
    ("misspelt-end", "tcp_connekt", "tcp_conne*"),
    ("more-behind", "tcp_close_all", "tcp_close*"),
    ("beginning-alone", "tcp_zz", "tcp_*"),
    ("padding-is-no-function", "tcpdump", "tcp*"),
    ("too-short", "tc_connect", ""),
    ("a-variable", "udp_tables", ""),
    ("nothing", "", ""),
)


@pytest.mark.parametrize(("name", "pattern"), [pytest.param(*rest, id=name) for name, *rest in _FUNCTIONS])
def test_functions_that_begin_most_alike(name: str, pattern: str) -> None:
    expected = (f"like it: surftrace list '{pattern}'",) if pattern else ()
    assert where_functions(name, Symbols(_TEXT, is_running=True)) == expected
    assert where_functions(name, Symbols(_TEXT)) == ()


def test_events_of_a_system() -> None:
    names = ("sched/sched_switch", "skb/kfree_skb")
    assert where_events("sched", names) == ("events of sched: surftrace list 'sched/*'",)
    assert where_events("sch", names) == ()


@pytest.mark.parametrize(
    ("probe", "hints"),
    [
        ("p plain x=s->is_upp", ("did you mean 'is_up'?", "all its members: surftrace show 'struct shape'")),
        ("p plainn", ("did you mean 'plain'?", "like it: surftrace list 'plain*'")),
    ],
)
def test_the_running_kernel_has_commands_to_look_with(probe: str, hints: tuple[str, ...]) -> None:
    offline = offline_kernel(shapes_btf())
    for is_running in (True, False):
        kernel = replace(offline, kernel_symbols=Symbols(_TEXT, is_running))
        with pytest.raises(CompileError) as error:
            resolve(parse_script([probe]), Target(X86_64, kernel))
        assert error.value.diagnostics[0].hints == (hints if is_running else hints[:1])
