"""What is used without clients, learnt while there are none."""

from haman.core.baseline import SETTLED_NS, Baseline
from haman.core.words import Utilization

S = 1_000_000_000


def cpu(used: float | None) -> tuple[Utilization, ...]:
    return (Utilization("cpu", used, 1.0, "cores"),)


def test_nothing_is_known_until_it_was_quiet_for_long() -> None:
    baseline = Baseline()
    baseline.add(cpu(0.5), 0, 0)
    baseline.add(cpu(0.1), 0, SETTLED_NS - 1)
    assert baseline.known == {}
    baseline.add(cpu(0.2), 0, SETTLED_NS)
    assert baseline.known == {"cpu": 0.1}


def test_a_client_ends_the_quiet_spell_and_a_probe_does_not() -> None:
    baseline = Baseline()
    baseline.add(cpu(0.3), 0, 0)
    baseline.add(cpu(0.01), 1, 30 * S)  # perhaps a probe, perhaps a client: tells nothing
    baseline.add(cpu(0.3), 0, 61 * S)
    assert baseline.known == {"cpu": 0.3}
    for clients in (2, None):
        again = Baseline()
        again.add(cpu(0.3), 0, 0)
        again.add(cpu(0.9), clients, 30 * S)
        again.add(cpu(0.3), 0, 61 * S)
        assert again.known == {}


def test_what_was_learnt_lasts_while_clients_are_there() -> None:
    baseline = Baseline()
    baseline.add(cpu(0.2), 0, 0)
    baseline.add(cpu(0.2), 0, SETTLED_NS)
    baseline.add(cpu(0.9), 500, 2 * SETTLED_NS)
    assert baseline.known == {"cpu": 0.2}
    baseline.add(cpu(0.7), 0, 3 * SETTLED_NS)  # load that has just gone is no base
    assert baseline.known == {"cpu": 0.2}


def test_what_is_unknown_is_not_learnt() -> None:
    baseline = Baseline()
    baseline.add(cpu(None), 0, 0)
    baseline.add(cpu(None), 0, SETTLED_NS)
    assert baseline.known == {}
