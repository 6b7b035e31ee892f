"""The kernel of a host: which addresses it has, for how long, and the work of having them."""

from random import Random

from haman.sim.loop import Loop

Key = tuple[str, int]
"""Service and family."""
WORK_LEAST_NS, WORK_SPREAD_NS = 300_000, 1_500_000
"""From an order to its confirmation (measured on real machines: 1 to 2 ms)."""


class Kernel:
    """Addresses with a lease. It goes on while processes are stopped, and forgets when power fails."""

    __slots__ = ("_leases", "_loop", "_random", "stopped_ns")

    def __init__(self, loop: Loop, random: Random) -> None:
        self._loop = loop
        self._random = random
        self._leases: dict[Key, int] = {}
        self.stopped_ns: int | None = None

    def has(self, key: Key) -> bool:
        """Whether the address is there now, and answered for."""
        ends_ns = self._leases.get(key)
        return ends_ns is not None and self.stopped_ns is None and ends_ns > self._loop.now_ns

    def has_any(self, keys: tuple[Key, ...]) -> bool:
        """Whether one of these is there."""
        return bool(self._leases) and any(self.has(key) for key in keys)

    def held(self) -> tuple[Key, ...]:
        """Every address that is there, stopped or not."""
        now_ns = self._loop.now_ns if self.stopped_ns is None else self.stopped_ns
        return tuple(sorted(key for key, ends_ns in self._leases.items() if ends_ns > now_ns))

    def work_ns(self) -> int:
        """How long the next order takes."""
        return WORK_LEAST_NS + int(self._random.random() * WORK_SPREAD_NS)

    def add(self, key: Key, lease_ns: int) -> None:
        """Have an address, for so long from now."""
        self._leases[key] = self._loop.now_ns + lease_ns

    def remove(self, key: Key) -> None:
        """Have it no more."""
        self._leases.pop(key, None)

    def clear(self) -> None:
        """Power failed."""
        self._leases.clear()
        self.stopped_ns = None

    def stop(self) -> None:
        """The machine is paused: leases do not run."""
        self.stopped_ns = self._loop.now_ns

    def go_on(self, *, counted: bool) -> None:
        """The machine goes on; `counted`: its clock ran during the pause."""
        if self.stopped_ns is None:
            return
        if not counted:
            paused_ns = self._loop.now_ns - self.stopped_ns
            self._leases = {key: ends_ns + paused_ns for key, ends_ns in self._leases.items()}
        self.stopped_ns = None
