"""Two ends of a conversation without a network, and bytes that look random but are not."""

import asyncio
import socket
import time
from collections.abc import Callable

from haman.cluster.channel import Channel, Opened
from haman.cluster.keys import ClusterKey

DEADLINE_S = 20.0
KEY = ClusterKey("00000001", bytes(range(32)))
OTHER_KEY = ClusterKey("00000002", bytes(range(1, 33)))


def counting_bytes(start: int) -> Callable[[int], bytes]:
    """Different bytes at each call, the same in each run."""
    state = start

    def draw(length: int) -> bytes:
        nonlocal state
        state += 1
        return state.to_bytes(length)

    return draw


def channel(
    name: str, *peers: str, keys: tuple[ClusterKey, ...] = (KEY,), seed: int = 0
) -> Channel:
    start = seed * 1000 + sum(name.encode()) * 1_000_000
    return Channel("edge", name, peers, keys, counting_bytes(start))


def believing(seed: int = 0) -> tuple[Channel, Channel]:
    """lb1 and lb2 after their handshake."""
    one, two = channel("lb1", "lb2", seed=seed), channel("lb2", "lb1", seed=seed)
    greet(one, two)
    return one, two


def greet(one: Channel, two: Channel) -> None:
    two.open(one.seal("lb2", b"hello"))
    assert isinstance(one.open(two.seal("lb1", b"answer")), Opened)
    assert isinstance(two.open(one.seal("lb2", b"answer")), Opened)


def free_port(host: str = "127.0.0.1") -> int:
    """A UDP port that nobody uses now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


async def until(condition: Callable[[], object], why: str = "") -> None:
    """Wait for a condition, with a deadline."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"not in {DEADLINE_S} s: {why or condition}"
        await asyncio.sleep(0.002)
