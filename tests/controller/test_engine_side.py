"""The link as the controller uses it: nothing is sent twice, lost, or too early."""

import asyncio
from collections.abc import Iterator
from contextlib import closing

import pytest

from haman.controller.engine_side import ALIVE_NS, FIRST_REPORT_NS, EngineSide
from haman.core.facts import (
    EngineReported,
    ServingProxy,
    StancesDeclared,
    TakeoverOrdered,
    VipStance,
)
from haman.core.processes import ProcessId
from haman.core.words import Event, Reason
from haman.system.link import ControllerEnd, EngineEnd, pair
from tests.cluster.pair import until

SHUTDOWN = Reason("shutdown", "the agent is ending (SIGTERM)")
DIED = Reason("proxy-died", "proxy haproxy pid 123 died")


class Clock:
    now_ns = 0

    def monotonic_ns(self) -> int:
        return self.now_ns

    def wall_ns(self) -> int:
        return self.now_ns


class Ends:
    def __init__(self) -> None:
        engine, controller = pair()
        self.clock = Clock()
        self.engine = EngineEnd(engine)
        self.side = EngineSide(ControllerEnd(controller), self.clock)

    def close(self) -> None:
        self.engine.close()
        self.side.close()


@pytest.fixture
def ends() -> Iterator[Ends]:
    with closing(Ends()) as ends:
        yield ends


def stance(priority: int = 100, *reasons: Reason, contend: bool = True) -> VipStance:
    return VipStance("web", contend, priority, True, reasons)


def is_writing(ends: Ends) -> bool:
    return ends.side._writing


async def test_full_link_is_written_when_the_engine_reads_again(ends: Ends) -> None:
    turns = 0
    while not is_writing(ends):
        turns += 1
        ends.side.declare((stance(1 + turns % 254),))
    ends.side.declare((stance(7, DIED),))
    ends.side.order("web", (DIED,))
    received: list[object] = []

    def read_all() -> bool:
        received.extend(ends.engine.receive().messages)
        return isinstance(received[-1], TakeoverOrdered)

    await until(read_all)
    assert received[-2] == StancesDeclared(turns + 1, (stance(7, DIED),))
    assert not is_writing(ends)
    await asyncio.sleep(0)


async def test_orders_wait_for_an_engine_that_does_not_read(ends: Ends) -> None:
    sent = 0
    wordy = tuple(Reason(f"code-{n}", "x" * 100) for n in range(50))
    while not is_writing(ends):
        sent += 1
        ends.side.order("web", wordy)
    received: list[object] = []

    def read_all() -> bool:
        received.extend(ends.engine.receive().messages)
        return len(received) == sent

    await until(read_all)


def test_same_stances_are_sent_again_only_as_a_sign_of_life(ends: Ends) -> None:
    assert ends.side.declare((stance(),))
    assert not ends.side.declare((stance(),))
    ends.side.stay_alive(ALIVE_NS - 1)
    assert len(ends.engine.receive().messages) == 1
    ends.side.stay_alive(ALIVE_NS)
    assert ends.engine.receive().messages == (StancesDeclared(1, (stance(),)),)


def test_another_proxy_is_told_and_is_no_other_stance(ends: Ends) -> None:
    serving = ServingProxy((ProcessId(7, 1),), 80)
    assert ends.side.declare((stance(),))
    assert not ends.side.declare((stance(),), serving=serving)
    assert not ends.side.declare((stance(),), serving=serving)
    told = [m for m in ends.engine.receive().messages if isinstance(m, StancesDeclared)]
    assert [(m.generation, m.serving) for m in told] == [(1, None), (1, serving)]


def test_nothing_is_a_sign_of_life_before_the_first_stances(ends: Ends) -> None:
    ends.side.stay_alive(10 * ALIVE_NS)
    assert ends.engine.receive().messages == ()


def test_ready_when_the_engine_spoke_or_had_the_time_to(ends: Ends) -> None:
    assert not ends.side.ready(FIRST_REPORT_NS - 1)
    assert ends.side.ready(FIRST_REPORT_NS)
    ends.engine.report(EngineReported(0, ()))
    assert ends.side.read().changed
    assert ends.side.ready(0)
    assert ends.side.age_ms(5_000_000) == 5


def test_reason_of_a_release_is_the_stance_or_else_the_role(ends: Ends) -> None:
    released = Event("vip-released", 1, "gone", "web")
    ends.side.declare((stance(),))
    assert ends.side.why_released(released) == ()
    ends.engine.tell(Event("role-changed", 1, "active → initialize", "web", (SHUTDOWN,)))
    ends.engine.flush()
    ends.side.read()
    assert ends.side.why_released(released) == (SHUTDOWN,)
    ends.side.declare((stance(100, DIED, contend=False),))
    assert ends.side.why_released(released) == (DIED,)


@pytest.mark.parametrize("code", ["higher-priority", "greater-address"])
def test_better_router_needs_no_heir(ends: Ends, code: str) -> None:
    better = Reason(code, "priority 150 is below 200 of 10.77.0.12")
    ends.side.declare((stance(),))
    ends.engine.tell(Event("role-changed", 1, "active → backup", "web", (better,)))
    ends.engine.flush()
    ends.side.read()
    assert ends.side.why_released(Event("vip-released", 1, "gone", "web")) is None


def test_closed_link_is_told_after_what_was_said(ends: Ends) -> None:
    ends.engine.tell(Event("vip-released", 1, "gone", "web"))
    ends.engine.flush()
    ends.engine.close()
    news = ends.side.read()
    assert [e.type for e in news.events] == ["vip-released"]
    assert news.closed
