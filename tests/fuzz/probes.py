"""Drawn probes as text: nearly right, all wrong, or golden ones with a piece put in, taken out, or doubled."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from hypothesis import strategies as st

from tests.cases.casefile import parse_cases
from tests.fuzz.kernels import KERNELS

_CASES = Path(__file__).parents[1] / "cases"
GOLDEN = sorted(
    {
        word
        for path in _CASES.glob("*.test")
        for case in parse_cases(path.read_text())
        for word in case.argv
        if word[:2] in ("p ", "r ", "e ", "P ", "R ")
    }
)


def _one_of(*texts: str) -> st.SearchStrategy[str]:
    """One of the words of these texts, parted by `;`."""
    return st.sampled_from([word for text in texts for word in text.split(";")])


_SMALL = _one_of("0;1;2;3;7;010;0x10;255")
_NUMBERS = _SMALL | _one_of("65536;4294967295;99999999999999999999;09;0x8000000000000000")
_LAYERS = _one_of(";l2;l3;l4;l2v6;l3v6;l9;l4v6")
_HEADERS = _one_of("ethhdr;vlan_hdr;arphdr;iphdr;ipv6hdr;icmphdr;icmp6hdr;tcphdr;udphdr;sctphdr")
_HEADER_MEMBERS = _one_of(
    "h_dest;h_source;h_proto;h_vlan_TCI;ar_op;saddr;daddr;ihl;version;nexthdr;type;icmp6_type;source;dest;seq;syn;vtag",
    "cdata[0];sdata[1];ldata[2];qdata[0];Sdata[0];cdata[0:4];sdata[1:3];daddr.bytes;saddr.bytes[2:4];len;Sdata;cdata",
)
_MEMBERS = _one_of(
    "is_up;tiny;colour;sign;flags;level;uid;grid;name;alias;bytes;call;inner;wide;rest;dev;scratch;first;len;data;comm",
    "mm;mm_users;counter;se;nothing;words;index;state;small;bits;sequence;mac;address6;run;names;val;second;Skb;__be",
)
_TYPES = _one_of(
    "u8;u16;u32;u64;s64;int;long;char;char *;const char *;void *;unsigned long;__be16;__be32;bool;pid_t;atomic_t",
    "struct shape *;struct pair;struct pair *;struct task_struct *;struct sk_buff *;struct device *;struct in6_addr *",
    "struct iphdr *;struct tcphdr*;enum colour;enum state;struct hidden *;struct nothing *;char[4];u8[16];struct;a b c",
    "__int128;int [;void;struct shape **;const struct shape * const;u64[2][3];struct big;char __user *;unsigned",
)
_FETCH_TYPES = _one_of(
    "u8;u16;u32;u64;s8;s32;x8;x16;x64;string;ustring;symbol;symstr;char;b3@5/8;b4@0/32;u8[4];x16[3];string[2];char[5]",
    "u64[64];u64[65];x8[0];int;b9@0/8;symbol[2];ustring[3]",
)
_PRIMARIES = _one_of(
    "%0;%1;%2;%9;%di;%x0;%rdi;%sp;s;n;skb;p;b;k;t;h;X;Xs;SX;u;label;c;a7;last;dev;to;net;port;sign;name;skbaddr;saddr",
    "$retval;$comm;$stack;$stack0;$stack12;$arg1;$arg0;$arg\u00b2;$nothing;@jiffies;@jiffies+8;@jiffies-0x10;@a.b",
    "@0xffffffff8647bc30;@task_group_cache;@0x10;@0xffffffffffffffff;prev_comm;prev_pid;dport;prev_state;is_up",
)
_PACKETS = st.builds(
    lambda header, layer, base, member: f"@(struct {header} *){layer}{base}->{member}",
    _HEADERS,
    _LAYERS.map(lambda layer: layer and layer + " "),
    _one_of("skb;%0;%1;$retval;!(struct sk_buff *)%di;skbaddr;s;(skb)"),
    _HEADER_MEMBERS,
)

# What is right for each target, and often what is asked for.
_SHAPE = (
    "s->is_up;s->tiny;s->colour;s->sign;s->flags;s->level;s->uid;s->uid.val;s->grid;s->grid[1];s->grid[1][2];s->name",
    "s->alias;s->bytes;s->bytes[1:3];s->call;s->call->second;s->inner.first;s->rest;s->rest[0:5];s->dev;s->dev->dev",
    "&s->inner;&s->name;*s->call;*s->bytes;(u8)s->level;(u64)s->dev;container_of(s->call, struct shape, inner)->level",
    "container_of(s, struct shape, inner.second)->name;s->__be;s->Skb;s->dev->dev->dev->dev->alias;n;label;c;%0;%1;Xs",
    "s->!(u16)uid;s->!(char *)dev;(struct pair *)s;((struct pair *)s)->first;!(u64)n;(char)n;(u64)n;label[0:4];*label",
    "&s->dev->inner.second;(void *)s->bytes;s->name[2];s->name[2:5];s->scratch;$comm;%di;$stack1;$stack;@jiffies",
)
_PACKET = (
    "skb;skb->len;skb->dev;skb->dev->name;skb->dev->alias;skb->dev->index;skb->dev->state;skb->dev->bits;skb->dev->mac",
    "skb->dev->sequence;skb->dev->address6;skb->dev->address6.bytes;skb->dev->address6.bytes[0:4];skb->dev->run;port",
    "skb->dev->names;skb->dev->names[0];skb->dev->mac[0:3];&skb->dev->mac;skb->dev->small;(u8)skb->len;skb->data[0:8]",
    "@(struct tcphdr *)skb->dest;@(struct iphdr *)l2 skb->daddr;@(struct ipv6hdr *)skb->daddr",
    "@(struct ethhdr *)l2 skb->h_dest",
    "@(struct tcphdr *)l2v6 skb->syn;@(struct udphdr *)l3v6 skb->Sdata[0];@(struct tcphdr *)skb->cdata[0:16]",
    "@(struct sctphdr *)l4 skb->vtag;@(struct vlan_hdr *)l2 skb->h_vlan_TCI;@(struct arphdr *)l2 skb->ar_op;net;%1",
)
_DEVICE = (
    "dev->name;dev->alias;dev->index;dev->state;dev->dev->dev->name;dev->sequence;dev->address6;dev->mac;sign;to;to[0:4]",
)
_EVENT = (
    "prev_comm;prev_pid;prev_state;name;skbaddr;s->level;s->name;s;dport;is_up;saddr;common_pid;$comm;(u8)prev_pid",
    "@(struct iphdr *)skbaddr->saddr;!(struct sk_buff *)skbaddr->len;saddr[1];prev_comm[0:4]",
)
_USER = (
    "%0;!(char *)%0;!(int)%1;!(u64 *)%2[1];$stack1;@0x400000;!(char **)%1[0];$comm;%di;!(struct device *)%0->name",
    "(u8)%0;!(char *)%0[0:3];*!(u32 *)%1;$retval;!(char *)$retval",
)
_RIGHT = {
    "p plain": _SHAPE,
    "p plain+0x10": ("%di;%si;$stack1;@jiffies;$comm;!(struct shape *)%di->level",),
    "r plain": ("$retval;s->level;n;$comm;%0;(u8)$retval;label",),
    "r device": ("$retval->name;$retval->dev->index;dev->name;$retval",),
    "p many": ("a0;a5;a6;a7;%7;(u8)a1;!(char *)a2",),
    "p aggregates": ("k;k.val;t.low;t.high;t.flag;t;p;b",),
    "p tail": ("a4;p;last",),
    "p unnamed": ("%0;%0->level;%0->name",),
    "p opaque": ("h;X;u;u[2];*u;u[0:3];SX;Xu",),
    "r do_filp_open": ("$retval;$retval->f_pos;$retval->f_flags;dfd",),
    "p wake_up_new_task": ("p->comm;p->mm->mm_users;p->se.run_node.rb_left;p->mm->owner->comm;p->usage;p->usage.refs",),
    "p ip_output": (
        "skb->len;@(struct iphdr*)l3%2->protocol;@(struct udphdr*)skb->Sdata[0];@(struct tcphdr*)skb->doff",
    ),
    "p packets": _PACKET,
    "p nf:nf_hook": _PACKET,
    "p dev*": ("dev->name;dev->index;%0;skb",),
    "p *l*": ("%0;$comm;s->level;n",),
    "p device": _DEVICE,
    "p 0xffffffff81000000": ("%di;$stack2;$comm",),
    "e sched/sched_switch": _EVENT,
    "P /bin/bash:main": _USER,
    "R libc:malloc": _USER,
    "P libc:malloc+4": _USER,
}
_WRONG_TARGETS = _one_of(
    "p nowhere;r nowhere;e sched:x;p a.b.c;p nf:plain;p twice;p clone;p tcp_rcv_established;p plain:12;p net/a.c:010",
    "p [;p [a-;p *;p x:*;r plain+1;p 0x10;r 0xffffffff81000000;p 12;P nowhere:f;P /dev/zero:f;P /:f;P ./a b:f;P sh:",
    "p none;r none;r opaque;p none+99999999999999999999;P /bin/sh:nowhere;e net/none;e net/nothing;p jiffies;p call_me",
)


def _extend(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.builds(lambda e, op, m: f"{e}{op}{m}", inner, _one_of("->;.; -> "), _MEMBERS),
        st.builds(lambda e, t, m: f"{e}->!({t}){m}", inner, _TYPES, _MEMBERS),
        st.builds(lambda e, n: f"{e}[{n}]", inner, _NUMBERS),
        st.builds(lambda e, n, m: f"{e}[{n}:{m}]", inner, _NUMBERS, _NUMBERS),
        st.builds(lambda t, e: f"!({t}){e}", _TYPES, inner),
        st.builds(lambda t, e: f"({t}){e}", _TYPES, inner),
        st.builds(lambda op, e: f"{op}{e}", _one_of("*;&;(;* "), inner),
        st.builds(lambda e: f"({e})", inner),
        st.builds(lambda e, t, m: f"container_of({e}, {t}, {m})", inner, _TYPES, _MEMBERS),
        st.builds(lambda t, layer, e: f"@({t}){layer}{e}", _TYPES, _LAYERS, inner),
    )


_EXPRESSIONS = st.recursive(_PRIMARIES | _PACKETS, _extend, max_leaves=4)
_WRAPPED = _one_of("{};{};{};({});(u8){};(u64){};&{};*{};{}[1];{}[0:2];!(u32)({});!(char *)({});{}->dev;({})->len")
_NAMES = st.one_of(
    _one_of("ip_a;ip6_a;mac_a;b16_a;B32_a;b64_a;a;b;n;c"),
    _one_of(f"a1;a2;a3;a4;f;__h0;__h1;__hx;common_pid;{'x' * 31};{'x' * 32};comm;__probe_ip;p;u32"),
)
_LITERALS = st.one_of(
    _NUMBERS,
    _one_of('-1;-5;\'a\';"a";"a*";"*a";"1*";"!a";\'"\';"\'";0xg;RED;UP;MINUS;true;false;NULL;plain;nowhere;"";\'\''),
    _one_of(f'"é";"{"x" * 255}";"{"x" * 256}";"<fault>";"a b";"\\";"[a";"\\*";"~"'),
    _one_of(
        "10.0.0.1;10.0.0.0/8;10.0.0.0/31;0.0.0.0/0;10.1.0.0/12;::1;fe80::/10;::/1;ff02::1/128;fe80::1%eth0;::ffff:1.2.3.4"
    ),
    _one_of("0:1:2:3:4:5;ff:ff:ff:ff:ff:ff;aa:bb:cc:00:00:00/24;aa-bb-cc-dd-ee-ff;0:0:0:0:0:0;10.0.0.0/"),
)
_OPERATORS = _one_of("==;==;!=;<;<=;>;>=;&;~")


_FIELDS = _one_of("common_pid;CPU;COMM;comm;__probe_ip;__probe_func;zzz;a;b;n;ip_a;b16_a;ip6_a;mac_a;B32_a")


def _comparisons(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.builds(lambda left, op, literal: f"{left}{op}{literal}", values, _OPERATORS, _LITERALS)


def _conditions(comparisons: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.recursive(
        comparisons,
        lambda inner: st.one_of(
            st.builds(lambda a, op, b: f"{a}{op}{b}", inner, _one_of("&&;||; && "), inner),
            inner.map(lambda a: f"({a})"),
            inner.map(lambda a: f"!({a})"),
            inner.map(lambda a: f"!!({a})"),
        ),
        max_leaves=5,
    )


# Comparisons that are right for some target: what is compared is a value, a field of the event, or a name.
_RIGHT_CONDITIONS = {
    "p plain": (
        "n==1;n<-5;n>=0x10;s->level<=-1;s->level!=3;s->flags&2;s->tiny<0;s->colour==RED;s->sign==MINUS;c=='a';c<'z'",
        'label=="x";label!="a b";label~"*x";label~"!a";s->name=="abc";s->alias~"1*";s->dev->name~"*?";s->dev==NULL',
        "s->is_up==true;s->is_up!=false;s->call==plain;s->call!=call_me;s->__be==10.0.0.1;s->__be==10.0.0.0/8;s->__be<16",
        's->rest[1]>5;s->bytes[2]==255;*s->bytes!=0;(u8)s->level==1;%1==7;$stack1>0;COMM=="x";CPU<2;__probe_ip==0x10',
        "container_of(s->call, struct shape, inner)->level==2;&s->inner==0xffff888000001000;s->uid==1000;s->Skb>1",
    ),
    "p packets": (
        "skb->len>1500;skb->dev->index==1;skb->dev->state==UP;skb->dev->sequence>=77;skb->dev->bits<-2;skb->dev->bits>=3;port==80",
        "skb->dev->mac==ff:ff:ff:ff:ff:ff;skb->dev->mac!=aa:bb:cc:00:00:00/24;skb->dev->mac<0:0:0:0:1:0",
        "skb->dev->address6==fe80::/10;skb->dev->address6!=::1;skb->dev->address6>fe80::1;skb->dev->run==plain;port<1024",
        "@(struct tcphdr *)skb->dest==80;@(struct iphdr *)skb->daddr==10.0.0.0/8;@(struct iphdr *)skb->saddr!=10.0.0.1",
        "@(struct ipv6hdr *)skb->daddr==fe80::/9;@(struct tcphdr *)l2v6 skb->seq<=0xffffff;@(struct iphdr *)skb->ihl>5",
        '@(struct ethhdr *)l2 skb->h_proto==0x800;@(struct udphdr *)l3v6 skb->cdata[3]==1;skb->dev->alias~"*x*"',
    ),
    "p device": ('dev->name=="eth0";dev->alias!="x";dev->dev->dev->index==1;sign==PLUS;to[1]==2;dev->small<0;*to>=1',),
    "r device": ('$retval->name~"e*";$retval==NULL;$retval->index<3;__probe_func!=0;__probe_ret_ip>1',),
    "e sched/sched_switch": (
        'prev_comm=="x";prev_pid==1;prev_state<0;name~"*";common_pid!=1;dport==5;is_up==1;skbaddr==plain;skbaddr==NULL',
    ),
    "P /bin/bash:main": ('%0==1;!(char *)%0=="x";!(u64 *)%1[2]!=NULL;$stack1>5;!(int)%0<0;!(char **)%1[0]~"a*"',),
}
_RIGHT_KERNELS = {
    "plain": ("shapes", "shapes 6.12", "shapes 6.1"),
    "packet": ("packets", "packets 6.12", "packets 5.10"),
    "sched": ("packets 6.12", "shapes 6.12", "shapes 6.1"),
    "4.19": ("4.19", "4.19 6.12"),
}


def _kernels_of(target: str) -> Sequence[str]:
    """The kernels that have most of what a target's values name."""
    if target.startswith("e "):
        return _RIGHT_KERNELS["sched"]
    if any(name in target for name in ("packets", "device", "nf_hook", "dev*", "libc", "/bin")):
        return _RIGHT_KERNELS["packet"]
    if any(name in target for name in ("wake_up", "ip_output", "do_filp_open")):
        return _RIGHT_KERNELS["4.19"]
    return _RIGHT_KERNELS["plain"]


@cache
def _right_parts(target: str) -> tuple[st.SearchStrategy[str], st.SearchStrategy[str]]:
    """Values and conditions that are right for the target."""
    right = _one_of(*_RIGHT.get(target, _USER if target[0] in "PR" else _SHAPE))
    return right, _conditions(_one_of(*_RIGHT_CONDITIONS.get(target, ('common_pid==1;CPU!=2;COMM~"a*"',))))


@cache
def _wrong_parts(target: str) -> tuple[st.SearchStrategy[str], st.SearchStrategy[str]]:
    """Values and conditions of which some are not."""
    right, conditions = _right_parts(target)
    values = st.one_of(right, right, st.builds(str.format, _WRAPPED, right), _EXPRESSIONS)
    return values, conditions | _conditions(_comparisons(st.one_of(values, _FIELDS)))


@st.composite
def targeted_probes(draw: st.DrawFn) -> tuple[str, str]:
    """A kernel and a probe, most parts of which are right for it."""
    target = draw(st.sampled_from([*_RIGHT, *_RIGHT_CONDITIONS, "wrong"]))
    right, conditions = _right_parts(target)
    kernel = draw(st.sampled_from(_kernels_of(target)))
    if target == "wrong":
        target = draw(_WRONG_TARGETS)
    is_right = draw(st.integers(0, 2)) > 0
    if not is_right:
        kernel = draw(st.sampled_from(KERNELS))
        right, conditions = _wrong_parts(target if target in _RIGHT else "p plain")
    text = target
    for number in range(draw(st.integers(0, 3))):
        name, letter = (f"v{number}", "") if is_right else (draw(st.just("") | _NAMES), draw(_one_of(";;;S;U;X")))
        text += f" {name}{'=' if name else ''}{letter}{draw(right)}"
        if not is_right and not draw(st.integers(0, 3)):
            text += f":{draw(_FETCH_TYPES)}"
    return kernel, text + draw(st.just("") | conditions.map(lambda condition: f" f:{condition}"))


def probes() -> st.SearchStrategy[str]:
    """A probe most parts of which are right for some kernel."""
    return targeted_probes().map(lambda probe: probe[1])


_PIECES = st.one_of(
    st.sampled_from(
        ["\\\n", "\n", "\t", "\x00", "\x1b", "\ufeff", "\udcff", "é", "\u00b2", "\u0661", "日", "\u202e", "\xa0"]
    ),
    st.sampled_from(["'", '"', "\\", "#", "${", "${a}", "${a:-", "$${", "}", ";"]),
    _one_of("(;);((;[;];->;.;%;@;$;!;!(;f:;&&;||;==;~;=;=X;+;-;&;*;&*;(u8);:u32;:;[1:;container_of(;,;/;/24"),
    _one_of("0;99999;0x;l3;l2v6 ;p ;r ;e ;P ;R ;%0;$comm;$arg;@(;{;ip6_;mac_;::;true;NULL;*=;?"),
)


@st.composite
def mutants(draw: st.DrawFn) -> str:
    """A golden or a drawn probe with something put in, taken out, moved, or the halves of two."""
    text = draw(st.sampled_from(GOLDEN) | probes())
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 4)))
        match draw(st.integers(0, 4)):
            case 0:
                text = text[:start] + draw(_PIECES) + text[end:]
            case 1:
                text = text[:start] + text[end:]
            case 2:
                text = text[:end] + text[start:]
            case 3:
                text = text[:end] + text[start:end] * draw(st.integers(1, 300)) + text[end:]
            case _:
                other = draw(st.sampled_from(GOLDEN))
                text = text[:start] + other[min(start, len(other)) :]
    return text


_EXPANSIONS = _one_of("${a};${b};${a:-n};${c:-};$${a};${;${a:-s->level};${ a};${A};${a:-${b}};${zz}")
DEFINITIONS = st.dictionaries(
    _one_of("a;b;c;A"),
    st.one_of(_EXPRESSIONS, _LITERALS, st.text(max_size=8), _one_of("a\nb;p plain;\\;${a};")),
    max_size=3,
)


@st.composite
def script_texts(draw: st.DrawFn) -> str:
    """A saved script: probes with `${name}` in places, comments, continued lines."""
    lines = []
    for _ in range(draw(st.integers(0, 4))):
        text = draw(probes() | mutants() | st.sampled_from(["# ${a} comment", "", "  ", "\\", "#\\"]))
        for _ in range(draw(st.integers(0, 2))):
            start = draw(st.integers(0, len(text)))
            text = text[:start] + draw(_EXPANSIONS) + text[start + draw(st.integers(0, 3)) :]
        lines.append(text.replace(" ", draw(st.sampled_from([" ", " ", " \\\n ", "  "]))))
    return draw(st.sampled_from(["\n", "\n\n", "\r\n"])).join(lines)


# (id, a probe whose size or depth is out of all proportion)
HUGE = (
    ("members", "p plain a=s" + "->dev" * 5000),
    ("indices", "p plain a=s->grid" + "[0]" * 5000),
    ("slices", "p plain a=s->grid" + "[0:1]" * 5000),
    ("casts", "p plain a=" + "!(u64)" * 5000 + "%0"),
    ("conversions", "p plain a=" + "(u64)" * 5000 + "%0"),
    ("dereferences", "p plain a=" + "*" * 5000 + "s"),
    ("addresses", "p plain a=" + "&" * 5000 + "s"),
    ("parentheses", "p plain a=" + "(" * 5000 + "s" + ")" * 5000),
    ("containers", "p plain a=" + "container_of(" * 500 + "s" + ", struct shape, inner)" * 500),
    ("groups", "p plain n=n f:" + "(" * 5000 + "n==1" + ")" * 5000),
    ("nots", "p plain n=n f:" + "!(" * 5000 + "n==1" + ")" * 5000),
    ("doubled-nots", "p plain n=n f:" + "!" * 5000 + "(n==1)"),
    ("open-groups", "p plain n=n f:" + "(" * 5000),
    ("conjunction", "p plain n=n f:" + "&&".join(["n==1"] * 3000)),
    ("alternation", "p plain n=n f:" + "&&".join(["(s->level==1||s->dev->level<=2)"] * 900)),
    ("values", "p plain f:" + "&&".join(f"s->rest[{number}]==1" for number in range(900))),
    ("arguments", "p plain " + " ".join(f"a{number}=n" for number in range(1000))),
    ("nameless", "p plain " + " ".join(f"s->rest[{number}]" for number in range(1000))),
    ("one-name", "p plain " + " ".join("a=n" for _ in range(1000))),
    ("unknown-names", "p plain n=n f:" + "||".join(f"a{number}==1" for number in range(300))),
    ("many-unknown-names", "p plain n=n f:" + "||".join(["zz==1"] * 2500)),
    ("long-name", "p plain " + "a" * 30_000 + "=n"),
    ("too-long-name", "p plain " + "a" * 100_000 + "=n"),
    ("long-unknown-name", "p plain " + "a" * 30_000),
    ("long-member", "p plain s->" + "a" * 30_000),
    ("long-function", "p " + "a" * 30_000),
    ("long-object", "P " + "a" * 30_000 + ":f"),
    ("long-path", "P /" + "a" * 30_000 + ":f"),
    ("long-user-function", "P /bin/sh:" + "a" * 30_000),
    ("long-event", "e sched/" + "a" * 30_000),
    ("stars-of-a-glob", "p " + "*a" * 10_000),
    ("classes-of-a-glob", "p " + "[a" * 10_000),
    ("long-type", "p plain a=!(" + "unsigned " * 3000 + "long)%0"),
    ("long-word", "p plain n=n f:n==" + "a" * 30_000),
    ("pointers", "p plain a=!(u64 " + "*" * 5000 + ")%0"),
    ("some-pointers", "p plain a=!(u64 " + "*" * 100 + ")%0" + "[0]" * 30),
    ("dimensions", "p plain a=!(u64 " + "[1]" * 5000 + ")%0"),
    ("some-dimensions", "p plain a=*!(u64 (*)" + "[9999999]" * 12 + ")%0"),
    ("long-slice", "p plain a=s->rest[0:18446744073709551615]"),
    ("long-number", "p plain a=s->grid[" + "1" * 30_000 + "]"),
    ("long-string", 'p plain l=label f:l=="' + "x" * 30_000 + '"'),
    ("many-strings", "p plain l=label f:" + "||".join(f'l=="{"x" * 250}"' for _ in range(100))),
    ("spaces", "p plain" + " " * 30_000 + "a=n"),
    ("spaces-in-a-type", "p plain a=!(u64" + " " * 30_000 + ")n"),
    ("continued", "p plain" + " \\\n" * 9_000 + "a=n"),
    ("quotes", "p plain n=n f:n==" + '"' * 9999),
    ("stars", "*" * 30_000),
)
