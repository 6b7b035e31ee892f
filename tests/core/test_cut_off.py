"""A gateway that is silent here: proven to be this node's fault, or not."""

from dataclasses import replace

import pytest

from haman.core.decide import PEERS_NOTICE_NS, Decider
from haman.core.facts import VipReport, VipStance
from haman.core.heirs import ConfiguredVip
from haman.core.reports import NodeReport, PeerView
from haman.core.situation import Situation
from haman.core.words import Condition, Reason, Role

WEB = ConfiguredVip("web", 150)
LOST = Reason("gateway-lost", "the gateway 10.77.0.1 has not answered on eth0 for 3 s")
HERE = Situation(Condition.IN_SERVICE, roles=(VipReport("web", Role.ACTIVE, 150, 1, cut_off=LOST),))


def peer(*, reaches: bool = True, fresh: bool = True) -> PeerView:
    said = VipReport("web", Role.BACKUP, 100, 1, cut_off=None if reaches else LOST)
    return PeerView("lb2", NodeReport("lb2", "", "1", Condition.IN_SERVICE, vips=(said,)), 1, fresh)


def decided(decider: Decider, situation: Situation) -> VipStance:
    """What comes of a situation that lasts."""
    decider.step(situation, 0)
    return decider.step(situation, PEERS_NOTICE_NS).stances[0]


@pytest.mark.parametrize(
    ("situation", "contends", "code", "says"),
    [
        (replace(HERE, peers=(peer(),)), False, "cut-off", "lb2 can serve"),
        (replace(HERE, peers=(peer(fresh=False),), isolated=True), False, "cut-off", "is cut off"),
        (replace(HERE, peers=(peer(reaches=False),)), True, "gateway-down", "it is kept"),
        (HERE, True, "gateway-down", "it is kept"),
    ],
    ids=["a peer reaches it", "nobody is heard", "no peer reaches it", "no peer at all"],
)
def test_it_lets_go_only_where_something_proves_that_it_should(
    situation: Situation, contends: bool, code: str, says: str
) -> None:
    stance = decided(Decider((WEB,)), situation)
    assert stance.contend is contends
    assert stance.reasons[0].code == code
    assert "10.77.0.1" in stance.reasons[0].text
    assert says in stance.reasons[0].text


def test_a_peer_is_believed_to_reach_it_once_it_had_the_time_to_notice_its_own_silence() -> None:
    decider, situation = Decider((WEB,)), replace(HERE, peers=(peer(),))
    assert decider.step(situation, 0).stances[0].contend
    assert decider.deadline_ns == PEERS_NOTICE_NS
    assert decider.step(situation, PEERS_NOTICE_NS - 1).stances[0].contend
    # It is the gateway that died: the peer's third question is unanswered, too.
    neither = replace(HERE, peers=(peer(reaches=False),))
    assert decider.step(neither, PEERS_NOTICE_NS).stances[0].contend
    # It comes back, and answers the peer first.
    assert decider.step(situation, 2 * PEERS_NOTICE_NS).stances[0].contend
    assert decider.deadline_ns == 3 * PEERS_NOTICE_NS
    assert not decider.step(situation, 3 * PEERS_NOTICE_NS).stances[0].contend
    assert decider.deadline_ns is None


def test_a_group_is_let_go_together() -> None:
    group = (ConfiguredVip("web", 150, group="g"), ConfiguredVip("mail", 150, group="g"))
    both = (*HERE.roles, VipReport("mail", Role.ACTIVE, 150, 1))
    theirs = tuple(VipReport(name, Role.BACKUP, 100, 1) for name in ("web", "mail"))
    other = PeerView("lb2", NodeReport("lb2", "", "1", Condition.IN_SERVICE, vips=theirs), 1, True)
    decider, situation = Decider(group), replace(HERE, roles=both, peers=(other,))
    decider.step(situation, 0)
    stances = decider.step(situation, PEERS_NOTICE_NS).stances
    assert [stance.contend for stance in stances] == [False, False]


def test_isolated_with_its_gateway_it_serves_on() -> None:
    roles = (VipReport("web", Role.ACTIVE, 150, 1),)
    situation = Situation(
        Condition.IN_SERVICE, roles=roles, peers=(peer(fresh=False),), isolated=True
    )
    stance = Decider((WEB,)).step(situation, 0).stances[0]
    assert stance.contend
    assert "isolated" in {reason.code for reason in stance.reasons}
