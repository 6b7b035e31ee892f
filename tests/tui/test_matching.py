"""Filters and searches, what passes them, and what is written of it."""

import csv
import io

import pytest

from tests.tui import samples
from tui.export import as_text, export
from tui.matching import event_matches
from tui.picture import picture
from tui.trends import SAMPLES_MAX, Trends, sampled
from tui.views.type import sparkline

EVENT = samples.events(2)[1]  # lb1 role-changed web "backup → active"


@pytest.mark.parametrize(
    ("query", "matches"),
    [
        ("", True),
        ("ACTIVE web", True),
        ("active api", False),
        ("-api", True),
        ("-web", False),
        ("node:lb1 s:web type:role", True),
        ("node:lb2", False),
        ("-node:lb2", True),
        ("text:web", False),
        ("a:b:c", False),
        ("-", True),
        ("::", False),
        ("node:", True),
    ],
)
def test_events(query, matches):
    assert event_matches(query, EVENT) is matches


@pytest.mark.parametrize(
    ("query", "nodes", "services", "found"),
    [
        ("", 3, 2, True),
        ("fault", 1, 2, True),
        ("api", 3, 1, True),
        ("lb1", 1, 2, True),
        ("-lb1 -lb2", 1, 2, True),
        ("nonsense", 3, 2, False),
        ("degraded", 3, 2, True),
    ],
)
def test_the_fleet(query, nodes, services, found):
    seen = picture(samples.troubled(), query)
    assert (len(seen.nodes), len(seen.services), seen.found) == (nodes, services, found)


def test_nodes_stand_in_the_order_of_their_names_whoever_answers():
    nodes = tuple(samples.node(n) for n in ("lb10", "lb9", "edge-2b", "edge-2a"))
    seen = picture(samples.pair(nodes=nodes))
    assert [n.name for n in seen.nodes] == ["edge-2a", "edge-2b", "lb9", "lb10"]


def test_export_as_csv_and_text(tmp_path):
    rows = list(csv.reader(io.StringIO(as_text(samples.events(3), ".csv"))))
    assert rows[0][:3] == ["seq", "at", "node"]
    assert rows[2][3:6] == ["role-changed", "web", "backup → active"]
    assert (
        as_text((EVENT,), "") == "2026-11-20T10:00:01Z  lb1  web  role-changed  backup → active\n"
    )
    assert export((EVENT,), str(tmp_path / "no" / "such")) == (
        f"{tmp_path}/no/such: No such file or directory",
        False,
    )
    assert export((EVENT,), " ") == ("no file is named", False)


class TestTrends:
    def test_one_sample_a_second_and_a_minute_of_them(self):
        trends = Trends()
        for step in range(200):
            trends = sampled(trends, samples.pair(), step * 0.5)
        assert len(trends.of("lb1", "tls")) == SAMPLES_MAX
        assert trends.of("lb9", "tls") == ()

    def test_a_node_that_is_not_heard_has_a_gap(self):
        stale = samples.pair(nodes=(samples.node("lb1", condition="stale"),))
        trends = sampled(sampled(Trends(), samples.pair(), 0), stale, 1)
        assert trends.of("lb1", "tls") == (0.47, None)
        assert trends.of("lb2", "tls") == ()

    @pytest.mark.parametrize(
        ("trend", "width", "drawn"),
        [
            ((), 3, "   "),
            ((0.0, 0.5, 1.0), 3, "▁▅█"),
            ((0.2, None, 7.0), 4, " ▂ █"),
            ((0.5,), 0, ""),
        ],
    )
    def test_sparkline(self, trend, width, drawn):
        assert sparkline(trend, width) == drawn
