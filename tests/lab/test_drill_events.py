"""A drill for programs: what there is, and how one that is told line by line ends."""

import signal
import time
from pathlib import Path

import pytest

from haman.api import runs
from haman.cli.drill_events import DrillEvents, offers
from haman.lab.drill import read_drill
from tests.playbook.attending import Attending, attending

DRILLS = Path(__file__).parents[2] / "lab/drills"


def test_every_shipped_drill_is_offered(tmp_path: Path) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_text('name = "bad"\n')
    found = {o.name: o for o in offers([*sorted(DRILLS.glob("*.toml")), bad]).offers}
    crash = found["proxy-crash"]
    assert (crash.kind, crash.lab, crash.nodes, crash.problems) == ("drill", "pair", ("lb1",), ())
    assert "  +2 s  kill haproxy on lb1" in crash.words
    assert "  outage: at most 50 ms" in crash.words
    assert "  holder: web lb2" in crash.words
    assert found["bad"].problems
    assert all(not o.problems for name, o in found.items() if name != "bad")


def test_steps_are_told_as_they_are_taken() -> None:
    drill = read_drill(DRILLS / "proxy-crash.toml")
    with attending() as program:
        with DrillEvents(drill, program.into, program.out) as told:
            told.say("bringing the lab up")
            told.say("load: 500 new connections/s, 50 long-lived")
            told.say("SIGKILL to haproxy on lb1")
            told.healing()
        program.until(lambda: len(program.of(runs.Prepared)) == 2)
        assert [line.text for line in program.of(runs.Prepared)] == [
            "bringing the lab up",
            "healing the lab",
        ]
        assert [line.key for line in program.of(runs.Begun)] == ["load", "step/1", "judge"]
        ended = {line.key: line.text for line in program.of(runs.Ended)}
        assert ended["step/1"] == "SIGKILL to haproxy on lb1"
        assert set(ended) == {"load", "step/1", "judge"}


@pytest.mark.parametrize("how", ["stop", "leave"])
def test_it_is_interrupted_once_and_what_heals_is_let_be(how: str) -> None:
    drill = read_drill(DRILLS / "proxy-crash.toml")
    before = signal.getsignal(signal.SIGINT)
    healed: list[bool] = []

    def interrupted(program: Attending) -> None:
        with DrillEvents(drill, program.into, program.out):
            try:
                program.say(runs.Stop()) if how == "stop" else program.leave()
                time.sleep(30)  # ended by the interruption
            finally:
                program.leave()
                signal.raise_signal(signal.SIGINT)  # Ctrl-C, again
                healed.append(True)

    with attending() as program:
        with pytest.raises(KeyboardInterrupt):
            interrupted(program)
        program.until(lambda: program.of(runs.Finished))
        assert program.of(runs.Finished)[0].verdict == "interrupted"
    assert healed
    assert signal.getsignal(signal.SIGINT) is before
