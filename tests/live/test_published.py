"""The published expressions of the language, each accepted by the kernels that have its function."""

import pytest

from tests.kernel.guest import Guest
from tests.live.helpers import LAST_ECHO

pytestmark = pytest.mark.kernels("5.10", "6.12")

_EXPRESSIONS = (
    "p wake_up_new_task",
    "r wake_up_new_task",
    "p do_filp_open dfd=%0",
    "p do_filp_open dfd=X%0",
    "p wake_up_new_task comm=%0->comm",
    "p wake_up_new_task users=S%0->mm->mm_users",
    "p wake_up_new_task node=%0->se.run_node.rb_left",
    'p wake_up_new_task comm=%0->comm f:comm=="python3"',
    "r do_filp_open filp=$retval",
    "r do_filp_open pos=$retval->f_pos",
    "e sched/sched_stat_wait f:delay>1000000",
    "p wake_up_new_task point=@task_group_cache",
    "p wake_up_new_task name=!(struct kmem_cache*)@task_group_cache->name "
    "size=!(struct kmem_cache*)@task_group_cache->size",
    "p __dev_queue_xmit proto=@(struct iphdr *)l2%0->protocol ip_dst=@(struct iphdr *)l2%0->daddr "
    "f:proto==1&&ip_dst==192.168.1.3",
    "p __netif_receive_skb_core proto=@(struct iphdr *)l3%0->protocol ip_src=@(struct iphdr *)%0->saddr "
    "ip_dst=@(struct iphdr *)l3%0->daddr data=X@(struct iphdr *)l3%0->sdata[1] f:proto==1&&ip_src==127.0.0.1",
    "p tcp_rcv_established aseq=@(struct tcphdr*)l4%0->ack_seq",
    "p ip_local_deliver len=@(struct iphdr*)%0->ihl",
)


def test_published_expressions(guest: Guest) -> None:
    """All in one session: each is a probe of its own."""
    known = guest.read("/proc/kallsyms")
    expressions = [text for text in _EXPRESSIONS if text[0] == "e" or f" {text.split()[1]}\n" in known]
    assert len(expressions) >= len(_EXPRESSIONS) - 1  # __netif_receive_skb_core is cloned by some compilers
    result = guest.run(["surftrace", "-t", "1", *expressions], preloaded=True)
    assert result.status == 0, result.stderr


def test_places_inside_a_function(guest: Guest) -> None:
    """The offset, registers with and without casts, and an address of this very kernel."""
    symbols = guest.read("/proc/kallsyms")
    jiffies = next(line.split()[0] for line in symbols.splitlines() if line.endswith(" jiffies"))
    # The place where a call returns to is the start of an instruction: the kernel names one itself.
    shown = guest.run(["surftrace", "-c", "1", "r do_filp_open"], preloaded=True).expect().stdout
    place = shown.rpartition(": (")[2].partition("/")[0]
    function, _, offset = place.partition("+")
    for spelled in (offset, str(int(offset, 16))):
        expression = (
            f"p {function}+{spelled} filp=X!(u64)%ax pos=X!(struct file*)%ax->f_pos pfun=%bx "
            f"word=@0x{jiffies} name=%ax f:filp!=0"
        )
        result = guest.run(["surftrace", "-c", "1", expression], preloaded=True).expect()
        assert f"({function}+{offset}/" in result.stdout.partition(LAST_ECHO)[2]
        assert "filp=0x" in result.stdout
