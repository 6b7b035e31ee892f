"""The agents that are compared, and the pair lab with one of them on its nodes.

What differs is the agent: proxy, priorities, adverts and addresses are the same.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from haman.lab.files import write
from haman.lab.runtime import LabError
from haman.lab.services import CONFIGURATION, Services, Vip, services_of
from haman.lab.topology import Bind, Node, Topology

PROCESSES = "/etc/lab/processes.toml"
KEEPALIVED = "/etc/keepalived/keepalived.conf"
REALTIME = "    vrrp_rt_priority 50\n"
"""The priority that haman's engine has by default; keepalived's default is none."""


@dataclass(frozen=True, slots=True)
class Agent:
    """What stands between the wire and the proxy.

    Attributes:
        main: the process that speaks on the wire and holds addresses.
        all: every process of it.
        options: more lines for keepalived's `global_defs`.
    """

    name: str
    main: str
    all: str
    options: str = field(default="", kw_only=True)


HAMAN = Agent("haman", "haman-agent", "haman-*")
KEEPALIVE = Agent("keepalived", "keepalived", "keepalived")
KEEPALIVE_REALTIME = replace(KEEPALIVE, name="keepalived, real-time", options=REALTIME)


@dataclass(frozen=True, slots=True)
class _Form:
    """How an agent's file describes a virtual router.

    Attributes:
        interval: the line that is changed, and what stands there instead, of ms and s.
        begin: where the virtual router's part begins, `end` what begins after it.
        lines: what differs from one virtual router to the next, of number `n` and `address`.
    """

    interval: tuple[str, str]
    begin: str
    end: str
    lines: Mapping[str, str]


_HAMAN = _Form(
    ("advert_interval_ms = 100\n", "advert_interval_ms = {ms}\n"),
    "[[vip]]\n",
    "\n[",
    {
        r"^name = .*$": 'name = "vr{n}"',
        r"^vrid = .*$": "vrid = {n}",
        r"^addresses = .*$": 'addresses = ["{address}/32"]',
    },
)
_KEEPALIVED = _Form(
    ("advert_int 0.1\n", "advert_int {s:g}\n"),
    "vrrp_instance ",
    "\nvrrp_",
    {
        r"\A\w+ ": "vr{n} ",
        r"virtual_router_id \d+": "virtual_router_id {n}",
        r"[\d.]+/24$": "{address}/32",
    },
)


def prepare(
    topology: Topology, agent: Agent, advert_ms: int, routers: int = 0
) -> tuple[Topology, Services]:
    """The topology with an agent and an advert interval, and what its nodes then serve.

    Args:
        topology: the pair's.
        agent: runs on the nodes that have a proxy.
        advert_ms: between adverts.
        routers: so many virtual routers, 1 to 255, with an address each; 0 = the one of the files.

    Raises:
        LabError: a file is not as the benchmark needs it.
    """
    vips = services_of(topology).vips
    proxies = {node for vip in vips for node in vip.nodes}
    nodes = tuple(
        _prepared(topology, node, agent, advert_ms, routers) if node.name in proxies else node
        for node in topology.nodes
    )
    shown = tuple(replace(vip, addresses=vip.addresses[:1]) for vip in vips)
    if routers:
        shown = tuple(Vip(f"vr{n}", (address_of(n),), vips[0].nodes) for n in range(1, routers + 1))
    return replace(topology, nodes=nodes), Services(shown)


def address_of(router: int) -> str:
    """The address of a virtual router, by its number: none of the lab's own networks."""
    return f"10.78.0.{router}"


def _prepared(topology: Topology, node: Node, agent: Agent, advert_ms: int, routers: int) -> Node:
    folder = topology.path.parent
    own = next(bind.source for bind in node.binds if bind.target == CONFIGURATION)
    kept = tuple(b for b in node.binds if b.target not in {CONFIGURATION, PROCESSES})
    if agent is HAMAN:
        source, target, form = own, CONFIGURATION, _HAMAN
        listed = next(bind.source for bind in node.binds if bind.target == PROCESSES)
    else:
        source, target, form = _peer_file(folder, node.name), KEEPALIVED, _KEEPALIVED
        listed = folder / "bench" / "keepalived-processes.toml"
    old, new = form.interval
    text = _replaced(source, source.read_text(), old, new.format(ms=advert_ms, s=advert_ms / 1000))
    if agent.options:
        text = _replaced(source, text, "global_defs {\n", "global_defs {\n" + agent.options)
    if routers:
        text = _repeated(source, text, form, routers)
    rendered = folder.parent / ".lab" / topology.name / "rendered" / node.name
    fresh = rendered / Path(target).name
    write(fresh, text)
    more = (Bind(fresh, target, read_only=True), Bind(listed, PROCESSES, read_only=True))
    return replace(node, binds=(*kept, *more))


def _peer_file(folder: Path, node: str) -> Path:
    return folder / "bench" / f"keepalived-{node}.conf"


def _repeated(source: Path, text: str, form: _Form, routers: int) -> str:
    """The text with so many virtual routers in the place of its one."""
    head, begin, rest = text.partition(form.begin)
    body, end, tail = rest.partition(form.end)
    parts = []
    for n in range(1, routers + 1):
        part = body
        for pattern, line in form.lines.items():
            said = line.format(n=n, address=address_of(n))
            part, count = re.subn(pattern, said, part, flags=re.MULTILINE)
            if count != 1:
                raise LabError(f"{source}: {form.begin.strip()!r} must have {pattern!r} once")
        parts.append(begin + part)
    return head + "\n".join(parts) + end + tail


def _replaced(source: Path, text: str, old: str, new: str) -> str:
    if text.count(old) != 1:
        raise LabError(f"{source}: must hold {old.strip()!r} once, for the benchmark to change it")
    return text.replace(old, new)
