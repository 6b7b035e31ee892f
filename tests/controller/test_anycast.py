"""Anycast through a whole controller: engine, relay and peers are told in the right order."""

from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from haman.api.leftover import served
from haman.api.schema import Member, Status
from haman.api.view import status
from haman.cli.anycast import tables
from haman.config.model import Anycast, Config
from haman.controller.surface import Accepted, Refused
from haman.core.announcements import Announcement, BfdReport
from haman.core.handover.messages import Side
from haman.core.handover.steering import LinkPlace
from haman.core.headroom import Verdict
from haman.core.situation import ENGINE_LOST_MS
from haman.core.words import Condition, Reason, Stance
from tests.cluster.pair import free_port, until
from tests.controller.rig import DIED, EDGE, RigNode, config, node

FULL = Announcement("edge", ("192.0.2.100/32",), weight=100)


def alone(directory: Path, service: Anycast = EDGE) -> Config:
    return config(directory, "lb1", vips=(), anycast=(service,))


def at(one: RigNode, stance: Stance, weight: int) -> bool:
    said = one.service()
    return said is not None and (said.stance, said.weight) == (stance, weight)


async def serve(one: RigNode, *, full: bool = True) -> None:
    """Relay reached, proxy well."""
    one.announcer.connect()
    one.senses.load(0.2)
    one.senses.change(Condition.IN_SERVICE)
    if full:
        await until(lambda: at(one, Stance.FULL, 100), "announced")


def last(one: RigNode) -> tuple[Announcement, ...]:
    return one.announcer.declared[-1]


def knows(one: RigNode, of: str, stance: Stance) -> bool:
    for peer in one.controller.snapshot().peers:
        if peer.name == of and peer.fresh and peer.report is not None:
            said = peer.report.service("edge")
            return said is not None and said.stance is stance
    return False


@asynccontextmanager
async def duo(directory: Path, service: Anycast = EDGE):
    """lb1 announces at full, lb2 is not in service yet."""
    ports = {"lb1": free_port(), "lb2": free_port()}
    more = {"vips": (), "anycast": (service,)}
    one = config(directory, "lb1", ports["lb1"], {"lb2": ports["lb2"]}, **more)
    two = config(directory, "lb2", ports["lb2"], {"lb1": ports["lb1"]}, **more)
    async with node(one) as lb1, node(two) as lb2:
        for each in (lb1, lb2):
            await until(each.engine.anycast, "the first stances")
        await until(lambda: lb1.controller.snapshot().own.condition is not Condition.ISOLATED)
        await until(lambda: all(p.fresh for p in lb1.controller.snapshot().peers))
        await serve(lb1)
        await until(lambda: knows(lb2, "lb1", Stance.FULL))
        yield lb1, lb2


@asynccontextmanager
async def both(directory: Path, service: Anycast = EDGE):
    """Both announce at full."""
    async with duo(directory, service) as (lb1, lb2):
        await serve(lb2)
        await until(lambda: knows(lb1, "lb2", Stance.FULL))
        yield lb1, lb2


async def test_start_is_addresses_then_proxy_then_routes(tmp_path: Path) -> None:
    async with node(alone(tmp_path), alone=True) as lb1:
        lb1.engine.slow_addresses = True
        await until(lambda: (s := lb1.engine.anycast()) is not None and s.held)
        lb1.announcer.connect()
        lb1.senses.change(Condition.IN_SERVICE)
        assert last(lb1) == ()
        own = lb1.service()
        assert own.stance is Stance.WITHDRAWN
        assert own.reasons[0].code == "addresses-missing"
        lb1.engine.slow_addresses = False
        lb1.engine.report()
        await until(lambda: at(lb1, Stance.FULL, 100))
        assert last(lb1) == (FULL,)
        assert lb1.service().held == ("192.0.2.100/32",)
        assert lb1.service().neighbors_up == 2
        events = lb1.events("stance-changed")
        assert [e.text for e in events] == ["edge is withdrawn here", "edge is full here"]


async def test_everything_of_the_configuration_is_announced(tmp_path: Path) -> None:
    service = msgspec.structs.replace(EDGE, community=("65001:100",), med=7, weighted=False)
    async with node(alone(tmp_path, service), alone=True) as lb1:
        await serve(lb1)
        assert last(lb1) == (
            Announcement("edge", ("192.0.2.100/32",), communities=("65001:100",), med=7),
        )
        assert not lb1.service().weighted


async def test_nothing_is_declared_before_the_relay_was_heard(tmp_path: Path) -> None:
    """A controller that was restarted would take away what the one before announced."""
    async with node(alone(tmp_path), alone=True) as lb1:
        await until(lb1.engine.anycast)
        lb1.senses.change(Condition.IN_SERVICE)
        assert lb1.announcer.declared == []
        codes = [r.code for r in lb1.service().reasons]
        assert codes == ["relay-awaited", "relay-not-reached"]
        lb1.announcer.connect(replace(FULL, weight=50))
        await until(lambda: at(lb1, Stance.FULL, 100))
        lb1.announcer.show(counters={"commands": 2})
        assert lb1.controller.snapshot().bgp_counters == {"commands": 2}
        assert () not in lb1.announcer.declared


async def test_restarted_controller_goes_on_where_the_relay_is(tmp_path: Path) -> None:
    async with node(alone(tmp_path), alone=True) as lb1:
        await until(lb1.engine.anycast)
        lb1.announcer.connect(replace(FULL, weight=25))
        await until(lambda: at(lb1, Stance.REDUCED, 25))
        assert lb1.announcer.declared == [(replace(FULL, weight=25),)]
        await until(lambda: [r.code for r in lb1.service().reasons] == ["starting"])


async def test_exabgp_that_runs_is_kept_until_a_configuration_is_valid(tmp_path: Path) -> None:
    settings = alone(tmp_path)
    async with node(settings, alone=True) as lb1:
        lb1.engine.exabgp = "d0"
        lb1.engine.report()
        await until(lambda: lb1.engine.stances)
        assert {s.exabgp for s in lb1.engine.stances} == {"d0"}
        lb1.announcer.show(digest="d1")
        await until(lambda: lb1.engine.stances[-1].exabgp == "d1")
        lb1.controller.reconfigure(msgspec.structs.replace(settings, bgp=None, anycast=()), ())
        await until(lambda: not lb1.engine.stances[-1].exabgp)


async def test_fault_withdraws_inside_the_callback_and_keeps_the_addresses(tmp_path: Path) -> None:
    async with node(alone(tmp_path), alone=True) as lb1:
        await serve(lb1)
        lb1.senses.change(Condition.FAULT, DIED)
        assert last(lb1) == ()  # no await in between
        await until(lambda: at(lb1, Stance.WITHDRAWN, 0))
        assert lb1.service().reasons == (DIED,)
        assert lb1.engine.anycast().held
        (event,) = [e for e in lb1.events("stance-changed") if e.reasons == (DIED,)]
        assert event.data == {"stance": "withdrawn", "weight": 0}


async def test_second_node_climbs(tmp_path: Path) -> None:
    async with duo(tmp_path) as (lb1, lb2):
        await serve(lb2)
        weights = [a[0].weight if a else 0 for a in lb2.announcer.declared]
        assert weights == [0, 25, 50, 100]
        assert "climbing" in {r.code for e in lb2.events("stance-changed") for r in e.reasons}
        assert at(lb1, Stance.FULL, 100)


async def test_drain_is_shut_then_withdrawn_then_addresses_off(tmp_path: Path) -> None:
    async with both(tmp_path) as (lb1, lb2):
        assert await lb2.controller.drain("lb1", force=False) == Accepted("lb1: drained")
        await until(lambda: last(lb1) == (replace(FULL, shut=True),))
        assert lb1.engine.anycast().held
        await until(lambda: last(lb1) == ())
        assert lb1.engine.anycast().held
        await until(lambda: not lb1.engine.anycast().held)
        assert [r.code for r in lb1.service().reasons] == ["no-tail", "drained"]
        assert isinstance(await lb1.controller.undrain(""), Accepted)
        await until(lambda: at(lb1, Stance.FULL, 100))
        assert [a[0].weight if a else 0 for a in lb1.announcer.declared[-4:]] == [0, 25, 50, 100]


async def on_links(*nodes: RigNode) -> None:
    """Their engines know the link that they share, and so do their peers."""
    for number, each in enumerate(nodes, 11):
        each.engine.links = (LinkPlace(f"02:00:00:00:00:{number}", (f"10.77.0.{number}",)),)
        each.engine.report()
    for each in nodes:
        peers = each.controller.snapshot
        await until(lambda: all(p.report and p.report.links for p in peers().peers))  # noqa: B023


def member(one: RigNode, of: str) -> Member:
    """What one node tells operators of another."""
    (service,) = shown(one).services
    return next(m for m in service.members if m.node == of)


def shown(one: RigNode) -> Status:
    return status(one.controller.snapshot(), one.controller.config)


async def test_connections_of_a_drained_node_are_steered_to_it_until_they_end(
    tmp_path: Path,
) -> None:
    async with both(tmp_path) as (lb1, lb2):
        await on_links(lb1, lb2)
        lb1.engine.connections = 3
        assert await lb1.controller.drain("", force=False) == Accepted("lb1: drained")
        await until(lambda: last(lb1) == ())
        (order,) = lb2.engine.stances[-1].steers
        assert (order.side, order.peer, order.places) == (Side.TAKING, "lb1", lb1.engine.links)
        (started,) = lb1.events("tail-started")
        # First the survivor, then the routers.
        shut = [e.at_ns for e in lb1.events("stance-changed") if e.data["stance"] == "shut"]
        assert started.data["with"] == "lb2"
        assert started.at_ns <= shut[-1]
        await until(lambda: member(lb2, "lb1").connections_left == 3)
        await until(lambda: member(lb2, "lb1").stance == "withdrawn")
        assert member(lb2, "lb1").reasons[0].text.endswith("steered here by lb2; 3 left")
        assert served(shown(lb2), "lb1") == ["edge (tail)"]
        assert any("(3 left)" in text for text in tables(shown(lb2)))
        assert lb1.engine.anycast().held
        lb1.engine.connections = 0
        lb1.engine.report()
        await until(lambda: not lb2.engine.stances[-1].steers)
        await until(lambda: not lb1.engine.anycast().held)
        assert served(shown(lb1), "lb1") == []
        (ended,) = lb1.events("tail-ended")
        assert (ended.reasons[0].code, ended.data["cut"]) == ("served", 0)


async def test_a_survivor_without_the_means_is_told_and_the_drain_goes_on(tmp_path: Path) -> None:
    async with both(tmp_path) as (lb1, lb2):
        await on_links(lb1, lb2)
        lb2.engine.problem = Reason("not-on-link", "lb1 shares no IPv4 link with this node")
        await lb1.controller.drain("", force=False)
        await until(lambda: last(lb1) == ())
        (refused,) = lb1.events("tail-refused")
        assert "lb2 does not steer to this node: lb1 shares no IPv4 link" in refused.text
        await until(lambda: not lb2.engine.stances[-1].steers)


async def test_drained_node_comes_back_shut_when_the_last_announcer_goes(tmp_path: Path) -> None:
    async with both(tmp_path) as (lb1, lb2):
        await lb1.controller.drain("", force=False)
        await until(lambda: (s := lb1.engine.anycast()) is not None and not s.held)
        lb2.senses.change(Condition.FAULT, DIED)
        await until(lambda: at(lb1, Stance.SHUT, 100))
        assert lb1.service().reasons[0].code == "last-resort"


async def test_drain_of_the_last_announcer_is_refused_unless_forced(tmp_path: Path) -> None:
    async with duo(tmp_path) as (lb1, lb2):
        refused = await lb1.controller.drain("", force=False)
        assert isinstance(refused, Refused)
        assert (refused.code, refused.text) == (
            "unsafe",
            "draining lb1 is unsafe: no other node can serve edge",
        )
        assert refused.reasons[0].text == "lb2 is starting (edge: withdrawn)"
        forced = await lb1.controller.drain("", force=True)
        assert isinstance(forced, Accepted)
        assert forced.reasons[0].code == "last-resort"
        await until(lambda: at(lb1, Stance.SHUT, 100))
        assert isinstance(await lb2.controller.drain("", force=False), Accepted)


async def test_drain_beside_a_node_that_is_half_heard_is_refused(tmp_path: Path) -> None:
    prefixes = (*EDGE.prefixes, "2001:db8::100/128")
    async with both(tmp_path, msgspec.structs.replace(EDGE, prefixes=prefixes)) as (lb1, lb2):
        tor1, tor2 = lb2.announcer.now.neighbors
        six = replace(tor2, address="fd00::2")
        lb2.announcer.show(neighbors=(replace(tor1, session="down"), six))

        def unheard() -> bool:
            (peer,) = lb1.controller.snapshot().peers
            said = peer.report.service("edge") if peer.report is not None else None
            return said is not None and said.unheard == EDGE.prefixes

        await until(unheard)
        refused = await lb1.controller.drain("", force=False)
        assert isinstance(refused, Refused)
        (why,) = refused.reasons
        assert why.text == "lb2 is in-service (edge: full, 192.0.2.100/32 heard by no router)"


async def test_drain_that_does_not_fit_is_refused_with_the_numbers(tmp_path: Path) -> None:
    async with both(tmp_path) as (lb1, lb2):
        for each in (lb1, lb2):
            each.senses.load(0.6)
        await until(lambda: lb1.controller.snapshot().headroom.verdict is Verdict.INSUFFICIENT)
        refused = await lb1.controller.drain("", force=False)
        assert isinstance(refused, Refused)
        assert "lb2 reaches 120 % of cpu" in refused.text


async def test_failover_of_anycast_is_refused_and_names_drain(tmp_path: Path) -> None:
    async with node(alone(tmp_path), alone=True) as lb1:
        refused = await lb1.controller.failover("edge", "", force=True)
        assert isinstance(refused, Refused)
        assert refused.code == "not-a-vip"
        assert "haman drain" in refused.text


async def test_pause_holds_a_climb(tmp_path: Path) -> None:
    async with duo(tmp_path) as (lb1, lb2):
        assert isinstance(await lb1.controller.pause(), Accepted)
        await until(lambda: lb2.controller.snapshot().paused)
        await serve(lb2, full=False)
        await until(lambda: lb2.service().reasons[0].code == "paused")
        assert at(lb2, Stance.WITHDRAWN, 0)
        assert isinstance(await lb1.controller.resume(), Accepted)
        await until(lambda: at(lb2, Stance.FULL, 100))


async def test_agent_that_ends_shuts_at_once(tmp_path: Path) -> None:
    async with node(alone(tmp_path), alone=True) as lb1:
        await serve(lb1)
        lb1.engine.ending = True
        lb1.engine.report()
        lb1.controller.engine_readable()
        assert last(lb1) == (replace(FULL, shut=True),)  # no tick, no await in between
        await until(lambda: at(lb1, Stance.SHUT, 100))
        assert lb1.service().reasons[0].code == "ending"


async def test_sessions_that_are_down_are_reasons(tmp_path: Path) -> None:
    async with node(alone(tmp_path), alone=True) as lb1:
        await serve(lb1)
        tor1, tor2 = lb1.announcer.now.neighbors
        why = Reason("wrong-as", "tor1 says that it is AS 65009, not 65000")
        down = replace(tor1, session="down", reasons=(why,))
        lb1.announcer.show(neighbors=(down, tor2))
        assert lb1.service().neighbors_up == 1
        assert lb1.service().reasons[0].text == f"session with tor1 is down: {why.text}"
        assert lb1.controller.snapshot().own.neighbors == (down, tor2)


async def test_bfd_is_the_engines_word(tmp_path: Path) -> None:
    async with node(alone(tmp_path), alone=True) as lb1:
        await serve(lb1)
        lb1.engine.bfd = (BfdReport("tor2", "down", 1),)
        lb1.engine.report()
        await until(
            lambda: [n.bfd for n in lb1.controller.snapshot().own.neighbors] == ["", "down"]
        )


async def test_relay_that_is_lost_is_told_and_comes_back_with_the_same(tmp_path: Path) -> None:
    async with node(alone(tmp_path), alone=True) as lb1:
        await serve(lb1)
        since_ns = lb1.service().since_ns
        lb1.announcer.lose()
        said = lb1.service()
        assert (said.stance, said.weight, said.neighbors_up) == (Stance.WITHDRAWN, 0, 0)
        assert [r.text for r in said.reasons] == ["nothing can be announced: no such socket"]
        assert said.since_ns > since_ns
        before = len(lb1.announcer.declared)
        lb1.announcer.connect()
        lb1.announcer.acknowledge()
        assert len(lb1.announcer.declared) == before
        assert at(lb1, Stance.FULL, 100)


async def test_what_is_not_acknowledged_is_not_claimed(tmp_path: Path) -> None:
    async with node(alone(tmp_path), alone=True) as lb1:
        await until(lb1.engine.anycast)
        lb1.announcer.obeys = False
        await serve(lb1, full=False)
        await until(lambda: last(lb1) == (FULL,))
        said = lb1.service()
        assert said.stance is Stance.WITHDRAWN
        assert said.reasons[0].text.startswith("full at weight 100 is wanted; ExaBGP has not")
        lb1.announcer.acknowledge()
        assert at(lb1, Stance.FULL, 100)
        assert lb1.service().reasons == ()


async def test_session_of_another_family_does_not_count(tmp_path: Path) -> None:
    service = msgspec.structs.replace(EDGE, prefixes=("2001:db8::100/128",))
    async with node(alone(tmp_path, service), alone=True) as lb1:
        await serve(lb1)
        assert lb1.service().neighbors_up == 0
        assert lb1.service().unheard == ()  # no neighbor is there for it


async def test_prefixes_of_a_family_without_a_session_are_unheard(tmp_path: Path) -> None:
    async with node(alone(tmp_path), alone=True) as lb1:
        await serve(lb1)
        tor1, tor2 = lb1.announcer.now.neighbors
        lb1.announcer.show(neighbors=(tor1, replace(tor2, address="fd00::2")))
        assert lb1.service().unheard == ()
        down = replace(tor1, session="down")
        lb1.announcer.show(neighbors=(down, tor2))
        assert lb1.service().unheard == ()  # the other one of this family hears it
        lb1.announcer.show(neighbors=(down, replace(tor2, session="down")))
        assert lb1.service().unheard == EDGE.prefixes
        assert not lb1.service().carried


async def test_reload_reaches_announcer_and_ladder(tmp_path: Path) -> None:
    settings = alone(tmp_path)
    async with node(settings, alone=True) as lb1:
        await serve(lb1)
        heavier = msgspec.structs.replace(
            settings, anycast=(msgspec.structs.replace(EDGE, weight=200),)
        )
        lb1.controller.reconfigure(heavier, ())
        await until(lambda: at(lb1, Stance.FULL, 200))
        assert lb1.announcer.config is heavier
        assert () not in lb1.announcer.declared[1:], "never through a withdrawal"


async def test_reload_may_bring_and_take_bgp(tmp_path: Path) -> None:
    settings = alone(tmp_path)
    without = msgspec.structs.replace(settings, bgp=None, anycast=())
    async with node(without, alone=True) as lb1:
        await until(lambda: lb1.engine.stances)
        assert not lb1.announcers
        lb1.controller.reconfigure(settings, ())
        await until(lambda: lb1.announcers and lb1.announcer.running)
        await serve(lb1)
        lb1.controller.reconfigure(without, ())
        await until(lambda: not lb1.announcer.running)
        assert lb1.controller.snapshot().own.anycast == ()
        lb1.controller.reconfigure(settings, ())
        await until(lambda: len(lb1.announcers) == 2 and lb1.announcer.running)


async def test_announcer_that_ends_is_a_bug_and_ends_the_controller(tmp_path: Path) -> None:
    running = node(alone(tmp_path), alone=True)
    lb1 = await running.__aenter__()
    await until(lambda: lb1.announcer.running)
    lb1.announcer.end.set()
    assert lb1.task is not None
    await until(lb1.task.done)
    with pytest.raises(RuntimeError, match="the announcer ended"):
        await running.__aexit__(None, None, None)


async def test_trouble_becomes_alerts(tmp_path: Path) -> None:
    async with node(alone(tmp_path), alone=True) as lb1:
        await serve(lb1)
        assert lb1.alert_codes() == {"single-node"}
        lb1.announcer.lose()
        assert {"relay-lost", "not-announced", "no-holder"} <= lb1.alert_codes()
        lb1.announcer.connect(FULL, session="down")
        assert {"bgp-session-down", "not-announced"} <= lb1.alert_codes()


async def test_engine_that_hangs_is_withdrawn_before_its_addresses_end(tmp_path: Path) -> None:
    async with node(alone(tmp_path), alone=True) as lb1:
        await serve(lb1)
        lb1.engine.frozen = True
        await until(lambda: "engine-silent" in lb1.alert_codes(), "its last word was read")
        assert at(lb1, Stance.FULL, 100)
        lb1.clock.monotonic_offset_ns += ENGINE_LOST_MS * 1_000_000
        await until(lambda: at(lb1, Stance.WITHDRAWN, 0), "withdrawn")
        assert last(lb1) == ()
        assert lb1.service().reasons[0].data["code"] == "engine-silent"
        lb1.engine.frozen = False
        lb1.engine.read()
        lb1.engine.report()
        await until(lambda: at(lb1, Stance.FULL, 100), "announced again")
