"""Lines and variables of twenty functions are where `perf probe` finds them in the same DWARF."""

import re
from functools import cache

import pytest

from surftrace.compiler.fetch import render_fetch
from surftrace.compiler.resolve import resolve
from surftrace.dwarf.debuginfo import DebugFile
from surftrace.kernel.code import Code, CodePlace, open_code
from surftrace.kernel.machine import X86_64
from surftrace.kernel.offline import OfflineKernel
from surftrace.kernel.target import Target
from surftrace.lang.script import parse_script
from surftrace.lang.source import CompileError
from surftrace.lang.syntax import Name
from tests.kernel import images
from tests.oracle import dbg, perf

# One pytest-xdist worker gets all, so that perf runs once.
pytestmark = pytest.mark.xdist_group("perf")

FUNCTIONS = (
    *("ip_rcv", "ip_output", "ip_forward", "ip_local_deliver", "ip_route_input_noref", "__ip_queue_xmit"),
    *("tcp_v4_rcv", "tcp_rcv_established", "tcp_sendmsg_locked", "udp_sendmsg", "__udp4_lib_rcv", "__dev_queue_xmit"),
    *("do_sys_openat2", "vfs_read", "vfs_write", "do_filp_open", "wake_up_new_task", "copy_process", "do_exit"),
    "__alloc_pages",
)
_LINES = 3


def _vmlinux() -> str:
    return str(dbg.fetch(images.fetch("6.1")))


@cache
def _target() -> Target:
    image = images.fetch("6.1")
    return Target(X86_64, OfflineKernel.of_files(str(image.btf), vmlinux=_vmlinux()))


def _lines(code: Code, function: str) -> dict[int, list[CodePlace]]:
    """Lines of the function, counted from its first, that share no place with another; perf refuses those."""
    found = code.function(function)
    assert found is not None
    rows = [row for row in code.rows(found) if row.is_statement]
    lines = sorted({row.line for row in rows if row.file == found.file and row.line > found.line})
    alone = {row.address for row in rows} - {
        row.address for row in rows for other in rows if row.address == other.address and row.line != other.line
    }
    places = {line - found.line: code.places(found, found.file, line) for line in lines}
    return {line: each for line, each in places.items() if each and each[0].address in alone}


def _plain(text: str) -> str:
    """A fetch argument without its type, its numbers in decimal."""
    return re.sub(r"0x[0-9a-f]+", lambda match: str(int(match[0], 16)), text.partition(":")[0])


def _ours(place: CodePlace, name: str) -> str | None:
    """The fetch of a variable there; None for one that no place in memory or register is of."""
    probe = parse_script([f"p {place.symbol}+{place.byte_offset:#x} {name}"]).probes[0]
    try:
        resolved = resolve(parse_script([f"p {place.symbol}+{place.byte_offset:#x} a={name}:u64"]), _target(), False)
    except CompileError:
        pass
    else:
        scope = resolved.probes[0].scope
        assert scope is not None
        argument = probe.arguments[0].value
        assert isinstance(argument, Name)
        known = scope.locals()
        assert known is not None
        value = known.value(argument, scope)
        return render_fetch(value.fetch("")) if value is not None and not value.is_address else None
    return None


@pytest.mark.parametrize("function", FUNCTIONS)
def test_lines_and_variables_are_where_perf_finds_them(function: str) -> None:
    code = open_code(_vmlinux(), X86_64)
    assert _target().types().debug is not None
    assert DebugFile(_vmlinux())
    lines = _lines(code, function)
    assert lines, "no line of its own"
    compared = places = 0
    for line in list(lines)[:: max(1, len(lines) // _LINES)]:
        try:
            theirs = perf.definitions(dbg.fetch(images.fetch("6.1")), f"{function}:{line} $vars")
        except perf.PerfError:  # it has rules of its own for lines in several places
            continue
        by_offset = {int(place.partition("+")[2] or 0): arguments for place, arguments in theirs if "+" in place}
        for place in lines[line]:
            assert place.symbol != function or place.byte_offset in by_offset, f"{function}:{line}, {place}"
            places += 1
            for argument in by_offset.get(place.byte_offset, ()):
                name, _, text = argument.partition("=")
                ours = _ours(place, name)
                if ours is not None and not text.startswith("\\"):
                    assert _plain(ours) == _plain(text), f"{function}:{line}, {place}: {name}"
                    compared += 1
    assert places, function
    assert compared, function
