"""`make demo`: surftrace in a real kernel, on real traffic; the exit status tells whether events came."""

import shlex
import sys

from tests.kernel import images
from tests.kernel.guest import Guest
from tests.kernel.process import GuestError, ProcessError
from tests.kernel.qemu import CHECKOUT
from tests.kernel.wire import Kind

_KERNEL = "6.1"
_PROBE = (
    "p ip_output proto=@(struct iphdr*)l3%2->protocol ip_dst=@(struct iphdr*)l3%2->daddr "
    "b16_dest=@(struct udphdr*)l3%2->dest comm=$comm body=@(struct udphdr*)l3%2->Sdata[0] "
    "f:proto==17&&ip_dst==127.0.0.1&&b16_dest==9988"
)
_BODY = "Hello World"
_EVENTS = 3
_LIMIT_S = 60

# bash opens /dev/udp/HOST/PORT itself; the last two senders are what the filter has to leave out.
_SENDERS = tuple(
    f"while :; do printf '{body}' > /dev/udp/{host}/{port}; sleep 0.5; done 2> /dev/null"
    for body, host, port in (
        (_BODY, "127.0.0.1", 9988),
        ("other port", "127.0.0.1", 9989),
        ("other host", "127.0.0.2", 9988),
    )
)

_FURTHER = f"""
To play further, .venv/bin/python -m tests.kernel.shell {_KERNEL} opens a shell in such a guest; try there
  surftrace --help
  surftrace 'p wake_up_new_task comm=%0->comm'
Kernels to choose from: {", ".join(images.NAMES)}."""


def main() -> int:
    """Boot, trace, and return 0 when every event that was asked for came."""
    image = images.fetch(_KERNEL)
    print(
        f"booting Linux {image.release} in QEMU, which emulates: starting surftrace takes some 20 s there", flush=True
    )
    try:
        with Guest(image) as guest:
            events = _trace(guest)
    except (GuestError, ProcessError) as error:
        print(error, file=sys.stderr)
        return 1
    if events < _EVENTS:
        print(f"{events} of {_EVENTS} events came", file=sys.stderr)
        return 1
    print(_FURTHER)
    return 0


def _trace(guest: Guest) -> int:
    """Run surftrace with its output on our own, as it comes; return the number of events."""
    for sender in _SENDERS:
        guest.start(["bash", "-c", sender])
    options = ["--count", str(_EVENTS), "--time", str(_LIMIT_S)]
    print(f"\n# surftrace {shlex.join([*options, _PROBE])}", flush=True)
    process = guest.start([str(CHECKOUT / ".venv/bin/surftrace"), *options, _PROBE], on_output=_print)
    process.wait(2 * _LIMIT_S)
    return process.stdout.count(_BODY)


def _print(stream: Kind, output: bytes) -> None:
    target = sys.stdout if stream == Kind.STDOUT else sys.stderr
    target.buffer.write(output)
    target.flush()


if __name__ == "__main__":
    sys.exit(main())
