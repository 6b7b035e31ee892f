"""The API over a real unix socket."""

import asyncio
import json
import os
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from haman.api import schema
from haman.api.json_schema import text
from haman.api.listener import SocketInUseError, listen
from haman.api.server import serve
from haman.controller.surface import Refused
from haman.core.words import Condition, Reason
from tests.api.fake_agent import FakeAgent

COMMITTED_SCHEMA = (Path(schema.__file__).parent / "schema.json").read_text()


@asynccontextmanager
async def session_of(agent: FakeAgent) -> AsyncIterator[aiohttp.ClientSession]:
    async with (
        serve(agent),
        aiohttp.ClientSession(
            "http://localhost", connector=aiohttp.UnixConnector(agent.config.api.socket)
        ) as session,
    ):
        yield session


@pytest.fixture
def agent(tmp_path: Path) -> FakeAgent:
    return FakeAgent(socket=str(tmp_path / "haman.sock"))


@pytest.fixture
async def session(agent: FakeAgent) -> AsyncIterator[aiohttp.ClientSession]:
    async with session_of(agent) as opened:
        yield opened


def exists(path: str) -> bool:
    return os.path.lexists(path)


async def get(session: aiohttp.ClientSession, path: str) -> tuple[int, Any]:
    async with session.get(path) as response:
        assert response.content_type == "application/json"
        return response.status, await response.json()


async def post(session: aiohttp.ClientSession, path: str, body: object = None) -> tuple[int, Any]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode() if body else b""
    async with session.post(path, data=data) as response:
        return response.status, await response.json()


async def test_status(session: aiohttp.ClientSession) -> None:
    status, answer = await get(session, "/v1/status")
    assert status == 200
    found = msgspec.convert(answer, schema.Status)
    assert [n.name for n in found.nodes] == ["lb1", "lb2"]


async def test_headroom(session: aiohttp.ClientSession) -> None:
    status, answer = await get(session, "/v1/headroom")
    assert status == 200
    assert len(msgspec.convert(answer, schema.Headroom).scenarios) == 2
    status, answer = await get(session, "/v1/headroom?without=lb2")
    assert status == 200
    found = msgspec.convert(answer, schema.Scenario)
    assert found.lost == ("lb2",)
    figures = {(f.resource, f.phase): f for f in found.survivors[0].figures}
    assert (figures["cpu", "steady"].before, figures["cpu", "steady"].after) == (0.41, 0.41)


@pytest.mark.parametrize("query", ["without=lb1,lb2", "without=lb2&without=lb1"])
async def test_headroom_of_several_nodes(session: aiohttp.ClientSession, query: str) -> None:
    status, answer = await get(session, f"/v1/headroom?{query}")
    assert status == 200
    found = msgspec.convert(answer, schema.Scenario)
    assert (found.lost, found.verdict) == (("lb1", "lb2"), "insufficient")
    assert [r.code for r in found.reasons] == ["no-other-node"]


@pytest.mark.parametrize(
    ("path", "status", "code", "message"),
    [
        ("/v1/headroom?without=lb9", 404, "unknown-node", 'there is no node "lb9"; known: lb1, lb2'),
        ("/v1/why/nope", 404, "unknown-service", 'there is no service "nope"; known: web'),
        ("/v1/events?since=x", 400, "bad-request", 'since must be a whole number, not "x"'),
        ("/v1/events?since=" + "9" * 19, 400, "bad-request", 'since must be a whole number, not "' + "9" * 19 + '"'),
        ("/v1/events?limit=0", 400, "bad-request", "limit must be 1 to 1000"),
        ("/v1/events?limit=1001", 400, "bad-request", "limit must be 1 to 1000"),
        ("/v2/status", 404, "not-found", "/v2/status: Not Found"),
        ("/v1/drain", 405, "method-not-allowed", "/v1/drain: Method Not Allowed"),
    ],
)  # fmt: skip
async def test_a_bad_question(
    session: aiohttp.ClientSession, path: str, status: int, code: str, message: str
) -> None:
    assert await get(session, path) == (
        status,
        {"error": {"code": code, "message": message, "reasons": []}},
    )


async def test_a_wrong_method_names_the_right_one(session: aiohttp.ClientSession) -> None:
    async with session.get("/v1/drain") as response:
        assert response.headers["Allow"] == "POST"


async def test_why(agent: FakeAgent, session: aiohttp.ClientSession) -> None:
    agent.kill_proxy("lb1")
    status, answer = await get(session, "/v1/why/web")
    assert status == 200
    found = msgspec.convert(answer, schema.Why)
    assert found.text.startswith("web is degraded: lb2 serves it")
    assert found.members[0].text.startswith("lb2 serves it since 12:03:11 UTC")
    assert [e.type for e in found.events] == ["vip-released", "vip-acquired"]


async def test_events_page_by_page(agent: FakeAgent, session: aiohttp.ClientSession) -> None:
    for number in range(1, 8):
        agent.emit("peer-lost", f"event {number}")
    assert [e["seq"] for e in (await get(session, "/v1/events"))[1]] == [1, 2, 3, 4, 5, 6, 7]
    assert [e["seq"] for e in (await get(session, "/v1/events?since=2&limit=3"))[1]] == [3, 4, 5]
    assert [e["seq"] for e in (await get(session, "/v1/events?since=-2"))[1]] == [6, 7]
    assert (await get(session, "/v1/events?since=7"))[1] == []


async def test_the_operators_verbs(agent: FakeAgent, session: aiohttp.ClientSession) -> None:
    assert (await post(session, "/v1/drain", {"node": "lb1"}))[0] == 200
    assert (await post(session, "/v1/undrain", {"node": "lb1"}))[0] == 200
    assert (await post(session, "/v1/failover", {"vip": "web", "to": "lb1", "force": True}))[
        0
    ] == 200
    assert (await post(session, "/v1/pause"))[0] == 200
    assert agent.paused
    status, answer = await post(session, "/v1/resume", {})
    assert (status, answer["text"]) == (200, "automatic moves go on")
    assert agent.wishes == [
        ("drain", "lb1"),
        ("undrain", "lb1"),
        ("failover", "web", "lb1", "force"),
        ("pause",),
        ("resume",),
    ]


@pytest.mark.parametrize(
    ("code", "status"),
    [("unsafe", 409), ("unknown-node", 404), ("not-durable", 503), ("unreachable", 503)],
)
async def test_a_refusal(
    agent: FakeAgent, session: aiohttp.ClientSession, code: str, status: int
) -> None:
    reason = Reason("n-minus-1", "lb2 would reach tls at 93 %", {"utilization": 0.93})
    agent.refusal = Refused(code, "the others could not carry it", (reason,))
    got, answer = await post(session, "/v1/drain", {"node": "lb1"})
    assert got == status
    assert answer["error"]["code"] == code
    assert answer["error"]["reasons"] == [
        {"code": "n-minus-1", "text": "lb2 would reach tls at 93 %", "data": {"utilization": 0.93}}
    ]


@pytest.mark.parametrize(
    ("path", "body", "error"),
    [
        ("/v1/drain", b"{", (400, "bad-request")),
        ("/v1/drain", b"[]", (400, "bad-request")),
        ("/v1/drain", {"node": 5}, (400, "bad-request")),
        ("/v1/drain", {"force": "yes"}, (400, "bad-request")),
        ("/v1/drain", {"nodes": "lb2"}, (400, "bad-request")),  # must not drain this node
        ("/v1/drain", {"vip": "web"}, (400, "bad-request")),
        ("/v1/undrain", {"force": True}, (400, "bad-request")),
        ("/v1/pause", {"node": "lb2"}, (400, "bad-request")),
        ("/v1/failover", {}, (400, "bad-request")),
        ("/v1/failover", {"vip": "nope"}, (404, "unknown-vip")),
        ("/v1/drain", b" " * 20_000, (413, "too-large")),
    ],
)
async def test_a_bad_wish(
    agent: FakeAgent,
    session: aiohttp.ClientSession,
    path: str,
    body: object,
    error: tuple[int, str],
) -> None:
    status, answer = await post(session, path, body)
    assert (status, answer["error"]["code"]) == error
    assert agent.wishes == []


async def test_health_and_readiness(agent: FakeAgent, session: aiohttp.ClientSession) -> None:
    assert (await get(session, "/healthz"))[0] == 200
    assert (await get(session, "/readyz"))[0] == 200
    agent.kill_proxy("lb1")
    status, answer = await get(session, "/readyz")
    assert status == 503
    assert answer["error"]["message"] == "lb1 is in fault and does not serve"
    assert answer["error"]["reasons"][0]["code"] == "proxy-died"
    agent.nodes["lb1"].condition = Condition.IN_SERVICE
    agent.engine_alive = False
    assert (await get(session, "/healthz"))[1]["error"]["code"] == "no-engine"


async def test_a_bug_is_a_500_that_tells_nothing(
    agent: FakeAgent, session: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    agent.nodes = {}
    status, answer = await get(session, "/v1/status")
    assert (status, answer["error"]["code"]) == (500, "internal")
    assert "KeyError" in caplog.text


async def test_the_schema_is_served_and_committed(session: aiohttp.ClientSession) -> None:
    status, answer = await get(session, "/v1/schema")
    assert status == 200
    committed = COMMITTED_SCHEMA
    assert committed == text(), "run python -m haman.api.json_schema > haman/api/schema.json"
    assert answer == json.loads(committed)
    assert "Status" in answer["$defs"]


async def test_metrics_over_the_socket(session: aiohttp.ClientSession) -> None:
    async with session.get("/metrics") as response:
        assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        assert 'haman_vip_active{vip="web"} 1.0' in await response.text()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def test_metrics_over_tcp_and_nothing_else(tmp_path: Path) -> None:
    where = f"127.0.0.1:{free_port()}"
    agent = FakeAgent(socket=str(tmp_path / "haman.sock"), metrics=where)
    async with serve(agent), aiohttp.ClientSession(f"http://{where}") as session:
        async with session.get("/metrics") as response:
            assert "haman_node_condition" in await response.text()
        assert (await get(session, "/v1/status"))[0] == 404
        assert (await post(session, "/v1/drain"))[0] == 404
    assert agent.wishes == []


async def test_an_address_for_metrics_that_is_taken_costs_only_the_metrics(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        agent = FakeAgent(socket=str(tmp_path / "haman.sock"), metrics=where)
        async with session_of(agent) as session:
            assert (await get(session, "/v1/status"))[0] == 200
    assert f"api.metrics {where}: " in caplog.text


async def test_transitions_are_counted(agent: FakeAgent, session: aiohttp.ClientSession) -> None:
    agent.emit("role-changed", "backup → active")
    for _ in range(100):
        async with session.get("/metrics") as response:
            if 'haman_transitions_total{reason="",service="web"' in await response.text():
                return
        await asyncio.sleep(0.01)
    pytest.fail("not counted")


# The socket itself.


async def test_only_owner_and_group_get_in(agent: FakeAgent) -> None:
    async with serve(agent):
        found = os.stat(agent.config.api.socket)  # noqa: PTH116 - a tmpfs, in a test
        assert stat.S_IMODE(found.st_mode) == 0o660
        assert stat.S_ISSOCK(found.st_mode)
    assert not exists(agent.config.api.socket)


async def test_the_socket_of_a_dead_agent_is_replaced(agent: FakeAgent) -> None:
    path = agent.config.api.socket
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
    async with session_of(agent) as session:
        assert (await get(session, "/v1/status"))[0] == 200


async def test_the_socket_of_a_living_agent_is_left_alone(agent: FakeAgent) -> None:
    async with session_of(agent) as session:
        with pytest.raises(SocketInUseError, match="another agent listens there"):
            async with serve(agent):
                pytest.fail("two agents on one socket")
        assert (await get(session, "/v1/status"))[0] == 200


def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "haman.sock"
    path.write_text("precious")
    with pytest.raises(SocketInUseError, match="is no socket"):
        listen(path, "")
    assert path.read_text() == "precious"


async def test_a_successors_socket_is_not_removed(agent: FakeAgent) -> None:
    path = agent.config.api.socket
    async with serve(agent):
        os.unlink(path)  # noqa: PTH108 - as an agent does that takes over
        with socket.socket(socket.AF_UNIX) as successor:
            successor.bind(path)
    assert exists(path)


def test_a_group_that_is_not_there_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    listener, _ = listen(tmp_path / "haman.sock", "no-such-group")
    listener.close()
    assert 'there is no group "no-such-group"; only the owner gets in' in caplog.text


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: gives a file to another group")
def test_the_group_is_given(tmp_path: Path) -> None:
    path = tmp_path / "haman.sock"
    listener, _ = listen(path, "daemon")
    listener.close()
    assert path.stat().st_gid == 1
