"""What the agents of a lab's nodes say of themselves, over their own sockets."""

from pathlib import Path

from haman.api import schema
from haman.api.client import Client, RefusedError, UnreachableError
from haman.config.model import Api
from haman.lab.runtime import Runtime

ANSWER_S = 2.0
EVENTS_MAX = 1000
SERVING = {"in-service", "saturated"}


def client(runtime: Runtime, node: str) -> Client:
    """The way to a node's agent."""
    return Client(str(_socket(runtime, node)), ANSWER_S)


def status(runtime: Runtime, node: str) -> schema.Status | None:
    """The status that a node's agent gives; None where no agent answers."""
    if not _socket(runtime, node).exists():
        return None
    try:
        return client(runtime, node).status()
    except (UnreachableError, RefusedError):
        return None


def answers(runtime: Runtime, node: str) -> bool:
    """Whether a node's agent can be asked now."""
    return status(runtime, node) is not None


def drained(runtime: Runtime, node: str) -> bool:
    """Whether a node's agent says that its operator has drained it."""
    told = status(runtime, node)
    return told is not None and any(n.drained for n in told.nodes if n.name == node)


def in_service(runtime: Runtime, node: str) -> bool:
    """Whether a node says that it and all others are in service; busy ones are."""
    return _all_serve(status(runtime, node))


def calm(runtime: Runtime, node: str, told: schema.Status | None) -> bool:
    """Whether a node has no agent at all, or one that told that every node is in service."""
    return _all_serve(told) if told is not None else not _socket(runtime, node).exists()


def stance(runtime: Runtime, node: str, service: str) -> str:
    """What a node says that it is to an anycast service; "" where it says nothing."""
    return stance_in(status(runtime, node), node, service)


def stance_in(told: schema.Status | None, node: str, service: str) -> str:
    """As `stance`, of what was told before."""
    if told is None:
        return ""
    members = (m for s in told.services if s.name == service for m in s.members)
    return next((member.stance for member in members if member.node == node), "")


def yields(runtime: Runtime, node: str, vip: str) -> bool:
    """Whether a node says that a VIP was moved away from it, and that it does not take it back."""
    told = status(runtime, node)
    members = (m for s in told.services if s.name == vip for m in s.members) if told else ()
    return any(m.node == node and any(r.code == "yielded" for r in m.reasons) for m in members)


def _all_serve(told: schema.Status | None) -> bool:
    return told is not None and all(n.condition in SERVING for n in told.nodes)


def last_event(runtime: Runtime, node: str) -> int:
    """The number of the last event in a node's journal; 0 where no agent answers."""
    return max((event.seq for event in _events(runtime, node, -1)), default=0)


def events_since(runtime: Runtime, node: str, number: int) -> tuple[str, ...]:
    """The types of what a node has written into its journal since, oldest first."""
    return tuple(event.type for event in _events(runtime, node, number) if event.node == node)


def _events(runtime: Runtime, node: str, since: int) -> list[schema.Event]:
    if not _socket(runtime, node).exists():
        return []
    try:
        return client(runtime, node).events(since, EVENTS_MAX)
    except (UnreachableError, RefusedError):
        return []


def _socket(runtime: Runtime, node: str) -> Path:
    return runtime.path(node, Api().socket)
