"""Caddy's metrics, from its admin interface: that it answers, and its descriptors.

Caddy counts requests and not what they cost: neither connections nor handshakes are told, so both
stay unknown, and the answer says so. CPU time comes from /proc as for every proxy, and so do
descriptors, unless this process may not count them: the metrics stand in then.

On a unix socket Caddy takes an empty Host field alone (2.6; later versions a loopback address too).
Its version is only told by builds of its own module: the Go toolchain names the module's.

Caddy documentation: Monitoring with Prometheus; the text format is Prometheus' 0.0.4.
"""

import math
import re
from collections.abc import Iterator

from haman.config.endpoint import Endpoint
from haman.core.frozen import dataclass
from haman.proxies.answers import Answer, Unavailable
from haman.proxies.asking import TIMEOUT_S, MalformedError, bounded
from haman.proxies.http import get

METRICS = "/metrics"
INTERVAL_S = 1.0
"""The metrics are some 15 kB for one server, formatted by Caddy for each question."""

MISSING = {
    "tls": "Caddy does not count handshakes; limit cpu instead",
    "connections": "Caddy does not count connections; limit fds instead",
}
HINT = "the admin interface takes other hosts only when its origins allow them"

_SAMPLE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)(?: -?[0-9]+)?")
_VERSION = re.compile(r'version="v([0-9][^"]*)"')


@dataclass(frozen=True, slots=True)
class Sample:
    """One line of the text format; `labels` as they are written."""

    name: str
    labels: str
    value: float


def parse_metrics(text: str) -> Iterator[Sample]:
    """The samples of Prometheus' text format.

    Raises:
        MalformedError: a line is something else, or the last one was cut short.
    """
    if text and not text.endswith("\n"):
        raise MalformedError("/metrics: the answer was cut short")
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        found = _SAMPLE.fullmatch(line)
        if found is None:
            raise MalformedError(f"/metrics: {line[:60]!r} is no sample")
        try:
            yield Sample(found[1], found[2] or "", float(found[3]))
        except ValueError:
            raise MalformedError(f"/metrics: {found[3][:60]!r} is no number") from None


def parse(text: str) -> Answer:
    """What Caddy's metrics say.

    Raises:
        MalformedError: they are no metrics, or not those of a program in Go.
    """
    counts: dict[str, int] = {}
    version = ""
    for sample in parse_metrics(text):
        if sample.name in {"process_open_fds", "process_max_fds", "go_goroutines"}:
            if not math.isfinite(sample.value) or sample.value < 0:
                raise MalformedError(f"/metrics: {sample.name} is {sample.value}")
            counts[sample.name] = int(sample.value)
        elif sample.name == "go_build_info" and (found := _VERSION.search(sample.labels)):
            version = found[1]
    if "go_goroutines" not in counts:
        raise MalformedError("/metrics: go_goroutines is missing; is this Caddy's admin interface?")
    return Answer(
        pid=None,
        version=version,
        fds=counts.get("process_open_fds"),
        fd_limit=counts.get("process_max_fds"),
        missing=MISSING,
    )


@dataclass(frozen=True, slots=True)
class CaddyAdmin:
    """The admin interface of one Caddy."""

    endpoint: Endpoint
    timeout_s: float = TIMEOUT_S
    interval_s: float = INTERVAL_S

    @property
    def source(self) -> str:
        """For messages."""
        return f"Caddy's admin interface {self.endpoint}"

    async def ask(self) -> Answer | Unavailable:
        """One question; whatever the other end does, an answer or a reason within the time-out."""
        return await bounded(self._ask(), self.source, self.timeout_s, HINT)

    async def close(self) -> None:
        """Nothing is kept between questions."""

    async def _ask(self) -> Answer:
        response = await get(self.endpoint, METRICS, host="")
        return parse(response.body.decode("utf-8", errors="replace"))
