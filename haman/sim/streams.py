"""Randomness: one source per concern, so that a change of one leaves the others as they were."""

from random import Random


class Streams:
    """Sources by name, all derived from one seed; the same on every machine and in every process."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._streams: dict[str, Random] = {}

    def of(self, concern: str) -> Random:
        """The source of a concern."""
        if concern not in self._streams:
            # Seeds that are text go through SHA-512, not through the hash of the process.
            self._streams[concern] = Random(f"{self._seed}/{concern}")
        return self._streams[concern]
