"""The network: each direction of each path delays, loses, doubles and is cut on its own."""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Final

from haman.sim.loop import Loop

NS_PER_MS: Final = 1_000_000

WIRE: Final = "wire"
"""The link of the VIPs: adverts go to everybody on it."""
MESH: Final = "mesh"
"""Reports between controllers."""
BGP: Final = "bgp"
"""Between a host and the routers."""

Path = tuple[str, str, str]
"""Channel, from, to."""


@dataclass(frozen=True, slots=True)
class Quality:
    """What a path does to packets.

    Attributes:
        least_ns: the least delay.
        spread_ns: up to so much more.
        loss: of all packets, 0 to 1.
        twice: of all packets, those that arrive twice.
        stray: of all packets, those that are overtaken: delayed by up to 20 times the spread.
    """

    least_ns: int = 100_000
    spread_ns: int = 400_000
    loss: float = 0.0
    twice: float = 0.0
    stray: float = 0.0


@dataclass(slots=True)
class Network:
    """All paths between hosts."""

    loop: Loop
    random: Random
    quality: Quality
    _cuts: dict[Path, int] = field(default_factory=dict)
    _worse: dict[Path, Quality] = field(default_factory=dict)

    def send(self, path: Path, deliver: Callable[[], None]) -> None:
        """Deliver a packet later, twice, or never."""
        if self._cuts.get(path):
            return
        quality = self._worse.get(path, self.quality)
        draw = self.random.random
        if quality.loss and draw() < quality.loss:
            return
        copies = 2 if quality.twice and draw() < quality.twice else 1
        for _ in range(copies):
            spread_ns = quality.spread_ns
            if quality.stray and draw() < quality.stray:
                spread_ns *= 20
            self.loop.after(quality.least_ns + int(draw() * spread_ns), deliver)

    def cut(self, path: Path) -> None:
        """Let nothing through; cuts add up."""
        self._cuts[path] = self._cuts.get(path, 0) + 1

    def mend(self, path: Path) -> None:
        """Take back one cut."""
        self._cuts[path] -= 1

    def spoil(self, path: Path, quality: Quality | None) -> None:
        """Give a path another quality; None = as all others."""
        if quality is None:
            self._worse.pop(path, None)
        else:
            self._worse[path] = quality

    def is_open(self, path: Path) -> bool:
        """Whether packets arrive, if sent often enough."""
        return not self._cuts.get(path)

    def joined(self, channel: str, one: str, other: str) -> bool:
        """Whether two hosts hear each other."""
        return self.is_open((channel, one, other)) and self.is_open((channel, other, one))
