"""An agent that is told to end hands over what it holds, and releases what it cannot hand over."""

from functools import partial
from pathlib import Path

import msgspec

from haman.core.handover.messages import Side, Step
from haman.core.words import Reason, Role
from tests.cluster.pair import KEY, until
from tests.controller.rig import RigNode, duo


def end(one: RigNode) -> None:
    """As the engine does on TERM."""
    one.engine.ending = True
    one.engine.report()


def has(one: RigNode, role: Role, vip: str = "web") -> bool:
    return one.role(vip) is role


async def test_what_it_holds_moves_and_is_not_taken_back(tmp_path: Path) -> None:
    async with duo(tmp_path) as (lb1, lb2):
        lb1.engine.connections = 12
        end(lb1)
        await until(partial(has, lb2, Role.ACTIVE), "the peer has it")
        await until(
            lambda: (Side.GIVING, Step.TAIL) in {(o.side, o.step) for o in lb1.engine.handovers}
        )
        assert has(lb1, Role.BACKUP)
        assert not lb2.engine.orders, "nobody was told to take it the plain way"
        stance = lb1.engine.stance()
        assert stance is not None
        assert (stance.contend, stance.preempt) == (True, False)
        assert "ending" in {reason.code for reason in stance.reasons}
        (done,) = lb1.events("handover-completed")
        assert done.text == "web moved to lb2: the agent ends"


async def test_the_tail_is_as_short_as_the_end_allows(tmp_path: Path) -> None:
    async with duo(tmp_path) as (lb1, lb2):
        now = lb1.controller.config
        engine = msgspec.structs.replace(now.engine, end_tail_s=2)
        lb1.controller.reconfigure(msgspec.structs.replace(now, engine=engine), (KEY,))
        lb1.engine.connections = 3
        end(lb1)
        await until(lambda: lb1.events("tail-ended"), "the end of the tail")
        (ended,) = lb1.events("tail-ended")
        assert "3 connections were left after 2 s" in ended.text
        assert has(lb2, Role.ACTIVE)


async def test_a_peer_that_refuses_gets_it_released(tmp_path: Path) -> None:
    async with duo(tmp_path) as (lb1, lb2):
        lb2.engine.problem = Reason("no-rules", "libnftables.so.1 is not installed")
        end(lb1)
        await until(partial(has, lb1, Role.RELEASED), "the plain way")
        (why,) = lb1.events("handover-aborted")
        assert "its connections are cut" in why.text
        assert "libnftables" in why.text
        assert lb1.engine.reasons["web"][0].code == "ending"


async def test_nobody_to_hand_it_to(tmp_path: Path) -> None:
    async with duo(tmp_path) as (lb1, lb2):
        lb2.engine.become("web", Role.RELEASED)
        await until(
            lambda: any(
                v.role is Role.RELEASED
                for p in lb1.controller.snapshot().peers
                if p.report
                for v in p.report.vips
            )
        )
        end(lb1)
        await until(partial(has, lb1, Role.RELEASED))
        assert not lb1.engine.handovers


async def test_told_to_hand_nothing_over(tmp_path: Path) -> None:
    async with duo(tmp_path) as (lb1, _):
        now = lb1.controller.config
        engine = msgspec.structs.replace(now.engine, end_tail_s=0)
        lb1.controller.reconfigure(msgspec.structs.replace(now, engine=engine), (KEY,))
        end(lb1)
        await until(partial(has, lb1, Role.RELEASED))
        assert not any(declared.handovers for declared in lb1.engine.stances)
        assert not lb1.events("handover-started")
