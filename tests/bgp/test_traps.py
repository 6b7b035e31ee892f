"""What has cost others an outage with ExaBGP, each against the real one."""

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest

from haman.bgp import announcer, configuration
from haman.core.announcements import EXABGP_CONF, RELAY_SOCKET
from tests.bgp.conftest import Cable
from tests.bgp.rig import EDGE4, EDGE6, FRR, Node, config, edge, neighbor, running, until
from tests.bgp.routers import Frr

pytestmark = [pytest.mark.privileged, pytest.mark.real("frr")]


async def test_no_route_outlives_a_killed_exabgp(cable: Cable, frr: Frr) -> None:
    """With graceful restart a router goes on sending here for a minute; it is never offered."""
    async with running(cable.node, config()) as node:
        await node.announced(edge(weight=100))
        await until(lambda: frr.kernel(EDGE4) and frr.kernel(EDGE6), what=lambda: node)
        relay = node.relay_pid
        node.kill_exabgp()
        assert await until(lambda: not frr.kernel(EDGE4) and not frr.kernel(EDGE6)) < 5
        await until(lambda: not Path(f"/proc/{relay}").exists(), what="an orphaned relay ends")
        await until(lambda: node.told("relay-lost"), what=lambda: node)
        assert node.neighbor().session == "unknown"
        assert node.seen.announced == ()

        node.start_exabgp()
        await until(lambda: frr.kernel(EDGE4) and frr.kernel(EDGE6), what=lambda: node)
        await until(lambda: node.seen.announced == (edge(weight=100),), what=lambda: node)


async def test_a_relay_that_dies_is_replaced_and_adopts_what_is_announced(
    cable: Cable, frr: Frr
) -> None:
    async with running(cable.node, config(lease_shut_s=2, lease_withdraw_s=8)) as node:
        await node.announced(edge(weight=100))
        await until(lambda: frr.kernel(EDGE4) and frr.kernel(EDGE6), what=lambda: node)
        await node.stop_controller()
        first = node.relay_pid
        os.kill(first, signal.SIGKILL)
        await until(lambda: node.relay_pid not in {0, first}, what=lambda: node)
        assert frr.kernel(EDGE4)
        assert node.exabgp
        assert node.exabgp.process.poll() is None
        # Nobody has told the new relay anything: it shuts and withdraws what it found.
        await until(lambda: "65535:0" in shut(frr, EDGE4), what=lambda: node)
        assert frr.kernel(EDGE4)
        await until(lambda: not frr.kernel(EDGE4) and not frr.kernel(EDGE6), what=lambda: node)


def shut(frr: Frr, prefix: str) -> str:
    """The communities of a prefix, 65535:0 as numbers."""
    return " ".join(frr.communities(prefix)).replace("graceful-shutdown", "65535:0")


async def test_the_lease_shuts_then_withdraws_and_ends_when_renewed(cable: Cable, frr: Frr) -> None:
    async with running(cable.node, config(lease_shut_s=2, lease_withdraw_s=10)) as node:
        await node.announced(edge(weight=100, communities=("65001:1",)))
        await until(lambda: frr.kernel(EDGE4) and frr.kernel(EDGE6), what=lambda: node)
        frr.vtysh("configure terminal", "debug bgp updates in", "log stdout debugging")
        await node.stop_controller()
        began = time.monotonic()
        await until(lambda: "65535:0" in shut(frr, EDGE4), what=lambda: node)
        assert time.monotonic() - began > 1
        assert "65001:1" in shut(frr, EDGE4)
        assert "withdrawn" not in frr.daemons["bgpd"].said()

        node.start_controller()
        node.announcer.declare((edge(weight=100, communities=("65001:1",)),))
        await until(lambda: "65535:0" not in shut(frr, EDGE4), what=lambda: node)
        assert "withdrawn" not in frr.daemons["bgpd"].said()

        await node.stop_controller()
        await until(lambda: not frr.kernel(EDGE4) and not frr.kernel(EDGE6), what=lambda: node)
        assert frr.established("10.0.1.2")
        node.start_controller()
        node.announcer.declare((edge(weight=100),))
        await until(lambda: frr.kernel(EDGE4) and frr.kernel(EDGE6), what=lambda: node)


async def test_a_controller_that_hangs_lets_the_lease_run_out(cable: Cable, frr: Frr) -> None:
    """Its socket stays open and unread, and BGP goes on."""
    async with running(cable.node, config(lease_shut_s=2, lease_withdraw_s=0)) as node:
        await node.announced(edge(weight=100))
        await until(lambda: frr.kernel(EDGE4), what=lambda: node)
        began = time.monotonic()
        while "65535:0" not in shut(frr, EDGE4):
            time.sleep(0.05)  # noqa: ASYNC251  the event loop, and the controller with it, hangs
            assert time.monotonic() - began < 20
        while time.monotonic() - began < 4:
            time.sleep(0.05)  # noqa: ASYNC251
        assert frr.kernel(EDGE4)
        assert frr.established("10.0.1.2")
        await until(lambda: "65535:0" not in shut(frr, EDGE4), what=lambda: node)
        # The relay was there all the time, and told what became of its lease.
        await until(lambda: node.told("lease-expired"), what=lambda: node)
        assert not node.told("relay-lost")


async def test_a_hung_exabgp_is_told_and_none_of_its_sessions_is_claimed(
    cable: Cable, frr: Frr
) -> None:
    async with running(cable.node, config()) as node:
        await node.announced(edge(weight=100))
        await node.up()
        assert node.exabgp
        os.kill(node.exabgp.pid, signal.SIGSTOP)
        await until(lambda: node.codes() == ["exabgp-silent"], what=lambda: node)
        assert [n.session for n in node.seen.neighbors] == ["unknown", "unknown"]
        assert "does not acknowledge" in node.seen.problem
        os.kill(node.exabgp.pid, signal.SIGCONT)
        await node.up()
        assert not node.seen.problem


async def test_zero_holds_for_ever(cable: Cable, frr: Frr) -> None:
    async with running(cable.node, config(lease_shut_s=0, lease_withdraw_s=0)) as node:
        await node.announced(edge(weight=100))
        await until(lambda: frr.kernel(EDGE4), what=lambda: node)
        await node.stop_controller()
        await asyncio.sleep(3)
        assert frr.kernel(EDGE4)
        assert "65535:0" not in shut(frr, EDGE4)


async def test_what_exabgp_lost_is_found_and_announced_again(cable: Cable, frr: Frr) -> None:
    """Behind the relay's back, as another helper might: through the relay's own output."""
    async with running(cable.node, config(neighbor())) as node:
        await node.announced(edge(EDGE4, weight=100))
        await until(lambda: frr.kernel(EDGE4), what=lambda: node)
        Path(f"/proc/{node.relay_pid}/fd/1").write_bytes(  # noqa: ASYNC240  a pipe, and short
            b"withdraw route 192.0.2.100/32 next-hop self\n"
            b"announce route 192.0.2.66/32 next-hop self\n"
        )
        # Two acknowledgements that nobody asked for: the relay looks into the RIB.
        await until(lambda: node.seen.counters.get("reconcile_repairs", 0) >= 2, what=lambda: node)
        await until(lambda: not frr.kernel("192.0.2.66/32"), what=lambda: node)
        await until(lambda: frr.kernel(EDGE4), what=lambda: node)
        assert node.seen.announced == (edge(EDGE4, weight=100),)


async def test_a_configuration_that_is_no_good_never_reaches_exabgp(
    cable: Cable, frr: Frr, tmp_path
) -> None:
    secret = tmp_path / "password"
    async with running(cable.node, config()) as node:
        await node.announced(edge(weight=100))
        await node.up()
        path = node.directory / EXABGP_CONF
        before, digest = path.read_text(), node.seen.digest
        for content in ('quo"te', "new\nline", "é", "x" * 81, ""):
            secret.write_text(content)
            node.events.clear()
            node.announcer.reconfigure(config(neighbor(password_file=str(secret))))
            await until(lambda: node.told("configuration-refused"), what=lambda: node)
            assert "password_file" in node.seen.problem
            assert not content or content not in node.seen.problem
            assert (path.read_text(), node.seen.digest) == (before, digest)
        secret.write_text("good\n")
        node.announcer.reconfigure(config(neighbor(password_file=str(secret))))
        await until(lambda: node.seen.digest != digest, what=lambda: node)
        assert path.stat().st_mode & 0o777 == 0o600
        assert '"good"' in path.read_text()
        assert sorted(p.name for p in node.directory.iterdir()) == sorted(
            [EXABGP_CONF, RELAY_SOCKET, "exabgp.log"]
        )


async def test_a_first_configuration_that_exabgp_refuses_is_told_and_taken_back(
    cable: Cable, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is tried by starting ExaBGP with it, which then starts no relay."""
    monkeypatch.setattr(announcer, "TRIAL_S", 0.2)
    monkeypatch.setattr(announcer, "REFUSED_S", 0.1)
    right = announcer.compose
    monkeypatch.setattr(announcer, "compose", lambda *_: "neighbor good-secret { nonsense; }\n")
    monkeypatch.setattr(announcer, "read_passwords", lambda _: {"10.0.1.1": "good-secret"})
    node = Node(cable.node, config(neighbor()))
    with cable.node.inside():
        try:
            node.start_controller()
            await until(lambda: node.seen.digest, what=lambda: node)
            await until(lambda: node.told("configuration-refused"), what=lambda: node)
            assert node.seen.digest == ""
            assert not (node.directory / EXABGP_CONF).exists()
            assert "ExaBGP refuses its configuration" in node.seen.problem
            assert "good-secret" not in node.seen.problem
            # What was refused once is never tried out again.
            refused = node.seen.counters["configurations_refused"]
            await until(
                lambda: node.seen.counters["configurations_refused"] > refused, what=lambda: node
            )
            assert node.seen.digest == ""
            assert len(node.told("configuration-refused")) == 1
            monkeypatch.setattr(announcer, "compose", right)
            monkeypatch.setattr(announcer, "read_passwords", lambda _: {})
            await until(lambda: node.seen.digest, what=lambda: node)
        finally:
            await node.close()


async def test_a_first_configuration_that_exabgp_runs_is_not_validated(
    cable: Cable, frr: Frr, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    async def complaint(path: object) -> str:
        asked.append(path)
        return ""

    monkeypatch.setattr(configuration, "_complaint", complaint)
    async with running(cable.node, config()) as node:
        await node.announced(edge(weight=100))
        assert not asked
        node.announcer.reconfigure(config(neighbor()))
        await until(lambda: asked, what=lambda: node)


async def test_what_an_agent_left_is_not_validated_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    async def complaint(path: object) -> str:
        asked.append(path)
        return ""

    monkeypatch.setattr(configuration, "_complaint", complaint)
    path = tmp_path / EXABGP_CONF
    await configuration.Installation(path).put("neighbor 192.0.2.1 {}", ())
    following = configuration.Installation(path)
    await following.put("neighbor 192.0.2.1 {}", ())
    assert following.on_trial
    assert not asked
    await following.put("neighbor 192.0.2.1 {}", ())
    assert not following.on_trial
    assert len(asked) == 1
    await following.put("neighbor 192.0.2.2 {}", ())
    assert not following.on_trial
    path.write_bytes(b"\xff")
    await configuration.Installation(path).put("neighbor 192.0.2.2 {}", ())
    assert len(asked) == 3


async def test_another_one_that_comes_during_the_trial_is_validated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    complaints = iter(["nonsense", ""])

    async def complaint(path: object) -> str:
        return next(complaints)

    monkeypatch.setattr(configuration, "_complaint", complaint)
    installed = configuration.Installation(tmp_path / EXABGP_CONF)
    await installed.put("neighbor 192.0.2.1 {}", ())
    digest = installed.digest
    with pytest.raises(configuration.RefusedError, match="nonsense"):
        await installed.put("neighbor 192.0.2.2 { nonsense; }", ())
    assert (installed.digest, installed.on_trial) == (digest, True)
    assert installed.path.read_text() == "neighbor 192.0.2.1 {}"
    await installed.put("neighbor 192.0.2.3 {}", ())
    assert installed.digest != digest
    assert not installed.on_trial
    assert installed.path.read_text() == "neighbor 192.0.2.3 {}"
    assert next(complaints, "none") == "none"


async def test_a_reload_adds_a_neighbor_and_leaves_the_others_alone(cable: Cable) -> None:
    with Frr(cable.router, FRR) as frr:
        async with running(cable.node, config(neighbor())) as node:
            node.announcer.declare((edge(weight=100),))
            await until(lambda: frr.kernel(EDGE4), what=lambda: node)
            digest = node.seen.digest
            node.announcer.reconfigure(config())
            await until(lambda: node.seen.digest != digest, what=lambda: node)
            assert node.exabgp
            os.kill(node.exabgp.pid, signal.SIGUSR1)
            await until(lambda: frr.kernel(EDGE6), what=lambda: node)
            assert frr.kernel(EDGE4)
            assert not node.told("bgp-session-down")
            assert (node.directory / RELAY_SOCKET).stat().st_mode & 0o777 == 0o600


async def test_a_controller_that_has_declared_nothing_yet_stays_connected(
    cable: Cable, frr: Frr
) -> None:
    """It asks what is announced before it decides, and may take longer than the relay is patient."""
    async with running(cable.node, config(neighbor())) as node:
        await asyncio.sleep(6)
        assert node.seen.relay
        assert not node.told("relay-lost")
        await node.announced(edge(EDGE4))


async def test_exabgp_outlives_a_directory_without_room_for_the_socket(
    cable: Cable, frr: Frr
) -> None:
    """A helper that keeps dying ends ExaBGP for good, so the relay does not die of it."""
    async with running(cable.node, config()) as node:
        await node.announced(edge(weight=100))
        await until(lambda: frr.kernel(EDGE4), what=lambda: node)
        await node.stop_controller()
        blocked = node.directory / RELAY_SOCKET
        blocked.unlink()
        blocked.mkdir()
        os.kill(node.relay_pid, signal.SIGKILL)
        await until(lambda: "relay.sock" in node.exabgp.said(), what=lambda: node)
        relay = node.relay_pid
        await until(lambda: node.exabgp.said().count("relay.sock") >= 3, what=lambda: node)
        assert node.relay_pid == relay
        blocked.rmdir()
        node.start_controller()
        node.announcer.declare((edge(weight=50),))
        await until(lambda: "LB:65001:6250000" in str(frr.paths(EDGE4)), what=lambda: node)
        assert frr.kernel(EDGE4)
