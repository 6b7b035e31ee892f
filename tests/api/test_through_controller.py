"""What real controllers know of anycast, as machines and people see it."""

from pathlib import Path

from haman.api import schema, view
from haman.api.metrics import Metrics
from haman.api.why import why
from haman.controller.controller import Controller
from haman.core.words import Stance
from tests.api.test_metrics import samples
from tests.cluster.pair import until
from tests.controller.test_anycast import both, knows


def edge(controller: Controller) -> schema.Service:
    (service,) = view.status(controller.snapshot(), controller.config).services
    return service


async def test_a_drain_as_both_nodes_see_it(tmp_path: Path) -> None:
    async with both(tmp_path) as (lb1, lb2):
        await until(lambda: edge(lb1.controller).holders == ("lb1", "lb2"))
        service = edge(lb1.controller)
        assert (service.state, service.expected, service.mode) == ("ok", 2, "active-active")
        assert [(m.share, m.routers) for m in service.members] == [(0.5, 2), (0.5, 2)]
        await lb1.controller.drain("", force=True)
        await until(lambda: knows(lb2, "lb1", Stance.WITHDRAWN))
        service = edge(lb2.controller)
        assert (service.state, service.holders, service.expected) == ("degraded", ("lb2",), 1)
        found = why(
            lb2.controller.snapshot(), lb2.controller.config, lb1.controller.events(-50, 50), "edge"
        )
        assert found is not None
        assert "lb1 is withdrawn since" in found.members[1].text
        assert "drained by the operator" in found.members[1].text
        metrics = Metrics(lb1.controller.snapshot)
        for entry in lb1.controller.events(-50, 50):
            metrics.count(entry)
        told = samples(metrics)
        assert told["haman_anycast_weight", "service=edge"] == 0
        assert told["haman_anycast_stance", "service=edge,stance=withdrawn"] == 1
        ladder = {labels for name, labels in told if name == "haman_transitions_total"}
        assert any("to=shut" in labels for labels in ladder)
        assert any("to=withdrawn" in labels for labels in ladder)
