"""Orders between nodes: repeated until answered, done once, bounded."""

import asyncio

from haman.cluster.packets import Answer, Order
from haman.controller import orders as orders_module
from haman.controller.orders import Orders
from haman.controller.surface import Accepted, Outcome, Refused
from haman.core.words import Reason


class Doer:
    """The other node: counts what it did; loses the packets that the test wants lost."""

    def __init__(self, outcome: Outcome) -> None:
        self.done: list[Order] = []
        self.outcome = outcome
        self.go = asyncio.Event()
        self.go.set()
        self.lose_orders = 0
        self.lose_answers = 0
        self.sent: list[Order | Answer] = []
        self.asker = Orders(self._to_doer, self._never, 10.0)
        self.doer = Orders(self._to_asker, self._do, 10.0)

    async def _never(self, order: Order) -> Outcome:
        raise AssertionError(order)

    async def _do(self, order: Order) -> Outcome:
        self.done.append(order)
        await self.go.wait()
        return self.outcome

    def _to_doer(self, peer: str, packet: Order | Answer) -> bool:
        self.sent.append(packet)
        assert peer == "lb2"
        assert isinstance(packet, Order)
        if self.lose_orders:
            self.lose_orders -= 1
        else:
            self.doer.ordered("lb1", packet)
        return True

    def _to_asker(self, peer: str, packet: Order | Answer) -> bool:
        assert peer == "lb1"
        assert isinstance(packet, Answer)
        if self.lose_answers:
            self.lose_answers -= 1
        else:
            self.asker.answered(packet)
        return True


async def test_answer_comes_back_with_its_reasons() -> None:
    reasons = (Reason("no-survivor", "nobody", {"n": 1}),)
    for outcome in (Accepted("lb2: drained", reasons), Refused("unsafe", "no", reasons)):
        assert await Doer(outcome).asker.ask("lb2", "drain", by="lb1", force=True) == outcome


async def test_lost_packets_are_repeated_and_the_wish_is_done_once() -> None:
    doer = Doer(Accepted("done"))
    doer.lose_orders, doer.lose_answers = 1, 2
    assert await doer.asker.ask("lb2", "failover", by="lb1", vip="web", to="lb1") == Accepted(
        "done"
    )
    assert [(o.verb, o.vip, o.to) for o in doer.done] == [("failover", "web", "lb1")]
    assert len({o.id for o in doer.sent}) == 1


async def test_order_that_takes_long_is_not_done_again_meanwhile() -> None:
    doer = Doer(Accepted("done"))
    doer.go.clear()
    asking = asyncio.ensure_future(doer.asker.ask("lb2", "drain", by="lb1"))
    async with asyncio.timeout(10):
        while len(doer.sent) < 3:  # noqa: ASYNC110 - what is waited for sets no event
            await asyncio.sleep(orders_module.REPEAT_S / 5)
    doer.go.set()
    assert await asking == Accepted("done")
    assert len(doer.done) == 1


async def test_silence_ends_in_unreachable() -> None:
    asker = Orders(lambda *_: True, Doer(Accepted("x"))._never, 0.05)
    outcome = await asker.ask("lb2", "drain", by="lb1")
    assert outcome == Refused(
        "unreachable", "lb2 did not answer in 0.05 s; what it did is not known"
    )


async def test_peer_that_cannot_be_sent_to_is_unreachable_at_once() -> None:
    asker = Orders(lambda *_: False, Doer(Accepted("x"))._never)
    outcome = await asker.ask("lb2", "drain", by="lb1")
    assert isinstance(outcome, Refused)
    assert outcome.code == "unreachable"


async def test_late_and_foreign_answers_are_dropped() -> None:
    doer = Doer(Accepted("done"))
    doer.asker.answered(Answer("ffff", "", "who asked?"))
    assert await doer.asker.ask("lb2", "drain", by="lb1") == Accepted("done")
    doer.asker.answered(Answer(doer.done[0].id, "", "again"))
