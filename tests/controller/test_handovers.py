"""Two whole controllers that hand VIPs over: the operator's moves, drains, preemption, bad peers."""

import asyncio
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import msgspec

from haman.cluster.packets import Handover
from haman.controller.orders import PATIENCE_S
from haman.controller.surface import Accepted, Refused
from haman.core.handover import giver, taker
from haman.core.handover.messages import NS_PER_S, Phase, Said, Side, Step
from haman.core.words import Condition, Reason, Role
from tests.cluster.pair import free_port, until
from tests.controller.rig import DIED, RigNode, config, duo, node, settle


def sides(one: RigNode) -> set[tuple[Side, Step]]:
    return {(order.side, order.step) for order in one.engine.handovers}


def quiet(*nodes: RigNode) -> bool:
    return not any(each.engine.handovers for each in nodes)


async def test_a_failover_hands_over_and_the_tail_is_told(tmp_path: Path) -> None:
    async with duo(tmp_path) as (lb1, lb2):
        lb1.engine.connections = 12
        outcome = await lb2.controller.failover("web", "", force=False)
        assert outcome == Accepted("web moved from lb1 to lb2")
        assert (lb1.role(), lb2.role()) == (Role.BACKUP, Role.ACTIVE)
        # Nobody was told to take it by priority 0 or by the plain way.
        assert not lb2.engine.orders
        assert all(s.contend for d in lb1.engine.stances[2:] for s in d.vips)
        await until(lambda: sides(lb1) == {(Side.GIVING, Step.TAIL)})
        await until(lambda: sides(lb2) == {(Side.TAKING, Step.TAIL)})
        own = lb1.controller.snapshot().own.vip("web")
        assert own is not None
        assert own.role is Role.TAIL
        lb1.engine.connections = 0
        lb1.engine.report()
        await until(partial(quiet, lb1, lb2), "the end of the tail")
        (ended,) = lb1.events("tail-ended")
        assert "every connection was served to its end" in ended.text
        stance = lb1.engine.stance()
        assert stance is not None
        assert [r.code for r in stance.reasons] == ["yielded"]


async def test_back_while_the_tail_lasts(tmp_path: Path) -> None:
    async with duo(tmp_path) as (lb1, lb2):
        lb1.engine.connections = lb2.engine.connections = 3
        assert isinstance(await lb1.controller.failover("web", "", force=False), Accepted)
        await until(lambda: sides(lb2) == {(Side.TAKING, Step.TAIL)})
        assert isinstance(await lb2.controller.failover("web", "", force=False), Accepted)
        assert (lb1.role(), lb2.role()) == (Role.ACTIVE, Role.BACKUP)
        await until(lambda: sides(lb2) == {(Side.GIVING, Step.TAIL)})
        await until(lambda: sides(lb1) == {(Side.TAKING, Step.TAIL)})
        lb2.engine.connections = 0
        lb2.engine.report()
        await until(partial(quiet, lb1, lb2))


async def test_a_drain_hands_over_first(tmp_path: Path) -> None:
    async with duo(tmp_path, vips=("web", "api")) as (lb1, lb2):
        lb1.engine.connections = 1
        assert isinstance(await lb1.controller.drain("", force=False), Accepted)
        assert [lb2.role(vip) for vip in ("web", "api")] == [Role.ACTIVE, Role.ACTIVE]
        assert not lb2.engine.orders
        await until(lambda: lb1.role("web") is Role.RELEASED)
        assert sides(lb1) == {(Side.GIVING, Step.TAIL)}  # the tail of a drained node goes on
        assert [e.service for e in lb1.events("failover-completed")] == ["web", "api"]


async def test_a_peer_without_handover_is_only_moved_to_plainly(tmp_path: Path) -> None:
    async with duo(tmp_path) as (lb1, lb2):
        lb2.engine.hands_over = False
        lb2.engine.report()
        peers = lb1.controller.snapshot
        await until(lambda: not peers().peers[0].report.handover)  # type: ignore[union-attr]
        refused = await lb1.controller.failover("web", "", force=False)
        assert isinstance(refused, Refused)
        assert refused.code == "not-handed-over"
        assert "lb2 cannot take part in a handover" in refused.text
        assert "--plain" in refused.text
        drain = await lb1.controller.drain("", force=False)
        assert isinstance(drain, Refused)
        assert drain.text.startswith("lb1 is not drained: web stays on lb1")
        assert lb1.role() is Role.ACTIVE
        assert quiet(lb1, lb2)
        moved = await lb1.controller.failover("web", "", force=False, plain=True)
        assert moved == Accepted("web moved from lb1 to lb2")
        assert [o.vip for o in lb2.engine.orders] == ["web"]


async def test_a_target_whose_rules_are_refused(tmp_path: Path) -> None:
    async with duo(tmp_path) as (lb1, lb2):
        lb2.engine.problem = Reason("no-rules", "libnftables.so.1 is not installed")
        refused = await lb1.controller.failover("web", "", force=False)
        assert isinstance(refused, Refused)
        assert "lb2 does not take web: libnftables.so.1 is not installed" in refused.text
        assert (lb1.role(), lb2.role()) == (Role.ACTIVE, Role.BACKUP)
        await until(partial(quiet, lb1, lb2))
        assert [e.type for e in lb1.events() if e.type.startswith("failover")] == [
            "failover-started",
            "failover-aborted",
        ]
        moved = await lb1.controller.failover("web", "", force=False, plain=True)
        assert moved == Accepted("web moved from lb1 to lb2")


async def test_a_target_that_is_not_ready_though_it_says_so(tmp_path: Path) -> None:
    async with duo(tmp_path) as (lb1, lb2):
        lb2.engine.stuck_at = Step.TAKE
        refused = await lb1.controller.failover("web", "", force=False)
        assert isinstance(refused, Refused)
        assert (lb1.role(), lb2.role()) == (Role.ACTIVE, Role.BACKUP)
        await until(partial(quiet, lb1, lb2))
        stance = lb1.engine.stance()
        assert stance is not None
        assert stance.preempt


async def test_a_target_that_dies_on_the_way(tmp_path: Path) -> None:
    async with duo(tmp_path) as (lb1, lb2):
        lb2.engine.stuck_at = Step.READY
        moving = asyncio.create_task(lb1.controller.failover("web", "", force=False))
        await until(lambda: sides(lb2) == {(Side.TAKING, Step.READY)})
        lb2.controller.stop()
        refused = await moving
        assert isinstance(refused, Refused)
        assert lb1.role() is Role.ACTIVE
        assert quiet(lb1)


async def test_a_proxy_that_dies_on_the_way_ends_it(tmp_path: Path) -> None:
    async with duo(tmp_path) as (lb1, lb2):
        lb2.engine.stuck_at = Step.READY
        moving = asyncio.create_task(lb1.controller.failover("web", "", force=False))
        await until(lambda: sides(lb2) == {(Side.TAKING, Step.READY)})
        lb1.senses.change(Condition.FAULT, DIED)
        await until(lambda: lb2.role() is Role.ACTIVE, "the plain way, at once")
        assert lb1.role() is Role.RELEASED
        assert isinstance(await moving, Refused)
        await until(partial(quiet, lb1, lb2))


async def test_a_controller_that_restarts_goes_on_with_the_tail(tmp_path: Path) -> None:
    async with duo(tmp_path) as (lb1, lb2):
        lb1.engine.connections = 5
        assert isinstance(await lb1.controller.failover("web", "", force=False), Accepted)
        await until(lambda: sides(lb1) == {(Side.GIVING, Step.TAIL)})
        (order,) = lb1.engine.handovers
        # What a new controller finds: the engine's reports, and nothing else.
        handovers = lb1.controller._failovers.handovers
        handovers._machines.clear()
        lb1.engine.connections = 4
        lb1.engine.report()
        await until(lambda: handovers.given == {"web"})
        assert [o.id for o in handovers.orders] == [order.id]
        assert quiet(lb2) is False
        lb1.engine.connections = 0
        lb1.engine.report()
        await until(partial(quiet, lb1, lb2))


@asynccontextmanager
async def comes_back(tmp_path: Path, *, preempt_delay_s: float = 0):
    """lb2 (100) is active; lb1 (150) may preempt."""
    ports = {"lb1": free_port(), "lb2": free_port()}
    one = config(tmp_path, "lb1", ports["lb1"], {"lb2": ports["lb2"]}, 150)
    delayed = tuple(replace_vip(vip, preempt_delay_s) for vip in one.vip)
    one = msgspec.structs.replace(one, vip=delayed)
    two = config(tmp_path, "lb2", ports["lb2"], {"lb1": ports["lb1"]}, 100)
    async with node(one) as lb1, node(two) as lb2:
        lb1.engine.link, lb2.engine.link = [lb2.engine], [lb1.engine]
        await settle(lb2, lb1)
        yield lb1, lb2


def replace_vip(vip, preempt_delay_s: float):
    return msgspec.structs.replace(vip, preempt_delay_s=preempt_delay_s)


async def test_a_better_node_comes_back_by_a_handover(tmp_path: Path) -> None:
    async with comes_back(tmp_path) as (lb1, lb2):
        await until(lambda: lb1.role() is Role.ACTIVE, "it comes back")
        assert lb2.role() is Role.BACKUP
        asked = {r.code for d in lb1.engine.stances for s in d.vips for r in s.reasons}
        assert "preempts-by-handover" in asked
        await until(lambda: lb2.events("handover-completed"))
        assert not lb2.engine.orders
        assert not lb1.engine.orders
        # It is not the operator's move: nothing is held back afterwards.
        stance = lb2.engine.stance()
        assert stance is not None
        assert "yielded" not in {r.code for r in stance.reasons}


async def test_what_a_drain_moved_comes_back_after_it(tmp_path: Path) -> None:
    async with duo(tmp_path) as (lb1, lb2):
        assert isinstance(await lb1.controller.drain("", force=False), Accepted)
        assert lb2.role() is Role.ACTIVE
        assert isinstance(await lb1.controller.undrain(""), Accepted)
        await until(lambda: lb1.role() is Role.ACTIVE, "it comes back")
        # The snapshot follows the engine's report.
        await until(lambda: lb1.controller.snapshot().own.vips[0].role is Role.ACTIVE)


async def test_a_drain_that_would_not_last_moves_nothing(tmp_path: Path) -> None:
    async with duo(tmp_path) as (lb1, lb2):
        intent = Path(lb1.controller.config.state.directory) / "intent.db"
        intent.unlink(missing_ok=True)
        intent.mkdir()  # no database can be made in its place
        refused = await lb1.controller.drain("", force=False)
        assert isinstance(refused, Refused)
        assert refused.code == "not-durable"
        assert (lb1.role(), lb2.role()) == (Role.ACTIVE, Role.BACKUP)
        assert not lb1.events("failover-started")


async def test_a_pause_keeps_the_better_node_waiting(tmp_path: Path) -> None:
    async with comes_back(tmp_path, preempt_delay_s=0.5) as (lb1, lb2):
        assert isinstance(await lb2.controller.pause(), Accepted)
        await asyncio.sleep(0.8)
        assert (lb1.role(), lb2.role()) == (Role.BACKUP, Role.ACTIVE)
        assert isinstance(await lb2.controller.resume(), Accepted)
        await until(lambda: lb1.role() is Role.ACTIVE, "it comes back")


async def test_what_a_stranger_says_moves_nothing(tmp_path: Path) -> None:
    """Words of a handover that nobody began, or of another node's, are no reason to do anything."""
    async with duo(tmp_path) as (lb1, lb2):
        assert lb2.mesh is not None
        for phase in (Phase.TAKE, Phase.TAIL, Phase.TAKEN, Phase.DONE, Phase.ABORTED):
            lb2.mesh.tell("lb1", Handover(Said("none", ("web",), phase)))
        lb2.mesh.tell("lb1", Handover(Said("empty", (), Phase.OFFER)))
        lb2.mesh.tell("lb1", Handover(Said("other", ("nope",), Phase.OFFER)))
        await asyncio.sleep(0.2)
        assert (lb1.role(), lb2.role()) == (Role.ACTIVE, Role.BACKUP)
        assert quiet(lb1, lb2)


def test_an_operator_is_answered_in_time() -> None:
    """All steps together end before the patience of who asked from another node does."""
    longest = giver.OFFER_NS + giver.ARM_NS + giver.TAKE_NS
    assert longest / NS_PER_S < PATIENCE_S
    assert taker.PREPARE_NS < giver.OFFER_NS
    assert taker.TAKE_NS < giver.TAKE_NS
