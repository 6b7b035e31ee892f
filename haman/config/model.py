"""The configuration as types: /etc/haman/haman.toml, defaults included.

Field for field the tables of the README's configuration reference. What a single text must look
like is named here and checked in `forms`; what must hold between fields is in `rules`; what is
legal but wrong in `lint`. `reader` reads a file and reports all problems at once.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

Port = Annotated[int, Meta(ge=1, le=65535)]
Fraction = Annotated[float, Meta(gt=0.0, le=1.0)]
Weight = Annotated[int, Meta(ge=1, le=1_000_000)]
PositiveMs = Annotated[int, Meta(ge=1, le=86_400_000)]

# Text with a form that `forms` checks; "" is allowed where it is the default.
Name = Annotated[str, Meta(extra={"form": "name"})]
Interface = Annotated[str, Meta(extra={"form": "interface"})]
Address = Annotated[str, Meta(extra={"form": "address"})]
RouterId = Annotated[str, Meta(extra={"form": "router-id"})]
HostAddress = Annotated[str, Meta(extra={"form": "host-address"})]
Prefix = Annotated[str, Meta(extra={"form": "prefix"})]
HostPort = Annotated[str, Meta(extra={"form": "host-port"})]
FilePath = Annotated[str, Meta(extra={"form": "file-path"})]
SocketPath = Annotated[str, Meta(extra={"form": "socket-path"})]
Endpoint = Annotated[str, Meta(extra={"form": "endpoint"})]
UrlPath = Annotated[str, Meta(extra={"form": "url-path"})]
Community = Annotated[str, Meta(extra={"form": "community"})]


class Node(Struct, frozen=True, forbid_unknown_fields=True):
    """This machine."""

    name: Name = ""
    site: Name = ""


class Peer(Struct, frozen=True, forbid_unknown_fields=True):
    """Another node of the cluster; several addresses are several paths to it."""

    name: Name
    addresses: tuple[HostPort, ...]


class Cluster(Struct, frozen=True, forbid_unknown_fields=True):
    """Who exchanges reports with whom. Without a key file the node stands alone."""

    name: Name = ""
    key_file: FilePath = ""
    listen: HostPort = ""
    report_interval_ms: Annotated[int, Meta(ge=20, le=10_000)] = 200
    peer: tuple[Peer, ...] = ()


class Probe(Struct, frozen=True, forbid_unknown_fields=True):
    """A connection to the local proxy, never through it unless `path` says so."""

    address: HostPort
    tls: bool = False
    path: UrlPath = ""
    interval_ms: Annotated[int, Meta(ge=50, le=3_600_000)] = 1000
    timeout_ms: Annotated[int, Meta(ge=10, le=3_600_000)] = 500
    fall: Annotated[int, Meta(ge=1, le=1000)] = 3
    rise: Annotated[int, Meta(ge=1, le=1000)] = 3


class Proxy(Struct, frozen=True, forbid_unknown_fields=True):
    """The local proxy and how it is observed."""

    kind: Literal["haproxy", "nginx", "envoy", "caddy", "process"] = "process"
    socket: SocketPath = ""
    status: Endpoint = ""
    admin: Endpoint = ""
    pidfile: FilePath = ""
    process: str = ""
    probe: Probe | None = None


class ResourceThresholds(Struct, frozen=True, forbid_unknown_fields=True):
    """What the operator says of one resource; None = the value of `[saturation]`."""

    ceiling: Annotated[float, Meta(gt=0, le=1e15)] | None = None
    unit: str = ""
    soft: Fraction | None = None
    hard: Fraction | None = None
    recover: Fraction | None = None
    act: bool = True


class Saturation(Struct, frozen=True, forbid_unknown_fields=True):
    """When a node counts as busy."""

    interval_ms: Annotated[int, Meta(ge=50, le=60_000)] = 200
    soft: Fraction = 0.75
    hard: Fraction = 0.90
    recover: Fraction = 0.65
    dwell_ms: Annotated[int, Meta(ge=0, le=3_600_000)] = 2000
    hold_s: Annotated[float, Meta(ge=0, le=86_400)] = 30
    client_timeout_ms: PositiveMs = 5000
    max_shedding: Annotated[int, Meta(ge=0, le=1000)] = 1
    resource: dict[str, ResourceThresholds] = field(default_factory=dict)


class Vip(Struct, frozen=True, forbid_unknown_fields=True):
    """A floating address set: one virtual router per address family.

    `gateway`: an IPv4 address on the link that answers ARP while the node is not cut off; "" = not asked.
    """

    name: Name
    interface: Interface
    vrid: Annotated[int, Meta(ge=1, le=255)]
    addresses: tuple[HostAddress, ...]
    priority: Annotated[int, Meta(ge=1, le=254)] = 100
    advert_interval_ms: Annotated[int, Meta(ge=10, le=255_000)] = 1000
    version: Literal[2, 3] = 3
    preempt: bool = True
    preempt_delay_s: Annotated[float, Meta(ge=0, le=1000)] = 0
    unicast_peers: tuple[Address, ...] = ()
    checksum: Literal["pseudo-header", "rfc9568"] = "pseudo-header"
    auth_password_file: FilePath = ""
    group: Name = ""
    track_interfaces: tuple[Interface, ...] = ()
    gateway: Address = ""
    garp_count: Annotated[int, Meta(ge=1, le=100)] = 5
    garp_refresh_s: Annotated[float, Meta(ge=0, le=86_400)] = 0
    handover_timeout_s: Annotated[float, Meta(ge=0, le=86_400)] = 60


class Bfd(Struct, frozen=True, forbid_unknown_fields=True):
    """Detection of a dead router (or node) in interval × multiplier."""

    interval_ms: Annotated[int, Meta(ge=10, le=60_000)] = 100
    multiplier: Annotated[int, Meta(ge=1, le=255)] = 3


class Neighbor(Struct, frozen=True, forbid_unknown_fields=True):
    """A BGP router that this node announces to."""

    name: Name
    address: Address
    local_address: Address
    peer_as: Annotated[int, Meta(ge=1, le=4_294_967_295)]
    hold_time_s: Annotated[int, Meta(ge=3, le=65535)] = 9
    password_file: FilePath = ""
    ttl_security: bool = False
    bfd: Bfd | None = None


class Bgp(Struct, frozen=True, forbid_unknown_fields=True):
    """This node as a BGP speaker.

    `lease_shut_s` and `lease_withdraw_s`: how long after the controller's last word the relay shuts
    and withdraws what is announced; 0 = never. `end_shut_ms`: how long an agent that ends leaves its
    routes shut before the sessions close.
    """

    local_as: Annotated[int, Meta(ge=1, le=4_294_967_295)]
    router_id: RouterId
    lease_shut_s: Annotated[float, Meta(ge=0, le=86_400)] = 10
    lease_withdraw_s: Annotated[float, Meta(ge=0, le=86_400)] = 60
    end_shut_ms: Annotated[int, Meta(ge=0, le=60_000)] = 1000
    neighbor: tuple[Neighbor, ...] = ()


class Anycast(Struct, frozen=True, forbid_unknown_fields=True):
    """A prefix set that several nodes announce at once.

    `step_s`: how long each step of the ladder lasts on the way up. `drain_s`: how long a drained
    node stays shut before it withdraws. `handover_timeout_s`: how long its connections may last from
    then on, steered to it by the others; 0 = they are cut.
    """

    name: Name
    prefixes: tuple[Prefix, ...]
    interface: Interface = "lo"
    community: tuple[Community, ...] = ()
    med: Annotated[int, Meta(ge=0, le=4_294_967_295)] | None = None
    weight: Weight = 100
    weighted: bool = True
    reduced_weights: tuple[Weight, ...] = (50, 25)
    step_s: Annotated[float, Meta(ge=0, le=86_400)] = 10
    drain_s: Annotated[float, Meta(ge=0, le=86_400)] = 5
    handover_timeout_s: Annotated[float, Meta(ge=0, le=86_400)] = 60


class Api(Struct, frozen=True, forbid_unknown_fields=True):
    """Where operators reach the agent.

    Attributes:
        group: its members may do everything.
        readers: a group whose members may only read; "" = nobody but operators gets in.
    """

    socket: SocketPath = "/run/haman/haman.sock"
    group: str = "haman"
    metrics: HostPort = ""
    readers: str = ""


class State(Struct, frozen=True, forbid_unknown_fields=True):
    """What survives a restart: journal and operator intent; and the flight recording, for `replay`.

    `recording_mib`: the most that the recording takes; 0 = none is made.
    """

    directory: FilePath = "/var/lib/haman"
    recording_mib: Annotated[int, Meta(ge=0, le=1024)] = 16


class Engine(Struct, frozen=True, forbid_unknown_fields=True):
    """The real-time process. `lease_s` 0 = derived from the advert intervals, at least 3.

    `watchdog`: the kernel's watchdog device, /dev/watchdog; "" = none. A host whose engine hangs for
    `watchdog_s` is then reset.

    `end_tail_s`: how long an agent that ends serves the connections of VIPs that it has handed over
    before; 0 = it hands nothing over, and releases.
    """

    realtime_priority: Annotated[int, Meta(ge=0, le=99)] = 50
    lease_s: Annotated[int, Meta(ge=0, le=3600)] = 0
    watchdog: FilePath = ""
    watchdog_s: Annotated[int, Meta(ge=2, le=600)] = 15
    end_tail_s: Annotated[float, Meta(ge=0, le=3600)] = 10


class Hooks(Struct, frozen=True, forbid_unknown_fields=True):
    """Programs of the operator's, given one event as JSON on standard input."""

    on_event: FilePath = ""


class Config(Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    node: Node = field(default_factory=Node)
    cluster: Cluster = field(default_factory=Cluster)
    proxy: Proxy = field(default_factory=Proxy)
    saturation: Saturation = field(default_factory=Saturation)
    vip: tuple[Vip, ...] = ()
    bgp: Bgp | None = None
    anycast: tuple[Anycast, ...] = ()
    api: Api = field(default_factory=Api)
    state: State = field(default_factory=State)
    engine: Engine = field(default_factory=Engine)
    hooks: Hooks = field(default_factory=Hooks)
