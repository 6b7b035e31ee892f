"""Two whole controllers over loopback UDP, each with a fake engine and fake senses."""

import asyncio
import time
from functools import partial
from pathlib import Path

from haman.cluster.mesh import Heard, Mesh, ReportHeard
from haman.cluster.packets import Order, Released
from haman.cluster.transport import UdpTransport
from haman.config.model import Cluster, Peer
from haman.controller.surface import Accepted, Refused
from haman.core.headroom import Verdict
from haman.core.reports import NodeReport
from haman.core.wakefulness import OVERSLEPT_NS
from haman.core.words import Condition, Reason, Role, Utilization
from tests.cluster.pair import KEY, counting_bytes, free_port, until
from tests.controller.rig import DIED, RigNode, config, duo, node, sees, settle


def keeps_still(one: RigNode) -> bool:
    stance = one.engine.stance()
    return stance is not None and stance.contend and not stance.preempt


def declared_more(one: RigNode, than: int) -> bool:
    return len(one.engine.stances) > than


async def test_fault_releases_and_the_peer_takes_over_with_the_true_story(tmp_path: Path) -> None:
    async with duo(tmp_path) as (lb1, lb2):
        lb1.senses.change(Condition.FAULT, DIED)
        await until(lambda: lb2.role() is Role.ACTIVE, "lb2 takes over")
        assert lb1.role() is Role.RELEASED
        assert [o.vip for o in lb2.engine.orders] == ["web"]
        told = lb2.engine.orders[0].reasons[0]
        assert told.code == "peer-released"
        assert told.text == "lb1 released web: proxy haproxy pid 123 died"
        story = "lb1 released web: proxy haproxy pid 123 died"
        await until(
            lambda: [r.text for r in lb2.controller.snapshot().own.vips[0].reasons][:1] == [story]
        )
        await until(lambda: sees(lb2, lb1, Role.RELEASED))
        released = lb2.controller.snapshot().peers[0].report
        assert released is not None
        assert released.condition is Condition.FAULT
        assert released.vips[0].reasons[0] == DIED


async def test_fault_is_on_the_link_before_the_callback_returns(tmp_path: Path) -> None:
    async with duo(tmp_path) as (lb1, _):
        before = len(lb1.engine.stances)
        lb1.senses.change(Condition.FAULT, DIED)
        # No await in between: what the engine reads now was written inside the callback.
        lb1.engine.read()
        assert len(lb1.engine.stances) == before + 1
        stance = lb1.engine.stance()
        assert stance is not None
        assert (stance.contend, stance.reasons) == (False, (DIED,))


async def test_node_that_starts_does_not_contend_until_the_proxy_is_known(tmp_path: Path) -> None:
    async with node(config(tmp_path, "lb1"), alone=True) as lb1:
        await until(lambda: lb1.role() is Role.RELEASED)
        stance = lb1.engine.stance()
        assert stance is not None
        assert [r.code for r in stance.reasons] == ["starting"]
        lb1.senses.change(Condition.IN_SERVICE)
        await until(lambda: lb1.role() is Role.BACKUP)


async def test_restarted_controller_keeps_what_the_engine_holds(tmp_path: Path) -> None:
    async with node(config(tmp_path, "lb1"), alone=True, roles={"web": Role.ACTIVE}) as lb1:
        await until(lb1.engine.stance)
        stance = lb1.engine.stance()
        assert stance is not None
        assert (stance.contend, stance.preempt) == (True, False)
        lb1.senses.change(Condition.IN_SERVICE)
        await until(lambda: (s := lb1.engine.stance()) is not None and s.preempt)
        assert lb1.role() is Role.ACTIVE
        assert not lb1.events("vip-released")


async def test_saturation_holds_and_says_so(tmp_path: Path) -> None:
    async with duo(tmp_path) as (lb1, lb2):
        busy = (Utilization("tls", 1.92, 2.0, "core-s/s"),)
        lb1.senses.change(
            Condition.SATURATED, Reason("saturated", "tls over 90 % for 2 s"), resources=busy
        )
        await until(lambda: (s := lb1.engine.stance()) is not None and not s.preempt)
        assert lb1.role() is Role.ACTIVE

        def held() -> str:
            vip = lb1.controller.snapshot().own.vip("web")
            told = (r.text for r in vip.reasons if r.code == "saturated-holding")
            return next(told, "")

        await until(lambda: "asked lb2: lb2 denied: lb2 has just started" in held())
        assert held().startswith("tls at 96 % of its ceiling (1.92 of 2 core-s/s); keeps web;")
        assert "saturated" in lb1.alert_codes()
        assert lb2.role() is Role.BACKUP


async def test_drain_moves_the_vip_and_undrain_contends_again(tmp_path: Path) -> None:
    async with duo(tmp_path) as (lb1, lb2):
        assert isinstance(await lb1.controller.drain("", force=False), Accepted)
        await until(lambda: lb2.role() is Role.ACTIVE)
        await until(lambda: lb1.role() is Role.RELEASED)
        assert lb1.controller.snapshot().own.condition is Condition.DRAINED
        assert [e.text for e in lb1.events("operator-drained")] == ["lb1: drained by the operator"]
        assert isinstance(await lb1.controller.undrain(""), Accepted)
        await until(lambda: lb1.role() is Role.BACKUP)


async def test_drain_of_the_other_node_travels_there(tmp_path: Path) -> None:
    async with duo(tmp_path) as (lb1, lb2):
        outcome = await lb2.controller.drain("lb1", force=False)
        assert outcome == Accepted("lb1: drained")
        await until(lambda: lb2.role() is Role.ACTIVE)
        assert [e.text for e in lb1.events("operator-drained")] == [
            "lb1: drained by the operator, through lb2"
        ]
        assert not lb2.events("operator-drained")


async def test_drain_survives_a_restart(tmp_path: Path) -> None:
    settings = config(tmp_path, "lb1")
    async with node(settings, alone=True) as lb1:
        assert isinstance(await lb1.controller.drain("", force=True), Accepted)
    async with node(settings, alone=True) as lb1:
        lb1.senses.change(Condition.IN_SERVICE)
        await until(lambda: lb1.controller.snapshot().own.condition is Condition.DRAINED)
        await until(lambda: (s := lb1.engine.stance()) is not None and s.priority == 1)


async def test_drain_of_the_only_holder_is_refused_unless_forced(tmp_path: Path) -> None:
    async with duo(tmp_path) as (lb1, lb2):
        lb2.senses.change(Condition.FAULT, DIED)
        await until(lambda: sees(lb1, lb2, Role.RELEASED))
        refused = await lb1.controller.drain("", force=False)
        assert isinstance(refused, Refused)
        assert refused.code == "unsafe"
        assert "lb2 is in fault" in refused.reasons[0].text
        assert isinstance(await lb1.controller.drain("", force=True), Accepted)
        await until(lambda: (s := lb1.engine.stance()) is not None and s.priority == 1)
        assert lb1.role() is Role.ACTIVE
        own = lb1.controller.snapshot().own.vip("web")
        assert own is not None
        assert "last-resort" in {r.code for r in own.reasons}


async def test_last_resort_gives_way_when_the_peer_recovers(tmp_path: Path) -> None:
    async with duo(tmp_path) as (lb1, lb2):
        lb2.senses.change(Condition.FAULT, DIED)
        await until(lambda: sees(lb1, lb2, Role.RELEASED))
        await lb1.controller.drain("", force=True)
        lb2.senses.change(Condition.IN_SERVICE)
        await until(lambda: lb2.role() is Role.ACTIVE, "lb2 takes over from the last resort")
        assert lb1.role() is Role.RELEASED


async def test_unsafe_load_is_refused_with_the_numbers(tmp_path: Path) -> None:
    async with duo(tmp_path) as (lb1, lb2):
        for each in (lb1, lb2):
            each.senses.load(0.7)
        await until(lambda: lb1.controller.snapshot().headroom.verdict is Verdict.INSUFFICIENT)
        assert "n-minus-1" in lb1.alert_codes()
        for outcome in (
            await lb1.controller.drain("", force=False),
            await lb1.controller.failover("web", "", force=False),
        ):
            assert isinstance(outcome, Refused)
            assert outcome.code == "unsafe"
            assert "140 %" in outcome.text
        assert isinstance(await lb1.controller.drain("", force=True), Accepted)


async def test_failover_moves_yields_and_is_remembered(tmp_path: Path) -> None:
    async with duo(tmp_path) as (lb1, lb2):
        assert await lb2.controller.failover("web", "lb2", force=False) == Accepted(
            "web moved from lb1 to lb2"
        )
        await until(lambda: lb1.role() is Role.BACKUP)
        stance = lb1.engine.stance()
        assert stance is not None
        assert (stance.preempt, [r.code for r in stance.reasons]) == (False, ["yielded"])
        assert [e.type for e in lb1.events() if e.type.startswith("failover")] == [
            "failover-started",
            "failover-completed",
        ]
        await until(lambda: sees(lb2, lb1, Role.BACKUP))
        # lb2 breaks: lb1 takes over again, and is not yielded any more.
        lb2.senses.change(Condition.FAULT, DIED)
        await until(lambda: lb1.role() is Role.ACTIVE)
        await until(lambda: (s := lb1.engine.stance()) is not None and s.preempt)


async def test_failover_to_nowhere_is_refused(tmp_path: Path) -> None:
    async with duo(tmp_path) as (lb1, lb2):
        codes = {}
        for vip, to in (("nope", ""), ("web", "lb9"), ("web", "lb1")):
            outcome = await lb1.controller.failover(vip, to, force=False)
            codes[vip, to] = outcome.code if isinstance(outcome, Refused) else "accepted"
        assert codes == {
            ("nope", ""): "unknown-vip",
            ("web", "lb9"): "unknown-node",
            ("web", "lb1"): "accepted",
        }
        lb2.senses.change(Condition.FAULT, DIED)
        await until(lambda: sees(lb1, lb2, Role.RELEASED))
        outcome = await lb1.controller.failover("web", "lb2", force=True)
        assert isinstance(outcome, Refused)
        assert outcome.code == "no-target"
        assert lb1.role() is Role.ACTIVE


async def test_pause_is_cluster_wide_and_a_fault_still_moves(tmp_path: Path) -> None:
    async with duo(tmp_path) as (lb1, lb2):
        outcome = await lb1.controller.pause()
        assert outcome == Accepted("lb1, lb2: automatic moves paused")
        for each in (lb1, lb2):
            await until(partial(keeps_still, each))
        await until(lambda: "paused" in lb2.alert_codes())
        lb1.senses.change(Condition.FAULT, DIED)
        await until(lambda: lb2.role() is Role.ACTIVE)
        assert isinstance(await lb2.controller.resume(), Accepted)
        await until(lambda: not lb1.controller.snapshot().paused)


async def test_released_for_another_node_orders_nothing(tmp_path: Path) -> None:
    async with duo(tmp_path) as (lb1, lb2):
        assert lb1.mesh is not None
        lb1.mesh.tell("lb2", Released("web", "lb3"))
        lb1.mesh.tell("lb2", Released("web", "lb2"))
        await until(lambda: lb2.engine.orders)
        assert len(lb2.engine.orders) == 1


async def test_released_that_may_be_old_orders_nothing(tmp_path: Path) -> None:
    """Frozen for 2 s, it reads what was sent meanwhile; the VIP may be somewhere else by now."""
    async with duo(tmp_path) as (lb1, lb2):
        assert lb1.mesh is not None
        lb2.clock.monotonic_offset_ns += 2_000_000_000
        lb1.mesh.publish(lb1.controller.snapshot().own)
        lb1.mesh.tell("lb2", Released("web", "lb2"))
        lb1.mesh.tell("lb2", Order("00ff", "pause"))
        await until(lambda: lb2.controller.snapshot().paused)
        assert not lb2.engine.orders
        lb2.clock.monotonic_offset_ns += OVERSLEPT_NS - 100_000_000
        tell = partial(lb1.mesh.tell, "lb2", Released("web", "lb2"))
        await until(lambda: tell() and lb2.engine.orders)


async def test_released_from_a_peer_that_never_reported_orders_nothing(tmp_path: Path) -> None:
    port = {"lb1": free_port(), "lb2": free_port()}
    settings = config(tmp_path, "lb2", port["lb2"], {"lb1": port["lb1"]})
    theirs = config(tmp_path, "lb1", port["lb1"], {"lb2": port["lb2"]})
    heard: list[Heard] = []
    transport = UdpTransport()
    peer = Mesh(
        "lb1",
        theirs.cluster,
        (KEY,),
        random_bytes=counting_bytes(7),
        sink=transport,
        now_ns=time.monotonic_ns(),
    )
    await transport.bind(
        theirs.cluster.listen,
        lambda data, source: heard.extend(peer.hear(data, source, time.monotonic_ns())),
    )
    async with node(settings) as lb2:
        lb2.senses.change(Condition.IN_SERVICE)
        await until(lambda: lb2.role() is Role.BACKUP)
        peer.greet()
        await until(lambda: any(isinstance(fact, ReportHeard) for fact in heard))
        peer.tell("lb2", Released("web", "lb2"))
        rejected = lb2.controller.snapshot().datagrams_rejected
        peer.tell("lb2", Order("00ff", "pause"))
        await until(lambda: lb2.controller.snapshot().paused)
        assert lb2.controller.snapshot().datagrams_rejected == rejected
        assert not lb2.engine.orders
        # The same, from a peer whose reports are fresh.
        peer.publish(NodeReport("lb1", "", "1", Condition.IN_SERVICE))
        peer.tell("lb2", Released("web", "lb2"))
        await until(lambda: lb2.engine.orders)
    transport.close()
    await asyncio.sleep(0)


async def test_router_that_is_outranked_does_not_name_an_heir(tmp_path: Path) -> None:
    async with duo(tmp_path) as (lb1, lb2):
        outranked = Reason("higher-priority", "priority 150 is below 200 of 10.77.0.13")
        lb1.engine.become("web", Role.BACKUP, outranked)
        await until(lambda: lb1.events("vip-released"))
        await until(lambda: sees(lb2, lb1, Role.BACKUP))
        assert not lb2.engine.orders


async def test_lost_peer_is_an_event_and_an_alert_and_comes_back(tmp_path: Path) -> None:
    ports = {"lb1": free_port(), "lb2": free_port()}
    one = config(tmp_path, "lb1", ports["lb1"], {"lb2": ports["lb2"]}, 150)
    two = config(tmp_path, "lb2", ports["lb2"], {"lb1": ports["lb1"]})
    async with node(one) as lb1:
        async with node(two) as lb2:
            await settle(lb1, lb2)
        await until(lambda: lb1.events("peer-lost"))
        assert {"peer-lost", "isolated"} <= lb1.alert_codes()
        assert lb1.controller.snapshot().own.condition is Condition.ISOLATED
        assert lb1.role() is Role.ACTIVE
        unreachable = await lb1.controller.drain("lb2", force=False)
        assert isinstance(unreachable, Refused)
        assert unreachable.code == "unreachable"
        async with node(two, seed=5) as lb2:
            await until(lambda: len(lb1.events("peer-found")) == 2)
            await until(lambda: lb1.controller.snapshot().own.condition is Condition.IN_SERVICE)


async def test_another_node_of_this_name_is_an_event_and_an_alert(tmp_path: Path) -> None:
    async with duo(tmp_path) as (lb1, lb2):
        transport = UdpTransport()
        await transport.bind(f"127.0.0.1:{free_port()}", lambda *_: None)
        here = lb1.controller.config.cluster.listen
        twin = Mesh(
            "lb1",
            Cluster("edge", peer=(Peer("lb2", (here,)),)),
            (KEY,),
            random_bytes=counting_bytes(7_000_000),
            sink=transport,
            now_ns=time.monotonic_ns(),
        )
        twin.publish(NodeReport("lb1", "", "1", Condition.IN_SERVICE))
        await until(lambda: lb1.events("two-of-a-name-detected"))
        twin.publish(NodeReport("lb1", "", "1", Condition.IN_SERVICE))
        await until(lambda: lb1.controller.snapshot().datagrams_rejected["two-of-a-name"] == 2)
        told = lb1.events("two-of-a-name-detected")
        assert len(told) == 1
        assert told[0].text.startswith("two nodes are named lb1: 127.0.0.1:")
        alerts = {a.code: a.text for a in lb1.controller.snapshot().alerts}
        assert alerts["two-of-a-name"] == told[0].text
        assert "not-authentic" not in alerts
        assert "two-of-a-name" not in lb2.alert_codes()
        assert lb1.role() is Role.ACTIVE
        transport.close()


async def test_wall_clock_that_jumps_changes_nothing(tmp_path: Path) -> None:
    async with duo(tmp_path) as (lb1, lb2):
        for jump_s in (86_400 * 365, -86_400 * 365):
            lb1.clock.wall_offset_ns = jump_s * 10**9
            declared = len(lb2.engine.stances)
            await until(partial(declared_more, lb2, declared))
            assert (lb1.role(), lb2.role()) == (Role.ACTIVE, Role.BACKUP)
            assert all(p.fresh for each in (lb1, lb2) for p in each.controller.snapshot().peers)
        assert not lb1.events("peer-lost")


async def test_alert_keeps_its_since(tmp_path: Path) -> None:
    async with node(config(tmp_path, "lb1"), alone=True) as lb1:
        first = {a.code: a.since_ns for a in lb1.controller.snapshot().alerts}
        lb1.clock.wall_offset_ns = 10**15
        again = {a.code: a.since_ns for a in lb1.controller.snapshot().alerts}
        assert first["single-node"] == again["single-node"]


async def test_engine_that_does_not_read_gets_the_newest_stance_when_it_does(
    tmp_path: Path,
) -> None:
    async with node(config(tmp_path, "lb1"), alone=True) as lb1:
        await until(lb1.engine.stance)
        lb1.engine.frozen = True
        for turn in range(2000):
            broken = turn % 2 == 0
            lb1.senses.change(
                Condition.FAULT if broken else Condition.IN_SERVICE, *((DIED,) if broken else ())
            )
        lb1.senses.change(Condition.FAULT, DIED)
        lb1.engine.frozen = False
        lb1.engine.read()
        await until(lambda: (s := lb1.engine.stance()) is not None and s.reasons == (DIED,))
        last = lb1.engine.stances[-1].generation
        await until(lambda: lb1.engine.stances[-1].generation == last)
        assert lb1.role() is Role.RELEASED


async def test_silent_engine_is_an_alert(tmp_path: Path) -> None:
    async with node(config(tmp_path, "lb1"), alone=True) as lb1:
        await until(lb1.engine.stance)
        await until(lambda: "engine-silent" in lb1.alert_codes())


async def test_controller_ends_when_the_engine_does(tmp_path: Path) -> None:
    async with node(config(tmp_path, "lb1"), alone=True) as lb1:
        await until(lb1.engine.stance)
        lb1.engine.tell("vip-released", "web is off", "web")
        lb1.engine.stop()
        assert lb1.task is not None
        await asyncio.wait_for(lb1.task, 5)
        assert lb1.events("vip-released")


async def test_reload_with_other_senses_keeps_the_vip(tmp_path: Path) -> None:
    import msgspec

    async with duo(tmp_path) as (lb1, _):
        settings = lb1.controller.config
        proxy = msgspec.structs.replace(settings.proxy, kind="haproxy", socket="/run/other.sock")
        lb1.controller.reconfigure(msgspec.structs.replace(settings, proxy=proxy), (KEY,))
        await until(lambda: len(lb1.made) == 2)
        assert lb1.controller.snapshot().own.condition is Condition.STARTING
        assert lb1.role() is Role.ACTIVE
        lb1.made[1].change(Condition.FAULT, DIED)
        await until(lambda: lb1.role() is Role.RELEASED)
