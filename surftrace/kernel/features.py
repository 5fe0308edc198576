"""Which optional forms of probe syntax a kernel takes: from tracefs' README, or from a table by kernel release."""

import re
from enum import Enum

from surftrace.errors import SurftraceError
from surftrace.record import record

_Version = tuple[int, int, int]

THIS_KERNEL = "this kernel"


class Feature(Enum):
    """A form of the kernel's probe and filter syntax that older kernels lack.

    `since` is the first mainline release with it, on an architecture and with a configuration that have it at all;
    `words` say what it is, as a noun.
    """

    # 7ef224d1d0e3 "tracing: Add 'hist' event trigger command"; only with CONFIG_HIST_TRIGGERS
    HIST_TRIGGER = ("4.7", "histograms in the kernel (hist triggers)")
    # 4b147936fa50 "tracing: Add support for 'synthetic' events"; with CONFIG_SYNTH_EVENTS, before 5.8
    # CONFIG_HIST_TRIGGERS
    SYNTHETIC_EVENT = ("4.17", "synthetic events (the file synthetic_events)")
    # a1303af5d79e "tracing: probeevent: Add $argN for accessing function args", 4.20; with the two below one series.
    # Only with CONFIG_HAVE_FUNCTION_ARG_ACCESS_API: x86 at once, arm64 from 5.2.
    ARGUMENT_N = ("4.20", "function arguments by number ($arg1)")
    # 40b53b771806 "tracing: probeevent: Add array type support"
    ARRAY = ("4.20", "arrays (TYPE[N])")
    # 60c2e0cebfd0 "tracing: probeevent: Add symbol type"
    SYMBOL = ("4.20", "addresses as symbols (:symbol)")
    # 5448d44c3855 "tracing: Add unified dynamic event framework"
    DYNAMIC_EVENTS = ("5.0", "the file dynamic_events")
    # 8a062902be72 "tracing: Add tracing error log"; "[GIT PULL] tracing: Updates for 5.2"
    ERROR_LOG = ("5.2", "the file error_log")
    # 88903c464321 "tracing/probe: Add ustring type for user-space string"; "[GIT PULL] tracing: Changes for 5.3"
    USTRING = ("5.3", "strings in user memory (:ustring)")
    # e65f7ae7f4da "tracing/probe: Support user-space dereference", with it
    USER_MEMORY = ("5.3", "reads of user memory (+u0(...))")
    # 6218bf9f4d29 "tracing/probe: Add immediate parameter support"; "[GIT PULL] tracing: Updates for 5.4"
    IMMEDIATE = ("5.4", "constants as arguments (\\1)")
    # "Support perf-style return probe ("SYMBOL%return") in kprobes and uprobes"; "[GIT PULL] tracing: Updates for 5.10"
    RETURN_TARGET = ("5.10", "return probes as FUNCTION%return")
    # bd82631d7ccd "tracing: Add support for dynamic strings to synthetic events", and with it 63a1e5de3006 "tracing:
    # Save normal string variables"
    SYNTHETIC_STRING = ("5.10", "strings in synthetic events")
    # bcee52789588 "tracing: Fix userstacktrace option for instances": until then it was the main buffer's alone
    USER_STACK = ("5.10", "stacks of programs in an instance (userstacktrace)")
    # ec6aba3d2be1 "kprobes: Remove kprobe::fault_handler": until then a probe's own fault counted as a missed hit
    EXACT_MISSES = ("5.14", "counts of missed hits without faults")
    # "tracing: Add linear buckets to histogram logic"; "[GIT PULL] tracing: Changes for 5.15"
    HIST_BUCKETS = ("5.15", "histograms with buckets of one width (.buckets=N)")
    # 7491e2c44278 "tracing: Add a probe that attaches to trace events"; "[GIT PULL] tracing: Changes for 5.15"
    EPROBE = ("5.15", "arguments of a trace event (eprobes)")
    # f37c3bbc6359 "tracing: Add ustring operation to filtering string pointers"; "[GIT PULL] tracing: Updates for 5.17"
    USTRING_FILTER = ("5.17", "filters on strings in user memory (FIELD.ustring)")
    # 8478cca1e3ab "tracing/probe: add a char type to show the character value of traced arguments"; "probes updates
    # for 6.3"
    CHAR = ("6.3", "values as characters (:char)")
    # "Add function names as a way to filter function addresses"; "[GIT PULL] tracing: Updates for 6.3"
    FUNCTION_FILTER = ("6.3", "filters on functions by name (FIELD.function)")
    # 334e5519c375 "tracing/probes: Add fprobe events for tracing function entry and exit."; the four are of "[GIT PULL]
    # Probes update for v6.5"
    FPROBE = ("6.5", "function probes (fprobes)")
    # e2d0d7b2f42d "tracing/probes: Add tracepoint support on fprobe_events"
    TPROBE = ("6.5", "probes on raw tracepoints (tprobes)")
    # 18b1e870a496 "tracing/probes: Add $arg* meta argument for all function args"
    ARGUMENTS_ALL = ("6.5", "all arguments of a function at once ($arg*)")
    # b576e09701c7 "tracing/probes: Support function parameters if BTF is available"
    BTF_ARGUMENT = ("6.5", "function arguments by name")
    # 39f7c41c908b "tracing/filters: Enable filtering a cpumask field by another cpumask"; "Tracing updates for 6.6"
    CPUS_FILTER = ("6.6", "filters on sets of CPUs (CPUS{...})")
    # 25f00e40ce79 "tracing/probes: Support $argN in return probe (kprobe and fprobe)"; "[GIT PULL] probes: Updates
    # for v6.9"
    RETURN_ARGUMENT = ("6.9", "entry arguments in return probes")
    # "tracing/probes: support '%pd' type for print struct dentry's name"; "[GIT PULL] probes updates for v6.10"
    DENTRY_NAME = ("6.10", "file names of a dentry or file (%pd, %pD)")

    def __init__(self, since: str, words: str) -> None:
        self.since = since
        self.words = words


# Stable releases that got a feature which their series began without: the announcements of "Linux 5.10.104", "Linux
# 5.15.27", "Linux 5.16.13" (2022-03-08) and "Linux 6.6.59" (2024-11-01) on linux-kernel; "[PATCH 5.4 41/54] tracing:
# Fix userstacktrace option for instances" (2020-12-10) for what became 5.4.83.
_STABLE: dict[Feature, tuple[_Version, ...]] = {
    Feature.USER_STACK: ((5, 4, 83),),
    Feature.USTRING_FILTER: ((5, 10, 104), (5, 15, 27), (5, 16, 13)),
    Feature.RETURN_ARGUMENT: ((6, 6, 59),),
}

# What the README of a kernel that has a feature says: readme_msg in kernel/trace/trace.c, where a line depends on the
# configuration that its feature depends on. `$arg*` has no line: it came, and goes, with arguments by name.
_README = {
    Feature.HIST_TRIGGER: r"^ +hist trigger\t",
    Feature.SYNTHETIC_EVENT: r"\bsynthetic_events\t- Create",
    Feature.SYNTHETIC_STRING: r"example: echo 'myevent u64 lat; char name\[\]",
    Feature.ARGUMENT_N: r"\$comm, \$arg<N>",
    Feature.ARRAY: r"<type>\\\[<array-size>\\\]",
    Feature.SYMBOL: r"\bstring, symbol,",
    Feature.DYNAMIC_EVENTS: r"^  dynamic_events\t",
    Feature.ERROR_LOG: r"^  error_log\t",
    Feature.USTRING: r"\bustring,",
    Feature.USER_MEMORY: r"\+\|-\[u\]<offset>",
    Feature.IMMEDIATE: r"\\imm-value",
    Feature.RETURN_TARGET: r"place \(kretprobe\):.*%return",
    Feature.HIST_BUCKETS: r"^\s+\.buckets=size ",
    Feature.EPROBE: r"^\s+e\[:",
    Feature.CHAR: r"\bchar, string,",
    Feature.FPROBE: r"^\s+f\[:",
    Feature.TPROBE: r"^\s+t\[:",
    Feature.ARGUMENTS_ALL: r"<argname>",
    Feature.BTF_ARGUMENT: r"<argname>",
    Feature.RETURN_ARGUMENT: r"return probes support:.*\$arg<N>",
    Feature.DENTRY_NAME: r"%pd/%pD",
}

# Patterns are compiled where they are used: most runs ask for no features.
_RELEASE = r"v?(\d{1,4})\.(\d{1,4})(?:\.(\d{1,6}))?(?!\d)\S*"
_DEBIAN_VERSION = r"\bDebian (\d+\.\d+(?:\.\d+)?)"


@record
class Features:
    """The features that a kernel has. `kernel` names it in messages: "this kernel", "Linux 5.4"."""

    present: frozenset[Feature]
    kernel: str

    def has(self, feature: Feature) -> bool:
        """Does the kernel take this?"""
        return feature in self.present

    def lacking(self, feature: Feature) -> str:
        """What to say where the kernel does not."""
        return f"{self.kernel} cannot do {feature.words}: Linux {feature.since} and later can"


# For a kernel of which nothing is known.
ALL_FEATURES = Features(frozenset(Feature), THIS_KERNEL)


def features_of_readme(readme: str | None, release: str) -> Features:
    """The features of the running kernel: what tracefs' README says, `release` for what it does not tell of.

    README tells of no filters (`.ustring`, `.function`, `CPUS{}`). For these the kernel counts as that of `release`
    (see exact_release), or of the newest feature that its README tells of: a distribution that brings a feature to its
    old kernel brings what came before. Without a README (None) the release answers for everything.
    """
    version = _version(release)
    if readme is None:
        return ALL_FEATURES if version is None else Features(_features_of(version), THIS_KERNEL)
    told = frozenset(feature for feature, pattern in _README.items() if re.search(pattern, readme, re.MULTILINE))
    versions = [_since(feature) for feature in told - _STABLE.keys()]
    newest = max([*versions, version or (0, 0, 0)])
    return Features(told | (_features_of(newest) - _README.keys()), THIS_KERNEL)


def features_of_release(release: str) -> Features:
    """The features of a kernel of that release, such as `6.1`, `7.3-rc7`, `5.10.0-46-cloud-amd64`.

    A distribution's own name for a release (`5.10.0-46`) does not say which stable release it is: it counts as the
    series' first. SurftraceError for what is no release.
    """
    version = _version(release)
    if version is None:
        hint = "a release is what uname -r prints, or its beginning: 5.10.0-46-cloud-amd64, 6.1, 7.3-rc7"
        raise SurftraceError(f"'{release}' is not a kernel release", hint)
    return Features(_features_of(version), f"Linux {release.removeprefix('v')}")


def exact_release(release: str, version: str) -> str:
    """The upstream release of uname's `release` and `version`: Debian has it (`Debian 5.10.262-1`) in the latter."""
    match = re.search(_DEBIAN_VERSION, version)
    return match[1] if match else release


def _version(release: str) -> _Version | None:
    match = re.fullmatch(_RELEASE, release, re.ASCII)
    return (int(match[1]), int(match[2]), int(match[3] or 0)) if match else None


def _since(feature: Feature) -> _Version:
    major, minor = feature.since.split(".")
    return int(major), int(minor), 0


def _features_of(version: _Version) -> frozenset[Feature]:
    return frozenset(feature for feature in Feature if version >= _since(feature) or _is_stable(feature, version))


def _is_stable(feature: Feature, version: _Version) -> bool:
    return any(version[:2] == stable[:2] and version >= stable for stable in _STABLE.get(feature, ()))
