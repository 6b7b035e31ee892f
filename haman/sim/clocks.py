"""The clocks of a host: wrong each in its own way."""

from haman.sim.loop import Loop

PPM = 1_000_000
EPOCH_NS = 1_700_000_000_000_000_000


class Clock:
    """A monotonic clock that drifts and may leap, and a wall clock that may be anything.

    Args:
        drift_ppm: faster than true time by so much.
        boot_ns: what the monotonic clock says at true time 0.
    """

    __slots__ = ("_drift_ppm", "_local_ns", "_loop", "_true_ns", "wall_offset_ns")

    def __init__(self, loop: Loop, drift_ppm: int, boot_ns: int) -> None:
        self._loop = loop
        self._drift_ppm = drift_ppm
        self._true_ns = loop.now_ns
        self._local_ns = boot_ns
        self.wall_offset_ns = 0

    @property
    def now_ns(self) -> int:
        """Monotonic."""
        passed_ns = self._loop.now_ns - self._true_ns
        return self._local_ns + passed_ns + passed_ns * self._drift_ppm // PPM

    @property
    def wall_ns(self) -> int:
        """Since the epoch, by this host."""
        return EPOCH_NS + self._loop.now_ns + self.wall_offset_ns

    def true_ns(self, local_ns: int) -> int:
        """The first true instant at which the monotonic clock will have reached `local_ns`."""
        wait_ns = local_ns - self._local_ns
        return self._true_ns - (-wait_ns * PPM // (PPM + self._drift_ppm)) + 1

    def leap(self, by_ns: int) -> None:
        """Let the monotonic clock jump; backwards only as far as it was stopped."""
        self._local_ns, self._true_ns = self.now_ns + by_ns, self._loop.now_ns

    def drift(self, ppm: int) -> None:
        """Change the rate from now on."""
        self.leap(0)
        self._drift_ppm = ppm
