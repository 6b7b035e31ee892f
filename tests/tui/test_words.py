"""Figures, sentences and plans."""

import pytest
from textual.content import Content

from haman.api.schema import Headroom, Reason, Scenario, Worst
from haman.core.words import Stance
from tests.api import fake_anycast
from tests.tui import samples
from tui.picture import picture
from tui.plans import drain_plan, failover_plan
from tui.state import Cursor
from tui.trends import Trends
from tui.views import matrix
from tui.views import type as typography
from tui.views.dialogs import why_view
from tui.views.lists import alerts_view
from tui.views.node import node_detail, node_view
from tui.views.service import service_title, service_view
from tui.views.words import loss, mode


def rows(status, cursor, width, *, active):
    seen = picture(status)
    plan = matrix.layout(seen, cursor, width)
    return [
        Content("").join(matrix.row(seen, n, cursor, plan, Trends(), active=active))
        for n in seen.nodes
    ]


def header(status, cursor, width):
    seen = picture(status)
    return matrix.header(seen, matrix.layout(seen, cursor, width))


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
        plan = matrix.layout(picture(status), Cursor(status.nodes[0].name, "checkout"), 78)
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
    about = node_view(status, status.nodes[1], status.services[0], Trends(), 90).plain
    assert "reduced for edge  weight 50  for 1m  192.0.2.100/32, 2001:db8::100/128" in about


def test_draining_an_announcer_of_several():
    effects = drain_plan(samples.anycast(), "lb2").effects
    assert effects[0] == (
        "edge: shut here, then withdrawn; established connections to lb2 are cut. "
        "New ones go to lb1, the only one left."
    )


def test_draining_one_of_three_tells_the_new_shares():
    agent = fake_anycast.anycast(("lb1", "lb2", "lb3"))
    agent.announce("lb3", Stance.REDUCED, fake_anycast.BUSY, weight=50)
    assert drain_plan(samples.seen(agent), "lb1").effects[0] == (
        "edge: shut here, then withdrawn; established connections to lb1 are cut. "
        "New ones go to lb2 67 % and lb3 33 %. Routers may move some connections of these, too."
    )
    many = fake_anycast.anycast(tuple(f"lb{i}" for i in range(1, 10)))
    assert "New ones go to 8 other nodes." in drain_plan(samples.seen(many), "lb1").effects[0]


def test_draining_the_last_announcer():
    agent = fake_anycast.anycast(("lb1", "lb2"))
    agent.kill_proxy("lb2")
    assert drain_plan(samples.seen(agent), "lb1").effects[0] == (
        "edge: no other node announces it; lb1 stays, shut, as the last resort."
    )


def test_draining_one_that_is_shut_already():
    effects = drain_plan(samples.seen(samples.rungs()), "lb3").effects
    assert effects[0] == "edge: shut here already; withdrawn next."


def plain(content):
    return [line.rstrip() for line in content.plain.splitlines()]


def test_every_rung_in_the_fleet():
    status = samples.seen(samples.rungs())
    text = [r.plain for r in rows(status, Cursor("lb1"), 116, active=True)]
    for shown, row in zip(
        ("◆ full       100", "◈ reduced     50", "◇ shut       100", "○ withdrawn"),
        text,
        strict=True,
    ):
        assert shown in row
    assert "▲ edge degraded 2/3" in header(status, Cursor("lb1"), 116).plain
    well = samples.seen(fake_anycast.anycast())
    assert "edge 3/3" in header(well, Cursor("lb1"), 116).plain


def test_an_announcement_that_no_router_hears_is_no_full_one():
    status = samples.seen(samples.deaf())
    row = rows(status, Cursor("lb1"), 116, active=True)[1].plain
    assert "▲ unheard    100" in row
    assert "full" not in row


def test_a_service_in_full():
    agent = samples.rungs()
    status, history = samples.seen(agent), samples.journal(agent)[::-1]
    edge = status.services[0]
    assert service_title(edge) == "edge · anycast · active-active"
    text = plain(service_view(status, edge, history, 90, history[::-1]))
    start = next(i for i, line in enumerate(text) if line.startswith("Held by"))
    held, text[start : start + 6] = text[start : start + 6], []
    assert held[0] == f"{'Held by 12:02:27':<78}12:03:28 UTC"
    assert [line[:5] for line in held[1:5]] == ["  lb1", "  lb2", "  lb3", "  lb4"]
    assert held[1].endswith("━" * 79)
    for line, sign in zip(held[2:5], "╍┅─", strict=True):
        assert line[7:].strip() == sign * 24
    assert text == [
        "▲ degraded  2 of 3 announce  192.0.2.100/32  2001:db8::100/128",
        "  because lb4 is withdrawn: proxy haproxy (pid 812) died",
        "",
        "  Node  Stance      Weight     Share of new connections            Since  Heard by",
        "◆ lb1   full        100        ━━━━━━━━━━━━━━━━━━╸─────────  67 %  58s    1 of 2 routers",
        "◈ lb2   reduced     50 of 100  ━━━━━━━━━╸──────────────────  33 %  17s    2 of 2 routers",
        "    because cpu at 93 % of its ceiling (3.72 of 4 cores)",
        "◇ lb3   shut        100        ────────────────────────────   0 %  17s    2 of 2 routers",
        "    because drained by the operator; ends with `haman undrain`",
        "○ lb4   withdrawn   –          ────────────────────────────   0 %  17s    2 of 2 routers",
        "",
        "History, newest first · UTC",
        "  12:03:11  lb4  edge is withdrawn on lb4, weight 0 · proxy haproxy (pid 812) died",
        "  12:03:11  lb3  edge is shut on lb3, weight 100 · drained by the operator; ends with",
        "            `haman undrain`",
        "  12:03:11  lb2  edge is reduced on lb2, weight 50 · cpu at 93 % of its ceiling (3.72 of 4",
        "            cores)",
    ]


@pytest.mark.parametrize("width", [60, 68, 90, 105])
@pytest.mark.parametrize("scene", [samples.rungs, samples.deaf])
def test_a_service_in_full_fits(scene, width):
    status = samples.seen(scene())
    for service in status.services:
        for line in service_view(status, service, (), width).split("\n"):
            assert line.cell_length <= max(width, 68)


def test_a_vip_in_full():
    status = samples.pair()
    text = plain(service_view(status, status.services[0], (), 90))
    assert text[:6] == [
        "● ok  held by lb1  10.77.0.100/24",
        "",
        "  Node  Role        Priority  Since",
        "◆ lb1   active      150       4m",
        "◇ lb2   backup      100       4m",
        "",
    ]
    assert text[7].endswith("━" * 79)
    assert text[-2:] == [
        "History, newest first · UTC",
        "  Nothing among the events that are kept here.",
    ]


def test_members_that_are_not_heard_say_so_without_colour():
    status = samples.seen(samples.deaf())
    text = plain(service_view(status, status.services[1], (), 100))
    assert next(line for line in text if "lb3  " in line).endswith("not heard")
    assert next(line for line in text if line.startswith("▲ lb2")).endswith("0 of 2 routers")


def test_routers_of_a_node():
    status = samples.seen(samples.rungs())
    text = plain(node_view(status, status.nodes[0], None, Trends(), 100))
    assert text[1:5] == [
        "Routers  ● tor2 up, BFD up",
        "Router ✖ tor1 10.0.1.1  BGP down for 12s  BFD down",
        "  because nothing came from the router for 9 s; is it up and reachable?",
        "  because BFD: control detection time expired",
    ]
    healthy = plain(node_view(status, status.nodes[1], None, Trends(), 100))
    assert "Routers  ● tor1 up, BFD up  ● tor2 up, BFD up" in healthy


def test_a_session_that_is_up_without_bfd_stands_out():
    agent = fake_anycast.anycast()
    fake_anycast.router_down(agent, "lb1", "tor1", session="up")
    status = samples.seen(agent)
    text = plain(node_view(status, status.nodes[0], None, Trends(), 100))
    assert "Router ✖ tor1 10.0.1.1  BGP up for 12s  BFD down" in text


def test_a_node_in_full_tells_its_part_in_every_service():
    agent = samples.deaf()
    status = samples.seen(agent)
    text = plain(node_detail(status, status.nodes[1], samples.journal(agent), Trends(), 100))
    assert "◇ backup for web  priority 100  for 1m  10.77.0.100/24" in text
    deaf = next(line for line in text if "for edge" in line)
    assert deaf.startswith("◆ full for edge  weight 100  no router hears it  for 1m")


def test_why_of_anycast_has_the_glyphs_of_the_stances():
    text = why_view(samples.story(samples.rungs(), "edge")).plain
    for glyph, node in (("◆", "lb1"), ("◈", "lb2"), ("◇", "lb3"), ("○", "lb4")):
        assert f"{glyph} {node} " in text


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
    text = node_view(status, status.nodes[1], status.services[0], Trends(), 90).plain
    assert "because tls at 94 % is over its hard threshold" in text
    assert "because holding all the same" in text
    binding = next(line for line in text.splitlines() if "binding" in line)
    assert binding.startswith("tls")
    stale = node_view(status, status.nodes[2], None, Trends(), 90).plain
    assert "heard 41s ago" in stale
    assert "clients unknown" in stale
    assert "not real-time" in stale
    assert stale.count("unknown") >= 4


class TestPlans:
    def test_draining_the_holder_names_the_heir_and_the_numbers(self):
        plan = drain_plan(samples.pair(), "lb1")
        assert (
            plan.effects[0]
            == "web is handed over to lb2; established connections stay on lb1 to their end."
        )
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
