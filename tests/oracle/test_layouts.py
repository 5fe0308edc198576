"""`surftrace show` and `surftrace list` against pahole: where the members of many structs are, who takes a type."""

import random
import re
import subprocess
from functools import cache

import pytest

from surftrace.btf.format import Kind
from surftrace.btf.program import open_program
from surftrace.btf.reader import Btf
from surftrace.btf.signatures import Signatures
from surftrace.cli.main import main
from surftrace.kernel.declarations import declared, spellings
from tests.btf import bpftool
from tests.kernel import images

SEED = 20261121
COUNT = 200

# With bit fields, holes, unions in structs in unions.
_HARD = ("sk_buff", "sock", "inet_sock", "tcp_sock", "task_struct", "net_device", "page", "msghdr", "kobject", "inode")

# `	struct list_head   list;   /*  0  16 */`, `	unsigned int  a:1;   /*  4: 3  4 */`, `	} u;   /* 8  8 */`.
_MEMBER = re.compile(r"^(?P<text>.*?);? +/\* +(?P<byte>\d+)(?:: *(?P<bit>\d+))? +(?P<size>\d+) \*/$")
_SIZE = re.compile(r"/\* size: (\d+),(?: cachelines: \d+,)? members: (\d+)")
_HOLE = re.compile(r"/\* (?:XXX )?(?:(\d+) bytes?)?(?: and )?(?:(\d+) bits?)? hole")
_ANY_START = re.compile(r"^(?:struct|union) (\w+) \{$", re.MULTILINE)

Members = list[tuple[str, int, int]]  # name, bit offset, size of what holds it


def _path() -> str:
    return str(images.fetch("6.1").btf)


@cache
def _names() -> tuple[str, ...]:
    """Some that are known to be hard, and those that are drawn of all whose name is theirs alone."""
    btf = Btf(images.fetch("6.1").btf.read_bytes())
    found = [name for name in btf.names((Kind.STRUCT, Kind.UNION)) if name]
    once = sorted(name for name in set(found) if found.count(name) == 1)
    drawn = random.Random(SEED).sample(once, COUNT)
    return tuple(dict.fromkeys((*_HARD, *drawn)))


def _blocks(text: str) -> dict[str, str]:
    starts = list(_ANY_START.finditer(text))
    ends = [*(start.start() for start in starts[1:]), len(text)]
    return {start[1]: text[start.start() : end] for start, end in zip(starts, ends, strict=True)}


@cache
def _of_pahole() -> dict[str, str]:
    argv = ["pahole", "-F", "btf", "-C", ",".join(_names()), _path()]
    return _blocks(subprocess.run(argv, capture_output=True, text=True, check=True).stdout)


def _name(text: str) -> str:
    """The member's name in its declaration; empty for one without a name."""
    text = re.sub(r"__attribute__\(\(.*?\)\)+", "", text).strip()
    pointer = re.search(r"\(\*+ *(?:const )?(\w+)(?:\[\w*\])*\)", text)
    if pointer is not None:
        return pointer[1]
    found = re.search(r"(\w+)(?:\[\w*\])*(?::\d+)?$", text)
    return "" if found is None or text == "}" else found[1]


def _members(block: str) -> Members:
    found = filter(None, map(_MEMBER.match, block.splitlines()))
    return [(_name(m["text"]), int(m["byte"]) * 8 + int(m["bit"] or 0), int(m["size"])) for m in found]


def _hole_bits(block: str) -> int:
    return sum(int(whole or 0) * 8 + int(bits or 0) for whole, bits in _HOLE.findall(block))


@pytest.mark.parametrize("name", _names())
def test_a_layout_is_that_of_pahole(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    theirs = _of_pahole()[name]
    keyword = theirs.split()[0]
    assert main(["show", "-b", _path(), f"{keyword} {name}"]) == 0, f"seed {SEED}"
    ours = capsys.readouterr().out
    assert _members(ours) == _members(theirs)
    if keyword != "union":  # whose size it says at no place of its own
        assert _SIZE.findall(ours) == _SIZE.findall(theirs)
    assert _hole_bits(ours) == _hole_bits(theirs)


def test_there_is_something_to_compare() -> None:
    found = [_members(block) for block in _of_pahole().values()]
    assert len(found) >= COUNT
    assert sum(map(len, found)) > 2000
    assert sum(bit % 8 != 0 for members in found for _, bit, _ in members) > 100
    assert sum(map(_hole_bits, _of_pahole().values())) > 1000


_LOOKED_THROUGH = ("TYPEDEF", "CONST", "VOLATILE", "RESTRICT")


def _resolved(types: bpftool.Dump, type_id: int) -> dict[str, object]:
    while types.get(type_id, {"kind": "VOID"})["kind"] in _LOOKED_THROUGH:
        type_id = types[type_id]["type_id"]
    return types.get(type_id, {"kind": "VOID"})


def _takers(types: bpftool.Dump, tag: str) -> set[str]:
    """The functions with a parameter that points to the struct, by what bpftool reads."""
    found = set()
    for record in types.values():
        parameters = types[record["type_id"]]["params"] if record["kind"] == "FUNC" else ()
        for parameter in parameters:
            pointer = _resolved(types, parameter["type_id"])
            target = _resolved(types, int(str(pointer["type_id"]))) if pointer["kind"] == "PTR" else pointer
            if target["kind"] in ("STRUCT", "FWD") and target["name"] == tag and pointer is not target:
                found.add(str(record["name"]))
    return found


@pytest.mark.parametrize("tag", ["sk_buff", "net_device", "task_struct", "file", "inode", "pt_regs", "bio", "module"])
def test_who_takes_a_struct_is_what_bpftool_counts(tag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "-b", _path(), "--takes", f"struct {tag} *"]) == 0
    lines = capsys.readouterr().out.splitlines()
    ours = {found[1] for found in (re.search(r"(\w+)\(", line) for line in lines) if found}
    theirs = _takers(bpftool.dump(images.fetch("6.1").btf), tag)
    assert len(theirs) > 20
    assert ours == theirs


def test_functions_are_declared_as_drgn_has_them() -> None:
    """What is read from the records of prototypes alone is what drgn makes of them."""
    btf = Btf(images.fetch("6.1").btf.read_bytes())
    signatures = Signatures(btf)
    (converter,) = open_program([btf])._converters
    for name, type_id in random.Random(SEED).sample(list(signatures.functions()), 3000):
        prototype, record = converter.type(type_id), btf.type(type_id)
        assert signatures.declared(name, type_id) == declared(prototype, name)
        for theirs, ours in zip(prototype.parameters, record.parameters, strict=False):  # without the dots
            assert signatures.spellings(ours.type_id) == spellings(theirs.type)
