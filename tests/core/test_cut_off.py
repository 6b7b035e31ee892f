"""A gateway that is silent here: proven to be this node's fault, or not."""

from dataclasses import replace

import pytest

from haman.core.decide import Decider
from haman.core.facts import VipReport
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
    stance = Decider((WEB,)).step(situation, 0).stances[0]
    assert stance.contend is contends
    assert stance.reasons[0].code == code
    assert "10.77.0.1" in stance.reasons[0].text
    assert says in stance.reasons[0].text


def test_a_group_is_let_go_together() -> None:
    group = (ConfiguredVip("web", 150, group="g"), ConfiguredVip("mail", 150, group="g"))
    both = (*HERE.roles, VipReport("mail", Role.ACTIVE, 150, 1))
    theirs = tuple(VipReport(name, Role.BACKUP, 100, 1) for name in ("web", "mail"))
    other = PeerView("lb2", NodeReport("lb2", "", "1", Condition.IN_SERVICE, vips=theirs), 1, True)
    stances = Decider(group).step(replace(HERE, roles=both, peers=(other,)), 0).stances
    assert [stance.contend for stance in stances] == [False, False]


def test_isolated_with_its_gateway_it_serves_on() -> None:
    roles = (VipReport("web", Role.ACTIVE, 150, 1),)
    situation = Situation(
        Condition.IN_SERVICE, roles=roles, peers=(peer(fresh=False),), isolated=True
    )
    stance = Decider((WEB,)).step(situation, 0).stances[0]
    assert stance.contend
    assert "isolated" in {reason.code for reason in stance.reasons}
