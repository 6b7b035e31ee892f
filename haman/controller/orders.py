"""An operator's wish for another node: sent until it is answered, done once.

The asker repeats an order every 250 ms, with one id, until the answer comes or its patience ends.
The doer keeps the last 64 answers: a repeated order is answered again and not done again.
"""

import asyncio
import logging
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from haman.cluster.packets import Answer, Order, Verb
from haman.controller.surface import Accepted, Outcome, Refused

REPEAT_S = 0.25
PATIENCE_S = 12.0
"""Longer than a handover (8.5 s) or a plain failover (5 s) may take, and a slow disk usually does."""
ANSWERS_KEPT = 64

log = logging.getLogger(__name__)

Tell = Callable[[str, Order | Answer], bool]
Do = Callable[[Order], Awaitable[Outcome]]


class Orders:
    """Both sides of orders between nodes.

    Args:
        tell: sends a packet to a peer once.
        do: does what a peer's operator wishes of this node.
        patience_s: how long to wait for an answer.
    """

    def __init__(self, tell: Tell, do: Do, patience_s: float = PATIENCE_S) -> None:
        self._tell = tell
        self._do = do
        self._patience_s = patience_s
        self._asked: dict[str, asyncio.Future[Answer]] = {}
        self._answers: OrderedDict[tuple[str, str], Answer | None] = OrderedDict()
        self._doing: set[asyncio.Task[None]] = set()

    async def ask(
        self,
        peer: str,
        verb: Verb,
        *,
        by: str,
        vip: str = "",
        to: str = "",
        force: bool = False,
        plain: bool = False,
    ) -> Outcome:
        """Have `peer` do it; Refused(unreachable) when no answer came."""
        order = Order(secrets.token_hex(8), verb, vip, to, force, by, plain)
        answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._asked[order.id] = answered
        try:
            async with asyncio.timeout(self._patience_s):
                while not answered.done():
                    if not self._tell(peer, order):
                        return Refused("unreachable", f"{peer}: the order could not be sent")
                    await asyncio.wait({answered}, timeout=REPEAT_S)
        except TimeoutError:
            text = f"{peer} did not answer in {self._patience_s:g} s; what it did is not known"
            return Refused("unreachable", text)
        finally:
            del self._asked[order.id]
        answer = answered.result()
        if answer.code:
            return Refused(answer.code, answer.text, answer.reasons)
        return Accepted(answer.text, answer.reasons)

    def answered(self, answer: Answer) -> None:
        """Take in a peer's answer; one that nobody waits for is late and dropped."""
        waiting = self._asked.get(answer.id)
        if waiting is not None and not waiting.done():
            waiting.set_result(answer)

    def ordered(self, peer: str, order: Order) -> None:
        """Take in a peer's order."""
        key = (peer, order.id)
        if key in self._answers:
            answer = self._answers[key]
            if answer is not None:
                self._tell(peer, answer)
            return
        if len(self._answers) >= ANSWERS_KEPT:
            self._answers.popitem(last=False)
        self._answers[key] = None
        task = asyncio.get_running_loop().create_task(self._answer(peer, order))
        self._doing.add(task)
        task.add_done_callback(self._doing.discard)

    async def _answer(self, peer: str, order: Order) -> None:
        log.info("order from %s: %s %s", peer, order.verb, order.vip)
        outcome = await self._do(order)
        code = outcome.code if isinstance(outcome, Refused) else ""
        answer = Answer(order.id, code, outcome.text, outcome.reasons)
        if (peer, order.id) in self._answers:
            self._answers[peer, order.id] = answer
        self._tell(peer, answer)
