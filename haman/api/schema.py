"""What machines see: the JSON of the API, as types. Additions are free, removals are not."""

from msgspec import Struct, field

SCHEMA_VERSION = 1


class Reason(Struct, frozen=True):
    """Why: a stable code, one line of text, and the numbers behind it."""

    code: str
    text: str
    data: dict[str, int | float | str] = field(default_factory=dict)


class Proxy(Struct, frozen=True):
    """The proxy of a node."""

    kind: str
    version: str = ""
    up: bool = False


class Resource(Struct, frozen=True):
    """One resource of a node; `utilization` null = the ceiling (or the use) is unknown.

    `soft` and `hard` are the node's thresholds for the utilization; null = not known to the agent.
    `detail` says where it was found: a thread, a process; "" for the proxy as a whole. `origin` is what
    the ceiling is, `problem` why the resource is unknown. `exhausted_in_s`: when it is all used up if it
    goes on growing as it does; null = it does not grow.
    """

    name: str
    used: float | None
    ceiling: float | None
    unit: str
    utilization: float | None
    confidence: str
    age_ms: float
    soft: float | None = None
    hard: float | None = None
    detail: str = ""
    origin: str = ""
    problem: str = ""
    exhausted_in_s: float | None = None


class Engine(Struct, frozen=True):
    """How well the engine keeps its time, and whether its guard lives.

    `counters` since the engine's start, named as in metrics; only of the node that answers, {} of others.
    """

    lateness_p99_ms: float = 0.0
    realtime: bool = False
    guard: bool = True
    counters: dict[str, int] = field(default_factory=dict)


class Neighbor(Struct, frozen=True):
    """A BGP neighbour of a node.

    `session`: up, down, connecting, idle or unknown; `reasons` say why it is not up. `bfd`: up,
    init, down, admin-down or unknown, "" = none is configured; `bfd_reason` says why it is not up,
    where that is known.
    """

    name: str
    address: str
    session: str
    since: str = ""
    reasons: tuple[Reason, ...] = ()
    bfd: str = ""
    bfd_reason: str = ""


class Permits(Struct, frozen=True):
    """What a node moves to its peers since it is too busy, and what it has granted to one.

    `sheds`: services of which it serves less than configured. `asks`: the one for which it asks its
    peers now. `granted_to`: the peer for which it holds room, of which `reserved` (by resource, in
    its unit) and `reserved_clients` have not arrived yet. "" = none.
    """

    sheds: tuple[str, ...] = ()
    asks: str = ""
    granted_to: str = ""
    reserved: dict[str, float] = field(default_factory=dict)
    reserved_clients: float = 0.0


class Node(Struct, frozen=True):
    """A node as the answering agent knows it; `age_ms` is how old that knowledge is.

    `permits` null = its version knows none.
    `address`: where the answering agent reaches it for reports, without port; "" = not known.
    """

    name: str
    site: str
    condition: str
    reasons: tuple[Reason, ...]
    age_ms: float
    version: str
    proxy: Proxy
    resources: tuple[Resource, ...]
    binding: str
    connections: int | None
    engine: Engine
    drained: bool = False
    neighbors: tuple[Neighbor, ...] = ()
    permits: Permits | None = None
    address: str = ""


class Member(Struct, frozen=True):
    """What one node is to one service: role and priority for a VIP, the others for anycast.

    `stance`: full, reduced, shut or withdrawn. `weight` is announced, out of `full_weight`. `share`
    of the new connections that it should get by the weights; null = not known. `routers` that hear
    it now. `connections_left`: in a tail, as last counted; null = it has none, or not yet.
    """

    node: str
    role: str = ""
    priority: int = 0
    since: str = ""
    reasons: tuple[Reason, ...] = ()
    stance: str = ""
    weight: int = 0
    full_weight: int = 0
    share: float | None = None
    routers: int = 0
    connections_left: int | None = None


class Service(Struct, frozen=True):
    """A VIP or an anycast service.

    `state`: ok, degraded, down or conflict; `reasons` say why it is not ok. `holders` of an anycast
    service are the nodes that get its traffic: those whose full or reduced announcement a router
    hears, or if there are none, those that are shut and heard. `expected` counts the nodes that
    have the service and are not drained.
    """

    name: str
    kind: str
    mode: str
    state: str
    holders: tuple[str, ...]
    expected: int
    members: tuple[Member, ...]
    addresses: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()
    reasons: tuple[Reason, ...] = ()


class Figure(Struct, frozen=True):
    """One resource of a survivor in one phase: before and after the loss, as fractions of its ceiling.

    From `limit` on it is insufficient. Null = cannot be told; `problem` says why.
    """

    resource: str
    phase: str
    before: float | None
    after: float | None
    limit: float
    problem: str = ""


class Survivor(Struct, frozen=True):
    """What a loss would do to one survivor, at its worst resource and phase.

    `figures`: every resource in every phase; only in the answer to `GET /v1/headroom?without=…`.
    """

    node: str
    resource: str
    phase: str
    utilization: float | None
    figures: tuple[Figure, ...] = ()


class Worst(Struct, frozen=True):
    """The loss, survivor, resource and phase that bind."""

    lost: tuple[str, ...]
    survivor: str
    resource: str
    phase: str
    utilization: float | None


class Scenario(Struct, frozen=True):
    """One loss worth asking about: a node, a site, or what was asked for.

    `verdict`: ok, tight, insufficient or unknown. `survivors` worst first, each at the resource and phase
    (steady, step or storm) that binds. `survivable_connections`: the most clients that the lost nodes
    may have together for step and storm to pass. `drain_s`: how long the slowest survivor needs for the
    handshakes of all lost clients. Null = not known, or nothing moves.
    """

    lost: tuple[str, ...]
    verdict: str
    survivors: tuple[Survivor, ...] = ()
    survivable_connections: int | None = None
    drain_s: float | None = None
    reasons: tuple[Reason, ...] = ()


class Headroom(Struct, frozen=True):
    """N−1: is there room on the survivors after a loss."""

    verdict: str
    worst: Worst | None = None
    scenarios: tuple[Scenario, ...] = ()


class Alert(Struct, frozen=True):
    """Something an operator should know, while it is true."""

    code: str
    severity: str
    text: str
    since: str
    node: str = ""
    service: str = ""


class Status(Struct, frozen=True):
    """GET /v1/status: the whole cluster as one agent knows it.

    `read_only`: why whoever asks may only read; "" = may act.
    """

    schema: int
    cluster: str
    node: str
    at: str
    paused: bool
    nodes: tuple[Node, ...]
    services: tuple[Service, ...]
    headroom: Headroom
    alerts: tuple[Alert, ...]
    mode: str = ""
    read_only: str = ""


class Event(Struct, frozen=True):
    """One line of the journal."""

    seq: int
    at: str
    node: str
    type: str
    service: str
    text: str
    reasons: tuple[Reason, ...] = ()
    data: dict[str, int | float | str] = field(default_factory=dict)


class WhyMember(Struct, frozen=True):
    """One node's part in the answer to `why`; `text` tells it in a line."""

    node: str
    serves: bool
    role: str
    since: str
    reasons: tuple[Reason, ...]
    text: str = ""
    stance: str = ""
    weight: int = 0
    share: float | None = None


class Why(Struct, frozen=True):
    """GET /v1/why/SERVICE: who serves, since when, because of what, and why not the others.

    `text` is the headline; the members' texts, holders first, tell the rest.
    """

    service: str
    state: str
    text: str
    members: tuple[WhyMember, ...]
    events: tuple[Event, ...] = ()


class Intent(Struct, frozen=True, forbid_unknown_fields=True):
    """Body of POST /v1/drain, undrain, failover, pause, resume.

    Fields that do not apply to the verb stay as they are here; anything else is refused, for a
    misspelt `node` must not drain the node that was asked.
    """

    node: str = ""
    vip: str = ""
    to: str = ""
    force: bool = False
    plain: bool = False


class Done(Struct, frozen=True):
    """What an accepted POST answers."""

    text: str
    reasons: tuple[Reason, ...] = ()


class Problem(Struct, frozen=True):
    """The inside of every error answer."""

    code: str
    message: str
    reasons: tuple[Reason, ...] = ()


class ErrorAnswer(Struct, frozen=True):
    """Every answer with a status of 400 or more."""

    error: Problem
