"""Failovers under way, the operator's and those by permit: who waits for which, and what outlives them on disk."""

import asyncio
from dataclasses import replace

from haman.controller.intent import IntentKeeper
from haman.controller.recorder import FlightRecorder
from haman.core.decide import Decider, FailoverEnded, FailoverOrdered, Transition


class Failovers:
    """At most one for each VIP; whoever asks for it again waits for the same one."""

    def __init__(self, decider: Decider, intent: IntentKeeper, recorder: FlightRecorder) -> None:
        self._decider = decider
        self._recorder = recorder
        self._intent = intent
        self._waiting: dict[str, asyncio.Future[FailoverEnded]] = {}

    def order(
        self, vip: str, to: str, now_ns: int, *, permitted: bool = False
    ) -> tuple[asyncio.Future[FailoverEnded], bool]:
        """The future that tells who took `vip`, and whether the order is new: then decide.

        `permitted`: the peers consented to it, for this node is too busy; nobody needs to wait.
        """
        waiting = self._waiting.get(vip)
        if waiting is not None:
            return waiting, False
        waiting = self._waiting[vip] = asyncio.get_running_loop().create_future()
        order = FailoverOrdered(vip, to, permitted)
        self._recorder.ordered(order, now_ns)
        self._decider.order(order, now_ns)
        return waiting, True

    def follow_up(self, transition: Transition) -> None:
        """Write down what became of a failover, and tell who waits for it."""
        vip = transition.vip
        if not isinstance(transition, FailoverEnded):
            self._intent.note(lambda i: replace(i, yielded=i.yielded - {vip}))
            return
        if transition.taker:
            self._intent.note(lambda i: replace(i, yielded=i.yielded | {vip}))
        waiting = self._waiting.pop(vip, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(transition)

    def reconfigured(self) -> None:
        """Nobody took what is no longer configured."""
        for vip in self._waiting.keys() - self._decider.pending:
            self.follow_up(FailoverEnded(vip, ""))
