"""Several ways to a cluster, of which any one is enough: the first that answers is used.

When it fails, the next one is taken, round and round; a way through SSH is built anew each time.
Opening blocks (paramiko does), so it happens on a thread that nobody waits for when the program ends.
"""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager
from typing import TypeVar

from haman.api import schema
from haman.api.async_client import AsyncClient
from haman.api.client import UnreachableError
from haman.core.frozen import dataclass

ANSWER_MAX_S = 3.0
"""An answer that takes longer counts as none: a screen must not wait."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Way:
    """One way to an agent.

    Attributes:
        name: as people see it.
        open: gives the path of a local socket for as long as the context lasts; raises
            UnreachableError. May block.
    """

    name: str
    open: Callable[[], AbstractContextManager[str]]


@dataclass(slots=True)
class _Open:
    client: AsyncClient
    context: AbstractContextManager[str]


class Reaching:
    """The questions of `AsyncClient`, put to the first of several agents that answers."""

    def __init__(self, ways: Sequence[Way], answer_max_s: float = ANSWER_MAX_S) -> None:
        self._ways = tuple(ways)
        self._answer_max_s = answer_max_s
        self._at = 0
        self._opening: asyncio.Task[_Open] | None = None

    @property
    def place(self) -> str:
        """The name of the way in use, or of the one that is tried next."""
        return self._ways[self._at].name

    async def status(self) -> schema.Status:
        """Ask for the whole cluster; every way is tried once before it fails."""
        problems = []
        for _ in self._ways:
            name, opening = self.place, None
            try:
                opening = self._opened()
                return await (await asyncio.shield(opening)).client.status()
            except UnreachableError as error:
                problems.append(str(error) if len(self._ways) == 1 else f"{name}: {error}")
                self._leave(opening)
        raise UnreachableError("; ".join(problems))

    async def follow(self, since: int | None = None) -> AsyncIterator[schema.Event]:
        """Yield events of the agent in use, after those since `since` if it is given."""
        found = await asyncio.shield(self._opened())
        async for event in found.client.follow(since):
            yield event

    async def why(self, service: str) -> schema.Why:
        """Ask who serves, and why."""
        return await (await asyncio.shield(self._opened())).client.why(service)

    async def scenario(self, without: tuple[str, ...]) -> schema.Scenario:
        """Ask for the loss of certain nodes."""
        return await (await asyncio.shield(self._opened())).client.scenario(without)

    async def act(self, verb: str, wish: schema.Intent) -> schema.Done:
        """Have a verb done by the agent in use; never asked twice."""
        return await (await asyncio.shield(self._opened())).client.act(verb, wish)

    async def close(self) -> None:
        """Let go of what is open."""
        if opening := self._opening:
            self._leave(opening)

    def _opened(self) -> asyncio.Task[_Open]:
        if self._opening is None:
            self._opening = asyncio.create_task(self._open(self._ways[self._at]))
        return self._opening

    async def _open(self, way: Way) -> _Open:
        context = way.open()
        try:
            path = await _on_a_thread(context.__enter__)
        except OSError as error:
            raise UnreachableError(f"{way.name}: {error}") from error
        return _Open(AsyncClient(path, self._answer_max_s), context)

    def _leave(self, opening: asyncio.Task[_Open] | None) -> None:
        """Close a way that failed, and turn to the next; others may have done so already."""
        if opening is None or opening is not self._opening:
            return
        self._opening = None
        self._at = (self._at + 1) % len(self._ways)
        if opening.done() and not opening.cancelled() and opening.exception() is None:
            context = opening.result().context
            threading.Thread(target=_end, args=(context,), name="way-end", daemon=True).start()


def _end(context: AbstractContextManager[str]) -> None:
    with contextlib.suppress(UnreachableError, OSError):
        context.__exit__(None, None, None)


async def _on_a_thread(call: Callable[[], T]) -> T:
    """Run what blocks on a daemon thread: a login that hangs must not keep the program from ending."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result, error = None, None
        try:
            result = call()
        except Exception as problem:  # noqa: BLE001 - it is raised where it is waited for
            error = problem
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=run, name="way-open", daemon=True).start()
    return await done
