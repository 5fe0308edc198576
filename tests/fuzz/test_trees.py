"""A drawn syntax tree, printed and parsed, is the same tree, and compiles or is told why not."""

from hypothesis import given
from hypothesis import strategies as st

from surftrace.kernel.machine import MACHINES
from surftrace.lang.printing import print_probe
from surftrace.lang.syntax import Probe
from tests.fuzz.checks import check, reparsed
from tests.fuzz.kernels import KERNELS, fuzz_kernel
from tests.fuzz.limits import fuzzing
from tests.fuzz.trees import PROBES


@fuzzing(300)
@given(PROBES, st.sampled_from(KERNELS), st.sampled_from(sorted(MACHINES)))
def test_trees(probe: Probe, kernel: str, machine: str) -> None:
    assert reparsed(probe) == probe, print_probe(probe)
    check(fuzz_kernel(kernel), MACHINES[machine], [print_probe(probe)])
