"""Who lets whom come back by a handover, and for how long."""

from haman.core.facts import VipReport
from haman.core.handover.preemption import ASK_NS, ASKS, Preemption, asked_for, asks
from haman.core.heirs import ConfiguredVip
from haman.core.reports import NodeReport, PeerView
from haman.core.words import Condition, Role

WEB = ConfiguredVip("web", 150)
BACKUP = (VipReport("web", Role.BACKUP, 150, 0),)


def peer(role: Role, priority: int, *, handover: bool = True, fresh: bool = True, reasons=()):
    vip = VipReport("web", role, priority, 0, reasons)
    report = NodeReport("lb2", "", "1", Condition.IN_SERVICE, vips=(vip,), handover=handover)
    return (PeerView("lb2", report, 0.0, fresh),)


def codes(found) -> dict[str, str]:
    return {vip: reason.code for vip, reason in found.items()}


def test_a_better_backup_asks_and_gives_up_after_a_while() -> None:
    preemption = Preemption()
    held = peer(Role.ACTIVE, 100)
    assert codes(preemption.step((WEB,), BACKUP, held, 0)) == {"web": ASKS}
    assert codes(preemption.step((WEB,), BACKUP, held, ASK_NS - 1)) == {"web": ASKS}
    assert preemption.step((WEB,), BACKUP, held, ASK_NS) == {}  # plainly from now on
    # What it waited for came, and went: the next time it asks again.
    active = (VipReport("web", Role.ACTIVE, 150, 0),)
    assert preemption.step((WEB,), active, (), ASK_NS + 1) == {}
    assert codes(preemption.step((WEB,), BACKUP, held, ASK_NS + 2)) == {"web": ASKS}


def test_the_delay_comes_first() -> None:
    slow = ConfiguredVip("web", 150, preempt_delay_ns=1000)
    preemption = Preemption()
    held = peer(Role.ACTIVE, 100)
    assert codes(preemption.step((slow,), BACKUP, held, 0)) == {"web": "preempt-delay"}
    assert codes(preemption.step((slow,), BACKUP, held, 1000)) == {"web": ASKS}
    assert preemption.step((slow,), BACKUP, held, 1000 + ASK_NS) == {}


def test_who_does_not_ask() -> None:
    cases = {
        "a holder that cannot hand over": (WEB, BACKUP, peer(Role.ACTIVE, 100, handover=False)),
        "a holder that is silent": (WEB, BACKUP, peer(Role.ACTIVE, 100, fresh=False)),
        "a better holder": (WEB, BACKUP, peer(Role.ACTIVE, 200)),
        "no holder": (WEB, BACKUP, peer(Role.BACKUP, 100)),
        "preemption off": (ConfiguredVip("web", 150, preempt=False), BACKUP, peer(Role.ACTIVE, 1)),
        "out of the election": (
            WEB,
            (VipReport("web", Role.RELEASED, 0, 0),),
            peer(Role.ACTIVE, 1),
        ),
    }
    for name, (vip, roles, peers) in cases.items():
        assert Preemption().step((vip,), roles, peers, 0) == {}, name


def test_in_a_group_the_least_priority_and_every_preempt_count() -> None:
    group = (ConfiguredVip("web", 150, group="g"), ConfiguredVip("api", 90, group="g"))
    assert Preemption().step(group, BACKUP, peer(Role.ACTIVE, 100), 0) == {}
    group = (ConfiguredVip("web", 150, group="g"), ConfiguredVip("api", 120, False, "g"))
    assert Preemption().step(group, BACKUP, peer(Role.ACTIVE, 100), 0) == {}


def test_the_holder_hears_who_asks() -> None:
    held = (VipReport("web", Role.ACTIVE, 100, 0),)
    reasons = (asks("web", "lb1"),)
    own = (ConfiguredVip("web", 100),)
    assert asked_for(own, held, peer(Role.BACKUP, 150, reasons=reasons)) == {"web": "lb2"}
    assert asked_for(own, held, peer(Role.BACKUP, 150)) == {}
    assert asked_for(own, held, peer(Role.RELEASED, 0, reasons=reasons)) == {}
    assert asked_for(own, BACKUP, peer(Role.BACKUP, 150, reasons=reasons)) == {}
    assert asked_for(own, held, peer(Role.BACKUP, 150, handover=False, reasons=reasons)) == {}
