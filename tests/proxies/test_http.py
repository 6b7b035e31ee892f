"""One bounded GET: whole answers in every framing, and whatever else comes is a value in time."""

import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haman.config.endpoint import Endpoint, parse_endpoint
from haman.proxies.answers import Answer, Unavailable
from haman.proxies.asking import LIMIT_BYTES, MalformedError, RefusedStatusError, bounded
from haman.proxies.http import Response, get, parse_response
from tests.proxies.rig import FakeStats, free_port, hangs, http, raw

HEAD = b"HTTP/1.1 200 OK\r\nServer: envoy\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1;x=y\r\nd\r\n0\r\n\r\n"
LENGTH = HEAD + b"Content-Length: 4\r\n\r\nabcd"
TO_THE_END = HEAD + b"\r\nabcd"
WHOLE = Response("envoy", b"abcd")


@pytest.mark.parametrize("text", [CHUNKED, LENGTH], ids=["chunked", "length"])
def test_a_framed_answer_is_whole_only_at_its_end(text) -> None:
    for cut in range(len(text) - len(b"\r\n")):  # the last line end is not waited for
        assert parse_response(text[:cut], ended=False) is None
        with pytest.raises(MalformedError):
            parse_response(text[:cut], ended=True)
    assert parse_response(text, ended=False) == WHOLE
    assert parse_response(text, ended=True) == WHOLE


def test_an_answer_without_length_ends_with_the_stream() -> None:
    assert parse_response(TO_THE_END, ended=False) is None
    assert parse_response(TO_THE_END, ended=True) == WHOLE


@pytest.mark.parametrize(
    "text",
    [
        b"garbage of some length",
        b"\0" * 100,
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno field\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1e3\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n",
        b"HTTP/1.1 " + b"x" * 20_000,
    ],
    ids=lambda text: repr(text)[:40],
)
def test_what_is_no_answer_is_refused_before_its_end(text) -> None:
    with pytest.raises(MalformedError):
        parse_response(text, ended=False)


@pytest.mark.parametrize("status", [b"404 Not Found", b"500", b"301 Moved", b"204 No Content"])
def test_other_statuses_are_told(status) -> None:
    with pytest.raises(RefusedStatusError) as refused:
        parse_response(b"HTTP/1.1 " + status + b"\r\n\r\n", "/stats", ended=False)
    assert str(refused.value) == f"GET /stats: status {int(status[:3])}"


@given(st.binary(max_size=300), st.booleans())
def test_no_bytes_break_the_parser(text, ended) -> None:
    for answer in (text, HEAD + text, CHUNKED[:60] + text):
        try:
            parse_response(answer, ended=ended)
        except (MalformedError, RefusedStatusError):
            continue


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("unix:/run/a.sock", Endpoint(path="/run/a.sock")),
        ("unix:/run/a.sock:/status", Endpoint(path="/run/a.sock", target="/status")),
        ("http://127.0.0.1:9901", Endpoint(host="127.0.0.1", port=9901)),
        ("http://localhost", Endpoint(host="127.0.0.1", port=80)),
        ("http://[::1]:2019/x?y", Endpoint(host="::1", port=2019, target="/x?y")),
    ],
)
def test_endpoints(text, endpoint) -> None:
    assert parse_endpoint(text) == endpoint


@pytest.mark.parametrize(
    "text", ["https://127.0.0.1", "http://lb1:80", "http://", "http://:80", "http://1.2.3:80", "x"]
)
def test_endpoints_that_cannot_be_asked(text) -> None:
    with pytest.raises(ValueError, match=r"write an IP|only http"):
        parse_endpoint(text)


async def question(endpoint: Endpoint) -> Answer | Unavailable:
    async def body() -> Answer:
        return Answer(None, (await get(endpoint, "/x")).body.decode())

    return await bounded(body(), f"the test at {endpoint}", 0.25, "look again")


async def test_over_tcp() -> None:
    port = free_port()
    behaviour = http("hello")
    server = await asyncio.start_server(
        lambda reader, writer: _once(behaviour, reader, writer), "127.0.0.1", port
    )
    async with server:
        assert await question(parse_endpoint(f"http://127.0.0.1:{port}")) == Answer(None, "hello")
    refused = await question(parse_endpoint(f"http://127.0.0.1:{port}"))
    assert isinstance(refused, Unavailable)
    assert refused.code == "refused"
    assert f"127.0.0.1:{port}" in refused.text


async def _once(behaviour, reader, writer) -> None:
    await behaviour(reader, writer)
    writer.close()
    await writer.wait_closed()


async def endless(reader, writer) -> None:
    writer.write(HEAD + b"\r\n")
    while True:
        writer.write(b"x" * 60_000)
        await writer.drain()


async def trickles(reader, writer) -> None:
    writer.write(HEAD + b"Content-Length: 1000\r\n\r\n")
    while True:
        writer.write(b"x")
        await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("behaviour", "code", "words"),
    [
        (hangs, "timeout", "no answer within 250 ms"),
        (trickles, "timeout", "no answer within 250 ms"),
        (endless, "too-long", f"more than {LIMIT_BYTES} bytes"),
        (raw(b""), "malformed", "closed without an answer"),
        (raw(LENGTH[:-1]), "malformed", "cut short"),
        (raw(CHUNKED[:-5]), "malformed", "cut short"),
        (raw(b"\x15\x03\x01\0\2\2\x16" * 5), "malformed", "no HTTP"),
        (http("", status="404 Not Found"), "status", "GET /x: status 404; look again"),
    ],
    ids=["hangs", "trickles", "endless", "empty", "half", "half chunked", "TLS", "404"],
)
async def test_a_bad_interface_is_a_value_within_its_time(tmp_path, behaviour, code, words) -> None:
    path = tmp_path / "s"
    async with FakeStats(path, behaviour):
        begun = time.monotonic()
        found = await question(Endpoint(path=str(path)))
        assert time.monotonic() - begun < 2.0
    assert isinstance(found, Unavailable)
    assert found.code == code
    assert str(path) in found.text
    assert words in found.text


async def test_a_missing_socket(tmp_path) -> None:
    found = await question(Endpoint(path=str(tmp_path / "none")))
    assert isinstance(found, Unavailable)
    assert found.code == "absent"
