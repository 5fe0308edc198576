"""Claiming an instance, over a tracing folder of plain files. What plain files cannot imitate, the live tests see."""

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from surftrace.tracing.instance import NAME_PATTERN, claimed_instance
from surftrace.tracing.tracefs import Tracefs, TracefsError
from tests.unit.faketracing import FakeTracefs, make_tracing

_FOREIGN = "p:kprobes/mine vfs_read\nr4:other/f0 vfs_read\np:surftrace2/f0 vfs_read\np:my_surftrace/f0 vfs_read\n"


@pytest.fixture
def tracefs(tmp_path: Path) -> FakeTracefs:
    """A tracing folder with other people's probes."""
    return make_tracing(tmp_path / "tracing", _FOREIGN)


def _instances(tracefs: Tracefs) -> list[str]:
    return tracefs.folders("instances")


def _probes(tracefs: Tracefs) -> list[str]:
    """The probes, but for other people's, which must all be there."""
    text = tracefs.read("kprobe_events").decode()
    assert text.startswith(_FOREIGN)
    return text.removeprefix(_FOREIGN).splitlines()


def _deleted(tracefs: Tracefs) -> list[str]:
    return tracefs.read("deleted").decode().splitlines()


_HOLDER = """\
import fcntl, os, sys
descriptor = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECTORY)
fcntl.flock(descriptor, fcntl.LOCK_EX)
print("locked", flush=True)
sys.stdin.read()
"""


@contextmanager
def _held_by_another_process(folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    with subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"locked\n"
        try:
            yield holder
        finally:
            holder.kill()


def _leave_behind(tracefs: FakeTracefs, name: str, *probes: str) -> None:
    """What a killed session leaves: its instance and its probes."""
    tracefs.make_folder(f"instances/{name}")
    with (tracefs.root / "kprobe_events").open("a") as stream:
        stream.writelines(f"{probe}\n" for probe in probes)


def test_instance_is_made_and_removed(tracefs: FakeTracefs) -> None:
    with claimed_instance(tracefs) as instance:
        assert instance.name == "surftrace"
        assert instance.path == "instances/surftrace"
        assert _instances(tracefs) == ["surftrace"]
    assert _instances(tracefs) == []
    assert _probes(tracefs) == []


def test_instance_is_removed_after_an_error(tracefs: FakeTracefs) -> None:
    with pytest.raises(KeyError), claimed_instance(tracefs):
        raise KeyError
    assert _instances(tracefs) == []


def test_lock_is_held_as_long_as_the_instance(tracefs: FakeTracefs) -> None:
    with claimed_instance(tracefs) as instance:
        descriptor = os.open(tracefs.root / instance.path, os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(descriptor)


def test_no_descriptor_stays_open(tracefs: FakeTracefs) -> None:
    before = list(Path("/proc/self/fd").iterdir())
    _leave_behind(tracefs, "surftrace", "p:surftrace/f0 vfs_read")
    with claimed_instance(tracefs):
        pass
    tracefs.make_folder("instances/theirs")
    with pytest.raises(TracefsError), claimed_instance(tracefs, "theirs"):
        pass
    assert len(list(Path("/proc/self/fd").iterdir())) == len(before)


def test_lock_is_not_inherited(tracefs: FakeTracefs) -> None:
    with claimed_instance(tracefs) as instance:
        assert not os.get_inheritable(instance.lock)


def test_second_session_takes_the_next_name(tracefs: FakeTracefs) -> None:
    with claimed_instance(tracefs), claimed_instance(tracefs) as second, claimed_instance(tracefs) as third:
        assert (second.name, third.name) == ("surftrace_2", "surftrace_3")
    assert _instances(tracefs) == []


def test_what_another_process_holds_is_left_alone(tracefs: FakeTracefs) -> None:
    _leave_behind(tracefs, "surftrace", "p:surftrace/f0 vfs_read")
    with _held_by_another_process(tracefs.root / "instances/surftrace"), claimed_instance(tracefs) as instance:
        assert instance.name == "surftrace_2"
    assert _instances(tracefs) == ["surftrace"]
    assert _probes(tracefs) == ["p:surftrace/f0 vfs_read"]


def test_a_name_that_another_process_holds_is_refused(tracefs: FakeTracefs) -> None:
    _leave_behind(tracefs, "mine", "p:mine/f0 vfs_read")
    with (
        _held_by_another_process(tracefs.root / "instances/mine"),
        pytest.raises(TracefsError, match="the instance mine is in use") as caught,
        claimed_instance(tracefs, "mine"),
    ):
        pass
    assert "--instance" in caught.value.hints[0]
    assert _probes(tracefs) == ["p:mine/f0 vfs_read"]


def test_what_a_killed_session_left_is_cleaned(tracefs: FakeTracefs) -> None:
    _leave_behind(
        tracefs, "surftrace", "p:surftrace/f0 vfs_read", "r16:surftrace/f1 vfs_read", "p:surftrace/f2 a x=%di"
    )
    with _held_by_another_process(tracefs.root / "instances/surftrace") as holder:
        holder.kill()
        holder.wait()
        before = tracefs.inode("instances/surftrace")
        with claimed_instance(tracefs) as instance:
            assert instance.name == "surftrace"
            assert _probes(tracefs) == []
            assert _deleted(tracefs) == ["-:surftrace/f0", "-:surftrace/f1", "-:surftrace/f2"]
            assert os.fstat(instance.lock).st_ino == tracefs.inode("instances/surftrace")
    assert before is not None
    assert _instances(tracefs) == []


def test_what_was_left_under_any_of_our_names_goes(tracefs: FakeTracefs) -> None:
    _leave_behind(tracefs, "surftrace_2", "p:surftrace_2/f0 vfs_read")
    with claimed_instance(tracefs, "mine"):
        assert _instances(tracefs) == ["mine"]
        assert _probes(tracefs) == []


def test_what_a_shell_made_stays(tracefs: FakeTracefs) -> None:
    _leave_behind(tracefs, "surftrace_sh", "p:surftrace_sh/f0 vfs_read")
    with claimed_instance(tracefs):
        pass
    assert _instances(tracefs) == ["surftrace_sh"]
    assert _probes(tracefs) == ["p:surftrace_sh/f0 vfs_read"]


@pytest.mark.parametrize("name", ["kprobes", "sched"])
def test_a_group_of_others_is_not_taken(name: str, tracefs: FakeTracefs) -> None:
    (tracefs.root / "events" / name).mkdir(parents=True)
    tracefs.write("kprobe_events", "p:kprobes/theirs vfs_read", is_append=True)
    with pytest.raises(TracefsError, match=f"the event group {name} exists"), claimed_instance(tracefs, name):
        pass
    assert _probes(tracefs) == ["p:kprobes/theirs vfs_read"]
    assert _instances(tracefs) == []


def test_a_stale_instance_of_a_chosen_name_is_known_by_its_probes(tracefs: FakeTracefs) -> None:
    _leave_behind(tracefs, "mine", "p:mine/f0 vfs_read")
    with claimed_instance(tracefs, "mine") as instance:
        assert instance.name == "mine"
        assert _deleted(tracefs) == ["-:mine/f0"]


def test_an_instance_that_is_not_ours_is_left_alone(tracefs: FakeTracefs) -> None:
    tracefs.make_folder("instances/theirs")
    (tracefs.root / "instances/theirs/events/enable").write_text("1\n")
    with pytest.raises(TracefsError, match="theirs exists and is not surftrace's"), claimed_instance(tracefs, "theirs"):
        pass
    assert _instances(tracefs) == ["theirs"]
    assert (tracefs.root / "instances/theirs/events/enable").read_text() == "1\n"
    assert _probes(tracefs) == []


def test_probes_of_other_groups_are_left_alone(tracefs: FakeTracefs) -> None:
    with claimed_instance(tracefs) as instance:
        tracefs.write("kprobe_events", f"p:{instance.name}/f0 vfs_read", is_append=True)
    assert _probes(tracefs) == []
    assert _deleted(tracefs) == ["-:surftrace/f0"]


# (id, name of the instance, lines of kprobe_events, those that go)
_GROUPS: tuple[tuple[str, str, list[str], list[str]], ...] = (
    ("plain", "a", ["p:a/f0 x", "r:a/f1 x"], ["-:a/f0", "-:a/f1"]),
    ("maximum", "a", ["r128:a/f0 x"], ["-:a/f0"]),
    ("longer-name", "a", ["p:ab/f0 x", "p:b/a x", "p:ba/f0 x", "p:A/f0 x"], []),
    ("place-looks-like-a-group", "a", ["p:b/f0 a/f0", "p:b/f1 x a=+0(%di):u64"], []),
    (
        "underscore",
        "surftrace_2",
        ["p:surftrace/f0 x", "p:surftrace_2/f0 x", "p:surftrace_21/f0 x"],
        ["-:surftrace_2/f0"],
    ),
)


@pytest.mark.parametrize(("name", "probes", "gone"), [pytest.param(*rest, id=name) for name, *rest in _GROUPS])
def test_only_the_instances_group_is_deleted(name: str, probes: list[str], gone: list[str], tmp_path: Path) -> None:
    tracefs = make_tracing(tmp_path / "tracing")
    with claimed_instance(tracefs, name):
        (tracefs.root / "kprobe_events").write_text("".join(f"{probe}\n" for probe in probes))
    assert _deleted(tracefs) == gone
    assert len(tracefs.read("kprobe_events").decode().splitlines()) == len(probes) - len(gone)


def test_events_are_disabled_before_probes_go(tracefs: FakeTracefs) -> None:
    with claimed_instance(tracefs) as instance:
        enable = tracefs.root / instance.path / "events/enable"
        enable.write_text("1\n")
        tracefs.write("kprobe_events", "p:surftrace/f0 vfs_read", is_append=True)
        kept = tracefs.root.parent / "kept"
        os.link(enable, kept)
    assert kept.read_text() == "0\n"


def test_no_access_is_told_with_what_to_do(tmp_path: Path) -> None:
    tracefs = FakeTracefs(tmp_path / "nothing")
    with pytest.raises(TracefsError, match=r"cannot list .*nothing/instances"), claimed_instance(tracefs):
        pass


@pytest.mark.parametrize("name", ["a", "_", "A9_", "x" * 63])
def test_names_that_every_kernel_takes(name: str) -> None:
    assert NAME_PATTERN.fullmatch(name)


@pytest.mark.parametrize("name", ["", "9a", "a-b", "a.b", "a/b", "..", "a b", "a\n", "é", "a\u0661", "x" * 64, "$(a)"])
def test_names_that_some_kernel_refuses(name: str) -> None:
    assert not NAME_PATTERN.fullmatch(name)
