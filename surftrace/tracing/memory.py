"""The code of the kernel that runs, as it is in memory: with what the kernel has rewritten in it."""

import drgn

from surftrace.kernel.image import CodeError, Image
from surftrace.kernel.symbols import Symbols

_KCORE = "/proc/kcore"
_OFFLINE = "-v names a vmlinux, whose code is shown then"


class KernelMemoryError(CodeError):
    """The memory of the running kernel cannot be read."""

    exit_status = 1


def running_image(symbols: Symbols | None) -> Image:
    """The running kernel's code, with its modules'. KernelMemoryError where it cannot be read."""
    if symbols is None or not any(symbol.address for symbol in symbols.named("_stext")):
        raise KernelMemoryError("the kernel hides the addresses of its code", "run as root", _OFFLINE)
    program = drgn.Program()
    try:
        program.set_kernel()
    except PermissionError:
        raise KernelMemoryError(f"no access to {_KCORE}", "run as root; a lockdown forbids it too", _OFFLINE) from None
    except (OSError, ValueError) as error:  # a kernel without CONFIG_PROC_KCORE, or one that drgn does not know
        raise KernelMemoryError(f"cannot read {_KCORE}: {error}", _OFFLINE) from None

    def read(address: int, size: int) -> bytes:
        try:
            return bytes(program.read(address, size))
        except drgn.FaultError as error:
            raise KernelMemoryError(f"cannot read {_KCORE}: {error}") from None

    return Image("the running kernel", symbols, read)
