"""The code does what the table of transitions says, all of it and nothing else."""

from dataclasses import replace
from typing import Any

import pytest

from haman.core.facts import HolderWord
from haman.core.vrrp.messages import (
    GroupLetGo,
    GroupTookOver,
    HolderReported,
    Input,
    PeerReleased,
    Reconfigured,
    Released,
    RoleChanged,
    Shutdown,
    Started,
    TimePassed,
)
from haman.core.vrrp.transitions import TRANSITIONS
from haman.core.words import Reason, Role
from tests.core.vrrp.link import S, config
from tests.core.vrrp.scenes import (
    DOWN_150,
    LESSER,
    PEER,
    SKEW_150,
    T0,
    WHY,
    advert,
    change,
    code,
    kinds,
    new,
)

# ---- the table -----------------------------------------------------------------------------------


STEPS: dict[Role, list[Input]] = {
    Role.INITIALIZE: [],
    Role.RELEASED: [Released(WHY)],
    Role.BACKUP: [Started()],
    Role.ACTIVE: [Started(), PeerReleased(WHY)],
}


def in_role(role, **options) -> Any:
    router = new(**options)
    for event in STEPS[role]:
        router.step(event, T0)
    assert router.role is role
    return router


SAID = HolderWord("web", "lb2", (str(PEER),), 200, hears_us=True, said_ns=T0 + S)

# What to give, and when, for the transitions whose event alone does not say it.
SCENES: dict[str, tuple[dict[str, Any], list[tuple[Input, int]], Input, int]] = {
    "address-owner": ({"priority": 255}, [], Started(), 0),
    "contending": ({}, [], Started(), 0),
    "no-active-router": ({}, [], TimePassed(), DOWN_150),
    "active-router-down": ({}, [(advert(200), 0)], TimePassed(), DOWN_150),
    "preempting": ({}, [(advert(100), S)], TimePassed(), DOWN_150),
    "released-by-peer": ({}, [(advert(0), 0)], TimePassed(), SKEW_150),
    "higher-priority": ({}, [], advert(200), 0),
    "greater-address": ({}, [], advert(150), 0),
    "one-way-loss": ({}, [], HolderReported(PEER, SAID), S),
    "handed-over": ({"yields_to": LESSER}, [], advert(100, source=LESSER), 0),
    "group-follows": ({}, [], GroupLetGo((Reason("group-follows", "b moved"),)), 0),
}


@pytest.mark.parametrize(
    "row", TRANSITIONS, ids=lambda r: f"{r.old}-{r.event.__name__}-{r.new}-{r.code}"
)
def test_each_row_of_the_table_happens(row):
    options, before, event, after_ns = SCENES.get(row.code) or ({}, [], row.event(WHY), 0)
    router = in_role(row.old, **options)
    for earlier, at in before:
        router.step(earlier, T0 + at)
    outputs = router.step(event, T0 + after_ns)
    assert isinstance(event, row.event)
    assert tuple(k for k in kinds(outputs) if k != "Observed") == (*row.does, "RoleChanged")
    assert (change(outputs).old, change(outputs).new) == (row.old, row.new)
    assert code(outputs) == (row.code or WHY[0].code)
    assert router.snapshot().reasons == change(outputs).reasons


def test_nothing_else_happens():
    """Every event in every role, in several situations: the role changes as the table says."""
    allowed = {(t.old, t.event, t.new) for t in TRANSITIONS}
    events = [
        *(advert(p, source=s) for p in (0, 1, 150, 151, 255) for s in (PEER, LESSER)),
        Started(),
        Released(WHY),
        Shutdown(WHY),
        PeerReleased(WHY),
        TimePassed(),
        GroupTookOver(WHY),
        GroupLetGo(WHY),
        HolderReported(PEER, SAID),
        HolderReported(PEER, replace(SAID, priority=100)),
        HolderReported(PEER, replace(SAID, hears_us=False)),
        HolderReported(PEER, replace(SAID, said_ns=T0)),
        Reconfigured(config(1, priority=90)),
    ]
    for priority in (150, 255):
        for role in (Role.INITIALIZE, Role.RELEASED, Role.BACKUP, Role.ACTIVE):
            if priority == 255 and role is Role.BACKUP:
                continue  # the owner is never one, unless it was reconfigured
            for event in events:
                router = in_role(role, priority=priority)
                for at in (T0 + S, T0 + 60 * S, T0 + 61 * S):
                    old = router.role
                    outputs = router.step(event, at)
                    if router.role is not old:
                        assert (old, type(event), router.role) in allowed
                        assert change(outputs) == RoleChanged(
                            old, router.role, router.snapshot().reasons
                        )
                    else:
                        assert not [o for o in outputs if isinstance(o, RoleChanged)]
