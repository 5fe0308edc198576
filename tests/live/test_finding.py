"""`surftrace list` and `surftrace show` on running kernels, held against what the kernel's own files say."""

import re

import pytest

from tests.kernel.guest import Guest


def _run(guest: Guest, *words: str) -> list[str]:
    result = guest.run(["surftrace", *words], preloaded=True, timeout_s=120).expect()
    assert result.stderr == ""
    return result.stdout.splitlines()


def _text(guest: Guest, path: str) -> str:
    return guest.run(["cat", path]).expect().stdout


def test_events_are_those_of_the_kernel(guest: Guest) -> None:
    listed = _run(guest, "list", "sched:*", "tcp/*")
    available = _text(guest, "/sys/kernel/tracing/available_events").split()
    expected = sorted(each.replace(":", "/", 1) for each in available if each.startswith(("sched:", "tcp:")))
    assert [line.partition("(")[0] for line in listed] == expected
    switch = next(line for line in listed if line.startswith("sched/sched_switch("))
    assert "(char prev_comm[16], pid_t prev_pid, int prev_prio, long prev_state, " in switch


def test_fields_of_an_event_are_those_of_its_format(guest: Guest) -> None:
    title, *rows = _run(guest, "show", "sched/sched_switch")
    assert title == "sched/sched_switch"
    text = _text(guest, "/sys/kernel/tracing/events/sched/sched_switch/format")
    own = re.findall(r"field:(?!unsigned short common|unsigned char common|int common)(.*?);.*?size:(\d+);", text)
    shown = [re.split(r"  +", row.strip())[:2] for row in rows]
    assert shown == [[declaration, f"{size} bytes"] for declaration, size in own]


def test_what_takes_no_probe_is_marked(guest: Guest) -> None:
    """By the kernel's two lists: what it lets itself trace, and what kprobes need themselves."""
    traceable = {
        line.split()[0] for line in _text(guest, "/sys/kernel/tracing/available_filter_functions").splitlines()
    }
    blacklist = set(re.findall(r"\t(\S+)", _text(guest, "/sys/kernel/debug/kprobes/blacklist")))
    marked: dict[str, set[str]] = {"": set(), "blacklist": set(), "not traceable": set(), "no symbol": set()}
    for line in _run(guest, "list", "--functions", "do_*", "x86_*", "notify_*"):
        note = re.search(r"\[no probe: (.*)\]$", line)
        name = re.search(r"(?<![\w.])([\w.]+)\(", line)
        assert name is not None, line
        marked[note[1] if note is not None else ""].add(name[1])
    assert marked["blacklist"] == {name for name in set().union(*marked.values()) if name in blacklist}
    assert len(marked[""]) > 50
    of_clones = {name.partition(".")[0] for name in traceable}
    assert marked[""] <= traceable | of_clones
    assert marked["not traceable"]
    assert not marked["not traceable"] & traceable


def test_why_a_function_takes_no_probe(guest: Guest) -> None:
    """notify_die() is NOKPROBE_SYMBOL in all kernels; see Linux kernel/notifier.c."""
    assert (
        _run(guest, "show", "notify_die")[-1]
        == "  no probe: it is on the kernel's blacklist, as kprobes themselves need it"
    )
    assert _run(guest, "show", "ip_rcv")[-1] == "  probe: p ip_rcv, r ip_rcv"


@pytest.mark.kernels("6.1", "6.12")
def test_a_module_that_is_loaded(guest: Guest) -> None:
    guest.run(["modprobe", "sch_htb"]).expect()
    try:
        listed = _run(guest, "list", "sch_htb:*enqueue*")
        shown = _run(guest, "show", "htb_enqueue")
        layout = _run(guest, "show", "struct htb_sched")
    finally:
        guest.run(["rmmod", "sch_htb"]).expect()
    signature = "int htb_enqueue(struct sk_buff *skb, struct Qdisc *sch, struct sk_buff **to_free)  [sch_htb]"
    assert listed == [signature]
    assert (shown[0], shown[-1]) == (signature, "  probe: p sch_htb:htb_enqueue, r sch_htb:htb_enqueue")
    assert layout[0] == "struct htb_sched {"


@pytest.mark.kernels("newest")
def test_who_may_not_read_tracefs_is_told_less(guest: Guest) -> None:
    """Without tracefs, types alone tell of events, and nothing tells what takes a probe."""
    command = ["setpriv", "--reuid=65534", "--clear-groups", "surftrace"]
    listed = guest.run([*command, "list", "sched_switch"], timeout_s=60).expect().stdout
    assert listed.startswith("?/sched_switch(char prev_comm[16], ")
    shown = guest.run([*command, "show", "ip_rcv"], timeout_s=60).expect().stdout
    assert (
        shown.splitlines()[-1]
        == "  probe: p ip_rcv, r ip_rcv (not checked: a running kernel's tracefs lists what takes one)"
    )
