"""Every type of Debian's kernels and of some modules, as a drgn type, is what bpftool reads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import drgn
import pytest

from surftrace.btf import Btf, BtfError, load
from surftrace.btf.program import BtfProgram, open_program
from tests.btf import bpftool, samples
from tests.btf.comparison import differences, is_same
from tests.kernel import images

MODULES = ("nf_conntrack", "xfs", "openvswitch")
KERNELS_WITHOUT_MODULE_BTF = ("5.10",)


@dataclass(frozen=True)
class Kernel:
    image: images.Image
    dump: bpftool.Dump
    btf: Btf
    program: BtfProgram


@pytest.fixture(scope="module", params=images.NAMES)
def kernel(request: pytest.FixtureRequest) -> Kernel:
    image = images.fetch(request.param)
    btf = load(image.btf)
    return Kernel(image, bpftool.dump(image.btf), btf, open_program([btf]))


def test_every_type(kernel: Kernel) -> None:
    assert (kernel.btf.first_id, kernel.btf.end_id, kernel.btf.pointer_size) == (1, len(kernel.dump) + 1, 8)
    assert list(differences(kernel.program, kernel.btf, kernel.dump, kernel.dump)) == []


def test_every_type_of_modules(kernel: Kernel) -> None:
    for module in MODULES:
        (path,) = kernel.image.modules.rglob(f"{module}.ko")
        if kernel.image.name in KERNELS_WITHOUT_MODULE_BTF:
            with pytest.raises(BtfError, match=r"no \.BTF section"):
                load(path, kernel.btf)
            continue
        btf = load(path, kernel.btf)
        own = bpftool.dump(path, kernel.image.btf)
        assert (btf.first_id, btf.end_id) == (min(own), max(own) + 1)
        program = open_program([kernel.btf, btf])
        assert list(differences(program, btf, own, kernel.dump | own)) == []


def test_functions_and_variables_by_name(kernel: Kernel) -> None:
    functions, variables = (
        [record["name"] for record in kernel.dump.values() if record["kind"] == kind] for kind in ("FUNC", "VAR")
    )
    assert list(kernel.program.functions()) == functions
    assert all(kernel.program.variable(name) for name in variables)
    sampled = [record for record in kernel.dump.values() if record["kind"] == "FUNC"][::200]
    for record in sampled:
        found_types = kernel.program.functions_named(record["name"])
        assert any(is_same(each, record["type_id"], kernel.dump) for each in found_types), record


def test_what_every_kernel_has(kernel: Kernel) -> None:
    sk_buff = kernel.program.prog.type("struct sk_buff")
    assert sk_buff.member("dev").type.type_name() == "struct net_device *"
    assert sk_buff.member("pkt_type").bit_field_size == 3
    ip_output = kernel.program.function("ip_output")
    assert str(ip_output) == "int (struct net *net, struct sock *sk, struct sk_buff *skb)"
    assert drgn.sizeof(kernel.program.prog.type("unsigned long")) == 8
    assert kernel.program.prog.type("s8").unaliased().is_signed


def test_btf_of_an_elf_file(kernel: Kernel) -> None:
    from_elf = load(kernel.image.vmlinux)
    assert from_elf.end_id == kernel.btf.end_id
    assert from_elf.type(from_elf.end_id - 1).name == kernel.btf.type(kernel.btf.end_id - 1).name


# bpftool reads a longer header in its own byte order only.
@pytest.mark.parametrize(("byteorder", "header_size"), [("little", 24), ("little", 32), ("little", 48), ("big", 24)])
def test_the_samples_are_what_bpftool_reads(tmp_path: Path, byteorder: str, header_size: int) -> None:
    path = tmp_path / "btf"
    path.write_bytes(samples.kernel(byteorder, header_size).data)
    dump = bpftool.dump(path)
    btf = load(path)
    assert len(dump) == btf.end_id - 1
    assert list(differences(open_program([btf]), btf, dump, dump)) == []
