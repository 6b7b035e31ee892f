"""The routes of the API: they ask the agent, and `view` and `why` give the answer its form.

Bodies and streams are bounded; an error of any kind has the contract's form.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

import msgspec
from msgspec.structs import replace

from haman.api import plain, schema, view
from haman.api.access import Access
from haman.api.http import web
from haman.api.json_schema import json_schema
from haman.api.metrics import CONTENT_TYPE, Metrics
from haman.api.schema import Intent
from haman.api.stream import FOLLOWERS_MAX, Stream
from haman.api.why import why
from haman.controller.surface import Agent, Outcome, Refused
from haman.core.headroom import assess_loss
from haman.core.words import Reason

BODY_BYTES_MAX = 16 * 1024
EVENTS_MAX = 1000
"""Of one answer to /v1/events; the next page starts after its last `seq`."""
EVENTS_DEFAULT = 100
WHY_EVENTS = 200
"""How far back `why` looks in the journal."""

HTTP_STATUS = {
    "unknown-node": 404,
    "unknown-vip": 404,
    "not-durable": 503,
    "unreachable": 503,
}
"""Of a refusal, by its code; any other is a 409."""

log = logging.getLogger(__name__)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ApiError(Exception):
    """An answer of 400 or more."""

    def __init__(
        self, status: int, code: str, message: str, reasons: tuple[Reason, ...] = ()
    ) -> None:
        super().__init__(message)
        self.status = status
        self.problem = schema.Problem(code, message, plain.reasons(reasons))


def make_app(agent: Agent, metrics: Metrics) -> web.Application:
    """Build the application with every route of the contract."""
    routes = _Routes(agent, metrics)
    app = web.Application(client_max_size=BODY_BYTES_MAX, middlewares=[_errors])
    app.on_shutdown.append(routes.stop)
    app.add_routes(
        [
            web.get("/v1/status", routes.status),
            web.get("/v1/headroom", routes.headroom),
            web.get("/v1/why/{name}", routes.why),
            web.get("/v1/events", routes.events),
            web.get("/v1/schema", routes.schema),
            web.post("/v1/drain", routes.drain),
            web.post("/v1/undrain", routes.undrain),
            web.post("/v1/failover", routes.failover),
            web.post("/v1/pause", routes.pause),
            web.post("/v1/resume", routes.resume),
            web.get("/metrics", routes.metrics),
            web.get("/healthz", routes.healthz),
            web.get("/readyz", routes.readyz),
        ]
    )
    return app


def make_metrics_app(metrics: Metrics) -> web.Application:
    """Build what listens on TCP: /metrics and nothing else."""

    async def render(_request: web.Request) -> web.Response:
        return _metrics_answer(metrics)

    app = web.Application(client_max_size=0, middlewares=[_errors])
    app.add_routes([web.get("/metrics", render)])
    return app


class _Routes:
    def __init__(self, agent: Agent, metrics: Metrics) -> None:
        self._agent = agent
        self._metrics = metrics
        self._access = Access(agent.config.api)
        self._stopping = asyncio.Event()
        self._streams = 0

    async def stop(self, _app: web.Application) -> None:
        self._stopping.set()

    async def status(self, request: web.Request) -> web.Response:
        status = view.status(self._agent.snapshot(), self._agent.config)
        if why := self._read_only(request):
            status = replace(status, read_only=why)
        return _json(status)

    async def headroom(self, request: web.Request) -> web.Response:
        now = self._agent.snapshot()
        lost = tuple(n for v in request.query.getall("without", []) for n in v.split(",") if n)
        if not lost:
            return _json(view.headroom(now.headroom))
        known = [now.node, *(peer.name for peer in now.peers)]
        for node in lost:
            if node not in known:
                raise _unknown("node", node, sorted(known))
        return _json(view.scenario(assess_loss(now.own, now.peers, lost)))

    async def why(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        snapshot, config = self._agent.snapshot(), self._agent.config
        answer = why(snapshot, config, self._agent.events(-WHY_EVENTS, WHY_EVENTS), name)
        if answer is None:
            raise _unknown("service", name, view.service_names(snapshot, config))
        return _json(answer)

    async def events(self, request: web.Request) -> web.StreamResponse:
        live = "text/event-stream" in request.headers.get("Accept", "")
        default = 0 if not live else None
        since = _integer(request, "since", default)
        if not live:
            limit = _integer(request, "limit", EVENTS_DEFAULT) or 0
            if not 1 <= limit <= EVENTS_MAX:
                raise ApiError(400, "bad-request", f"limit must be 1 to {EVENTS_MAX}")
            found = self._agent.events(since or 0, limit)
            return _json([view.event(entry) for entry in found])
        if since is None and (last := request.headers.get("Last-Event-ID", "")).isdecimal():
            since = int(last)
        if self._streams >= FOLLOWERS_MAX:
            raise ApiError(
                503, "too-many-followers", f"{FOLLOWERS_MAX} clients follow the events already"
            )
        self._streams += 1
        try:
            return await Stream(self._agent, self._stopping).run(request, since)
        finally:
            self._streams -= 1

    async def schema(self, _request: web.Request) -> web.Response:
        return _json(json_schema())

    async def drain(self, request: web.Request) -> web.Response:
        wish = await self._wish(request, "node", "force", "plain")
        return _done(await self._agent.drain(wish.node, force=wish.force, plain=wish.plain))

    async def undrain(self, request: web.Request) -> web.Response:
        wish = await self._wish(request, "node")
        return _done(await self._agent.undrain(wish.node))

    async def failover(self, request: web.Request) -> web.Response:
        wish = await self._wish(request, "vip", "to", "force", "plain")
        if not wish.vip:
            raise ApiError(400, "bad-request", 'name the VIP to move: {"vip": "…"}')
        done = await self._agent.failover(wish.vip, wish.to, force=wish.force, plain=wish.plain)
        return _done(done)

    async def pause(self, request: web.Request) -> web.Response:
        await self._wish(request)
        return _done(await self._agent.pause())

    async def resume(self, request: web.Request) -> web.Response:
        await self._wish(request)
        return _done(await self._agent.resume())

    def _read_only(self, request: web.Request) -> str:
        peer = request.transport.get_extra_info("socket") if request.transport else None
        return self._access.read_only(peer) if peer is not None else "the connection has ended"

    async def _wish(self, request: web.Request, *fields: str) -> Intent:
        """What an operator wants; `fields` are those that the verb takes."""
        if why := self._read_only(request):
            text = f"{why}: {request.path.removeprefix('/v1/')} is for operators alone"
            raise ApiError(403, "forbidden", text)
        return await _read_wish(request, *fields)

    async def metrics(self, _request: web.Request) -> web.Response:
        return _metrics_answer(self._metrics)

    async def healthz(self, _request: web.Request) -> web.Response:
        if self._agent.snapshot().engine is None:
            raise ApiError(503, "no-engine", "the engine has not reported yet")
        return _json(schema.Done("the agent works"))

    async def readyz(self, _request: web.Request) -> web.Response:
        snapshot = self._agent.snapshot()
        if reasons := view.unready(snapshot):
            text = f"{snapshot.node} is {snapshot.own.condition.predicate} and does not serve"
            raise ApiError(503, "not-ready", text, reasons)
        return _json(schema.Done(f"{snapshot.node} may serve"))


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give every error the contract's form."""
    try:
        return await handler(request)
    except ApiError as error:
        return _error(error.status, error.problem)
    except web.HTTPException as error:
        codes = {404: "not-found", 405: "method-not-allowed", 413: "too-large"}
        code = codes.get(error.status, "bad-request")
        answer = _error(error.status, schema.Problem(code, f"{request.path}: {error.reason}"))
        if "Allow" in error.headers:
            answer.headers["Allow"] = error.headers["Allow"]
        return answer
    except (ConnectionError, asyncio.CancelledError):
        raise
    except Exception:
        log.exception("%s %s failed", request.method, request.path)
        problem = schema.Problem("internal", "the agent failed to answer; its log says why")
        return _error(500, problem)


def _json(answer: object, status: int = 200) -> web.Response:
    body = msgspec.json.encode(answer)
    return web.Response(body=body, status=status, content_type="application/json")


def _error(status: int, problem: schema.Problem) -> web.Response:
    return _json(schema.ErrorAnswer(problem), status)


def _metrics_answer(metrics: Metrics) -> web.Response:
    return web.Response(body=metrics.render(), headers={"Content-Type": CONTENT_TYPE})


def _done(outcome: Outcome) -> web.Response:
    if isinstance(outcome, Refused):
        status = HTTP_STATUS.get(outcome.code, 409)
        raise ApiError(status, outcome.code, outcome.text, outcome.reasons)
    return _json(schema.Done(outcome.text, plain.reasons(outcome.reasons)))


async def _read_wish(request: web.Request, *fields: str) -> schema.Intent:
    """Read the body; `fields` are those that the verb takes."""
    body = await request.read()
    try:
        wish = msgspec.json.decode(body, type=schema.Intent) if body else schema.Intent()
    except msgspec.DecodeError as error:
        raise ApiError(400, "bad-request", f"the body cannot be used: {error}") from None
    for field in wish.__struct_fields__:
        if field not in fields and getattr(wish, field):
            takes = ", ".join(fields) or "no field"
            text = f'{request.path} takes {takes} in its body, not "{field}"'
            raise ApiError(400, "bad-request", text)
    return wish


def _integer(request: web.Request, name: str, default: int | None) -> int | None:
    text = request.query.get(name)
    if text is None:
        return default
    digits = text.removeprefix("-")
    if not digits.isdecimal() or len(digits) > 18:  # fits 64 bits
        raise ApiError(400, "bad-request", f'{name} must be a whole number, not "{text[:32]}"')
    return int(text)


def _unknown(what: str, name: str, known: object) -> ApiError:
    names = ", ".join(known) if isinstance(known, list | tuple) else ""
    return ApiError(404, f"unknown-{what}", f'there is no {what} "{name}"; known: {names}')
