"""A link that falls apart between two nodes, and heals: one holder, and neighbours that know it."""

from pathlib import Path

import pytest

from tests.engine.conftest import Agents
from tests.engine.net import Host, Lan, toml, vip_toml, wait

pytestmark = pytest.mark.privileged

V4, V6 = "10.77.0.100", "2001:db8::100"
VIPS = {f"{V4}/24", f"{V6}/64"}


def cut(host: Host, other: Host) -> None:
    """No frame of `other`'s arrives, whatever it carries."""
    host.run(
        "nft 'table netdev apart { chain in { type filter hook ingress device eth0 priority -600;"
        f" ether saddr {other.mac('eth0')} drop; }}; }}'"
    )


def knows(client: Host, holder: Host) -> bool:
    """Whether a neighbour has the holder's MAC for both addresses, by its own table."""
    table = client.run("ip neigh show dev eth0")
    macs = {line.split()[0]: line for line in table.splitlines()}
    return all(holder.mac("eth0") in macs.get(address, "") for address in (V4, V6))


def reach(client: Host) -> None:
    client.run(f"ping -c 1 -W 2 {V4} > /dev/null; ping -c 1 -W 2 {V6} > /dev/null")


def test_healed_it_has_one_holder_and_every_neighbour_knows(agents: Agents, tmp_path: Path) -> None:
    lan = Lan(4)
    try:
        first, second, *clients = lan.hosts
        text = toml(vip_toml(addresses=sorted(VIPS), advert_interval_ms=100), state=tmp_path)
        a, b = (agents.start(host, text) for host in (first, second))
        a.contend(priority=150)
        wait(lambda: set(a.vip().held) >= VIPS)
        b.contend(priority=100)
        wait(lambda: b.role() == "backup" and b.vip().active_priority == 150)
        for client in clients:
            reach(client)
            assert knows(client, first)

        cut(first, second)
        cut(second, first)
        wait(lambda: a.poll() or set(b.vip().held) >= VIPS, what="both serve")
        assert a.role() == b.role() == "active"
        wait(lambda: all(knows(client, second) for client in clients), what="the last word was b's")

        for host in (first, second):
            host.run("nft delete table netdev apart")
        wait(lambda: a.poll() or b.role() == "backup", what="the lower one lets go")
        wait(lambda: not VIPS & second.addresses())
        assert a.role() == "active"
        assert first.addresses() >= VIPS
        wait(lambda: all(knows(client, first) for client in clients), what="announced again")
        for client in clients:
            reach(client)
    finally:
        for agent in agents.made:
            agent.close()
        lan.close()
