"""Texts of `hist` files of a plan's tables in, rows of values out, and what is told of them."""

from pathlib import Path

import pytest

from surftrace.compiler.counting import CountedEvent, Counting, CountingPlan, Spread, plan_counting
from surftrace.compiler.resolve import resolve
from surftrace.kernel.machine import machine_named
from surftrace.kernel.offline import OfflineKernel
from surftrace.kernel.target import Target
from surftrace.lang.script import parse_script
from surftrace.output.color import plain
from surftrace.output.counted import count_lines, json_rows, json_totals, summarize
from surftrace.tracing.counting import Counts, read_counts
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
