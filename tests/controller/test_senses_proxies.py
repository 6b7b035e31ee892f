"""The senses on real NGINX, Envoy and Caddy: what each tells is known, and what not is said."""

import asyncio
import socket
from pathlib import Path

import pytest

from haman.config.model import Config, Node, Probe, Proxy, Saturation
from tests.controller.test_senses import sensing
from tests.proxies.programs import Caddy, Envoy, Nginx, Program, caddy, envoy, nginx, started
from tests.proxies.rig import handshake, until


def config(proxy: Program, kind: str, *, tls: bool = True) -> Config:
    pidfile = proxy.folder / "own.pid"
    pidfile.write_text(str(proxy.pid))
    where = {"status": f"unix:{proxy.admin}:/stub_status"} if kind == "nginx" else {}
    where |= {"admin": f"unix:{proxy.admin}"} if kind != "nginx" else {}
    probe = Probe(f"127.0.0.1:{proxy.tls_port}", tls=tls, interval_ms=100, timeout_ms=2000)
    return Config(
        node=Node(name="lb1"),
        proxy=Proxy(kind=kind, pidfile=str(pidfile), probe=probe, **where),  # type: ignore[arg-type]
        saturation=Saturation(interval_ms=100, hold_s=0),
    )


@nginx
@pytest.mark.privileged
async def test_nginx(tmp_path: Path) -> None:
    with started(Nginx(tmp_path)) as proxy:
        async with sensing(config(proxy, "nginx")) as watched:
            await watched.becomes("in-service")
            client = socket.create_connection(("127.0.0.1", proxy.tls_port))
            await until(lambda: (watched.resource("connections") or 0) >= 1, "a client")
            await until(lambda: watched.snapshot.proxy_version.startswith("1."))

            def ceiling() -> float | None:
                each = watched.snapshot.resources
                return next(r.ceiling for r in each if r.name == "connections")

            await until(lambda: ceiling() == 166, "both workers")
            if "tls" not in watched.alerts.get("proxy-partly-sensed", ""):

                async def load() -> bool:
                    await asyncio.to_thread(handshake, proxy.tls_port)
                    return (watched.resource("tls") or 0) > 0

                for _ in range(500):
                    if await load():
                        break
                assert (watched.resource("tls") or 0) > 0, watched.alerts
            assert isinstance(proxy, Nginx)
            await asyncio.to_thread(proxy.reload)
            await until(lambda: watched.resource("cpu") is not None)
            assert watched.conditions == ["in-service"]
            client.close()
            proxy.stop()
            await watched.becomes("fault")


@envoy
async def test_envoy(tmp_path: Path) -> None:
    with started(Envoy(tmp_path)) as proxy:
        async with sensing(config(proxy, "envoy")) as watched:
            await watched.becomes("in-service")
            await until(lambda: watched.resource("tls") is not None, "tls")
            connections = next(r for r in watched.snapshot.resources if r.name == "connections")
            assert connections.ceiling == 100
            assert "proxy-partly-sensed" not in watched.alerts
            # The probe's own handshakes are load, too.
            await until(lambda: (watched.resource("tls") or 0) > 0, "handshakes")
            proxy.stop()
            await watched.becomes("fault")


@caddy
async def test_caddy(tmp_path: Path) -> None:
    with started(Caddy(tmp_path)) as proxy:
        async with sensing(config(proxy, "caddy", tls=False)) as watched:
            await watched.becomes("in-service")
            await until(lambda: "proxy-partly-sensed" in watched.alerts)
            text = watched.alerts["proxy-partly-sensed"]
            assert "Caddy does not count handshakes" in text
            assert "Caddy does not count connections" in text
            assert "stats-unavailable" not in watched.alerts
            await until(lambda: watched.resource("cpu") is not None)
            for name in ("tls", "connections"):
                assert watched.resource(name) is None
            proxy.admin.unlink()
            await until(lambda: "stats-unavailable" in watched.alerts)
            assert watched.conditions == ["in-service"]
