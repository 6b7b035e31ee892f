"""Bugs to plant: what checkers must find. As a program: the first seeds that find one.

python -m tests.sim.planted two-grants 1 1000
"""

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from haman.core import gate
from haman.core.handover import pivot
from haman.core.handover.messages import Side
from haman.core.handover.pivot_facts import Muster
from haman.core.permits import against, granter
from haman.core.permits.granter import Granter
from haman.core.saturation import Saturation
from haman.sim import controller as sim_controller
from haman.sim import world
from haman.sim.peers import Peers
from haman.sim.plans import NS_PER_S
from haman.sim.steering import Rules, Steering
from haman.sim.world import Outcome, run_seed

HEAL_NS = 100 * NS_PER_S
"""What heals does so sooner."""

Plant = Callable[[pytest.MonkeyPatch], None]


def grant_without_reservation(patch: pytest.MonkeyPatch) -> None:
    """A grant is given and forgotten: no room is kept for it."""
    give = Granter._give

    def forgetful(self: Granter, *given: Any) -> None:
        give(self, *given)
        self._grant = None

    patch.setattr(Granter, "_give", forgetful)


def stale_peer_counted_as_empty(patch: pytest.MonkeyPatch) -> None:
    """A peer that is not heard is nobody to ask."""
    patch.setattr(against, "silence", lambda _scene: None)


def no_dwell(patch: pytest.MonkeyPatch) -> None:
    """The first sample over the threshold is enough."""

    def hasty(thresholds: Any, resources: Any, _dwell_ns: int, *rest: int) -> Saturation:
        return Saturation(thresholds, resources, 0, *rest)

    patch.setattr(gate, "Saturation", hasty)


def two_grants(patch: pytest.MonkeyPatch) -> None:
    """An outstanding grant is no reason against another one."""
    held = Granter._held

    def generous(self: Granter, *asked: Any) -> Any:
        why = held(self, *asked)
        return None if why is not None and why.code == "grant-outstanding" else why

    patch.setattr(Granter, "_held", generous)


def lost_release(patch: pytest.MonkeyPatch) -> None:
    """The end of a grant is lost on the way, and no lease ends it."""
    patch.setattr(Granter, "ended", lambda *_: None)
    patch.setattr(granter, "_ends_ns", lambda grant: grant.heard_ns + 10**18)


def namesake_ignored(patch: pytest.MonkeyPatch) -> None:
    """Another node of this name is heard, and nobody minds."""
    patch.setattr(Peers, "namesake", lambda *_: None)


def one_way_untold(patch: pytest.MonkeyPatch) -> None:
    """An engine is not told of a peer that is active and whose adverts do not arrive."""
    patch.setattr(sim_controller, "holder_words", lambda *_: ())


def survivors_steer_nothing(patch: pytest.MonkeyPatch) -> None:
    """An engine says that its rules are in force, and there are none."""
    carry_out = Steering._carry_out

    def lazy(self: Steering, wanted: dict[str, Rules]) -> None:
        carry_out(self, wanted)
        self.rules = {s: rules for s, rules in self.rules.items() if rules.side is Side.GIVING}

    patch.setattr(Steering, "_carry_out", lazy)


def pivot_waits_for_nobody(patch: pytest.MonkeyPatch) -> None:
    """Routers are told before survivors are ready."""

    def hasty(_node: str, _tail: str, heard: Any, *_: Any, **__: Any) -> Muster:
        return Muster(heard.serving, over=True)

    patch.setattr(pivot, "muster", hasty)


BUGS: dict[str, tuple[Plant, str]] = {
    "grant-without-reservation": (grant_without_reservation, "one-grant"),
    "stale-peer-counted-as-empty": (stale_peer_counted_as_empty, "unanimous"),
    "no-dwell": (no_dwell, "dwell"),
    "two-grants": (two_grants, "one-grant"),
    "lost-release": (lost_release, "heals"),
    "namesake-ignored": (namesake_ignored, "unanimous"),
    "one-way-untold": (one_way_untold, "one-holder"),
    "survivors-steer-nothing": (survivors_steer_nothing, "kept"),
    "pivot-waits-for-nobody": (pivot_waits_for_nobody, "kept"),
}


def run_with(bug: str, seed: int, shape: str = "") -> Outcome:
    """The run of a seed with a bug planted."""
    plant, _ = BUGS[bug]
    with pytest.MonkeyPatch.context() as patch:
        plant(patch)
        drawn = world.drawing.draw
        patch.setattr(world.drawing, "draw", lambda *a: replace(drawn(*a), heal_ns=HEAL_NS))
        return run_seed(seed, shape)


if __name__ == "__main__":
    name, first, last = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    found = 0
    for number in range(first, last + 1):
        outcome = run_with(name, number)
        if outcome.violation is not None:
            print(  # noqa: T201 - the answer of a program
                name, number, outcome.options.shape, outcome.violation.checker, outcome.violation
            )
            found += 1
            if found == 4:
                break
