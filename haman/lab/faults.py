"""Faults: what a drill's step does to a lab, and how it is undone."""

import contextlib
import fnmatch
import os
import shlex
import signal
import time
from dataclasses import dataclass

from haman.lab import agent, init, kernel
from haman.lab.drill import Step
from haman.lab.runtime import LabError, Runtime
from haman.lab.services import services_of

SIGNALS = {
    "kill": signal.SIGKILL,
    "stop": signal.SIGSTOP,
    "cont": signal.SIGCONT,
    "term": signal.SIGTERM,
}
# States of a bridge port: a disabled one drops every frame both ways while its carrier stays up,
# so that the node behind it notices nothing (include/uapi/linux/if_bridge.h).
PORT_STATE = {"silence": "0", "unsilence": "3"}
LINK_STATE = {"link-down": "down", "link-up": "up"}


@dataclass(frozen=True, slots=True)
class Done:
    """What a step did, when (monotonic), and what the node said to it, for verbs of haman."""

    at_ns: int
    text: str
    answer: str = ""


def inflict(runtime: Runtime, step: Step) -> Done:
    """Do what a step says.

    Raises:
        LabError: the node or process is not there, or the node refused.
    """
    if step.node not in runtime.pids:
        raise LabError(f"{step.fault}: there is no node {step.node!r}; see the drill's steps")
    if step.fault in SIGNALS:
        return _signal(runtime, step)
    at_ns = time.monotonic_ns()
    if step.fault in PORT_STATE:
        for end in runtime.topology.far_ends(step.node):
            state = PORT_STATE[step.fault]
            _must(runtime, end.node, f"bridge link set dev {end.interface} state {state}")
        return Done(
            at_ns, f"{step.node} is {'silent' if step.fault == 'silence' else 'heard again'}"
        )
    if step.fault in LINK_STATE:
        for end in runtime.topology.far_ends(step.node):
            _must(runtime, end.node, f"ip link set dev {end.interface} {LINK_STATE[step.fault]}")
        return Done(at_ns, f"{step.node}'s cable is {'out' if step.fault == 'link-down' else 'in'}")
    if step.fault == "start":
        os.kill(runtime.pids[step.node], signal.SIGHUP)
        return Done(at_ns, f"{step.node} starts what it does not run")
    if step.fault == "clear-bgp":
        return _clear_bgp(runtime, step)
    words = ["haman", step.fault, step.vip or step.node]
    words += ["--to", step.to] if step.to else []
    answer = _must(runtime, step.node, shlex.join(words))
    return Done(at_ns, f"`{shlex.join(words)}` on {step.node}", answer)


def heal(runtime: Runtime) -> None:
    """Undo every fault: ports forward, cables are in, stopped processes go on, dead ones start.

    Drained nodes are put back into service.
    """
    for pid in runtime.pids.values():
        for number, _ in kernel.processes_beside(pid):
            _send(number, signal.SIGCONT)
        os.kill(pid, signal.SIGHUP)
    for link in runtime.topology.links:
        for end in (link.a, link.b):
            _must(runtime, end.node, f"ip link set dev {end.interface} up")
            # Refused where the interface is no bridge port: then there is nothing to undo.
            runtime.exec(end.node, ["bridge", "link", "set", "dev", end.interface, "state", "3"])
    for node in runtime.pids:
        if agent.drained(runtime, node):
            _must(runtime, node, f"haman undrain {node}")


def _signal(runtime: Runtime, step: Step) -> Done:
    pid = runtime.pids[step.node]
    # The guard first: it must not wake up between two kills that are meant to be one.
    found = sorted(
        (
            (name, number)
            for number, name in kernel.processes_beside(pid)
            if number != pid and fnmatch.fnmatchcase(name, step.process)
        ),
        reverse=True,
    )
    if not found:
        names = sorted({name for number, name in kernel.processes_beside(pid) if number != pid})
        raise LabError(
            f"{step.node} runs no process {step.process!r}; it runs {', '.join(names) or 'none'}"
        )
    restart = step.restart if step.restart is not None else step.fault != "term"
    if not restart:
        _must(runtime, step.node, f"touch {init.HELD}")
    at_ns = time.monotonic_ns()
    for _, number in found:
        _send(number, SIGNALS[step.fault])
    several = f" ({len(found)} processes)" if len(found) > 1 else ""
    return Done(at_ns, f"{SIGNALS[step.fault].name} to {step.process} on {step.node}{several}")


def _clear_bgp(runtime: Runtime, step: Step) -> Done:
    """What the router's operator does: all sessions, or those with one node, begin again."""
    services = services_of(runtime.topology)
    addresses = [a for a, node in services.next_hops.items() if step.peer in {"", node}]
    if step.node != services.router or not addresses:
        raise LabError(
            f"clear-bgp: {step.node!r} is no router, or it has no session with {step.peer!r}"
        )
    command = ["vtysh"]
    for address in addresses:
        command += ["-c", f"clear bgp {address}"]
    at_ns = time.monotonic_ns()
    _must(runtime, step.node, shlex.join(command))
    return Done(at_ns, f"{step.node} clears its sessions with {step.peer or 'all nodes'}")


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):  # it died of the one before
        os.kill(pid, number)


def _must(runtime: Runtime, node: str, command: str) -> str:
    done = runtime.exec(node, shlex.split(command))
    if done.returncode:
        raise LabError(f"{node}: `{command}` failed: {(done.stderr or done.stdout).strip()}")
    return done.stdout.strip()
