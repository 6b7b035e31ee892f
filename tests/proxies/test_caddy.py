"""Caddy: what its metrics tell, and that the rest stays unknown."""

import os
import signal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haman.config.endpoint import Endpoint
from haman.proxies.answers import Answer, Unavailable
from haman.proxies.asking import MalformedError
from haman.proxies.caddy import MISSING, CaddyAdmin, Sample, parse, parse_metrics
from tests.proxies.programs import Caddy, caddy, pause, started
from tests.proxies.rig import FakeStats, hangs, http

# As 2.6.2 says it.
METRICS = """# HELP caddy_http_requests_in_flight Number of requests currently handled by this server.
# TYPE caddy_http_requests_in_flight gauge
caddy_http_requests_in_flight{handler="static_response",server="s"} 3
go_build_info{checksum="",path="",version=""} 1
go_gc_duration_seconds{quantile="0.5"} NaN
go_goroutines 16
process_cpu_seconds_total 0.02
process_max_fds 20000
process_open_fds 12
process_virtual_memory_max_bytes 1.8446744073709552e+19
"""
# Builds of the module itself are documented to name it (2.8 and later, with Go 1.18 and later).
BUILT = METRICS.replace(
    'path="",version=""', 'path="github.com/caddyserver/caddy/v2",version="v2.8.4"'
)
EXPECTED = Answer(None, "", fds=12, fd_limit=20000, missing=MISSING)


def test_what_the_metrics_say() -> None:
    assert parse(METRICS) == EXPECTED
    assert parse(BUILT).version == "2.8.4"


def test_connections_and_handshakes_stay_unknown_and_that_is_said() -> None:
    answer = parse(METRICS)
    assert (answer.connections, answer.full, answer.resumed, answer.accepted) == (None,) * 4
    assert set(answer.missing) == {"tls", "connections"}


def test_labels_may_hold_anything() -> None:
    line = 'caddy_x{a="b} c",d="\\"e"} +Inf 1700000000\n'
    assert list(parse_metrics(line)) == [
        Sample("caddy_x", 'a="b} c",d="\\"e"', float("inf")),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nothing\n",
        "<html>\n",
        METRICS[:-1],
        METRICS[:-30],
        METRICS.replace("go_goroutines", "python_threads"),
        METRICS.replace("process_open_fds 12", "process_open_fds twelve"),
        METRICS.replace("process_open_fds 12", "process_open_fds -1"),
        METRICS.replace("process_open_fds 12", "process_open_fds NaN"),
        METRICS.replace("process_open_fds 12", "process_open_fds +Inf"),
    ],
    ids=lambda text: repr(text)[-30:],
)
def test_bad_metrics_are_refused(text) -> None:
    with pytest.raises(MalformedError):
        parse(text)


@given(st.text(max_size=300))
def test_no_text_breaks_the_parser(text) -> None:
    for damaged in (text, METRICS[:400] + text, METRICS + text + "\n"):
        try:
            parse(damaged)
        except MalformedError:
            continue


@pytest.mark.parametrize(
    ("behaviour", "code", "words"),
    [
        (hangs, "timeout", "no answer within 250 ms"),
        (http("garbage"), "malformed", "cut short"),
        (http(METRICS[:200]), "malformed", "cut short"),
        (http("", status="403 Forbidden"), "status", "status 403; the admin interface takes"),
        (http("x 1\n" * 500_000), "too-long", "more than"),
    ],
    ids=["hangs", "garbage", "half", "forbidden", "oversized"],
)
async def test_bad_answers_are_values(tmp_path, behaviour, code, words) -> None:
    async with FakeStats(tmp_path / "s", behaviour):
        found = await CaddyAdmin(Endpoint(path=str(tmp_path / "s"))).ask()
    assert isinstance(found, Unavailable)
    assert found.code == code
    assert words in found.text


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


@caddy
async def test_the_real_one(tmp_path) -> None:
    proxy = Caddy(tmp_path)
    with started(proxy):
        asked = CaddyAdmin(Endpoint(path=str(proxy.admin)), timeout_s=5)
        answer = await asked.ask()
        assert isinstance(answer, Answer), answer
        assert answer.fd_limit
        assert answer.fds == pytest.approx(descriptors(proxy.pid), abs=3)
        pause(proxy.pid)
        stopped = await CaddyAdmin(Endpoint(path=str(proxy.admin))).ask()
        assert isinstance(stopped, Unavailable)
        assert stopped.code == "timeout"
        os.kill(proxy.pid, signal.SIGCONT)
        proxy.stop()
        gone = await asked.ask()
        assert isinstance(gone, Unavailable)
        assert gone.code == "absent"
        proxy.start()
        assert isinstance(await asked.ask(), Answer)
