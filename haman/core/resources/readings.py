"""What the samplers read: facts about the proxy and its host, each with its instant.

Counters are cumulative; what they mean is made out by the meters. None = it is not told.
"""

from dataclasses import field

from haman.core.frozen import dataclass
from haman.core.processes import ProcessId


@dataclass(frozen=True, slots=True)
class ProcessSample:
    """One process of the proxy.

    Attributes:
        cpu_ns: time on a CPU since its start, by thread id.
        waited_ns: time in which a thread was runnable and had no CPU, since its start, by thread id;
            no entry = not told.
        fds: open file descriptors; None when they could not be counted.
        fd_limit: soft RLIMIT_NOFILE; None when unlimited or unknown.
    """

    process: ProcessId
    cpu_ns: dict[int, int]
    fds: int | None = None
    fd_limit: int | None = None
    waited_ns: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ProcessesSampled:
    """Every process of the proxy, those that only finish old connections included."""

    at_ns: int
    processes: tuple[ProcessSample, ...]


@dataclass(frozen=True, slots=True)
class CountersSampled:
    """What the proxy says of itself.

    Attributes:
        epoch: of the process that answered.
        full: TLS handshakes with a key operation, cumulative.
        resumed: TLS handshakes without one, cumulative.
        threads: that do handshakes, no more than the CPUs that the proxy may run on.
        connections: clients connected now.
        connections_limit: the most that the proxy accepts.
        accepted: client connections, cumulative.
        failed: TLS handshakes that failed, cumulative.
        queue: tasks that wait for a thread now.
        pool_failed: allocations of memory that failed, cumulative.
        begun: TLS connections, whatever became of them, cumulative; those to servers may be among them.
    """

    at_ns: int
    epoch: ProcessId
    full: int | None = None
    resumed: int | None = None
    threads: int | None = None
    connections: int | None = None
    connections_limit: int | None = None
    accepted: int | None = None
    failed: int | None = None
    queue: int | None = None
    pool_failed: int | None = None
    begun: int | None = None


@dataclass(frozen=True, slots=True)
class ProbeTimed:
    """How long a new client waited for the proxy: the head-of-line latency."""

    at_ns: int
    latency_s: float


@dataclass(frozen=True, slots=True)
class ProbeTimedOut:
    """A new client waited this long, in vain."""

    at_ns: int
    waited_s: float


@dataclass(frozen=True, slots=True)
class GroupCpu:
    """A control group with a CPU quota that the proxy is in.

    Attributes:
        quota_cores: quota ÷ period.
        used_ns: CPU time of the group, cumulative; None when the kernel does not tell it.
        periods: periods in which the group ran, cumulative.
        throttled: of those, the ones in which it was stopped for the rest, cumulative.
    """

    group: str
    quota_cores: float
    used_ns: int | None
    periods: int
    throttled: int


@dataclass(frozen=True, slots=True)
class GroupsSampled:
    """Every quota above the proxy; none is a fact, too."""

    at_ns: int
    groups: tuple[GroupCpu, ...]


@dataclass(frozen=True, slots=True)
class SoftirqSampled:
    """Interrupt work of each CPU.

    Attributes:
        busy_ns: in hard and soft interrupts since boot, by CPU.
        dropped: packets that a CPU's backlog had no room for, since boot.
    """

    at_ns: int
    busy_ns: dict[int, int]
    dropped: int


@dataclass(frozen=True, slots=True)
class GroupMemory:
    """A control group with a memory limit; `used_bytes` without what the kernel can drop at once."""

    group: str
    used_bytes: int
    limit_bytes: int


@dataclass(frozen=True, slots=True)
class MemorySampled:
    """Memory of the host, and of the groups that limit the proxy's.

    Attributes:
        available_bytes: MemAvailable: what could be had without swapping.
        resident_bytes: of all processes of the proxy together.
        stalled_ns: time in which no task of the host could run for want of memory (PSI, full),
            cumulative; None where the kernel does not account for it.
    """

    at_ns: int
    total_bytes: int
    available_bytes: int
    resident_bytes: int
    groups: tuple[GroupMemory, ...] = ()
    stalled_ns: int | None = None


@dataclass(frozen=True, slots=True)
class ListenQueue:
    """One listening socket; with SO_REUSEPORT there are several of one address.

    Attributes:
        waiting: connections that the proxy has not accepted yet.
        backlog: the most that may wait.
        own: it is the proxy's.
    """

    address: str
    waiting: int
    backlog: int
    own: bool


@dataclass(frozen=True, slots=True)
class QueuesSampled:
    """Every listening TCP socket of the proxy's network namespace.

    Attributes:
        overflows: connections dropped since boot because a queue was full.
    """

    at_ns: int
    queues: tuple[ListenQueue, ...]
    overflows: int


@dataclass(frozen=True, slots=True)
class PortsSampled:
    """Local ports in use towards the destination where most are, from one source address.

    Attributes:
        span: ports in ip_local_port_range.
        destination: "" = all destinations together, which is an upper bound.
    """

    at_ns: int
    used: int
    span: int
    source: str = ""
    destination: str = ""


@dataclass(frozen=True, slots=True)
class ConntrackSampled:
    """Connections that netfilter tracks; `limit` None where it tracks none."""

    at_ns: int
    count: int
    limit: int | None


@dataclass(frozen=True, slots=True)
class InterfaceBytes:
    """One interface; `speed` in bytes/s and each way, None when it tells none."""

    name: str
    received: int
    sent: int
    speed: int | None


@dataclass(frozen=True, slots=True)
class InterfacesSampled:
    """Every interface but the loopback."""

    at_ns: int
    interfaces: tuple[InterfaceBytes, ...]


@dataclass(frozen=True, slots=True)
class SourceFailed:
    """A resource could not be read, and why; what was known of it ages."""

    at_ns: int
    resource: str
    why: str


Reading = (
    ProcessesSampled
    | CountersSampled
    | ProbeTimed
    | ProbeTimedOut
    | GroupsSampled
    | SoftirqSampled
    | MemorySampled
    | QueuesSampled
    | PortsSampled
    | ConntrackSampled
    | InterfacesSampled
    | SourceFailed
)
