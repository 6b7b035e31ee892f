"""The API of an agent: HTTP over its unix socket, and /metrics over TCP where that is wanted."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from haman.api.http import web
from haman.api.listener import listen, remove
from haman.api.metrics import Metrics
from haman.api.routes import make_app, make_metrics_app
from haman.config.forms import split_host_port
from haman.controller.surface import Agent

CLOSE_S = 1.0
"""Given to requests under way when the agent stops."""

log = logging.getLogger(__name__)


@asynccontextmanager
async def serve(agent: Agent) -> AsyncIterator[None]:
    """Serve the API of `agent`, where its configuration says, while the context lasts.

    The TCP address of the metrics is a convenience: if it cannot be bound, that is logged, and the
    agent goes on without.

    Raises:
        SocketInUseError: another agent listens on the socket.
        OSError: the socket cannot be bound.
    """
    api = agent.config.api
    metrics = Metrics(agent.snapshot)
    path = Path(api.socket)
    async with AsyncExitStack() as stack:
        counting = asyncio.create_task(_count(agent, metrics), name="api-metrics")
        stack.push_async_callback(_cancel, counting)
        runner = await _run(stack, make_app(agent, metrics))
        listener, inode = listen(path, api.group, api.readers)
        stack.callback(remove, path, inode)
        await web.SockSite(runner, listener).start()
        if api.metrics:
            host, port = split_host_port(api.metrics)
            scrape = await _run(stack, make_metrics_app(metrics))
            try:
                await web.TCPSite(scrape, host, port).start()
            except OSError as error:
                log.error("api.metrics %s: %s", api.metrics, error)  # noqa: TRY400 - no bug
        yield


async def _run(stack: AsyncExitStack, app: web.Application) -> web.AppRunner:
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=CLOSE_S)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    return runner


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _count(agent: Agent, metrics: Metrics) -> None:
    try:
        async for entry in agent.follow():
            metrics.count(entry)
    except Exception:
        log.exception("haman_transitions_total stands still from here on")
