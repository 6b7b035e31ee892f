"""A storm of handshakes on a real HAProxy is named for what it is, and calm load is not."""

from asyncio import TaskGroup

from haman.core.words import Condition
from tests.controller.bench_sampler import OneCore, calibrated, config, offer
from tests.controller.test_senses import sensing, settled
from tests.proxies.rig import haproxy, until


@haproxy
async def test_a_storm_of_handshakes_is_named_tls(tmp_path) -> None:
    """Twice what one core can do; `make bench-sampler` says how soon."""
    proxy = OneCore(tmp_path)
    try:
        proxy.start()
        rate = 2 / calibrated(proxy)
        async with sensing(config(proxy, interval_ms=200, dwell_ms=2000)) as watched:
            await settled(watched, proxy)
            assert watched.conditions[-1:] == ["in-service"]

            def named() -> bool:
                now = watched.snapshot
                causes = {reason.data.get("resource"): reason.text for reason in now.reasons}
                # On a host that gives the proxy no CPU it is this, and not TLS, that it lacks.
                starved = "without the CPU that it wanted" in causes.get("cpu", "")
                return now.condition is Condition.SATURATED and ("tls" in causes or starved)

            storm = until(named, "saturated: tls")
            async with TaskGroup() as tasks:
                tasks.create_task(offer(proxy.tls_port, rate, seconds=5))
                tasks.create_task(storm)
    finally:
        proxy.stop()
