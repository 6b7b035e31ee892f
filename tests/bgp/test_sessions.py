"""Sessions that work, and why others do not: FRR, BIRD, and routers that are none."""

import asyncio
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from haman.config.model import Neighbor
from tests.bgp.conftest import Cable
from tests.bgp.rig import EDGE4, EDGE6, FRR, config, edge, neighbor, running, until
from tests.bgp.routers import Bird, Frr, connect

pytestmark = [pytest.mark.privileged, pytest.mark.real("frr"), pytest.mark.real("bird2")]


PASSWORD = "0dead;beef{#}"


def secured(password: str, ttl: bool = True) -> str:
    lines = FRR.splitlines()
    at = next(i for i, line in enumerate(lines) if "address-family" in line)
    for address in ("10.0.1.2", "2001:db8:1::2"):
        if password:
            lines.insert(at, f" neighbor {address} password {password}")
        if ttl:
            lines.insert(at, f" neighbor {address} ttl-security hops 1")
    return "\n".join([*lines, ""])


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    file = tmp_path / "password"
    file.write_text(f"{PASSWORD}\n")
    return file


def both(**more) -> tuple[Neighbor, Neighbor]:
    return neighbor(**more), neighbor("tor1-v6", six=True, **more)


async def test_passwords_and_ttl_security_in_both_families(
    cable: Cable, password_file: Path
) -> None:
    with Frr(cable.router, secured(PASSWORD)) as frr:
        secure = config(*both(password_file=str(password_file), ttl_security=True))
        async with running(cable.node, secure) as node:
            await node.announced(edge(weight=100))
            await until(lambda: frr.kernel(EDGE4) and frr.kernel(EDGE6), what=lambda: node)
            for neighbor_ in node.seen.neighbors:
                await node.up(neighbor_.name)
                assert neighbor_.reasons == ()
            assert node.exabgp
            assert "0dead" not in node.exabgp.said()
            assert "0dead" not in str(node.events)


async def test_a_password_of_hexadecimal_digits_is_not_taken_for_base64(
    cable: Cable, tmp_path: Path
) -> None:
    (tmp_path / "password").write_text("deadbeef")
    with Frr(cable.router, secured("deadbeef", ttl=False)):
        secure = config(neighbor(password_file=str(tmp_path / "password")))
        async with running(cable.node, secure) as node:
            node.announcer.declare((edge(EDGE4),))
            await node.up()


BIRD = """
router id 10.0.9.2;
protocol device {}
protocol kernel { ipv4 { export all; }; }
protocol kernel { ipv6 { export all; }; }
protocol bgp node4 {
  local 10.0.2.1 as 65000; neighbor 10.0.2.2 as 65001; hold time 9; connect retry time 1;
  ipv4 { import all; export none; };
}
protocol bgp node6 {
  local 2001:db8:2::1 as 65000; neighbor 2001:db8:2::2 as 65001; hold time 9; connect retry time 1;
  ipv6 { import all; export none; };
}
"""


async def test_two_routers_of_different_make_hear_the_same(cable: Cable, frr: Frr) -> None:
    second = type(cable.router)()
    connect(cable.node, second, 2)
    neighbors = (*both(), neighbor("tor2", 2), neighbor("tor2-v6", 2, six=True))
    try:
        with Bird(second, BIRD) as bird:
            async with running(cable.node, config(*neighbors)) as node:
                await node.announced(edge(weight=100, communities=("65001:5",)))
                await node.up()
                for prefix in (EDGE4, EDGE6):
                    await until(
                        lambda p=prefix: frr.kernel(p) and bird.kernel(p), what=lambda: node
                    )
                    assert "(65001,5)" in bird.route(prefix)
                await node.announced(edge(shut=True, weight=100))
                for prefix in (EDGE4, EDGE6):
                    await until(lambda p=prefix: "(65535,0)" in bird.route(p), what=lambda: node)
                await node.announced()
                for prefix in (EDGE4, EDGE6):
                    await until(
                        lambda p=prefix: not frr.kernel(p) and not bird.kernel(p), what=lambda: node
                    )
    finally:
        second.close()


async def reason(node, code: str, name: str = "tor1"):
    """The reason with this code, once it is there."""
    await until(lambda: code in node.codes(name), 30, lambda: node)
    return next(r for r in node.neighbor(name).reasons if r.code == code)


async def test_wrong_as_there(cable: Cable) -> None:
    with Frr(cable.router, FRR.replace("remote-as 65001", "remote-as 65009")):
        async with running(cable.node, config(neighbor())) as node:
            node.announcer.declare((edge(EDGE4),))
            text = (await reason(node, "wrong-as")).text
            assert "65001" in text or "65000" in text
            assert node.neighbor().session != "up"


async def test_wrong_as_here(cable: Cable, frr: Frr) -> None:
    async with running(cable.node, config(neighbor(peer_as=64999))) as node:
        node.announcer.declare((edge(EDGE4),))
        assert "64999" in (await reason(node, "wrong-as")).text


async def test_a_router_that_does_not_know_this_node(cable: Cable) -> None:
    with Frr(cable.router, FRR.replace("10.0.1.2", "10.0.1.200")):
        async with running(cable.node, config(neighbor())) as node:
            node.announcer.declare((edge(EDGE4),))
            assert "10.0.1.2 as a neighbor" in (await reason(node, "closed-by-router")).text


async def test_another_password_there(cable: Cable, password_file: Path) -> None:
    with Frr(cable.router, secured("another", ttl=False)):
        async with running(cable.node, config(neighbor(password_file=str(password_file)))) as node:
            node.announcer.declare((edge(EDGE4),))
            text = (await reason(node, "no-answer")).text
            assert "answers ARP" in text
            assert "password differs" in text


async def test_no_password_there(cable: Cable, frr: Frr, password_file: Path) -> None:
    async with running(cable.node, config(neighbor(password_file=str(password_file)))) as node:
        node.announcer.declare((edge(EDGE4),))
        assert "without a password" in (await reason(node, "password-not-set-there")).text


async def test_a_password_there_and_none_here(cable: Cable) -> None:
    with Frr(cable.router, secured("another", ttl=False)):
        async with running(cable.node, config(neighbor())) as node:
            node.announcer.declare((edge(EDGE4),))
            assert "it demands a password" in (await reason(node, "no-answer")).text


async def test_ttl_security_on_one_side_only(cable: Cable) -> None:
    with Frr(cable.router, secured("")):
        async with running(cable.node, config(neighbor())) as node:
            node.announcer.declare((edge(EDGE4),))
            await until(node.codes, 30, lambda: node)
            assert node.neighbor().session != "up"


async def test_nobody_there_nothing_there_no_address(cable: Cable) -> None:
    """A router that is down, one without BGP, and a local address that this host has not."""
    neighbors = (
        neighbor("gone", address="10.0.1.77"),
        neighbor("no-bgp"),
        neighbor("no-bgp-v6", six=True),
        neighbor("nowhere", address="10.9.9.9"),
        neighbor("moved", address="10.0.1.78", local_address="10.0.1.222"),
    )
    async with running(cable.node, config(*neighbors)) as node:
        node.announcer.declare((edge(weight=1),))
        assert (
            "10.0.1.222 is not on this host"
            in (await reason(node, "address-missing", "moved")).text
        )
        assert node.neighbor("moved").session == "idle"
        for name in ("no-bgp", "no-bgp-v6"):
            assert "refuses TCP" in (await reason(node, "tcp-refused", name)).text
            assert node.neighbor(name).session == "down"
        await until(lambda: node.codes("gone"), 30, lambda: node)
        assert node.codes("gone") in (["no-answer"], ["no-route"])
        await reason(node, "no-route", "nowhere")
        cable.node.run("ip addr add 10.0.1.222/24 dev to1")
        await until(lambda: "address-missing" not in node.codes("moved"), 40, lambda: node)


@contextmanager
def listening(cable: Cable, greeting: bytes | None) -> Iterator[None]:
    """Something on the router's port 179 that says this to everybody, or nothing at all."""
    with cable.router.inside():
        listener = socket.create_server(("10.0.1.1", 179))
    kept: list[socket.socket] = []

    def serve() -> None:
        while True:
            try:
                accepted, _ = listener.accept()
            except OSError:
                return
            kept.append(accepted)
            if greeting:
                accepted.sendall(greeting)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)
        for accepted in kept:
            accepted.close()


async def test_rubbish_from_the_peer(cable: Cable) -> None:
    with listening(cable, b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n" * 3):
        async with running(cable.node, config(neighbor())) as node:
            node.announcer.declare((edge(EDGE4),))
            assert "not BGP" in (await reason(node, "not-bgp")).text
            assert node.exabgp
            assert node.exabgp.process.poll() is None


async def test_a_peer_that_accepts_and_says_nothing(cable: Cable) -> None:
    with listening(cable, None):
        async with running(cable.node, config(neighbor())) as node:
            node.announcer.declare((edge(EDGE4),))
            assert "has not sent an OPEN" in (await reason(node, "no-open")).text
            assert node.neighbor().session == "connecting"


async def test_a_router_that_falls_silent_and_returns(cable: Cable, frr: Frr) -> None:
    async with running(cable.node, config(neighbor(hold_time_s=3))) as node:
        await node.announced(edge(EDGE4))
        await node.up()
        os.kill(frr.daemons["bgpd"].pid, signal.SIGSTOP)
        await until(lambda: node.told("bgp-session-down"), what=lambda: node)
        (down,) = node.told("bgp-session-down")
        assert down.reasons[0].code == "hold-timer-expired"
        os.kill(frr.daemons["bgpd"].pid, signal.SIGCONT)
        await node.up()
        await until(lambda: frr.kernel(EDGE4), what=lambda: node)


async def test_an_administrator_and_flapping(cable: Cable, frr: Frr) -> None:
    async with running(cable.node, config(neighbor())) as node:
        await node.announced(edge(EDGE4))
        for downs in range(1, 4):
            await node.up()
            frr.vtysh("clear bgp *")
            await until(lambda n=downs: len(node.told("bgp-session-down")) == n, what=lambda: node)
        await node.up()
        assert node.codes() == ["flapping"]
        for _ in range(5):  # its RST overtakes the NOTIFICATION now and then
            node.events.clear()
            frr.vtysh("configure terminal", "router bgp 65000", "neighbor 10.0.1.2 shutdown")
            await until(lambda: node.told("bgp-session-down"), what=lambda: node)
            if "administrative shutdown" in node.told("bgp-session-down")[0].text:
                break
            frr.vtysh("configure terminal", "router bgp 65000", "no neighbor 10.0.1.2 shutdown")
            await node.up()
        else:
            pytest.fail(str(node))


async def test_prefixes_that_no_session_carries_are_said(cable: Cable, frr: Frr) -> None:
    only4 = config()
    async with running(cable.node, only4) as node:
        node.announcer.reconfigure(
            type(only4)(
                bgp=config(neighbor()).bgp,
                anycast=only4.anycast,
            )
        )
        node.announcer.declare((edge(weight=1),))
        await until(lambda: EDGE6 in node.seen.problem, what=lambda: node)
        await until(lambda: node.seen.announced == (edge(EDGE4, weight=1),), what=lambda: node)
        assert "IPv6" in node.seen.problem
        await asyncio.sleep(0)
