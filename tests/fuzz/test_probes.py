"""Whatever is written, the compiler answers with a plan or with diagnostics, soon, and the diagnostics can be shown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surftrace.kernel.machine import MACHINES
from tests.fuzz.checks import check
from tests.fuzz.kernels import KERNELS, fuzz_kernel
from tests.fuzz.limits import FACTOR, fuzzing, limited_memory
from tests.fuzz.probes import DEFINITIONS, HUGE, mutants, probes, script_texts, targeted_probes

_KERNELS = st.sampled_from(KERNELS)
_MACHINES = st.sampled_from(["x86_64", *MACHINES])


@fuzzing(600)
@given(_MACHINES, targeted_probes(), st.booleans())
def test_probes_of_the_grammar(machine: str, probe: tuple[str, str], has_guards: bool) -> None:
    kernel, text = probe
    check(fuzz_kernel(kernel), MACHINES[machine], [text], has_guards=has_guards)


# What was found once: (id, kernel, probe).
_FOUND = (
    ("octal-line", "shapes", "p plain:010"),
    ("no-octal-line", "shapes", "p net/a.c:09"),
    ("explained-letter", "shapes", "p plain Ss->is_up"),
    ("printed-letter", "shapes", "p plain X(s)"),
    ("printed-letter-before-a-word", "shapes", "p plain X(container_of(s, struct shape, dev)->level)"),
    ("printed-value-f", "shapes", "p plain (f):u32"),
    ("negated-slice", "shapes", "p plain f:!(n[1:8]==1)"),
    ("explained-slice-of-data", "packets", "p packets a=@(struct tcphdr *)skb->cdata[0:16]"),
    ("printed-large-offset", "shapes", "p none+99999999999999999999 @a-99999999999999999999"),
    ("long-slice", "4.19", "p dev_queue_xmit %0[0:99999999999999999999]:u8"),
    ("file-name-too-long", "shapes", f"P {'a' * 300}:f"),
)


@pytest.mark.parametrize(("kernel", "probe"), [pytest.param(kernel, probe, id=name) for name, kernel, probe in _FOUND])
def test_found(kernel: str, probe: str) -> None:
    check(fuzz_kernel(kernel), MACHINES["x86_64"], [probe])


@fuzzing(60)
@given(_KERNELS, _MACHINES, st.lists(probes(), min_size=2, max_size=4))
def test_several_probes(kernel: str, machine: str, several: list[str]) -> None:
    check(fuzz_kernel(kernel), MACHINES[machine], several)


@fuzzing(400)
@given(_KERNELS, _MACHINES, mutants())
def test_mutants(kernel: str, machine: str, probe: str) -> None:
    check(fuzz_kernel(kernel), MACHINES[machine], [probe])


@fuzzing(200)
@given(_KERNELS, script_texts(), DEFINITIONS)
def test_scripts(kernel: str, text: str, definitions: dict[str, str]) -> None:
    check(fuzz_kernel(kernel), MACHINES["x86_64"], [], text, definitions)


@fuzzing(150)
@given(st.text(max_size=60))
def test_any_text(text: str) -> None:
    check(fuzz_kernel("shapes"), MACHINES["aarch64"], [text], text)


@fuzzing(25)
@given(_KERNELS, mutants())
def test_memory(kernel: str, probe: str) -> None:
    with limited_memory():
        check(fuzz_kernel(kernel), MACHINES["x86_64"], [probe])


@pytest.mark.parametrize("probe", [pytest.param(probe, id=name) for name, probe in HUGE])
@pytest.mark.parametrize("kernel", ["shapes", "shapes 6.12"])
def test_huge_probes(kernel: str, probe: str) -> None:
    check(fuzz_kernel(kernel), MACHINES["x86_64"], [probe])


# tracemalloc makes these slow.
_SOME_HUGE = HUGE if FACTOR else HUGE[::4]


@pytest.mark.parametrize("probe", [pytest.param(probe, id=name) for name, probe in _SOME_HUGE])
def test_memory_of_huge_probes(probe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.fuzz.limits._MAX_CPU_S", 60.0)
    with limited_memory():
        check(fuzz_kernel("shapes"), MACHINES["x86_64"], [probe])
