"""Fetch arguments: the chain of reads that the kernel makes for a value, and its text in a probe definition."""

from surftrace.record import record

# Linux kernel/trace/trace_probe.h: MAX_ARGSTR_LEN is 63, ARRAY sizes and the type included.
MAX_FETCH_LENGTH = 63
# Nested dereferences the kernel accepts (FETCH_INSN_MAX is 16, of which store and end take two).
MAX_DEREFERENCES = 14
MAX_SYMBOL_DEREFERENCES = 12
# Linux kernel/trace/trace_probe.h: MAX_ARRAY_LEN.
MAX_ARRAY = 64


@record
class Fetch:
    """Start at `base`, then read at each offset in turn; the last read is of `type`.

    `base` is a register (`%di`), a kernel variable (`$retval`, `$stack1`, `$comm`), or an address (`@name`,
    `@0xff..`, in a program `@+0x..`), whose first offset the kernel adds before it reads. `user_reads` are the numbers
    of the reads that are of a process's memory, where the probe is on the kernel.
    """

    base: str
    byte_offsets: tuple[int, ...]
    type: str
    user_reads: frozenset[int] = frozenset()

    @property
    def is_string(self) -> bool:
        """Does the last read give a string?"""
        return self.type in ("string", "ustring")

    @property
    def is_memory(self) -> bool:
        """Does the base name memory, so that it reads once by itself?"""
        return self.base.startswith("@")


def render_fetch(fetch: Fetch) -> str:
    """The fetch argument's text, offsets in hexadecimal, or in decimal where only that fits the kernel's limit."""
    text = _render(fetch, "#x")
    return text if len(text) <= MAX_FETCH_LENGTH else min(text, _render(fetch, "d"), key=len)


def too_long(fetch: Fetch) -> str | None:
    """Why no kernel takes this fetch, or None."""
    if any(not -(1 << 31) <= byte_offset < 1 << 31 for byte_offset in fetch.byte_offsets):
        return "the kernel reads at most 2 GiB away from an address"
    length = len(render_fetch(fetch))
    if length > MAX_FETCH_LENGTH:
        return f"the kernel takes {MAX_FETCH_LENGTH} characters for a value, this one needs {length}"
    limit = MAX_SYMBOL_DEREFERENCES if fetch.is_memory else MAX_DEREFERENCES
    if len(fetch.byte_offsets) > limit:
        return f"the kernel follows {limit} pointers in a value, this one needs {len(fetch.byte_offsets)}"
    return None


def _render(fetch: Fetch, spec: str) -> str:
    text, byte_offsets, user_reads = fetch.base, fetch.byte_offsets, fetch.user_reads
    if fetch.type.endswith("]"):
        # The kernel fetches arrays by its plain read alone, which reads a process's memory where its address tells it
        # (Linux kernel/trace/trace_probe.c, traceprobe_parse_probe_arg_body; trace_probe_kernel.h, probe_mem_read).
        user_reads = user_reads - {len(byte_offsets) - 1}
    if fetch.is_memory and byte_offsets:
        first, *rest = byte_offsets
        if text[1].isdigit():  # the kernel adds to a symbol, not to an address
            text = f"@{int(text[1:], 16) + first:#x}"
        elif text[1] == "+":  # nor to a place in a program's file
            text = f"@+{int(text[1:], 16) + first:#x}"
        elif first:
            text = f"{text}{first:+{spec}}"
        byte_offsets = tuple(rest)
    for number, byte_offset in enumerate(byte_offsets, len(fetch.byte_offsets) - len(byte_offsets)):
        offset = f"{byte_offset:+{spec}}"
        # Linux Documentation/trace/kprobetrace.rst: +|-[u]OFFSET(FETCHARG).
        text = f"{offset[0]}{'u' if number in user_reads else ''}{offset[1:]}({text})"
    return f"{text}:{fetch.type}" if fetch.type else text
