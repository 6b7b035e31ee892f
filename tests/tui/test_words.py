"""Figures, sentences and plans."""

import pytest
from textual.content import Content

from haman.api.schema import Headroom, Reason, Scenario, Worst
from tests.tui import samples
from tui.fleet import Cursor
from tui.plans import drain_plan, failover_plan
from tui.views import type as typography
from tui.views.lists import alerts_view
from tui.views.matrix import header, layout, rows
from tui.views.node import node_view
from tui.views.words import loss, mode


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (0.4, "0s"), (59.9, "59s"), (60, "1m"), (3599, "59m"), (7300, "2h"), (90000, "1d")],
)
def test_ages_have_one_unit(seconds, text):
    assert typography.age(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "?"),
        (0.41, "0.41"),
        (12.34, "12.3"),
        (9321, "9,321"),
        (84210, "84.2k"),
        (3e9, "3.0G"),
    ],
)
def test_figures_are_short(value, text):
    assert typography.figure(value) == text


@pytest.mark.parametrize(
    ("name", "width", "text"),
    [
        ("lb1", 5, "lb1  "),
        ("edge-proxy-07", 10, "edge…xy-07"),
        ("edge-proxy-07", 5, "edge…"),
        ("lb1", 0, ""),
    ],
)
def test_names_are_cut_so_that_they_still_differ(name, width, text):
    assert typography.fit_name(name, width) == text


def test_an_instant_that_is_none_is_dashes_not_a_crash():
    assert typography.clock("soon") == "--:--:--"
    assert typography.since("soon", samples.AT) == ""


class TestBar:
    @pytest.mark.parametrize(
        ("ratio", "drawn"),
        [
            (0.0, "────────"),
            (0.5, "━━━━────"),
            (0.56, "━━━━╸───"),
            (1.0, "━━━━━━━━"),
            (1.4, "━━━━━━━━"),
            (None, "┄┄┄┄┄┄┄┄"),
        ],
    )
    def test_it_is_readable_without_colour(self, ratio, drawn):
        assert typography.bar(ratio, 8).plain == drawn

    def test_thresholds_are_ticks(self):
        assert typography.bar(0.1, 10, 0.75, 0.9).plain == "━──────┴─┴"
        assert typography.bar(0.8, 10, 0.75, 0.9).plain == "━━━━━━━┻─┴"

    @pytest.mark.parametrize(
        ("ratio", "style"),
        [(0.2, "$success"), (0.75, "$warning"), (0.9, "$error"), (None, "$quiet")],
    )
    def test_heat(self, ratio, style):
        assert typography.heat(ratio, None, None) == style

    def test_a_node_may_have_its_own_thresholds(self):
        assert typography.heat(0.6, 0.5, 0.55) == "$error"


def test_text_wraps_under_itself():
    wrapped = typography.paragraph(Content("lead "), "alpha beta gamma", 16, indent=2)
    assert wrapped.plain == "lead alpha beta\n  gamma"


class TestLoss:
    def test_the_worst_case_in_words(self):
        assert loss(samples.pair(), 70) == "if lb1 is lost, lb2 reaches 93 % of tls"

    def test_phase_and_connections_when_known(self):
        worst = Worst(("lb1", "lb2"), "lb3", "tls", "storm", 1.18)
        scenario = Scenario(("lb1", "lb2"), "insufficient", survivable_connections=5200)
        status = samples.pair(headroom=Headroom("insufficient", worst, (scenario,)))
        assert loss(status, 90) == (
            "if lb1 and lb2 are lost, lb3 reaches 118 % of tls (storm); "
            "5,200 connections can be survived"
        )

    def test_an_unknown_survivor_is_unknown(self):
        status = samples.pair(headroom=Headroom("unknown", Worst(("lb1",), "lb2", "", "", None)))
        assert loss(status, 70) == "if lb1 is lost, lb2: its load is unknown"

    def test_a_survivor_that_is_not_heard(self):
        worst = Worst(("lb2",), "lb1", "", "steady", 1.0)
        assert loss(samples.pair(headroom=Headroom("insufficient", worst)), 70) == (
            "if lb2 is lost, lb1 would have to serve, and it is not heard"
        )

    def test_nobody_left(self):
        assert loss(samples.troubled(), 90) == (
            "if lb2 is lost, no other node can serve web and api"
        )

    def test_no_case_but_a_reason(self):
        why = Reason("peer-stale", "lb2 has not been heard for 41 s")
        scenario = Scenario(("lb1",), "unknown", reasons=(why,))
        assert loss(samples.pair(headroom=Headroom("unknown", None, (scenario,))), 70) == why.text

    def test_names_give_way_to_the_figure(self):
        text = loss(samples.fleet(), 60)
        assert text == "if edge…nit05 is lost, edge…nit06 reaches 71 % of cpu"

    def test_alone(self):
        assert loss(samples.single(), 70) == "lb1 is alone: nothing serves if it is lost"


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (samples.pair(mode="active-passive"), "active-passive"),
        (samples.pair(mode=""), "active-active"),
        (samples.pair(mode="", services=samples.pair().services[:1]), "active-passive"),
        (samples.single(), "no services"),
    ],
)
def test_mode(status, text):
    assert mode(status) == text


class TestMatrix:
    @pytest.mark.parametrize("width", [40, 78, 116, 196])
    @pytest.mark.parametrize(
        "status", [samples.pair(), samples.troubled(), samples.single(), samples.fleet()]
    )
    def test_rows_fit_their_width(self, status, width):
        cursor = Cursor(status.nodes[0].name)
        assert header(status, cursor, width).cell_length <= max(width, 64)
        for row in rows(status, cursor, width, active=True):
            assert row.cell_length <= max(width, 64)

    def test_role_and_condition_are_words(self):
        text = [r.plain for r in rows(samples.troubled(), Cursor("lb1"), 116, active=True)]
        assert "fault" in text[0]
        assert "released" in text[0]
        assert "saturated" in text[1]
        assert "active     100" in text[1]
        assert "unknown" in text[2]
        assert "0 %" not in text[2]

    def test_the_cursors_service_is_in_sight(self):
        status = samples.fleet()
        plan = layout(status, Cursor(status.nodes[0].name, "checkout"), 78)
        assert plan.first + plan.shown == 6
        shown = header(status, Cursor(status.nodes[0].name, "checkout"), 78).plain
        assert "‹4" in shown
        assert "checkout" in shown

    def test_a_service_in_trouble_says_so(self):
        assert "▲ web degraded" in header(samples.troubled(), Cursor("lb1"), 116).plain


def test_an_anycast_service_shows_stance_and_weight():
    status = samples.anycast()
    text = [r.plain for r in rows(status, Cursor("lb2", "edge"), 116, active=True)]
    assert "◆ full       100" in text[0]
    assert "◈ reduced     50" in text[1]
    about = node_view(status, status.nodes[1], status.services[0], 90).plain
    assert "reduced for edge  weight 50  for 1m  192.0.2.100/32, 2001:db8::100/128" in about


def test_draining_an_announcer_of_several():
    effects = drain_plan(samples.anycast(), "lb2").effects
    assert effects[0] == "edge: withdrawn here, still announced by lb1."


def test_alerts_are_sorted_by_severity_then_age():
    texts = alerts_view(samples.troubled(), 90).plain.splitlines()
    assert [t.split()[1] for t in texts] == ["critical", "critical", "critical", "warning"]
    assert "lb3" in texts[0]


def test_a_severity_of_a_newer_agent_comes_last():
    status = samples.troubled()
    odd = type(status.alerts[0])("x", "notice", "something", samples.AT)
    status = samples.pair(alerts=(odd, *status.alerts))
    assert "notice" in alerts_view(status, 90).plain.splitlines()[-1]


def test_the_node_pane_tells_reasons_and_the_binding_resource():
    status = samples.troubled()
    text = node_view(status, status.nodes[1], status.services[0], 90).plain
    assert "because tls at 94 % is over its hard threshold" in text
    assert "because holding all the same" in text
    binding = next(line for line in text.splitlines() if "binding" in line)
    assert binding.startswith("tls")
    stale = node_view(status, status.nodes[2], None, 90).plain
    assert "heard 41s ago" in stale
    assert "clients unknown" in stale
    assert "not real-time" in stale
    assert stale.count("unknown") >= 4


class TestPlans:
    def test_draining_the_holder_names_the_heir_and_the_numbers(self):
        plan = drain_plan(samples.pair(), "lb1")
        assert plan.effects[0] == "web moves to lb2; established connections to lb1 are cut."
        assert (plan.verdict, plan.numbers) == ("tight", ("lb2 reaches 93 % of tls",))
        assert (plan.intent.node, plan.intent.force, plan.typed) == ("lb1", False, "lb1")

    def test_draining_one_that_holds_nothing(self):
        status = samples.troubled()
        assert drain_plan(status, "lb1").effects[0].startswith("lb1 holds nothing")

    def test_draining_the_last_one(self):
        effects = drain_plan(samples.troubled(), "lb2").effects
        assert effects[0] == "web: no other node can serve; lb2 stays as the last resort."

    def test_failover_from_the_holder_goes_to_the_best(self):
        plan = failover_plan(samples.pair(), samples.pair().services[0], "lb1")
        assert plan.effects[0] == "web moves from lb1 to lb2, the best peer."
        assert (plan.intent.vip, plan.intent.to) == ("web", "")

    def test_failover_to_the_node_pointed_at(self):
        plan = failover_plan(samples.pair(), samples.pair().services[0], "lb2")
        assert plan.effects[0] == "web moves from lb1 to lb2."
        assert plan.intent.to == "lb2"

    def test_numbers_that_nobody_has_are_unknown(self):
        plan = drain_plan(samples.single(), "lb1")
        assert plan.verdict == "unknown"
