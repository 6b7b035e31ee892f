"""Faults that come from others: clients that storm or dawdle, a stranger that speaks VRRP."""

from collections.abc import Callable, Mapping

from haman.lab.drill import Step
from haman.lab.inside import background, must, remember
from haman.lab.runtime import LabError, Runtime
from haman.lab.services import configurations

CLIENT = "client"
TLS_PORT = 443
# As a team next door would run it: version 2, its own address, and by chance the same VRID. It does
# not understand version 3, so nothing that it hears keeps it from speaking.
STRANGER = """vrrp_instance stranger {{
    state MASTER
    interface {interface}
    virtual_router_id {vrid}
    version 2
    priority 200
    advert_int 1
    virtual_ipaddress {{
        198.51.100.{vrid}/32
    }}
}}
"""
STRANGER_FILE = "/run/lab/stranger.conf"


def storm(runtime: Runtime, step: Step) -> str:
    """Clients make full TLS handshakes with a node, one after the other."""
    _load(runtime, "storm", step, TLS_PORT)
    return f"{step.count} clients storm {step.node} with TLS handshakes for {step.for_s:g} s"


def crowd(runtime: Runtime, step: Step) -> str:
    """Clients connect to a node and send a request without end, a byte per second."""
    _load(runtime, "crowd", step, step.port)
    return f"{step.count} slow clients stay with {step.node} for {step.for_s:g} s"


def stranger(runtime: Runtime, step: Step) -> str:
    """A keepalived that is not of the cluster speaks with the VRID of a VIP, from a node."""
    vip = next(
        (
            v
            for known in configurations(runtime.topology)
            for v in known.config.vip
            if v.name == step.vip
        ),
        None,
    )
    if vip is None:
        raise LabError(f"stranger: no node is configured for a VIP {step.vip!r}")
    text = STRANGER.format(interface=vip.interface, vrid=vip.vrid)
    runtime.path(step.node, STRANGER_FILE).write_text(text)
    must(runtime, step.node, ["chmod", "600", STRANGER_FILE])
    background(
        runtime,
        step.node,
        ["keepalived", "--dont-fork", "--log-console", "--use-file", STRANGER_FILE],
    )
    remember(runtime, step.node, "rm -f /run/keepalived.pid /run/keepalived/*.pid")
    return f"a stranger on {step.node} speaks with VRID {vip.vrid}"


def _load(runtime: Runtime, kind: str, step: Step, port: int) -> None:
    peers = [peer for c in configurations(runtime.topology) for peer in c.config.cluster.peer]
    address = next((p.addresses[0] for p in peers if p.name == step.node), "").rpartition(":")[0]
    if not address:
        raise LabError(f"{kind}: {step.node!r} is no node that others have as their peer")
    words = ["python3", "-m", "haman.lab.loads", kind, address, str(port)]
    background(runtime, CLIENT, [*words, str(step.count), f"{step.for_s:g}"])


VERBS: Mapping[str, Callable[[Runtime, Step], str]] = {
    "storm": storm,
    "crowd": crowd,
    "stranger": stranger,
}
