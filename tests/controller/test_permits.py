"""Permits between whole controllers, over real datagrams: load moves where it fits, and only there."""

from collections.abc import Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import pytest

from haman.controller.surface import Accepted, Refused
from haman.core.decide import FAILOVER_NS
from haman.core.permits.granter import LEASE_NS
from haman.core.reports import StormReport
from haman.core.wakefulness import OVERSLEPT_NS
from haman.core.words import Condition, Reason, Role, Stance, Utilization
from tests.cluster.pair import until as soon
from tests.controller.rig import RigNode
from tests.controller.rig import duo as vip_duo
from tests.controller.test_anycast import at, both, knows

STEP_NS = OVERSLEPT_NS * 2 // 3
STORM = StormReport(1.0, 433e-6, 201e-6, 5.0, backlog=4096)


async def until(condition: Callable[[], object], why: str = "") -> None:
    """On a machine that is busy for a moment the first ask may be denied, and the next comes later."""
    for _ in range(5):
        with suppress(AssertionError):
            return await soon(condition, why)
    return await soon(condition, why)


def load(one: RigNode, cpu: float, cores: float = 1.0, *, over: bool = False) -> None:
    cause = Reason(
        "saturated",
        f"cpu at {cpu / cores:.2f}",
        {"resource": "cpu", "utilization": cpu / cores, "threshold": 0.9},
    )
    one.senses.change(
        Condition.SATURATED if over else Condition.IN_SERVICE,
        *((cause,) if over else ()),
        resources=(
            Utilization("cpu", cpu, cores, "cores"),
            Utilization("connections", 10.0, 1000.0, "count"),
        ),
        connections=10,
        storm=STORM,
    )


async def grown_up(*nodes: RigNode) -> None:
    """Long enough in the world to grant anything, in steps that no controller takes for oversleeping."""
    for _ in range(LEASE_NS // STEP_NS + 1):
        for each in nodes:
            each.clock.monotonic_offset_ns += STEP_NS
        for each in nodes:  # that all are heard again means that all have ticked
            await until(partial(_fresh, each), "fresh peers")


def _fresh(one: RigNode) -> bool:
    snapshot = one.controller.snapshot()
    return all(p.fresh for p in snapshot.peers) and snapshot.own.condition is Condition.IN_SERVICE


@asynccontextmanager
async def announcers(directory: Path):
    async with both(directory) as (lb1, lb2):
        load(lb1, 0.3)
        load(lb2, 0.1)
        await grown_up(lb1, lb2)
        yield lb1, lb2


def permits(one: RigNode):
    return one.controller.snapshot().own.permits


async def test_a_busy_node_goes_down_a_rung_with_the_peers_consent(tmp_path: Path) -> None:
    async with announcers(tmp_path) as (lb1, lb2):
        load(lb1, 0.95, over=True)
        await until(lambda: at(lb1, Stance.REDUCED, 50), "reduced by permit")
        await until(lambda: knows(lb2, "lb1", Stance.REDUCED))
        reasons = lb1.service().reasons
        assert reasons[0].code == "shed"
        assert "lb2 consented to it at weight 50 of 100" in reasons[0].text
        assert permits(lb1).sheds == ("edge",)
        assert permits(lb2).granted_to == "lb1"
        # A third of the load moves: of 0.95 cores, 0.32.
        assert permits(lb2).reserved["cpu"] == pytest.approx(0.95 / 3)
        granted = lb1.events("permit-granted")[0]
        assert granted.service == "edge"
        assert (
            "lb2 reaches 42 % of cpu: 10 % of its own, 32 % taken over" in granted.reasons[0].text
        )
        assert [e.service for e in lb2.events("permit-granted")] == ["edge"]
        assert lb1.controller.snapshot().permit_counts["granted", ""] == 1
        assert lb2.controller.snapshot().permit_counts["given", "steady-load"] == 1


async def test_where_it_does_not_fit_the_node_holds_and_tells_the_numbers(tmp_path: Path) -> None:
    async with announcers(tmp_path) as (lb1, lb2):
        load(lb2, 0.6)
        await until(lambda: _cpu_of(lb1, "lb2") == 0.6)
        load(lb1, 0.95, over=True)

        def told() -> str:
            reasons = lb1.service().reasons
            return reasons[0].text if reasons and reasons[0].code == "saturated-holding" else ""

        denied = "asked lb2: lb2 denied: if lb1 moves edge, lb2 reaches 92 % of cpu"
        await until(lambda: denied in told(), "the denial")
        assert at(lb1, Stance.FULL, 100)
        assert not lb1.events("permit-granted")
        assert lb1.events("permit-denied")
        await until(lambda: lb2.events("permit-denied"))
        assert not permits(lb1).sheds


def _cpu_of(one: RigNode, peer: str) -> float | None:
    view = next(p for p in one.controller.snapshot().peers if p.name == peer)
    if view.report is None:
        return None
    return next((r.used for r in view.report.resources if r.name == "cpu"), None)


async def test_pause_holds_permits(tmp_path: Path) -> None:
    async with announcers(tmp_path) as (lb1, lb2):
        assert isinstance(await lb1.controller.pause(), Accepted)
        load(lb1, 0.95, over=True)
        await until(lambda: lb1.service().reasons[0].code == "saturated-holding")
        assert "automatic moves are paused on lb1" in lb1.service().reasons[0].text
        assert not lb2.events("permit-granted")
        assert isinstance(await lb1.controller.resume(), Accepted)
        await until(lambda: at(lb1, Stance.REDUCED, 50), "reduced once resumed")


async def test_a_vip_moves_to_a_node_with_room_and_stays_there(tmp_path: Path) -> None:
    async with vip_duo(tmp_path) as (lb1, lb2):
        load(lb1, 0.5)
        load(lb2, 0.2, 4.0)
        await grown_up(lb1, lb2)
        await until(lambda: _cpu_of(lb1, "lb2") == 0.2)
        load(lb1, 0.95, over=True)
        await until(lambda: lb2.role() is Role.ACTIVE, "moved by permit")
        assert [e.text for e in lb1.events("permit-granted")] == [
            "lb2 consented: web to lb2, with all of its load at most"
        ]
        await until(lambda: lb1.role() is Role.BACKUP, "contends again")
        await until(lambda: lb1.engine.stance().reasons)
        load(lb1, 0.1)
        await until(lambda: [r.code for r in lb1.engine.stance().reasons] == ["yielded"])
        assert not lb1.engine.stance().preempt
        assert permits(lb1).sheds == ("web",), "while its load arrives at lb2"


async def test_a_vip_that_nobody_takes_is_kept_and_told(tmp_path: Path) -> None:
    async with vip_duo(tmp_path) as (lb1, lb2):
        load(lb1, 0.5)
        load(lb2, 0.2, 4.0)
        await grown_up(lb1, lb2)
        await until(lambda: _cpu_of(lb1, "lb2") == 0.2)
        lb2.engine.obeys = False
        load(lb1, 0.95, over=True)
        await until(lambda: lb1.events("permit-granted"), "the consent")
        lb1.clock.monotonic_offset_ns += FAILOVER_NS
        await until(lambda: lb1.events("permit-ended"), "the end")
        ended = lb1.events("permit-ended")[0]
        assert ended.reasons[0].text == "lb2 did not become active for web"


async def test_a_vip_stays_where_no_peer_has_room(tmp_path: Path) -> None:
    async with vip_duo(tmp_path) as (lb1, lb2):
        load(lb1, 0.5)
        load(lb2, 0.2)
        await grown_up(lb1, lb2)
        await until(lambda: _cpu_of(lb1, "lb2") == 0.2)
        load(lb1, 0.95, over=True)
        await until(lambda: lb1.events("permit-denied"), "the denial")
        own = lb1.controller.snapshot().own.vip("web")
        told = next(r.text for r in own.reasons if r.code == "saturated-holding")
        assert (
            "keeps web; asked lb2: lb2 denied: if lb1 moves web, lb2 reaches 115 % of cpu" in told
        )
        assert (lb1.role(), lb2.role()) == (Role.ACTIVE, Role.BACKUP)


async def test_room_that_is_reserved_counts_against_a_drain(tmp_path: Path) -> None:
    async with announcers(tmp_path) as (lb1, lb2):
        load(lb2, 0.4)
        await until(lambda: _cpu_of(lb1, "lb2") == 0.4)
        load(lb1, 0.95, over=True)
        await until(lambda: at(lb1, Stance.REDUCED, 50), "reduced by permit")
        load(lb1, 0.45)
        await until(lambda: (p := _permits_of(lb1, "lb2")) is not None and p.granted_to == "lb1")
        # 0.4 of its own, 0.32 reserved, and now the other 0.45: without the reservation it would fit.
        refused = await lb1.controller.drain("", force=False)
        assert isinstance(refused, Refused)
        assert "lb2 reaches 117 % of cpu: 72 % of its own" in refused.text


def _permits_of(one: RigNode, peer: str):
    view = next(p for p in one.controller.snapshot().peers if p.name == peer)
    return None if view.report is None else view.report.permits


async def test_in_service_time_alone_is_decided_upon_once_a_second(tmp_path: Path) -> None:
    async with vip_duo(tmp_path) as (lb1, _):
        side = lb1.controller._permits
        decided: list[int] = []
        step = side.step

        def counted(situation, own, now_ns, *rest, **more):
            decided.append(now_ns)
            return step(situation, own, now_ns, *rest, **more)

        side.step = counted  # type: ignore[method-assign]
        await until(lambda: len(decided) >= 4, "it goes on deciding")
        now_ns = decided[-1]
        assert not side.due(now_ns + 800_000_000)
        assert side.due(now_ns + 1_000_000_000)
        assert not side.due(now_ns + 200_000_000, moving=True)
        assert side.due(now_ns + 400_000_000, moving=True)
        load(lb1, 1.0, over=True)
        await until(lambda: side.due(decided[-1]), "saturated, each tick is one to decide at")
