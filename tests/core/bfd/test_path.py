"""Two sessions over a path that loses, delays and drifts: seeded, and the same in each run."""

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haman.core.bfd.messages import Disabled, Reconfigured
from haman.core.bfd.packet import Diagnostic, SessionState
from tests.core.bfd.path import MS, Path, S, config, steady

SEEDS = range(10)


def lossy(path: Path, a: float, b: float, delay_ms: tuple[int, int] = (0, 5)) -> None:
    """Lose this share of what each end sends, and delay the rest."""
    rate = {"a": a, "b": b}

    def delay(sender: str) -> int | None:
        lost = path.random.random() < rate[sender]
        return None if lost else path.random.randint(*delay_ms) * MS

    path.delay_ns = delay


@pytest.mark.parametrize("seed", SEEDS)
def test_both_ends_come_up_poll_and_agree(seed):
    path = Path(config(50, 3), config(200, 4), seed)
    path.up()
    a, b = (path.ends[name].session.snapshot() for name in "ab")
    assert (a.tx_interval_ns, b.tx_interval_ns) == (200 * MS, 200 * MS)
    assert (a.detection_ns, b.detection_ns) == (4 * 200 * MS, 3 * 200 * MS)
    assert (a.polling, b.polling) == (False, False)
    assert a.remote_discriminator == b.local_discriminator


@pytest.mark.parametrize("seed", SEEDS)
def test_a_quiet_path_never_goes_down_and_keeps_to_the_rate(seed):
    path = Path(config(), config(), seed)
    lossy(path, 0, 0)
    path.up()
    began = path.now
    path.run(60 * S)
    assert path.downs() == 0
    for name in "ab":
        times = [at for at, _ in path.sent(name, began)]
        gaps = [later - earlier for earlier, later in pairwise(times)]
        assert min(gaps) >= 37.5 * MS
        assert max(gaps) <= 50 * MS
        assert 42 * MS < sum(gaps) / len(gaps) < 45.5 * MS  # evenly jittered


@pytest.mark.parametrize("seed", SEEDS)
def test_a_path_that_loses_a_tenth_comes_up_and_always_comes_back(seed):
    path = Path(config(), config(), seed)
    lossy(path, 0.1, 0.1)
    path.up(60 * S)
    path.run(60 * S)
    path.delay_ns = lambda _: 1 * MS
    path.until(lambda: path.states == ("up", "up"), 10 * S)
    before = path.downs()
    path.run(10 * S)
    assert path.downs() == before


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("deaf", ["a", "b"])
def test_a_path_that_is_dead_one_way_takes_both_ends_down(seed, deaf):
    """The deaf end finds out by time, the other by its word (section 6.8.6)."""
    path = Path(config(), config(), seed)
    path.up()
    other = "b" if deaf == "a" else "a"
    began = path.now
    path.delay_ns = lambda sender: None if sender == other else 1 * MS
    took = path.until(lambda: "up" not in path.states, 2 * S)
    assert 100 * MS <= took <= 155 * MS
    why = {name: path.ends[name].changes[-1] for name in "ab"}
    assert why[deaf][1].diagnostic is Diagnostic.DETECTION_TIME_EXPIRED
    assert why[other][1].diagnostic is Diagnostic.NEIGHBOR_SIGNALED_DOWN
    assert why[other][1].remote_diagnostic == Diagnostic.DETECTION_TIME_EXPIRED
    path.run(20 * S)
    assert "up" not in path.states  # half a path is none
    assert len(path.sent(deaf, began + 200 * MS)) < 30  # and slowly at that
    path.delay_ns = lambda _: 1 * MS
    path.up()


@pytest.mark.parametrize("seed", SEEDS)
def test_silence_is_detected_within_the_detection_time(seed):
    path = Path(config(), config(), seed)
    lossy(path, 0, 0)
    path.up()
    path.run(path.random.randint(0, 200) * MS)
    path.delay_ns = lambda _: None
    took = path.until(lambda: "up" not in path.states, S)
    assert 95 * MS <= took <= 156 * MS


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("drift", [0.95, 0.999, 1.001, 1.05])
def test_clocks_that_drift_do_not_matter(seed, drift):
    """The jitter that only shortens leaves room: 5 % is far more than any clock has."""
    path = Path(config(), config(), seed)
    path.ends["b"].drift = drift
    path.restart("b")
    path.up()
    path.run(30 * S)
    assert path.downs() == 0


@pytest.mark.parametrize("seed", SEEDS)
def test_an_end_that_restarts_is_noticed_by_its_word_and_comes_back(seed):
    path = Path(config(), config(), seed)
    path.up()
    path.restart("b", config(100, 5))
    seen = len(path.ends["a"].changes)
    path.run(5 * MS)  # well before the detection time
    assert path.ends["a"].changes[seen][1].diagnostic is Diagnostic.NEIGHBOR_SIGNALED_DOWN
    path.up()
    a, b = (path.ends[name].session.snapshot() for name in "ab")
    assert a.remote_discriminator == b.local_discriminator
    assert a.detection_ns == 500 * MS


def test_packets_for_the_session_before_the_restart_are_discarded():
    path = Path(config(), config())
    path.up()
    path.delay_ns = lambda sender: 1 * MS if sender == "a" else None
    path.restart("b")
    path.run(140 * MS)
    assert {d.reason for d in path.ends["b"].discarded} == {"your-discriminator"}


@pytest.mark.parametrize("seed", SEEDS)
def test_an_end_that_hangs_is_detected_and_both_come_back(seed):
    path = Path(config(), config(), seed)
    path.up()
    path.hang("b")
    took = path.until(lambda: path.states[0] == "down", S)
    assert took <= 155 * MS
    path.run(2 * S)
    path.resume("b")  # its socket is full of packets: the last of them say down
    (down,) = [c for _, c in path.ends["b"].changes if c.old is SessionState.UP]
    assert down.diagnostic is Diagnostic.NEIGHBOR_SIGNALED_DOWN
    path.up()


@pytest.mark.parametrize("seed", SEEDS)
def test_a_hang_shorter_than_detection_is_no_fault(seed):
    """An end that wakes late hears what waits in its socket before it looks at the time."""
    path = Path(config(), config(), seed)
    path.up()
    for _ in range(20):
        path.hang("b")
        path.run(90 * MS)
        path.resume("b")
        path.run(200 * MS)
    assert path.downs() == 0


@pytest.mark.parametrize("seed", SEEDS)
def test_intervals_change_on_both_ends_under_loss_without_a_down(seed):
    path = Path(config(200, 20), config(200, 20), seed)
    lossy(path, 0.2, 0.2)
    path.up(60 * S)
    for _ in range(20):
        name, interval_ms = path.random.choice("ab"), path.random.choice((20, 50, 300, 1000))
        path.ends[name].config = config(interval_ms, 20)
        path.tell(name, Reconfigured(path.ends[name].config))
        path.run(path.random.randint(1, 3000) * MS)
    path.run(60 * S)
    assert path.downs() == 0
    slower = max(path.ends[name].config.desired_min_tx_us for name in "ab")
    for name in "ab":
        state = path.ends[name].session.snapshot()
        assert (state.polling, state.tx_interval_ns) == (False, slower * 1000)


@pytest.mark.parametrize("seed", SEEDS)
def test_admin_down_ends_it_at_once_on_the_other_end(seed):
    path = Path(config(), config(), seed)
    path.up()
    path.tell("a", Disabled())
    path.run(2 * MS)
    assert path.states == ("admin-down", "down")
    last = path.ends["b"].changes[-1][1]
    assert last.diagnostic is Diagnostic.NEIGHBOR_SIGNALED_DOWN
    assert last.remote_diagnostic == Diagnostic.ADMINISTRATIVELY_DOWN
    path.run(30 * S)
    assert path.states == ("admin-down", "down")


@steady
@given(st.integers(0, 1 << 32))
def test_any_mischief_ends_with_both_ends_up(seed):
    """Two phases: faults of all kinds, then a path that works. The invariants hold throughout."""
    faults = random.Random(seed)
    path = Path(
        config(faults.choice((10, 50, 300)), faults.randint(1, 5)),
        config(faults.choice((10, 50, 300)), faults.randint(1, 5)),
        seed,
    )
    path.ends["b"].drift = faults.uniform(0.99, 1.01)
    path.restart("b")
    for _ in range(8):
        lossy(path, faults.random() ** 2, faults.random() ** 2, (0, faults.choice((1, 20, 400))))
        name = faults.choice("ab")
        match faults.randrange(4):
            case 0:
                path.restart(name)
            case 1:
                path.hang(name)
            case 2:
                path.ends[name].config = config(faults.choice((10, 50, 300)), faults.randint(1, 5))
                path.tell(name, Reconfigured(path.ends[name].config))
            case _:
                pass
        path.run(faults.randint(1, 1000) * MS)
        for each in "ab":
            path.resume(each)
    path.delay_ns = lambda _: 1 * MS
    path.run(S)  # what is still under way arrives, late and in a heap
    path.until(lambda: path.states == ("up", "up"), 10 * S)
    before = path.downs()
    path.run(5 * S)
    # Multiplier 1 at 10 ms leaves 1 ms beside the jitter; that is what the path takes.
    assert path.downs() == before
    assert path.states == ("up", "up")
