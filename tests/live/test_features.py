"""What each real kernel says that it can do, against what it takes when it is tried."""

import json

import pytest

from surftrace.kernel.features import Feature, exact_release, features_of_release
from tests.kernel.guest import Guest
from tests.live.helpers import tracefs_state

_ASK = """
import json
from surftrace.tracing.running import RunningKernel
from surftrace.tracing.tracefs import find_tracefs
kernel = RunningKernel(find_tracefs())
features, traceable = kernel.features(), kernel.traceable()
print(json.dumps([features.kernel, [f.name for f in features.present], sorted(traceable)]))
"""

# A definition that needs a feature, and the file that takes it. `GROUP/EVENT` stands for the event's name.
_DEFINITIONS: dict[Feature, tuple[str, str]] = {
    Feature.ARGUMENT_N: ("kprobe_events", "p:GROUP/EVENT vfs_read a=$arg1"),
    Feature.ARRAY: ("kprobe_events", "p:GROUP/EVENT vfs_read a=+0($stack):u8[4]"),
    Feature.SYMBOL: ("kprobe_events", "p:GROUP/EVENT vfs_read a=%ip:symbol"),
    Feature.DYNAMIC_EVENTS: ("dynamic_events", "p:GROUP/EVENT vfs_read"),
    Feature.USTRING: ("kprobe_events", "p:GROUP/EVENT vfs_read a=+0(%si):ustring"),
    Feature.USER_MEMORY: ("kprobe_events", "p:GROUP/EVENT vfs_read a=+u0(%si)"),
    Feature.IMMEDIATE: ("kprobe_events", "p:GROUP/EVENT vfs_read a=\\1"),
    Feature.RETURN_TARGET: ("kprobe_events", "p:GROUP/EVENT vfs_read%return"),
    Feature.EPROBE: ("dynamic_events", "e:GROUP/EVENT sched.sched_switch a=$prev_pid"),
    Feature.CHAR: ("kprobe_events", "p:GROUP/EVENT vfs_read a=%di:char"),
    Feature.FPROBE: ("dynamic_events", "f:GROUP/EVENT vfs_read"),
    Feature.TPROBE: ("dynamic_events", "t:GROUP/EVENT sched_switch"),
    Feature.ARGUMENTS_ALL: ("kprobe_events", "p:GROUP/EVENT vfs_read $arg*"),
    Feature.BTF_ARGUMENT: ("kprobe_events", "p:GROUP/EVENT vfs_read a=count"),
    Feature.RETURN_ARGUMENT: ("kprobe_events", "r:GROUP/EVENT vfs_read a=$arg3"),
    Feature.DENTRY_NAME: ("kprobe_events", "p:GROUP/EVENT vfs_read a=$arg1:%pD"),
}
# A filter or a trigger that needs a feature, the file that takes it, and what undoes it.
_CONDITIONS: dict[Feature, tuple[str, str, str]] = {
    Feature.USTRING_FILTER: ("events/syscalls/sys_enter_openat/filter", 'filename.ustring ~ "x*"', "0"),
    Feature.FUNCTION_FILTER: ("events/workqueue/workqueue_execute_start/filter", "function.function == schedule", "0"),
    Feature.CPUS_FILTER: ("events/sched/sched_migrate_task/filter", "dest_cpu & CPUS{0}", "0"),
    Feature.HIST_TRIGGER: ("events/sched/sched_process_exit/trigger", "hist:keys=pid", "!hist:keys=pid"),
    Feature.HIST_BUCKETS: (
        "events/sched/sched_process_exit/trigger",
        "hist:keys=pid.buckets=4",
        "!hist:keys=pid.buckets=4",
    ),
    Feature.SYNTHETIC_EVENT: ("synthetic_events", "feature_trial u64 a; u64 b", "!feature_trial"),
    Feature.SYNTHETIC_STRING: ("synthetic_events", "feature_trial u64 a; char b[]", "!feature_trial"),
}
# Every read faults: nothing is where it reads. `kprobe_profile` says what the probe saw and what it missed.
_MISSES = """
echo 'p:feature_trial/misses vfs_read a=@0x10' >> kprobe_events
echo 1 > events/feature_trial/misses/enable
cat kprobe_events > /dev/null
awk '$1 == "misses" && $2 > 0 && $3 == 0 {print "EXACT_MISSES"}' kprobe_profile
echo 0 > events/feature_trial/misses/enable
echo '-:feature_trial/misses' >> kprobe_events
"""
# Only with it has an instance a task's own stack behind an event.
_USER_STACKS = """
mkdir instances/feature_trial
(
    cd instances/feature_trial || exit
    echo 1 > options/userstacktrace
    echo 1 > events/sched/sched_process_fork/enable
    busybox true
    echo 0 > events/sched/sched_process_fork/enable
    grep -q 'user stack trace' trace && echo USER_STACK
)
rmdir instances/feature_trial
"""


def _trial() -> str:
    """A script that tries each feature, undoes it, and prints the names of those that the kernel takes."""
    lines = ["cd /sys/kernel/tracing || exit 1", "exec 2> /dev/null"]
    for feature, (file, text) in _DEFINITIONS.items():
        event = f"feature_trial/{feature.name.lower()}"
        definition = text.replace("GROUP/EVENT", event)
        lines.append(f"if echo '{definition}' >> {file}; then echo {feature.name}; echo '-:{event}' >> {file}; fi")
    for feature, (file, text, undo) in _CONDITIONS.items():
        # A filter that is refused leaves its text and the reason in the file: `0` takes these away too.
        lines.append(f"if echo '{text}' > {file}; then echo {feature.name}; fi; echo '{undo}' > {file}")
    return "\n".join([*lines, _MISSES, _USER_STACKS, "test -e error_log && echo ERROR_LOG; true"])


def test_features_are_what_the_kernel_takes(guest: Guest) -> None:
    before = tracefs_state(guest)
    kernel, told, _ = json.loads(guest.run(["python3", "-c", _ASK]).expect().stdout)
    taken = guest.run(["bash", "-c", _trial()]).expect().stdout.split()
    others = {Feature.ERROR_LOG, Feature.EXACT_MISSES, Feature.USER_STACK}
    assert {*_DEFINITIONS, *_CONDITIONS, *others} == set(Feature)
    assert sorted(told) == sorted(taken)
    assert kernel == "this kernel"
    assert tracefs_state(guest) == before


def test_features_are_those_of_the_release(guest: Guest) -> None:
    _, told, _ = json.loads(guest.run(["python3", "-c", _ASK]).expect().stdout)
    release = exact_release(
        *(guest.run(["uname", option]).expect().stdout.strip() for option in ("--kernel-release", "--kernel-version"))
    )
    # Debian's 5.10 cloud kernel is built without CONFIG_HIST_TRIGGERS.
    has_histograms = guest.run(["test", "-e", "/sys/kernel/tracing/events/sched/sched_switch/hist"]).status == 0
    needing = {Feature.HIST_TRIGGER, Feature.SYNTHETIC_EVENT, Feature.SYNTHETIC_STRING}
    without = set() if has_histograms else needing
    assert {Feature[name] for name in told} == features_of_release(release).present - without


@pytest.mark.kernels("5.10", "6.12")
def test_features_without_access_to_tracefs(guest: Guest) -> None:
    script = _ASK.replace("RunningKernel(find_tracefs())", "RunningKernel(None)").replace("sorted(traceable)", "0")
    kernel, told, _ = json.loads(guest.run(["python3", "-c", script]).expect().stdout)
    assert kernel == "this kernel"
    assert ("EPROBE" in told, "USTRING_FILTER" in told) == (guest.image.name != "5.10", True)


def test_traceable_functions(guest: Guest) -> None:
    guest.run(["modprobe", "dummy"]).expect()
    *_, names = json.loads(guest.run(["python3", "-c", _ASK]).expect().stdout)
    guest.run(["rmmod", "dummy"]).expect()
    assert {"vfs_read", "dummy_xmit"} <= set(names)
    assert "kprobe_dispatcher" not in names  # notrace
    assert not [name for name in names if any(letter.isspace() or letter == "[" for letter in name)]
