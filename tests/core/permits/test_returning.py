"""A node that comes back only looks idle; found by the simulation (seed 20055)."""

import pytest

from haman.core.announcements import AnycastReport
from haman.core.permits.consent import OwnMoves, room
from haman.core.permits.messages import Ask, PermitId
from haman.core.permits.scene import Scene
from haman.core.permits.standing import PermitSettings
from haman.core.reports import NodeReport, PeerView
from haman.core.words import Condition, Reason, Stance


def report(node: str, stance: Stance, weight: int) -> NodeReport:
    said = AnycastReport("edge", stance, weight, 100, 0, neighbors_up=1)
    return NodeReport(node, "", "1", Condition.IN_SERVICE, anycast=(said,))


def asked(stance: Stance, weight: int, share: float) -> Reason | None:
    peer = PeerView("lb1", report("lb1", Stance.FULL, 100), 10.0, fresh=True)
    scene = Scene(report("lb2", stance, weight), (peer,))
    found = room("lb1", Ask(PermitId(1, 1), "edge", share, 18), scene, OwnMoves(), PermitSettings())
    return found if isinstance(found, Reason) else found.reason


@pytest.mark.parametrize(
    ("stance", "weight"), [(Stance.REDUCED, 25), (Stance.SHUT, 100), (Stance.WITHDRAWN, 0)]
)
def test_a_node_on_its_way_up_has_no_room_to_give(stance: Stance, weight: int) -> None:
    found = asked(stance, weight, 0.2)
    assert found is not None
    assert found.code == "returning"
    assert "lb2 is" in found.text


def test_it_consents_to_what_brings_it_nothing() -> None:
    found = asked(Stance.REDUCED, 25, 0.0)
    assert found is not None
    assert found.code == "no-share"


def test_a_node_at_its_full_weight_is_judged_by_its_load() -> None:
    found = asked(Stance.FULL, 100, 0.2)
    assert found is not None
    assert found.code != "returning"
