"""Claiming an instance, over a tracing folder of plain files. What plain files cannot imitate, the live tests see."""

import errno
import fcntl
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from surftrace.tracing.instance import NAME_PATTERN, claimed_instance, remove_left_instance, sweep
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


@pytest.mark.parametrize(("name", "message"), [("kprobes", "is for everybody's probes"), ("sched", "exists")])
def test_a_group_of_others_is_not_taken(name: str, message: str, tracefs: FakeTracefs) -> None:
    (tracefs.root / "events" / name).mkdir(parents=True)
    tracefs.write("kprobe_events", "p:kprobes/theirs vfs_read", is_append=True)
    with pytest.raises(TracefsError, match=f"the event group {name} {message}"), claimed_instance(tracefs, name):
        pass
    assert _probes(tracefs) == ["p:kprobes/theirs vfs_read"]
    assert _instances(tracefs) == []


@pytest.mark.parametrize("name", ["kprobes", "uprobes", "synthetic", "probe"])
def test_a_group_for_everybody_is_never_taken(name: str, tracefs: FakeTracefs) -> None:
    """Nobody has a probe in it yet: that may change while a trace runs."""
    with pytest.raises(TracefsError, match="for everybody's probes"), claimed_instance(tracefs, name):
        pass
    _leave_behind(tracefs, name, f"p:{name}/theirs vfs_read")
    with pytest.raises(TracefsError, match="for everybody's probes"):
        remove_left_instance(tracefs, name)
    assert _instances(tracefs) == [name]
    assert _probes(tracefs) == [f"p:{name}/theirs vfs_read"]


@pytest.mark.parametrize("probes", [(), ("p:theirs/forks vfs_read",)])
def test_an_instance_that_exists_is_not_taken(probes: tuple[str, ...], tracefs: FakeTracefs) -> None:
    """A group of its name does not show whose it is."""
    _leave_behind(tracefs, "theirs", *probes)
    (tracefs.root / "instances/theirs/events/enable").write_text("1\n")
    with pytest.raises(TracefsError, match="the instance theirs exists") as caught, claimed_instance(tracefs, "theirs"):
        pass
    assert "surftrace clean theirs" in caught.value.hints[0]
    assert _instances(tracefs) == ["theirs"]
    assert (tracefs.root / "instances/theirs/events/enable").read_text() == "1\n"
    assert _probes(tracefs) == [*probes]


@pytest.mark.parametrize("probes", [(), ("p:mine/f0 vfs_read", "r:mine/f1 vfs_read")])
def test_a_named_instance_is_removed_by_its_name(probes: tuple[str, ...], tracefs: FakeTracefs) -> None:
    _leave_behind(tracefs, "mine", *probes)
    remove_left_instance(tracefs, "mine")
    assert _instances(tracefs) == []
    assert _probes(tracefs) == []
    with claimed_instance(tracefs, "mine"):
        assert _instances(tracefs) == ["mine"]


def test_probes_without_their_instance_are_removed_by_its_name(tracefs: FakeTracefs) -> None:
    """One that somebody has removed by hand. A group of the kernel's own is none of an instance's."""
    tracefs.write("kprobe_events", "p:mine/f0 vfs_read\np:sched/theirs vfs_read", is_append=True)
    for event in ("mine/f0", "sched/theirs", "sched/sched_switch"):
        (tracefs.root / "events" / event).mkdir(parents=True)
    remove_left_instance(tracefs, "mine")
    with pytest.raises(TracefsError, match="there is no instance sched"):
        remove_left_instance(tracefs, "sched")
    assert _probes(tracefs) == ["p:sched/theirs vfs_read"]
    assert _instances(tracefs) == []


# What `clean` and, for our own names, each start does.
_REMOVALS = (
    pytest.param("mine", lambda tracefs: remove_left_instance(tracefs, "mine"), id="by-name"),
    pytest.param("surftrace_sh", lambda tracefs: remove_left_instance(tracefs, "surftrace_sh"), id="a-shell's"),
    pytest.param("surftrace", lambda tracefs: _raise(sweep(tracefs).errors), id="swept"),
)


def _raise(errors: tuple[TracefsError, ...]) -> None:
    for error in errors:
        raise error


@pytest.mark.parametrize(("name", "remove"), _REMOVALS)
@pytest.mark.parametrize("trigger", [None, "hist:keys=pid:t0=common_timestamp\n"])
def test_nothing_of_what_is_in_use_is_touched(
    name: str, remove: Callable[[Tracefs], None], trigger: str | None, tracefs: FakeTracefs
) -> None:
    """A script of -o locks nothing; it reads its `trace_pipe`."""
    _leave_behind(tracefs, name, f"p:{name}/f0 vfs_read")
    folder = tracefs.root / "instances" / name
    if trigger is not None:
        (folder / f"events/{name}/f0").mkdir(parents=True)
        (folder / f"events/{name}/f0/trigger").write_text(trigger)
    (folder / "events/enable").write_text("1\n")
    with (folder / "tracing_on").open() as reader:
        with pytest.raises(TracefsError, match=f"somebody else uses a file of the instance {name}"):
            remove(tracefs)
        assert reader.read() == ""
        assert _instances(tracefs) == [name]
        assert _probes(tracefs) == [f"p:{name}/f0 vfs_read"]
        assert (folder / "events/enable").read_text() == "1\n"
        assert trigger is None or (folder / f"events/{name}/f0/trigger").read_text() == trigger
    remove(tracefs)
    assert _instances(tracefs) == []
    assert _probes(tracefs) == []


class _Killed(BaseException):
    """Stands for a kill."""


def _kill_after(writes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have nothing written after so many writes: there is nobody."""
    left = iter(range(writes))

    def counted(original: Callable[..., None]) -> Callable[..., None]:
        def call(*arguments: object) -> None:
            if next(left, None) is None:
                raise _Killed
            original(*arguments)

        return call

    for name in ("write", "make_folder", "remove_folder"):
        monkeypatch.setattr(FakeTracefs, name, counted(getattr(FakeTracefs, name)))


def test_a_removal_that_is_killed_is_done_again(tracefs: FakeTracefs) -> None:
    kills = 0
    for writes in range(8):
        _leave_behind(tracefs, "mine", "p:mine/f0 vfs_read", "p:mine/f1 vfs_read")
        with pytest.MonkeyPatch.context() as monkeypatch:
            _kill_after(writes, monkeypatch)
            with suppress(_Killed):
                remove_left_instance(tracefs, "mine")
                kills -= 1
            kills += 1
        with suppress(TracefsError):
            remove_left_instance(tracefs, "mine")
        assert (_instances(tracefs), _probes(tracefs)) == ([], []), writes
    assert kills > 4


def test_what_cannot_go_keeps_nothing_else(tracefs: FakeTracefs) -> None:
    _leave_behind(tracefs, "surftrace", "p:surftrace/f0 vfs_read")
    _leave_behind(tracefs, "surftrace_2", "p:surftrace_2/f0 vfs_read")
    with (tracefs.root / "instances/surftrace/tracing_on").open():
        swept = sweep(tracefs)
    assert swept.names == ("surftrace_2",)
    assert ["the instance surftrace" in error.message for error in swept.errors] == [True]
    assert _probes(tracefs) == ["p:surftrace/f0 vfs_read"]


# What the kernel says of what others remove in that moment: not found, or found and gone before it was opened.
@pytest.mark.parametrize("number", [errno.ENOENT, errno.ENODEV])
def test_what_others_have_removed_is_gone(number: int, tracefs: FakeTracefs, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(_tracefs: FakeTracefs, path: str, _text: str, _is_append: bool = False) -> None:
        raise TracefsError("gone", path=path, errno=number)

    with claimed_instance(tracefs) as instance:
        monkeypatch.setattr(FakeTracefs, "write", write)
        instance.stop_recording()
    assert _instances(tracefs) == []


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
