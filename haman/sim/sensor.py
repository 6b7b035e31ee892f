"""What the senses make of a simulated proxy: utilizations, smoothed as the meter does it."""

from haman.core.reports import StormReport
from haman.core.smoothing import Smoother
from haman.core.words import Confidence, Utilization
from haman.sim.server import TLS_KNEE, Server

DELAY_NOISE_S = 1e-3


class Sensor:
    """Reads a server; one per controller, for what it has smoothed dies with that."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._cpu = Smoother()
        self._tls = Smoother()
        self.utilizations: tuple[Utilization, ...] = ()

    def read(self, now_ns: int) -> tuple[Utilization, ...]:
        """A round of readings."""
        server = self._server
        cores = Confidence.MEASURED
        cpu = self._cpu.add(server.busy, now_ns)
        tls = self._tls.add(server.tls_used, now_ns)
        self.utilizations = (
            Utilization("cpu", cpu, 1.0, "cores", cores),
            Utilization("tls", tls, TLS_KNEE, "core-s/s", Confidence.CALIBRATED),
            Utilization(
                "connections",
                server.connections + server.waiting,
                server.connections_max,
                "count",
                Confidence.CONFIGURED,
            ),
            Utilization("hol", server.delay_s, server.timeout_s / 2, "s", Confidence.CONFIGURED),
        )
        return self.utilizations

    @property
    def storm(self) -> StormReport:
        """For the arithmetic of reconnect storms."""
        server = self._server
        return StormReport(
            cores=1.0,
            full_s=1.0 / server.capacity,
            resumed_s=0.5 / server.capacity,
            client_timeout_s=server.timeout_s,
            confidence=Confidence.CALIBRATED,
            backlog=round(server.backlog),
            waiting=round(server.waiting),
            base={"cpu": server.base, "tls": 0.0, "connections": 0.0},
        )
