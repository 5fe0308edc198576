"""A network inside a guest: two namespaces with a veth pair between them, and one that sends from the first."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.kernel.guest import Guest
from tests.live.helpers import Traffic

# What the ends of the pair have: namespace, device, Ethernet address, addresses.
NEAR = ("surf_near", "va", "02:00:00:00:00:0a", "10.77.0.1", "fd77::1")
FAR = ("surf_far", "vb", "02:00:00:00:00:0b", "10.77.0.2", "fd77::2")


@contextmanager
def veth_pair(guest: Guest) -> Iterator[Traffic]:
    """One that sends from NEAR, which a veth pair joins to FAR."""
    guest.run(["modprobe", "veth"]).expect()
    try:
        guest.run(["sh", "-e"], stdin=_set_up()).expect()
        process = guest.start(["ip", "netns", "exec", NEAR[0], "python3", "tests/live/traffic.py"])
        try:
            yield Traffic(process)
        finally:
            process.kill()
    finally:
        for namespace, *_ in (NEAR, FAR):
            guest.run(["ip", "netns", "del", namespace])


def _set_up() -> str:
    """The commands for a shell."""
    (near, device, address, *_), (far, peer, peer_address, *_) = NEAR, FAR
    lines = [f"ip netns add {near}", f"ip netns add {far}"]
    ends = f"name {device} address {address} netns {near} type veth peer name {peer} address {peer_address} netns {far}"
    lines.append(f"ip link add {ends}")
    for namespace, name, _, ip, ip6 in (NEAR, FAR):
        lines.append(f"ip -n {namespace} address add {ip}/24 dev {name}")
        lines.append(f"ip -n {namespace} address add {ip6}/64 dev {name} nodad")
        lines.append(f"ip -n {namespace} link set {name} up")
    return "\n".join(lines) + "\n"
