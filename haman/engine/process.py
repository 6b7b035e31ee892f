"""The engine process: everything put together, from the first look at the host to the last advert.

Order of a start: listen to the kernel, remove leftovers, open sockets, start the controller; contend
when it has declared its stances, hold and run ExaBGP when it says so. Order of an end (TERM, INT):
VIPs are handed over and their tails served (`parting`), the rest gets priority 0 and its addresses off,
that confirmed; meanwhile what is announced ends in its own order (`ending`). For both the controller is
told and needed; then it is ended, too.
"""

import signal
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from haman.config.lease import shortest_interval_ms
from haman.config.model import Config
from haman.config.reload import fixed_for_life
from haman.core.facts import EngineReported, HoldersSaid, StancesDeclared, TakeoverOrdered, ToEngine
from haman.core.vrrp.group import Key
from haman.core.words import Event, Reason
from haman.engine import lastwords
from haman.engine.addresses import AddressWorker
from haman.engine.announce import Announcer
from haman.engine.anycast import Anycast
from haman.engine.bfd import BfdSessions
from haman.engine.claims import Claim, anycast_claims
from haman.engine.diversions import Diversions
from haman.engine.ending import Ending
from haman.engine.exabgp import Exabgp
from haman.engine.groups import Groups
from haman.engine.guard import Guard
from haman.engine.handovers import Handovers
from haman.engine.holdings import Holdings
from haman.engine.identity import prepare
from haman.engine.interfaces import Interfaces
from haman.engine.lastwords import LastWords
from haman.engine.loop import EARLY_NS, QUIET, Loop, earliest
from haman.engine.members import members, read_passwords
from haman.engine.parting import Parting
from haman.engine.proxy import ProxyWatch
from haman.engine.reload import Load, Reload
from haman.engine.reporter import Reporter
from haman.engine.sentry import Sentry
from haman.engine.signals import Signals
from haman.engine.steering import SteeringChild
from haman.engine.supervise import Supervisor
from haman.engine.urgency import Urgency
from haman.engine.vips import Vips
from haman.engine.watchdog import Watchdog
from haman.engine.wires import Wires
from haman.system import clock, realtime
from haman.system.netlink import InterfaceAddress
from haman.system.netlink_socket import Monitor
from haman.system.systemd import Notifier

NS_PER_S: Final = 1_000_000_000
REPORT_EVERY_NS: Final = NS_PER_S
REPORT_GAP_NS: Final = NS_PER_S // 100
STOP_WITHIN_NS: Final = 2 * NS_PER_S
LATE_MS_MAX: Final = 100
ANSWER_NS: Final = 1_000_000
"""The rest of a turn waits so long for the kernel, once (an answer took some 0.8 ms, measured)."""
_MONITOR_READS_MAX: Final = 64


class Engine:
    """The composition root.

    Args:
        config: in force at first.
        controller: the controller's command; the number of its descriptor is appended.
        guard: forked before.
        load: for a reload (HUP).
        environment: of the process, for systemd.
        monitor_buffer_bytes: of the netlink monitor's receive buffer.

    Raises:
        OSError: not allowed to open what it needs.
    """

    def __init__(
        self,
        config: Config,
        controller: Sequence[str],
        guard: Guard,
        load: Load,
        *,
        environment: Mapping[str, str],
        monitor_buffer_bytes: int = 1 << 20,
    ) -> None:
        self._config = config
        self._loop = Loop()
        self._notifier = Notifier(dict(environment))
        self._last_words = LastWords(guard.memory_fd)
        self._monitor = Monitor(monitor_buffer_bytes)
        self._reporter = Reporter(self._tell)
        directories = (config.state.directory, str(Path(config.api.socket).parent))
        identity = prepare(directories, [sys.executable, "-c", "import haman.cli"])
        self._supervisor = Supervisor(
            controller, identity, self._loop, self._reporter, self._received, config=config
        )
        self._exabgp = Exabgp(config.api.socket, identity, self._loop, self._reporter, environment)
        for problem in identity.problems:
            self._reporter.event("controller-hampered", problem)
        priority = config.engine.realtime_priority
        self._urgency = Urgency(priority, self._reporter)
        self._sentry = Sentry(guard, self._loop, self._reporter, priority)
        self._worker = AddressWorker(self._urgency.raise_worker)

        self._interfaces = Interfaces()
        self._announcer = Announcer(lambda key: self._groups.announce_once(key))  # noqa: PLW0108 - made below
        self._wires = Wires(self._loop, self._interfaces, self._reporter, frame_fd=guard.frame_fd)
        self._holdings = Holdings(
            self._worker,
            self._interfaces,
            self._reporter,
            acquired=self._addresses_acquired,
            removed=lambda key, took_ns: self._groups.depart(key, took_ns),  # noqa: PLW0108 - made below
            failed=self._addresses_failed,
            write_page=self._write_page,
        )
        self._proxy = ProxyWatch(self._loop, self._reporter, died=self._evaluate)
        self._vips = Vips(self._interfaces, self._reporter, self._wires, self._proxy)
        steering = SteeringChild(self._loop, self._reporter)
        self._handovers = Handovers(
            self._interfaces, self._holdings, steering, self._reporter, self._vips
        )
        self._groups = Groups(
            self._reporter,
            self._announcer,
            self._wires,
            self._holdings,
            role_changed=self._vips.role_changed,
            handed_over=self._handovers.handed_over,
        )
        self._wires.received, self._wires.claimed = self._groups.received, self._groups.claimed
        self._vips.attach(self._groups, self._holdings, self._handovers)
        self._bfd = BfdSessions(self._loop, self._reporter)
        self._anycast = Anycast(self._interfaces, self._reporter, self._holdings)
        parting = Parting(self._vips, self._handovers, self._supervisor)
        self._ending = Ending(self._anycast, self._exabgp, parting)
        self._diversions = Diversions(self._loop, self._interfaces, self._reporter)
        self._watchdog = Watchdog(config.engine, self._notifier, self._reporter)
        turned = (self._vips, self._handovers, self._bfd, self._anycast)
        self._turned = (*turned, self._diversions, self._ending)
        self._timed = (*self._turned, self._holdings, self._announcer, self._exabgp, self._watchdog)
        self._others_at_ns = 0  # when anything but an advert is due
        self._yields = False  # to the worker, in this turn
        self._generation = 0
        self._ready = False
        self._stop_by_ns: int | None = None
        self._late_ns = 0
        self._report_at_ns = 0
        self._reported_ns = 0
        self._reload = Reload(load, self._urgency.raise_thread)

    # ---- run -----------------------------------------------------------------------------------

    def run(self) -> int:
        """Run until told to end; returns the exit status."""
        self._signals = Signals((signal.SIGTERM, signal.SIGINT, signal.SIGHUP))
        self._loop.watch(self._signals, self._signalled)
        self._loop.watch(self._monitor, self._monitored)
        self._loop.watch(self._worker, self._reconciled)
        self._loop.watch(self._reload, self._reloaded)
        self._worker.start()
        self._configure(self._config, read_passwords(self._config))
        self._holdings.resync()
        realtime.settle_interpreter()
        self._loop.run(self._turn)
        return self._end()

    def _configure(self, config: Config, passwords: dict[str, bytes]) -> None:
        self._config = config
        self._late_ns = min(shortest_interval_ms(config) or LATE_MS_MAX, LATE_MS_MAX) * 1_000_000
        now_ns = clock.monotonic_ns()
        routers, services = members(config, passwords), anycast_claims(config)
        claims: dict[Key, Claim] = {**routers, **services}
        every = (address for claim in claims.values() for address in claim.addresses)
        self._interfaces.excluded = frozenset(str(address.ip) for address in every)
        self._holdings.configure(claims)
        self._vips.configure(routers, now_ns)
        self._handovers.configure(routers.values(), now_ns)
        self._anycast.configure(tuple(s.name for s in config.anycast), services, now_ns)
        self._diversions.configure(config, now_ns)
        self._bfd.configure(config.bgp.neighbor if config.bgp else (), now_ns)

    def _turn(self, now_ns: int) -> int | None:
        if (late_ns := self._loop.late_ns) > self._late_ns:
            text = f"the engine woke {late_ns / 1e6:.0f} ms late"
            self._reporter.noise("engine-late", text, data={"late_ms": late_ns / 1e6})
        adverts_alone = self._groups.turn(now_ns) and self._loop.adverts_alone
        if adverts_alone and now_ns + EARLY_NS < self._others_at_ns and not self._reporter.changed:
            return earliest(self._others_at_ns, self._groups.deadline_ns)
        self._yields = self._holdings.changed and not self._yields
        if self._yields:
            # Addresses first: the worker may get no core but this one, and the rest would keep it from it.
            self._holdings.flush(now_ns)
            self._others_at_ns = now_ns + ANSWER_NS
            return earliest(self._others_at_ns, self._groups.deadline_ns)
        for part in self._turned:
            part.turn(now_ns)
        self._holdings.flush(now_ns)
        self._announcer.send_due(now_ns)
        self._exabgp.turn(now_ns)
        if self._stop_by_ns is None:
            self._supervisor.turn(now_ns)
            self._sentry.turn(now_ns)
        elif now_ns >= self._stop_by_ns or (self._ending.over and self._holdings.empty):
            return None
        self._report(now_ns)
        deadlines = [*(p.deadline_ns for p in self._timed), self._report_at_ns, self._stop_by_ns]
        if self._stop_by_ns is None:
            deadlines += [self._supervisor.deadline_ns, self._sentry.deadline_ns]
        self._others_at_ns = earliest(*deadlines)
        return earliest(self._others_at_ns, self._groups.deadline_ns)

    def _end(self) -> int:
        if self._holdings.empty:
            self._last_words.write(())  # the guard has nothing to add
        self._bfd.close(clock.monotonic_ns())  # before anything waits: it could keep no interval
        self._report_now(clock.monotonic_ns())
        self._exabgp.stop(timeout_s=1.0)
        self._supervisor.stop(timeout_s=1.0)
        self._handovers.close()
        self._diversions.close()
        self._worker.stop(timeout_s=0.5)
        parts = (self._proxy, self._wires, self._monitor, self._watchdog, self._notifier)
        for part in (*parts, self._loop):
            part.close()
        return 0 if self._holdings.empty else 1

    # ---- signals -------------------------------------------------------------------------------

    def _signalled(self) -> None:
        for number in self._signals.read():
            if number == signal.SIGHUP:
                self._notifier.reloading(clock.monotonic_ns())
                self._reload.begin()
            else:
                self._stop(number.name)

    def _stop(self, why: str) -> None:
        now_ns = clock.monotonic_ns()
        if self._stop_by_ns is not None:
            self._stop_by_ns = min(self._stop_by_ns, now_ns + STOP_WITHIN_NS)
            self._ending.hurry(now_ns)
            return
        reason = Reason("shutdown", f"the agent is ending ({why})")
        within_ns = STOP_WITHIN_NS + self._ending.begin(reason, self._config, now_ns)
        self._stop_by_ns = now_ns + within_ns
        self._notifier.stopping(within_ns)
        self._diversions.stop(now_ns)
        self._report_now(now_ns)

    def _reloaded(self) -> None:
        loaded = self._reload.collect()
        if self._stop_by_ns is not None:
            return
        config, problems = loaded.config, loaded.problems
        if config is not None:
            fixed = fixed_for_life(self._config, config)
            problems = tuple(f"{key} cannot change while the agent runs" for key in fixed)
        if config is None or problems:
            text = f"reload refused, the old configuration stays: {'; '.join(problems)}"
            self._reporter.event("reload-refused", text)
        else:
            self._configure(config, loaded.passwords)
            # Only now: what the engine refuses, the controller never takes over.
            self._supervisor.reload(config)
            self._reporter.event("reloaded", f"the configuration has {self._status()}")
        self._notifier.ready(self._status())

    # ---- the kernel ----------------------------------------------------------------------------

    def _monitored(self) -> object:
        matters = False
        for _ in range(_MONITOR_READS_MAX):
            if (messages := self._monitor.read()) is None:
                self._reporter.counters["netlink_overruns"] += 1
                text = "the kernel's messages came faster than they were read: all is read again"
                self._reporter.noise("netlink-overrun", text)
                self._holdings.resync()
                continue
            if not messages:
                break
            for message in messages:
                matters |= self._interfaces.apply(message)
                self._holdings.observed(message)
        if matters:
            self._evaluate()
        return None if matters or self._holdings.changed else QUIET

    def _reconciled(self) -> None:
        now_ns = clock.monotonic_ns()
        for answer in self._worker.collect():
            self._holdings.answered(answer, now_ns)
            if answer.links is not None:
                self._host_was_read(now_ns)

    def _host_was_read(self, now_ns: int) -> None:
        if self._ready:
            self._evaluate()
            return
        self._ready = True
        self._vips.host_known(now_ns)
        self._anycast.host_known(now_ns)
        self._notifier.ready(self._status())
        self._watchdog.begin(now_ns)

    def _evaluate(self) -> None:
        now_ns = clock.monotonic_ns()
        self._vips.evaluate(now_ns)
        self._anycast.evaluate(now_ns)

    def _addresses_acquired(self, key: Key) -> None:
        if self._anycast.concerns(key) or self._handovers.concerns(key):
            self._reporter.changed = True
        else:
            self._vips.acquired(key, clock.monotonic_ns())

    def _addresses_failed(self, key: Key, reason: Reason) -> None:
        if self._handovers.concerns(key):
            self._handovers.failed(key, reason)
            return
        service = self._anycast if self._anycast.concerns(key) else self._vips
        service.failed(key, reason, clock.monotonic_ns())

    def _write_page(self, places: Iterable[InterfaceAddress]) -> None:
        farewells = lastwords.farewells(self._groups.farewells(), self._interfaces, self._wires)
        if left_out := self._last_words.write([*farewells, *map(lastwords.removal, places)]):
            text = f"{left_out} last words do not fit into the guard's page; the lease covers them"
            self._reporter.noise("guard-full", text)

    # ---- proxy and controller ------------------------------------------------------------------

    def _tell(self, event: Event) -> None:
        self._supervisor.link.tell(event)

    def _received(self, message: ToEngine) -> None:
        now_ns = clock.monotonic_ns()
        match message:
            case StancesDeclared(generation):
                if not self._ending.parted:
                    self._vips.declare(message, now_ns)
                    self._handovers.declare(message.handovers, now_ns)
                if self._stop_by_ns is None:
                    self._anycast.declare(message.anycast, now_ns)
                    self._diversions.declare(message.steers, now_ns)
                    self._exabgp.declare(message.exabgp, now_ns)
                self._reporter.changed |= generation != self._generation
                self._generation = generation
            case TakeoverOrdered():
                self._vips.order(message, now_ns)
            case HoldersSaid():
                self._vips.holders_said(message, now_ns)

    def _report(self, now_ns: int) -> None:
        link = self._supervisor.link
        if self._reporter.changed:
            self._reporter.changed = False
            link.flush()  # events at once; the whole state soon, once for many changes
            self._report_at_ns = min(self._report_at_ns, self._reported_ns + REPORT_GAP_NS)
        if now_ns >= min(self._report_at_ns, self._reported_ns + REPORT_EVERY_NS - EARLY_NS):
            self._report_now(now_ns)
        self._watchdog.turn(now_ns)

    def _report_now(self, now_ns: int) -> None:
        self._reported_ns = now_ns
        self._report_at_ns = now_ns + REPORT_EVERY_NS
        self._supervisor.link.report(
            EngineReported(
                self._generation,
                self._vips.reports(),
                self._loop.lateness.report(now_ns),
                dict(self._reporter.counters),
                realtime=self._urgency.granted,
                realtime_problem=self._urgency.problem,
                guard=self._sentry.alive,
                bfd=self._bfd.reports(),
                anycast=self._anycast.reports(),
                exabgp=self._exabgp.report(now_ns),
                ending=self._stop_by_ns is not None,
                handovers=self._handovers.reports(),
                places=self._handovers.places(),
                steers=self._diversions.reports(),
                links=self._diversions.links(),
            )
        )

    def _status(self) -> str:
        vips, anycast = len(self._config.vip), len(self._config.anycast)
        return f"{vips} VIPs" + (f", {anycast} anycast services" if anycast else "")
