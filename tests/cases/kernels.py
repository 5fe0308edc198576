"""The kernels that golden cases compile for: small BTF files built from tuples, named as `-b NAME` in a case."""

from collections.abc import Callable
from pathlib import Path

from tests.btfwriter import Declaration, boolean, enum, forward, function, struct, typedef, union, write

_INTEGERS: tuple[Declaration, ...] = (
    typedef("u8", "unsigned char"),
    typedef("u16", "unsigned short"),
    typedef("u32", "unsigned int"),
    typedef("u64", "unsigned long long"),
    typedef("s64", "long long"),
    typedef("__u8", "u8"),
    typedef("__be16", "u16"),
    typedef("__be32", "u32"),
    typedef("__sum16", "u16"),
    typedef("bool", boolean()),
)

_HEADERS: tuple[Declaration, ...] = (
    struct("ethhdr", 14, ("h_dest", "unsigned char[6]", 0), ("h_proto", "__be16", 12)),
    struct(
        "iphdr",
        20,
        ("ihl", "__u8", 0, 0, 4),
        ("version", "__u8", 0, 4, 4),
        ("tos", "__u8", 1),
        ("tot_len", "__be16", 2),
        ("ttl", "__u8", 8),
        ("protocol", "__u8", 9),
        (None, struct(None, 8, ("saddr", "__be32", 0), ("daddr", "__be32", 4)), 12),
    ),
    struct("udphdr", 8, ("source", "__be16", 0), ("dest", "__be16", 2), ("len", "__be16", 4), ("check", "__sum16", 6)),
    struct(
        "tcphdr",
        20,
        ("source", "__be16", 0),
        ("dest", "__be16", 2),
        ("seq", "__be32", 4),
        ("ack_seq", "__be32", 8),
        ("doff", "u16", 12, 4, 4),
        ("syn", "u16", 12, 9, 1),
    ),
    struct("icmphdr", 8, ("type", "__u8", 0), ("code", "__u8", 1)),
)

_TASKS: tuple[Declaration, ...] = (
    typedef("atomic_t", struct(None, 4, ("counter", "int", 0))),
    typedef("refcount_t", struct("refcount_struct", 4, ("refs", "atomic_t", 0))),
    struct("rb_node", 24, ("__rb_parent_color", "unsigned long", 0), ("rb_left", "struct rb_node *", 16)),
    struct("sched_entity", 64, ("run_node", "struct rb_node", 24)),
    struct("mm_struct", 128, ("mm_users", "atomic_t", 84), ("owner", "struct task_struct *", 96)),
    struct(
        "task_struct",
        2048,
        ("state", "long", 16),
        ("usage", "refcount_t", 32),
        ("se", "struct sched_entity", 128),
        ("mm", "struct mm_struct *", 1992),
        ("comm", "char[16]", 2000),
    ),
    function("wake_up_new_task", "void", ("p", "struct task_struct *")),
)


def v4_19() -> bytes:
    """The layout of Linux 4.19 on x86-64, as far as the published examples reach."""
    return write(
        *_INTEGERS,
        *_HEADERS,
        *_TASKS,
        struct("sk_buff", 240, ("len", "unsigned int", 128), ("data", "unsigned char *", 232)),
        struct("file", 256, ("f_flags", "unsigned int", 64), ("f_pos", typedef("loff_t", "long long"), 104)),
        struct("kmem_cache", 200, ("size", "int", 24), ("name", "const char *", 96)),
        forward("net"),
        forward("sock"),
        function("ip_output", "int", ("net", "struct net *"), ("sk", "struct sock *"), ("skb", "struct sk_buff *")),
        function("ip_local_deliver", "int", ("skb", "struct sk_buff *")),
        function("dev_queue_xmit", "int", ("skb", "struct sk_buff *")),
        function("__netif_receive_skb_core", "int", ("skb", "struct sk_buff *"), ("pfmemalloc", "bool")),
        function("tcp_rcv_established", "void", ("sk", "struct sock *"), ("skb", "struct sk_buff *")),
        function("do_filp_open", "struct file *", ("dfd", "int"), ("pathname", "struct filename *")),
    ).data


def shapes() -> bytes:
    """Every shape of type and parameter that the compiler treats in its own way."""
    return write(
        *_INTEGERS,
        *_TASKS,
        enum("colour", RED=0, BLUE=7),
        enum("sign", MINUS=-1, PLUS=1),
        struct("pair", 16, ("first", "int", 0), ("second", "long", 8)),
        struct("big", 24, ("words", "long[3]", 0)),
        typedef("kuid_t", struct(None, 4, ("val", "unsigned int", 0))),
        struct("small", 8, ("low", "int", 0), ("high", "short", 4), ("flag", "u16", 6, 3, 1)),
        struct(
            "shape",
            128,
            (None, union(None, 8, ("dev", "struct shape *", 0), ("scratch", "unsigned long", 0)), 0),
            ("is_up", "bool", 8),
            ("tiny", "signed char", 9),
            ("colour", "enum colour", 12),
            ("sign", "enum sign", 16),
            ("flags", "u32", 20, 5, 3),
            ("level", "int", 20, 8, 4),
            ("uid", "kuid_t", 24),
            ("grid", "short[2][3]", 28),
            ("name", "char[8]", 40),
            ("alias", "const char *", 48),
            ("bytes", "unsigned char[4]", 56),
            ("call", "struct pair *", 64),
            ("inner", "struct pair", 72),
            ("wide", "__int128", 96),
            ("__be", "__be32", 112),
            ("Skb", "int", 116),
            ("rest", "int[0]", 120),
        ),
        function("plain", "int", ("s", "struct shape *"), ("n", "int"), ("label", "const char *"), ("c", "char")),
        function("none", "void"),
        function("unnamed", "u32", (None, "struct shape *")),
        function(
            "aggregates", "void", ("p", "struct pair"), ("b", "struct big"), ("k", "kuid_t"), ("t", "struct small")
        ),
        function("many", "long", *((f"a{n}", "long") for n in range(8))),
        function("tail", "void", *((f"a{n}", "long") for n in range(5)), ("p", "struct pair"), ("last", "int")),
        function("opaque", "struct hidden *", ("h", "struct hidden *"), ("X", "int"), ("u", "u64 *")),
    ).data


_KERNELS: dict[str, Callable[[], bytes]] = {"4.19": v4_19, "shapes": shapes}


def write_kernels(folder: Path) -> dict[str, Path]:
    """The path of each kernel's BTF file, written into the folder."""
    paths = {}
    for name, build in _KERNELS.items():
        paths[name] = folder / f"{name}.btf"
        paths[name].write_bytes(build())
    return paths
