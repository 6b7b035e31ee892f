"""`haman calibrate` against real HAProxies: costs, tickets, and why there are none."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from haman.cli.root import cli
from haman.controller.handshakes import Handshake, HandshakeFailed, TlsClient
from haman.core import calibration, handshake_cost, tickets
from tests.proxies.rig import Haproxy, free_port, haproxy, running


def configured(folder: Path, proxy: Haproxy, tls: bool = True) -> str:
    path = folder / "haman.toml"
    port = proxy.tls_port if tls else proxy.port
    path.write_text(f"""
[node]
name = "lb1"
[proxy]
kind = "haproxy"
socket = "{proxy.socket}"
pidfile = "{proxy.pidfile}"
[proxy.probe]
address = "127.0.0.1:{port}"
tls = {str(tls).lower()}
[state]
directory = "{folder}"
""")
    return str(path)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["calibrate", *arguments])


@pytest.fixture
def unmoved(monkeypatch: pytest.MonkeyPatch) -> None:
    """Machines that run tests are too noisy for figures that agree."""
    monkeypatch.setattr(handshake_cost, "SPREAD_MAX", 1e9)


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[Haproxy]:
    with running(tmp_path) as started:
        yield started


@haproxy
def test_costs_are_measured_and_written(tmp_path, proxy, unmoved) -> None:
    result = run("-c", configured(tmp_path, proxy), "--rounds", "6")
    assert result.exit_code == 0, result.output
    assert "rsa-2048 CN=lb TLSv1.3" in result.stdout
    assert "full/s" in result.stdout
    assert "█" in result.stdout
    found = calibration.decode((tmp_path / calibration.FILE).read_bytes())
    (cost,) = found.costs
    assert (cost.address, cost.protocol) == (f"127.0.0.1:{proxy.tls_port}", "TLSv1.3")
    assert cost.certificate == "rsa-2048 CN=lb"
    assert cost.fingerprint.startswith("sha256:")
    assert 0 < cost.resumed_s <= cost.full_s < 0.1
    assert cost.handshakes > 0
    assert f"written to {tmp_path / calibration.FILE}" in result.stdout


@haproxy
def test_a_dry_run_writes_nothing(tmp_path, proxy, unmoved) -> None:
    result = run(
        *("-c", configured(tmp_path, proxy), "--rounds", "4", "--dry-run", "--tls", "1.2"),
        *("--server-name", "a.example", "--server-name", "b.example"),
    )
    assert result.exit_code == 0, result.output
    assert result.stdout.count("TLSv1.2") == 2
    assert not (tmp_path / calibration.FILE).exists()


@haproxy
def test_a_shaky_measurement_is_not_written(tmp_path, proxy, monkeypatch) -> None:
    monkeypatch.setattr(handshake_cost, "SPREAD_MAX", -1.0)
    result = run("-c", configured(tmp_path, proxy), "--rounds", "4")
    assert result.exit_code == 1
    assert "something else runs on this host" in result.stderr
    assert not (tmp_path / calibration.FILE).exists()


@haproxy
def test_handshakes_of_somebody_else_cost_the_proxy_nothing(tmp_path, proxy, unmoved) -> None:
    (tmp_path / "other").mkdir()
    with running(tmp_path / "other") as other:
        result = run(
            *("-c", configured(tmp_path, proxy), "--rounds", "4"),
            *("--address", f"127.0.0.1:{other.tls_port}"),
        )
    # What the proxy did meanwhile is below what it does anyway, or a hair above it.
    if result.exit_code:
        assert "is this address theirs" in result.stderr
    else:
        found = calibration.decode((tmp_path / calibration.FILE).read_bytes())
        assert found.costs[0].full_s < 50e-6


@haproxy
def test_without_a_tls_listener(tmp_path, proxy) -> None:
    result = run("-c", configured(tmp_path, proxy, tls=False))
    assert result.exit_code == 2
    assert "say which listener with --address" in result.stderr


@haproxy
def test_a_dead_proxy_is_not_measured(tmp_path, proxy) -> None:
    path = configured(tmp_path, proxy)
    proxy.stop()
    result = run("-c", path)
    assert result.exit_code == 1
    assert "no process of the proxy is alive" in result.stderr


def test_bad_options(tmp_path) -> None:
    assert run("-c", str(tmp_path / "none.toml")).exit_code == 2
    wrong = run("--address", "lb1:443")
    assert wrong.exit_code == 2
    assert "host names are not looked up" in wrong.stderr


class WithTicketKeys(Haproxy):
    """One of several that share the keys of their tickets, or do not."""

    def share(self, keys: Path) -> None:
        text = self.config.read_text()
        self.config.write_text(text.replace("tls.pem\n", f"tls.pem tls-ticket-keys {keys}\n"))


@contextmanager
def nodes(folder: Path, shared: bool) -> Iterator[list[Haproxy]]:
    keys = "".join(f"{'A' * 63}{n}\n" for n in range(3))  # 48 bytes each, base64
    with ExitStack() as stack:
        started = []
        for n in range(2):
            own = folder / f"n{n}"
            own.mkdir()
            path = own / "keys"
            path.write_text(keys if shared else keys.replace("A", "BC"[n]))
            node = WithTicketKeys(own)
            node.share(path)
            stack.callback(node.stop)
            node.start()
            started.append(node)
        yield started


@haproxy
@pytest.mark.parametrize("shared", [True, False])
def test_ticket_sharing(tmp_path, shared) -> None:
    with nodes(tmp_path, shared) as (one, other):
        addresses = [f"127.0.0.1:{node.tls_port}" for node in (one, other)]
        options = [word for address in addresses for word in ("--tickets", address)]
        result = run("-c", configured(tmp_path, one), *options)
    assert result.exit_code == (0 if shared else 1), result.output
    found = tickets.decode((tmp_path / tickets.FILE).read_bytes())
    assert found.shared is shared
    assert [(p.made_at, p.resumed_at) for p in found.pairs] == [
        tuple(addresses),
        tuple(reversed(addresses)),
    ]
    assert ("tickets are shared" in result.stdout) is shared


@haproxy
def test_ticket_sharing_needs_two_nodes_that_answer(tmp_path, proxy) -> None:
    path = configured(tmp_path, proxy)
    own = f"127.0.0.1:{proxy.tls_port}"
    assert run("-c", path, "--tickets", own).exit_code == 2
    assert run("-c", path, "--tickets", own, "--tickets", own).exit_code == 2
    dead = run("-c", path, "--tickets", own, "--tickets", f"127.0.0.1:{free_port()}")
    assert dead.exit_code == 1
    assert "Connection refused" in dead.stderr
    assert not (tmp_path / tickets.FILE).exists()


@haproxy
def test_a_batch_is_as_many_handshakes_as_the_proxy_counts(proxy) -> None:
    client, address = TlsClient(), f"127.0.0.1:{proxy.tls_port}"
    first = client.handshake(address)
    assert isinstance(first, Handshake)
    assert not first.resumed
    made = client.batch(address, [first.session] * 3 + [None] * 2)
    assert not isinstance(made, HandshakeFailed)
    assert [one.resumed for one in made] == [True] * 3 + [False] * 2


@contextmanager
def listening(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        kept: list[socket.socket] = []

        def serve() -> None:
            try:
                kept.append(server.accept()[0])
                answer(kept[0])
            except OSError:
                return

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        thread.join()
        for each in kept:
            each.close()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda client: None, "no answer within"),
        (lambda client: client.close(), ""),
        (
            lambda client: client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
            "TLS handshake failed",
        ),
    ],
    ids=["silent", "closes", "no TLS"],
)
def test_a_bad_server_is_a_value(monkeypatch, answer, words) -> None:
    monkeypatch.setattr("haman.controller.handshakes.TIMEOUT_S", 0.5)
    with listening(answer) as address:
        failed = TlsClient().handshake(address)
    assert isinstance(failed, HandshakeFailed)
    assert failed.text.startswith(address)
    assert words in failed.text
