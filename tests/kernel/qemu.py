"""QEMU and virtiofsd: an image in, a booting virtual machine out, which never outlives this process.

Why so: booting an uncompressed vmlinux by PVH takes 2.7 to 3.6 s up to the agent's first word, on every
kernel. The host's root comes by virtiofs; `cache=always` makes it as fast as a copy in the guest's memory:
`python3 -c pass` takes 0.5 s, and `import drgn, lark` 1.9 s at first and 1.2 s later. It also means that what
changes on the host after the boot may stay unseen. An arm64 guest gets a folder of the host as its root, and the
checkout at the place where the host has it.
"""

import atexit
import ctypes
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from tests.kernel import initramfs, wire
from tests.kernel.images import Image

CHECKOUT = Path(__file__).resolve().parents[2]

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)
_TAIL_BYTES = 6000
_END_LIMIT_S = 10

# bookworm has it in qemu-system-common, later releases in a package of its own
_VIRTIOFSD_PATHS = (Path("/usr/libexec/virtiofsd"), Path("/usr/lib/qemu/virtiofsd"))

# Mitigations and timer checks cost time in vain. panic=-1 ends QEMU at once, as it runs with -no-reboot.
_KERNEL_ARGUMENTS = "loglevel=4 panic=-1 oops=panic mitigations=off random.trust_cpu=on cryptomgr.notests nowatchdog"


@dataclass(frozen=True, slots=True)
class _Board:
    """What QEMU emulates for an architecture, and Linux's name of the console there."""

    program: str
    machine: str
    cpu: str
    kernel_arguments: str


_BOARDS = {
    "amd64": _Board("qemu-system-x86_64", "q35", "max", "console=ttyS0 tsc=reliable no_timer_check"),
    # QEMU's own algorithm for pointer authentication is the fast one
    "arm64": _Board("qemu-system-aarch64", "virt", "max,pauth-impdef=on", "console=ttyAMA0"),
}


class Machine:
    """A running virtual machine; `port` is the host's end of the agent's port.

    Its files have no names, so that nothing is left behind when this process is killed. Start it from the
    main thread: the kernel ends the processes with the thread that started them.
    """

    def __init__(self, image: Image, memory_mb: int) -> None:
        self._processes: list[subprocess.Popen[bytes]] = []
        self._console, self._log = os.memfd_create("console"), os.memfd_create("log")
        self.port, guest_port = socket.socketpair()
        atexit.register(self.stop)
        settings = {"MODULES": str(image.modules), "NAME": f"guest-{image.name}".replace(".", "-")}
        settings |= {"CHECKOUT": str(CHECKOUT), "ROOT": str(image.root)}
        settings["PYTHON"] = sys.executable if image.has_host_programs else "/usr/bin/python3"
        with tempfile.TemporaryFile() as archive, self._share_root() as share, guest_port:
            archive.write(initramfs.build(image, settings))
            archive.flush()
            fds = {"initramfs": archive.fileno(), "console": self._console}
            fds |= {"share": share.fileno(), "agent": guest_port.fileno()}
            self._spawn(_qemu_argv(image, memory_mb, fds), fds.values())

    def _share_root(self) -> socket.socket:
        """Start virtiofsd for the host's root, and return a connection to it."""
        programs = [str(path) for path in _VIRTIOFSD_PATHS if path.exists()]
        if not programs:
            raise FileNotFoundError("virtiofsd is not installed")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("")  # an abstract address of the kernel's choice: unix(7)
            listener.listen(1)
            # sandbox=chroot needs fewer rights than namespaces, and no second process
            options = "source=/,cache=always,sandbox=chroot,log_level=err"
            self._spawn([programs[0], f"--fd={listener.fileno()}", "-o", options], [listener.fileno()])
            share = socket.socket(socket.AF_UNIX)
            share.connect(listener.getsockname())
            return share

    def _spawn(self, argv: list[str], fds: Collection[int]) -> None:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            pass_fds=fds,
            start_new_session=True,  # Ctrl-C on our terminal is not for them
            preexec_fn=die_with_parent,
        )
        self._processes.append(process)

    def tail(self) -> str:
        """Return the end of the console's text, and what QEMU and virtiofsd had to say."""
        return _tail(self._console) + _tail(self._log)

    def kill(self) -> None:
        """Kill the processes; any thread may."""
        for process in self._processes:
            process.kill()

    def stop(self) -> None:
        """Kill the processes, wait for their end, and close all files."""
        atexit.unregister(self.stop)
        self.kill()
        for process in self._processes:
            process.wait(_END_LIMIT_S)
        os.close(self._console)
        os.close(self._log)
        self.port.close()


def _qemu_argv(image: Image, memory_mb: int, fds: dict[str, int]) -> list[str]:
    board = _BOARDS[image.architecture]
    return [
        board.program, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
        "-machine", f"{board.machine},memory-backend=memory", "-cpu", board.cpu, "-smp", "2",
        "-accel", "tcg,thread=single",  # with thread=multi QEMU 7.2's guests oops while probes come and go
        "-m", f"{memory_mb}M", "-object", f"memory-backend-memfd,id=memory,size={memory_mb}M,share=on",
        "-kernel", str(image.vmlinux), "-initrd", f"/dev/fd/{fds['initramfs']}",
        "-append", f"{board.kernel_arguments} {_KERNEL_ARGUMENTS}",
        "-serial", f"file:/dev/fd/{fds['console']}",
        "-chardev", f"socket,id=share,fd={fds['share']}",
        "-device", "vhost-user-fs-pci,chardev=share,tag=host,queue-size=1024",
        "-chardev", f"socket,id=agent,fd={fds['agent']}",
        "-device", "virtio-serial-pci", "-device", f"virtserialport,chardev=agent,name={wire.PORT_NAME}",
        "-device", "virtio-rng-pci",
    ]  # fmt: skip


def die_with_parent() -> None:
    """Let the kernel kill this process when the thread that started it ends."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _tail(fd: int) -> str:
    return os.pread(fd, _TAIL_BYTES, max(0, os.fstat(fd).st_size - _TAIL_BYTES)).decode(errors="replace")
