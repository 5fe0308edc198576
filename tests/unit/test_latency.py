"""Latency: the commands that measure, and how what the kernel says becomes durations."""

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from surftrace.compiler.latency import LatencyPlan, build_latency_plan
from surftrace.compiler.plan import TracedEvent
from surftrace.compiler.render import echo_lines
from surftrace.compiler.resolve import resolve
from surftrace.kernel.features import ALL_FEATURES, Feature, Features, features_of_release
from surftrace.kernel.machine import AARCH64, RISCV64, X86_64, Machine
from surftrace.kernel.target import Target
from surftrace.lang.script import parse_script
from surftrace.lang.source import CompileError
from surftrace.output.color import plain
from surftrace.output.jsonl import notice_json, to_json
from surftrace.output.latency import account_json, duration_lines, make_call_json_formatter, show_duration
from surftrace.tracing.events import Event, Origin
from surftrace.tracing.latency import Account, Bucket, Durations, Latency, SlowCall, call_reader
from surftrace.tracing.losses import Losses
from surftrace.tracing.trace import Trace
from surftrace.tracing.tracefs import Tracefs, TracefsError
from tests.schemas import validator
from tests.unit.compiling import offline_kernel, shapes_btf


def _plan(
    probe: str,
    over_ns: int | None = None,
    group: str | None = None,
    machine: Machine = X86_64,
    features: Features = ALL_FEATURES,
) -> LatencyPlan:
    resolved = resolve(parse_script([probe]), Target(machine, offline_kernel(shapes_btf())))
    return build_latency_plan(resolved.probes[0], "surftrace", machine, features, over_ns, group)


_EVENTS = "/T/instances/surftrace/events"


def test_counts_by_powers_of_two() -> None:
    assert list(echo_lines(_plan("p plain n").plan, "/T")) == [
        "mkdir /T/instances/surftrace",
        "echo 'surftrace_latency u64 ns' >> /T/synthetic_events",
        "printf '%s\\n' 'p:surftrace/f0 plain n=%si:s32 __stack=$stack:x64 __above=\\8:x64' >> /T/kprobe_events",
        "echo 'r4096:surftrace/f0_end plain __stack=$stack:x64' >> /T/kprobe_events",
        f"echo 'hist:keys=__stack+__above:ts0=common_timestamp:size=16384' >> {_EVENTS}/surftrace/f0/trigger",
        "echo 'hist:keys=__stack:ns=common_timestamp-$ts0:onmatch(surftrace.f0).surftrace_latency($ns):size=16384'"
        f" >> {_EVENTS}/surftrace/f0_end/trigger",
        f"echo 'hist:keys=ns.log2:vals=ns:size=128' >> {_EVENTS}/synthetic/surftrace_latency/trigger",
        "echo 0 > /T/instances/surftrace/options/stacktrace",
        "echo 1 > /T/instances/surftrace/tracing_on",
    ]


_HIST = "hist:keys="


def _texts(plan: LatencyPlan) -> list[str]:
    return [step.text for step in plan.plan.steps]


def test_slow_calls_keep_their_values() -> None:
    texts = _texts(_plan("p plain n a=n:x8 f:n>1", over_ns=5))
    assert texts[0] == "surftrace_latency u64 ns; s32 n; u8 a; char __comm[]"
    assert texts[3] == "hist:keys=__stack+__above:ts0=common_timestamp,v0=n,v1=a,v2=__comm:size=16384 if n>1"
    assert texts[4].partition("onmatch")[2] == "(surftrace.f0).surftrace_latency($ns,$v0,$v1,$v2):size=16384"
    assert texts[5:7] == ["ns>=5", "1"]


def test_a_value_of_any_name() -> None:
    texts = _texts(_plan("p plain ns=n ns_=n __stack=n __comm=n", over_ns=5))
    assert texts[0] == "surftrace_latency u64 ns__; s32 ns; s32 ns_; s32 __stack; s32 __comm; char __comm_[]"
    assert "keys=__stack_+__above:" in texts[3]


# What a call is known by: (id, machine, features, the keys of the entry and of the return)
_KEYS = (
    ("x86", X86_64, ALL_FEATURES, "__stack+__above", "__stack"),
    ("x86-without-constants", X86_64, features_of_release("5.3"), "common_pid", "common_pid"),
    ("arm", AARCH64, ALL_FEATURES, "__stack", "__stack"),
    ("others", RISCV64, ALL_FEATURES, "common_pid", "common_pid"),
)


@pytest.mark.parametrize(
    ("machine", "features", "entry", "end"), [pytest.param(*rest, id=name) for name, *rest in _KEYS]
)
def test_keys(machine: Machine, features: Features, entry: str, end: str) -> None:
    plan = _plan("p plain", machine=machine, features=features)
    triggers = [text for text in _texts(plan) if text.startswith(_HIST)]
    assert [text.split(":")[1] for text in triggers[:2]] == [f"keys={entry}", f"keys={end}"]
    assert plan.has_exact_keys == (entry != "common_pid")


def test_every_step_that_defines_or_triggers_has_its_undo() -> None:
    steps = _plan("p plain n f:n>1", group="n").plan.steps
    undone = [step.undo.text for step in steps if step.undo is not None]
    assert undone[:3] == ["!surftrace_latency", "-:surftrace/f0", "-:surftrace/f0_end"]
    assert undone[3:] == [f"!{step.text}" for step in steps if step.text.startswith(_HIST)]


_WITHOUT_STRINGS = Features(frozenset(Feature) - {Feature.SYNTHETIC_STRING}, "this kernel")
_OLD = features_of_release("4.16")
# (id, probe, group, features, a part of the message)
_REFUSED = (
    ("a-return", "r plain", None, ALL_FEATURES, "latency is that of the calls of one kernel function"),
    ("a-place-inside", "p plain+4", None, ALL_FEATURES, "latency is that of the calls of one kernel function"),
    ("an-event", "e sched/sched_switch", None, ALL_FEATURES, "latency is that of the calls of one kernel function"),
    ("an-old-kernel", "p plain", None, _OLD, "Linux 4.17 and later can"),
    ("an-array", "p plain a=s->bytes:x8[4]", None, ALL_FEATURES, "'a' is an array"),
    ("a-string", "p plain a=$comm", None, _WITHOUT_STRINGS, "cannot do strings in synthetic events: Linux 5.10"),
    ("too-many", "p plain " + " ".join(f"a{n}=n" for n in range(15)), None, ALL_FEATURES, "the kernel keeps 14"),
    ("the-kernel's-name", "p plain hitcount=n", None, ALL_FEATURES, "the kernel takes 'hitcount'"),
    ("no-value", "p plain n", "m", ALL_FEATURES, "the probe has no value 'm' to count by"),
)


@pytest.mark.parametrize(
    ("probe", "group", "features", "message"), [pytest.param(*rest, id=name) for name, *rest in _REFUSED]
)
def test_refused(probe: str, group: str | None, features: Features, message: str) -> None:
    with pytest.raises(CompileError) as caught:
        _plan(probe, over_ns=None if group else 1, group=group, features=features)
    assert message in caught.value.diagnostics[0].message


def _event(text: str) -> Event:
    return Event(Origin(b"<...>", 7, 0, ".....", "1.000000"), "surftrace_latency", "", (), text.encode())


def _call(plan: LatencyPlan, text: str) -> SlowCall | None:
    return call_reader(plan, lambda address: f"at_{address:x}")(_event(text))


def test_a_call_with_strings_that_look_like_values() -> None:
    plan = _plan("p plain n a=$comm b=$comm", over_ns=1)
    call = _call(plan, 'ns=1234 n=-1 a=x ns1=5 b=y ns1=1234 b=\nz"')
    assert call is not None
    assert call.duration_ns == 1234
    assert [value.content for value in call.event.values] == [-1, b"x ns1=5 b=y", b'\nz"']
    assert call.event.origin.task == b"x ns1=5 b=y"


def test_numbers_get_their_sign_again() -> None:
    plan = _plan("p plain a=n:s8 b=n:s16 c=n:x64", over_ns=1)
    call = _call(plan, "ns=1 a=255 b=32768 c=18446744073709551615 __comm=x")
    assert call is not None
    assert [value.content for value in call.event.values] == [-1, -32768, (1 << 64) - 1]


@pytest.mark.parametrize("text", ["ns=1 n=2", "ns=1 n=x __comm=y", "ns=-1 n=2 __comm=y", ""])
def test_what_is_no_call(text: str) -> None:
    assert _call(_plan("p plain n", over_ns=1), text) is None


# (nanoseconds, text)
_SHOWN = (
    (0, "0 ns"),
    (999, "999 ns"),
    (1000, "1.00 us"),
    (12345, "12.3 us"),
    (524288, "524 us"),
    (999_999, "1000 us"),
    (1_048_576, "1.05 ms"),
    (61_234_000_000, "61.2 s"),
    (1_234_567_000_000, "1235 s"),
)


@pytest.mark.parametrize(("duration_ns", "text"), _SHOWN)
def test_durations_as_text(duration_ns: int, text: str) -> None:
    assert show_duration(duration_ns) == text


# Every multiset of durations is in its limits: (durations of one bucket from 5 to 8)
@pytest.mark.parametrize("calls", [(5,), (8,), (5, 8), (5, 5, 8), (6, 7, 7), (8, 8), (5, 6, 7, 8)])
def test_limits_hold(calls: tuple[int, ...]) -> None:
    durations = Durations((Bucket(5, 8, len(calls), sum(calls)),))
    assert durations.shortest_ns[0] <= min(calls) <= durations.shortest_ns[1]
    assert durations.longest_ns[0] <= max(calls) <= durations.longest_ns[1]
    if len(calls) == 1:
        assert durations.shortest_ns == durations.longest_ns == (calls[0], calls[0])


def test_the_module_of_a_function_is_watched() -> None:
    assert _plan("p plain").plan.events == (TracedEvent("synthetic", "surftrace_latency", (), False, ""),)


_NO_LOSSES = Losses()


def _latency(root: Path, plan: LatencyPlan, rows: str, losses: Losses = _NO_LOSSES, begun: int = 0) -> Latency:
    """A measurement whose table of durations has these rows."""
    groups = f"{plan.group.name}," if plan.group is not None else ""
    durations = f"{groups}{plan.duration}.log2:vals=hitcount,{plan.duration}"
    tables = (
        (plan.event, durations, rows, rows.count("hitcount: ")),
        (plan.entry, "__stack:vals=hitcount", "", begun),
        (plan.end, "__stack:vals=hitcount", "", 0),
    )
    for event, keys, text, count in tables:
        file = root / plan.folder(event) / "hist"
        file.parent.mkdir(parents=True)
        totals = f"Totals:\n    Hits: {count}\n    Entries: {count}\n    Dropped: 0\n"
        file.write_text(f"# event histogram\n#\n# trigger info: hist:keys={keys} [active]\n#\n\n{text}\n{totals}")
    instance = SimpleNamespace(tracefs=Tracefs(root))
    trace = SimpleNamespace(instance=instance, losses=losses, finish=lambda: None)
    return Latency(plan, cast(Trace, trace), lambda _: None)


def _group_row(name: str) -> str:
    return f"{{ comm: {name:<50s}, ns: ~ 2^10 }} hitcount: {1:10d}  ns: {1000:10d}\n"


_LIKE_A_ROW = f"{'x':<50s}, ns: ~ 2^3  }} hitcount: {1:10d}  ns: {5:10d}\n{{ comm: y"
_LIKE_TOTALS = (
    f"{'x':<50s}, ns: ~ 2^3  }} hitcount: {1:10d}  ns: {5:10d}\n"
    "\nTotals:\n    Hits: 1\n    Entries: 1\n    Dropped: 0\n\n\n"
    "# event histogram\n#\n# trigger info: hist:keys=comm,ns.log2:vals=hitcount,ns\n#\n\n{ comm: y"
)


def _lines(latency: Latency) -> list[str]:
    return list(duration_lines(latency.durations(), "plain", "little", plain, latency.undecoded))


def test_calls_before_returns_were_counted_are_not_unfinished(tmp_path: Path) -> None:
    plan = _plan("p plain")
    latency = _latency(tmp_path, plan, "", begun=40)
    for event, hits in ((plan.entry, 50), (plan.end, 9)):
        file = tmp_path / plan.folder(event) / "hist"
        file.write_text(re.sub(r"Hits: \d+", f"Hits: {hits}", file.read_text()))
    latency.finish()
    assert (latency.account.ended, latency.account.unfinished) == (9, 1)


def test_durations_by_a_string(tmp_path: Path) -> None:
    latency = _latency(tmp_path, _plan("p plain", group="comm"), _group_row("a"))
    assert _lines(latency)[0].startswith('plain comm="a": 1 call, average 1.00 us')
    latency.finish()
    assert (latency.account.undecoded, latency.account.has_lost, list(latency.notices())) == (b"", False, [])


@pytest.mark.parametrize("name", [_LIKE_A_ROW, _LIKE_TOTALS], ids=["a-row", "a-table"])
def test_a_string_that_looks_like_rows_loses_no_table_in_silence(tmp_path: Path, name: str) -> None:
    rows = _group_row("a") + _group_row(name)
    latency = _latency(tmp_path, _plan("p plain", group="comm"), rows)
    if name == _LIKE_A_ROW:  # the kernel counts one row less than there seem to be
        file = tmp_path / latency.plan.folder(latency.plan.event) / "hist"
        file.write_bytes(file.read_bytes().replace(b"Entries: 3", b"Entries: 2"))
    lines = _lines(latency)
    assert latency.durations() == ()
    assert f"plain: {_group_row('a').rstrip()}" in lines
    assert not any("no calls" in line for line in lines)
    latency.finish()
    assert latency.account.has_lost
    assert [notice.message for notice in latency.notices()] == [
        "a string in the table of plain looks like rows of it: it is printed as it is"
    ]
    end = json.loads(to_json(account_json(latency.account)))
    validator("latency").validate(end)
    assert rows in end["undecoded"]


def test_a_table_that_somebody_has_removed(tmp_path: Path) -> None:
    latency = _latency(tmp_path, _plan("p plain", group="comm"), "")
    (tmp_path / latency.plan.folder(latency.plan.event) / "hist").write_bytes(b"")
    with pytest.raises(TracefsError, match=r"durations of plain: .*somebody else has removed what counts"):
        latency.durations()


def test_slow_calls_that_are_not_shown(tmp_path: Path) -> None:
    latency = _latency(tmp_path, _plan("p plain", over_ns=5), "", Losses(((1, 7),), (), 3))
    latency.finish()
    end = account_json(latency.account)
    validator("latency").validate(end)
    assert (end["lost"], end["unread"], end["undecoded"]) == ([{"cpu": 1, "count": 7}], 3, "")
    assert latency.account.has_lost
    assert not Account(5, unfinished=2).has_lost


def test_an_event_that_is_no_call_is_text() -> None:
    line = json.loads(make_call_json_formatter("little")(_event("ns=x\xff")))
    validator("latency").validate(line)
    assert line == {"type": "text", "text": "surftrace_latency: ns=x\xff"}


@pytest.mark.parametrize("name", ["trace", "count", "latency"])
def test_a_notice_is_in_each_schema(name: str) -> None:
    validator(name).validate(notice_json("the module m was unloaded"))
