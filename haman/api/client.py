"""The API's client for the command line.

Synchronous, and on the standard library alone, so that a verb starts quickly. `async_client` is its
twin for the terminal UI; what both need is here.
"""

import http.client
import socket
from collections.abc import Callable, Iterator
from typing import TypeVar
from urllib.parse import quote

import msgspec

from haman.api import schema

TIMEOUT_S = 10.0
SILENCE_S = 30.0
"""A live stream sends a heartbeat every 10 s; after three missed ones it is dead."""
ANSWER_BYTES_MAX = 16 << 20
LINE_BYTES_MAX = 1 << 20

T = TypeVar("T")


class UnreachableError(Exception):
    """The agent cannot be talked to; the text says why, and what to look at."""


class RefusedError(Exception):
    """The agent answered, and the answer is no.

    Attributes:
        status: of HTTP, 400 or more.
        problem: code, message and reasons.
    """

    def __init__(self, status: int, problem: schema.Problem) -> None:
        super().__init__(problem.message)
        self.status = status
        self.problem = problem


class Client:
    """Talks to the agent that listens on a unix socket; one connection per request.

    Args:
        socket_path: of the agent.
        timeout_s: for each answer.
        dial: makes the connection another way, given the time it may take; its errors are OSErrors.
    """

    def __init__(
        self,
        socket_path: str,
        timeout_s: float = TIMEOUT_S,
        dial: Callable[[float], socket.socket] | None = None,
    ) -> None:
        self._path = socket_path
        self._timeout_s = timeout_s
        self._dial = dial

    def status(self) -> schema.Status:
        """Ask for the whole cluster."""
        return self._get("/v1/status", schema.Status)

    def why(self, service: str) -> schema.Why:
        """Ask who serves, and why."""
        return self._get(why_path(service), schema.Why)

    def headroom(self) -> schema.Headroom:
        """Ask for every loss."""
        return self._get("/v1/headroom", schema.Headroom)

    def scenario(self, without: tuple[str, ...]) -> schema.Scenario:
        """Ask for the loss of certain nodes."""
        return self._get(scenario_path(without), schema.Scenario)

    def events(self, since: int, limit: int = 100) -> list[schema.Event]:
        """Ask for journal entries after `since`; -10 = the last ten."""
        return self._get(f"/v1/events?since={since}&limit={limit}", list[schema.Event])

    def act(self, verb: str, wish: schema.Intent) -> schema.Done:
        """Have drain, undrain, failover, pause or resume done."""
        return decode(self._request("POST", f"/v1/{verb}", msgspec.json.encode(wish)), schema.Done)

    def follow(self, since: int | None = None) -> Iterator[schema.Event]:
        """Yield events as they are written, after those since `since` if it is given."""
        path = "/v1/events" if since is None else f"/v1/events?since={since}"
        connection = _UnixConnection(self._path, SILENCE_S, self._dial)
        try:
            response = self._send(connection, "GET", path, b"", "text/event-stream")
            lines = EventLines()
            while line := response.readline(LINE_BYTES_MAX):
                if event := lines.feed(line):
                    yield event
        except (OSError, http.client.HTTPException) as error:
            raise unreachable(self._path, error) from error
        finally:
            connection.close()
        raise UnreachableError(f"{self._path}: the agent ended the stream; it may be stopping")

    def _get(self, path: str, kind: type[T]) -> T:
        return decode(self._request("GET", path), kind)

    def _request(self, method: str, path: str, body: bytes = b"") -> bytes:
        connection = _UnixConnection(self._path, self._timeout_s, self._dial)
        try:
            return self._send(connection, method, path, body).read(ANSWER_BYTES_MAX)
        except (OSError, http.client.HTTPException) as error:
            raise unreachable(self._path, error) from error
        finally:
            connection.close()

    def _send(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        body: bytes,
        accept: str = "application/json",
    ) -> http.client.HTTPResponse:
        connection.request(method, path, body or None, {"Accept": accept})
        response = connection.getresponse()
        if response.status >= http.client.BAD_REQUEST:
            raise refusal(response.status, response.read(ANSWER_BYTES_MAX))
        return response


class EventLines:
    """Takes the lines of a text/event-stream, gives events; comments and other fields pass."""

    def __init__(self) -> None:
        self._data = b""

    def feed(self, line: bytes) -> schema.Event | None:
        """Take one line; return the event that it ends.

        Raises:
            UnreachableError: what came is no event.
        """
        line = line.rstrip(b"\r\n")
        if line.startswith(b"data:"):
            self._data = line.removeprefix(b"data:").strip()
        elif not line and self._data:
            data, self._data = self._data, b""
            return decode(data, schema.Event)
        return None


def why_path(service: str) -> str:
    """Path of the question why."""
    return f"/v1/why/{quote(service, safe='')}"


def scenario_path(without: tuple[str, ...]) -> str:
    """Path of the question what a loss would do."""
    return "/v1/headroom?" + "&".join(f"without={quote(name, safe='')}" for name in without)


def decode(body: bytes, kind: type[T]) -> T:
    """Read an answer.

    Raises:
        UnreachableError: it is not what an agent says.
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.DecodeError as error:
        raise UnreachableError(f"the answer is not an agent's: {error}") from error


def refusal(status: int, body: bytes) -> RefusedError:
    """Read an error answer, even a malformed one."""
    try:
        problem = msgspec.json.decode(body, type=schema.ErrorAnswer).error
    except msgspec.DecodeError:
        problem = schema.Problem("malformed", f"HTTP {status} without the API's error form")
    return RefusedError(status, problem)


def unreachable(path: str, error: Exception) -> UnreachableError:
    """Say what a failed connection means to an operator."""
    if isinstance(error, FileNotFoundError):
        text = "no such socket; is the agent running? (another place: --socket PATH)"
    elif isinstance(error, ConnectionRefusedError):
        text = "nobody listens there; the agent is not running"
    elif isinstance(error, PermissionError):
        text = "no permission; become root, or a member of the group in [api] group"
    elif isinstance(error, TimeoutError):
        text = "the agent does not answer"
    else:
        text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return UnreachableError(f"{path}: {text}")


class _UnixConnection(http.client.HTTPConnection):
    def __init__(
        self, path: str, timeout_s: float, dial: Callable[[float], socket.socket] | None
    ) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path
        self._dial = dial
        self._timeout_s = timeout_s

    def connect(self) -> None:
        if self._dial is not None:
            self.sock = self._dial(self._timeout_s)
            return
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
