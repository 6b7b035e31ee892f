"""Envoy's admin interface: one narrow question for counters, and the limits once per start.

`/stats` without a filter lists every cluster, and a big one keeps the main thread, which answers
`/ready` as well, for seconds; so there is one filter, anchored at both ends, at 2 Hz at most.
Envoy refreshes nothing between flushes that is asked for here: counters and gauges are read live.

Each listener counts for itself and again for each worker (`listener.A.worker_0.downstream_cx_…`):
the latter are left out, and so is the admin interface's own listener.

`ssl.handshake` counts every handshake that succeeded, `ssl.session_reused` those of them without a
key operation. The pid is not told: counters begin with the eldest process, and a hot restart hands
them over to the next.

Envoy documentation: operations/admin, configuration/listeners/stats, configuration/operations/
overload_manager. Formats were seen with 1.40.
"""

import json
import re
import time
from typing import Any
from urllib.parse import quote

from haman.config.endpoint import Endpoint
from haman.core.frozen import dataclass
from haman.proxies.answers import Answer, Unavailable
from haman.proxies.asking import TIMEOUT_S, MalformedError, bounded
from haman.proxies.http import get

INTERVAL_S = 0.5
LIMITS_S = 30.0
"""How long version and limits are believed. They change with a restart, over which Envoy does not
answer for a while: then they are read anew anyway."""

FILTER = (
    r"^(listener\..*\.(downstream_cx_(active|total)"
    r"|ssl\.(handshake|session_reused|connection_error))"
    r"|server\.(concurrency|live))$"
)
STATS = f"/stats?filter={quote(FILTER, safe='')}"
INFO = "/server_info"
OVERLOAD = "/config_dump?mask=bootstrap.overload_manager"
RUNTIME = "/runtime"
RUNTIME_KEY = "overload.global_downstream_max_connections"
MONITOR = "envoy.resource_monitors.global_downstream_max_connections"
UNLIMITED = (
    "Envoy has no limit for clients: set the overload manager's global_downstream_max_connections"
    " below half of the descriptor limit, or saturation.resource.connections.ceiling"
)

_PER_WORKER = re.compile(r"\.(worker_[0-9]+|main_thread)\.[a-z_.]+$")
_COUNT = re.compile(r"[0-9]{1,19}")


def parse_stats(text: str) -> dict[str, int]:
    """`/stats`: one "name: value" per line.

    Raises:
        MalformedError: a line is something else, or the answer is not Envoy's.
    """
    found: dict[str, int] = {}
    for line in text.splitlines():
        name, colon, value = line.rpartition(": ")
        if not colon or not _COUNT.fullmatch(value):
            raise MalformedError(f"/stats: {line[:60]!r} is no count")
        found[name] = int(value)
    if "server.live" not in found:
        raise MalformedError("/stats: server.live is missing; is this Envoy's admin interface?")
    return found


def parse_version(body: bytes) -> str:
    """`/server_info`: the version, without the commit before it.

    Raises:
        MalformedError: it is something else.
    """
    told = _mapping(body, INFO).get("version")
    parts = told.split("/") if isinstance(told, str) else []
    if len(parts) < 2:
        raise MalformedError(f"{INFO}: version is {str(told)[:60]!r}")
    return parts[1]


def parse_overload(body: bytes) -> int | None:
    """`/config_dump`: the limit of the overload manager; None without one.

    Raises:
        MalformedError: it is something else.
    """
    for part in _sequence(_mapping(body, OVERLOAD).get("configs")):
        manager = _inside(part, "bootstrap", "overload_manager")
        for monitor in _sequence(_inside(manager, "resource_monitors")):
            if _inside(monitor, "name") == MONITOR:
                return _limit(_inside(monitor, "typed_config", "max_active_downstream_connections"))
    return None


def parse_runtime(body: bytes) -> int | None:
    """`/runtime`: the limit of the runtime key that came before the overload manager's.

    Raises:
        MalformedError: it is something else.
    """
    return _limit(_inside(_mapping(body, RUNTIME), "entries", RUNTIME_KEY, "final_value"))


def _mapping(body: bytes, target: str) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise MalformedError(f"{target}: no JSON: {error}") from error
    if not isinstance(found, dict):
        raise MalformedError(f"{target}: no JSON object")
    return found


def _inside(found: Any, *keys: str) -> Any:
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    return found


def _sequence(found: Any) -> list[Any]:
    return found if isinstance(found, list) else []


def _limit(value: Any) -> int | None:
    """A positive number; JSON of protobuf writes 64 bits as text."""
    text = str(value)
    return (int(text) or None) if _COUNT.fullmatch(text) else None


@dataclass(frozen=True, slots=True)
class _Start:
    """What stays as it is until Envoy is started again."""

    version: str
    limit: int | None
    read_s: float


class EnvoyAdmin:
    """The admin interface of one Envoy."""

    interval_s = INTERVAL_S

    def __init__(self, endpoint: Endpoint, timeout_s: float = TIMEOUT_S) -> None:
        self._endpoint = endpoint
        self._timeout_s = timeout_s
        self._start: _Start | None = None

    @property
    def source(self) -> str:
        """For messages."""
        return f"Envoy's admin interface {self._endpoint}"

    async def ask(self) -> Answer | Unavailable:
        """One question; whatever the other end does, an answer or a reason within the time-out."""
        answer = await bounded(self._ask(), self.source, self._timeout_s)
        if isinstance(answer, Unavailable):
            self._start = None  # it may have been started again
        return answer

    async def close(self) -> None:
        """Nothing is kept between questions."""

    async def _ask(self) -> Answer:
        stats = parse_stats((await get(self._endpoint, STATS)).body.decode(errors="replace"))
        start = await self._current()
        handshakes = _listeners(stats, ".ssl.handshake") or 0  # listeners without TLS count none
        resumed = _listeners(stats, ".ssl.session_reused") or 0
        return Answer(
            pid=None,
            version=start.version,
            threads=stats.get("server.concurrency") or None,
            connections=_listeners(stats, ".downstream_cx_active"),
            connections_limit=start.limit,
            full=max(0, handshakes - resumed),  # the two are not read at the same instant
            resumed=resumed,
            accepted=_listeners(stats, ".downstream_cx_total"),
            failed=_listeners(stats, ".ssl.connection_error") or 0,
            missing={} if start.limit else {"connections": UNLIMITED},
        )

    async def _current(self) -> _Start:
        now_s = time.monotonic()
        if self._start is not None and now_s - self._start.read_s < LIMITS_S:
            return self._start
        version = parse_version((await get(self._endpoint, INFO)).body)
        limit = parse_overload((await get(self._endpoint, OVERLOAD)).body)
        if limit is None:
            limit = parse_runtime((await get(self._endpoint, RUNTIME)).body)
        self._start = _Start(version, limit, now_s)
        return self._start


def _listeners(stats: dict[str, int], ending: str) -> int | None:
    """The sum over all listeners but the admin interface's; None if none of them counts this."""
    counts = [
        value
        for name, value in stats.items()
        if name.startswith("listener.")
        and name.endswith(ending)
        and not name.startswith("listener.admin.")
        and not _PER_WORKER.search(name)
    ]
    return sum(counts) if counts else None
