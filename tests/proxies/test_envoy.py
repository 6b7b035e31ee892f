"""Envoy: one narrow question, its limits, and whatever else it may say."""

import asyncio
import json
import os
import signal
import socket
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haman.config.endpoint import Endpoint
from haman.proxies.answers import Answer, Unavailable
from haman.proxies.asking import MalformedError
from haman.proxies.envoy import (
    EnvoyAdmin,
    parse_overload,
    parse_runtime,
    parse_stats,
    parse_version,
)
from tests.proxies.programs import Envoy, envoy, pause, started
from tests.proxies.rig import DEADLINE_S, Behaviour, FakeStats, handshake, hangs, http, raw

# As 1.40 says it; 1.2x and 1.3x are documented with the same names.
STATS = """listener.127.0.0.1_443.downstream_cx_active: 7
listener.127.0.0.1_443.downstream_cx_total: 90
listener.127.0.0.1_443.ssl.connection_error: 3
listener.127.0.0.1_443.ssl.handshake: 80
listener.127.0.0.1_443.ssl.session_reused: 50
listener.127.0.0.1_443.worker_0.downstream_cx_active: 4
listener.127.0.0.1_443.worker_0.downstream_cx_total: 45
listener.127.0.0.1_443.worker_1.downstream_cx_active: 3
listener.127.0.0.1_443.worker_1.downstream_cx_total: 45
listener.[__]_80.downstream_cx_active: 1
listener.[__]_80.downstream_cx_total: 2
listener.admin.downstream_cx_active: 1
listener.admin.downstream_cx_total: 2000
listener.admin.main_thread.downstream_cx_active: 1
listener.admin.main_thread.downstream_cx_total: 2000
server.concurrency: 2
server.live: 1
"""
INFO = json.dumps({"version": "9e5580/1.31.2/Clean/RELEASE/BoringSSL", "state": "LIVE"})
NO_CONFIGS: dict[str, object] = {}
OVERLOAD = {
    "configs": [
        {
            "bootstrap": {
                "overload_manager": {
                    "resource_monitors": [
                        {"name": "envoy.resource_monitors.fixed_heap"},
                        {
                            "name": "envoy.resource_monitors.global_downstream_max_connections",
                            "typed_config": {"max_active_downstream_connections": "5000"},
                        },
                    ]
                }
            }
        }
    ]
}
RUNTIME = {
    "layers": ["base"],
    "entries": {
        "overload.global_downstream_max_connections": {"final_value": "4000", "layer_values": []}
    },
}


def interface(
    stats: str = STATS,
    info: str = INFO,
    overload: object = OVERLOAD,
    runtime: object = RUNTIME,
    seen: list[str] | None = None,
) -> Behaviour:
    """An admin interface that answers by path."""
    answers = {
        "/stats": stats,
        "/server_info": info,
        "/config_dump": json.dumps(overload),
        "/runtime": json.dumps(runtime),
    }

    async def behaviour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        path = head.split()[1].partition("?")[0]
        if seen is not None:
            seen.append(path)
        body = answers[path].encode()
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        writer.write(f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n")
        await writer.drain()

    return behaviour


async def ask(asked: EnvoyAdmin) -> Answer:
    answer = await asked.ask()
    assert isinstance(answer, Answer), answer
    return answer


async def test_listeners_are_summed_once_and_without_the_admin_interface(tmp_path) -> None:
    async with FakeStats(tmp_path / "s", interface()):
        answer = await ask(EnvoyAdmin(Endpoint(path=str(tmp_path / "s"))))
    assert answer == Answer(
        pid=None,
        version="1.31.2",
        threads=2,
        connections=8,
        connections_limit=5000,
        full=30,
        resumed=50,
        accepted=92,
        failed=3,
    )


async def test_limits_are_asked_once_per_start(tmp_path) -> None:
    seen: list[str] = []
    fake = FakeStats(tmp_path / "s", interface(seen=seen))
    async with fake:
        asked = EnvoyAdmin(Endpoint(path=str(tmp_path / "s")))
        await ask(asked)
        await ask(asked)
        assert seen == ["/stats", "/server_info", "/config_dump", "/stats"]
        seen.clear()
        fake.behaviour = raw(b"")  # it is started again
        assert isinstance(await asked.ask(), Unavailable)
        fake.behaviour = interface(seen=seen)
        await ask(asked)
        assert seen == ["/stats", "/server_info", "/config_dump"]


@pytest.mark.parametrize(
    ("overload", "runtime", "limit"),
    [
        (NO_CONFIGS, RUNTIME, 4000),
        (NO_CONFIGS, {"entries": {}}, None),
        ({"configs": [{"bootstrap": {}}]}, {"entries": []}, None),
        ({"configs": 7}, {"entries": {"x": None}}, None),
    ],
    ids=["runtime", "none", "empty", "odd"],
)
async def test_the_runtime_key_is_the_second_source(tmp_path, overload, runtime, limit) -> None:
    fake = interface(overload=overload, runtime=runtime)
    async with FakeStats(tmp_path / "s", fake):
        answer = await ask(EnvoyAdmin(Endpoint(path=str(tmp_path / "s"))))
    assert answer.connections_limit == limit
    assert ("connections" in answer.missing) is (limit is None)


async def test_resumptions_counted_ahead_of_their_handshakes_are_no_negative_rate(tmp_path) -> None:
    """The two counters are not read at the same instant."""
    fake = interface(STATS.replace("session_reused: 50", "session_reused: 81"))
    async with FakeStats(tmp_path / "s", fake):
        answer = await ask(EnvoyAdmin(Endpoint(path=str(tmp_path / "s"))))
    assert (answer.full, answer.resumed) == (0, 81)


@pytest.mark.parametrize(
    ("behaviour", "code", "words"),
    [
        (hangs, "timeout", "no answer within 250 ms"),
        (http("Hello"), "malformed", "'Hello' is no count"),
        (http("a: 1\n"), "malformed", "is this Envoy's admin interface?"),
        (http("server.live: -1\n"), "malformed", "is no count"),
        (http("server.live: 1e9\n"), "malformed", "is no count"),
        (interface(info="no json"), "malformed", "/server_info: no JSON"),
        (interface(info="[]"), "malformed", "/server_info: no JSON object"),
        (interface(info='{"version": 7}'), "malformed", "version is '7'"),
        (interface(info="[" * 100_000), "malformed", "/server_info: no JSON"),
        (interface(overload=[]), "malformed", "no JSON object"),
        (
            raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nlist"),
            "malformed",
            "cut",
        ),
        (http("", status="503 Service Unavailable"), "status", "status 503"),
        (http("x" * (2 << 20)), "too-long", "more than"),
    ],
    ids=[
        *("hangs", "garbage", "stranger", "negative", "float", "no json", "list", "version"),
        *("deep", "odd dump", "half", "503", "oversized"),
    ],
)
async def test_bad_answers_are_values(tmp_path, behaviour, code, words) -> None:
    async with FakeStats(tmp_path / "s", behaviour):
        found = await EnvoyAdmin(Endpoint(path=str(tmp_path / "s"))).ask()
    assert isinstance(found, Unavailable)
    assert found.code == code
    assert words in found.text


@given(st.text(max_size=200))
def test_no_text_breaks_the_parsers(text) -> None:
    for parser in (
        parse_stats,
        lambda t: parse_version(t.encode()),
        lambda t: parse_overload(t.encode()),
    ):
        try:
            parser(text)
        except MalformedError:
            continue


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["configs", "bootstrap", "overload_manager", "entries", "resource_monitors"]
            ),
            inner,
            max_size=3,
        )
    ),
)


@given(JSON)
def test_no_json_breaks_the_limits(found) -> None:
    body = json.dumps(found).encode()
    for parser in (parse_overload, parse_runtime):
        try:
            limit = parser(body)
        except MalformedError:
            continue
        assert limit is None or limit > 0


async def eventually(asked: EnvoyAdmin, condition: Callable[[Answer], bool]) -> Answer:
    end = time.monotonic() + DEADLINE_S
    while True:
        answer = await ask(asked)
        if condition(answer):
            return answer
        assert time.monotonic() < end, answer
        await asyncio.sleep(0.02)


@envoy
async def test_the_real_one(tmp_path) -> None:
    with started(Envoy(tmp_path)) as proxy:
        asked = EnvoyAdmin(Endpoint(path=str(proxy.admin)), timeout_s=5)
        # one client found out that it listens
        before = await eventually(asked, lambda a: (a.connections, a.accepted) == (0, 1))
        assert before.version.startswith("1.")
        assert (before.threads, before.connections_limit) == (2, 100)
        assert (before.full, before.resumed) == (0, 0)
        assert before.missing == {}
        session = None
        for _ in range(3):
            session = await asyncio.to_thread(handshake, proxy.tls_port, session)
        client = socket.create_connection(("127.0.0.1", proxy.tls_port))
        after = await eventually(asked, lambda a: (a.full, a.resumed, a.connections) == (1, 2, 1))
        assert after.accepted == 5
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        failed = await eventually(asked, lambda a: (a.failed or 0) > (after.failed or 0))
        assert (failed.full, failed.resumed) == (1, 2)
        client.close()


@envoy
async def test_a_stopped_envoy_is_a_value_and_a_restarted_one_begins_anew(tmp_path) -> None:
    proxy = Envoy(tmp_path)
    proxy.limited = False
    with started(proxy):
        asked = EnvoyAdmin(Endpoint(path=str(proxy.admin)), timeout_s=1)
        answer = await eventually(asked, lambda a: a.full == 0)
        assert answer.connections_limit is None
        assert "global_downstream_max_connections" in answer.missing["connections"]
        await asyncio.to_thread(handshake, proxy.tls_port)
        await eventually(asked, lambda a: a.full == 1)
        pause(proxy.pid)
        stopped = await asked.ask()
        assert isinstance(stopped, Unavailable)
        assert stopped.code == "timeout"
        os.kill(proxy.pid, signal.SIGCONT)
        await eventually(asked, lambda a: a.full == 1)
        proxy.stop()
        gone = await asked.ask()
        assert isinstance(gone, Unavailable)
        assert gone.code == "absent"
        proxy.limited = True
        proxy.start()
        again = await eventually(asked, lambda a: a.full == 0)
        assert again.connections_limit == 100
