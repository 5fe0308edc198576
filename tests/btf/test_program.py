"""What drgn shows of a small kernel whose types come from BTF."""

from __future__ import annotations

import drgn
import pytest

from surftrace.btf import Btf, BtfError, Kind
from surftrace.btf.program import BtfProgram, open_program
from tests.btf import samples
from tests.btfwriter import (
    Declaration,
    array,
    enum,
    forward,
    function,
    integer,
    pointer,
    prototype,
    struct,
    typedef,
    union,
    variable,
    write,
)


def program(*declarations: Declaration, byteorder: str = "little") -> BtfProgram:
    return open_program([Btf(write(*declarations, byteorder=byteorder).data)])


@pytest.fixture(scope="module", params=["little", "big"])
def kernel(request: pytest.FixtureRequest) -> BtfProgram:
    return open_program([Btf(samples.kernel(request.param).data)])


SK_BUFF_TEXT = """\
struct sk_buff {
	union {
		struct net_device *dev;
		unsigned long scratch;
	};
	unsigned int len;
	__u8 cloned : 1;
	__u8 pkt_type : 3;
	char cb[4][2];
	char __user *user;
	bool is_set;
	unsigned char data[];
}"""


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("struct sk_buff", SK_BUFF_TEXT),
        ("struct sk_buff *", "struct sk_buff *"),
        (
            "struct list_head",
            "struct list_head {\n\tstruct list_head *next;\n\tconst struct list_head * const prev;\n}",
        ),
        ("struct ops", "struct ops {\n\tint (*call)(struct list_head *list, long);\n}"),
        ("struct matrix", "struct matrix {\n\tint rows[2][3];\n\tvolatile long seq;\n}"),
        ("struct sock", "struct sock"),
        ("enum pid_type", "enum pid_type {\n\tPIDTYPE_PID = 0,\n\tPIDTYPE_TGID = 1,\n}"),
        ("enum sign", "enum sign {\n\tMINUS = -1,\n\tPLUS = 1,\n}"),
        ("enum wide", "enum wide {\n\tHUGE = 1099511627776,\n}"),
        ("enum wide_sign", "enum wide_sign {\n\tLEAST = -9223372036854775808,\n}"),
        ("enum opaque", "enum opaque"),
        ("__u8", "typedef unsigned char __u8"),
        ("bool", "typedef _Bool bool"),
        ("_Bool", "_Bool"),
        ("double", "double"),
        ("unsigned long", "unsigned long"),
        ("long unsigned int", "unsigned long"),
        ("const char *", "const char *"),
        ("char [4]", "char [4]"),
    ],
)
def test_types_by_name(kernel: BtfProgram, name: str, expected: str) -> None:
    assert str(kernel.prog.type(name)) == expected


@pytest.mark.parametrize("name", ["struct sk_buf", "struct pid_type", "union sk_buff", "u64", "enum sk_buff"])
def test_unknown_names(kernel: BtfProgram, name: str) -> None:
    with pytest.raises(LookupError, match="could not find"):
        kernel.prog.type(name)


@pytest.mark.parametrize(
    ("byteorder", "expected"),
    [
        ("little", drgn.PlatformFlags.IS_LITTLE_ENDIAN | drgn.PlatformFlags.IS_64_BIT),
        ("big", drgn.PlatformFlags.IS_64_BIT),
    ],
)
def test_platform(byteorder: str, expected: drgn.PlatformFlags) -> None:
    btf = Btf(samples.kernel(byteorder).data)
    platform = open_program([btf], drgn.Architecture.AARCH64).prog.platform
    assert platform is not None
    assert (platform.arch, platform.flags) == (drgn.Architecture.AARCH64, expected)


def test_platform_of_32_bits() -> None:
    small = program(integer("long unsigned int", 4), struct("a", 4, ("next", "struct a *", 0)))
    assert drgn.sizeof(small.prog.type("struct a *")) == 4
    assert small.prog.type("struct a").member("next").type.size == 4


def test_members_through_anonymous_ones(kernel: BtfProgram) -> None:
    sk_buff = kernel.prog.type("struct sk_buff")
    assert sk_buff.member("scratch").bit_offset == 0
    assert (sk_buff.member("pkt_type").bit_offset, sk_buff.member("pkt_type").bit_field_size) == (101, 3)
    assert sk_buff.member("data").type.length is None


def test_anonymous_member_with_a_tag() -> None:
    """Linux 7.0 is built with -fms-extensions."""
    inner = struct("inner", 8, ("low", "int", 0), ("high", "int", 4))
    tagged = program(inner, struct("outer", 16, (None, "struct inner", 8)))
    assert tagged.prog.type("struct outer").member("high").bit_offset == 96


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ip_output", "int (struct sock *sk, struct sk_buff *skb)"),
        ("_printk", "int (const char *fmt, ...)"),
        ("nonesuch", "None"),
        ("runqueues", "None"),
    ],
)
def test_functions(kernel: BtfProgram, name: str, expected: str) -> None:
    assert str(kernel.function(name)) == expected


def test_variables(kernel: BtfProgram) -> None:
    assert str(kernel.variable("runqueues")) == "struct sk_buff *"
    assert kernel.variable("ip_output") is None


def test_names(kernel: BtfProgram) -> None:
    assert list(kernel.functions()) == ["ip_output", "_printk"]
    assert list(kernel.type_names(drgn.TypeKind.TYPEDEF)) == ["__u8", "bool"]
    assert set(kernel.type_names(drgn.TypeKind.ENUM)) == {"pid_type", "sign", "wide", "wide_sign", "opaque"}
    assert list(kernel.type_names(drgn.TypeKind.STRUCT)) == ["sk_buff", "list_head", "ops", "matrix"]


@pytest.mark.parametrize(
    ("declarations", "name", "expected"),
    [
        pytest.param([forward("a"), struct("a", 8)], "struct a", 8, id="complete before declared"),
        pytest.param([struct("a", 4), struct("a", 8)], "struct a", 4, id="then the first"),
        pytest.param([forward("a", is_union=True), struct("a", 8)], "struct a", 8, id="a union's forward"),
        pytest.param([enum("a"), enum("a", A=1)], "enum a", 4, id="enumeration"),
        pytest.param([struct("a", 8), union("a", 16)], "union a", 16, id="tags of two kinds"),
        pytest.param([forward("a")], "struct a", None, id="only declared"),
    ],
)
def test_several_types_of_one_name(declarations: list[Declaration], name: str, expected: int | None) -> None:
    found = program(*declarations).prog.type(name)
    assert (drgn.sizeof(found) if found.is_complete() else None) == expected


def test_several_functions_of_one_name() -> None:
    several = program(function("probe", "int"), function("probe", "void", ("dev", "int")))
    assert [str(each) for each in several.functions_named("probe")] == ["int (void)", "void (int dev)"]
    assert str(several.function("probe")) == "int (void)"


def test_forward_declaration_leads_to_the_definition() -> None:
    here = program(
        struct("list", 16, ("first", pointer(forward("entry")), 0), ("kind", pointer(enum("kind")), 8)),
        struct("entry", 8, ("key", "long", 0)),
        enum("kind", ONE=1),
    )
    members = here.prog.type("struct list").members
    assert members[0].type.type.member("key").bit_offset == 0
    assert members[1].type.type.is_complete()


@pytest.mark.parametrize("byteorder", ["little", "big"])
def test_module(byteorder: str) -> None:
    written = samples.kernel(byteorder)
    base = Btf(written.data)
    module = Btf(samples.module(written).data, base)
    both = open_program([base, module])
    assert str(both.function("nf_hook")) == "unsigned int (struct net_device *dev)"
    assert str(both.function("ip_output")).startswith("int (struct sock *sk")  # the kernel's, which comes first
    assert len(both.functions_named("ip_output")) == 2
    assert list(both.functions()) == ["ip_output", "_printk", "ip_output", "nf_hook"]
    # Only declared in the kernel, defined in the module.
    device = both.prog.type("struct sk_buff").member("dev").type.type
    assert device.member("head").type.tag == "list_head"
    assert device.member("head").type.member("prev").bit_offset == 64


def test_module_brings_its_base() -> None:
    written = samples.kernel()
    alone = open_program([Btf(samples.module(written).data, Btf(written.data))])
    assert alone.prog.type("struct sk_buff").size == 40
    assert str(alone.function("ip_output")).startswith("void")  # the module's own, which it does not bring


def test_no_btf() -> None:
    with pytest.raises(BtfError, match="no BTF given"):
        open_program([])


def test_bit_field_as_it_was_before_kind_flag() -> None:
    old = program(struct("flags", 4, ("low", integer("unsigned int", 4, bits=3), 0)))
    member = old.prog.type("struct flags").member("low")
    assert (member.bit_offset, member.bit_field_size, member.type.type_name()) == (0, 3, "unsigned int")


def test_bit_fields_of_enumerations_and_typedefs() -> None:
    fields = program(
        struct("fields", 4, ("a", enum("e", A=1), 0, 0, 2), ("b", typedef("flag", "bool"), 0, 2, 1)),
        typedef("bool", "_Bool"),
    )
    assert str(fields.prog.type("struct fields")) == "struct fields {\n\tenum e a : 2;\n\tflag b : 1;\n}"


def test_signed_char_is_signed_whatever_pahole_says() -> None:
    char = program(integer("signed char", 1, is_signed=False))
    assert char.prog.type("signed char").is_signed


DAMAGED_MEMBERS = {
    "void": ("a", "void", 0),
    "function": ("a", prototype("int"), 0),
    "incomplete": ("a", "struct unknown", 0),
    "beyond the end": ("a", "long", 4),
    "bit field too wide": ("a", "char", 0, 0, 9),
    "bit field of a structure": ("a", struct("b", 1, ("c", "char", 0)), 0, 0, 3),
    "array too large": ("a", array("long", 1 << 30), 0),
    "array of void": ("a", array("void", 1), 0),
    "integer of 3 bytes": ("a", integer("odd", 3), 0),
    "enumeration of 3 bytes": ("a", enum("odd", 3, A=1), 0),
    "no type": ("a", 4711, 0),
    "variable": ("a", variable("b", "int"), 0),
}


@pytest.mark.parametrize("member", DAMAGED_MEMBERS.values(), ids=[*DAMAGED_MEMBERS])
def test_damaged_members(member: tuple[object, ...]) -> None:
    damaged = program(struct("damaged", 8, member))
    with pytest.raises(BtfError):
        damaged.prog.type("struct damaged").member("a").type  # noqa: B018


def test_function_without_prototype() -> None:
    damaged = program(Declaration(Kind.FUNC, "f", ("type", "int")))
    with pytest.raises(BtfError, match="no prototype"):
        damaged.function("f")
