"""The kernels that fuzzed probes are compiled for: types, and of some also symbols, events and a release."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from surftrace.btf import Btf
from surftrace.btf.program import open_program
from surftrace.kernel.features import ALL_FEATURES, Features, features_of_release
from surftrace.kernel.formats import EventField, parse_format
from surftrace.kernel.symbols import Symbols
from surftrace.kernel.types import KernelTypes
from tests import kernelmodel
from tests.btfwriter import boolean, enum, forward, function, struct, typedef, write
from tests.kernelmodel import LINUX_6_1, LINUX_6_12
from tests.unit.compiling import shapes_btf, v4_19_btf

SYMBOL_ADDRESSES = {
    name: 0xFFFF_FFFF_8100_0000 + 0x1000 * number
    for number, name in enumerate(
        (
            *("plain", "aggregates", "many", "tail", "opaque", "none", "unnamed", "packets", "device", "ip_output"),
            *("dev_queue_xmit", "wake_up_new_task", "do_filp_open", "tcp_rcv_established.isra.0", "twice", "nf_hook"),
            *("__pfx_plain", "plain.cold", "clone.isra.0", "clone.part.1", "call_me", "jiffies", "task_group_cache"),
        )
    )
}
SYMBOL_TEXT = b"".join(
    b"%016x %s %s%s\n"
    % (
        address,
        b"D" if name in ("jiffies", "task_group_cache") else b"T",
        name.encode(),
        b"\t[nf]" if name == "nf_hook" else b"",
    )
    for name, address in (*SYMBOL_ADDRESSES.items(), ("twice", 0xFFFF_FFFF_8200_0000))
)

_COMMON = """name: sched_switch
ID: 315
format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;
\tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;

"""
_FORMATS = {
    "sched/sched_switch": _COMMON
    + """\tfield:char prev_comm[16];\toffset:8;\tsize:16;\tsigned:0;
\tfield:pid_t prev_pid;\toffset:24;\tsize:4;\tsigned:1;
\tfield:long prev_state;\toffset:32;\tsize:8;\tsigned:1;
\tfield:__data_loc char[] name;\toffset:40;\tsize:4;\tsigned:0;
\tfield:const void * skbaddr;\toffset:48;\tsize:8;\tsigned:0;
\tfield:u8 saddr[4];\toffset:56;\tsize:4;\tsigned:0;
\tfield:struct shape * s;\toffset:64;\tsize:8;\tsigned:0;
\tfield:__be16 dport;\toffset:72;\tsize:2;\tsigned:0;
\tfield:bool is_up;\toffset:74;\tsize:1;\tsigned:0;
""",
    "net/none": _COMMON,
}
EVENTS = tuple(_FORMATS)
EVENT_FORMATS = tuple(_FORMATS.values())


@dataclass(frozen=True, slots=True)
class FuzzKernel:
    """What is known of a kernel. `model` is what its probes are held against; None where there is no such model."""

    kernel_types: KernelTypes
    is_known: bool
    kernel_features: Features
    model: kernelmodel.Kernel | None

    def types(self, module: str = "") -> KernelTypes:
        """The same types, whatever the module."""
        return self.kernel_types

    def btfs(self) -> Sequence[tuple[str, Btf]]:
        """None: nothing is listed."""
        return ()

    def symbols(self) -> Symbols | None:
        """A list of symbols with a module, clones and a name that is there twice."""
        return Symbols(SYMBOL_TEXT) if self.is_known else None

    def features(self) -> Features:
        """What the release has."""
        return self.kernel_features

    def blacklist(self) -> frozenset[str]:
        return frozenset()

    def traceable(self) -> frozenset[str] | None:
        """All functions but one."""
        return frozenset(SYMBOL_ADDRESSES) - {"none"} if self.is_known else None

    def event_fields(self, system: str, name: str) -> tuple[EventField, ...] | None:
        """The fields of the event's format."""
        text = _FORMATS.get(f"{system}/{name}")
        return parse_format(text) if self.is_known and text is not None else None

    def modules(self) -> tuple[str, ...]:
        """None were given."""
        return ()

    def event_names(self) -> tuple[str, ...] | None:
        """The two events."""
        return EVENTS if self.is_known else None


def model_events() -> Mapping[str, tuple[kernelmodel.Field, ...]]:
    """The fields of the events as the model of the kernel has them; common fields it has itself."""
    return {
        name.replace("/", "."): tuple(_model_field(line) for line in text.splitlines() if line.startswith("\tfield:"))
        for name, text in _FORMATS.items()
    }


def _model_field(line: str) -> kernelmodel.Field:
    declaration, offset, size, signed = (part.partition(":")[2] for part in line.strip().rstrip(";").split(";\t"))
    type_, _, name = declaration.rpartition(" ")
    name, bracket, length = name.partition("[")
    return kernelmodel.Field(name, f"{type_}{bracket}{length}", int(offset), int(size), signed == "1")


@cache
def packets_btf() -> bytes:
    """Every packet header, in a kernel whose sk_buff has a device."""
    be16, be32, byte = "__be16", "__be32", "unsigned char"
    return write(
        *(typedef(f"u{bits}", name) for bits, name in ((8, byte), (16, "unsigned short"), (32, "unsigned int"))),
        *(typedef("u64", "unsigned long long"), typedef("s64", "long long"), typedef("bool", boolean())),
        *(typedef(be16, "u16"), typedef(be32, "u32"), typedef("__be64", "u64"), typedef("pid_t", "int")),
        enum("state", DOWN=0, UP=1, LOST=7),
        enum("sign", MINUS=-1, PLUS=1),
        struct("in6_addr", 16, ("bytes", "u8[16]", 0)),
        struct("ethhdr", 14, ("h_dest", "u8[6]", 0), ("h_source", "u8[6]", 6), ("h_proto", be16, 12)),
        struct("vlan_hdr", 4, ("h_vlan_TCI", be16, 0), ("h_vlan_encapsulated_proto", be16, 2)),
        struct("arphdr", 8, ("ar_hrd", be16, 0), ("ar_op", be16, 6)),
        struct(
            "iphdr", 20, ("ihl", "u8", 0, 0, 4), ("version", "u8", 0, 4, 4), ("saddr", be32, 12), ("daddr", be32, 16)
        ),
        struct("ipv6hdr", 40, ("nexthdr", "u8", 6), ("saddr", "struct in6_addr", 8), ("daddr", "struct in6_addr", 24)),
        struct("icmphdr", 8, ("type", "u8", 0), ("code", "u8", 1)),
        struct("icmp6hdr", 8, ("icmp6_type", "u8", 0), ("icmp6_code", "u8", 1)),
        struct("tcphdr", 20, ("source", be16, 0), ("dest", be16, 2), ("seq", be32, 4), ("syn", "u16", 12, 9, 1)),
        struct("udphdr", 8, ("source", be16, 0), ("dest", be16, 2), ("len", be16, 4)),
        struct("sctphdr", 12, ("source", be16, 0), ("vtag", be32, 4)),
        struct(
            "device",
            96,
            ("index", "int", 0),
            ("state", "enum state", 4),
            ("name", "char[16]", 8),
            ("alias", "const char *", 24),
            ("small", "signed char", 32),
            ("bits", "int", 36, 3, 5),
            ("dev", "struct device *", 40),
            ("sequence", "__be64", 48),
            ("mac", "u8[6]", 56),
            ("address6", "struct in6_addr", 64),
            ("run", "void *", 80),
            ("names", "char *[2]", 80),
        ),
        struct("sk_buff", 240, ("len", "unsigned int", 128), ("dev", "struct device *", 16), ("data", "u8 *", 232)),
        forward("net"),
        function("packets", "int", ("net", "struct net *"), ("skb", "struct sk_buff *"), ("port", be16)),
        function("device", "struct device *", ("dev", "struct device *"), ("sign", "enum sign"), ("to", "u8 *")),
        function("nf_hook", "bool", ("skb", "struct sk_buff *")),
    ).data


@cache
def _types(name: str) -> KernelTypes:
    btf = {"shapes": shapes_btf, "4.19": v4_19_btf, "packets": packets_btf}[name]()
    return KernelTypes(open_program([Btf(btf)]))


@cache
def _kernel(name: str) -> FuzzKernel:
    types, _, release = name.partition(" ")
    features = features_of_release(release) if release else ALL_FEATURES
    model = {"": LINUX_6_12, "6.12": LINUX_6_12, "6.1": LINUX_6_1}.get(release)
    return FuzzKernel(_types(types), bool(release), features, model)


def fuzz_kernel(name: str) -> FuzzKernel:
    """The kernel of one of KERNELS."""
    return _kernel(name)


KERNELS = ("shapes", "shapes 6.12", "shapes 6.1", "4.19", "4.19 6.12", "packets", "packets 6.12", "packets 5.10")
