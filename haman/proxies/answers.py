"""What a proxy answers when it is asked for its counters."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Answer:
    """The counters that every kind of proxy has in common; None = this one does not tell.

    Attributes:
        pid: of the process that answered, in its own PID namespace.
        version: of the proxy.
        stopping: the process only finishes old connections.
        threads: that serve.
        connections: clients connected now.
        connections_limit: the most that it accepts.
        full: TLS handshakes with a key operation since the start of the process.
        resumed: TLS handshakes without one.
        accepted: client connections since the start of the process.
        failed: TLS handshakes that failed, since the start of the process.
        queue: tasks that wait for a thread now.
        own_accepted: how many connections this very question added to `accepted`.
        pool_failed: allocations of memory that failed since the start of the process.
    """

    pid: int
    version: str
    stopping: bool = False
    threads: int | None = None
    connections: int | None = None
    connections_limit: int | None = None
    full: int | None = None
    resumed: int | None = None
    accepted: int | None = None
    failed: int | None = None
    queue: int | None = None
    own_accepted: int = 0
    pool_failed: int | None = None


@dataclass(frozen=True, slots=True)
class Unavailable:
    """The proxy did not answer, or not sensibly.

    Attributes:
        code: absent, refused, forbidden, timeout, too-long, malformed or failed.
        text: one line for people.
    """

    code: str
    text: str
