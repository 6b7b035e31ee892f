"""What a ladder never does, whatever happens around it: random histories of proxy, relay and peers."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from haman.core.announcements import AnycastStance
from haman.core.ladder import (
    MISSING_NS,
    NS_PER_S,
    WITHDRAWN,
    ConfiguredAnycast,
    Footing,
    Ladder,
    Rung,
    Shed,
)
from haman.core.words import Condition, Reason, Stance

EDGE = ConfiguredAnycast("edge")
HEIGHT = {rung: n for n, rung in enumerate([WITHDRAWN, EDGE.shut, *reversed(EDGE.rungs)])}
CONDITIONS = (Condition.STARTING, Condition.IN_SERVICE, Condition.SATURATED, Condition.FAULT)


class World(RuleBasedStateMachine):
    """One ladder, with a relay and a kernel that obey late or not at all."""

    def __init__(self) -> None:
        super().__init__()
        self.ladder = Ladder(EDGE)
        self.now_ns = 0
        self.condition = Condition.STARTING
        self.serviceable = self.drained = self.ending = self.hold = False
        self.servers: tuple[str, ...] = ()
        self.unladen = False
        self.relay: Rung | None = None
        self.addresses: bool | None = None
        self.gone_ns: int | None = None
        self.was: Rung | None = None
        self.stance: AnycastStance | None = None
        self.ups_since_down = 0
        self.shed: Shed | None = None

    @property
    def rung(self) -> Rung:
        assert self.stance is not None
        return Rung(self.stance.stance, self.stance.weight)

    @rule(rung=st.sampled_from(list(HEIGHT)))
    def relay_is_found(self, rung: Rung) -> None:
        """It holds anything at first, and nothing if it was restarted later."""
        if self.relay is None:
            self.relay = WITHDRAWN if self.ladder.known else rung

    @rule()
    def relay_is_lost(self) -> None:
        self.relay = None

    @rule()
    def relay_obeys(self) -> None:
        if self.relay is not None and self.ladder.known:
            self.relay = self.rung

    @rule(condition=st.sampled_from(CONDITIONS), serviceable=st.booleans())
    def proxy_changes(self, condition: Condition, serviceable: bool) -> None:
        if condition is not Condition.STARTING:
            self.condition = condition
            self.serviceable = condition is not Condition.FAULT or serviceable

    @rule(drained=st.booleans(), hold=st.booleans())
    def operator_wants(self, drained: bool, hold: bool) -> None:
        self.drained, self.hold = drained, hold

    @rule(servers=st.sampled_from([(), ("lb2",), ("lb2", "lb3")]), unladen=st.booleans())
    def peers_change(self, servers: tuple[str, ...], *, unladen: bool) -> None:
        self.servers, self.unladen = servers, unladen

    @rule(rung=st.sampled_from([*EDGE.rungs, EDGE.shut]), ordered=st.booleans())
    def peers_consent(self, rung: Rung, ordered: bool) -> None:
        self.shed = Shed(rung, ordered, (Reason("shed", "by permit"),))

    @rule()
    def load_is_taken_back(self) -> None:
        self.shed = None

    @rule()
    def kernel_obeys(self) -> None:
        if self.stance is not None:
            self.addresses = self.stance.held

    @rule()
    def addresses_vanish(self) -> None:
        if self.addresses is not None:
            self.addresses = False

    @rule()
    def agent_ends(self) -> None:
        self.ending = True

    @rule(ms=st.sampled_from([1, 100, 1000, 5000, 10_000, 60_000]))
    def time_passes(self, ms: int) -> None:
        self.now_ns += ms * 1_000_000

    @rule()
    def ladder_steps(self) -> None:
        known = self.ladder.known
        self.was = self.rung if known else None
        if self.addresses is not False:
            self.gone_ns = None
        elif self.gone_ns is None:
            self.gone_ns = self.now_ns
        footing = Footing(
            self.condition,
            self.serviceable,
            self.drained,
            self.ending,
            self.addresses,
            self.relay,
            self.servers,
            (Reason("paused", "paused"),) if self.hold else (),
            self.shed,
            unladen=self.unladen,
        )
        self.stance = self.ladder.step(footing, self.now_ns)
        assert self.ladder.snapshot() == self.stance
        if self.was is None:
            # What the relay was found to hold is where it starts from.
            self.was = self.relay if self.ladder.known else None
        if self.was is not None:
            self.judge(self.was, self.rung)

    def judge(self, was: Rung, now: Rung) -> None:
        broken = self.condition is Condition.FAULT and not self.serviceable
        missing = self.gone_ns is not None and self.now_ns - self.gone_ns >= MISSING_NS
        permitted = self.shed is not None and self.shed.ordered and self.servers
        up, down = HEIGHT[now] > HEIGHT[was], HEIGHT[now] < HEIGHT[was]
        if broken or missing:
            assert now == WITHDRAWN
        if up:
            assert self.condition is not Condition.STARTING
            assert self.addresses
            assert not self.ending
        if down:
            stood_down = self.drained or self.ending or self.condition is Condition.FAULT
            assert stood_down or missing or permitted, "only fault, operator, end and permits"
            if not (stood_down or missing):
                assert now != WITHDRAWN
                assert self.shed is not None
                assert now == self.shed.rung, "no lower than what was permitted"
        if now == WITHDRAWN != was:
            assert broken or missing or self.servers, "the last announcer does not withdraw"
            if not (broken or missing):
                assert was == EDGE.shut, "an orderly way out goes through shut"
        bound = self.shed is not None and self.servers and not self.drained
        if up and bound and self.condition is not Condition.FAULT:
            assert self.shed is not None
            assert HEIGHT[now] <= HEIGHT[self.shed.rung], "no higher than what was permitted"
        held = self.hold and not self.drained and self.condition is not Condition.FAULT
        if up and held and not permitted:
            assert not was.serves
            assert not self.servers
        if down:
            self.ups_since_down = 0
        if up and not permitted:
            self.ups_since_down += 1
            assert self.ups_since_down < len(HEIGHT)

    @invariant()
    def addresses_are_held_while_anything_is_announced(self) -> None:
        if self.stance is None:
            return
        assert self.stance.held or self.rung == WITHDRAWN
        if not self.stance.held:
            assert self.drained or self.was == WITHDRAWN

    @invariant()
    def weights_are_configured_ones(self) -> None:
        if self.stance is not None:
            assert self.rung in HEIGHT
            assert self.rung.serves == (self.rung.stance in {Stance.FULL, Stance.REDUCED})

    @invariant()
    def timers_lie_ahead_and_end(self) -> None:
        deadline_ns = self.ladder.deadline_ns
        assert deadline_ns is None or deadline_ns <= self.now_ns + EDGE.step_ns + NS_PER_S


World.TestCase.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
TestLadder = World.TestCase


def test_the_same_history_decides_the_same() -> None:
    footings = [
        Footing(condition, in_force=rung, servers=others, drained=drained)
        for condition in CONDITIONS
        for rung in HEIGHT
        for others in ((), ("lb2",))
        for drained in (False, True)
    ]
    one, other = Ladder(EDGE), Ladder(EDGE)
    for n, footing in enumerate(footings):
        assert one.step(footing, n * NS_PER_S) == other.step(footing, n * NS_PER_S)
