"""Clients that come by the clock, shake hands in full, and come back when they were not served in time.

`python -m haman.lab.clients ORDER RESULT` reads an Order (JSON) and writes a Result (JSON). Open loop:
a client comes whatever became of those before it, as in a storm; of those that failed a part comes
again, as browsers do.
"""

import asyncio
import random
import ssl
import sys
import time
from pathlib import Path

import msgspec
from msgspec import Struct

UNDER_WAY_MAX = 3000
"""Beyond it clients count as failed: the generator would be what is measured."""
TRIES_MAX = 20


class Phase(Struct, frozen=True):
    """For how long how many new clients come each second."""

    seconds: float
    per_s: float


class Order(Struct, frozen=True):
    """What to do.

    Attributes:
        timeout_s: of one try.
        persistence: of the clients whose try has failed, the part that tries again.
        within_s: and how soon, at the latest.
    """

    address: str
    phases: tuple[Phase, ...]
    port: int = 443
    timeout_s: float = 1.0
    persistence: float = 0.8
    within_s: float = 2.0
    seed: int = 1


class Client(Struct, frozen=True, array_like=True):
    """One client: seconds since the start; `served_s` None = it gave up."""

    came_s: float
    tries: int
    served_s: float | None = None
    node: str = ""


class Result(Struct, frozen=True):
    """What became of all of them.

    Attributes:
        late_s_max: how late the generator was at worst.
        turned_away: clients that it could not play.
    """

    order: Order
    clients: tuple[Client, ...]
    late_s_max: float
    turned_away: int


class Clients:
    """One run of one order."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._random = random.Random(order.seed)
        self._context = ssl.create_default_context()
        self._context.check_hostname = False
        self._context.verify_mode = ssl.CERT_NONE
        self._ended: list[Client] = []
        self._request = f"GET / HTTP/1.1\r\nHost: {order.address}\r\nConnection: close\r\n\r\n"

    async def run(self) -> Result:
        """Play everybody, and wait for the last."""
        under_way: set[asyncio.Task[None]] = set()
        turned_away, late_s_max = 0, 0.0
        self._begun_s = due_s = time.monotonic()
        for phase in self._order.phases:
            for _ in range(round(phase.seconds * phase.per_s)):
                due_s += 1 / phase.per_s
                await asyncio.sleep(max(0.0, due_s - time.monotonic()))
                late_s_max = max(late_s_max, time.monotonic() - due_s)
                if len(under_way) >= UNDER_WAY_MAX:
                    turned_away += 1
                    continue
                task = asyncio.create_task(self._client())
                under_way.add(task)
                task.add_done_callback(under_way.discard)
        if under_way:
            await asyncio.wait(under_way)
        return Result(self._order, tuple(self._ended), late_s_max, turned_away)

    async def _client(self) -> None:
        order, tries = self._order, 0
        came_s = time.monotonic() - self._begun_s
        while True:
            tries += 1
            try:
                async with asyncio.timeout(order.timeout_s):
                    node = await self._try()
            except (OSError, TimeoutError, asyncio.IncompleteReadError):
                if tries == TRIES_MAX or self._random.random() >= order.persistence:
                    self._ended.append(Client(came_s, tries))
                    return
                await asyncio.sleep(self._random.uniform(0.0, order.within_s))
                continue
            served_s = time.monotonic() - self._begun_s
            self._ended.append(Client(came_s, tries, served_s, node))
            return

    async def _try(self) -> str:
        """Which node answered."""
        reader, writer = await asyncio.open_connection(
            self._order.address, self._order.port, ssl=self._context
        )
        try:
            writer.write(self._request.encode())
            head = await reader.readuntil(b"\r\n\r\n")
        finally:
            writer.transport.abort()
        if not head.startswith(b"HTTP/1.1 200"):
            raise ConnectionAbortedError(head[:40].decode("ascii", "replace"))
        lines = head.decode("ascii", "replace").split("\r\n")
        return next((line[11:] for line in lines if line.startswith("served-by: ")), "")


def main() -> int:
    """Run the order of the first argument, write the result to the second."""
    order = msgspec.json.decode(sys.argv[1], type=Order)
    result = asyncio.run(Clients(order).run())
    Path(sys.argv[2]).write_bytes(msgspec.json.encode(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
