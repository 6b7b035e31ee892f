"""After a stall: a group that was active, silent for longer than its peers wait, and runs again.

Peers take over when nothing was heard for three adverts. If this node was active, was silent for
longer, and an advert of another router is among what waited in the socket, then it has been replaced,
whatever the priorities: it begins again as a backup, without a word (priority 0 would make third
nodes take over from the one that serves). So it does after a stall longer than its lease, for then
the kernel has taken the addresses away. It preempts later, if it may. A shorter stall that nobody
has used ends with the next advert, as the RFC has it.

What a late call does
    Receive before `TimePassed`: adverts that wait in the socket say more than the timer does.
    A backup that wakes an interval or more late listens for one more, and skew, before it takes over.
    An active router that wakes more than three intervals late may have been replaced, and its
    kernel lease may be over: it advertises, installs and announces again. Adverts then settle which
    role is right. A higher one ends its role; a lower one it answers at once and with an
    announcement (no more often than every second), since the link has learned another's MAC.
    An instant before the last one counts as that one, and time goes on from there.
"""

from haman.core.vrrp.group import Group, Tagged
from haman.core.vrrp.messages import Released, SendAdvertisement, Started
from haman.core.vrrp.packet import IPAddress
from haman.core.vrrp.timers import NS_PER_MS, NS_PER_S
from haman.core.words import Reason


def lost_by_stall(silence_ns: int, lease_ns: int, other: IPAddress | None) -> Reason | None:
    """Why an active group is active no more; None = it goes on.

    Args:
        silence_ns: since its last advert, more than three intervals.
        lease_ns: of its addresses in the kernel.
        other: who advertised meanwhile, priority 0 excepted; None = nobody did.
    """
    if other is None and silence_ns <= lease_ns:
        return None
    because = f"{other} is active now" if other else "the addresses' lease is over"
    text = f"was silent for {silence_ns / NS_PER_S:.1f} s; {because}"
    return Reason("stalled", text, {"silence_ms": silence_ns / NS_PER_MS})


def begin_again(group: Group, why: Reason, now_ns: int) -> tuple[Tagged, ...]:
    """Let go without a word, and contend anew."""
    outputs = group.step(None, Released((why,)), now_ns)
    quiet = tuple((key, o) for key, o in outputs if not isinstance(o, SendAdvertisement))
    return (*quiet, *group.step(None, Started(), now_ns))
