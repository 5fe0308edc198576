"""What a trace did not see is told, and the number is right: what was shown and what was lost is all that happened."""

import re
import signal

import pytest

from tests.kernel.guest import Guest
from tests.live.helpers import event_lines, running, tracefs_state

pytestmark = pytest.mark.kernels("5.10", "6.1", "newest")

_CALLS = 20_000
# Nothing else asks for this.
_ASK = f"import os\nfor _ in range({_CALLS}): os.getpriority(0, 0)"


@pytest.mark.parametrize("overwrite", ["--overwrite", "--no-overwrite"])
def test_lost_and_shown_are_all(guest: Guest, overwrite: str) -> None:
    before = tracefs_state(guest)
    with running(guest, "--strict", "--buffer-size", "8K", overwrite, "p __x64_sys_getpriority") as trace:
        guest.run(["python3", "-c", _ASK]).expect()
        trace.signal(signal.SIGINT)
        result = trace.wait()
    assert result.status == 3
    told = re.search(r"warning: (\d+) events lost, (.*): the buffer was full\n", result.stderr)
    assert told is not None
    lost = int(told[1])
    assert lost == sum(int(count) for count in re.findall(r"(\d+) on CPU \d+", told[2]))
    assert lost > 0
    assert len(event_lines(result.stdout)) + lost == _CALLS
    assert tracefs_state(guest) == before


def test_nothing_lost_says_nothing(guest: Guest) -> None:
    with running(guest, "--strict", "--buffer-size", "8M", "p __x64_sys_getpriority") as trace:
        guest.run(["python3", "-c", "import os; os.getpriority(0, 0)"]).expect()
        trace.signal(signal.SIGINT)
        result = trace.wait()
    assert (result.status, result.stderr) == (130, "")
    assert len(event_lines(result.stdout)) == 1


def test_what_there_was_no_time_to_read(guest: Guest) -> None:
    with running(guest, "--strict", "--max-rate", "0", "--buffer-size", "16M", "p __x64_sys_getpriority") as trace:
        trace.signal(signal.SIGSTOP)
        guest.run(["python3", "-c", _ASK.replace(str(_CALLS), str(10 * _CALLS))]).expect()
        trace.signal(signal.SIGINT)
        trace.signal(signal.SIGCONT)
        result = trace.wait()
    assert result.status == 3
    told = re.search(r"warning: (\d+) events not shown: there was no time for them at the end\n", result.stderr)
    assert told is not None
    assert len(event_lines(result.stdout)) + int(told[1]) == 10 * _CALLS
