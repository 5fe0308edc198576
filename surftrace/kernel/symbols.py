"""The kernel's symbol list: which functions and variables there are, under which names."""

import re
from collections.abc import Iterator
from pathlib import Path

from surftrace.errors import SurftraceError
from surftrace.record import record

# What ends the names of a compiler's clones of a function that hold its body; `.cold` holds only its unlikely part.
CLONE_SUFFIX = rb"(?:\.(?:isra|part|constprop)\.\d+)+"
_CODE = b"tTwW"
_LINE_START = re.compile(rb"([0-9a-fA-F]+) [A-Za-z?-]")
_LINE = rb"[0-9a-fA-F]{8,16} [A-Za-z?-] \S+(?:\t\[[^\]\s]*\])?\s*"

# Symbols in the text of a kernel that are no functions: the unlikely part of one, and the padding before one (Linux
# scripts/kallsyms.c and tools/objtool/elf.c, `__pfx_`; `__cfi_` with CONFIG_CFI_CLANG).
_NO_FUNCTION_STARTS = ("__pfx_", "__cfi_")
_NO_FUNCTION = r"__(?:pfx|cfi)_|.*\.cold(?:\.\d+)?$"

# A function that was replaced, and has no name any more: FTRACE_INVALID_FUNCTION in Linux include/linux/ftrace.h.
_NO_NAME = "__ftrace_invalid_address__"

# Pattern Matching of bash(1): `[]a]` and `[!]a]` hold a bracket; one that is never closed stands for itself.
_TOKEN = r"\*+|\?|\[(?P<not>[!^]?)(?P<members>\]?[^\]]*)\]|."
_MEMBERS = r".-.|."

# PERCPU_MODULE_RESERVE and what else may be behind the kernel's own per-CPU variables: no module's others are near.
_PER_CPU_RESERVE = 1 << 16

_ELF = b"\x7fELF"
_MAX_BYTES = 1 << 28
_CHECKED_BYTES = 1 << 16


@record
class KernelSymbol:
    """A line of kallsyms. `module` is empty for the kernel's own; `address` 0 where the kernel hides it."""

    name: str
    module: str
    is_code: bool
    address: int = 0


@record
class Symbols:
    """The text of /proc/kallsyms (`ADDRESS TYPE NAME[\\t[MODULE]]` a line) or of System.map, searched as it is.

    `is_running`: it is of the kernel that runs, so that its addresses are true of it: each boot moves a kernel.
    """

    text: bytes
    is_running: bool = False

    def named(self, name: str) -> list[KernelSymbol]:
        """Every symbol of exactly this name."""
        return list(self._matching(re.escape(name.encode(errors="surrogateescape"))))

    def clones(self, name: str) -> list[KernelSymbol]:
        """The functions that the compiler made of the one of this name: `name.isra.0` and its like."""
        return list(self._matching(re.escape(name.encode(errors="surrogateescape")) + CLONE_SUFFIX))

    def matching(self, glob: str) -> list[KernelSymbol]:
        """Every function whose name fits a shell pattern of `*`, `?`, `[a-z]` and `[!a-z]`."""
        symbols = self._matching(_pattern(glob))
        return [symbol for symbol in symbols if symbol.is_code and not re.match(_NO_FUNCTION, symbol.name)]

    def has_module(self, name: str) -> bool:
        """Is there any symbol of this module?"""
        return f"\t[{name}]\n".encode(errors="surrogateescape") in self.text

    def is_per_cpu(self, symbol: KernelSymbol) -> bool:
        """Is this a variable that each CPU has its own of? Its address is then that of none of them, but of a template.

        Linux kernel/module/main.c, percpu_modalloc: a module's lie behind the kernel's own.
        """
        start, end = (next(iter(self.named(name)), None) for name in ("__per_cpu_start", "__per_cpu_end"))
        if start is None or end is None or not end.address:  # the kernel hides them
            return False
        return start.address <= symbol.address < end.address + (_PER_CPU_RESERVE if symbol.module else 0)

    def function_names(self) -> Iterator[str]:
        """Every function's name."""
        for match in re.finditer(rb"^[0-9a-f]+ [tTwW] (\S+)", self.text, re.MULTILINE):
            yield match[1].decode(errors="replace")

    def functions(self) -> dict[str, tuple[str, ...]]:
        """Every function that `matching` may find, with the modules that it is in, the kernel itself an empty one."""
        found: dict[str, tuple[str, ...]] = {}
        for match in re.finditer(rb"^[0-9a-fA-F]+ [tTwW] (\S+)(?:\t\[([^\]\n]*)\])?$", self.text, re.MULTILINE):
            name = match[1].decode(errors="replace")
            if is_function_name(name):
                found[name] = (*found.get(name, ()), (match[2] or b"").decode(errors="replace"))
        return found

    def variable_names(self) -> Iterator[str]:
        """Every variable's name."""
        for match in re.finditer(rb"^[0-9a-f]+ [^tTwWaAuU] (\S+)", self.text, re.MULTILINE):
            yield match[1].decode(errors="replace")

    def _matching(self, name: bytes) -> Iterator[KernelSymbol]:
        # The pattern begins with the name itself: re looks for that with memchr, 20 times as fast as line by line.
        for match in re.finditer(rb" (?P<name>%s)(?:\t\[(?P<module>[^\]\n]*)\])?$" % name, self.text, re.MULTILINE):
            line = self.text.rfind(b"\n", 0, match.start()) + 1
            if start := _LINE_START.fullmatch(self.text, line, match.start()):
                is_code = self.text[match.start() - 1] in _CODE
                module = (match["module"] or b"").decode(errors="replace")
                yield KernelSymbol(match["name"].decode(errors="replace"), module, is_code, int(start[1], 16))


def read_symbols(path: str) -> Symbols:
    """The symbols in a file: a System.map, or a copy of /proc/kallsyms. SurftraceError where it is neither."""
    try:
        with Path(path).open("rb") as stream:
            text = stream.read(_CHECKED_BYTES)
            problem = _problem(text)
            if problem is None:
                text += stream.read(_MAX_BYTES)
    except OSError as error:
        raise SurftraceError(f"cannot read {path}: {error.strerror}") from None
    if problem is None and len(text) > _MAX_BYTES:
        problem = "it is too large for one"
    if problem is None and b"\0" in text:
        problem = "it holds binary data"
    if problem is not None:
        raise SurftraceError(f"{path} is not a symbol list: {problem}", *_hints(text))
    return Symbols(text.replace(b"\r\n", b"\n"))


def _problem(text: bytes) -> str | None:
    """What keeps a file that begins so from being a symbol list."""
    if not text:
        return "it is empty"
    if text.startswith(_ELF):
        return "it is an ELF file"
    # Debian's /boot/System.map: `ffffffffffffffff B The real System.map is in the linux-image-<version>-dbg package`.
    if b"The real System.map is in" in text:
        return "it says that the real one is elsewhere"
    if b"\0" in text:
        return "it holds binary data"
    lines = text.splitlines()
    # The last of them may be cut off.
    for number, line in enumerate(lines[: max(1, len(lines) - 1)], 1):
        if not re.fullmatch(_LINE, line):
            return f"line {number} is not ADDRESS TYPE NAME"
    return None


def _hints(text: bytes) -> list[str]:
    if b"The real System.map is in" in text:
        said = text.splitlines()[0].partition(b" B ")[2].decode(errors="replace")
        return [f"its text: {said}"]
    if text.startswith(_ELF):
        return ["nm makes one of a vmlinux that has symbols: nm vmlinux > System.map"]
    return ["give a System.map, or a copy of /proc/kallsyms"]


def traceable_functions(text: str) -> frozenset[str]:
    """The names in tracefs' available_filter_functions: `NAME` or `NAME [MODULE]` a line, one name on several lines."""
    names = frozenset(line.split(maxsplit=1)[0] for line in text.splitlines() if line.strip())
    return frozenset(name for name in names if not name.startswith(_NO_NAME))


def blacklisted_functions(listing: bytes) -> frozenset[str]:
    """The names in the kernel's list of functions that take no probe, `0xSTART-0xEND<tab>NAME` a line.

    Source: Linux Documentation/trace/kprobes.rst, "The kprobes debugfs interface".
    """
    names = re.findall(r"^0x[0-9a-f]+-0x[0-9a-f]+\t(\S+)", listing.decode(errors="replace"), re.MULTILINE)
    return frozenset(names)


def name_pattern(glob: str) -> "re.Pattern[str]":
    """A shell pattern as one that matches whole names."""
    return re.compile(_pattern(glob).decode(errors="surrogateescape"))


def is_function_name(symbol: str) -> bool:
    """Is a symbol in a kernel's text that of a whole function, not of a part or of what is before one?"""
    return not symbol.startswith(_NO_FUNCTION_STARTS) and not (".cold" in symbol and re.match(_NO_FUNCTION, symbol))


def source_name(symbol: str) -> str:
    """The name that a function has in C of which the compiler made this one: `name.isra.0` is of `name`."""
    return re.sub(CLONE_SUFFIX.decode() + "$", "", symbol) if "." in symbol else symbol


def _pattern(glob: str) -> bytes:
    """A shell pattern as one of `re` that stays within a line's name."""
    pieces = [b""]
    for token in re.finditer(_TOKEN, glob, re.DOTALL):
        if token[0].startswith("*"):
            pieces.append(b"")
        else:
            pieces[-1] += _character(token)
    first, *rest = pieces
    # A piece between two stars is taken where it first fits, and never looked for again: a later place is no better.
    between = b"".join(rb"(?=(?P<_%d>\S*?%s))(?P=_%d)" % (n, piece, n) for n, piece in enumerate(rest[:-1]))
    return first + between + (rb"\S*" + rest[-1] if rest else b"")


def _character(token: re.Match[str]) -> bytes:
    """What one character of a name may be by a token of a shell pattern."""
    if token[0] == "?":
        return rb"\S"
    if token[0].isspace():
        return rb"(?!)"
    if not token["members"]:
        return re.escape(token[0]).encode(errors="surrogateescape")
    # `[z-a]` holds nothing, as in Python's fnmatch.
    parts = [
        re.escape(part[0]) + ("-" + re.escape(part[2]) if len(part) == 3 else "")
        for part in re.findall(_MEMBERS, token["members"], re.DOTALL)
        if len(part) < 3 or part[0] <= part[2]
    ]
    if not parts:
        return rb"\S" if token["not"] else rb"(?!)"
    return rb"(?!\s)[%s%s]" % (b"^" if token["not"] else b"", "".join(parts).encode(errors="surrogateescape"))
