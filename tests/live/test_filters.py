"""Filters proved both ways: what must pass is seen, what must not is not; Python's arithmetic says which.

All the filters of a test are probes in one trace, on one function; each shows which of the calls it was hit by.
"""

import operator
import re
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from ipaddress import ip_address, ip_network
from struct import pack

import pytest

from tests.kernel.guest import Guest
from tests.live.helpers import LAST_ECHO, Traffic, event_lines, running, traffic

pytestmark = [pytest.mark.kernels("5.10", "6.12", "newest"), pytest.mark.usefixtures("nothing_left")]

OPERATORS: Mapping[str, Callable[[int, int], bool]] = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
    "&": lambda left, right: bool(left & right),
}  # fmt: skip
ORDER = tuple(OPERATORS)[:6]

# With O_PATH no O_LARGEFILE is added to the bytes that openat2() is given.
O_PATH = (0o10000000).to_bytes(8, "little")


@pytest.fixture(scope="module")
def sender(guest: Guest) -> Iterator[Traffic]:
    """One that sends for all the tests of a kernel."""
    with traffic(guest) as result:
        yield result


@dataclass(frozen=True, slots=True)
class Filter:
    """A filter, what else its probe shows, and the numbers of the calls that pass."""

    text: str
    passing: frozenset[int]
    arguments: str = ""


def check(guest: Guest, sender: Traffic, place: str, filters: Sequence[Filter], asks: Sequence[str]) -> None:
    """Each filter on `place`, which shows the number of the call as `id`, lets through what it must and nothing else.

    The calls number from 1, and a filter that lets nothing or everything through proves little: none does.
    """
    everything = frozenset(range(1, len(asks) + 1))
    useless = [each.text for each in filters if each.passing in (frozenset(), everything)]
    assert not useless
    probes = [f"{place} {each.arguments} f:{each.text}" for each in filters]
    with running(guest, *probes) as surftrace:
        for ask in asks:
            sender.ask(ask)
        surftrace.signal(signal.SIGINT)
        result = surftrace.wait()
    shown = result.stdout.partition(LAST_ECHO)[2]
    assert "__h" not in shown
    assert result.stderr == ""
    lines = event_lines(shown)
    wrong = {}
    for number, each in enumerate(filters):
        seen = [int(re.findall(r"\bid=(\d+)", line.values)[0]) for line in lines if line.name == f"f{number}"]
        if seen != sorted(each.passing):
            wrong[each.text] = f"seen {seen}, expected {sorted(each.passing)}"
    assert wrong == {}


def _numbers(contents: Sequence[object], condition: Callable[..., bool]) -> frozenset[int]:
    """The numbers of the calls with the contents of which the condition holds."""
    return frozenset(number for number, each in enumerate(contents, 1) if condition(each))


def _compared(
    name: str, values: Sequence[int], literals: Mapping[str, int], operators: Sequence[str], arguments: str = ""
) -> list[Filter]:
    """Each operator with each literal, where some values pass and some do not."""
    return [
        Filter(f"{name}{sign}{literal}", passing, arguments)
        for literal, number in literals.items()
        for sign in operators
        if 0
        < len(passing := _numbers(values, lambda value, sign=sign, number=number: OPERATORS[sign](value, number)))
        < len(values)
    ]


def _signed(number: int, bits: int) -> int:
    number &= (1 << bits) - 1
    return number - (1 << bits) if number >> bits - 1 else number


def _plain(numbers: Sequence[int]) -> dict[str, int]:
    return {str(number): number for number in numbers}


_REGISTERS = [0, 1, 5, 8, 255, 0x8000_0000, (1 << 64) - 1, (1 << 64) - 8]


def test_numbers(guest: Guest, sender: Traffic) -> None:
    """Unsigned and signed numbers of each width, named and not."""
    filters = [
        *_compared("arg2", _REGISTERS, {"8": 8, "18446744073709551615": (1 << 64) - 1},
        list(OPERATORS)),
        *_compared("n", [_signed(each, 64) for each in _REGISTERS], _plain([-8]), ORDER, "n=Sarg2"),
        *_compared("(s8)arg2", [_signed(each, 8) for each in _REGISTERS], _plain([-1, 5]), ["==", "<", ">="]),
        *_compared("i", [_signed(each, 32) for each in _REGISTERS], _plain([-8, 0]), ["<", ">=", "=="], "i=arg2:s32"),
        *_compared("x", [each & 0xFF for each in _REGISTERS], {"010": 8, "0xf8": 0xF8}, ["==", "<", "&"], "x=arg2:x8"),
        *_compared("b", [each >> 3 & 0xF for each in _REGISTERS], {"1": 1, "0xf": 15}, ["==", "!=", "<", "&"],
        "b=arg2:b4@3/8"),
        *_compared("%si", _REGISTERS, {"255": 255}, ["==", ">"]),
    ]  # fmt: skip
    asks = [f"prctl {0x7100 + number} {value} 0 0 0" for number, value in enumerate(_REGISTERS, 1)]
    filters = [
        Filter(f"option>0x7100&&option<0x7200&&({each.text})", each.passing, f"id=option:b8@0/32 {each.arguments}")
        for each in filters
    ]
    check(guest, sender, "p security_task_prctl", filters, asks)


def test_logic(guest: Guest, sender: Traffic) -> None:
    """&&, ||, ! and brackets bind as in C; tried with all combinations of three values that are or are not."""
    contents = [(a, b, c) for a in (0, 1) for b in (0, 1) for c in (0, 1)]
    texts = {
        "a==1&&b==1||c==1": lambda a, b, c: (a and b) or c,
        "a==1||b==1&&c==1": lambda a, b, c: a or (b and c),
        "(a==1||b==1)&&c==1": lambda a, b, c: (a or b) and c,
        "!(a==1)": lambda a, b, c: not a,
        "!(a==1&&b==1)": lambda a, b, c: not (a and b),
        "!(a==1||b==1)||c==1": lambda a, b, c: not (a or b) or c,
        "!(!(a==1)||!(b!=1))": lambda a, b, c: a and not b,
        "!(a==1&&(b==1||!(c==1)))": lambda a, b, c: not (a and (b or not c)),
        "a==1 && b==1 && c==0": lambda a, b, c: a and b and not c,
        "((a==0))": lambda a, b, c: not a,
        "a==true&&b==false": lambda a, b, c: a and not b,
        "a!=NULL": lambda a, b, c: a,
        "!(a==1)&&!(b==1)||a==1&&b==1": lambda a, b, c: a == b,
        "arg3!=0&&!(arg4&1)": lambda a, b, c: b and not c,
        "!(arg3&1)&&(arg4&1||arg2&1)": lambda a, b, c: not b and (c or a),
    }
    filters = [
        Filter(f"option>0x7100&&option<0x7200&&({text})", _numbers(contents, lambda each, rule=rule: bool(rule(*each))),
               "id=option:b8@0/32 a=arg2 b=arg3 c=arg4")
        for text, rule in texts.items()
    ]  # fmt: skip
    asks = [f"prctl {0x7100 + number} {a} {b} {c} 0" for number, (a, b, c) in enumerate(contents, 1)]
    check(guest, sender, "p security_task_prctl", filters, asks)


_BYTES = [  # what lies behind O_PATH, 16 bytes; each is read as an address and as numbers in network order
    bytes.fromhex(text)
    for text in (
        "0a000001 0000 0000 0000000000000000", "0a0000ff ffff ffff ffffffffffffffff",
        "0a000100 0000 0000 0000000000000001",
        "0aff0001 00ff 0100 0000000100000000", "c0a80103 0001 0002 0003000400050006",
        "00000000 0000 0000 0000000000000000",
        "ffffffff ffff ffff ffffffffffffffff", "fe800000 0000 0000 0200000000000abc",
        "febf1234 5678 9abc def0123456789abc",
        "fec00000 0000 0000 0000000000000001", "01005e00 00fb 0001 0000000000000000",
        "03ff0400 0000 0000 0000000000000000",
    )
]  # fmt: skip


def _check_memory(guest: Guest, sender: Traffic, filters: Sequence[Filter], contents: Sequence[bytes]) -> None:
    """The filters on openat2(), with each of the contents behind O_PATH. A directory's number is 128 and its own."""
    probes = [
        Filter(f"dfd>128&&dfd<192&&({each.text})", each.passing, f"id=dfd:b6@0/32 {each.arguments}") for each in filters
    ]
    asks = [f"openat2 {128 + number} b'/x' b'' {O_PATH + each!r}" for number, each in enumerate(contents, 1)]
    check(guest, sender, "p do_sys_openat2", probes, asks)


_LITERALS = {
    16: {"2560": 0x0A00, "0xffff": 0xFFFF, "0x3ff": 0x3FF},
    32: {"0x0a000100": 0x0A000100, "0": 0},
    64: {"0x0a0001000000000": 0x0A0001000000000, "0xfe80000000000001": 0xFE80_0000_0000_0001},
}


def test_numbers_in_network_order(guest: Guest, sender: Traffic) -> None:
    filters: list[Filter] = []
    for bits, literals in _LITERALS.items():
        numbers = [int.from_bytes(each[: bits // 8], "big") for each in _BYTES]
        name, member = f"b{bits}_a", f"how->!(__be{bits})mode"
        first = dict([*literals.items()][:1])
        filters += _compared(name, numbers, literals, ORDER, f"{name}={member}")
        filters += _compared(name, numbers, {"0x00ff": 0x00FF}, ["&"], f"{name}={member}")
        filters += _compared(f"B{bits}_a", numbers, first, [*ORDER[1:3], "&"], f"B{bits}_a={member}")
        filters += _compared(member, numbers, first, ["==", ">="])
    _check_memory(guest, sender, filters, _BYTES)


def test_addresses(guest: Guest, sender: Traffic) -> None:
    """==, !=, networks and order of ip_, ip6_ and mac_."""
    filters = []
    for name, size, argument, texts, networks in (
        ("ip_a", 4, "ip_a=how->!(u32)mode", ("10.0.1.0", "0.0.0.0"),
         ("10.0.0.0/8", "10.0.0.0/24", "0.0.0.0/1", "254.128.0.0/10", "10.0.0.0/23", "254.0.0.0/7")),
        ("ip6_a", 16, "ip6_a=((u8 *)how)[8:24]", ("fe80::200:0:0:abc", "a00:1::"),
         ("fe80::/10", "fe80::/64", "fe80::200:0:0:abc/128", "::/1", "a00::/16", "fc00::/6", "a00:1::/33",
         "fe80::200:0:0:ab8/125")),
    ):  # fmt: skip
        numbers = [int.from_bytes(each[:size], "big") for each in _BYTES]
        literals = {text: int(ip_address(text)) for text in texts}
        filters += _compared(name, numbers, literals, ORDER, argument)
        filters += _in_networks(name, argument, [ip_address(each[:size]) for each in _BYTES], networks)
    macs = [int.from_bytes(each[:6], "big") for each in _BYTES]
    literals = {
        "01:00:5e:00:00:fb": 0x01005E0000FB,
        "fe:80:00:00:00:00": 0xFE8000000000,
    }
    filters += _compared("mac_a", macs, literals, ORDER, "mac_a=how->!(u8[6])mode")
    argument = "mac_a=how->!(u8[6])mode"
    for text, first, length in (("0a:00:00:00:00:00/24", 0x0A0000, 24), ("fe:80:00:00:00:00/10", 0x3FA, 10)):
        inside = frozenset(number for number, each in enumerate(macs, 1) if each >> 48 - length == first)
        filters.append(Filter(f"mac_a=={text}", inside, argument))
        filters.append(Filter(f"mac_a!={text}", frozenset(range(1, len(macs) + 1)) - inside, argument))
    _check_memory(guest, sender, filters, _BYTES)


def _in_networks(name: str, argument: str, addresses: Sequence[object], networks: Sequence[str]) -> list[Filter]:
    result = []
    for text in networks:
        network = ip_network(text)
        inside = frozenset(number for number, each in enumerate(addresses, 1) if each in network)
        result.append(Filter(f"{name}=={text}", inside, argument))
        result.append(Filter(f"{name}!={text}", frozenset(range(1, len(addresses) + 1)) - inside, argument))
    return result


def test_network_of_one_address(guest: Guest, sender: Traffic) -> None:
    texts = {"ip_a==10.0.0.1/32": {1}, "ip6_b==fe80::200:0:0:abc/128": {8}, "mac_c==0a:00:00:01:00:00/48": {1}}
    arguments = "ip_a=how->!(u32)mode ip6_b=((u8 *)how)[8:24] mac_c=how->!(u8[6])mode"
    filters = [Filter(text, frozenset(passing), arguments) for text, passing in texts.items()]
    _check_memory(guest, sender, filters, _BYTES)


def test_packets_of_fixed_ports(guest: Guest, sender: Traffic) -> None:
    """The published way of a filter: protocol, address and port; EXPR on the left, and the length of the packet."""
    sent = [("127.0.0.1", 1023), ("127.0.0.1", 1024), ("127.0.1.1", 9988), ("127.1.0.1", 256), ("127.0.0.1", 255),
    ("127.9.9.9", 60000)]  # fmt: skip
    udp, ip = "@(struct udphdr *)skb->", "@(struct iphdr *)skb->"
    arguments = f"id={udp}cdata[0] proto={ip}protocol ip_dst={ip}daddr b16_dest={udp}dest"
    rules: dict[str, Callable[[str, int, int], bool]] = {
        "b16_dest>=1024": lambda _, port, __: port >= 1024,
        "b16_dest<1024": lambda _, port, __: port < 1024,
        "b16_dest==256": lambda _, port, __: port == 256,
        "ip_dst==127.0.0.0/24&&b16_dest!=255": lambda to, port, _: to.startswith("127.0.0.") and port != 255,
        "ip_dst!=127.0.0.0/16": lambda to, _, __: not to.startswith("127.0."),
        "ip_dst>127.0.0.255||b16_dest==1023": lambda to, port, _: not to.startswith("127.0.0.") or port == 1023,
        f"{udp}dest>1000&&{udp}dest<=9988": lambda _, port, __: 1000 < port <= 9988,
        f"{ip}daddr==127.1.0.1": lambda to, _, __: to == "127.1.0.1",
        f"!({ip}daddr==127.0.0.1)&&{udp}dest!=0x2704": lambda to, port, _: to != "127.0.0.1" and port != 9988,
        "skb->len>131": lambda _, __, length: length > 103,
        "!(skb->len>131)&&skb->len!=29": lambda _, __, length: 1 < length <= 103,
    }  # fmt: skip
    payloads = [bytes([number]) + b"-" * (number * 25 - 25) for number in range(1, len(sent) + 1)]
    contents = [(to, port, len(data)) for (to, port), data in zip(sent, payloads, strict=True)]
    filters = [
        Filter(f"proto==17&&({text})", _numbers(contents, lambda each, rule=rule: rule(*each)), arguments)
        for text, rule in rules.items()
    ]
    asks = [f"udp {to} {port} {data!r}" for (to, port), data in zip(sent, payloads, strict=True)]
    check(guest, sender, "p ip_output", filters, asks)


def test_strings(guest: Guest, sender: Traffic) -> None:
    texts = ["abc", "abcd", "ab", "xabc", "7up", "!bang", "a b", "x*y", "a]c", ""]
    patterns = ["abc*", "*abc", "*abc*", "a?c", "7*", "!b*", "x[*]y", "a[a-c]c", "*", "[!a]?*"]
    quoted = ["abc", "", "7up", "!bang", "a b", "x*y"]
    argument = "s=how->!(char[16])mode"
    filters = [
        Filter(f's=="{text}"', _numbers(texts, lambda each, text=text: each == text), argument) for text in quoted
    ]
    filters += [
        Filter(f's!="{text}"', _numbers(texts, lambda each, text=text: each != text), argument) for text in quoted
    ]
    filters += [
        Filter(f's~"{pattern}"', passing, argument)
        for pattern in patterns
        if 0 < len(passing := _numbers(texts, lambda each, p=pattern: fnmatchcase(each, p))) < len(texts)
    ]
    filters += [
        Filter('how->!(char[16])mode=="abc"', _numbers(texts, lambda each: each == "abc")),
        Filter('how->!(char[16])mode~"*b*"', _numbers(texts, lambda each: "b" in each)),
        Filter('!(how->!(char[16])mode~"*b*")', _numbers(texts, lambda each: "b" not in each)),
        Filter("c=='a'", _numbers(texts, lambda each: each[:1] == "a"), "c=how->!(char)mode"),
    ]
    _check_memory(guest, sender, filters, [text.encode().ljust(16, b"\0") for text in texts])


def test_names_of_numbers(guest: Guest, sender: Traffic) -> None:
    """Enumerators, true and false, NULL, and the names of functions."""
    symbols = guest.run(["grep", "-wE", "schedule|vfs_read", "/proc/kallsyms"]).expect().stdout.splitlines()
    address = {line.split()[2]: int(line.split()[0], 16) for line in symbols}
    contents = [
        pack("<QII", pointer, kind, flag)
        for pointer, kind, flag in (
            (0, 0, 0), (address["schedule"], 1, 1), (address["vfs_read"], 2, 1), (address["schedule"] + 1, 3, 0), (5,
            1, 0),
        )
    ]  # fmt: skip
    kinds, flags, pointers = (
        [0, 1, 2, 3, 1],
        [0, 1, 1, 0, 0],
        [0, *(address[name] for name in ("schedule", "vfs_read")), address["schedule"] + 1, 5],
    )
    kind, flag, pointer = "kind=((enum pid_type *)how)[4]", "flag=((bool *)how)[20]", "code=((void **)how)[1]"
    filters = [
        *_compared("kind", kinds, {"PIDTYPE_PID": 0, "PIDTYPE_PGID": 2}, ORDER, kind),
        *_compared("((enum pid_type *)how)[4]", kinds, {"PIDTYPE_TGID": 1}, ["==", "!=", "<"]),
        *_compared("kind", kinds, {"PIDTYPE_PGID": 2, "3": 3}, ["&"], kind),
        *_compared("flag", flags, {"true": 1, "false": 0}, ["==", "!="], flag),
        *_compared("code", pointers, {"NULL": 0, "schedule": address["schedule"], "vfs_read": address["vfs_read"]},
        ["==", "!="], pointer),
        *_compared("((void **)how)[1]", pointers, {"NULL": 0, "0x5": 5}, ["==", "!=", ">"]),
        # Other enumerators of the kernel's are known by name too.
        *_compared("((u32 *)how)[4]", kinds, {"TCP_ESTABLISHED": 1}, ["==", ">"]),
    ]  # fmt: skip
    # The kernel's own comparison with a function's name holds anywhere inside of it (Linux 6.4 and later).
    if guest.image.name != "5.10":
        filters = [each for each in filters if "schedule" not in each.text]
    _check_memory(guest, sender, filters, contents)


def test_names_of_functions(guest: Guest, sender: Traffic) -> None:
    write = guest.run(["grep", "-wE", "write_null|write_full", "/proc/kallsyms"]).expect().stdout
    assert "write_null" in write
    assert "write_full" in write
    probes = [
        'p vfs_write w=file->f_op->write id=count f:w==write_null&&id==7',
        'p vfs_write id=count f:file->f_op->write!=write_null&&file->f_op->write!=NULL&&count==7',
        'p vfs_write id=count f:file->f_op->write==write_full&&count==7',
    ]  # fmt: skip
    with running(guest, *probes) as surftrace:
        sender.ask("write b'/dev/null' b'a datum'")
        sender.ask("write b'/dev/full' b'a datum'")
        surftrace.signal(signal.SIGINT)
        result = surftrace.wait()
    lines = event_lines(result.stdout)
    assert sorted(line.name for line in lines) == ["f0", "f1", "f2"]
    assert [line.values for line in lines if line.name != "f0"] == ["id=7", "id=7"]


def test_task(guest: Guest, sender: Traffic) -> None:
    """$comm, COMM, common_pid and CPU."""
    names = ["first task", "second", "third!"]
    pid = sender.ask("kill 0")
    argument = "c=$comm"
    filters = [
        Filter('c=="second"', frozenset({2}), argument),
        Filter('COMM=="second"', frozenset({2})),
        Filter('COMM~"*s*"', frozenset({1, 2})),
        Filter('COMM!="second"', frozenset({1, 3})),
        Filter('$comm=="first task"', frozenset({1})),
        Filter('!($comm~"*ir*")', frozenset({2})),
        Filter(f'common_pid=={pid}&&c~"th*"', frozenset({3}), argument),
        Filter(f'!(common_pid!={pid})&&c!="third!"', frozenset({1, 2}), argument),
        Filter(f'common_pid>{pid - 1}&&common_pid<={pid}&&CPU>=0&&CPU<2&&COMM~"*d*"', frozenset({2, 3})),
        Filter(f'(common_pid!={pid}||CPU>=2)||COMM=="third!"', frozenset({3})),
    ]
    probes = [
        Filter(f"option>0x7100&&option<0x7200&&({each.text})", each.passing, f"id=option:b8@0/32 {each.arguments}")
        for each in filters
    ]
    with running(guest, *(f"p security_task_prctl {each.arguments} f:{each.text}" for each in probes)) as surftrace:
        for number, name in enumerate(names, 1):
            sender.ask(f"name {name.encode()!r}")
            sender.ask(f"prctl {0x7100 + number} 0 0 0 0")
        sender.ask("name b'python3'")
        surftrace.signal(signal.SIGINT)
        result = surftrace.wait()
    lines = event_lines(result.stdout)
    seen = [
        {int(re.findall(r"\bid=(\d+)", line.values)[0]) for line in lines if line.name == f"f{number}"}
        for number in range(len(probes))
    ]
    assert seen == [each.passing for each in probes]
    assert {line.pid for line in lines} == {pid}


def test_events_and_returns(guest: Guest, sender: Traffic) -> None:
    """Fields of an event as it is, and the value that a function returns."""
    returns = [
        "r security_task_prctl ret=$retval f:ret<-37&&ret>-39&&ret!=0",
        "r security_task_prctl id=U$retval f:$retval==-38",
        "r security_task_prctl id=U$retval f:$retval>=0||$retval<-38",
        "e signal/signal_generate f:sig==23&&code<0",
        "e signal/signal_deliver f:sig==23&&(code>=0||code<-7)",
        "e sched/sched_process_exec f:filename~\"*/true\"||filename==\"/bin/nothing\"",
    ]  # fmt: skip
    with running(guest, *returns) as surftrace:
        sender.ask("prctl 0x7101 0 0 0 0")
        sender.ask("kill 23")
        guest.run(["/bin/false"])
        guest.run(["/bin/true"]).expect()
        surftrace.signal(signal.SIGINT)
        result = surftrace.wait()
    shown = result.stdout.partition(LAST_ECHO)[2]
    assert "__h" not in shown
    counts = {
        name: len(re.findall(rf" {name}: ", shown))
        for name in ("f0", "f1", "f2", "signal_generate", "sched_process_exec")
    }
    assert counts == {"f0": 1, "f1": 1, "f2": 0, "signal_generate": 1, "sched_process_exec": 1}
    assert "sched_process_exec: filename=/bin/true" in shown
    assert "code=-6 " in shown


def test_strings_of_a_process(guest: Guest, sender: Traffic) -> None:
    """What a process passes to a system call lies in its own memory: the kernel's filter is told so."""
    event = "syscalls/sys_enter_openat2"
    for number, condition in enumerate(('filename=="/x/a"', 'dfd==78&&!(filename=="/x/a")', 'filename~"/x/*"')):
        with running(guest, f"e {event} f:{condition}") as surftrace:
            for name in (b"/x/a", b"/x/b", b"/y/a"):
                sender.ask(f"openat2 78 {name!r} b'' {bytes(24)!r}")
            surftrace.signal(signal.SIGINT)
            result = surftrace.wait()
        assert result.stdout.count("sys_openat2(") == (1, 2, 2)[number], condition


@pytest.mark.kernels("6.1", "6.12", "newest")
def test_names_of_the_kernel_and_of_a_function(guest: Guest, sender: Traffic) -> None:
    """`comm` and `cpu` are a field's or a parameter's where there is one of that name, else the current task's."""
    probes = [
        'e signal/signal_generate sig f:comm=="python3"&&sig==23',
        'e signal/signal_generate sig f:COMM=="nobody"',
    ]
    with running(guest, *probes) as surftrace:
        sender.ask("kill 23")
        surftrace.signal(signal.SIGINT)
        result = surftrace.wait()
    assert [line.name for line in event_lines(result.stdout)].count("f1") == 0
    assert {line.values for line in event_lines(result.stdout)} == {"sig=23"}
