"""NGINX open source: stub_status, the workers, and handshakes counted from outside.

stub_status tells totals over all workers, from memory that they share: the counts outlive a reload.
`accepts − handled` is not read, because it lies (measured with 1.22): nginx cuts idle connections
to make room for new ones, so that it stays 0 while most clients are cut, with no line in the log;
only `Active` speaks, and it stays on a plateau at 83–90 % of the limit. So that is the ceiling:

    connections   worker_connections × workers × 0.83

A client whose request is proxied takes a second connection, to the back end, which `Active` does
not show: where most requests are proxied at the same time, set half of this as
saturation.resource.connections.ceiling.

nginx tells worker_connections nobody but its configuration file: that of the master's arguments is
read when workers come or go, which is when nginx has read it itself.

stub_status knows nothing of TLS. Calls of OpenSSL's functions are counted by the kernel where it
lets this process do so (`Calls`): a full handshake signs, and to sign calls EVP_DigestSign twice,
for the length and for the signature; SSL_new begins every handshake. So full = signatures ÷ 2, and
the rest of those begun are taken for resumed, aborted ones and those to back ends included.

ngx_http_stub_status_module, ngx_core_module (worker_connections).
"""

import asyncio
import itertools
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from haman.config.endpoint import Endpoint
from haman.core.frozen import dataclass
from haman.core.processes import ProcessId
from haman.proxies.answers import Answer, Unavailable
from haman.proxies.asking import TIMEOUT_S, MalformedError, bounded
from haman.proxies.http import get
from haman.proxies.process import ProcessSet, ProcessTable

PLATEAU = 0.83
WORKER_CONNECTIONS = 512
"""nginx's default."""
CONFIGURATION = "/etc/nginx/nginx.conf"
CONFIGURATION_BYTES = 1 << 20
LOOK_S = 1.0
"""How often the titles of the processes are read: workers that shut down stay members."""
SIGN_CALLS = 2

_STATUS = re.compile(
    r"Active connections: (\d{1,12}) ?\r?\n"
    r"server accepts handled requests(?: request_time)?\r?\n"
    r" (\d{1,19}) (\d{1,19}) (\d{1,19})(?: \d{1,19})? ?\r?\n"
    r"Reading: (\d{1,12}) Writing: (\d{1,12}) Waiting: (\d{1,12}) ?(?:\r?\n)?",
    re.ASCII,
)
_SERVER = re.compile(r"(?:nginx|openresty|freenginx|Tengine)/(\S{1,60})")
_COMMENT = re.compile(r"#[^\n]*")
_LIMIT = re.compile(r"\bevents\s*\{[^}]*\bworker_connections\s+([0-9]{1,9})\s*;")
_EVENTS = re.compile(r"\bevents\s*\{")


@dataclass(frozen=True, slots=True)
class Status:
    """stub_status: connections of clients, the one that asks included, and totals."""

    active: int
    accepts: int
    handled: int
    requests: int
    reading: int
    writing: int
    waiting: int


def parse_status(text: str) -> Status:
    """What stub_status says.

    Raises:
        MalformedError: it is something else, or not whole.
    """
    found = _STATUS.fullmatch(text)
    if found is None:
        raise MalformedError(f"{text[:60]!r} is not what stub_status says")
    return Status(*map(int, found.groups()))


def parse_worker_connections(text: str) -> int | None:
    """The limit in a configuration file; None if the file has no events block to hold it."""
    plain = _COMMENT.sub("", text)
    if found := _LIMIT.search(plain):
        return int(found[1])
    return WORKER_CONNECTIONS if _EVENTS.search(plain) else None


class Calls(Protocol):
    """Counts calls of library functions, as `haman.system.uprobe` does."""

    def follow(self, pids: frozenset[int]) -> None:
        """Count in these processes from now on; what others did so far stays counted."""

    def read(self) -> dict[str, int] | str:
        """Calls by function since the start, or why they cannot be counted."""

    def close(self) -> None:
        """Stop counting."""


@dataclass(frozen=True, slots=True)
class _Workers:
    """The workers at one look."""

    members: tuple[ProcessId, ...] = ()
    looked_s: float = 0.0
    pids: frozenset[int] = frozenset()
    serving: int = 0
    limit: int | None = None
    unlimited: str = ""


class NginxStatus:
    """One NGINX, asked over its stub_status."""

    interval_s = 0.0

    def __init__(
        self,
        endpoint: Endpoint,
        processes: ProcessSet,
        table: ProcessTable,
        calls: Calls,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._endpoint = endpoint
        self._processes = processes
        self._table = table
        self._calls = calls
        self._timeout_s = timeout_s
        self._workers = _Workers()
        self._resumed = 0
        self._followed: frozenset[int] = frozenset()
        self._following: asyncio.Task[None] | None = None

    @property
    def source(self) -> str:
        """For messages."""
        return f"nginx's stub_status at {self._endpoint}{self._endpoint.target}"

    async def ask(self) -> Answer | Unavailable:
        """One question; whatever the other end does, an answer or a reason within the time-out."""
        hint = 'has this location "stub_status;", and may the agent read it?'
        return await bounded(self._ask(), self.source, self._timeout_s, hint)

    async def close(self) -> None:
        """Stop counting calls."""
        if self._following is not None:
            await self._following
        await asyncio.to_thread(self._calls.close)

    async def _ask(self) -> Answer:
        response = await get(self._endpoint, self._endpoint.target or "/stub_status")
        status = parse_status(response.body.decode("ascii", errors="replace"))
        workers = self._look()
        version = _SERVER.match(response.server)
        answer = Answer(
            pid=None,
            version=version[1] if version else "",
            threads=workers.serving or None,
            connections=max(0, status.active - 1),  # without this question
            connections_limit=workers.limit,
            accepted=status.accepts,
            own_accepted=1,
            missing={"connections": workers.unlimited} if workers.unlimited else {},
        )
        if not self._follows(workers.pids):
            return answer  # in a moment
        calls = self._calls.read()
        if isinstance(calls, str):
            missing = (
                f"nginx does not count handshakes, and from outside it is not possible: {calls}"
            )
            return replace(answer, missing={**answer.missing, "tls": missing})
        full = calls["EVP_DigestSign"] // SIGN_CALLS
        # Handshakes under way look resumed until they sign: this total must not go back for that.
        self._resumed = max(self._resumed, calls["SSL_new"] - full)
        return replace(answer, full=full, resumed=self._resumed)

    def _look(self) -> _Workers:
        """Find out which processes serve, when some came or went, and every second."""
        members = self._processes.members
        now_s = time.monotonic()
        known = self._workers
        if members == known.members and now_s - known.looked_s < LOOK_S:
            return known
        titles = {process.pid: self._table.arguments(process.pid)[:1] for process in members}
        pids = frozenset(pid for pid, title in titles.items() if _is_worker(title))
        serving = sum(not "".join(titles[pid]).rstrip().endswith("shutting down") for pid in pids)
        if (members, pids, serving) == (known.members, known.pids, known.serving):
            self._workers = replace(known, looked_s=now_s)
            return self._workers
        limit, unlimited = self._limit(serving)
        self._workers = _Workers(members, now_s, pids, serving, limit, unlimited)
        return self._workers

    def _follows(self, pids: frozenset[int]) -> bool:
        """Whether these processes are counted in by now.

        The kernel takes its time to attach and detach, so that a thread waits for it.
        """
        if self._following is not None and not self._following.done():
            return False
        if pids == self._followed:
            return True
        self._followed = pids
        self._following = asyncio.create_task(asyncio.to_thread(self._calls.follow, pids))
        return False

    def _limit(self, workers: int) -> tuple[int | None, str]:
        path = self._configuration()
        try:
            with Path(path).open("rb") as file:
                text = file.read(CONFIGURATION_BYTES).decode(errors="replace")
        except OSError as error:
            return None, (
                f"worker_connections is not known: {path}: {error.strerror};"
                " set saturation.resource.connections.ceiling"
            )
        each = parse_worker_connections(text)
        if each is None:
            return None, f"worker_connections is not known: {path} has no events block"
        return (int(each * workers * PLATEAU) or None), ""

    def _configuration(self) -> str:
        """`-c FILE` of the master, which keeps its arguments in its title."""
        for process in self._processes.members:
            words = " ".join(self._table.arguments(process.pid)).split()
            if words[:2] == ["nginx:", "master"]:
                prefix = _after(words, "-p")
                path = _after(words, "-c") or CONFIGURATION
                return path if path.startswith("/") else str(Path(prefix or "/etc/nginx", path))
        return CONFIGURATION


def _is_worker(title: tuple[str, ...]) -> bool:
    return any(word.startswith("nginx: worker process") for word in title)


def _after(words: list[str], option: str) -> str:
    return next((b for a, b in itertools.pairwise(words) if a == option), "")
