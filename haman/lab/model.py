"""A topology of the lab as a world of `haman.sim`: what its nodes' own files say, and nothing else.

The model gives every node the same services, so a topology whose nodes differ cannot be shown.
"""

import ipaddress
from collections.abc import Mapping
from dataclasses import replace

from haman.config.lease import lease_s
from haman.config.model import Config
from haman.core.gate import GateSettings
from haman.core.ladder import ConfiguredAnycast
from haman.lab.runtime import UnshownError
from haman.lab.services import NodeConfig, configurations
from haman.lab.topology import Topology
from haman.sim.network import NS_PER_MS, Quality
from haman.sim.options import Options
from haman.sim.plans import NS_PER_S, NodePlan, VipPlan

ROOM = 20
"""Of the clients of a drill, a node of the model can take so many times: it is never busy."""
WIRE = Quality(least_ns=50_000, spread_ns=100_000)
"""Namespaces on one machine."""
LATE_NS = 200_000
HOLD_S = 1.0
UNTOLD_S = 3600.0
"""The drill says when it ends."""


def options_of(topology: Topology, seed: int, new_per_s: int) -> Options:
    """The nodes of a topology, with these clients on each of their services.

    Raises:
        UnshownError: the nodes do not have the same services.
        LabError: a node's configuration cannot be used.
    """
    known = configurations(topology)
    services = {_services(node.config) for node in known}
    if len(services) != 1:
        raise UnshownError("the model gives every node the same services")
    config = known[0].config
    names = [vip.name for vip in config.vip] + [anycast.name for anycast in config.anycast]
    return Options(
        seed=seed,
        shape=topology.name,
        nodes=tuple(_plan(node, place, new_per_s) for place, node in enumerate(known, 1)),
        rates=dict.fromkeys(names, float(new_per_s)),
        hold_s=HOLD_S,
        quality=WIRE,
        late_ns=LATE_NS,
        drifts_ppm=tuple(0 for _ in known),
        kinds=(),
        faults=0,
        safety_ns=round(UNTOLD_S * NS_PER_S),
    )


def keys_of(topology: Topology) -> Mapping[tuple[str, int], tuple[str, ...]]:
    """The addresses of each virtual router: service and family."""
    found: dict[tuple[str, int], tuple[str, ...]] = {}
    for vip in configurations(topology)[0].config.vip:
        for address in vip.addresses:
            parsed = ipaddress.ip_interface(address).ip
            key = (vip.name, parsed.version)
            found[key] = (*found.get(key, ()), str(parsed))
    return found


def _services(config: Config) -> tuple[object, ...]:
    vips = tuple((v.name, v.addresses) for v in config.vip)
    return (vips, tuple((a.name, a.prefixes) for a in config.anycast))


def _plan(node: NodeConfig, place: int, new_per_s: int) -> NodePlan:
    config = node.config
    saturation, probe = config.saturation, config.proxy.probe
    gate = GateSettings(
        probe=probe is not None,
        dwell_ns=saturation.dwell_ms * NS_PER_MS,
        hold_ns=round(saturation.hold_s * NS_PER_S),
    )
    times = {}
    if probe is not None:
        gate = replace(gate, rise=probe.rise, fall=probe.fall)
        times["probe_ns"] = probe.interval_ms * NS_PER_MS
        times["probe_timeout_ns"] = probe.timeout_ms * NS_PER_MS
    return NodePlan(
        name=node.node,
        place=place,
        site=config.node.site,
        vips=tuple(
            VipPlan(
                vip.name,
                vip.vrid,
                tuple(sorted({ipaddress.ip_interface(a).version for a in vip.addresses})),
                vip.group,
                vip.advert_interval_ms * NS_PER_MS,
                round(vip.preempt_delay_s * NS_PER_S),
                lease_s(config, vip) * NS_PER_S,
            )
            for vip in config.vip
        ),
        anycast=tuple(
            ConfiguredAnycast(
                each.name,
                each.weight,
                each.weighted,
                each.reduced_weights,
                round(each.step_s * NS_PER_S),
                round(each.drain_s * NS_PER_S),
                round(each.handover_timeout_s * NS_PER_S),
            )
            for each in config.anycast
        ),
        gate=gate,
        capacity=float(ROOM * new_per_s),
        priorities={vip.name: vip.priority for vip in config.vip},
        preempt=all(vip.preempt for vip in config.vip),
        report_ns=config.cluster.report_interval_ms * NS_PER_MS,
        sample_ns=saturation.interval_ms * NS_PER_MS,
        client_timeout_ns=saturation.client_timeout_ms * NS_PER_MS,
        **times,
    )
