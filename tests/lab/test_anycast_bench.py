"""The anycast benchmark's arithmetic, its labs and its table; its figures are not tests."""

import msgspec
import pytest

from haman.lab import anycast_bench as bench
from haman.lab.anycast_peers import BIRD, DEFAULTS, EXABGP, HAMAN, SWIFT
from haman.lab.anycast_table import standing, to_markdown
from haman.lab.cost import Cost
from haman.lab.drill import Expect
from tests.lab.test_verdict import ALL, FAULT, MS, REST, record, routed


def test_what_a_record_says_counts_from_the_fault() -> None:
    whole = msgspec.structs.replace(
        record(Expect()), routes=routed((0, ALL), (FAULT + 20 * MS, REST))
    )
    seen = bench.seen_in(whole, silent=False)
    assert seen.route_ms == 20
    assert seen.failing_ms == 9
    assert (seen.failed, seen.tried) == (10, 300)


def test_a_silence_counts_from_the_end_of_its_command() -> None:
    whole = msgspec.structs.replace(
        record(Expect()), routes=routed((0, ALL), (FAULT + 20 * MS, REST))
    )
    seen = bench.seen_in(whole, silent=True)
    assert (seen.route_ms, seen.failing_ms) == (19, 8)


def test_a_route_that_stays_is_never() -> None:
    whole = msgspec.structs.replace(record(Expect()), routes=routed((0, ALL)))
    assert bench.seen_in(whole, silent=False).route_ms is None


def names(announcer: bench.Announcer) -> dict[tuple[bool, bool], list[str]]:
    """The trials of each lab of an agent, by BFD and whether the check is the swift one."""
    found = bench.labs(announcer, bench.TRIALS)
    return {(bfd, check == SWIFT): [t.name for t in each] for (bfd, check), each in found.items()}


def named(announcer: bench.Announcer) -> set[str]:
    return {name for found in names(announcer).values() for name in found}


def test_every_agent_is_measured_with_bfd_if_it_can_and_without() -> None:
    assert names(HAMAN) == names(BIRD)
    assert set(names(HAMAN)) == {(True, True), (False, True)}
    assert names(HAMAN)[False, True] == ["node silent, no BFD, hold time 9 s"]
    assert "proxy killed, healthcheck at its defaults" not in named(HAMAN)


def test_exabgp_has_no_bfd_and_its_defaults_are_measured_beside() -> None:
    assert set(names(EXABGP)) == {(False, True), (False, False)}
    assert names(EXABGP)[False, False] == ["proxy killed, healthcheck at its defaults"]
    assert "node silent, BFD 3 × 50 ms" not in named(EXABGP)
    assert {check for _, check in bench.labs(EXABGP, bench.TRIALS)} == {SWIFT, DEFAULTS}


@pytest.mark.parametrize("announcer", bench.ANNOUNCERS, ids=lambda a: a.name)
def test_a_step_is_in_the_words_of_the_agent(announcer: bench.Announcer) -> None:
    by_name = {trial.name: trial.step(announcer, 1.0) for trial in bench.TRIALS}
    assert by_name["agent killed (-9)"].process == announcer.main
    assert by_name["proxy killed"].process == "haproxy"
    drained = by_name[bench.DRAINED]
    if announcer is HAMAN:
        assert (drained.fault, drained.commands) == ("drain", ())
    else:
        assert (drained.fault, drained.undo) == ("run", (announcer.undrain,))


def seen(*route_ms: float | None, failed: int = 0, lost: int = 0) -> tuple[bench.Seen, ...]:
    return tuple(bench.Seen(each, (each or 0) / 2, failed, 1000, lost, 300) for each in route_ms)


def test_the_table_shows_medians_ranges_and_sums_and_who_is_behind() -> None:
    found = {
        "proxy killed": {
            "ExaBGP": seen(400.0, 600.0),
            "BIRD": seen(70.0),
            "haman": seen(60.0, 80.0),
        },
        bench.DRAINED: {"BIRD": seen(50.0, lost=7), "haman": seen(200.0, 220.0)},
        "node silent": {"haman": seen(None, 300.0)},
    }
    costs = {"BIRD": Cost(0.1, 4.2), "haman": Cost(2.5, 98.0)}
    table = bench.Table({"BIRD": (20.0,), "haman": (70.0, 75.0, 72.0)}, found, costs)
    lines = to_markdown(table).splitlines()[2:]
    first = "| 500.0 ms (400.0–600.0, n = 2) | 70.0 ms (70.0–70.0, n = 1) | 70.0 ms (60.0–80.0, n = 2) |"
    assert lines[0].endswith(f"{first} even with BIRD; ahead of ExaBGP |")
    assert lines[2].endswith("| 210.0 ms (200.0–220.0, n = 2) | **behind** BIRD |")
    assert lines[3].endswith("| – | 0 of 1,000 | 0 of 2,000 | even with BIRD |")
    assert lines[4].endswith("| – | 7 of 300 | 0 of 600 | ahead of BIRD |")
    assert lines[5].endswith("| – | – | 300.0 ms (300.0–300.0, n = 2); never: 1 | – |")
    assert lines[7].endswith(
        "| – | 20.0 ms (20.0–20.0, n = 1) | 72.0 ms (70.0–75.0, n = 3) | **behind** BIRD |"
    )
    assert lines[8] == "| CPU at rest, of a core | – | 0.10 % | 2.50 % | **behind** BIRD |"
    assert lines[9] == "| memory at rest (PSS) | – | 4 MB | 98 MB | **behind** BIRD |"


def test_what_never_came_is_later_than_anything() -> None:
    assert standing({"haman": (None,), "BIRD": (9000.0,)}) == "**behind** BIRD"
    assert standing({"haman": (9000.0,), "BIRD": (None, None)}) == "ahead of BIRD"
    assert standing({"BIRD": (1.0,)}) == standing({"haman": (1.0,)}) == "–"
