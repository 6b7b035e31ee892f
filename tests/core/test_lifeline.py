"""When the engine may call the proxy dead without being told."""

import pytest

from haman.core.facts import ServingProxy
from haman.core.lifeline import Lifeline
from haman.core.processes import ProcessId

ONE, OTHER = ProcessId(101, 7), ProcessId(102, 7)
SERVING = ServingProxy((ONE, OTHER), 443)


@pytest.fixture
def lifeline() -> Lifeline:
    declared = Lifeline()
    assert declared.declare(SERVING)
    return declared


def test_only_the_end_of_the_last_one_is_a_death(lifeline: Lifeline) -> None:
    assert not lifeline.ended(ONE, listens=False)
    assert lifeline.alive == {OTHER}
    assert not lifeline.dead
    assert lifeline.ended(OTHER, listens=False)
    (reason,) = lifeline.dead
    assert reason.code == "proxy-died"
    assert reason.text == (
        "the proxy died: all 2 processes that served ended, and nobody listens on port 443"
    )


def test_where_somebody_listens_it_was_a_reload(lifeline: Lifeline) -> None:
    lifeline.ended(ONE, listens=True)
    assert not lifeline.ended(OTHER, listens=True)
    assert not lifeline.dead
    successor = ServingProxy((ProcessId(103, 9),), 443)
    assert lifeline.declare(successor)
    assert lifeline.ended(ProcessId(103, 9), listens=False)
    assert "process 103 ended" in lifeline.dead[0].text


def test_the_dead_stay_dead_until_others_are_declared(lifeline: Lifeline) -> None:
    for process in SERVING.processes:
        lifeline.ended(process, listens=False)
    assert not lifeline.declare(SERVING)  # said before they died
    assert lifeline.dead
    assert lifeline.declare(
        ServingProxy((ProcessId(101, 9),), 443)
    )  # the same pid, another process
    assert not lifeline.dead


def test_who_watches_nothing_knows_of_no_death(lifeline: Lifeline) -> None:
    for process in SERVING.processes:
        lifeline.ended(process, listens=False)
    assert lifeline.declare(None)
    assert not lifeline.dead
    assert not lifeline.ended(ONE, listens=False)
    assert (lifeline.alive, lifeline.port) == (frozenset(), 0)
