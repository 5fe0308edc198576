"""Every chain of members in perf_chains.txt is read as `perf probe` reads it from the DWARF of the same kernel.

surftrace has the types from the kernel's BTF, and, as perf has them, from its DWARF alone.
"""

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.kernel import images
from tests.oracle import dbg, perf
from tests.oracle.compiled import Types, fetch_text
from tests.oracle.reads import parse_read

# One pytest-xdist worker gets all, so that perf runs once.
pytestmark = pytest.mark.xdist_group("perf")

Chain = tuple[str, str]  # the same chain as surftrace has it and as perf has it


def _chains() -> dict[str, list[Chain]]:
    """Every function of the table with its chains."""
    text = Path(__file__).with_name("perf_chains.txt").read_text()
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    chains: dict[str, list[Chain]] = {}
    function = ""
    for line in lines:
        if line.startswith(" "):
            ours, _, theirs = line.partition(" | ")
            chains[function].append((ours.strip(), (theirs or ours).strip()))
        else:
            function = line
            chains[function] = []
    return chains


CHAINS: Mapping[str, list[Chain]] = _chains()


@pytest.fixture(scope="module")
def of_perf() -> dict[str, list[str]]:
    """Return perf's fetch arguments for all chains, by function."""
    vmlinux = dbg.fetch(images.fetch("6.1"))
    return perf.fetch_arguments(vmlinux, {name: [theirs for _, theirs in chains] for name, chains in CHAINS.items()})


@pytest.mark.parametrize("types", Types, ids=lambda types: types.name)
@pytest.mark.parametrize(
    ("function", "number"),
    [
        pytest.param(function, number, id=f"{function} {ours}")
        for function, chains in CHAINS.items()
        for number, (ours, _) in enumerate(chains)
    ],
)
def test_a_chain_is_read_as_perf_reads_it(
    function: str, number: int, types: Types, of_perf: dict[str, list[str]]
) -> None:
    ours, theirs = CHAINS[function][number]
    our_text, their_text = fetch_text(function, ours, types), of_perf[function][number]
    difference = f"surftrace makes {our_text} of {ours}, perf {their_text} of {theirs}"
    assert parse_read(our_text) == parse_read(their_text), difference
