"""What stands beside haman on the anycast lab: ExaBGP with its own healthcheck, and BIRD with a script.

Each gets what haman has: the same sessions, timers, prefixes and router, and BFD if it speaks it.
ExaBGP's healthcheck looks once a second and believes the first answer (`SWIFT`): the same as keepalived is
measured with on the pair, and quicker than anybody should run it, for one failed look is a withdrawal.
Its defaults (`DEFAULTS`: every 5 s; after a failure every second, until three in a row have failed) are
measured beside. BIRD announces static routes, which a script disables while the proxy is dead; it looks
once a second too. What both ask is whether there is a process `haproxy`: the cheapest question, and
enough for a proxy that is killed.
"""

import ipaddress
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from haman.api import schema
from haman.config.model import Config, Neighbor
from haman.lab import agent, routers
from haman.lab.contenders import PROCESSES, Agent
from haman.lab.files import write
from haman.lab.runtime import LabError, Runtime
from haman.lab.services import (
    CONFIGURATION,
    Services,
    configurations,
    router_configuration,
    services_of,
)
from haman.lab.topology import Bind, Topology

EXABGP_CONF, HEALTHCHECK_CONF = "/etc/exabgp/exabgp.conf", "/etc/exabgp/healthcheck.conf"
DISABLED = "/run/exabgp/disabled"
BIRD_CONF, BIRD_CHECK, BIRD_SOCKET = (
    "/etc/lab/bird.conf",
    "/etc/lab/bird-check",
    "/run/bird/bird.ctl",
)
BIRD_ANSWER_S = 2.0
FLOOR = ("ip route ", "ipv6 route ")
"""How FRR's lines begin that carry a prefix which nobody announces."""


@dataclass(frozen=True, slots=True)
class Check:
    """What ExaBGP's healthcheck is told; the defaults here are its own.

    Attributes:
        command: fails while the node shall announce nothing; "" = it announces always.
        interval_s: between checks; while a change is about to be believed it is `fast_s`.
        fall: checks in a row that must fail, and `rise` that must not, for a change.
    """

    command: str = "pgrep -x haproxy"
    interval_s: float = 5
    fast_s: float = 1
    rise: int = 3
    fall: int = 3


DEFAULTS = Check()
SWIFT = Check(interval_s=1, fast_s=1, rise=1, fall=1)


@dataclass(frozen=True, slots=True)
class Announcer(Agent):
    """An agent that announces.

    Attributes:
        bfd: it speaks BFD.
        release: has a node let go, as its operator would, without starting a program for it.
        drain: the same in words of shell; "" = the verb of haman.
        undrain: takes it back.
    """

    bfd: bool
    release: Callable[[Runtime, str], None]
    drain: str = ""
    undrain: str = ""


def _drain(runtime: Runtime, node: str) -> None:
    agent.client(runtime, node).act("drain", schema.Intent(node=node))


def _disable(runtime: Runtime, node: str) -> None:
    runtime.path(node, DISABLED).touch()


def _birdc(runtime: Runtime, node: str) -> None:
    """What birdc does: a line to the socket, a line back; 0000 to 0999 are no errors."""
    with socket.socket(socket.AF_UNIX) as bird:
        bird.settimeout(BIRD_ANSWER_S)
        bird.connect(str(runtime.path(node, BIRD_SOCKET)))
        with bird.makefile("rw") as lines:
            lines.readline()
            lines.write('disable "anycast*"\n')
            lines.flush()
            answer = lines.readline()
    if not answer.startswith("0"):
        raise LabError(f"{node}: BIRD does not disable its routes: {answer.strip()}")


EXABGP = Announcer(
    "ExaBGP",
    "exabgp",
    "exabgp*",
    bfd=False,
    release=_disable,
    drain=f"touch {DISABLED}",
    undrain=f"rm -f {DISABLED}",
)
BIRD = Announcer(
    "BIRD",
    "bird",
    "bird*",
    bfd=True,
    release=_birdc,
    drain="birdc 'disable \"anycast*\"'",
    undrain="birdc 'enable \"anycast*\"'",
)
HAMAN = Announcer("haman", "haman-agent", "haman-* exabgp", bfd=True, release=_drain)
PEERS = (EXABGP, BIRD)


def prepare(
    topology: Topology,
    announcer: Announcer,
    *,
    bfd: bool = True,
    check: Check = SWIFT,
    commands: Mapping[str, str] = {},
    floor: bool = True,
) -> tuple[Topology, Services]:
    """The anycast lab for one agent, and what its nodes then serve; the router's file is written.

    Args:
        topology: the lab, as haman has it.
        announcer: what its nodes run.
        bfd: the router and the nodes' sessions have it.
        check: of ExaBGP.
        commands: of the check, for the nodes that have one of their own.
        floor: what nobody announces is spread over all nodes, as `haman router-config` has it.

    Raises:
        LabError: a node's configuration cannot be used.
    """
    base = topology if bfd else without_bfd(topology)
    services = services_of(base)
    routers.prepare(base)
    if not floor:
        _without_floor(base)
    if announcer is HAMAN:
        return base, services
    if announcer is BIRD:
        _prefer_global(base)
    bench = topology.path.parent / "bench"
    known = {found.node: found.config for found in configurations(base)}
    nodes = []
    for node in base.nodes:
        if node.name not in known:
            nodes.append(node)
            continue
        config = known[node.name]
        if announcer is BIRD:
            texts = {BIRD_CONF: bird_conf(config)}
            more = [Bind(bench / "bird-check", BIRD_CHECK, read_only=True)]
        else:
            own = replace(check, command=commands.get(node.name, check.command))
            texts = {
                EXABGP_CONF: exabgp_conf(config),
                HEALTHCHECK_CONF: healthcheck_conf(config, own),
            }
            more = []
        for target, text in texts.items():
            source = _rendered(topology, node.name) / Path(target).name
            write(source, text)
            more.append(Bind(source, target, read_only=True))
        processes = bench / f"{announcer.main}-processes.toml"
        more.append(Bind(processes, PROCESSES, read_only=True))
        kept = (b for b in node.binds if b.target not in {CONFIGURATION, PROCESSES})
        prefixes = (prefix for anycast in config.anycast for prefix in anycast.prefixes)
        held = (("ip", "address", "add", prefix, "dev", "lo") for prefix in prefixes)
        nodes.append(replace(node, binds=(*kept, *more), exec=(*held, *node.exec)))
    return replace(base, nodes=tuple(nodes)), services


def _rendered(topology: Topology, node: str) -> Path:
    return topology.path.parent.parent / ".lab" / topology.name / "rendered" / node


def without_bfd(topology: Topology) -> Topology:
    """The topology with nodes that have no BFD; the router's configuration follows from theirs."""
    nodes = []
    for node in topology.nodes:
        binds = []
        for bind in node.binds:
            kept = bind
            if bind.target == CONFIGURATION:
                lines = bind.source.read_text().splitlines(keepends=True)
                text = "".join(line for line in lines if not line.startswith("bfd = "))
                if len(text) == sum(map(len, lines)):
                    raise LabError(f"{bind.source}: has no line `bfd = …` to leave out")
                source = _rendered(topology, node.name) / "haman.toml"
                kept = Bind(source, CONFIGURATION, read_only=True)
                write(source, text)
            binds.append(kept)
        nodes.append(replace(node, binds=tuple(binds)))
    return replace(topology, nodes=tuple(nodes))


def _without_floor(topology: Topology) -> None:
    for path in filter(None, map(router_configuration, topology.nodes)):
        lines = path.read_text().splitlines(keepends=True)
        kept = [line for line in lines if not line.startswith(FLOOR)]
        if len(kept) == len(lines):
            raise LabError(f"{path}: has no static routes to leave out")
        write(path, "".join(kept))


def _prefer_global(topology: Topology) -> None:
    """BIRD sends its link-local address too, by which FRR would forward and the lab know no node."""
    for path in filter(None, map(router_configuration, topology.nodes)):
        old = "route-map HAMAN-IN-6 permit 10\n"
        text = path.read_text()
        if old not in text:
            raise LabError(f"{path}: has no {old.strip()!r} to add the global next hop to")
        write(path, text.replace(old, f"{old} set ipv6 next-hop prefer-global\n"))


# ---- what they are told ----------------------------------------------------------------------------


def exabgp_conf(config: Config) -> str:
    """ExaBGP's sessions, and its healthcheck for all of them."""
    router_id, local_as = _bgp(config)
    lines = [
        "process healthcheck {",
        f"    run /usr/bin/env python3 -m exabgp healthcheck --config {HEALTHCHECK_CONF};",
        "    encoder text;",
        "}",
    ]
    for neighbor in _neighbors(config):
        lines += [
            f"neighbor {neighbor.address} {{",
            f"    router-id {router_id};",
            f"    local-address {neighbor.local_address};",
            f"    local-as {local_as};",
            f"    peer-as {neighbor.peer_as};",
            f"    hold-time {neighbor.hold_time_s};",
            f"    family {{ ipv{_version(neighbor)} unicast; }}",
            "    capability { graceful-restart disable; }",
            "    api { processes [ healthcheck ]; }",
            "}",
        ]
    return "\n".join(lines) + "\n"


def healthcheck_conf(config: Config, check: Check) -> str:
    """What ExaBGP's healthcheck does; each line is one of its long options.

    It withdraws on failure. By default it raises the metric instead, which a router that spreads load
    over equal paths takes for the same.
    """
    lines = [
        "name = haproxy",
        f"interval = {check.interval_s:g}",
        f"fast-interval = {check.fast_s:g}",
        f"rise = {check.rise}",
        f"fall = {check.fall}",
        f"disable = {DISABLED}",
        "withdraw-on-down",
        "no-ip-setup",
        "no-syslog",
    ]
    lines += [f"command = {check.command}"] if check.command else []
    lines += [f"ip = {prefix}" for anycast in config.anycast for prefix in anycast.prefixes]
    return "\n".join(lines) + "\n"


def bird_conf(config: Config) -> str:
    """BIRD's sessions with BFD where haman has it, and static routes that are announced."""
    neighbors = _neighbors(config)
    parts = ["log stderr all;", f"router id {_bgp(config)[0]};", "protocol device { }"]
    if any(neighbor.bfd for neighbor in neighbors):
        parts.append("protocol bfd { }")
    for version in sorted({_version(neighbor) for neighbor in neighbors}):
        prefixes = (p for anycast in config.anycast for p in anycast.prefixes)
        routes = [f"    route {p} blackhole;" for p in prefixes if _of(p) == version]
        head = f"protocol static anycast{version} {{\n    ipv{version};"
        parts.append("\n".join([head, *routes, "}"]))
    for neighbor in neighbors:
        version, bfd = _version(neighbor), neighbor.bfd
        lines = [
            f"protocol bgp 'to_{neighbor.name}' {{",
            f"    local {neighbor.local_address} as {_bgp(config)[1]};",
            f"    neighbor {neighbor.address} as {neighbor.peer_as};",
            f"    hold time {neighbor.hold_time_s};",
            "    connect delay time 1;",
            "    connect retry time 1;",
            "    error wait time 1, 5;",
            "    graceful restart off;",
        ]
        if bfd:
            lines += [
                "    bfd {",
                f"        min rx interval {bfd.interval_ms} ms;",
                f"        min tx interval {bfd.interval_ms} ms;",
                f"        multiplier {bfd.multiplier};",
                "    };",
            ]
        channel = f'import none; export where proto = "anycast{version}";'
        parts.append("\n".join([*lines, f"    ipv{version} {{ {channel} }};", "}"]))
    return "\n".join(parts) + "\n"


def _bgp(config: Config) -> tuple[str, int]:
    if config.bgp is None:
        raise LabError(f"{config.node.name}: announces nothing, for it has no [bgp]")
    return config.bgp.router_id, config.bgp.local_as


def _neighbors(config: Config) -> tuple[Neighbor, ...]:
    return tuple(config.bgp.neighbor) if config.bgp else ()


def _version(neighbor: Neighbor) -> int:
    return _of(neighbor.address)


def _of(text: str) -> int:
    return ipaddress.ip_address(text.partition("/")[0]).version
