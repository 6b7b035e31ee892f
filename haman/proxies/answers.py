"""What a proxy answers when it is asked for its counters."""

from dataclasses import field

from haman.core.frozen import dataclass


@dataclass(frozen=True, slots=True)
class Answer:
    """The counters that every kind of proxy has in common; None = this one does not tell.

    Attributes:
        pid: of the process that answered, in its own PID namespace; None where the proxy speaks as
            a whole and does not say: its counters begin with its eldest process then.
        version: of the proxy; "" if it does not tell.
        stopping: the process only finishes old connections.
        threads: that serve.
        connections: clients connected now, to all its processes.
        connections_limit: the most that there could be now.
        full: TLS handshakes with a key operation since the start of the process.
        resumed: TLS handshakes without one.
        begun: TLS connections since the start of the process, whatever became of them; those to servers
            are counted, too, where the proxy does not tell them apart.
        accepted: client connections since the start of the process.
        failed: TLS handshakes that failed, since the start of the process.
        queue: tasks that wait for a thread now.
        own_accepted: how many connections this very question added to `accepted`.
        pool_failed: allocations of memory that failed since the start of the process.
        fds: descriptors that the process has open.
        fd_limit: the most that it may have.
        missing: by resource, why something about it is not told, and what would change that.
    """

    pid: int | None
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
    begun: int | None = None
    fds: int | None = None
    fd_limit: int | None = None
    missing: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Unavailable:
    """The proxy did not answer, or not sensibly.

    Attributes:
        code: absent, refused, forbidden, timeout, too-long, malformed, status or failed.
        text: one line for people.
    """

    code: str
    text: str
