"""A real HAProxy on loopback, and a stats socket that does whatever a test wants."""

import asyncio
import os
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Self

import pytest

from haman.core.processes import ProcessGone
from haman.system.procfs import ProcFs

haproxy = pytest.mark.skipif(shutil.which("haproxy") is None, reason="needs haproxy")

DEADLINE_S = 10.0


def wait(condition: Callable[[], object], what: str | Callable[[], str] = "") -> None:
    """Until it is true; fails at the deadline."""
    end = time.monotonic() + DEADLINE_S
    while not condition():
        if time.monotonic() >= end:
            told = what() if callable(what) else what
            raise AssertionError(f"not within {DEADLINE_S} s: {told or condition}")
        time.sleep(0.002)


async def until(condition: Callable[[], object], what: str = "") -> None:
    """The same for coroutines."""
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end, f"not within {DEADLINE_S} s: {what or condition}"
        await asyncio.sleep(0.002)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@cache
def certificate() -> str:
    """A self-signed RSA-2048 certificate with its key, as PEM; made once per run."""
    command = "openssl req -x509 -newkey rsa:2048 -nodes -keyout - -out - -days 2 -subj /CN=lb"
    return subprocess.run(command.split(), check=True, capture_output=True, text=True).stdout


def alive(pid: int) -> bool:
    return not isinstance(ProcFs().status(pid), ProcessGone)


def started(pid: int) -> tuple[int, int]:
    """Ordered by age; a pid alone is not, it wraps around."""
    status = ProcFs().status(pid)
    return (0, pid) if isinstance(status, ProcessGone) else (status.process.start_ticks, pid)


class Haproxy:
    """One HAProxy, daemonized, in master-worker mode or not."""

    def __init__(self, folder: Path, *, master: bool = True) -> None:
        self.folder = folder
        self.master_mode = master
        self.pidfile = folder / "haproxy.pid"
        self.socket = folder / "stats.sock"
        self.port = free_port()
        self.config = folder / "haproxy.cfg"
        (folder / "tls.pem").write_text(certificate())
        self.config.write_text(f"""
global
  stats socket {self.socket} mode 600 level admin
  maxconn 100
  nbthread 2
  hard-stop-after 5s
defaults
  mode http
  timeout client 10s
  timeout connect 1s
  timeout server 10s
frontend plain
  bind 127.0.0.1:{self.port}
  http-request return status 503 if {{ path /sick }}
  http-request return status 200 content-type text/plain string ok
frontend tls
  bind 127.0.0.1:{self.tls_port} ssl crt {folder}/tls.pem
  http-request return status 200 content-type text/plain string ok
""")

    @property
    def tls_port(self) -> int:
        if not hasattr(self, "_tls_port"):
            self._tls_port = free_port()
        return self._tls_port

    def start(self, *arguments: str) -> None:
        mode = ["-W"] if self.master_mode else []
        command = [
            "haproxy",
            *mode,
            "-D",
            "-f",
            str(self.config),
            "-p",
            str(self.pidfile),
            *arguments,
        ]
        subprocess.run(command, check=True, capture_output=True)
        wait(lambda: self.answers(self.port), "haproxy listens")

    @property
    def pid(self) -> int:
        """The one in the pidfile, which is absent and then empty for a moment during a reload."""
        seen: list[list[str]] = [[]]

        def written() -> bool:
            seen.append(self._pids())
            return bool(seen[-1])

        wait(written, "a pid in the pidfile")
        return int(seen[-1][0])

    def _pids(self) -> list[str]:
        try:
            return self.pidfile.read_text().split()
        except FileNotFoundError:
            return []

    @property
    def workers(self) -> tuple[int, ...]:
        return tuple(pid for pid in ProcFs().children(self.pid) if alive(pid))

    @property
    def worker(self) -> int:
        """The one that serves, when all is quiet."""
        if not self.master_mode:
            return self.pid
        seen: list[tuple[int, ...]] = [()]

        def forked() -> bool:
            seen.append(self.workers)
            return bool(seen[-1])

        wait(forked, "a worker")
        return max(seen[-1], key=started)

    def answers(self, port: int) -> bool:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            return False
        return True

    def reload(self) -> None:
        """SIGUSR2 to the master, or a second process with -sf."""
        if self.master_mode:
            before = self.worker
            # A master that has just started drops the signal.
            wait(lambda: self._reloaded(before, time.monotonic() + 1), "a new worker")
        else:
            self.start("-sf", str(self.pid))

    def _reloaded(self, before: int, patience_s: float) -> bool:
        os.kill(self.pid, signal.SIGUSR2)
        while time.monotonic() < patience_s:
            if self.workers and self.worker != before:
                return True
            time.sleep(0.002)
        return False

    def stop(self) -> None:
        if not self.pidfile.exists():
            return
        pids = (self.pid, *ProcFs().children(self.pid))
        for pid in pids:
            if alive(pid):
                os.kill(pid, signal.SIGKILL)
        wait(lambda: not any(map(alive, pids)), "haproxy ended")


@contextmanager
def running(folder: Path, *, master: bool = True) -> Iterator[Haproxy]:
    proxy = Haproxy(folder, master=master)
    try:
        proxy.start()
        yield proxy
    finally:
        proxy.stop()


def handshake(port: int, session: ssl.SSLSession | None = None) -> ssl.SSLSession | None:
    """One TLS handshake and a request; the session for the next one."""
    context = _client()
    with (
        socket.create_connection(("127.0.0.1", port), 5) as plain,
        context.wrap_socket(plain, session=session) as tls,
    ):
        assert tls.session_reused is (session is not None)
        tls.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        while tls.recv(4096):
            pass
        return tls.session


@cache
def _client() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class FakeStats:
    """A unix socket that answers as told; `connections` counts who came."""

    def __init__(self, path: Path, behaviour: Behaviour) -> None:
        self.path = path
        self.behaviour = behaviour
        self.connections = 0
        self._open: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_unix_server(self._accepted, self.path)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            await self.behaviour(reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._open.discard(task)
            writer.close()


async def hangs(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(3600)


async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"Name: HAProxy\n" * 5000)
        await writer.drain()


def http(
    body: str | bytes, *, head: str = "", status: str = "200 OK", server: str = "nginx/1.22.1"
) -> Behaviour:
    """One whole answer, with its length; `head` "" = the usual fields."""
    content = body.encode() if isinstance(body, str) else body
    fields = head or f"Server: {server}\r\nContent-Length: {len(content)}\r\n"
    return raw(f"HTTP/1.1 {status}\r\n{fields}\r\n".encode() + content)


def raw(answer: bytes) -> Behaviour:
    """Exactly these bytes, after the request's head, and the end."""

    async def behaviour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()

    return behaviour


def says(answer: str) -> Behaviour:
    async def behaviour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(answer.encode())
        await writer.drain()

    return behaviour
