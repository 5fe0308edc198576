"""BTF and DWARF of one kernel build say the same: a thousand member chains, drawn by a seed, compile to the same."""

import os
import random
from collections import Counter
from collections.abc import Iterator

import drgn

from surftrace.compiler.plan import build_plan
from surftrace.compiler.resolve import resolve
from surftrace.kernel.machine import machine_named
from surftrace.kernel.offline import OfflineKernel
from surftrace.kernel.target import Target
from surftrace.kernel.types import Type, is_aggregate, underlying
from surftrace.lang.script import parse_script
from surftrace.lang.source import CompileError
from tests.kernel import images
from tests.oracle import dbg

_CHAINS = 1000
_DEPTH = 5


def _target(kernel: OfflineKernel) -> Target:
    return Target(machine_named("x86_64"), kernel)


def _compiled(target: Target, chain: str) -> object:
    """The plan's texts with how each value is shown, or what is said against it."""
    try:
        resolved = resolve(parse_script([f"p ip_output v={chain} f:{chain}!=7"]), target)
    except CompileError as error:
        # BTF has no difference between [0] and [].
        return [(each.message.replace("[0],", "[],"), each.hints) for each in error.diagnostics]
    steps = [(step.path, step.text) for step in build_plan(resolved, "surftrace", "little").steps]
    return steps, [(field.name, field.enumerators, field.letter) for field in resolved.probes[0].fields]


def _shared_structs(by_btf: OfflineKernel, by_dwarf: OfflineKernel) -> list[str]:
    """Structs that the kernel's sources define once, and outside of functions: drgn does not look into these."""
    count = Counter(by_btf.kernel_types.program.type_names(drgn.TypeKind.STRUCT))
    names = sorted(name for name, number in count.items() if number == 1)
    prog = by_dwarf.kernel_types.program.prog
    return [name for name in names if _has_struct(prog, name)]


def _has_struct(prog: drgn.Program, name: str) -> bool:
    try:
        prog.type(f"struct {name}")
    except LookupError:
        return False
    return True


def _chain(draw: random.Random, by_dwarf: OfflineKernel, structs: list[str], unique: set[str]) -> str:
    """A walk over members from a random struct on: into members and through pointers to structs."""
    name = draw.choice(structs)
    type_: Type = by_dwarf.kernel_types.named(f"struct {name}")
    text = f"!(struct {name} *)%di"
    arrow = "->"
    for _ in range(draw.randint(1, _DEPTH)):
        members = [member for member in _members(type_) if not _is_matrix(member.type)]
        if not members:
            break
        member = draw.choice(members)
        text += f"{arrow}{member.name}"
        bare = underlying(member.type)
        if bare.kind == drgn.TypeKind.ARRAY and bare.length:
            text += f"[{draw.randrange(bare.length)}]"
            bare = underlying(bare.type)
        arrow = "."
        if bare.kind == drgn.TypeKind.POINTER:
            bare, arrow = underlying(bare.type), "->"
        if not is_aggregate(bare) or not bare.is_complete() or (bare.tag is not None and bare.tag not in unique):
            break
        type_ = bare
    return text


def _members(type_: Type) -> Iterator[drgn.TypeMember]:
    """All members, those of anonymous ones too."""
    for member in type_.members or ():
        if member.name:
            yield member
        elif is_aggregate(member.type):
            yield from _members(underlying(member.type))


def _is_matrix(type_: Type) -> bool:
    """Is this an array of arrays? pahole makes BTF of it as of one array with all their elements."""
    bare = underlying(type_)
    return bool(bare.kind == drgn.TypeKind.ARRAY and underlying(bare.type).kind == drgn.TypeKind.ARRAY)


def test_chains_compile_to_the_same() -> None:
    """SEED=N in the environment draws the chains of an earlier run again."""
    seed = int(os.environ.get("SEED", "") or random.SystemRandom().randrange(1 << 32))
    print(f"SEED={seed}")
    image = images.fetch("6.1")
    by_btf = OfflineKernel.of_files(str(image.btf))
    by_dwarf = OfflineKernel.of_files(vmlinux=str(dbg.fetch(image)))
    structs = _shared_structs(by_btf, by_dwarf)
    assert len(structs) > 5000
    unique = set(structs)
    draw = random.Random(seed)
    targets = _target(by_btf), _target(by_dwarf)
    compiled = 0
    for _ in range(_CHAINS):
        chain = _chain(draw, by_dwarf, structs, unique)
        ours, theirs = (_compiled(target, chain) for target in targets)
        assert ours == theirs, f"seed {seed}: {chain}"
        compiled += isinstance(ours, tuple)
    assert compiled > _CHAINS // 3, f"seed {seed}"
