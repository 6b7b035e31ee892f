"""The labs of a checkout: up, attach, down, and what their nodes' own configuration says they serve."""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from msgspec.structs import replace

from haman.core.words import Stance
from haman.lab import agent, containerlab, holders, kernel, keys, left, netns, routers, routes
from haman.lab.paths import Hop
from haman.lab.runtime import LabError, Runtime, UnsettledError
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
FACTS_MAX = 20
"""Of a lab with hundreds of addresses; enough to see what is wrong."""
DEBIAN = {"unshare": "util-linux", "nsenter": "util-linux", "setpriv": "util-linux"}
DEBIAN |= {"ip": "iproute2", "docker": "docker.io"}
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
        return {vip.name: self._holders_of(vip) for vip in self.vips}

    def _holders_of(self, vip: Vip) -> tuple[str, ...]:
        held = holders.addresses_now({node: self.runtime.pids[node] for node in vip.nodes})
        return tuple(node for node in vip.nodes if vip.addresses[0] in held[node])

    def announcers(self) -> Mapping[str, frozenset[tuple[str, ...]]]:
        """To which nodes the routers send each anycast service, by BGP, now.

        One set of nodes, sorted, for each prefix that goes elsewhere than the others of its service.
        """
        now = routes.routes_now(self.routers, self.services) if self.anycasts else {}
        return {
            service.name: frozenset(
                tuple(sorted(hop.node for hop in now[prefix].by_bgp)) for prefix in service.prefixes
            )
            for service in self.anycasts
        }

    def settled(self) -> bool:
        """Whether each VIP is on its preferred node alone, and each prefix on all of its nodes.

        The nodes must say so too, and that all of them are in service: where the floor looks like the
        announcements it stands in for, the router's word is not enough.
        """
        return next(self._unsettled(), None) is None

    def _unsettled(self) -> Iterator[str]:
        """What is not yet as it shall be; kernels first, for agents that start have no time to talk."""
        for vip in self.vips:
            if self._holders_of(vip) != vip.nodes[:1]:
                yield f"{vip.name} is not on {vip.nodes[0]} alone"
        yield from self._unrouted()
        for node in self.services.nodes:
            told = agent.status(self.runtime, node)
            if not agent.calm(self.runtime, node, told):
                yield f"{node} does not say that all nodes are in service"
            for service in self.anycasts:
                if node not in service.nodes or not self._runs_haman(node):
                    continue
                if agent.stance_in(told, node, service.name) != Stance.FULL:
                    yield f"{node} is not {Stance.FULL} to {service.name}"

    def _unrouted(self) -> Iterator[str]:
        now = routes.routes_now(self.routers, self.services) if self.anycasts else {}
        for service in self.anycasts:
            for prefix in service.prefixes:
                if not equal_shares(now[prefix].by_bgp, service.nodes):
                    yield f"{prefix} goes to {now[prefix]}"

    def _runs_haman(self, name: str) -> bool:
        node = self.topology.node(name)
        return node is not None and any(bind.target == CONFIGURATION for bind in node.binds)

    def wait_until_settled(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Wait for each VIP to reach its preferred node, and for all announcers to be used alike.

        Raises:
            UnsettledError: it did not come to be; the text says what is where, and where the logs are.
        """
        if not kernel.wait_until(self.settled, timeout_s, poll_s=0.1):
            held = (*self.where(), *self._unsettled())
            more = f"; and {len(held) - FACTS_MAX} more" if len(held) > FACTS_MAX else ""
            raise UnsettledError(
                f"lab {self.topology.name}: {'; '.join(held[:FACTS_MAX])}{more} after {timeout_s:g} s; "
                f"the nodes' logs are in {self.folder / 'logs'}"
            )

    def where(self) -> tuple[str, ...]:
        """What is where, in words."""
        held = (f"{vip} is on {_named(on)}" for vip, on in self.holders().items())
        ways = {name: map(_named, sorted(to)) for name, to in self.announcers().items()}
        return (*held, *(f"{name} goes to {' / '.join(to)}" for name, to in ways.items()))


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
    stays: bool = False,
    keep: bool = False,
    say: Callable[[str], None] = print,
) -> Lab:
    """Bring a topology up and wait until its addresses are served.

    Args:
        path: the topology's file.
        make_cluster_key: writes a new cluster key file.
        runtime: one of `runtime.RUNTIMES`.
        stays: it is not this process that takes it down.
        keep: leave nodes up that do not come to serve, to be looked into.
        say: told about each step that a person waits for.

    Raises:
        BadFileError: the topology cannot be used.
        LabError: the lab is up already, the host lacks something, or the nodes do not come to serve.
    """
    topology = read_topology(path)
    return bring_up(topology, make_cluster_key, runtime=runtime, stays=stays, keep=keep, say=say)


def bring_up(
    topology: Topology,
    make_cluster_key: Callable[[Path], None],
    *,
    services: Services | None = None,
    runtime: str = "netns",
    stays: bool = False,
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
        stays: it is not this process that takes it down.
        keep: leave nodes up that do not come to serve.
        say: told about each step that a person waits for.
    """
    demand_host(runtime)
    store = Store(checkout_of(topology.path))
    with store.locked(topology.name):
        _make_way(store, topology.name, say)
        folder = store.folder(topology.name)
        shutil.rmtree(folder / "logs", ignore_errors=True)
        keys.prepare(folder / "keys", make_cluster_key, login_hosts(topology))
        if services is None:
            routers.prepare(topology)
        served = services if services is not None else services_of(topology)
        say(f"starting {len(topology.nodes)} nodes of lab {topology.name}")
        nodes = LAUNCHERS[runtime].start(topology, store)
    lab = Lab(topology, nodes, folder, served)
    try:
        if served.vips or served.anycasts:
            say("waiting for the addresses to be served")
            lab.wait_until_settled()
    except BaseException:
        if keep:
            _let_stay(store, topology.name)
        else:
            down(topology.path)
        raise
    if stays:
        _let_stay(store, topology.name)
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


def attach(near: Path, name: str = "") -> Lab:
    """A lab that is up.

    Args:
        near: the topology's file, or a folder of the checkout.
        name: which, where several are up.

    Raises:
        LabError: there is none, or there are several, or a crash left one half dead.
    """
    store = Store(checkout_of(near))
    known = _found(store, near, name)
    if not known:
        named = f"lab {name}" if name else "no lab"
        raise LabError(
            f"{named} is {'not ' if name else ''}up in this checkout; `haman lab up FILE` brings one up"
        )
    if len(known) > 1:
        names = ", ".join(state.name for state in known)
        raise LabError(f"several labs are up in this checkout ({names}): say which with --lab NAME")
    (state,) = known
    demand_host(state.runtime)
    if not state.usable():
        what = "was left by a command that was killed" if state.healthy() else "lost a node"
        if not state.ready:
            what = "did not come up"
        raise LabError(f"lab {state.name} {what}; `haman lab down` cleans up")
    topology = read_topology(Path(state.topology))
    runtime = LAUNCHERS[state.runtime].attach(topology, state)
    return Lab(topology, runtime, store.folder(state.name), services_of(topology))


def names_up(near: Path) -> tuple[str, ...]:
    """The labs of a checkout, or the one of a topology's file, that can be attached to."""
    store = Store(checkout_of(near))
    return tuple(state.name for state in _found(store, near, "") if state.usable())


def down(near: Path, name: str = "") -> tuple[str, ...]:
    """Take labs down, and end what crashes left of them; the names of those that there were.

    Args:
        near: a topology's file, for its lab; a folder, for all labs of the checkout.
        name: this one alone.

    Raises:
        LabError: not root, or something did not end.
    """
    store = Store(checkout_of(near))
    gone = []
    for known in _found(store, near, name):
        demand_host(known.runtime)
        with store.locked(known.name):
            state = store.read(known.name)
            if state is not None:
                _take_down(store, state)
                gone.append(state.name)
    # Of labs whose state somebody removed, too.
    folder = store.folder(name) if name else store.root
    if (name or near.is_dir()) and (lost := left.processes(folder)):
        netns.end(folder)
        gone += sorted({marked.name for marked in lost.values()})
    return tuple(gone)


def _found(store: Store, near: Path, name: str) -> tuple[LabState, ...]:
    """The labs of a checkout that are asked for, running or left behind."""
    wanted = "" if near.is_dir() else str(near.resolve())
    return tuple(
        state
        for state in store.labs()
        if name in {"", state.name} and wanted in {"", state.topology}
    )


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


def _make_way(store: Store, name: str, say: Callable[[str], None]) -> None:
    """Refuse to bring up what is up; clean up after what crashed."""
    state = store.read(name)
    if state is None:
        return
    if state.usable():
        raise LabError(f"lab {name} is already up in this checkout; `haman lab down` takes it down")
    say(f"cleaning up after lab {name}, which did not end well")
    _take_down(store, state)


def _let_stay(store: Store, name: str) -> None:
    """The lab is nobody's but the checkout's from now on."""
    state = store.read(name)
    if state is not None:
        store.write(replace(state, runner=0, runner_ticks=0))


def _take_down(store: Store, state: LabState) -> None:
    LAUNCHERS[state.runtime].stop(state, store)
    store.forget(state)
