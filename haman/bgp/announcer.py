"""The driver in the controller: one desired set in, one picture out, the relay in between.

Every second, and at once on a change, it sends the whole desired set to the relay, which renews the
lease. Only a live event loop does that: a controller that hangs lets the lease run out, by design.
What the relay reports replaces what was known; what was not reported is not claimed.
"""

import asyncio
import contextlib
import socket
from collections import Counter
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Final, Protocol

from haman.bgp.configuration import (
    Installation,
    RefusedError,
    compose,
    read_passwords,
    uncarried,
)
from haman.bgp.diagnosis import diagnose
from haman.bgp.grammar import routes
from haman.bgp.lease import LeaseState
from haman.bgp.messages import (
    MAX_MESSAGE,
    Declaration,
    RelayReport,
    decode_report,
    encode_declaration,
)
from haman.bgp.surface import AnnouncerSnapshot
from haman.bgp.watching import Watch
from haman.config.model import Bgp, Config
from haman.core.announcements import (
    EXABGP_CONF,
    RELAY_SOCKET,
    Announcement,
    NeighborReport,
)
from haman.core.words import Event, Reason

RENEW_S: Final = 1.0
CONNECT_S: Final = 0.1
"""Between two tries to reach the relay."""
SILENCE_S: Final = 5.0
"""A relay that answers no declaration for this long is dropped, and reached for again."""
REFUSED_S: Final = 10.0
"""Between two tries of a configuration that was refused: a password file may appear."""
TRIAL_S: Final = 10.0
"""A first configuration with which the relay was not reached by then is validated after all: ExaBGP takes
0.5 s to start it, a busy host some seconds."""
LOOK_S: Final = 1.0
"""Between two looks for sessions that do not come about."""


class Clock(Protocol):
    """Two clocks: one to decide by, one to show."""

    def monotonic_ns(self) -> int:
        """Never steps."""

    def wall_ns(self) -> int:
        """Nanoseconds since the epoch."""


class Announcer:
    """Implements `surface.AnnouncerView`.

    Args:
        config: of this node; without `[bgp]` there is nothing to do.
        directory: of `exabgp.conf` and the relay's socket; that of `[api] socket`.
        clock: of the controller.
        on_change: called when `snapshot` would answer differently.
        tell: called with what happened.
    """

    def __init__(
        self,
        config: Config,
        directory: Path,
        clock: Clock,
        on_change: Callable[[], None],
        tell: Callable[[Event], None],
    ) -> None:
        self._config = config
        self._bgp = config.bgp
        self._directory = directory
        self._clock = clock
        self._on_change = on_change
        self._tell = tell
        self._announcements: tuple[Announcement, ...] = ()
        self._generation = 0
        self._wanted = asyncio.Event()
        self._configured = asyncio.Event()
        self._configured.set()
        self._installed = Installation(directory / EXABGP_CONF)
        self._refused = ""
        self._told_refusal = ""
        self._undeclared = ""
        self._report: RelayReport | None = None
        self._ever_connected = False
        self._awaited = False
        self._watches: dict[str, Watch] = {}
        self._counters: Counter[str] = Counter()
        self._shown = AnnouncerSnapshot()
        self._watch_neighbors()

    # ---- surface -------------------------------------------------------------------------------

    def declare(self, announcements: tuple[Announcement, ...]) -> None:
        """Have exactly this announced; what is not in it is withdrawn. Attributes change in place."""
        if announcements != self._announcements or not self._generation:
            self._announcements = announcements
            self._generation += 1
            self._wanted.set()

    def reconfigure(self, config: Config) -> None:
        """Write and validate another configuration; sessions that did not change stay up."""
        self._config = config
        self._told_refusal = ""
        self._configured.set()

    def snapshot(self) -> AnnouncerSnapshot:
        """What is known now; cheap."""
        report = self._report
        return AnnouncerSnapshot(
            digest=self._installed.digest,
            problem=self._problem(),
            relay=report is not None,
            announced=report.announced if report else (),
            neighbors=self._neighbors(),
            counters=dict(self._counters) | (report.counters if report else {}),
        )

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._configure())
            tasks.create_task(self._relay())
            tasks.create_task(self._diagnose())

    # ---- what is shown -------------------------------------------------------------------------

    def _watch_neighbors(self) -> None:
        now_ns = self._clock.monotonic_ns()
        watches: dict[str, Watch] = {}
        for neighbor in self._bgp.neighbor if self._bgp else ():
            fresh = Watch(neighbor, now_ns)
            known = self._watches.get(fresh.address)
            watches[fresh.address] = known or fresh
            watches[fresh.address].neighbor = neighbor
        self._watches = watches

    def _neighbors(self) -> tuple[NeighborReport, ...]:
        bgp = self._bgp
        if bgp is None:
            return ()
        if self._report is not None and self._report.answers:
            now_ns = self._clock.monotonic_ns()
            return tuple(watch.report(bgp, now_ns) for watch in self._watches.values())
        if self._report is not None:
            text = "ExaBGP does not answer; routers that do not hear it end the session"
            text += " after the hold time"
            lost = (Reason("exabgp-silent", text),)
        else:
            text = "the relay is not reached: what the session does is not known"
            lost = (Reason("relay-lost", text),)
        return tuple(
            NeighborReport(n.name, n.address, "unknown", reasons=lost) for n in bgp.neighbor
        )

    def _problem(self) -> str:
        if self._config.bgp is None:
            return ""
        return self._refused or self._undeclared or self._unreached() or self._unheard()

    def _unreached(self) -> str:
        if self._report is not None:
            return self._report.problem
        if not self._installed.digest:
            return "there is no ExaBGP configuration yet"
        where = self._directory / RELAY_SOCKET
        return (
            f"the relay is not reached at {where}: ExaBGP does not run, or the relay hangs, and"
            " routers keep what they were told last"
        )

    def _unheard(self) -> str:
        prefixes = uncarried(self._bgp, self._config.anycast)
        if not prefixes:
            return ""
        family = "IPv6" if ":" in prefixes[0] else "IPv4"
        return f"{', '.join(prefixes)}: announced to nobody, no neighbor has an {family} address"

    def _changed(self) -> None:
        shown = self.snapshot()
        # Counters alone are no news: they move with every renewal.
        before, self._shown = self._shown, shown
        if (shown.digest, shown.problem, shown.relay, shown.announced, shown.neighbors) != (
            before.digest,
            before.problem,
            before.relay,
            before.announced,
            before.neighbors,
        ):
            self._on_change()

    def _event(self, kind: str, text: str) -> None:
        self._tell(Event(kind, self._clock.wall_ns(), text))

    # ---- configuration -------------------------------------------------------------------------

    async def _configure(self) -> None:
        while True:
            again_s = TRIAL_S if self._installed.on_trial else REFUSED_S if self._refused else None
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(again_s):
                    await self._configured.wait()
            if not (self._configured.is_set() or self._installed.on_trial or self._refused):
                continue  # the relay was reached meanwhile: the trial is over
            self._configured.clear()
            config = self._config
            if config.bgp is None:
                self._installed.digest = self._refused = ""
                self._bgp = None
            else:
                await self._install(config.bgp)
            self._watch_neighbors()
            self._wanted.set()
            self._changed()

    async def _install(self, bgp: Bgp) -> None:
        try:
            passwords = read_passwords(bgp.neighbor)
            text = compose(bgp, self._directory, passwords)
            await self._installed.put(text, passwords.values())
        except RefusedError as error:
            self._counters["configurations_refused"] += 1
            self._refused = str(error)
            if self._refused != self._told_refusal:
                self._told_refusal = self._refused
                kept = "; the one before stays in force" if self._installed.digest else ""
                self._event("configuration-refused", f"{self._refused}{kept}")
        else:
            self._refused = ""
            self._bgp = bgp

    # ---- relay ---------------------------------------------------------------------------------

    async def _relay(self) -> None:
        while True:
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as relay:
                relay.setblocking(False)
                try:
                    loop = asyncio.get_running_loop()
                    await loop.sock_connect(relay, str(self._directory / RELAY_SOCKET))
                    await self._converse(relay)
                except (OSError, TimeoutError):
                    pass  # not there, or gone; both show as `relay`
                finally:
                    self._lost()
            await asyncio.sleep(CONNECT_S)

    async def _converse(self, relay: socket.socket) -> None:
        self._awaited = False
        declaring = asyncio.get_running_loop().create_task(self._declare(relay))
        try:
            while True:
                packet = await self._received(relay)
                if packet is None:
                    continue  # nothing was declared, so it has nothing to say
                if not packet:
                    return
                self._awaited = False
                try:
                    report = decode_report(packet)
                except ValueError:
                    self._counters["reports_malformed"] += 1
                    continue
                self._heard(report)
        finally:
            declaring.cancel()
            with contextlib.suppress(asyncio.CancelledError, OSError, TimeoutError):
                await declaring

    async def _received(self, relay: socket.socket) -> bytes | None:
        """The relay's next packet; b"" = it is gone, None = it owes none.

        Raises:
            TimeoutError: it owes one.
        """
        try:
            async with asyncio.timeout(SILENCE_S):
                return await asyncio.get_running_loop().sock_recv(relay, MAX_MESSAGE + 1)
        except TimeoutError:
            # A controller that was stopped finds its timers over; that says nothing of the relay.
            with contextlib.suppress(BlockingIOError):
                return relay.recv(MAX_MESSAGE + 1)
            if self._awaited:
                raise
            return None

    async def _declare(self, relay: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._wanted.clear()
            packet = self._declaration()
            if packet is not None:
                async with asyncio.timeout(SILENCE_S):
                    await loop.sock_sendall(relay, packet)
                self._awaited = True
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RENEW_S):
                    await self._wanted.wait()

    def _declaration(self) -> bytes | None:
        """What the relay is told; None before the controller has said what it wants."""
        bgp = self._bgp
        if bgp is None or not self._generation:
            return None
        try:
            for announcement in self._announcements:
                routes(announcement)
            packet = encode_declaration(
                Declaration(
                    self._generation,
                    bgp.local_as,
                    tuple(ip_address(n.address) for n in bgp.neighbor),
                    self._announcements,
                    round(bgp.lease_shut_s * 1000),
                    round(bgp.lease_withdraw_s * 1000),
                )
            )
        except ValueError as error:
            text = f"this cannot be announced: {error}"
            if text != self._undeclared:
                self._undeclared = text
                self._event("announcement-refused", text)
                self._changed()
            return None
        self._undeclared = ""
        return packet

    def _heard(self, report: RelayReport) -> None:
        before, self._report = self._report, report
        if before is None:
            self._counters["relay_connects"] += 1
            again = " again" if self._ever_connected else ""
            self._ever_connected = True
            self._installed.proven()  # it is ExaBGP that starts the relay
            self._event("relay-connected", f"the relay is reached{again}")
        if report.problem and (before is None or report.problem != before.problem):
            self._event("announcement-refused", report.problem)
        lease = before.lease if before is not None else LeaseState.HELD
        if report.lease not in {lease, LeaseState.HELD}:
            text = (
                f"without a word from the controller the relay's lease had come to: {report.lease}"
            )
            self._event("lease-expired", text)
        now_ns, wall_ns = self._clock.monotonic_ns(), self._clock.wall_ns()
        for session in report.sessions:
            watch = self._watches.get(session.address)
            if watch is not None and self._bgp is not None:
                for event in watch.heard(session, self._bgp, now_ns, wall_ns):
                    up = event.type == "bgp-session-up"
                    self._counters["sessions_up" if up else "sessions_down"] += 1
                    self._tell(event)
        self._changed()

    def _lost(self) -> None:
        if self._report is None:
            return
        self._report = None
        self._counters["relay_lost"] += 1
        text = (
            "the relay is lost: it or ExaBGP ended or hangs; if ExaBGP ended, its routes are gone"
        )
        self._event("relay-lost", text)
        for watch in self._watches.values():
            watch.lost()
        self._changed()

    # ---- diagnosis -----------------------------------------------------------------------------

    async def _diagnose(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            if self._report is None:
                continue
            for watch in tuple(self._watches.values()):
                asked_ns = self._clock.monotonic_ns()
                if watch.puzzling(asked_ns):
                    watch.explained(await diagnose(watch.neighbor), asked_ns)
            self._changed()
