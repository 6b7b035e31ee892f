"""Readiness and liveness for systemd (sd_notify(3)); silent where there is none."""

import contextlib
import os
import socket


class Notifier:
    """Sends states to the socket named by NOTIFY_SOCKET, never blocks.

    Args:
        environment: of the process.
    """

    def __init__(self, environment: dict[str, str]) -> None:
        path = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + path[1:] if path.startswith("@") else path
        self._socket: socket.socket | None = None
        if self._address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.setblocking(False)
        watchdog = environment.get("WATCHDOG_USEC", "")
        mine = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self.watchdog_ns: int | None = None
        """How often systemd wants to hear of the loop; None = not at all."""
        if watchdog.isdecimal() and mine and self._socket:
            self.watchdog_ns = int(watchdog) * 1000

    def ready(self, status: str) -> None:
        """The service does its work."""
        self._send(f"READY=1\nSTATUS={status}")

    def reloading(self, monotonic_ns: int) -> None:
        """A new configuration is being read; `ready` follows."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={monotonic_ns // 1000}")

    def stopping(self, within_ns: int) -> None:
        """The service is about to end, and asks not to be killed for as long as that may take."""
        self._send(f"STOPPING=1\nEXTEND_TIMEOUT_USEC={within_ns // 1000}")

    def alive(self) -> None:
        """The loop turns."""
        self._send("WATCHDOG=1")

    def close(self) -> None:
        """Say nothing more."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, text: str) -> None:
        if self._socket is None:
            return
        # systemd may be busy or gone: the next message will do, and nobody could be told.
        with contextlib.suppress(OSError):
            self._socket.sendto(text.encode(), self._address)
