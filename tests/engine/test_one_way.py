"""Adverts that are lost in one direction: the lesser node lets go by what its controller is told."""

import time
from pathlib import Path

import pytest

from haman.core.facts import HoldersSaid, HolderWord
from haman.system import clock
from tests.engine.conftest import Agents
from tests.engine.net import Agent, Lan, toml, vip_toml, wait

pytestmark = pytest.mark.privileged

VIPS = {"10.77.0.100/24", "2001:db8::100/64"}


def tell(agent: Agent, holder: Agent) -> None:
    """What the controllers would have the engine know of the holder, as it is now."""
    assert agent.controller is not None
    said = holder.vip()
    own = {source for place in agent.report.places for source in place.sources}
    sources = next(p.sources for p in holder.report.places if p.vip == "web")
    hears = said.active_router in own
    word = HolderWord("web", "lb1", sources, said.priority, hears, clock.monotonic_ns())
    agent.controller.tell(HoldersSaid((word,)))


def test_the_lesser_lets_go_for_as_long_as_it_is_told(
    lan: Lan, agents: Agents, tmp_path: Path
) -> None:
    first, second = lan.hosts[:2]
    text = toml(vip_toml(addresses=sorted(VIPS), advert_interval_ms=100), state=tmp_path)
    a, b = (agents.start(host, text) for host in (first, second))
    a.contend(priority=150)
    wait(lambda: set(a.vip().held) >= VIPS)
    b.contend(priority=100)
    wait(lambda: b.role() == "backup" and b.vip().active_priority == 150)
    tell(b, a)
    second.run(
        "nft 'table netdev deaf { chain in { type filter hook ingress device eth0 priority -600;"
        f" ether saddr {first.mac('eth0')} meta l4proto 112 drop; }}; }}'"
    )
    # The holder says at once, and not with its next regular word, that it hears another one.
    wait(lambda: b.role() == "active" and bool(a.vip().active_router), what="two holders")
    wait(lambda: set(b.vip().held) >= VIPS)

    tell(b, a)
    wait(lambda: b.role() == "backup", what="the lesser lets go")
    wait(lambda: not VIPS & second.addresses())
    assert a.role() == "active"
    (change, *_) = [e for e in reversed(b.told("role-changed")) if e.reasons]
    assert change.reasons[0].code == "one-way-loss"
    assert b.told("conflict-detected", "web")
    # Told again and again it stays down, for longer than one word counts.
    end = time.monotonic() + 3
    while time.monotonic() < end:
        tell(b, a)
        assert b.role() == "backup"
        time.sleep(0.1)
    # Told nothing more, as by a controller that died, it serves.
    wait(lambda: a.poll() or set(b.vip().held) >= VIPS, what="it takes over by itself")
    assert "nor a report that it is active" in b.vip().reasons[0].text

    tell(b, a)
    wait(lambda: b.role() == "backup")
    second.run("nft delete table netdev deaf")
    wait(lambda: b.vip().active_priority == 150, what="adverts arrive again")
    wait(lambda: b.told("adverts-heard", "web"))
    assert "arrive again" in b.vip().reasons[0].text
    assert a.role() == "active"
