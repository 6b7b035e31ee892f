"""Runs a drill on a lab that is up: load, faults at their instants, and everything seen."""

import select
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from typing import Self, TypeVar

import msgspec

from haman.lab import agent, clock, faults, holders, kernel, routes
from haman.lab.drill import Drill, Expect
from haman.lab.faults import AWAIT_S
from haman.lab.gauges import Gauges
from haman.lab.lab import Lab
from haman.lab.paths import spans
from haman.lab.probe import Order, Result
from haman.lab.prober import END_SUFFIX
from haman.lab.runtime import LabError, Runtime
from haman.lab.serving import serves
from haman.lab.tenure import tenures
from haman.lab.verdict import Record, Said, StepDone

Told = TypeVar("Told")
CLIENT = "client"
RESULT = "/run/lab/probe.json"
READY_TIMEOUT_S = 15
END_SLACK_S = 10
SERVES_TIMEOUT_S = 20
HOME_TIMEOUT_S = 30
COMES_HOME_S = 5.0
"""A preferred node that came back has its address again by then."""
LATE_S = 10
"""What shall come of a drill may come later, on a machine that does other things too."""
AFTER_S = 1.0
"""Clients go on for so long after that, to meet what it does to them."""
PATIENCE_S = 10
"""For an agent that has just been started again to answer."""


def run(lab: Lab, drill: Drill, *, say: Callable[[str], None] = print) -> Record:
    """Do a drill; the lab is left as the faults made it.

    Args:
        lab: up, and of the drill's topology.
        drill: what to do.
        say: told about each step that a person waits for.

    Raises:
        UnshownError: this host cannot show what the drill is about.
        LabError: the lab is not the drill's or not as it should be before a fault, the client cannot
            work, or a step cannot be taken.
    """
    if lab.topology.name != drill.topology:
        raise LabError(
            f"drill {drill.name} is for lab {drill.topology}, but {lab.topology.name} is up"
        )
    if not lab.vips and not lab.anycasts:
        raise LabError(f"lab {lab.topology.name} serves nothing")
    clock.prepare(lab.runtime, drill)
    wait_until_calm(lab)
    watch = holders.Watch(lab.runtime.pids)
    router = None
    if lab.anycasts:
        router = routes.Watch(lab.routers, lab.services)
        router.start()
    watch.start(lab.runtime.pids)
    nodes = lab.services.nodes
    began = at_once(partial(agent.last_event, lab.runtime), nodes)
    gauges = Gauges(lab.runtime, nodes)
    try:
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        say(f"load: {drill.load.new_per_s} new connections/s, {drill.load.connections} long-lived")
        with gauges, Client(lab, order_of(lab, drill)) as client:
            steps, end_s = take_steps(lab, drill, client.started_ns, say)
            time.sleep(max(0.0, end_s - time.monotonic()))
            gauges.end()
            well = partial(ended_well, lab, drill.expect, began)
            if not well() and kernel.wait_until(well, LATE_S, poll_s=0.1):
                time.sleep(AFTER_S)
            result = client.result()
    finally:
        changes = watch.stop()
        sent = router.stop() if router is not None else []
    addresses = {vip.name: vip.addresses for vip in lab.vips}
    for node in to_be_asked(drill.expect):
        kernel.wait_until(partial(agent.answers, lab.runtime, node), PATIENCE_S, poll_s=0.1)
    told = at_once(partial(agent.status, lab.runtime), nodes)
    # Whoever does not answer the one question in time is not asked the other.
    journals = at_once(
        lambda node: agent.events_since(lab.runtime, node, began[node]),
        [node for node in nodes if told[node] is not None],
    )
    return Record(
        drill=drill,
        at=at,
        steps=steps,
        probe=result,
        addresses=addresses,
        tenures={
            address: tenures(changes, address, result.started_ns, result.ended_ns)
            for vip in lab.vips
            for address in vip.addresses
        },
        said=ask_why(lab, drill.expect),
        overruns=watch.overruns + (router.overruns if router is not None else 0),
        prefixes={service.name: service.prefixes for service in lab.anycasts},
        routes={
            prefix: spans(sent, prefix, result.started_ns, result.ended_ns)
            for service in lab.anycasts
            for prefix in service.prefixes
        },
        stances={
            service: {node: agent.stance(lab.runtime, node, service) for node in nodes}
            for service, nodes in drill.expect.stances.items()
        },
        events={node: journals.get(node, ()) for node in nodes},
        alerts={
            node: tuple(sorted({alert.code for alert in status.alerts}))
            for node, status in told.items()
            if status is not None
        },
        conditions={
            node: own.condition
            for node, status in told.items()
            if status is not None
            for own in status.nodes
            if own.name == node
        },
        gauges=tuple(gauges.read),
    )


def at_once(ask: Callable[[str], Told], nodes: Sequence[str]) -> Mapping[str, Told]:
    """What each node says to a question; those that do not answer are waited for together."""
    if not nodes:
        return {}
    with ThreadPoolExecutor(max_workers=len(nodes)) as pool:
        return dict(zip(nodes, pool.map(ask, nodes), strict=True))


def recover(lab: Lab) -> None:
    """Undo all faults and wait until the lab is as it was when it came up.

    The neighbours' caches too: what a fault taught them about an address is part of the fault.

    Raises:
        LabError: an address did not come back to its preferred node.
    """
    faults.heal(lab.runtime)
    began_s = time.monotonic()

    def at_home() -> bool:
        if not lab.settled() and (_moved_away(lab) or time.monotonic() > began_s + COMES_HOME_S):
            _call_home(lab)
        return lab.settled()

    kernel.wait_until(at_home, HOME_TIMEOUT_S, poll_s=0.1)
    wait_until_calm(lab)
    for node in lab.runtime.pids:
        lab.runtime.exec(node, ["ip", "neighbour", "flush", "all"])


def _call_home(lab: Lab) -> None:
    """What an operator or a permit moved away stays away until the operator moves it again."""
    for vip in lab.vips:
        for holder in lab.holders()[vip.name]:
            if holder != vip.nodes[0]:
                words = ["haman", "failover", vip.name, "--to", vip.nodes[0], "--plain", "--force"]
                lab.runtime.exec(holder, words)


def _moved_away(lab: Lab) -> bool:
    return any(agent.yields(lab.runtime, vip.nodes[0], vip.name) for vip in lab.vips)


def wait_until_calm(lab: Lab) -> None:
    """Wait until a fault would be the only thing that is wrong.

    Every service is where it belongs, and every node's proxy reaches its back ends again.

    Raises:
        LabError: it did not come to be.
    """
    lab.wait_until_settled()
    for node in lab.services.nodes:
        served = partial(serves, lab.runtime.pids[node])
        if not kernel.wait_until(served, SERVES_TIMEOUT_S, poll_s=0.1):
            raise LabError(
                f"the proxy of {node} does not serve, {SERVES_TIMEOUT_S} s after the fault"
            )


def ended_well(lab: Lab, expect: Expect, began: Mapping[str, int]) -> bool:
    """Whether everybody is, and has said, what the drill expects in the end.

    Args:
        lab: where.
        expect: what.
        began: the last event in each node's journal before the drill.
    """
    held = lab.holders() if expect.holder else {}
    wanted = {vip: (node,) if node else () for vip, node in expect.holder.items()}
    if any(held.get(vip) != nodes for vip, nodes in wanted.items()):
        return False
    sent = lab.announcers() if expect.announcers else {}
    goals = {name: frozenset([tuple(sorted(to))]) for name, to in expect.announcers.items()}
    if any(sent.get(name) != goal for name, goal in goals.items()):
        return False
    stances = all(
        agent.stance(lab.runtime, node, service) == stance
        for service, stances in expect.stances.items()
        for node, stance in stances.items()
    )
    return stances and all(
        _has_said(lab.runtime, node, expect, began.get(node, 0))
        for node in {*expect.conditions, *expect.alerts, *expect.events}
    )


def _has_said(runtime: Runtime, node: str, expect: Expect, began: int) -> bool:
    told = agent.status(runtime, node)
    if told is None:
        return False
    condition = next((n.condition for n in told.nodes if n.name == node), "")
    alerts = {alert.code for alert in told.alerts}
    events = expect.events.get(node, ())
    return (
        expect.conditions.get(node, condition) == condition
        and alerts.issuperset(expect.alerts.get(node, ()))
        and (not events or set(events) <= set(agent.events_since(runtime, node, began)))
    )


def to_be_asked(expect: Expect) -> set[str]:
    """The nodes whose agents must answer after a drill, or an expectation cannot hold."""
    stances = {node for nodes in expect.stances.values() for node in nodes}
    why = (
        {expect.asked or node for node in expect.holder.values()} if expect.why_contains else set()
    )
    return {*expect.conditions, *expect.alerts, *stances, *why} - {""}


def order_of(lab: Lab, drill: Drill) -> Order:
    """What the client does in a drill: it talks to the first address of the service in question.

    Raises:
        LabError: the drill names a service that the lab has not.
    """
    known = {service.name: service.address for service in lab.anycasts}
    known |= {vip.name: vip.addresses[0] for vip in lab.vips}
    expected = (*drill.expect.holder, *drill.expect.announcers)
    wanted = drill.load.service or next((name for name in expected if name in known), "")
    if wanted and wanted not in known:
        raise LabError(f"lab {lab.topology.name} has no service {wanted!r}; see load.service")
    return Order(
        address=known[wanted] if wanted else next(iter(known.values())),
        duration_s=drill.length_s + LATE_S + AWAIT_S * len(drill.step),
        mode=drill.load.mode,
        new_per_s=drill.load.new_per_s,
        connections=drill.load.connections,
        echo_interval_ms=drill.load.echo_interval_ms,
        echo_timeout_ms=drill.load.echo_timeout_ms,
        count_again=drill.load.count_again,
    )


def take_steps(
    lab: Lab, drill: Drill, started_ns: int, say: Callable[[str], None]
) -> tuple[tuple[StepDone, ...], float]:
    """Take each step at its instant, and say when the drill ends (monotonic).

    What a step had to wait for puts off all that follow.
    """
    taken = []
    put_off_s = 0.0
    for step in sorted(drill.step, key=lambda step: step.at_s):
        due_s = started_ns / 1e9 + step.at_s + put_off_s
        time.sleep(max(0.0, due_s - time.monotonic()))
        done = faults.inflict(lab.runtime, step)
        taken.append(StepDone(done.at_ns, time.monotonic_ns(), done.text, done.answer))
        if step.fault == "await":
            put_off_s += time.monotonic() - due_s
        say(done.text)
    return tuple(taken), started_ns / 1e9 + drill.length_s + put_off_s


class Client:
    """The prober, running on the lab's client node."""

    def __init__(self, lab: Lab, order: Order) -> None:
        self.lab = lab
        self.order = order
        self.path = lab.runtime.path(CLIENT, RESULT)
        self.end = self.path.with_suffix(END_SUFFIX)

    def __enter__(self) -> Self:
        """Start it, and wait until its long-lived connections stand."""
        self.path.unlink(missing_ok=True)
        self.end.unlink(missing_ok=True)
        words = ["python3", "-m", "haman.lab.prober"]
        words += [msgspec.json.encode(self.order).decode(), RESULT]
        self.process = self.lab.runtime.spawn(CLIENT, words, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        readable, _, _ = select.select([self.process.stdout], [], [], READY_TIMEOUT_S)
        first = self.process.stdout.readline().split() if readable else []
        if len(first) != 2 or first[0] != b"ready":
            self.__exit__()
            raise LabError(f"the client on {CLIENT!r} did not come to work; see its output above")
        self.started_ns = int(first[1])
        return self

    def __exit__(self, *_: object) -> None:
        """End it, whatever it does."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def result(self) -> Result:
        """End it; what it saw."""
        self.end.touch()
        try:
            self.process.wait(END_SLACK_S)
            return msgspec.json.decode(self.path.read_bytes(), type=Result)
        except (subprocess.TimeoutExpired, OSError, msgspec.DecodeError) as error:
            raise LabError(f"the client brought no result: {error}") from error


def ask_why(lab: Lab, expect: Expect) -> tuple[Said, ...]:
    """What the expected holders, or the node to be asked, say; a node without haman says nothing."""
    asked = {name: expect.asked or node for name, node in expect.holder.items()}
    if expect.asked:
        asked |= dict.fromkeys((*expect.announcers, *expect.stances), expect.asked)
    said = []
    for service, node in asked.items():
        if node in lab.runtime.pids:
            answer = lab.runtime.exec(node, ["haman", "why", service])
            said.append(Said(node, service, (answer.stdout or answer.stderr).strip()))
    return tuple(said)
