"""Reports held against each other and against the wire."""

from haman.core.contradictions import APART_NS, NS_PER_MS, Contradictions
from haman.core.facts import VipReport
from haman.core.reports import NodeReport, PeerView
from haman.core.words import Condition, Role

INTERVALS = {"web": 100 * NS_PER_MS}
STEP_NS = 20 * NS_PER_MS
REPORT_NS = 200 * NS_PER_MS
LB2 = "10.77.0.12"


class World:
    """This node, lb1, and lb2, whose last report is as old as time has passed since `reports`."""

    def __init__(self) -> None:
        self.machine = Contradictions()
        self.now_ns = 10**12
        self.own = Role.BACKUP
        self.heard = ""
        self.theirs = Role.BACKUP
        self.made_ns = self.now_ns
        self.silent = False

    def reports(self, role: Role) -> None:
        self.theirs, self.made_ns = role, self.now_ns

    def look(self) -> list[str]:
        role = VipReport("web", self.own, 150, 1, active_router=self.heard, active_priority=100)
        said = VipReport("web", self.theirs, 100, 1)
        sources = {"web": (LB2, "fe80::2")}
        report = NodeReport("lb2", "", "1", Condition.IN_SERVICE, vips=(said,), sources=sources)
        age_ms = (self.now_ns - self.made_ns) / NS_PER_MS
        peer = PeerView("lb2", report, age_ms, fresh=not self.silent)
        found = self.machine.step("lb1", INTERVALS, (role,), (peer,), self.now_ns)
        return [c.reason.text for c in found]

    def run(self, for_ns: int) -> list[str]:
        """Everything that is said meanwhile, lb2 reporting in its interval."""
        said: list[str] = []
        end_ns = self.now_ns + for_ns
        while self.now_ns < end_ns:
            self.now_ns += STEP_NS
            if self.now_ns - self.made_ns >= REPORT_NS:
                self.reports(self.theirs)
            said += self.look()
        return list(dict.fromkeys(said))


def test_adverts_that_the_senders_own_report_denies_are_told_within_two_reports() -> None:
    world = World()
    assert world.run(10**9) == []
    world.heard = LB2
    (said,) = world.run(2 * REPORT_NS)
    assert said == (
        "adverts for web of priority 100 come from lb2 (10.77.0.12), whose own report says that it is backup"
    )
    world.heard = ""
    assert world.run(10**9) == []


def test_who_becomes_active_and_says_so_is_no_contradiction() -> None:
    world = World()
    world.heard = LB2
    world.run(2 * STEP_NS)
    world.reports(Role.ACTIVE)
    assert world.run(10**9) == []


def test_who_stops_is_heard_of_for_a_while() -> None:
    world = World()
    world.heard = LB2
    world.reports(Role.ACTIVE)
    world.run(10**9)
    world.reports(Role.BACKUP)
    assert world.run(3 * INTERVALS["web"] + INTERVALS["web"] // 2) == []
    assert world.run(10**9), "and for longer only if it goes on"


def test_two_that_report_to_be_active() -> None:
    world = World()
    world.own = Role.ACTIVE
    world.reports(Role.ACTIVE)
    assert world.run(APART_NS // 2) == [], "as in a move"
    assert world.run(APART_NS) == ["lb1 and lb2 report at the same time that they hold web"]
    world.reports(Role.BACKUP)
    assert world.run(10**9) == []


def test_a_stranger_is_named_as_one_only_when_everybody_is_heard() -> None:
    world = World()
    world.own, world.heard = Role.ACTIVE, "10.77.0.99"
    (said,) = world.run(10**9)
    assert said.endswith("10.77.0.99, which is no node of this cluster")
    world.silent = True
    assert world.run(10**9) == []


def test_a_peer_that_is_not_heard_contradicts_nothing() -> None:
    world = World()
    world.heard, world.silent = LB2, True
    assert world.run(10**9) == []
