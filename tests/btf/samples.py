"""A small kernel with every kind of type, and a module of it."""

from __future__ import annotations

from surftrace.btf import Kind
from tests.btfwriter import (
    Declaration,
    Written,
    array,
    boolean,
    declaration_tag,
    enum,
    floating,
    function,
    pointer,
    prototype,
    qualified,
    section,
    struct,
    type_tag,
    typedef,
    union,
    variable,
    write,
)

SK_BUFF = struct(
    "sk_buff",
    40,
    (None, union(None, 8, ("dev", "struct net_device *", 0), ("scratch", "unsigned long", 0)), 0),
    ("len", "unsigned int", 8),
    ("cloned", "__u8", 12, 0, 1),
    ("pkt_type", "__u8", 12, 5, 3),
    ("cb", "char [4][2]", 16),
    ("user", pointer(type_tag("user", "char")), 24),
    ("is_set", "bool", 32),
    ("data", "unsigned char []", 40),
)
RUNQUEUES = variable("runqueues", "struct sk_buff *")

KERNEL: tuple[Declaration, ...] = (
    typedef("__u8", "unsigned char"),
    typedef("bool", boolean()),
    SK_BUFF,
    enum("pid_type", PIDTYPE_PID=0, PIDTYPE_TGID=1),
    enum("sign", MINUS=-1, PLUS=1),
    enum("wide", 8, HUGE=1 << 40),
    enum("wide_sign", 8, LEAST=-(1 << 63)),
    enum("opaque"),
    floating("double", 8),
    struct("list_head", 16, ("next", "struct list_head *", 0), ("prev", "const struct list_head *const", 8)),
    struct("ops", 8, ("call", pointer(prototype("int", ("list", "struct list_head *"), (None, "long"))), 0)),
    function("ip_output", "int", ("sk", "struct sock *"), ("skb", "struct sk_buff *")),
    function("_printk", "int", ("fmt", "const char *"), ...),
    RUNQUEUES,
    section(".data..percpu", 8, (RUNQUEUES, 0, 8)),
    declaration_tag("bpf_kfunc", RUNQUEUES),
    struct("matrix", 48, ("rows", array(array("int", 3), 2), 0), ("seq", qualified(Kind.VOLATILE, "long"), 24)),
    qualified(Kind.RESTRICT, pointer("void")),
)
MODULE: tuple[Declaration, ...] = (
    struct("net_device", 16, ("head", "struct list_head", 0)),
    function("ip_output", "void"),
    function("nf_hook", "unsigned int", ("dev", "struct net_device *")),
)


def kernel(byteorder: str = "little", header_size: int = 24, *, layout: bool = False) -> Written:
    """BTF of the small kernel."""
    return write(*KERNEL, byteorder=byteorder, header_size=header_size, layout=layout)


def module(base: Written) -> Written:
    """Split BTF of the small module."""
    return write(*MODULE, base=base)
