"""The reasons of stances, in words and numbers: what operators read later."""

from collections.abc import Sequence

from haman.core.words import Condition, Reason, Role, Utilization, percent

LAST_RESORT_PRIORITY = 1

NOT_SERVING = {
    Condition.FAULT: Reason("fault", "the local proxy does not serve"),
    Condition.STARTING: Reason("starting", "the local proxy is not yet known to be healthy"),
}
DRAINED = Reason("drained", "drained by the operator; ends with `haman undrain`")
ISOLATED = Reason(
    "isolated", "no peer is heard on any path; VRRP and the routers alone decide who serves"
)
STALE = Reason("stale", "measurements are late; the present stance is kept")
PAUSED = Reason("paused", "automatic moves are paused by the operator; only a fault moves a VIP")
ENDING = Reason("ending", "the agent is ending: routers are asked to go elsewhere first")
LEAVING = Reason("ending", "the agent is ending: its VIPs are left to the others")
RELAY_AWAITED = Reason(
    "relay-awaited",
    "the relay was not reached yet: what ExaBGP announces is not known, and nothing is changed",
)
TAIL_AWAITED = Reason("tail-awaited", "goes on as soon as the others have let go of its last tail")
ADDRESSES_AWAITED = Reason(
    "addresses-awaited",
    "goes on as soon as the engine says that the kernel has all of the service's addresses",
)

PEERS_AWAITED = Reason(
    "peers-awaited",
    "this agent has just started, and goes on as soon as its peers have answered, or had the time to",
)

ENGINE_SILENT = Reason(
    "engine-silent", "the engine has stopped reporting, and the leases of its addresses end"
)


def cut_off(lost: Reason, heir: str | None) -> Reason:
    """Let go by a node that its gateway does not answer."""
    why = f"{heir} can serve" if heir else "no peer is heard either: this node is cut off"
    return Reason("cut-off", f"{lost.text}, and {why}", lost.data)


def gateway_down(vip: str, lost: Reason) -> Reason:
    """Keeps what a peer could not serve any better."""
    text = f"{lost.text}, but no peer that is heard could serve {vip} any better: it is kept"
    return Reason("gateway-down", text, lost.data)


def two_of_a_name(node: str, address: str) -> Reason:
    """Another node sends under this node's name."""
    text = (
        f"two nodes are named {node}: {address} sends signed reports under this name; nothing moves"
        " by permit until one of them has another name"
    )
    return Reason("two-of-a-name", text, {"node": node, "address": address})


def last_resort(vip: str, condition: Condition) -> Reason:
    """Serves although it should not, for nobody else can."""
    why = "held down after flapping" if condition is Condition.FAULT else "drained"
    return Reason(
        "last-resort",
        f"{why}, but no other node can serve {vip}: contends at priority {LAST_RESORT_PRIORITY}",
        {"priority": LAST_RESORT_PRIORITY},
    )


def failover(vip: str, to: str) -> Reason:
    """Lets go for `to`, "" = whoever takes it: a move that was ordered, and could not be a handover."""
    return Reason("failover", f"the operator moves {vip} to {to or 'a peer'}")


def yielded(vip: str) -> Reason:
    """Does not preempt after a failover, the operator's or one by permit."""
    return Reason("yielded", f"{vip} was moved away: it is not taken back by preemption")


def placed(vip: str, away_from: str) -> Reason:
    """Does not preempt what was moved from one peer to another, on purpose."""
    text = f"{vip} was moved away from {away_from}; not taken by preemption"
    return Reason("placed", text, {"node": away_from})


def saturated_holding(
    vip: str, resources: tuple[Utilization, ...], role: Role | None, holding: Reason | None = None
) -> Reason:
    """Saturated; `role` of this node decides what it does about it.

    Args:
        vip: its name.
        resources: of this node.
        role: of this node, to the VIP.
        holding: why no load may be moved, by `permits`.
    """
    act = f"keeps {vip}" if role is Role.ACTIVE else f"does not preempt for {vip}"
    return _saturated(act, resources, holding)


def saturated_rung(
    service: str, resources: tuple[Utilization, ...], holding: Reason | None = None
) -> Reason:
    """Saturated, and the ladder of an anycast service stays where it is."""
    return _saturated(f"asks for no more of {service}", resources, holding)


def _saturated(act: str, resources: tuple[Utilization, ...], holding: Reason | None) -> Reason:
    known = [r for r in resources if r.utilization is not None]
    binding = max(known, key=lambda r: r.utilization or 0.0, default=None)
    why = holding.text if holding is not None else "no permit was asked for yet"
    code: dict[str, int | float | str] = {} if holding is None else {"code": holding.code}
    if binding is None or binding.utilization is None or binding.used is None:
        return Reason("saturated-holding", f"saturated; {act}; {why}", code)
    used = f"{binding.used:.4g} of {binding.ceiling:.4g} {binding.unit}"
    return Reason(
        "saturated-holding",
        f"{binding.name} at {percent(binding.utilization)} of its ceiling ({used}); {act}; {why}",
        {"resource": binding.name, "utilization": round(binding.utilization, 2), **code},
    )


def isolated_rung(service: str) -> Reason:
    """Who else serves an anycast service is not known."""
    text = (
        f"no peer is heard on any path: who else serves {service} is not known, its stance is kept"
    )
    return Reason("isolated", text)


def paused_rung(service: str) -> Reason:
    """The operator wants nothing to move."""
    text = (
        f"automatic moves are paused by the operator: {service} is kept as it is, but for a fault"
    )
    return Reason("paused", text)


def addresses_missing(service: str, engine: tuple[Reason, ...]) -> Reason:
    """What arrives for the service would be lost."""
    why = engine[0].text if engine else "the kernel does not have all of its addresses"
    code = engine[0].code if engine else ""
    return Reason("addresses-missing", f"{service} cannot be announced: {why}", {"code": code})


def shut_before_withdrawal(service: str, servers: tuple[str, ...], drain_s: float) -> Reason:
    """On the way out, in order."""
    others = listed(servers)
    text = f"{service} is left to {others}: withdrawn once it was shut for {drain_s:g} s"
    return Reason("shut-before-withdrawal", text, {"drain_s": drain_s, "servers": others})


def last_announcer(service: str, *, drained: bool) -> Reason:
    """Announced although this node should not serve, for nobody else does."""
    why = "drained" if drained else "held down after flapping"
    text = f"{why}, but no other node that is heard serves {service}: announced as shut"
    return Reason("last-resort", text)


def climbing(
    service: str, weight: int, full_weight: int, servers: tuple[str, ...], step_s: float
) -> Reason:
    """On the way up; each step moves connections of every node, so there are few."""
    others = listed(servers)
    text = f"{service} returns in steps of {step_s:g} s, at weight {weight} of {full_weight} now"
    data: dict[str, int | float | str] = {
        "weight": weight,
        "full_weight": full_weight,
        "step_s": step_s,
        "servers": others,
    }
    return Reason("climbing", f"{text}; carried by {others} meanwhile", data)


def listed(names: Sequence[str]) -> str:
    """Write A, b and c."""
    return " and ".join((", ".join(names[:-1]), names[-1])) if len(names) > 1 else names[0]
