"""The kernels that golden cases compile for: small BTF files built from tuples, named as `-b NAME` in a case."""

from collections.abc import Callable
from pathlib import Path
from struct import pack

from surftrace.btf.format import Kind
from tests.btfwriter import (
    Declaration,
    boolean,
    enum,
    forward,
    function,
    pointer,
    prototype,
    qualified,
    struct,
    type_tag,
    typedef,
    union,
    write,
)

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
        enum("first", NONE=0),
        enum("second", NONE=9),
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
            ("serial", "u32", 20, 12, 18),
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
        function("placed", "struct big", ("cpu", "unsigned int"), ("comm", "long")),
        function("opaque", "struct hidden *", ("h", "struct hidden *"), ("X", "int"), ("u", "u64 *")),
    ).data


_IPV6: tuple[Declaration, ...] = (
    struct("in6_addr", 16, ("in6_u", union(None, 16, ("u6_addr8", "__u8[16]", 0), ("u6_addr32", "__be32[4]", 0)), 0)),
    struct(
        "ipv6hdr",
        40,
        ("priority", "__u8", 0, 0, 4),
        ("version", "__u8", 0, 4, 4),
        ("payload_len", "__be16", 4),
        ("nexthdr", "__u8", 6),
        ("hop_limit", "__u8", 7),
        ("saddr", "struct in6_addr", 8),
        ("daddr", "struct in6_addr", 24),
    ),
    struct("icmp6hdr", 8, ("icmp6_type", "__u8", 0), ("icmp6_code", "__u8", 1)),
    struct("vlan_hdr", 4, ("h_vlan_TCI", "__be16", 0), ("h_vlan_encapsulated_proto", "__be16", 2)),
    struct("arphdr", 8, ("ar_hrd", "__be16", 0), ("ar_pro", "__be16", 2), ("ar_op", "__be16", 6)),
    struct("sctphdr", 12, ("source", "__be16", 0), ("dest", "__be16", 2), ("vtag", "__be32", 4)),
)

_EVENTS: tuple[Declaration, ...] = (
    struct("trace_entry", 8, ("type", "unsigned short", 0), ("flags", "unsigned char", 2), ("pid", "int", 4)),
    struct(
        "trace_event_raw_sched_switch",
        64,
        ("ent", "struct trace_entry", 0),
        ("prev_comm", "char[16]", 8),
        ("prev_pid", "int", 24),
        ("prev_state", "long", 32),
        ("next_comm", "char[16]", 40),
        ("next_pid", "int", 56),
        ("__data", "char[0]", 64),
    ),
    struct(
        "trace_event_raw_sched_wakeup",
        28,
        ("ent", "struct trace_entry", 0),
        ("comm", "char[16]", 8),
        ("pid", "int", 24),
        ("__data", "char[0]", 28),
    ),
    struct(
        "trace_event_raw_kfree_skb",
        40,
        ("ent", "struct trace_entry", 0),
        ("skbaddr", "void *", 8),
        ("location", "void *", 16),
        ("protocol", "unsigned short", 24),
        ("__data", "char[0]", 40),
    ),
    struct(
        "trace_event_raw_sched_process_exec",
        20,
        ("ent", "struct trace_entry", 0),
        ("__data_loc_filename", "u32", 8),
        ("pid", "int", 12),
        ("__data", "char[0]", 20),
    ),
    # One of an event that shares the struct of others, one of a tracepoint without an event.
    *(
        typedef(f"btf_trace_{name}", pointer(prototype("void", (None, "void *"))))
        for name in ("sched_switch", "kfree_skb", "sched_process_exec", "sched_waking", "pelt_cfs_tp")
    ),
)


def network() -> bytes:
    """The layout of Linux 6.1 on x86-64, as far as packets, sockets, a process's memory and events are asked for."""
    return write(
        *_INTEGERS,
        typedef("__be64", "u64"),
        *_HEADERS,
        *_IPV6,
        *_EVENTS,
        enum(None, TCP_ESTABLISHED=1, TCP_SYN_SENT=2, TCP_LISTEN=10),
        enum(None, IPPROTO_TCP=6, IPPROTO_UDP=17),
        struct("list_head", 16, ("next", "struct list_head *", 0), ("prev", "struct list_head *", 8)),
        struct(
            "sock_common",
            136,
            ("skc_daddr", "__be32", 0),
            ("skc_rcv_saddr", "__be32", 4),
            ("skc_dport", "__be16", 12),
            ("skc_family", "unsigned short", 16),
            ("skc_state", "volatile unsigned char", 18),
            ("skc_v6_daddr", "struct in6_addr", 56),
        ),
        struct("sock", 760, ("__sk_common", "struct sock_common", 0), ("sk_type", "u16", 528)),
        struct("net_device", 2496, ("name", "char[16]", 0), ("perm_addr", "unsigned char[32]", 864)),
        struct(
            "sk_buff",
            232,
            ("dev", "struct net_device *", 16),
            ("sk", "struct sock *", 24),
            ("cb", "char[48]", 40),
            ("destructor", pointer(prototype("void", ("skb", "struct sk_buff *"))), 96),
            ("len", "unsigned int", 112),
            ("ip_summed", "__u8", 128, 1, 2),
            ("protocol", "__be16", 180),
            ("data", "unsigned char *", 208),
            ("tag", "__be64", 224),
        ),
        struct("napi_struct", 400, ("poll_list", "struct list_head", 0), ("gro_list", "struct list_head", 344)),
        struct("open_how", 24, ("flags", "u64", 0), ("mode", "u64", 8)),
        forward("net"),
        function("ip_output", "int", ("net", "struct net *"), ("sk", "struct sock *"), ("skb", "struct sk_buff *")),
        function("ip6_output", "int", ("net", "struct net *"), ("sk", "struct sock *"), ("skb", "struct sk_buff *")),
        function(
            "dev_hard_start_xmit", "struct sk_buff *", ("first", "struct sk_buff *"), ("dev", "struct net_device *")
        ),
        function("tcp_v4_rcv", "int", ("skb", "struct sk_buff *")),
        function("tcp_v4_connect", "int", ("sk", "struct sock *"), ("addr_len", "int")),
        function("list_sort", "void", ("head", "struct list_head *")),
        function("sock_wfree", "void", ("skb", "struct sk_buff *")),
        function(
            "do_sys_openat2",
            "long",
            ("dfd", "int"),
            ("filename", pointer(qualified(Kind.CONST, type_tag("user", "char")))),
            ("how", "struct open_how *"),
        ),
    ).data


_KERNELS: dict[str, Callable[[], bytes]] = {"4.19": v4_19, "shapes": shapes, "network": network}


def program() -> bytes:
    """A program of x86-64 with a function `func` of 32 bytes at 0x1000 of its file, and a variable `counter`.

    Behind `func` it has `shop::Item::total(int)`, `over(int)` and `over(char const*)` of 16 bytes each.

    System V ABI, chapter 4 and 5: ELF header, program header, sections.
    """
    names = b"\0.text\0.symtab\0.strtab\0.shstrtab\0"
    code_start, code = 0x1000, bytes(0x60)
    strings, symbols = b"\0", bytes(24)
    functions = (("func", 0x12, 0, 32), ("_ZN4shop4Item5totalEi", 0x12, 32, 16), ("_Z4overi", 0x12, 48, 16))
    for symbol, info, start, size in (*functions, ("_Z4overPKc", 0x12, 64, 16)):
        symbols += pack("<IBBHQQ", len(strings), info, 0, 1, 0x400000 + code_start + start, size)
        strings += symbol.encode() + b"\0"
    symbols += pack("<IBBHQQ", len(strings), 0x11, 0, 0xFFF1, 0x500000, 4)
    strings += b"counter\0"
    bodies = (code, symbols, strings, names)
    starts = [code_start + sum(len(body) for body in bodies[:index]) for index in range(len(bodies))]
    # name, type, flags, address, link, info, alignment, size of an entry
    heads = (
        (1, 1, 6, 0x400000 + code_start, 0, 0, 16, 0),
        (7, 2, 0, 0, 3, 1, 8, 24),
        (15, 3, 0, 0, 0, 0, 1, 0),
        (23, 3, 0, 0, 0, 0, 1, 0),
    )
    table = bytes(64)
    for (name, kind, flags, address, *rest), start, body in zip(heads, starts, bodies, strict=True):
        table += pack("<IIQQQQIIQQ", name, kind, flags, address, start, len(body), *rest)
    end = starts[-1] + len(names)
    header = b"\x7fELF\2\1\1".ljust(16, b"\0")
    header += pack("<HHIQQQIHHHHHH", 2, 62, 1, 0x400000 + code_start, 64, end, 0, 64, 56, 1, 64, 5, 4)
    header += pack("<IIQQQQQQ", 1, 5, 0, 0x400000, 0x400000, code_start + len(code), code_start + len(code), 0x1000)
    return header.ljust(code_start, b"\0") + b"".join(bodies) + table


def write_kernels(folder: Path) -> dict[str, Path]:
    """The path of each kernel's BTF file, written into the folder, and of a program in it: `tuprobe`."""
    paths = {}
    for name, build in _KERNELS.items():
        paths[name] = folder / f"{name}.btf"
        paths[name].write_bytes(build())
    paths["tuprobe"] = folder / "tuprobe"
    paths["tuprobe"].write_bytes(program())
    paths["tuprobe"].chmod(0o755)
    return paths
