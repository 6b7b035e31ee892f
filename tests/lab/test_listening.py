"""What two kernels said while nobody listened has one instant: its order is not known."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from haman.lab import kernel
from haman.lab.holders import RTMGRP_IPV4_IFADDR
from haman.lab.listening import Listener
from tests.engine.net import Namespace

pytestmark = pytest.mark.privileged

DEADLINE_S = 10


@dataclass(frozen=True)
class Said:
    node: str
    at_ns: int


class Slow(Listener):
    """Understands nothing more of what it heard until it is let."""

    def __init__(self, pids: dict[str, int]) -> None:
        super().__init__(pids, RTMGRP_IPV4_IFADDR, "slow")
        self.said: list[Said] = []
        self.let = threading.Event()

    def hear(self, node: str, data: bytes, now_ns: int) -> None:
        assert data
        self.said.append(Said(node, now_ns))
        assert self.let.wait(DEADLINE_S)


@pytest.fixture
def nodes() -> Iterator[dict[str, Namespace]]:
    made = {name: Namespace() for name in ("lb1", "lb2")}
    yield made
    for namespace in made.values():
        namespace.close()


def test_what_came_meanwhile_has_one_instant(nodes: dict[str, Namespace]) -> None:
    slow = Slow({name: node.holder.pid for name, node in nodes.items()})
    slow.listen()
    try:
        nodes["lb1"].run("ip addr add 10.0.0.1/32 dev lo")
        assert kernel.wait_until(lambda: len(slow.said) == 1, DEADLINE_S)
        nodes["lb1"].run("ip addr add 10.0.0.2/32 dev lo; ip addr del 10.0.0.1/32 dev lo")
        nodes["lb2"].run("ip addr add 10.0.0.1/32 dev lo")
        slow.let.set()
        assert kernel.wait_until(lambda: len(slow.said) == 4, DEADLINE_S)
    finally:
        slow.let.set()
        slow.end()
    first, *rest = slow.said
    assert [said.node for said in rest] == ["lb1", "lb2", "lb1"]
    assert len({said.at_ns for said in rest}) == 1
    assert rest[0].at_ns > first.at_ns
    assert slow.overruns == 0
