"""`make pictures`: what surftrace prints on a terminal of a real kernel, as the pictures of the documentation."""

import argparse
import io
import re
import shlex
import signal
import sys
from dataclasses import dataclass

from rich.console import Console
from rich.text import Text

from tests.kernel import images
from tests.kernel.guest import Guest
from tests.kernel.process import GuestError, ProcessError
from tests.kernel.qemu import CHECKOUT

_KERNEL = "6.12"
_COLUMNS, _ROWS = 128, 40
_FOLDER = CHECKOUT / "docs/pictures"
_LIMIT_S = 120


@dataclass(frozen=True, slots=True)
class _Picture:
    """A command, and what happens meanwhile: a shell's line, again and again until it has ended by itself."""

    name: str
    words: tuple[str, ...]
    meanwhile: str = ""


_READS = (
    "busybox dd if=/dev/zero of=/dev/null bs=100 count=40; busybox cat /bin/busybox > /dev/null; busybox ls /usr/bin"
)
_PICTURES = (
    _Picture(
        "trace",
        (
            "-c",
            "6",
            "p wake_up_new_task p->comm users=p->mm->mm_users",
            "e sched/sched_process_exec",
            "r vfs_statx ret=$retval f:ret<0",
        ),
        "busybox ls /nowhere; true; busybox uname > /dev/null; sleep 0.2",
    ),
    _Picture(
        "stack",
        ("-s", "-c", "1", "p __dev_queue_xmit skb->len skb->dev->name"),
        "printf hello > /dev/udp/127.0.0.1/9988; sleep 0.2",
    ),
    _Picture("histogram", ("count", "-t", "4", "p vfs_read count", "--hist", "count"), _READS),
    _Picture("latency", ("latency", "-t", "4", "vfs_read"), _READS),
    _Picture("error", ("p ip_output skb->lne ip_dst=@(struct iphdr*)l3skb->daddr f:ip_dst==10.0.0.300&&len>100",)),
)


def main() -> int:
    """Boot, run each command, and draw what it printed."""
    parser = argparse.ArgumentParser(prog="tests.kernel.pictures", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="which ones; all of them")
    chosen = parser.parse_args().names
    _FOLDER.mkdir(exist_ok=True)
    try:
        with Guest(images.fetch(_KERNEL)) as guest:
            for picture in _PICTURES:
                if not chosen or picture.name in chosen:
                    path = _FOLDER / f"{picture.name}.svg"
                    path.write_text(_drawn(picture.name, _prompt(picture.words) + _run(guest, picture)))
                    print(path.relative_to(CHECKOUT), flush=True)
    except (GuestError, ProcessError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _prompt(words: tuple[str, ...]) -> str:
    return f"\x1b[1m# surftrace {shlex.join(words)}\x1b[0m\n"


def _run(guest: Guest, picture: _Picture) -> str:
    """What the command prints on its terminal."""
    process = guest.start(["surftrace", *picture.words], terminal_size=(_ROWS, _COLUMNS))
    if picture.meanwhile:
        beside = guest.start(["bash", "-c", f"while :; do {picture.meanwhile}; done > /dev/null 2>&1"])
        process.wait(_LIMIT_S)
        beside.signal(signal.SIGKILL)
    return _on_screen(process.wait(_LIMIT_S).stdout.replace("\r\n", "\n"))


def _on_screen(output: str) -> str:
    """What is there at last of an output that draws over lines of its own: so many lines up, and all below cleared."""
    shown, *later = re.split(r"\x1b\[(\d+)F\x1b\[J", output)
    for height, drawn in zip(later[::2], later[1::2], strict=True):
        lines = shown.splitlines(keepends=True)
        shown = "".join(lines[: len(lines) - int(height)]) + drawn
    return shown


def _drawn(name: str, output: str) -> str:
    """The terminal's text as an SVG.

    No font is fetched from anywhere, the viewer's own is taken; and nothing cuts off what that has below a line.
    """
    console = Console(record=True, width=_COLUMNS, file=io.StringIO(), force_terminal=True, highlight=False)
    console.print(Text.from_ansi(output.rstrip("\n")))
    drawn = console.export_svg(title="", unique_id=name)
    drawn = re.sub(r"@font-face \{.*?\}\n", "", drawn, flags=re.DOTALL)
    return re.sub(r' clip-path="url\(#[\w-]+\)"', "", drawn)


if __name__ == "__main__":
    sys.exit(main())
