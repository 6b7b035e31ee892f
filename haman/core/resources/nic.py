"""nic: bytes per second of the interface that is nearest to its speed, the busier way."""

from collections.abc import Iterator

from haman.core.resources.findings import NS_PER_S, Finding, measured
from haman.core.resources.readings import InterfacesSampled
from haman.core.smoothing import Smoother


class NicMeter:
    """One smoother per interface; interfaces that come or go say nothing for one interval."""

    def __init__(self, stale_ns: int) -> None:
        self._stale_ns = stale_ns
        self._before: InterfacesSampled | None = None
        self._smoothers: dict[str, Smoother] = {}

    def step(self, now: InterfacesSampled) -> Iterator[Finding]:
        """The one nearest to its speed; where none tells its speed, the busiest."""
        before, self._before = self._before, now
        self._smoothers = {
            each.name: self._smoothers.get(each.name, Smoother()) for each in now.interfaces
        }
        if before is None or not 0 < now.at_ns - before.at_ns <= self._stale_ns:
            return
        known = {each.name: each for each in before.interfaces}
        took_s = (now.at_ns - before.at_ns) / NS_PER_S
        rates = []
        for each in now.interfaces:
            was = known.get(each.name)
            if was is None or each.received < was.received or each.sent < was.sent:
                continue
            received, sent = each.received - was.received, each.sent - was.sent
            way = "in" if received > sent else "out"
            rate = self._smoothers[each.name].add(max(received, sent) / took_s, now.at_ns)
            rates.append((rate / each.speed if each.speed else 0.0, rate, way, each))
        if not rates:
            return
        _, rate, way, busiest = max(rates, key=lambda found: found[:2])
        told = busiest.speed is not None
        yield Finding(
            now.at_ns,
            "interfaces",
            measured(
                "nic",
                rate,
                busiest.speed,
                detail=f"{busiest.name}, {way}",
                origin=f"speed of {busiest.name}" if told else "",
                problem=(
                    ""
                    if told
                    else f"{busiest.name} tells no speed: set saturation.resource.nic.ceiling"
                ),
            ),
            slow=True,
        )
