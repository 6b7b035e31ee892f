"""What the resources of a node use without a single client: the part of its load that stays behind.

Health checks, the agent, other tenants, listeners: a survivor has its own of these, so the lost node's
must not be added to it. It is seen while the proxy has no client: a backup has many such hours.

The lowest value of the present spell is taken, or of the one before it until the present one has lasted
`SETTLED_NS`: rates are smoothed, and fall for some time after the last client has gone. Too
low errs to the safe side.
"""

from haman.core.words import Utilization

SETTLED_NS = 60_000_000_000
"""Twice the time constant with which rates fall, and what TIME_WAIT lasts."""


class Baseline:
    """Learns from samples; `known` by resource, in native units."""

    def __init__(self) -> None:
        self.known: dict[str, float] = {}
        self._lowest: dict[str, float] = {}
        self._idle_ns: int | None = None

    def add(
        self, resources: tuple[Utilization, ...], connections: float | None, now_ns: int
    ) -> None:
        """Take in a sample; only those without clients tell anything.

        A lone connection may be the agent's own probe: it neither tells anything nor ends the spell.
        """
        if connections is None or connections > 1:
            self._idle_ns = None
        if connections != 0:
            return
        if self._idle_ns is None:
            self._idle_ns = now_ns
            self._lowest = {}
        for each in resources:
            if each.used is not None:
                self._lowest[each.name] = min(each.used, self._lowest.get(each.name, each.used))
        if now_ns - self._idle_ns >= SETTLED_NS:
            self.known = dict(self._lowest)
