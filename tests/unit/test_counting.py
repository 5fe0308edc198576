"""Texts of `hist` files of a plan's tables in, rows of values out, and what is told of them."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from surftrace.compiler.counting import CountedEvent, Counting, CountingPlan, Role, Spread, plan_counting
from surftrace.compiler.resolve import resolve
from surftrace.kernel.features import ALL_FEATURES
from surftrace.kernel.machine import machine_named
from surftrace.kernel.offline import OfflineKernel
from surftrace.kernel.target import Target
from surftrace.lang.script import parse_script
from surftrace.output.color import plain
from surftrace.output.counted import count_lines, json_rows, json_totals, summarize
from surftrace.output.jsonl import to_json
from surftrace.tracing.counting import Counter, Counts, read_counts
from surftrace.tracing.instance import Instance
from surftrace.tracing.limits import Limit
from surftrace.tracing.notices import Notices
from surftrace.tracing.tracefs import Tracefs, TracefsError
from tests.cases.kernels import write_kernels
from tests.schemas import validator


@pytest.fixture(scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The BTF file of each kernel of the golden cases."""
    return write_kernels(tmp_path_factory.mktemp("kernels"))


def _plan(kernel: Path, counting: Counting, *probes: str) -> CountingPlan:
    target = Target(machine_named("x86_64"), OfflineKernel.of_files(str(kernel)))
    return plan_counting(resolve(parse_script(probes, [], {}), target), counting, "surftrace", target)


def _text(event: CountedEvent, *rows: str, dropped: int = 0) -> bytes:
    """The file with all tables of an event: `rows` has the text of each one's."""
    tables = []
    for table, text in zip(event.tables, rows, strict=True):
        trigger, _, condition = table.step.text.partition(" if ")
        hits = sum(int(line.partition("hitcount:")[2].split()[0]) for line in text.splitlines() if "hitcount" in line)
        condition = f" if {condition}" if condition else ""
        tables.append(
            f"# event histogram\n#\n# trigger info: {trigger}:sort=hitcount:size=2048{condition} [active]\n#\n\n{text}"
            f"\nTotals:\n    Hits: {hits}\n    Entries: {text.count('hitcount')}\n    Dropped: {dropped}\n"
        )
    return "\n\n".join(tables).encode()


def _row(hits: int, *sums: tuple[str, int], **keys: int | str) -> str:
    shown = ", ".join(
        f"{name}: {key:10d}" if isinstance(key, int) else f"{name}: {key:<50s}" for name, key in keys.items()
    )
    return f"{{ {shown} }} hitcount: {hits:10d}" + "".join(f"  {name}: {value:10d}" for name, value in sums) + "\n"


def _lines(counts: Counts, plan: CountingPlan) -> list[list[str]]:
    rows = summarize(counts, plan.counting, "little")
    return [line.split() for line in count_lines(rows, plan.counting, "little", plain)]


def test_signs_addresses_and_network_order(kernels: dict[str, Path]) -> None:
    counting = Counting(("n", "ip_x"), ("n",))
    plan = _plan(kernels["shapes"], counting, "p plain n=n ip_x=n")
    (event,) = plan.events
    minus = (1 << 64) - 5
    text = _text(event, _row(2, ("n", (1 << 64) - 10), n=minus, ip_x=0x0100007F) + _row(3, ("n", 9), n=3, ip_x=0))
    assert _lines(read_counts(event, text), plan) == [
        ["n", "ip_x", "hits", "sum(n)", "avg(n)"],
        ["3", "0.0.0.0", "3", "9", "3.00"],
        ["-5", "127.0.0.1", "2", "-10", "-5.00"],
    ]


def test_an_address_of_two_keys(kernels: dict[str, Path]) -> None:
    plan = _plan(kernels["network"], Counting(("ip6_dst",)), "p ip6_output ip6_dst=@(struct ipv6hdr*)l3skb->daddr")
    (event,) = plan.events
    high, low = event.tables[1].keys[0].texts
    text = _text(event, "", _row(4, **{high: 0xB80D0120, low: 1 << 56}))
    assert _lines(read_counts(event, text), plan)[1:] == [["2001:db8::1", "4"]]


def test_tasks_are_told_apart_by_name(kernels: dict[str, Path]) -> None:
    plan = _plan(kernels["network"], Counting(("comm",)), "e sched/sched_switch")
    (event,) = plan.events
    rows = "".join(f"{{ common_pid: {'sh':<16s}[{pid:10d}] }} hitcount: {pid:10d}\n" for pid in (1, 2, 30))
    counts = read_counts(event, _text(event, rows))
    assert _lines(counts, plan)[1:] == [['"sh"', "33"]]


def test_numbers_of_a_value(kernels: dict[str, Path]) -> None:
    counting = Counting((), ("b16_x",), ("n", "b16_x"), (Spread("n"), Spread("b16_x", 100)))
    plan = _plan(kernels["network"], counting, "p ip_output n=Sskb->len b16_x=@(struct iphdr*)l3skb->tot_len")
    (event,) = plan.events
    network = {port: int.from_bytes(port.to_bytes(2, "big"), "little") for port in (80, 9988)}
    text = _text(
        event,
        "",
        _row(3, common_type=1),
        _row(1, n=(1 << 64) - 2) + _row(2, n=9),
        _row(1, b16_x=network[80]) + _row(2, b16_x=network[9988]),
    )
    counts = read_counts(event, text)
    (row,) = json_rows(summarize(counts, counting, "little"), "little")
    validator("count").validate(row)
    assert row["sums"] == {"b16_x": 80 + 2 * 9988}
    assert row["ranges"] == {"n": {"min": -2, "max": 9}, "b16_x": {"min": 80, "max": 9988}}
    assert row["histograms"] == {
        "n": [{"low": -2, "high": -2, "hits": 1}, {"low": 9, "high": 16, "hits": 2}],
        "b16_x": [{"low": 0, "high": 99, "hits": 1}, {"low": 9900, "high": 9999, "hits": 2}],
    }


def test_what_is_not_counted(kernels: dict[str, Path]) -> None:
    plan = _plan(kernels["shapes"], Counting(("up",)), "p plain up=s->is_up")
    (event,) = plan.events
    counts = read_counts(event, _text(event, _row(7, common_type=1), _row(1, up=1), dropped=2))
    totals = json_totals(counts)
    validator("count").validate({"type": "counts", **totals})
    assert totals["hits"] == 1
    assert totals["unread"] == [{"event": "f0", "value": "up", "hits": 7}]
    assert [(each.name, each.hits) for each in counts.dropped] == [("up", 2), ("", 2)]
    assert counts.has_lost


_FLOATS = {"inf": 0x7F80_0000, "-inf": 0xFF80_0000, "nan": 0x7FC0_0000, "1.5": 0x3FC0_0000}


def _float_row(kernel: Path, *names: str, hits: str | None = None) -> tuple[dict[str, Any], list[list[str]]]:
    """The row, as JSON and as text, of a fraction that was each of these once."""
    counting = Counting((), ("x",), ("x",), (Spread("x"),))
    target = Target(machine_named("x86_64"), OfflineKernel.of_files(str(kernel)))
    resolved = resolve(parse_script(["p plain x=n:u32"], [], {}), target)
    fields = tuple(replace(field, letter="f") for field in resolved.probes[0].fields)
    resolved = replace(resolved, probes=(replace(resolved.probes[0], fields=fields),))
    plan = plan_counting(resolved, counting, "surftrace", target)
    (event,) = plan.events
    rows = {Role.HITS: _row(len(names), common_type=1) if hits is None else hits}
    rows[Role.VALUES] = "".join(_row(1, x=_FLOATS[name]) for name in names)
    counts = read_counts(event, _text(event, *(rows.get(table.role, "") for table in event.tables)))
    (row,) = json_rows(summarize(counts, counting, "little"), "little")
    shown: dict[str, Any] = json.loads(to_json(row))
    validator("count").validate(shown)
    return shown, _lines(counts, plan)


def test_fractions_that_are_infinite_or_no_numbers(kernels: dict[str, Path]) -> None:
    row, lines = _float_row(kernels["shapes"], "nan", "1.5", "inf", "nan")
    assert (row["sums"], row["ranges"]) == ({"x": "nan"}, {"x": {"min": 1.5, "max": "inf"}})
    assert row["histograms"]["x"] == [
        {"low": 0, "high": 1, "hits": 1},
        {"low": "inf", "high": "inf", "hits": 1},
        {"low": "nan", "high": "nan", "hits": 2},
    ]
    assert lines[1][-5:] == ["4", "nan", "nan", "1.50", "inf"]
    assert [line[:2] for line in lines[4:]] == [["inf", "1"], ["nan", "2"]]


@pytest.mark.parametrize(("name", "total"), [("inf", "inf"), ("-inf", "-inf"), ("nan", "nan"), ("1.5", 1.5)])
def test_one_fraction(kernels: dict[str, Path], name: str, total: float | str) -> None:
    row, _ = _float_row(kernels["shapes"], name)
    assert (row["sums"], row["ranges"]) == ({"x": total}, {"x": {"min": total, "max": total}})


def test_a_row_whose_hits_had_no_room_has_no_average(kernels: dict[str, Path]) -> None:
    row, lines = _float_row(kernels["shapes"], "1.5", "1.5", hits="")
    assert (row["hits"], row["sums"]) == (0, {"x": 3.0})
    assert lines[1][-5:] == ["0", "3.00", "-", "1.50", "1.50"]


def _counter(plan: CountingPlan, root: Path, text: bytes) -> Counter:
    """A count whose event's `hist` file has this text."""
    (event,) = plan.events
    hist = (root / event.tables[0].step.path).parent / "hist"
    hist.parent.mkdir(parents=True)
    hist.write_bytes(text)
    notices = Notices(plan.plan, ALL_FEATURES, Limit(), lambda _: None)
    return Counter(plan, cast(Instance, SimpleNamespace(tracefs=Tracefs(root))), (), notices)


def test_more_tables_than_there_are_stay_as_they_are(kernels: dict[str, Path], tmp_path: Path) -> None:
    plan = _plan(kernels["shapes"], Counting(), "p plain")
    text = _text(plan.events[0], _row(2, common_type=1))
    counts = _counter(plan, tmp_path, text + b"\n\n" + text).read()
    assert counts.undecoded == ((plan.events[0], text + b"\n\n" + text),)
    assert counts.has_lost


@pytest.mark.parametrize("text", [b"", b"# event histogram\n#\n"])
def test_fewer_tables_are_an_error(kernels: dict[str, Path], tmp_path: Path, text: bytes) -> None:
    plan = _plan(kernels["shapes"], Counting(), "p plain")
    with pytest.raises(TracefsError, match=r"the counts of f0: .*not of 1: somebody else has removed what counts"):
        _counter(plan, tmp_path, text).read()


def test_probes_at_one_place_are_told_apart(kernels: dict[str, Path]) -> None:
    plan = _plan(kernels["shapes"], Counting(), "p plain f:n>0", "p plain f:n<0", "r plain")
    assert [event.label for event in plan.events] == ["f0: plain", "f1: plain", "plain (return)"]


@pytest.mark.parametrize(
    ("is_return", "expected"), [(False, ("plain+0x5/0x10", "caller+0x1/0x10")), (True, ("caller+0x1/0x10",))]
)
def test_stacks_without_the_probe(kernels: dict[str, Path], is_return: bool, expected: tuple[str, ...]) -> None:
    plan = _plan(kernels["shapes"], Counting(("stack",)), "r plain" if is_return else "p plain")
    (event,) = plan.events
    own = ["arch_rethook_trampoline+0x2c/0x60"] if is_return else ["plain+0x5/0x10"]
    frames = ["kprobe_ftrace_handler+0x108/0x1b0", "0xffffffffc020e0c8", *own, "caller+0x1/0x10"]
    text = "".join(f"{' ' * 9}{frame}\n" for frame in frames)
    counts = read_counts(event, _text(event, f"{{ stacktrace:\n{text}}} hitcount: {5:10d}\n"))
    assert counts.rows[0].values[0].content == tuple(frame.encode() for frame in frames)
    assert [line[1] for line in _lines(counts, plan)[2:]] == list(expected)


def test_all_tables_begin_together(kernels: dict[str, Path]) -> None:
    plan = _plan(kernels["shapes"], Counting((), (), ("n",)), "p plain n=n f:n>5")
    texts = [step.text for step in plan.plan.steps if step.path.endswith("/trigger")]
    assert [text.partition(" if ")[0].rpartition(":")[2] for text in texts] == ["pause"] * 2 + ["cont"] * 2
    undos = [step.undo.text for step in plan.plan.steps if step.undo is not None and step.path.endswith("/trigger")]
    assert undos == [f"!{table.step.text}" for table in plan.events[0].tables]
    # What the kernel refuses is shown under the user's text, wherever a keyword has moved it to.
    step = next(step for step in plan.plan.steps if ":pause if" in step.text)
    assert [step.text[mark.start : mark.end] for mark in step.marks[1:]] == ["n>5"]
