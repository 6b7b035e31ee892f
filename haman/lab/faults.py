"""Faults: what a drill's step does to a lab, and how it is undone.

A fault is one small verb; drills put them together. `kill stop cont term reload` signal processes,
`start` has process 1 start what is down, `await` waits until a node is in service. Cables and frames are `cables`' part, what fills up or is
wrong on a node `afflictions`', what clients and strangers do `company`'s. The rest is what operators
say: to haman (`drain undrain failover`), to the router (`clear-bgp router`), and in shell (`run`).
"""

import contextlib
import fnmatch
import os
import shlex
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from haman.lab import afflictions, agent, cables, clock, company, init, kernel
from haman.lab.drill import Step
from haman.lab.inside import must, remember, undo
from haman.lab.runtime import LabError, Runtime
from haman.lab.services import services_of

SIGNALS = {
    "kill": signal.SIGKILL,
    "stop": signal.SIGSTOP,
    "cont": signal.SIGCONT,
    "term": signal.SIGTERM,
}
AWAIT_S = 15.0
RELOADS = {"haproxy": signal.SIGUSR2}
"""What makes a process read its configuration again, where it is not SIGHUP."""


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
    at_ns = time.monotonic_ns()
    if step.fault in SIGNALS:
        return _signal(runtime, step, SIGNALS[step.fault])
    if step.fault in VERBS:
        return Done(at_ns, VERBS[step.fault](runtime, step))
    words = ["haman", step.fault, step.vip or step.node]
    words += ["--to", step.to] if step.to else []
    words += ["--force"] if step.force else []
    answer = must(runtime, step.node, words)
    return Done(at_ns, f"`{shlex.join(words)}` on {step.node}", answer)


def heal(runtime: Runtime) -> None:
    """Undo every fault: frames pass, cables are in, stopped processes go on, dead ones start.

    Nodes are as their files say, and drained ones are put back into service.
    """
    for node, pid in runtime.pids.items():
        for number, _ in kernel.processes_beside(pid):
            _send(number, signal.SIGCONT)
        undo(runtime, node)
        os.kill(pid, signal.SIGHUP)
    cables.heal(runtime)
    for node in runtime.pids:
        if agent.drained(runtime, node):
            must(runtime, node, f"haman undrain {node}")


def _signal(runtime: Runtime, step: Step, number: signal.Signals) -> Done:
    found = _processes(runtime, step)
    restart = step.restart if step.restart is not None else step.fault != "term"
    if not restart:
        must(runtime, step.node, f"touch {init.HELD}")
    at_ns = time.monotonic_ns()
    for pid in found:
        _send(pid, number)
    several = f" ({len(found)} processes)" if len(found) > 1 else ""
    return Done(at_ns, f"{number.name} to {step.process} on {step.node}{several}")


def _processes(runtime: Runtime, step: Step) -> list[int]:
    """Those that a step names, in the order to hit them.

    The guard first: it must not wake up between two kills that are meant to be one.
    """
    pid = runtime.pids[step.node]
    beside = [(name, n) for n, name in kernel.processes_beside(pid) if n != pid]
    found = [(name, n) for name, n in beside if fnmatch.fnmatchcase(name, step.process)]
    if not found:
        names = ", ".join(sorted({name for name, _ in beside})) or "none"
        raise LabError(f"{step.node} runs no process {step.process!r}; it runs {names}")
    return [n for _, n in sorted(found, reverse=True)]


def _reload(runtime: Runtime, step: Step) -> str:
    number = RELOADS.get(step.process, signal.SIGHUP)
    _send(min(_processes(runtime, step)), number)  # a master has the lowest number
    return f"{step.process} on {step.node} reads its configuration again"


def _start(runtime: Runtime, step: Step) -> str:
    os.kill(runtime.pids[step.node], signal.SIGHUP)
    return f"{step.node} starts what it does not run"


def _await(runtime: Runtime, step: Step) -> str:
    """As an operator does before the next one: a node that is not back is no node to lean on."""
    if not kernel.wait_until(lambda: agent.in_service(runtime, step.node), AWAIT_S, poll_s=0.05):
        raise LabError(f"{step.node} is not in service after {AWAIT_S:g} s")
    return f"{step.node} is in service"


def _limit(runtime: Runtime, step: Step) -> str:
    for pid in _processes(runtime, step):
        afflictions.limit(runtime, step, pid)
    return f"{step.process} on {step.node} has a limit of {step.value} ({step.limit})"


def _clear_bgp(runtime: Runtime, step: Step) -> str:
    """What the router's operator does: all sessions, or those with one node, begin again."""
    services = services_of(runtime.topology)
    addresses = [a for a, node in services.next_hops.items() if step.peer in {"", node}]
    if step.node not in services.routers or not addresses:
        raise LabError(
            f"clear-bgp: {step.node!r} is no router, or it has no session with {step.peer!r}"
        )
    command = ["vtysh"]
    for address in addresses:
        command += ["-c", f"clear bgp {address}"]
    must(runtime, step.node, command)
    return f"{step.node} clears its sessions with {step.peer or 'all nodes'}"


def _router(runtime: Runtime, step: Step) -> str:
    """What the router's operator configures."""

    def told(lines: tuple[str, ...]) -> list[str]:
        return ["vtysh", *(word for line in ("configure", *lines) for word in ("-c", line))]

    if step.undo:
        remember(runtime, step.node, shlex.join(told(step.undo)))
    must(runtime, step.node, told(step.commands))
    return f"{step.node} is configured: {'; '.join(step.commands)}"


def _run(runtime: Runtime, step: Step) -> str:
    """What a node's operator types."""
    for line in step.undo:
        remember(runtime, step.node, line)
    for line in step.commands:
        must(runtime, step.node, ["sh", "-c", line])
    return f"on {step.node}: {'; '.join(step.commands)}"


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):  # it died of the one before
        os.kill(pid, number)


VERBS: Mapping[str, Callable[[Runtime, Step], str]] = {
    "reload": _reload,
    "start": _start,
    "await": _await,
    "limit": _limit,
    "clear-bgp": _clear_bgp,
    "router": _router,
    "run": _run,
    "clock": clock.jump,
    **cables.VERBS,
    **afflictions.VERBS,
    **company.VERBS,
}
"""The faults that are not signals and not verbs of haman: each does what a step says, and tells it."""
