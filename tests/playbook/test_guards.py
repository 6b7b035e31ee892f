"""Who may leave, who came back, and what is worse: compared with the cluster as it was."""

import pytest
from msgspec.structs import replace

from haman.api import schema
from haman.playbook.guards import last_resort, may_leave, missing, stranded, worse
from tests.playbook.books import FakeCluster

NODES = ("lb1", "lb2", "lb3")


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster(NODES)


def loss(verdict: str = "ok") -> schema.Scenario:
    return schema.Scenario(("lb1",), verdict)


def test_a_node_may_leave_where_all_others_serve(cluster: FakeCluster) -> None:
    assert may_leave(cluster.status("lb2"), "lb1", loss(), (), force=False) == []


def test_never_two_nodes_at_once(cluster: FakeCluster) -> None:
    cluster.drained = {"lb2"}
    (why,) = may_leave(cluster.status("lb3"), "lb1", loss(), (), force=True)
    assert why == "lb2 is drained, and never two nodes are out at once"
    assert may_leave(cluster.status("lb3"), "lb1", loss(), ("lb2",), force=False) == []


def test_never_below_n_minus_1_unless_forced(cluster: FakeCluster) -> None:
    (why,) = may_leave(cluster.status("lb2"), "lb1", loss("insufficient"), (), force=False)
    assert "--force goes below N−1" in why
    assert may_leave(cluster.status("lb2"), "lb1", loss("insufficient"), (), force=True) == []


def test_not_from_a_service_that_is_down(cluster: FakeCluster) -> None:
    cluster.faulty = set(NODES)
    assert "edge is down" in may_leave(cluster.status("lb2"), "lb1", loss(), (), force=True)


def test_a_stranger_may_not_leave(cluster: FakeCluster) -> None:
    assert may_leave(cluster.status("lb1"), "lb9", loss(), (), force=True) == [
        "lb1 knows no node lb9"
    ]


def test_the_node_at_work_explains_itself_and_others_do_not(cluster: FakeCluster) -> None:
    before = cluster.status("lb1")
    cluster.drained = {"lb1"}
    assert worse(before, cluster.status("lb2"), ("lb1",), settled=False) == []
    cluster.faulty = {"lb3"}
    assert worse(before, cluster.status("lb2"), ("lb1",), settled=False) == ["lb3 is fault"]


def test_who_was_drained_before_need_not_stand_by(cluster: FakeCluster) -> None:
    """Of a site that comes back the first node has no standby until the second is undrained."""
    cluster.drained = {"lb1", "lb2"}
    before = cluster.status("lb3")
    cluster.drained = {"lb1"}
    now = cluster.status("lb3")
    now = replace(now, services=tuple(replace(s, state="degraded") for s in now.services))
    assert worse(before, now, (), settled=True) == []
    cluster.drained = set()
    healed = replace(cluster.status("lb3"), services=now.services)
    assert worse(before, healed, (), settled=True) == ["edge is degraded"]


def test_whom_a_drained_node_serves_on(cluster: FakeCluster) -> None:
    cluster.vip = ("lb1", "lb2")
    assert stranded(cluster.status("lb3"), ("lb1",)) == []
    assert stranded(cluster.status("lb3"), ("lb1", "lb2")) == ["web"]
    for node in cluster.vip:
        assert last_resort(cluster.status("lb3"), "lb1") == []
        cluster.drained.add(node)
        cluster.wishes.append(("drain", node))
    assert last_resort(cluster.status("lb3"), "lb1") == []
    assert last_resort(cluster.status("lb3"), "lb2") == ["web"]


def test_what_was_bad_before_is_not_the_runs_doing(cluster: FakeCluster) -> None:
    cluster.faulty = {"lb3"}
    before = cluster.status("lb1")
    assert worse(before, cluster.status("lb1"), (), settled=True) == []


def test_a_node_that_fills_up_while_another_is_out_is_worse(cluster: FakeCluster) -> None:
    before = cluster.status("lb1")
    cluster.drained = {"lb1"}
    now = changed(cluster.status("lb2"), "lb2", condition="saturated")
    assert worse(before, now, ("lb1",), settled=False) == ["lb2 is saturated"]


def test_a_new_critical_alert_is_worse_and_a_known_one_is_not(cluster: FakeCluster) -> None:
    before = cluster.status("lb1")
    alert = schema.Alert("conflict", "critical", "web is on two nodes", "", service="web")
    now = schema_with(before, alerts=(alert,))
    assert worse(before, now, (), settled=True) == ["web is on two nodes"]
    assert worse(now, now, (), settled=True) == []


def test_that_a_pair_has_no_spare_while_one_is_out_is_no_surprise(cluster: FakeCluster) -> None:
    before = cluster.status("lb1")
    alerts = tuple(
        schema.Alert(code, "critical", code, "", node="") for code in ("n-minus-1", "isolated")
    )
    now = changed(schema_with(before, alerts=alerts), "lb2", condition="isolated")
    assert worse(before, now, ("lb1",), settled=False) == []
    assert worse(before, now, (), settled=True) == ["lb2 is isolated", "isolated"]


def test_who_came_back_serves_as_before(cluster: FakeCluster) -> None:
    before = cluster.status("lb1")
    assert missing(before, before, "lb1") == []
    cluster.drained = {"lb1"}
    assert missing(before, cluster.status("lb2"), "lb1") == [
        "lb1 is drained",
        "lb1 is withdrawn of edge, not full",
    ]


def changed(status: schema.Status, name: str, **more: object) -> schema.Status:
    nodes = tuple(replace(n, **more) if n.name == name else n for n in status.nodes)
    return replace(status, nodes=nodes)


def schema_with(status: schema.Status, **more: object) -> schema.Status:
    return replace(status, **more)
