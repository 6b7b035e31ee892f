"""What a node tells its peers for the arithmetic of reconnect storms, and that it arrives."""

from dataclasses import replace
from pathlib import Path

from haman.config.model import Config, Node, State
from haman.controller.settings import tickets_shared
from haman.controller.storm import storm_report
from haman.controller.surface import Accepted, Refused
from haman.core import tickets
from haman.core.calibration import Calibration, HandshakeCost
from haman.core.headroom import Verdict
from haman.core.reports import StormReport
from haman.core.resources import NS_PER_S, CountersSampled, ListenQueue
from haman.core.tickets import TicketCheck, TicketPair
from haman.core.words import Condition, Confidence, Role, Utilization
from tests.cluster.pair import until
from tests.controller.rig import duo
from tests.core.test_resource_kinds import WORKER, Metered, counters, queues, quota


def told(metered: Metered, **more: bool) -> StormReport:
    shared = more.get("tickets_shared", False)
    return storm_report(metered.meter, {"cpu": 0.1}, 5.0, tickets_shared=shared, now_ns=0)


def test_nothing_known_is_told_as_unknown() -> None:
    found = told(Metered())
    assert (found.cores, found.backlog, found.tickets_shared) == (None, None, False)
    assert (found.full_s, found.resumed_s, found.confidence) == (
        433e-6,
        201e-6,
        Confidence.DEFAULT,
    )
    assert (found.client_timeout_s, found.base) == (5.0, {"cpu": 0.1})


def test_what_the_senses_know_is_told() -> None:
    cost = HandshakeCost("127.0.0.1:443", "rsa-4096", "TLSv1.3", 3166e-6, 200e-6)
    metered = Metered(calibration=Calibration(1, "haproxy", (cost,)))
    metered.feed(counters(0, threads=4), queues(0, 7))
    found = told(metered, tickets_shared=True)
    assert (found.cores, found.backlog, found.waiting) == (4, 1022, 7)
    assert (found.full_s, found.resumed_s, found.confidence) == (
        3166e-6,
        200e-6,
        Confidence.CALIBRATED,
    )
    assert found.tickets_shared


def test_threads_are_known_even_where_handshakes_are_not_counted() -> None:
    metered = Metered()
    assert metered.meter.tls.cores is None
    metered.feed(CountersSampled(0, WORKER, threads=4))
    assert metered.meter.tls.cores == 4
    metered.feed(quota(0, 0, 0, 0, 1.5), CountersSampled(1, WORKER, threads=4))
    assert metered.meter.tls.cores == 1.5


def test_how_many_clients_resume_is_told_when_enough_did_or_did_not() -> None:
    metered = Metered()
    metered.feed(counters(0, 500, resumed=0), counters(NS_PER_S, 700, resumed=700))
    assert metered.meter.tls.resumed_share == 0  # of 900
    metered.feed(counters(2 * NS_PER_S, 750, resumed=750))
    assert metered.meter.tls.resumed_share == 0.75
    metered.feed(counters(3 * NS_PER_S, 0, resumed=0))  # begun anew
    assert metered.meter.tls.resumed_share == 0.75


def test_the_roomiest_address_is_told_with_all_its_sockets() -> None:
    metered = Metered()
    assert metered.meter.accepts.room(0) == (None, 0)
    admin = ListenQueue("127.0.0.1:8404", 0, 128, own=True)
    metered.feed(queues(0, 7, 0, admin, ListenQueue("0.0.0.0:22", 0, 9999, own=False)))
    assert metered.meter.accepts.room(NS_PER_S) == (1022, 7)
    assert metered.meter.accepts.room(60 * NS_PER_S) == (None, 0)


def test_ticket_sharing_is_unproven_until_it_was_checked(tmp_path: Path) -> None:
    config = Config(node=Node(name="lb1"), state=State(directory=str(tmp_path)))
    file = tmp_path / tickets.FILE
    assert not tickets_shared(config)
    for resumed in (False, True):
        pairs = (TicketPair("a:1", "b:1", True), TicketPair("b:1", "a:1", resumed))
        file.write_text(tickets.encode(TicketCheck(7, pairs)))
        assert tickets_shared(config) is resumed
    file.write_text("{")
    assert not tickets_shared(config)


def storming(cpu: float, clients: int) -> dict[str, object]:
    resources = (
        Utilization("cpu", cpu, 1.0, "cores"),
        Utilization("connections", clients, 1e6, "count"),
    )
    storm = StormReport(1.0, 433e-6, 201e-6, 1.0, backlog=4096)
    return {"resources": resources, "connections": clients, "storm": storm}


async def test_a_storm_that_a_peer_cannot_take_refuses_the_drain(tmp_path: Path) -> None:
    async with duo(tmp_path) as (lb1, lb2):
        lb1.senses.change(Condition.IN_SERVICE, **storming(0.05, 4000))
        lb2.senses.change(Condition.IN_SERVICE, **storming(0.05, 0))

        def verdict() -> Verdict:
            return lb1.controller.snapshot().headroom.verdict

        await until(lambda: verdict() is Verdict.INSUFFICIENT, "the storm is foreseen")
        outcome = await lb1.controller.drain("", force=False)
        assert isinstance(outcome, Refused)
        assert "1.82 s for the handshakes of 4000 clients" in outcome.text
        (alert,) = [a for a in lb1.controller.snapshot().alerts if a.code == "n-minus-1"]
        assert "1096 connections could be survived" in alert.text
        lb1.senses.change(Condition.IN_SERVICE, **storming(0.05, 400))
        await until(lambda: verdict() is Verdict.OK, "few clients fit")
        assert lb1.role() is Role.ACTIVE
        # An older version of a peer tells nothing of storms: that is unknown, and refuses nothing.
        lb2.senses.now = replace(lb2.senses.now, storm=None)
        await until(lambda: verdict() is Verdict.UNKNOWN, "the peer is as an older one")
        assert isinstance(await lb1.controller.drain("", force=False), Accepted)
