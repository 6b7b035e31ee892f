"""The reasons of stances, in words and numbers: what operators read later."""

from haman.core.words import Condition, Reason, Role, Utilization, percent

LAST_RESORT_PRIORITY = 1

NOT_SERVING = {
    Condition.FAULT: Reason("fault", "the local proxy does not serve"),
    Condition.STARTING: Reason("starting", "the local proxy is not yet known to be healthy"),
}
DRAINED = Reason("drained", "drained by the operator; ends with `haman undrain`")
ISOLATED = Reason("isolated", "no peer is heard on any path; VRRP alone decides who serves")
STALE = Reason("stale", "measurements are late; the present stance is kept")
PAUSED = Reason("paused", "automatic moves are paused by the operator; only a fault moves a VIP")


def last_resort(vip: str, condition: Condition) -> Reason:
    """Serves although it should not, for nobody else can."""
    why = "held down after flapping" if condition is Condition.FAULT else "drained"
    return Reason(
        "last-resort",
        f"{why}, but no other node can serve {vip}: contends at priority {LAST_RESORT_PRIORITY}",
        {"priority": LAST_RESORT_PRIORITY},
    )


def failover(vip: str, to: str) -> Reason:
    """Lets go for `to`, "" = whoever takes it."""
    target = to or "a peer"
    return Reason("failover", f"the operator moves {vip} to {target}")


def yielded(vip: str) -> Reason:
    """Does not preempt after a failover."""
    return Reason("yielded", f"the operator moved {vip} away: it is not taken back by preemption")


def placed(vip: str, away_from: str) -> Reason:
    """Does not preempt what the operator moved from one peer to another."""
    text = f"the operator moved {vip} away from {away_from}; not taken by preemption"
    return Reason("placed", text, {"node": away_from})


def saturated_holding(vip: str, resources: tuple[Utilization, ...], role: Role | None) -> Reason:
    """Over the hard threshold; `role` of this node decides what it does about it."""
    known = [r for r in resources if r.utilization is not None]
    binding = max(known, key=lambda r: r.utilization or 0.0, default=None)
    act = f"keeps {vip}" if role is Role.ACTIVE else f"does not preempt for {vip}"
    why = "no permit: shedding is not available yet"
    if binding is None or binding.utilization is None or binding.used is None:
        return Reason("saturated-holding", f"saturated; {act}; {why}")
    used = f"{binding.used:.4g} of {binding.ceiling:.4g} {binding.unit}"
    return Reason(
        "saturated-holding",
        f"{binding.name} at {percent(binding.utilization)} of its ceiling ({used}); {act}; {why}",
        {"resource": binding.name, "utilization": round(binding.utilization, 2)},
    )
