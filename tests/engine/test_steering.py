"""The rules of a tail in a kernel, replaced while frames pass through them."""

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from haman.core.handover.messages import Side
from haman.engine import steering_rules
from haman.engine.knowledge import KEPT, KNOWN, UNKNOWN
from haman.engine.steering_rules import Steering
from haman.lab.answers import Answers
from haman.system.nftables import Nftables
from tests.engine.net import Lan, wait

pytestmark = pytest.mark.privileged

VIP = "10.77.0.100"
TIMES = 40
"""A frame that overtakes the flush of a set was seen in a quarter of them."""


@pytest.fixture
def lan() -> Iterator[Lan]:
    built = Lan(3)
    yield built
    built.close()


@pytest.fixture
def asked(lan: Lan) -> Iterator[Answers]:
    """The second host has the address, and the third asks for it a thousand times a second."""
    lan.hosts[1].run(f"ip addr add {VIP}/24 dev eth0")
    client = lan.hosts[2]
    asking = Answers(client.holder.pid, "eth0", client.address, VIP)
    asking.start()
    wait(lambda: asking.replies, what="an answer before there are rules")
    yield asking
    asking.stop()


def test_who_took_an_address_and_gives_it_back_answers_until_the_taker_speaks(
    lan: Lan, asked: Answers
) -> None:
    first, second = lan.hosts[:2]
    taking = Steering(
        vip="web",
        family=4,
        interface="eth0",
        side=Side.TAKING,
        addresses=(VIP,),
        own=second.address,
        peer=first.address,
        peer_mac=first.mac("eth0"),
        moved=True,
    )
    giving = replace(taking, side=Side.GIVING, moved=False)
    with second.inside():
        nftables = Nftables()
    try:
        nftables.run(steering_rules.begin(taking, egress=True))
        for _ in range(TIMES):
            nftables.run(steering_rules.steer(taking, egress=True))
            before = len(asked.replies)
            wait(lambda: len(asked.replies) > before + 3, what="the taker answers")  # noqa: B023
            nftables.run(steering_rules.steer(giving, egress=True))
            since_ns = time.monotonic_ns()
            wait(lambda: asked.replies[-1].at_ns > since_ns, what="the giver still answers")  # noqa: B023
    finally:
        nftables.close()


@pytest.mark.parametrize(
    ("side", "moved", "former"),
    [
        (Side.GIVING, False, KNOWN),
        (Side.GIVING, True, KNOWN),
        (Side.TAKING, False, UNKNOWN),
        (Side.TAKING, True, KEPT),
    ],
)
def test_what_a_taker_has_is_its_own_once_it_has_taken_over(
    side: Side, moved: bool, former: str
) -> None:
    steering = Steering(
        vip="web",
        family=4,
        interface="eth0",
        side=side,
        addresses=("10.77.0.100",),
        own="10.77.0.11",
        peer="10.77.0.12",
        peer_mac="02:00:00:00:00:02",
        moved=moved,
    )
    assert steering_rules.job(steering).former == former
