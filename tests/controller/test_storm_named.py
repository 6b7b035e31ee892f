"""A storm of handshakes on a real HAProxy is named for what it is, and calm load is not."""

from asyncio import TaskGroup

from haman.core.words import Condition
from tests.controller.bench_sampler import OneCore, calibrated, config, offer
from tests.controller.test_senses import sensing, settled
from tests.proxies.rig import haproxy, until


@haproxy
async def test_a_storm_of_handshakes_is_named_tls(tmp_path) -> None:
    """Twice what one core can do, by proof and not by dwell; `make bench-sampler` says how soon."""
    proxy = OneCore(tmp_path)
    try:
        proxy.start()
        rate = 2 / calibrated(proxy)
        async with sensing(config(proxy, interval_ms=200, dwell_ms=60_000)) as watched:
            await settled(watched, proxy)
            assert watched.conditions[-1:] == ["in-service"]

            def named() -> bool:
                now = watched.snapshot
                causes = [reason.data.get("resource") for reason in now.reasons]
                return now.condition is Condition.SATURATED and "tls" in causes

            storm = until(named, "saturated: tls")
            async with TaskGroup() as tasks:
                tasks.create_task(offer(proxy.tls_port, rate, seconds=3))
                tasks.create_task(storm)
    finally:
        proxy.stop()
