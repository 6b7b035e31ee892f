"""Everything that the decisions of a node depend upon, and the condition that follows from it."""

from collections.abc import Mapping
from dataclasses import field
from functools import cached_property

from haman.core import because
from haman.core.announcements import Announcement, HeldAddresses
from haman.core.facts import VipReport
from haman.core.frozen import dataclass
from haman.core.handover.steering import TailStanding
from haman.core.permits.standing import Standing
from haman.core.reports import PeerView
from haman.core.words import Condition, Reason, Utilization

LATE_MS = 5_000
"""No sample for this long: the utilization of the proxy is not known any more."""
ENGINE_LOST_MS = 7_000
"""The engine, which speaks every second, is silent for this long: nobody renews the leases of
addresses, and they will end. `config.lease` says when, and why this is early enough."""


@dataclass(frozen=True, slots=True)
class OperatorIntent:
    """What the operator wants, on disk.

    Attributes:
        yielded: VIPs that a failover moved away; not to be preempted back.
    """

    drained: bool = False
    paused: bool = False
    yielded: frozenset[str] = field(default_factory=frozenset)


@dataclass(frozen=True)  # no slots: it has an index of its own
class Situation:
    """Everything that a decision depends upon, at one instant.

    Attributes:
        condition: of the local proxy as the senses judge it: starting, in-service, saturated or
            fault.
        reasons: the senses' reasons for it.
        serviceable: in a fault: the proxy answers again and is only held down after flapping.
        isolated: peers are configured and none is heard.
        awaits: there are peers that have not had the time to answer since this node began.
        namesake: another node is named as this one; None = none was heard lately.
        roles: what the engine last said of this node, per VIP; empty before its first report.
        held: what the engine last said of the addresses of anycast services; None before its first
            report.
        announced: what the relay holds; None while it is not reached.
        asks: VIPs that are left to come back by a handover, and the reason that says so.
        ending: the agent was told to end.
        parting: VIPs that are handed over because of that, or were.
        engine_age_ms: since the engine last said anything.
        permits: what this node may do about its load.
        tails: of anycast services that are drained here, or were.
    """

    condition: Condition
    reasons: tuple[Reason, ...] = ()
    serviceable: bool = False
    intent: OperatorIntent = OperatorIntent()
    peers: tuple[PeerView, ...] = ()
    isolated: bool = False
    awaits: bool = False
    namesake: Reason | None = None
    resources: tuple[Utilization, ...] = ()
    roles: tuple[VipReport, ...] = ()
    held: tuple[HeldAddresses, ...] | None = None
    announced: tuple[Announcement, ...] | None = None
    asks: Mapping[str, Reason] = field(default_factory=dict)
    ending: bool = False
    parting: frozenset[str] = frozenset()
    engine_age_ms: float = 0.0
    permits: Standing = field(default_factory=Standing)
    tails: Mapping[str, TailStanding] = field(default_factory=dict)

    def vip(self, name: str) -> VipReport | None:
        """What the engine last said of this node and a VIP; None = it has not spoken of it."""
        return self._roles.get(name)

    @cached_property
    def _roles(self) -> dict[str, VipReport]:
        return {role.vip: role for role in self.roles}

    @property
    def engine_lost(self) -> bool:
        """What the engine said last says nothing of the present any more."""
        return self.engine_age_ms >= ENGINE_LOST_MS

    @property
    def is_late(self) -> bool:
        """No resource was sampled lately."""
        return bool(self.resources) and min(r.age_ms for r in self.resources) > LATE_MS


def judge(situation: Situation) -> tuple[Condition, tuple[Reason, ...]]:
    """The condition of the node: the worst that is true, and every reason there is."""
    condition = situation.condition
    if condition in {Condition.FAULT, Condition.STARTING}:
        return condition, situation.reasons or (because.NOT_SERVING[condition],)
    reasons = list(situation.reasons)
    if situation.is_late:
        condition = Condition.STALE
        reasons.insert(0, because.STALE)
    if situation.isolated:
        condition = Condition.ISOLATED
        reasons.insert(0, because.ISOLATED)
    if situation.intent.drained:
        condition = Condition.DRAINED
        reasons.insert(0, because.DRAINED)
    return condition, tuple(reasons)
