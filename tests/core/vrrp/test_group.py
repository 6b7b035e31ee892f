"""Groups: members take over together, let go together, and never take turns with a peer."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haman.core.vrrp.group import Group, Key
from haman.core.vrrp.messages import (
    Observed,
    PeerReleased,
    Reconfigured,
    Released,
    RoleChanged,
    SendAdvertisement,
    Shutdown,
    Started,
    TimePassed,
)
from haman.core.vrrp.timers import down_ns
from haman.core.words import Reason, Role
from tests.core.vrrp.link import MS, WEB, WEB6, Link, S, config, steady
from tests.core.vrrp.scenes import advert
from tests.core.vrrp.test_election import NAMES, cuts, histories, play, settle

API: Key = ("api", 4)
WHY = (Reason("operator", "lb1 was drained"),)


def config6(number, **options):
    return config(number, family=6, **options)


def config_api(number, **options):
    return config(number, vrid=52, addresses=(IPv4Address("10.77.0.101"),), **options)


def pair(first, second) -> Link:
    """Priorities of (web/4, web/6, api/4) of each node."""
    makers = (config, config6, config_api)
    return Link(
        {
            f"lb{number}": {
                key: make(number, priority=priority)
                for key, make, priority in zip((WEB, WEB6, API), makers, of_node, strict=True)
            }
            for number, of_node in ((1, first), (2, second))
        }
    )


def start(link: Link) -> None:
    for name in link.nodes:
        link.tell(name, Started())


def test_a_group_needs_members():
    with pytest.raises(ValueError, match="no members"):
        Group("edge", {}, 0)


def test_all_members_advertise_the_least_priority_and_take_over_at_once():
    link = pair((150, 200, 120), (100, 100, 100))
    start(link)
    link.run(20 * S)
    assert link.active() == ["lb1"]
    taken = [(at, key) for at, name, key, c in link.changes if c.new is Role.ACTIVE]
    assert {key for _, key in taken} == {WEB, WEB6, API}
    assert len({at for at, _ in taken}) == 1
    states = link.nodes["lb1"].group.snapshot().values()
    assert {s.priority for s in states} == {120}


@pytest.mark.parametrize("simultaneous", [False, True])
def test_crosswise_priorities_do_not_ping_pong(simultaneous):
    link = pair((150, 100, 100), (100, 150, 100))
    if simultaneous:  # both become active before they hear each other
        link.delay_ns = lambda *_: None
        start(link)
        link.run(4 * S)
        assert link.active() == ["lb1", "lb2"]
        link.delay_ns = lambda *_: 1 * MS
    else:
        start(link)
    link.run(10 * S)
    assert link.active() == ["lb2"]  # equal priorities: the greater IPv4 address
    before = len(link.changes)
    link.run(1000 * S)
    assert len(link.changes) == before


def test_families_whose_addresses_order_differently_do_not_ping_pong():
    """Tie-breaks of IPv4 and IPv6 would name different nodes; only the lead's counts."""
    swapped = {1: 9, 2: 1}
    link = Link({f"lb{n}": {WEB: config(n), WEB6: config(swapped[n], family=6)} for n in (1, 2)})
    link.delay_ns = lambda *_: None
    start(link)
    link.run(5 * S)
    assert link.active() == ["lb1", "lb2"]
    link.delay_ns = lambda *_: 1 * MS
    link.run(5 * S)
    assert link.active() == ["lb2"]
    before = len(link.changes)
    link.run(1000 * S)
    assert len(link.changes) == before
    assert link.sent < 5000


@pytest.mark.parametrize("deaf", [WEB, WEB6, API])
def test_a_member_that_hears_nothing_moves_nothing(deaf):
    link = pair((150, 150, 150), (100, 100, 100))
    start(link)
    link.run(10 * S)
    before = len(link.changes)
    link.delay_ns = lambda sender, receiver, key: None if key == deaf else 1 * MS
    link.run(100 * S)
    assert len(link.changes) == before
    assert link.nodes["lb2"].group.snapshot()[deaf].willing
    # When the active node dies, the last member to notice takes all along.
    link.freeze("lb1")
    link.run(down_ns(3, 100, S) + 2 * MS)
    assert link.role("lb2", deaf) is Role.ACTIVE
    (change,) = [c for _, n, k, c in link.changes[before:] if (n, k) == ("lb2", deaf)]
    assert [r.code for r in change.reasons] == ["active-router-down", "group-follows"]
    assert "could take over last: no advertisement from" in change.reasons[1].text


def willing(group: Group) -> set[Key]:
    return {key for key, state in group.snapshot().items() if state.willing}


def test_a_willing_member_that_hears_an_active_router_again_is_not_willing():
    group = Group("edge", {WEB: config(1), API: config_api(1)}, 0)
    group.step(None, Started(), 0)
    group.step(API, advert(200, vrid=52, addresses=config_api(1).addresses), 3 * S)
    group.step(None, TimePassed(), down_ns(3, 100, S))
    assert willing(group) == {WEB}
    group.step(WEB, advert(200), 4 * S)
    assert willing(group) == set()
    group.step(None, TimePassed(), 3 * S + down_ns(3, 100, S))
    assert {s.role for s in group.snapshot().values()} == {Role.BACKUP}
    assert willing(group) == {API}


def test_a_willing_member_that_wakes_late_has_nothing_to_wait_for():
    group = Group("edge", {WEB: config(1), API: config_api(1)}, 0)
    group.step(None, Started(), 0)
    group.step(API, advert(200, vrid=52, addresses=config_api(1).addresses), 3 * S)
    group.step(WEB, advert(50), 3 * S)
    group.step(None, TimePassed(), down_ns(3, 100, S))
    assert willing(group) == {WEB}
    group.step(API, advert(200, vrid=52, addresses=config_api(1).addresses), 60 * S)
    assert group.step(None, TimePassed(), 60 * S) == ()
    assert willing(group) == {WEB}


def test_a_tie_on_another_member_than_the_lead_is_not_answered():
    """Two that do not decide it would answer each other without end."""
    link = pair((100, 100, 100), (100, 100, 100))
    start(link)
    link.run(10 * S)
    (name,) = link.active()
    number = int(name[-1])
    group = link.nodes[name].group
    other = config_api(3 - number)
    event = advert(100, source=other.source, vrid=52, addresses=other.addresses)
    outputs = group.step(API, event, link.now + 500 * MS)
    assert not [o for _, o in outputs if not isinstance(o, Observed)]


def test_one_member_released_releases_all_and_says_which():
    link = pair((150, 150, 150), (100, 100, 100))
    start(link)
    link.run(10 * S)
    before = len(link.changes)
    link.tell("lb1", Released(WHY), API)
    assert {c.new for _, _, _, c in link.changes[before:]} == {Role.RELEASED}
    reasons = {k: c.reasons[0] for _, _, k, c in link.changes[before:]}
    assert reasons[API] == WHY[0]
    assert reasons[WEB].code == "group-follows"
    assert reasons[WEB].text == "group lb1: api/IPv4 is released: lb1 was drained"
    link.run(S)
    assert link.active() == ["lb2"]
    # Starting the others again does not help; starting the one does.
    link.tell("lb1", Started(), WEB)
    assert link.role("lb1", WEB) is Role.RELEASED
    link.tell("lb1", Started(), API)
    link.run(10 * S)
    assert link.active() == ["lb1"]


def test_a_member_that_was_told_nothing_yet_is_waited_for():
    group = Group("edge", {WEB: config(1), API: config_api(1)}, 0)
    assert group.step(WEB, Started(), 0) == ()
    assert group.deadline_ns is None
    outputs = group.step(API, Started(), 0)
    assert {(k, o.new) for k, o in outputs if isinstance(o, RoleChanged)} == {
        (WEB, Role.BACKUP),
        (API, Role.BACKUP),
    }


def test_two_that_are_released_each_keep_their_own_reason():
    group = Group("edge", {WEB: config(1), API: config_api(1)}, 0)
    group.step(None, Started(), 0)
    group.step(WEB, Released(WHY), 0)
    fault = Reason("fault", "the proxy died")
    group.step(API, Released((fault,)), 0)
    group.step(WEB, Started(), 0)
    states = group.snapshot()
    assert states[API].reasons == (fault,)
    assert states[WEB].reasons[0].text == "group edge: api/IPv4 is released: the proxy died"


def test_shutdown_ends_all_with_one_farewell_each():
    group = Group("edge", {WEB: config(1, priority=255), API: config_api(1, priority=255)}, 0)
    outputs = group.step(None, Started(), 0)
    assert {s.role for s in group.snapshot().values()} == {Role.ACTIVE}
    outputs = group.step(WEB, Shutdown(), 1)
    sent = {k: o for k, o in outputs if isinstance(o, SendAdvertisement)}
    assert sent == group.farewells()
    assert {s.role for s in group.snapshot().values()} == {Role.INITIALIZE}


def test_a_peers_word_counts_when_it_came_for_every_member():
    link = pair((150, 150, 150), (100, 100, 100))
    start(link)
    link.run(10 * S)
    link.tell("lb1", Released(WHY))
    link.run(2 * MS)
    for key in (WEB, WEB6):
        link.tell("lb2", PeerReleased(WHY), key)
        assert link.active() == []
    link.tell("lb2", PeerReleased(WHY), API)
    assert link.active() == ["lb2"]
    codes = {k: [r.code for r in c.reasons] for _, _, k, c in link.changes[-3:]}
    assert codes[API] == ["operator"]
    assert codes[WEB] == ["operator", "group-follows"]


def test_a_member_outranked_lets_all_go_and_those_say_priority_0():
    group = Group("edge", {WEB: config(1, priority=255), API: config_api(1, priority=255)}, 0)
    group.step(None, Started(), 0)
    group.step(WEB, Reconfigured(config(1, priority=100)), 1)
    assert {s.priority for s in group.snapshot().values()} == {100}
    outputs = group.step(WEB, advert(200), 2)
    assert [(k, type(o).__name__) for k, o in outputs] == [
        (WEB, "SendAdvertisement"),
        (WEB, "RemoveAddresses"),
        (WEB, "RoleChanged"),
        (API, "SendAdvertisement"),
        (API, "RemoveAddresses"),
        (API, "RoleChanged"),
    ]
    sent = [o.advertisement.priority for _, o in outputs if isinstance(o, SendAdvertisement)]
    assert sent == [100, 0]
    reason = group.snapshot()[API].reasons[0]
    assert reason.text == (
        "group edge: web/IPv4 became backup: priority 100 is below 200 of 10.77.0.12"
    )


def test_a_group_comes_next_only_if_all_members_do():
    members = {WEB: config(1, heir_wait_ns=5 * MS), API: config_api(1)}
    group = Group("edge", members, 0)
    assert {s.config.heir_wait_ns for s in group.snapshot().values()} == {None}
    group.step(API, Reconfigured(config_api(1, heir_wait_ns=7 * MS)), 1)
    assert {s.config.heir_wait_ns for s in group.snapshot().values()} == {7 * MS}


def test_a_member_keeps_vrid_and_family():
    group = Group("edge", {WEB: config(1), API: config_api(1)}, 0)
    with pytest.raises(ValueError, match="api/IPv4: another VRID"):
        group.step(API, Reconfigured(config(1)), 0)
    with pytest.raises(KeyError):
        group.step(WEB6, Started(), 0)


@steady
@given(
    histories,
    st.lists(st.tuples(*[st.integers(1, 254)] * 2), min_size=3, max_size=3),
)
def test_after_any_history_one_node_holds_the_whole_group(history, of_nodes):
    """Links are cut per direction and member meanwhile; priorities are crosswise."""
    link = Link(
        {
            name: {
                WEB: config(i + 1, priority=of_nodes[i][0]),
                WEB6: config6(9 - i, priority=of_nodes[i][1]),
            }
            for i, name in enumerate(NAMES)
        }
    )
    play(link, history, {WEB: config})
    settle(link)
    contending = [n for n in NAMES if link.role(n) in (Role.BACKUP, Role.ACTIVE)]
    assert len(link.active()) == (1 if contending else 0)
    before = len(link.changes)
    link.run(30 * S)
    assert len(link.changes) == before


@steady
@given(
    st.sets(cuts, max_size=12),
    st.lists(st.tuples(*[st.sampled_from((90, 100, 110))] * 2), min_size=3, max_size=3),
    st.lists(st.booleans(), min_size=3, max_size=3),
)
def test_no_broken_link_makes_nodes_take_turns(cut, of_nodes, preempt):
    """Whatever cannot be heard for good, by whom, for which member: the roles come to rest."""
    link = Link(
        {
            name: {
                WEB: config(i + 1, priority=of_nodes[i][0], preempt=preempt[i]),
                WEB6: config6(9 - i, priority=of_nodes[i][1]),
            }
            for i, name in enumerate(NAMES)
        }
    )
    link.delay_ns = lambda *way: None if way in cut else 1 * MS
    start(link)
    for _ in NAMES:
        settle(link)
    before = len(link.changes)
    link.run(100 * S)
    assert len(link.changes) == before
    assert link.active()


def _families_apart(by_ns):
    """An active group whose IPv6 adverts were put off by the advert of a new address."""
    four, six = config(1), config6(1)
    group = Group("web", {WEB: four, WEB6: six}, 0)
    group.step(None, Started(), 0)
    now_ns = 0
    while group.snapshot()[WEB].role is not Role.ACTIVE:
        now_ns = _due(group)
        group.step(None, TimePassed(), now_ns)
    more = (*six.addresses, IPv6Address("fd00:77::101"))
    outputs = group.step(WEB6, Reconfigured(replace(six, addresses=more)), now_ns + by_ns)
    assert _adverts(outputs) == [WEB6]
    return group


def _due(group: Group) -> int:
    assert group.deadline_ns is not None
    return group.deadline_ns


def _adverts(outputs):
    return sorted(key for key, output in outputs if isinstance(output, SendAdvertisement))


def test_adverts_that_are_due_soon_leave_together():
    """A wake-up for each family would cost twice the processor time of one for both."""
    group = _families_apart(50 * MS)
    for late_ns in (0, 3 * MS, 0, 0):
        due_ns = _due(group)
        assert _adverts(group.step(None, TimePassed(), due_ns + late_ns)) == [WEB, WEB6]
        assert _due(group) == due_ns + config(1).advert_interval_ns  # the cadence is kept


def test_an_advert_that_is_not_due_soon_waits_for_its_time():
    group = _families_apart(500 * MS)
    assert _adverts(group.step(None, TimePassed(), _due(group))) == [WEB]
    assert _adverts(group.step(None, TimePassed(), _due(group))) == [WEB6]
