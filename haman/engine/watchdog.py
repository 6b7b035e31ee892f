"""Who is told that the loop turns: systemd, which restarts the service, and the kernel's watchdog.

The device is off unless `engine.watchdog` names one. Then a host whose engine hangs is reset: for
machines on which an address that does not go away must never be, whatever else they do. An engine
that ends in order disarms it; one that dies has as long to be restarted as the device waits.
"""

from typing import Final

from haman.config.model import Engine
from haman.engine.reporter import Reporter
from haman.system.systemd import Notifier
from haman.system.watchdog import WatchdogDevice

NS_PER_S: Final = 1_000_000_000
PARTS: Final = 3
"""It is told this often within the time that it waits."""


class Watchdog:
    """Tells both, from `begin` on."""

    def __init__(self, config: Engine, notifier: Notifier, reporter: Reporter) -> None:
        self._config = config
        self._notifier = notifier
        self._reporter = reporter
        self._device: WatchdogDevice | None = None
        self._every_ns: int | None = None
        self.deadline_ns: int | None = None
        """When `turn` is due."""

    def begin(self, now_ns: int) -> None:
        """The engine works: from now on it must go on."""
        if self._config.watchdog:
            try:
                self._device = WatchdogDevice(self._config.watchdog, self._config.watchdog_s)
            except OSError as error:
                text = (
                    f"{self._config.watchdog}: {error.strerror}: nothing resets a host that hangs"
                )
                self._reporter.event("watchdog-refused", text)
        device_ns = self._device.timeout_s * NS_PER_S if self._device else None
        waits = [ns for ns in (self._notifier.watchdog_ns, device_ns) if ns is not None]
        if waits:
            self._every_ns = min(waits) // PARTS
            self.deadline_ns = now_ns

    def turn(self, now_ns: int) -> None:
        """Tell them, when it is time."""
        if self.deadline_ns is None or self._every_ns is None or now_ns < self.deadline_ns:
            return
        self.deadline_ns = now_ns + self._every_ns
        self._notifier.alive()
        if self._device is not None:
            self._device.alive()

    def close(self) -> None:
        """The engine ends in order."""
        if self._device is not None:
            self._device.close()
            self._device = None
        self.deadline_ns = None
