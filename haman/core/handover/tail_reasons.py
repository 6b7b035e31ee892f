"""Why a node has a tail of its own, or waits for one, or for another one's; and why it ends."""

from haman.core.handover.messages import NS_PER_S
from haman.core.handover.steering import TAIL
from haman.core.words import Reason

SERVED = Reason("served", "every connection was served to its end")
SETTLED = Reason("settled", "routers send every connection to the node that knows it")
BROKEN = Reason("broken", "the proxy or the agent ended here")
UNCOVERED = Reason("tail-timeout", "it took too long, or the tail that it was covered by ended")


def asked(service: str) -> Reason:
    """Why a node keeps its rung until the others are ready."""
    text = f"{service} stays as it is until the others steer its connections here"
    return Reason("steering-awaited", text)


def served_on(service: str, line: tuple[str, ...], tail_ns: int, *, drains: bool) -> Reason:
    """Why a node has a tail, and how long at most."""
    who, tail_s = " and ".join(line) or "others", tail_ns / NS_PER_S
    if drains:
        text = f"serves its connections of {service} to their end"
    else:
        text = f"hands connections of {service} that routers moved to who knows them"
    text += f", at most {tail_s:g} s: steered here by {who}"
    return Reason(TAIL, text, {"tail_s": tail_s})


def awaited(service: str, *, whose: str) -> Reason:
    """Why a node waits for another one's tail."""
    text = f"{service} stays as it is until the tail of {whose} is over, or goes on for this node"
    return Reason("tail-awaited", text, {"node": whose})


def covered(service: str, *, whose: str, drains: bool) -> Reason:
    """Why a node has none of its own."""
    text = f"connections of {service} that routers move are carried by the tail of {whose}"
    if drains:
        text = f"its connections of {service} are served to their end in the tail of {whose}"
    return Reason(TAIL, text, {"node": whose})


def no_tail(service: str, *why: Reason) -> Reason:
    """Why it has none."""
    told = "; ".join(reason.text for reason in why)
    text = f"established connections of {service} are not kept: {told}"
    return Reason("no-tail", text, {"code": why[0].code if why else ""})


def endless(service: str, *, whose: str) -> Reason:
    """Why a node waits no more for another one's tail, and has none."""
    return no_tail(service, Reason("tail-awaited", f"the tail of {whose} does not end"))


def timed_out(left: int | None, tail_ns: int) -> Reason:
    """Why a tail is over, though connections are left."""
    count = "an unknown number of" if left is None else str(left)
    return Reason("tail-timeout", f"{count} connections were left after {tail_ns / NS_PER_S:g} s")


def passed_on(heir: str) -> Reason:
    """Why a drained node's tail is over here; "" = nobody has it."""
    return Reason("passed-on", f"{heir or 'nobody'} goes on with it")
