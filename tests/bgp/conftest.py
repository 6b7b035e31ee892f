"""Namespaces and routers that clean up after themselves."""

from collections.abc import Iterator

import pytest

from tests.bgp.rig import FRR
from tests.bgp.routers import Frr, connect
from tests.engine.net import Namespace


class Cable:
    """A node's namespace and a router's, joined by cable 1."""

    def __init__(self) -> None:
        self.node, self.router = Namespace(), Namespace()
        connect(self.node, self.router, 1)

    def close(self) -> None:
        self.node.close()
        self.router.close()


@pytest.fixture
def cable() -> Iterator[Cable]:
    made = Cable()
    yield made
    made.close()


@pytest.fixture
def frr(cable: Cable) -> Iterator[Frr]:
    with Frr(cable.router, FRR) as router:
        yield router
