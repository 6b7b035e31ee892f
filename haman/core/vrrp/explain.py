"""Why a virtual router changed its role, in words and numbers: what operators read later."""

from haman.core.vrrp.messages import OWNER_PRIORITY, HolderReported, VirtualRouterConfig
from haman.core.vrrp.packet import IPAddress
from haman.core.vrrp.timers import ADVERTS_MISSED, NS_PER_MS, span
from haman.core.words import Reason

ONE_WAY_LOSS, PREEMPTING = "one-way-loss", "preempting"
FREE = Reason("peer-released", "a peer said that the address is free")

RELEASED = Reason("released", "told not to contend")
SHUTDOWN = Reason("shutdown", "the engine is ending")


def owner() -> Reason:
    """Active from the start."""
    return Reason("address-owner", "owns the addresses (priority 255): active from the start")


def contending(priority: int, down_ns: int) -> Reason:
    """A backup from now on."""
    return Reason(
        "contending",
        f"contends with priority {priority}; listens for {span(down_ns)} first",
        {"priority": priority, "down_ms": down_ns / NS_PER_MS},
    )


def silent(
    router: IPAddress | None, silence_ns: int, priority: int, interval_ns: int, skew_ns: int
) -> Reason:
    """The Active_Down timer ran out without an advert of `router`, or of anybody (None)."""
    who = f" from {router}" if router else ""
    return Reason(
        "active-router-down" if router else "no-active-router",
        f"no advertisement{who} for {span(silence_ns)} "
        f"({ADVERTS_MISSED} × {span(interval_ns)} + skew {span(skew_ns)})",
        {
            "router": str(router or ""),
            "silence_ms": silence_ns / NS_PER_MS,
            "interval_ms": interval_ns / NS_PER_MS,
            "skew_ms": skew_ns / NS_PER_MS,
            "priority": priority,
        },
    )


def preempting(router: IPAddress, theirs: int, ours: int) -> Reason:
    """Only lower priorities were heard, and preemption is on."""
    return Reason(
        PREEMPTING,
        f"priority {ours} is above {theirs} of {router}",
        {"router": str(router), "priority": theirs, "own_priority": ours},
    )


def let_go(router: IPAddress, waited_ns: int | None, priority: int) -> Reason:
    """Priority 0 came in, and nobody was quicker; None = nobody was waited for, its addresses are off."""
    if waited_ns is None:
        waited_ns, then = 0, "its addresses are off"
    else:
        then = f"nobody else took over within {span(waited_ns)}"
    return Reason(
        "released-by-peer",
        f"{router} let go (priority 0), and {then}",
        {"router": str(router), "waited_ms": waited_ns / NS_PER_MS, "priority": priority},
    )


def why_yield(config: VirtualRouterConfig, theirs: int, source: IPAddress) -> Reason | None:
    """Why an active router yields to an advert; None = it does not. The owner never does (erratum)."""
    ours = config.priority
    if ours == OWNER_PRIORITY or theirs < ours:
        return None
    if theirs > ours:
        return outranked(source, theirs, ours)
    is_greater = int(source) > int(config.source)
    return tie_lost(source, config.source, ours) if is_greater else None


def why_unheard(config: VirtualRouterConfig, said: HolderReported) -> Reason | None:
    """Why an active router yields to a report: as to an advert, if that one hears it, and no move is on."""
    router, word, ours = said.source, said.word, config.priority
    if not word.hears_us or router in (config.takes_from, config.yields_to):
        return None
    if why_yield(config, word.priority, router) is None:
        return None
    return Reason(
        ONE_WAY_LOSS,
        f"{word.node} ({router}, priority {word.priority}) is active and hears this node"
        f" (priority {ours}), by its own report: its adverts are lost on their way here",
        {
            "node": word.node,
            "router": str(router),
            "priority": word.priority,
            "own_priority": ours,
        },
    )


def heard_again(router: IPAddress) -> Reason:
    """Adverts arrive, and reports need not stand in for them any more."""
    return Reason("adverts-heard", f"adverts of {router} arrive again", {"router": str(router)})


def report_over(router: IPAddress, stands_ns: int, priority: int) -> Reason:
    """The report that stood in for the adverts of `router` is too old."""
    text = f"neither adverts of {router} nor a report that it is active for {span(stands_ns)}"
    return Reason("active-router-down", text, {"router": str(router), "priority": priority})


def handed_over(taker: IPAddress) -> Reason:
    """The taker of a planned move is heard."""
    text = f"{taker} has taken over, as planned"
    return Reason("handed-over", text, {"router": str(taker)})


def outranked(router: IPAddress, theirs: int, ours: int) -> Reason:
    """An active router hears a higher priority."""
    return Reason(
        "higher-priority",
        f"priority {ours} is below {theirs} of {router}",
        {"router": str(router), "priority": theirs, "own_priority": ours},
    )


def tie_lost(router: IPAddress, source: IPAddress, priority: int) -> Reason:
    """An active router hears its own priority from a greater address."""
    return Reason(
        "greater-address",
        f"{router} has priority {priority} too, and its address is above {source}",
        {"router": str(router), "priority": priority},
    )


def follows(group: str, member: str, what: str, why: Reason | None) -> Reason:
    """Another member of the group moved, and so this one does."""
    because = f": {why.text}" if why else ""
    return Reason(
        "group-follows",
        f"group {group}: {member} {what}{because}",
        {"group": group, "member": member, "code": why.code if why else ""},
    )
