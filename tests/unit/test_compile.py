"""Expressions on which the compiler once gave a wrong fetch, or none at all."""

import pytest

from surftrace.compiler.plan import KPROBE_EVENTS
from surftrace.lang.source import CompileError
from tests.unit.compiling import compile_plan, shapes_btf

# What no kernel can fetch, or what would be shown wrongly: (id, probe)
_REFUSED = (
    # `string` needs memory (kernel-facts.md): the kernel refuses `%di:string`.
    ("characters-in-a-register", "p plain a=!(char[8])%di"),
    ("characters-in-a-return-value", "r plain a=!(char[8])$retval"),
    ("characters-in-a-stack-slot", "p plain a=!(char[8])$stack1"),
    # `flags` is bits 5 to 7 of its byte: four whole bytes are not its value.
    ("a-bit-field-taken-as-a-number", "p plain a=s->!(u32)flags"),
    ("a-task-name-taken-as-a-number", "p plain a=!(u64)$comm"),
    # Linux kernel/trace/trace_kprobe.c reads the offset with kstrtoul.
    ("a-place-past-all-memory", "p plain+99999999999999999999"),
)


@pytest.mark.parametrize("probe", [pytest.param(probe, id=name) for name, probe in _REFUSED])
def test_refused(probe: str) -> None:
    with pytest.raises(CompileError):
        compile_plan(shapes_btf(), probe)


# An array that a register holds is no memory to index: an element at most, or an error, never a crash.
@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize("base", ["%di", "$stack", "$stack1", "%0"])
def test_element_of_an_array_in_a_register(base: str, index: int) -> None:
    with pytest.raises(CompileError):
        compile_plan(shapes_btf(), f"p plain a=!(u64[2]){base}[{index}]")


# Fields of an event that is not known here may be 64 unsigned bits wide: kernel pointers are.
@pytest.mark.parametrize("literal", ["0xffffffff81000000", "18446744073709551615", "-9223372036854775808"])
def test_any_64_bits_compare_with_a_field_that_is_not_known(literal: str) -> None:
    plan = compile_plan(shapes_btf(), f"e kmem/kfree f:call_site=={literal}")
    assert plan.steps[0].text == f"call_site=={literal}"


@pytest.mark.parametrize("literal", ["18446744073709551616", "-9223372036854775809"])
def test_more_than_64_bits_compare_with_nothing(literal: str) -> None:
    with pytest.raises(CompileError):
        compile_plan(shapes_btf(), f"e kmem/kfree f:call_site=={literal}")


def test_every_definition_has_its_undo() -> None:
    plan = compile_plan(shapes_btf(), "p plain", "r plain", "e sched/sched_switch")
    undone = [step.undo.text for step in plan.steps if step.path == KPROBE_EVENTS and step.undo is not None]
    assert undone == ["-:surftrace/f0", "-:surftrace/f1"]


# A type's text reaches drgn's own parser: bytes that are no text, a NUL out of a script, any sign.
@pytest.mark.parametrize(
    "text", ["u\udcff", "u\0", "u64\0", "struct \udcff *", "u\x1b", "\u00e9", "u64 {", "u64 ;", "u64\\"]
)
def test_a_type_of_any_characters_is_told_to_be_none(text: str) -> None:
    with pytest.raises(CompileError):
        compile_plan(shapes_btf(), f"p plain a=!({text})%0")
