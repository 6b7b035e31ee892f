"""The exposition, as Prometheus's own parser reads it."""

from dataclasses import replace

from prometheus_client.parser import text_string_to_metric_families

from haman.api.metrics import TRANSITIONS_MAX, Metrics
from haman.controller.surface import JournalEntry
from haman.core.reports import PermitReport
from haman.core.words import Event, Reason, Stance
from tests.api.fake_agent import FakeAgent
from tests.api.fake_anycast import BUSY, DRAINED, anycast, router_down


def samples(metrics: Metrics) -> dict[tuple[str, str], float]:
    found = {}
    for family in text_string_to_metric_families(metrics.render().decode()):
        for sample in family.samples:
            labels = ",".join(f"{k}={v}" for k, v in sorted(sample.labels.items()))
            assert (sample.name, labels) not in found
            found[sample.name, labels] = sample.value
    return found


def role_changed(to: str, reason: str) -> JournalEntry:
    event = Event(
        "role-changed", 1, "x", "web", (Reason(reason, "x"),), {"old": "backup", "new": to}
    )
    return JournalEntry(1, "lb1", event)


def test_the_contracts_names() -> None:
    agent = FakeAgent()
    metrics = Metrics(agent.snapshot)
    metrics.count(role_changed("active", "timeout"))
    metrics.count(role_changed("active", "timeout"))
    metrics.count(agent.emit("peer-lost", "lb2 was lost"))
    found = samples(metrics)
    for key, value in {
        ("haman_node_condition", "condition=in-service"): 1,
        ("haman_node_condition", "condition=fault"): 0,
        ("haman_resource_utilization", "resource=cpu"): 0.41,
        ("haman_resource_used", "resource=fds"): 900,
        ("haman_resource_ceiling", "resource=fds"): 20_000,
        ("haman_vip_active", "vip=web"): 1,
        ("haman_transitions_total", "reason=timeout,service=web,to=active"): 2,
        ("haman_headroom_utilization", "lost=lb1"): 0.82,
        ("haman_vrrp_advertisements_total", "direction=sent"): 41,
        ("haman_vrrp_errors_total", "reason=checksum"): 2,
        ("haman_engine_events_total", "name=netlink_overruns"): 1,
        ("haman_peer_report_age_seconds", "peer=lb2"): 0.12,
        ("haman_engine_lateness_seconds_bucket", "le=0.001"): 90,
        ("haman_engine_lateness_seconds_bucket", "le=+Inf"): 100,
        ("haman_engine_lateness_seconds_count", ""): 100,
        ("haman_engine_lateness_seconds_sum", ""): 0.05,
    }.items():
        assert found[key] == value, key
    assert any(name == "haman_info" and "node=lb1" in labels for name, labels in found)
    assert len([k for k in found if k[0] == "haman_transitions_total"]) == 1


def test_anycast() -> None:
    agent = anycast()
    metrics = Metrics(agent.snapshot)
    found = samples(metrics)
    for key, value in {
        ("haman_anycast_weight", "service=edge"): 100,
        ("haman_anycast_stance", "service=edge,stance=full"): 1,
        ("haman_anycast_stance", "service=edge,stance=shut"): 0,
        ("haman_anycast_routers", "service=edge"): 2,
        ("haman_bgp_session_up", "neighbor=tor1"): 1,
        ("haman_bfd_state", "peer=tor1"): 3,
        ("haman_exabgp_up", ""): 1,
        ("haman_exabgp_starts_total", ""): 1,
    }.items():
        assert found[key] == value, key
    agent.announce("lb1", Stance.REDUCED, BUSY, weight=50)
    router_down(agent, "lb1", "tor1")
    found = samples(Metrics(lambda: replace(agent.snapshot(), bgp_counters={"acks_late": 3})))
    assert found["haman_bgp_events_total", "name=acks_late"] == 3
    assert found["haman_anycast_weight", "service=edge"] == 50
    assert found["haman_anycast_stance", "service=edge,stance=reduced"] == 1
    assert found["haman_anycast_routers", "service=edge"] == 1
    assert found["haman_bgp_session_up", "neighbor=tor1"] == 0
    assert found["haman_bfd_state", "peer=tor1"] == 1
    assert found["haman_bfd_state", "peer=tor2"] == 3


def test_stances_are_counted() -> None:
    agent = anycast()
    metrics = Metrics(agent.snapshot)
    agent.announce("lb1", Stance.REDUCED, BUSY, weight=50)
    agent.announce("lb1", Stance.SHUT, DRAINED)
    for entry in agent.events(0, 10):
        metrics.count(entry)
    vip = Event("stance-changed", 1, "x", "web", data={"contend": 1, "priority": 100})
    metrics.count(JournalEntry(9, "lb1", vip))
    found = samples(metrics)
    assert {labels: n for (name, labels), n in found.items() if name.startswith("haman_trans")} == {
        "reason=saturated,service=edge,to=reduced": 1,
        "reason=drained,service=edge,to=shut": 1,
    }


def test_what_is_unknown_is_absent() -> None:
    agent = FakeAgent()
    agent.engine_alive = False
    agent.never_heard("lb2")
    found = {name for name, _ in samples(Metrics(agent.snapshot))}
    assert "haman_vrrp_advertisements_total" not in found
    assert "haman_engine_lateness_seconds_count" not in found
    assert "haman_peer_report_age_seconds" not in found
    assert "haman_peer_fresh" in found


def test_labels_are_bounded() -> None:
    metrics = Metrics(FakeAgent().snapshot)
    for number in range(TRANSITIONS_MAX + 50):
        metrics.count(role_changed("active", f"reason-{number}"))
    found = samples(metrics)
    keys = [k for k in found if k[0] == "haman_transitions_total"]
    assert len(keys) == TRANSITIONS_MAX + 1
    assert found["haman_transitions_total", "reason=other,service=web,to=active"] == 50


def test_permits_are_counted_by_outcome_and_reason() -> None:
    agent = FakeAgent()
    own = replace(agent.snapshot().own, permits=PermitReport(sheds=("edge",)))
    counts = {("granted", ""): 2, ("denied", "permit-denied"): 3}
    found = samples(Metrics(lambda: replace(agent.snapshot(), own=own, permit_counts=counts)))
    assert found["haman_permits_total", "outcome=granted,reason="] == 2
    assert found["haman_permits_total", "outcome=denied,reason=permit-denied"] == 3
    assert found["haman_shedding", "service=edge"] == 1
