"""A lab of this checkout: up, attach, down, and what its nodes' own configuration says they serve."""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from haman.core.words import Stance
from haman.lab import agent, containerlab, holders, kernel, keys, netns, routers, routes
from haman.lab.paths import Hop
from haman.lab.runtime import LabError, Runtime
from haman.lab.services import (
    CONFIGURATION,
    Anycast,
    Services,
    Vip,
    login_hosts,
    services_of,
)
from haman.lab.state import LabState, Store, checkout_of
from haman.lab.topology import Topology, read_topology

READY_TIMEOUT_S = 30
DEBIAN = {"unshare": "util-linux", "nsenter": "util-linux", "setpriv": "util-linux"}
DEBIAN |= {"mount": "mount", "ip": "iproute2", "docker": "docker.io"}
"""Debian's package of each program that a lab needs; containerlab has none."""


class Launcher(Protocol):
    """What a runtime's module can do."""

    TOOLS: tuple[str, ...]

    def start(self, topology: Topology, store: Store) -> Runtime:
        """Bring all nodes up; state is written early enough for a crash to be cleaned up after."""

    def attach(self, topology: Topology, state: LabState) -> Runtime:
        """The nodes that another process brought up."""

    def stop(self, state: LabState, store: Store) -> None:
        """End all nodes and everything inside."""


LAUNCHERS: Mapping[str, Launcher] = {"netns": netns, "containerlab": containerlab}


@dataclass(frozen=True, slots=True)
class Lab:
    """A lab that is up."""

    topology: Topology
    runtime: Runtime
    folder: Path
    services: Services

    @property
    def vips(self) -> tuple[Vip, ...]:
        """The floating addresses of the lab."""
        return self.services.vips

    @property
    def anycasts(self) -> tuple[Anycast, ...]:
        """The prefix sets that several nodes announce."""
        return self.services.anycasts

    @property
    def routers(self) -> Mapping[str, int]:
        """Process 1 of each router that is announced to."""
        return {name: self.runtime.pids[name] for name in self.services.routers}

    def holders(self) -> Mapping[str, tuple[str, ...]]:
        """Which nodes have each VIP's first address on an interface now."""
        held = holders.addresses_now(self.runtime.pids)
        return {
            vip.name: tuple(node for node in vip.nodes if vip.addresses[0] in held[node])
            for vip in self.vips
        }

    def announcers(self) -> Mapping[str, tuple[str, ...]]:
        """To which nodes the router sends each anycast service's first prefix, by BGP, now."""
        if not self.anycasts:
            return {}
        now = routes.routes_now(self.routers, self.services)
        return {
            service.name: tuple(hop.node for hop in now[service.prefixes[0]].by_bgp)
            for service in self.anycasts
        }

    def settled(self) -> bool:
        """Whether each VIP is on its preferred node alone, and each prefix on all of its nodes.

        The nodes must say so too, and that all of them are in service: where the floor looks like the
        announcements it stands in for, the router's word is not enough.
        """
        return next(self._unsettled(), None) is None

    def _unsettled(self) -> Iterator[str]:
        held = self.holders() if self.vips else {}
        for vip in self.vips:
            if held[vip.name] != vip.nodes[:1]:
                yield f"{vip.name} is not on {vip.nodes[0]} alone"
        for node in self.services.nodes:
            if not agent.calm(self.runtime, node):
                yield f"{node} does not say that all nodes are in service"
        yield from self._unannounced()

    def _unannounced(self) -> Iterator[str]:
        now = routes.routes_now(self.routers, self.services)
        for service in self.anycasts:
            for prefix in service.prefixes:
                if not equal_shares(now[prefix].by_bgp, service.nodes):
                    yield f"{prefix} goes to {now[prefix]}"
            for node in filter(self._runs_haman, service.nodes):
                if agent.stance(self.runtime, node, service.name) != Stance.FULL:
                    yield f"{node} is not {Stance.FULL} to {service.name}"

    def _runs_haman(self, name: str) -> bool:
        node = self.topology.node(name)
        return node is not None and any(bind.target == CONFIGURATION for bind in node.binds)

    def wait_until_settled(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Wait for each VIP to reach its preferred node, and for all announcers to be used alike.

        Raises:
            LabError: it did not come to be; the text says what is where, and where the logs are.
        """
        if not kernel.wait_until(self.settled, timeout_s, poll_s=0.05):
            held = (*self.where(), *self._unsettled())
            raise LabError(
                f"lab {self.topology.name}: {'; '.join(held)} after {timeout_s:g} s; "
                f"the nodes' logs are in {self.folder / 'logs'}"
            )

    def where(self) -> tuple[str, ...]:
        """What is where, in words."""
        held = (f"{vip} is on {_named(on)}" for vip, on in self.holders().items())
        sent = (f"{name} goes to {_named(to)}" for name, to in self.announcers().items())
        return (*held, *sent)


def equal_shares(hops: tuple[Hop, ...], nodes: tuple[str, ...]) -> bool:
    """Whether these nodes are all of the next hops, each with the same weight."""
    same = {hop.node for hop in hops} == set(nodes)
    return same and len({hop.weight for hop in hops}) == 1


def _named(nodes: tuple[str, ...]) -> str:
    return ", ".join(nodes) or "no node"


def up(
    path: Path,
    make_cluster_key: Callable[[Path], None],
    *,
    runtime: str = "netns",
    keep: bool = False,
    say: Callable[[str], None] = print,
) -> Lab:
    """Bring a topology up and wait until its addresses are served.

    Args:
        path: the topology's file.
        make_cluster_key: writes a new cluster key file.
        runtime: one of `runtime.RUNTIMES`.
        keep: leave nodes up that do not come to serve, to be looked into.
        say: told about each step that a person waits for.

    Raises:
        BadFileError: the topology cannot be used.
        LabError: a lab is up already, the host lacks something, or the nodes do not come to serve.
    """
    return bring_up(read_topology(path), make_cluster_key, runtime=runtime, keep=keep, say=say)


def bring_up(
    topology: Topology,
    make_cluster_key: Callable[[Path], None],
    *,
    services: Services | None = None,
    runtime: str = "netns",
    keep: bool = False,
    say: Callable[[str], None] = print,
) -> Lab:
    """As `up`, of a topology already read.

    Args:
        topology: what to bring up.
        make_cluster_key: writes a new cluster key file.
        runtime: one of `runtime.RUNTIMES`.
        services: what the nodes serve, where the caller knows better than their configuration, which
            need not be haman's; the routers' files are then the caller's to write.
        keep: leave nodes up that do not come to serve.
        say: told about each step that a person waits for.
    """
    demand_host(runtime)
    store = Store(checkout_of(topology.path))
    with store.locked():
        _make_way(store, say)
        folder = store.folder(topology.name)
        shutil.rmtree(folder / "logs", ignore_errors=True)
        keys.prepare(folder / "keys", make_cluster_key, login_hosts(topology))
        if services is None:
            routers.prepare(topology)
        served = services if services is not None else services_of(topology)
        say(f"starting {len(topology.nodes)} nodes of lab {topology.name}")
        nodes = LAUNCHERS[runtime].start(topology, store)
    lab = Lab(topology, nodes, folder, served)
    if served.vips or served.anycasts:
        say("waiting for the addresses to be served")
        try:
            lab.wait_until_settled()
        except BaseException:
            if not keep:
                down(topology.path)
            raise
    return lab


def prepare_keys(path: Path, make_cluster_key: Callable[[Path], None]) -> Path:
    """Make what the nodes of a topology share and its binds name; the folder of the keys.

    Raises:
        BadFileError: the topology cannot be used.
        LabError: openssl is missing or refused, or the routers cannot be told what the nodes need.
    """
    topology = read_topology(path)
    folder = Store(checkout_of(path)).folder(topology.name) / "keys"
    keys.prepare(folder, make_cluster_key, login_hosts(topology))
    routers.prepare(topology)
    return folder


def attach(near: Path) -> Lab:
    """The lab that is up in the checkout around `near`.

    Raises:
        LabError: there is none, or a crash left one half dead.
    """
    store = Store(checkout_of(near))
    state = store.read()
    demand_host(state.runtime if state else "netns")
    if state is None:
        raise LabError("no lab is up in this checkout; `haman lab up FILE` brings one up")
    if not state.healthy():
        raise LabError(
            f"lab {state.name} did not come up or lost a node; `haman lab down` cleans up"
        )
    topology = read_topology(Path(state.topology))
    runtime = LAUNCHERS[state.runtime].attach(topology, state)
    return Lab(topology, runtime, store.folder(state.name), services_of(topology))


def down(near: Path) -> str | None:
    """Take this checkout's lab down; its name, or None when there was none."""
    store = Store(checkout_of(near))
    state = store.read() if store.root.exists() else None
    if state is None:
        return None
    demand_host(state.runtime)
    with store.locked():
        state = store.read()
        if state is None:
            return None
        _take_down(store, state)
        return state.name


def demand_host(runtime: str) -> None:
    """Say plainly what the host lacks for a runtime.

    Raises:
        LabError: not root, or programs are missing.
    """
    if os.geteuid() != 0:
        raise LabError("labs in namespaces need root: run it again with sudo")
    if missing := [tool for tool in LAUNCHERS[runtime].TOOLS if shutil.which(tool) is None]:
        named = (
            f"{tool} (Debian's {DEBIAN[tool]})" if tool in DEBIAN else tool for tool in missing
        )
        raise LabError(f"this host lacks {', '.join(named)}")


def _make_way(store: Store, say: Callable[[str], None]) -> None:
    """Refuse a second lab; clean up after one that crashed."""
    state = store.read()
    if state is None:
        return
    if state.healthy():
        raise LabError(
            f"lab {state.name} is already up in this checkout; `haman lab down` takes it down"
        )
    say(f"cleaning up after lab {state.name}, which did not end well")
    _take_down(store, state)


def _take_down(store: Store, state: LabState) -> None:
    LAUNCHERS[state.runtime].stop(state, store)
    store.forget(state)
