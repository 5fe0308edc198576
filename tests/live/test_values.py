"""Values proved: what a probe shows is what a process sent or asked for."""

import re
import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from struct import pack

import pytest

from tests.kernel.guest import Guest
from tests.live.helpers import (
    Traffic,
    event_lines,
    first_function,
    running,
    traffic,
    values,
    without_doubted_misses,
)

pytestmark = [pytest.mark.kernels("5.10", "6.12", "newest"), pytest.mark.usefixtures("nothing_left")]

# What security_task_prctl() gets: any numbers, in registers.
OPTION = 0x7001
FIRST, SECOND, THIRD, FOURTH = 0xFEDC_BA98_7654_3210, (1 << 64) - 3, 0x80, 0x12_3456_8001_0F41
PRCTL = f"prctl {OPTION} {FIRST} {SECOND} {THIRD} {FOURTH}"

# What do_sys_openat2() has in the kernel's memory: any 24 bytes. O_LARGEFILE, 0x8000, would be added.
HOW = bytes((1, 0x82, *range(3, 25)))
NUMBERS = [int.from_bytes(HOW[start : start + 8], "little") for start in (0, 8, 16)]
# With O_PATH no O_LARGEFILE is added.
O_PATH = 0o10000000


@pytest.fixture(scope="module")
def sender(guest: Guest) -> Iterator[Traffic]:
    """One that sends for all the tests of a kernel."""
    with traffic(guest) as result:
        yield result


@dataclass(frozen=True, slots=True)
class Shows:
    """A probe on `place`: its arguments as written, each with what it is to show; `condition` is its filter."""

    place: str
    arguments: Mapping[str, str]
    condition: str

    @property
    def probe(self) -> str:
        """What surftrace is given."""
        return f"{self.place} {' '.join(self.arguments)} f:{self.condition}"


def check(guest: Guest, sender: Traffic, probes: Sequence[Shows], asks: Sequence[str]) -> None:
    """Each probe shows one event with these values, however often and by whomever it is hit."""
    with running(guest, *(each.probe for each in probes)) as surftrace:
        for ask in asks:
            sender.ask(ask)
        surftrace.signal(signal.SIGINT)
        result = surftrace.wait()
    assert without_doubted_misses(result.stderr) == ""
    lines = event_lines(result.stdout)
    for number, each in enumerate(probes):
        shown = [line.values for line in lines if line.name == f"f{number}"]
        assert shown == [" ".join(each.arguments.values())], each.probe


def refused(guest: Guest, probe: str) -> list[str]:
    """What is said of a probe that does not compile: the message, and the part of the probe it is about."""
    result = guest.run(["surftrace", "-n", probe], preloaded=True).expect(2)
    lines = result.stderr.splitlines()
    return [
        message.removeprefix("probe 1: error: ") + " | " + text[carets.index("^") : len(carets)]
        for message, text, carets in zip(lines, lines[1:], lines[2:], strict=False)
        if message.startswith("probe 1: error: ")
    ]


def _signed(number: int, bits: int) -> int:
    number &= (1 << bits) - 1
    return number - (1 << bits) if number >> bits - 1 else number


def _prctl(arguments: Mapping[str, str]) -> Shows:
    return Shows("p security_task_prctl", arguments, f"option=={OPTION}")


def _openat2(directory: int, arguments: Mapping[str, str]) -> Shows:
    return Shows("p do_sys_openat2", arguments, f"dfd=={directory}")


def test_numbers_in_registers(guest: Guest, sender: Traffic) -> None:
    written = {
        "option": f"option={OPTION}", "S=S%0": f"S={OPTION}", "U=U%0": f"U={OPTION}", "X=X%0": f"X={OPTION:#x}",
        "arg2": f"arg2={FIRST}", "s=S%1": f"s={_signed(FIRST, 64)}", "u=Uarg2": f"u={FIRST}", "x=X%1": f"x={FIRST:#x}",
        "%si": f"si={FIRST}", "r=!(s32)%dx": "r=-3", "rx=X%dx": f"rx={SECOND:#x}", "a=$arg5": f"a={FOURTH}",
        "cu8=(u8)arg2": f"cu8={FIRST & 0xFF}", "cs8=(s8)%3": "cs8=-128", "c16=(short)arg3": "c16=-3",
        "cu=(unsigned int)arg3": "cu=4294967293", "cp=(void *)arg3": f"cp={SECOND:#x}", "t8=!(s8)%3": "t8=-128",
        "p=(arg2)": f"p={FIRST}", "cc=(char)arg5": "cc=65", "ce=(enum pid_type)option": f"ce={OPTION}",
    }  # fmt: skip
    typed = {
        f"v{letter}{bits}=arg{2 if letter == 'u' else 3}:{letter}{bits}": f"v{letter}{bits}={value}"
        for bits in (8, 16, 32, 64)
        for letter, value in (("u", FIRST & (1 << bits) - 1), ("s", -3), ("x", hex(SECOND & (1 << bits) - 1)))
    }
    bits = {
        "b4=arg2:b4@4/8": "b4=1", "b12=arg2:b12@20/32": f"b12={FIRST >> 20 & 0xFFF}",
        "b5=arg2:b5@59/64": f"b5={FIRST >> 59}", "b64=arg2:b64@0/64": f"b64={FIRST}",
    }  # fmt: skip
    prefixed = {
        f"{letter}{bits}_a=(u{bits})arg2": _big_endian(letter, FIRST, bits) for letter in "bB" for bits in (16, 32)
    }
    prefixed |= {f"{letter}64_a=arg2": _big_endian(letter, FIRST, 64) for letter in "bB"}
    prefixed["ip_a=(u32)arg2"] = f"ip_a={IPv4Address(FIRST.to_bytes(8, 'little')[:4])}"
    check(guest, sender, [_prctl(written), _prctl(typed), _prctl(bits), _prctl(prefixed)], [PRCTL])


def _big_endian(letter: str, number: int, bits: int) -> str:
    swapped = int.from_bytes((number & (1 << bits) - 1).to_bytes(bits // 8, "little"), "big")
    return f"{letter}{bits}_a={swapped if letter == 'b' else hex(swapped)}"


def test_negative_numbers(guest: Guest, sender: Traffic) -> None:
    arguments = {"option": "option=-5", "U=U%0": f"U={(1 << 32) - 5}", "X=X%0": f"X={(1 << 32) - 5:#x}"}
    arguments |= {"arg2:s8": "arg2=-1", "n=(s64)arg3": "n=-9223372036854775808"}
    probe = Shows("p security_task_prctl", arguments, "option<0&&option==-5")
    check(guest, sender, [probe], [f"prctl {-5} {0xFF} {1 << 63} 0 0", f"prctl {OPTION} 0 0 0 0"])


def test_cast_to_bool(guest: Guest) -> None:
    """In C a bool is 0 or 1, whatever it is made of: no fetch makes that of a number."""
    refused = guest.run(["surftrace", "-S", "p security_task_prctl b=(bool)arg4"], preloaded=True)
    assert refused.status == 2
    assert "error: the kernel makes no bool of a number" in refused.stderr


def _signed_bit_field(guest: Guest) -> tuple[str, int, str, int]:
    """A struct of this kernel with a signed bit field of 16 bits; where that begins; another of it, and where."""
    if guest.image.name == "5.10":
        return "struct printf_spec", 48, "base", 40
    return "union cpuid6_edx", 16, "split.table_pages", 8


def test_bit_fields(guest: Guest, sender: Traffic) -> None:
    struct, first, other, other_first = _signed_bit_field(guest)
    member = "precision" if guest.image.name == "5.10" else "split.index"
    width = 8 if guest.image.name == "5.10" else 4
    in_register, memory = FOURTH << first - 16, 0x8765 << first | 0xA5 << other_first
    expected, unsigned = _signed(in_register >> first, 16), in_register >> other_first & (1 << width) - 1
    registers = {
        f"i=!({struct})%2.{member}": f"i={expected}", f"u=U!({struct})%2.{member}": f"u={expected & 0xFFFF}",
        f"x=X!({struct})%2.{member}": f"x={expected & 0xFFFF:#x}", f"o=!({struct})%2.{other}": f"o={unsigned}",
        f"os=S!({struct})%2.{other}": f"os={_signed(unsigned, width)}",
        "ihl=!(struct iphdr)%1.ihl": "ihl=5", "version=!(struct iphdr)%1.version": "version=4",
    }  # fmt: skip
    fetched = {
        f"i=(({struct} *)&how->mode)->{member}": f"i={_signed(0x8765, 16)}",
        f"u=U(({struct} *)&how->mode)->{member}": f"u={0x8765}",
        f"x=X(({struct} *)&how->mode)->{member}": "x=0x8765",
        f"o=(({struct} *)&how->mode)->{other}": f"o={0xA5 & (1 << width) - 1}",
        f"os=S(({struct} *)&how->mode)->{other}": f"os={_signed(0xA5, width)}",
        "doff=((struct tcphdr *)how)->doff": "doff=9", "syn=((struct tcphdr *)how)->syn": "syn=1",
        "ack=((struct tcphdr *)how)->ack": "ack=0",
        "type=((struct fs_parameter *)how)->type": "type=fs_value_is_undefined",
    }  # fmt: skip
    how = pack("<QQ", O_PATH, memory)
    tcp = bytes(12) + b"\x90\x02" + bytes(10)
    in_tcp = {key: fetched.pop(key) for key in list(fetched) if "tcphdr" in key}
    check(
        guest,
        sender,
        [_prctl(registers), _openat2(77, fetched), _openat2(78, in_tcp)],
        [
            f"prctl {OPTION} 0x45 {in_register & (1 << 64) - 1} 0 0",
            f"openat2 77 b'/x' b'' {how + bytes(8)!r}",
            f"openat2 78 b'/x' b'' {O_PATH.to_bytes(8, 'little') + tcp[8:]!r}",
        ],
    )


def test_memory(guest: Guest, sender: Traffic) -> None:
    flags, mode, resolve = NUMBERS
    chains = {
        "dfd": "dfd=77", "how->flags": f"flags={flags}", "how->mode": f"mode={mode}",
        "x=Xhow->resolve": f"x={resolve:#x}",
        "e=((u64 *)how)[1]": f"e={mode}", "h=how[0].mode": f"h={mode}", "d=(*how).flags": f"d={flags}",
        "dc=*(u64 *)how": f"dc={flags}", "n=*(u8 *)&how->mode": "n=9", "s=S((s16 *)how)[0]": f"s={_signed(0x8201, 16)}",
        "c=container_of(&how->mode, struct open_how, mode)->resolve": f"c={resolve}", "b=how->!(bool)flags": "b=1",
        "u=%2->flags": f"u={flags}", "ch=((char *)how)[4]": "ch=5", "ca=how->!(u32)mode": f"ca={mode & 0xFFFF_FFFF}",
    }  # fmt: skip
    arrays = {
        "s=((u8 *)how)[2:6]": "s={3,4,5,6}", "a=how->!(u8[24])flags": f"a={{{','.join(map(str, HOW))}}}",
        "sl=how->!(u8[24])flags[5:7]": "sl={6,7}", "x=X((u32 *)how)[0:2]": "x={0x4038201,0x8070605}",
        "ss=((s16 *)how)[0:2]": f"ss={{{_signed(0x8201, 16)},{0x0403}}}",
        "one=how->!(u16[12])flags[11]": f"one={0x1817}",
        "p=((void **)how)[0:3]": f"p={{{','.join(map(hex, NUMBERS))}}}", "sS=S((u8 *)how)[0:2]": "sS={1,-126}",
    }  # fmt: skip
    types = {
        "u8=how->flags:u8": "u8=1", "x16=how->flags:x16": "x16=0x8201",
        "s16=how->flags:s16": f"s16={_signed(0x8201, 16)}",
        "b12=how->flags:b12@4/16": f"b12={0x820}", "a8=how->flags:x8[3]": "a8={0x1,0x82,0x3}",
        "as=how->flags:s16[2]": f"as={{{_signed(0x8201, 16)},{0x0403}}}", "ba=how->flags:b4@4/8[3]": "ba={0,8,0}",
        "x64=how->resolve:x64": f"x64={resolve:#x}", "u64=how->flags:u64[3]": f"u64={{{','.join(map(str, NUMBERS))}}}",
    }  # fmt: skip
    ask = f"openat2 77 b'/x' b'' {HOW!r}"
    check(
        guest,
        sender,
        [_openat2(77, chains), _openat2(77, arrays), _openat2(77, types), _openat2(77, _prefixed())],
        [ask],
    )


def _prefixed() -> dict[str, str]:
    """Arguments with each name prefix on the bytes of HOW, and what they show."""
    mac, ip6 = HOW[:6].hex(":"), IPv6Address(HOW[:16])
    result = {
        "ip_a=*(u32 *)how": f"ip_a={IPv4Address(HOW[:4])}", "ip_b=how->!(__be32)mode": f"ip_b={IPv4Address(HOW[8:12])}",
        "ip6_a=how->!(struct in6_addr)flags": f"ip6_a={ip6}",
        "ip6_b=((u8 *)how)[8:24]": f"ip6_b={IPv6Address(HOW[8:])}",
        "mac_a=how->!(u8[6])flags": f"mac_a={mac}", "mac_b=((u8 *)how)[3:9]": f"mac_b={HOW[3:9].hex(':')}",
    }  # fmt: skip
    for letter, show in (("b", str), ("B", hex)):
        for bits in (16, 32, 64):
            shown = show(int.from_bytes(HOW[: bits // 8], "big"))
            result[f"{letter}{bits}_a=how->!(__be{bits})flags"] = f"{letter}{bits}_a={shown}"
    return result


def test_ipv6_text(guest: Guest, sender: Traffic) -> None:
    """RFC 5952, section 4: the longest run of zeros is shortened, a single one is not; section 5: IPv4 inside."""
    texts = ["1:0:0:2::3", "::", "2001:db8:0:1:1:1:1:1", "::ffff:10.0.0.1", "fe80::1:0:0:1"]
    probe = "p do_sys_openat2 ip6_a=((u8 *)how)[8:24] f:dfd==76"
    with running(guest, "-c", str(len(texts)), probe) as surftrace:
        for text in texts:
            sender.ask(f"openat2 76 b'/x' b'' {O_PATH.to_bytes(8, 'little') + IPv6Address(text).packed!r}")
        result = surftrace.wait()
    assert values(result.stdout) == [f"ip6_a={text}" for text in texts]


def test_addresses(guest: Guest, sender: Traffic) -> None:
    probe = (
        "p do_sys_openat2 how mode=&how->mode resolve=&how->resolve plain=&(*how) "
        "holder=container_of(&how->mode, struct open_how, mode) f:dfd==77"
    )
    with running(guest, "-c", "1", probe) as surftrace:
        sender.ask(f"openat2 77 b'/x' b'' {HOW!r}")
        result = surftrace.wait()
    (line,) = values(result.stdout)
    how, mode, resolve, plain, holder = (int(each.partition("=")[2], 16) for each in line.split())
    assert (mode - how, resolve - how, plain - how, holder - how) == (8, 16, 0, 0)


def test_enumerators(guest: Guest, sender: Traffic) -> None:
    in_memory = {
        "e=how->!(enum pid_type)mode": "e=PIDTYPE_PGID", "a=((enum pid_type *)how)[2:6]": f"a={_TYPES}",
        "xa=X((enum pid_type *)how)[2:6]": "xa={0x2,0x0,0x3,0x9}", "ue=Uhow->!(enum pid_type)mode": "ue=2",
        "no=((enum pid_type *)how)[5]": "no=9", "last=((enum pid_type *)how)[4]": "last=PIDTYPE_SID",
        "bit=((struct fs_parameter *)how)->type": "bit=fs_value_is_string",
        "xb=X((struct fs_parameter *)how)->type": "xb=0x2", "ub=U((struct fs_parameter *)how)->type": "ub=2",
    }  # fmt: skip
    arguments = {"sig": "sig=23", "type": "type=PIDTYPE_PID", "x=X%3": "x=0x0", "u=Utype": "u=0", "s=Stype": "s=0"}
    process = arguments | {"type": "type=PIDTYPE_TGID", "x=X%3": "x=0x1", "u=Utype": "u=1", "s=Stype": "s=1"}
    socket = {"sock->state": "state=SS_UNCONNECTED", "x=Xsock->state": "x=0x1", "n=Usock->type": "n=2"}
    check(
        guest,
        sender,
        [
            _openat2(77, in_memory),
            Shows("p do_send_sig_info", arguments, "sig==23&&type==PIDTYPE_PID"),
            Shows("p do_send_sig_info", process, "sig==23&&type!=PIDTYPE_PID"),
            Shows("p inet_release", socket, "sock->ops->family==2"),
        ],
        [
            f"openat2 77 b'/x' b'' {pack('<QIIII', O_PATH, 2, 0, 3, 9)!r}",
            "kill 23",
            "udp 127.0.0.1 9 b'x'",
        ],
    )


def test_names_of_numbers(guest: Guest, sender: Traffic) -> None:
    """What C does not tie to an enum, functions behind pointers, errors in results and in pointers."""
    opened = first_function(guest, ["do_filp_open", "do_file_open"])
    probes = [
        "p inet_release sock->sk->__sk_common.skc_state sock->sk->sk_type sock->sk->sk_data_ready "
        "f:skc_state==TCP_CLOSE&&sk_type==SOCK_DGRAM",
        'r do_sys_openat2 ret=$retval f:COMM=="python3"&&ret==-2',
        f'r {opened} file=$retval f:COMM=="python3"&&file==0xfffffffffffffffe',
    ]
    with running(guest, *probes) as trace:
        sender.ask("udp 127.0.0.1 9 b'x'")
        guest.run(["python3", "-c", "import os; print(os.path.exists('/x'), open('/y', 'w') and open('/no/where'))"])
        trace.signal(signal.SIGINT)
        shown = event_lines(trace.wait().stdout)
    lines = {name: [line.values for line in shown if line.name == name] for name in ("f0", "f1", "f2")}
    state = r"skc_state=TCP_CLOSE sk_type=SOCK_DGRAM sk_data_ready=sock_def_readable\+0x0/0x[0-9a-f]+"
    assert re.fullmatch(state, lines["f0"][0])
    assert set(lines["f1"]) == {"ret=-2(-ENOENT)"}
    assert set(lines["f2"]) == {"file=0xfffffffffffffffe(-ENOENT)"}


@pytest.mark.kernels("6.1", "6.12", "newest")
def test_names_of_an_events_numbers(guest: Guest, sender: Traffic) -> None:
    probe = "e sock/inet_sock_set_state oldstate newstate n=Unewstate protocol f:newstate==TCP_LISTEN"
    with running(guest, probe) as trace:
        guest.run(["python3", "-c", "import socket; socket.create_server(('127.0.0.1', 0))"]).expect()
        trace.signal(signal.SIGINT)
        assert values(trace.wait().stdout) == ["oldstate=TCP_CLOSE newstate=TCP_LISTEN n=10 protocol=IPPROTO_TCP"]


_TYPES = "{PIDTYPE_PGID,PIDTYPE_PID,PIDTYPE_SID,9}"


def test_strings(guest: Guest, sender: Traffic) -> None:
    of_user = {
        "path=filename:ustring": 'path="/x/of a user"', "cast=!(char __user *)%1": 'cast="/x/of a user"',
        "r=how->resolve:ustring": 'r="text, too"', "rc=how->!(char __user *)resolve": 'rc="text, too"',
        "c=(char __user *)filename": 'c="/x/of a user"', "n=$comm": 'n="python3"', "dfd=S%0": "dfd=78",
    }  # fmt: skip
    of_kernel = {
        "a=how->!(char[24])flags": 'a="text in memory"', "t=how:string": 't="text in memory"',
        "c=(char *)how": 'c="text in memory"', "e=((char *)how)[1]": f"e={ord('e')}", "l=((char *)how)[5]:u8": "l=105",
    }  # fmt: skip
    arrays = {"u=how->!(u64[2])mode:ustring[2]": 'u={"text","text"}'}
    helper = {
        "path": 'path="/sbin/modprobe"', "argv[0:4]": 'argv={"/sbin/modprobe","-q","--","fs-surftracefs"}',
        "last=argv[3]": 'last="fs-surftracefs"', "first=*argv": 'first="/sbin/modprobe"',
        "s=argv[1]:string": 's="-q"', "three=envp[0:2]": 'three={"HOME=/","TERM=linux"}', "end=Xargv[4]": "end=0x0",
    }  # fmt: skip
    check(
        guest,
        sender,
        [
            _openat2(78, of_user),
            _openat2(79, of_kernel),
            _openat2(80, arrays),
            Shows("p call_usermodehelper_setup", helper, 'argv[3]=="fs-surftracefs"'),
        ],
        [
            f"openat2 78 b'/x/of a user' b'text, too' {bytes(16) + b'Q' * 8!r}",
            f"openat2 79 b'/x' b'' {b'text in memory'.ljust(24, bytes(1))!r}",
            f"openat2 80 b'/x' b'text' {b'Q' * 24!r}",
            "mount b'surftracefs'",
        ],
    )


def test_memory_of_a_process(guest: Guest, sender: Traffic) -> None:
    """What lies behind a `__user` pointer is read as a process's, and a null one there is told too."""
    arguments = {
        "family=!(struct sockaddr __user *)addr->sa_family": "family=2",
        "b16_port=!(struct sockaddr_in __user *)addr->sin_port": "b16_port=9",
        "ip_to=!(struct sockaddr_in __user *)addr->sin_addr.s_addr": "ip_to=127.0.0.1",
        "first=*!(u8 __user *)buff": f"first={ord('d')}", "some=!(u8 __user *)buff[1:3]": "some={97,116}",
        "text=!(char __user *)buff": 'text="data"',
    }  # fmt: skip
    condition = "!(!(struct sockaddr __user *)addr->sa_family==5)"
    check(
        guest,
        sender,
        [Shows("p __sys_sendto", arguments, condition)],
        ["tcp 127.0.0.1 9998 b'over tcp'", "udp 127.0.0.1 9 b'data'"],
    )


@pytest.mark.kernels("6.1", "6.12", "newest")
def test_memory_of_a_process_by_an_event(guest: Guest, sender: Traffic) -> None:
    arguments = {
        "flags=how->flags": f"flags={O_PATH}", "text=(char __user *)how->resolve": 'text="text, too"',
        "path=filename": 'path="/x/y"',
    }  # fmt: skip
    how = O_PATH.to_bytes(8, "little") + bytes(8) + b"Q" * 8
    event = Shows("e syscalls/sys_enter_openat2", arguments, f'how->flags=={O_PATH}&&filename=="/x/y"')
    asks = [f"openat2 78 b'/x/y' b'text, too' {how!r}", f"openat2 78 b'/x/z' b'text, too' {how!r}"]
    check(guest, sender, [event], asks)


def test_string_of_a_user_without_a_type(guest: Guest, sender: Traffic) -> None:
    """On x86 the kernel's `string` reads what lies at a user's address, too: `filename` needs no more to be shown."""
    check(guest, sender, [Shows("p do_sys_openat2", {"filename": 'filename="/x/y"'}, 'filename=="/x/y"')], [
        f"openat2 78 b'/x/y' b'' {bytes(24)!r}",
    ])  # fmt: skip


def test_symbols_and_variables(guest: Guest, sender: Traffic) -> None:
    release = guest.run(["uname", "-r"]).expect().stdout.strip()
    version = guest.read("/proc/version").strip()
    address = re.search(r"^([0-9a-f]+) [A-Za-z] init_task$", guest.read("/proc/kallsyms"), re.MULTILINE)
    assert address is not None
    arguments = {
        "w=file->f_op->write:symbol": "w=WRITE", "path=buf:ustring": 'path="some data"', "count": "count=10",
        "rel=!(struct uts_namespace)@init_uts_ns.name.release": f'rel="{release}"',
        "banner=!(char[])@linux_banner": f'banner="{version}\\n"',
        "idle=!(struct task_struct)@init_task.comm": 'idle="swapper/0"', "comm=$comm": 'comm="python3"',
        f"at=!(struct task_struct)@0x{address[1]}.comm": 'at="swapper/0"',
        "prio=!(struct task_struct)@init_task.prio": "prio=120",
        "caller=$stack0:symbol": "caller=CALLER", "here=%ip:symbol": "here=HERE",
    }  # fmt: skip
    with running(guest, "-c", "1", f"p write_null {' '.join(arguments)}") as surftrace:
        sender.ask("write b'/dev/null' b'some data\\0'")
        result = surftrace.wait()
    (line,) = values(result.stdout)
    expected = re.escape(" ".join(arguments.values()))
    for word, function in (
        ("WRITE", r"write_null\+0x0"),
        ("CALLER", r"vfs_write\+0x\w+"),
        ("HERE", r"write_null\+0x\w"),
    ):
        expected = expected.replace(word, function + r"/0x\w+")
    assert re.fullmatch(expected, line), line


def test_characters(guest: Guest, sender: Traffic) -> None:
    if guest.image.name == "5.10":
        message = "this kernel cannot do values as characters (:char): Linux 6.3 and later can | char"
        assert refused(guest, "p security_task_prctl ch=arg5:char") == [message]
        return
    arguments = {
        "ch=arg5:char": "ch='A'",
        "quote=arg2:char": r"quote='\''",
        "word=how->mode:char[2]": "word={'a','b'}",
    }
    in_register = {name: shown for name, shown in arguments.items() if "arg" in name}
    memory = {name: shown for name, shown in arguments.items() if "how" in name}
    check(
        guest,
        sender,
        [_prctl(in_register), _openat2(77, memory)],
        [
            f"prctl {OPTION} {ord(chr(39))} 0 0 {FOURTH}",
            f"openat2 77 b'/x' b'' {b'-' * 8 + b'ab'.ljust(16, bytes(1))!r}",
        ],
    )


def test_return(guest: Guest, sender: Traffic) -> None:
    values_of_return = {"ret=$retval": "ret=-38(-ENOSYS)", "x=X$retval": "x=0xffffffda", "c=(u8)$retval": "c=218"}
    returns = Shows("r security_task_prctl", values_of_return, "ret==-38&&ret<0")
    if guest.image.name == "5.10":
        message = "arguments are gone when a function returns | %0"
        assert refused(guest, "r security_task_prctl option=%0") == [message]
        check(guest, sender, [returns], [PRCTL])
        return
    kept = {
        "option": f"option={OPTION}",
        "a=%1": f"a={FIRST}",
        "x=Xarg3": f"x={SECOND:#x}",
        "e=$retval": "e=-38(-ENOSYS)",
    }
    check(guest, sender, [returns, Shows("r security_task_prctl", kept, f"option=={OPTION}&&arg5=={FOURTH}")], [PRCTL])


@pytest.mark.kernels("5.10", "6.1")
def test_arguments_of_a_return_on_an_older_kernel(guest: Guest) -> None:
    for argument in ("%1", "arg2", "$arg2"):
        message = f"arguments are gone when a function returns | {argument}"
        assert refused(guest, f"r security_task_prctl a={argument}") == [message]


@pytest.mark.kernels("5.10")
def test_arguments_of_an_event_on_an_older_kernel(guest: Guest) -> None:
    message = "this kernel cannot do arguments of a trace event (eprobes): Linux 5.15 and later can | c=parent_comm"
    assert refused(guest, "e sched/sched_process_fork c=parent_comm") == [message]


@pytest.mark.kernels("6.1", "6.12", "newest")
def test_arguments_of_an_event(guest: Guest, sender: Traffic) -> None:
    call = {
        "dfd": "dfd=78", "x=Xdfd": "x=0x4e", "path=filename:ustring": 'path="/x/y"', "usize": "usize=24",
        "cast=!(char __user *)filename": 'cast="/x/y"',
    }  # fmt: skip
    signals = {"sig": "sig=23", "code": "code=-6", "u=Ucode": f"u={(1 << 32) - 6}", "x=sig:x16": "x=0x17"}
    executed = {"file=filename": 'file="/bin/true"'}
    probes = [
        Shows("e syscalls/sys_enter_openat2", call, "dfd==78"),
        Shows("e signal:signal_generate", signals, "sig==23&&code<0"),
        Shows("e sched/sched_process_exec", executed, 'file~"*/true"'),
    ]
    with running(guest, *(each.probe for each in probes)) as surftrace:
        sender.ask(f"openat2 78 b'/x/y' b'' {bytes(24)!r}")
        sender.ask("kill 23")
        guest.run(["/bin/false"])
        guest.run(["/bin/true"]).expect()
        surftrace.signal(signal.SIGINT)
        result = surftrace.wait()
    assert result.stderr == ""
    shown = [(line.name, line.values) for line in event_lines(result.stdout)]
    assert shown == [(f"f{number}", " ".join(each.arguments.values())) for number, each in enumerate(probes)]


@pytest.mark.kernels("6.1", "6.12", "newest")
def test_task_and_field_called_comm_of_an_event(guest: Guest, sender: Traffic) -> None:
    """The kernel prefers a field of that name to its own $comm; both are text."""
    field = Shows("e signal/signal_generate", {"to=comm": 'to="python3"', "sig": "sig=23"}, "sig==23&&code<0")
    task = Shows("e syscalls/sys_enter_openat2", {"task=$comm": 'task="python3"', "dfd": "dfd=78"}, "dfd==78")
    check(guest, sender, [field, task], ["kill 23", f"openat2 78 b'/x' b'' {bytes(24)!r}"])


@pytest.mark.kernels("6.1", "6.12", "newest")
def test_string_of_an_event_by_its_type(guest: Guest) -> None:
    arguments = {"from=parent_comm:string": 'from="sh"'}
    probe = Shows("e sched/sched_process_fork", arguments, 'parent_comm=="sh"').probe
    with running(guest, "-c", "1", probe) as surftrace:
        guest.run(["sh", "-c", "/bin/true; /bin/true"]).expect()
        assert set(values(surftrace.wait().stdout)) == {'from="sh"'}


def test_arguments_of_a_system_call(guest: Guest, sender: Traffic) -> None:
    arguments = {
        "mode=mode": "mode=0", "offset=%2": "offset=8192", "u=U%2": "u=8192", "x=Xlen": "x=0x3039",
        "len=len": "len=12345",
        "name=file->f_path.dentry->d_name.!(char *)name": 'name="name of a file"',
        "refs=file->f_path.dentry->d_inode->i_count": "refs=1", "pid=%1": "pid=0",
    }  # fmt: skip
    probe = Shows("p vfs_fallocate", arguments, "len==12345&&offset>=8192&&offset<8193")
    check(guest, sender, [probe], ["fallocate 8192 12345 b'name of a file'"])


def test_hostile_strings_and_names(guest: Guest) -> None:
    udp = "@(struct udphdr *)skb->"
    probe = f"p ip_output b16_dest={udp}dest body={udp}Sdata[0] comm=$comm f:b16_dest==9988"
    bodies = {
        b'say "hi" b16_dest=1': r'"say \"hi\" b16_dest=1"',
        b"two\nlines\x1b[31m": r'"two\nlines\x1b[31m"',
        b"back\\slash \xff\xc3\xbc": r'"back\\slash \xffü"',
        # What is in a string is in it, even a whole line of the trace.
        b'a"\n            cron-1       [000] .....    99.000000: f0: (x+0x0/0x1) b16_dest=9 body="b': (
            r'"a\"\n            cron-1       [000] .....    99.000000: f0: (x+0x0/0x1) b16_dest=9 body=\"b"'
        ),
    }
    with running(guest, probe) as surftrace, traffic(guest) as sender:
        sender.ask("name b'a [0] \"b-1'")
        for body in bodies:
            sender.udp("127.0.0.1", 9988, body + b"\0")
        # Which text is whose cannot be told here: it is shown as the kernel printed it.
        sender.udp("127.0.0.1", 9988, b'x" comm="y\0')
        surftrace.wait_for('comm="y')
        surftrace.wait_for("\n")
        surftrace.signal(signal.SIGINT)
        result = surftrace.wait()
    lines = event_lines(result.stdout)
    # The kernel's own word for a task whose name it has not kept is <...>.
    assert {line.task for line in lines} <= {'a [0] "b-1', "<...>"}
    assert [line.values for line in lines[:-1]] == [
        f'b16_dest=9988 body={body} comm="a [0] \\"b-1"' for body in bodies.values()
    ]
    assert lines[-1].values == 'b16_dest=1063 body="x" comm="y" comm="a [0] "b-1"'
