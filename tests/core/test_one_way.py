"""Which of what peers say is passed on to the engine of a node that may not hear their adverts."""

from dataclasses import replace

import pytest

from haman.core.facts import HolderWord, VipReport
from haman.core.one_way import holder_words
from haman.core.reports import NodeReport, PathView, PeerView
from haman.core.words import Condition, Reason, Role

NOW = 10**12
OWN = {"web": ("10.77.0.12", "fe80::2")}
SOURCES = {"web": ("10.77.0.11", "fe80::1")}
ACTIVE = VipReport("web", Role.ACTIVE, 100, 1)
DOWN = VipReport("web", Role.BACKUP, 100, 1, (Reason("one-way-loss", "lb1 is active"),))
THEIRS = VipReport("web", Role.ACTIVE, 150, 1, active_router="10.77.0.12")
REPORT = NodeReport(
    "lb1", "", "1", Condition.IN_SERVICE, vips=(THEIRS,), sources=SOURCES, engine_age_ms=30.0
)
LINK = PathView("10.77.0.11:4710", 20.0)
PEER = PeerView("lb1", REPORT, 10.0, True, (LINK,))


def words(own: VipReport = ACTIVE, peer: PeerView = PEER) -> tuple[HolderWord, ...]:
    return holder_words((own,), OWN, (peer,), NOW)


@pytest.mark.parametrize("own", [ACTIVE, DOWN])
def test_the_word_of_a_holder_with_the_age_of_its_engine_and_of_the_link(own: VipReport) -> None:
    (word,) = words(own)
    assert (word.node, word.vip, word.sources) == ("lb1", "web", SOURCES["web"])
    assert (word.priority, word.hears_us) == (150, True)
    assert word.said_ns == NOW - 50_000_000


def test_over_any_path_of_the_link_in_either_spelling() -> None:
    old = PathView("10.77.0.11:4710", 4000.0)
    link_local = PathView("[FE80:0::1]:4710", 40.0)
    (word,) = words(peer=replace(PEER, paths=(old, link_local)))
    assert word.said_ns == NOW - 70_000_000


@pytest.mark.parametrize("heard", ["", "10.77.0.13"])
def test_one_that_hears_nobody_or_somebody_else_does_not_hear_this_node(heard: str) -> None:
    report = replace(REPORT, vips=(replace(THEIRS, active_router=heard),))
    assert not words(peer=replace(PEER, report=report))[0].hears_us


@pytest.mark.parametrize(
    ("own", "peer"),
    [
        (replace(ACTIVE, role=Role.BACKUP), PEER),
        (replace(ACTIVE, role=Role.RELEASED), PEER),
        (replace(DOWN, role=Role.TAIL), PEER),
        (ACTIVE, replace(PEER, fresh=False)),
        (ACTIVE, replace(PEER, report=None)),
        (ACTIVE, replace(PEER, paths=(PathView("10.99.0.11:4710", 20.0),))),
        (ACTIVE, replace(PEER, paths=(PathView("10.77.0.11:4710", None),))),
        (ACTIVE, replace(PEER, paths=())),
        (ACTIVE, replace(PEER, report=replace(REPORT, engine_age_ms=None))),
        (ACTIVE, replace(PEER, report=replace(REPORT, sources={}))),
        (ACTIVE, replace(PEER, report=replace(REPORT, vips=()))),
        *(
            (ACTIVE, replace(PEER, report=replace(REPORT, vips=(replace(THEIRS, role=role),))))
            for role in Role
            if role is not Role.ACTIVE
        ),
    ],
)
def test_nothing_else_is_passed_on(own: VipReport, peer: PeerView) -> None:
    assert words(own, peer) == ()
