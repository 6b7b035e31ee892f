"""The controller's view of the other nodes: what they said, and what they are told and when."""

import asyncio
import logging
from collections.abc import Callable

from haman.cluster.keys import ClusterKey
from haman.cluster.mesh import Address, Greeted, Heard, Mesh, PeerLost
from haman.cluster.packets import Handover, PermitPacket, Released
from haman.config.model import Cluster
from haman.controller.orders import Do, Orders
from haman.controller.ports import Clock
from haman.core.handover.messages import Said
from haman.core.reports import NodeReport, PeerView
from haman.core.words import Reason

TICK_MS_MAX = 500
"""Ticks come as often as reports shall go out, but at most so far apart."""
PUBLISH_S_MIN = 0.02
"""Reports that follow changes are at least this far apart."""
_NS_PER_MS = 1_000_000

log = logging.getLogger(__name__)


class PeerSide:
    """Publishes this node's report and keeps the peers'.

    Args:
        mesh: None = the node stands alone.
        config: of the cluster.
        own: this node's report, now.
        do: does what a peer's operator wishes of this node.
    """

    def __init__(
        self,
        mesh: Mesh | None,
        config: Cluster,
        clock: Clock,
        own: Callable[[], NodeReport],
        do: Do,
    ) -> None:
        self._mesh = mesh
        self._config = config
        self._clock = clock
        self._own = own
        self._published_ns = 0
        self._publishing: asyncio.TimerHandle | None = None
        self.orders = None if mesh is None else Orders(mesh.tell, do)

    def reconfigure(self, config: Cluster, keys: tuple[ClusterKey, ...]) -> None:
        """Take over peers, paths, keys and interval."""
        self._config = config
        if self._mesh is not None:
            self._mesh.reconfigure(config, keys)

    def views(self) -> tuple[PeerView, ...]:
        """Every configured peer."""
        if self._mesh is None:
            silent = self._config.peer
            return tuple(PeerView(p.name, None, 0.0, fresh=False) for p in silent)
        return self._mesh.views(self._clock.monotonic_ns())

    def namesake(self) -> Reason | None:
        """Another node that sends under this node's name; None = none was heard lately."""
        return None if self._mesh is None else self._mesh.namesake(self._clock.monotonic_ns())

    @property
    def unreadable(self) -> tuple[str, ...]:
        """Peers whose packets are authentic, and cannot be read."""
        return () if self._mesh is None else self._mesh.unreadable(self._clock.monotonic_ns())

    def isolated(self) -> bool:
        """Peers are configured and none is heard."""
        return self._mesh is not None and self._mesh.isolated(self._clock.monotonic_ns())

    def awaits(self) -> bool:
        """A peer has not had the time to answer since this node began."""
        return self._mesh is not None and self._mesh.awaits(self._clock.monotonic_ns())

    @property
    def rejected(self) -> dict[str, int]:
        """Datagrams dropped since the start, by reason."""
        return {} if self._mesh is None else dict(self._mesh.rejected)

    def is_fresh(self, peer: str) -> bool:
        """Whether `peer` was heard lately."""
        return any(view.name == peer and view.fresh for view in self.views())

    @property
    def tick_s(self) -> float:
        """How often to `tick`."""
        return min(self._config.report_interval_ms, TICK_MS_MAX) / 1000

    def greet(self) -> None:
        """Say hello, before there is anything to report."""
        if self._mesh is not None:
            self._mesh.greet()

    def hear(self, datagram: bytes, source: Address) -> tuple[Heard, ...]:
        """Take in a datagram; a greeting is answered here."""
        if self._mesh is None:
            return ()
        heard = self._mesh.hear(datagram, source, self._clock.monotonic_ns())
        for each in heard:
            if isinstance(each, Greeted):
                self._mesh.publish(self._own(), each.peer)
        return heard

    def release(self, vip: str, heir: str, reasons: tuple[Reason, ...]) -> None:
        """Tell the heir that it may take `vip` now."""
        if self._mesh is not None:
            self._mesh.tell(heir, Released(vip, heir, reasons))

    def tell(self, peer: str, packet: PermitPacket) -> None:
        """Send one packet to one peer, once; it may be lost."""
        if self._mesh is not None and not self._mesh.tell(peer, packet):
            log.warning("a packet for %s could not be sent", peer)

    def hand_over(self, peer: str, said: Said) -> None:
        """Tell a peer how far this side of a handover is."""
        if self._mesh is not None:
            self._mesh.tell(peer, Handover(said))

    def publish_soon(self) -> None:
        """Report a change: at once, unless the last report is younger than 20 ms."""
        if self._mesh is None or self._publishing is not None:
            return
        age_s = (self._clock.monotonic_ns() - self._published_ns) / 1e9
        loop = asyncio.get_running_loop()
        self._publishing = loop.call_later(max(0.0, PUBLISH_S_MIN - age_s), self._publish)

    def tick(self) -> tuple[PeerLost, ...]:
        """Let time pass: publish when it is time, and see who went silent."""
        if self._mesh is None:
            return ()
        now_ns = self._clock.monotonic_ns()
        # Half a tick of grace: one in time after one that was late must not be left out.
        interval_ms = self._config.report_interval_ms
        due_ns = (interval_ms - self.tick_s * 1000 / 2) * _NS_PER_MS
        if now_ns - self._published_ns >= due_ns:
            self._publish()
        return self._mesh.step(now_ns)

    def close(self) -> None:
        """Forget what was about to be published."""
        if self._publishing is not None:
            self._publishing.cancel()

    def _publish(self) -> None:
        if self._publishing is not None:
            self._publishing.cancel()
            self._publishing = None
        self._published_ns = self._clock.monotonic_ns()
        if self._mesh is not None and not self._mesh.publish(self._own()):
            log.error("this node's report is too large to be sent: too many VIPs or reasons")
