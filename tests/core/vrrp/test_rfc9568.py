"""The state machine, section by section of RFC 9568 (and RFC 3768 where version 2 differs)."""

from ipaddress import IPv4Address, IPv6Address

import pytest

from haman.core.vrrp.messages import (
    Discarded,
    Observed,
    PeerReleased,
    Reconfigured,
    Released,
    RoleChanged,
    Shutdown,
    Started,
    TimePassed,
)
from haman.core.vrrp.packet import GROUP_V4, GROUP_V6, MAX_INTERVAL_NS, V3, Checksum
from haman.core.vrrp.router import VirtualRouter
from haman.core.vrrp.timers import down_ns, skew_ns
from haman.core.words import Role
from tests.core.vrrp.link import MS, S, config
from tests.core.vrrp.scenes import (
    DOWN_150,
    LESSER,
    PEER,
    SKEW_150,
    T0,
    TAKEN,
    WHY,
    active,
    advert,
    backup,
    change,
    code,
    codes,
    kinds,
    new,
)

# ---- 6.1 parameters ------------------------------------------------------------------------------


def test_6_1_skew_and_active_down_interval():
    assert skew_ns(3, 100, S) == 609_375_000
    assert skew_ns(3, 254, 100 * MS) == 781_250
    assert down_ns(3, 100, S) == 3_609_375_000
    assert skew_ns(3, 255, 10 * MS) == 39_062


def test_rfc3768_6_1_skew_of_version_2_is_of_one_second():
    assert skew_ns(2, 100, 5 * S) == 609_375_000
    assert down_ns(2, 100, 5 * S) == 15_609_375_000


@pytest.mark.parametrize(
    "wrong",
    [
        {"vrid": 0},
        {"vrid": 256},
        {"priority": 0},
        {"priority": 256},
        {"addresses": ()},
        {"addresses": (IPv6Address("fe80::1"),)},
        {"unicast_peers": (IPv6Address("fe80::1"),)},
        {"version": 4},
        {"advert_interval_ns": 0},
        {"advert_interval_ns": 15 * MS},
        {"advert_interval_ns": 41 * S},
        {"version": 2, "advert_interval_ns": 100 * MS},
        {"auth_type": 1},
        {"version": 2, "auth_type": 2},
        {"version": 2, "auth_type": 1, "auth_data": b"123456789"},
    ],
    ids=str,
)
def test_6_1_parameters_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match=r"\w+"):
        config(1, **wrong)


def test_version_2_over_ipv6_is_refused():
    with pytest.raises(ValueError, match="IPv6"):
        config(1, family=6, version=2)


def test_5_2_9_link_local_addresses_are_advertised_first():
    mixed = (IPv6Address("2001:db8::64"), IPv6Address("fe80::64"), IPv6Address("2001:db8::65"))
    router = VirtualRouter(config(1, family=6, addresses=mixed), T0)
    assert router.farewell.advertisement.addresses == (mixed[1], mixed[0], mixed[2])


# ---- 6.4.1 initialize ----------------------------------------------------------------------------


def test_6_4_1_the_owner_is_active_from_the_start():
    router = new(priority=255)
    outputs = router.step(Started(), T0)
    assert kinds(outputs) == TAKEN
    assert code(outputs) == "address-owner"
    assert outputs[0].advertisement.priority == 255
    assert outputs[0].destinations == (GROUP_V4,)
    assert router.deadline_ns == T0 + S


def test_6_4_1_others_listen_first():
    router = new()
    assert router.snapshot().deadline_ns is None
    outputs = router.step(Started(), T0)
    assert kinds(outputs) == ["RoleChanged"]
    assert change(outputs).new is Role.BACKUP
    assert (
        change(outputs).reasons[0].text == "contends with priority 150; listens for 3.414 s first"
    )
    assert router.deadline_ns == T0 + DOWN_150
    assert router.step(Started(), T0) == ()


def test_6_4_1_ipv6_goes_to_its_own_group():
    router = new(family=6, priority=255)
    assert router.step(Started(), T0)[0].destinations == (GROUP_V6,)


def test_not_contending_knows_who_is_active_for_as_long_as_it_is_current():
    router = new()
    assert router.step(advert(100), T0) == ()
    state = router.snapshot()
    assert (state.active_router, state.active_priority, state.priority) == (PEER, 100, 0)
    assert router.deadline_ns == T0 + DOWN_150
    assert router.step(TimePassed(), T0 + DOWN_150) == ()
    assert router.snapshot().active_router is None
    assert router.deadline_ns is None
    router.step(advert(100), T0 + 10 * S)
    router.step(advert(0), T0 + 11 * S)
    assert router.snapshot().active_router is None


# ---- 6.4.2 backup --------------------------------------------------------------------------------


def test_6_4_2_silence_makes_active_and_says_whose():
    router = backup(priority=100)
    router.step(advert(150), T0 + S)
    end = T0 + S + down_ns(3, 100, S)
    assert router.step(TimePassed(), end - 1) == ()
    outputs = router.step(TimePassed(), end)
    assert kinds(outputs) == TAKEN
    why = change(outputs).reasons[0]
    assert why.code == "active-router-down"
    assert why.text == "no advertisement from 10.77.0.12 for 3.609 s (3 × 1 s + skew 609.4 ms)"
    assert why.data["silence_ms"] == pytest.approx(3609.375)


def test_6_4_2_silence_from_the_start():
    router = backup()
    outputs = router.step(TimePassed(), T0 + DOWN_150)
    assert code(outputs) == "no-active-router"
    assert "3.414 s" in change(outputs).reasons[0].text


def test_6_4_2_priority_0_leaves_only_the_skew():
    router = backup()
    router.step(advert(200), T0)
    assert router.step(advert(0), T0 + S) == ()
    assert router.deadline_ns == T0 + S + SKEW_150
    outputs = router.step(TimePassed(), T0 + S + SKEW_150)
    assert code(outputs) == "released-by-peer"
    assert change(outputs).reasons[0].text.startswith("10.77.0.12 let go (priority 0)")


def test_the_one_known_to_come_next_does_not_wait_its_skew():
    router = backup(heir_wait_ns=5 * MS)
    router.step(advert(200), T0)
    router.step(advert(0), T0 + S)
    assert router.deadline_ns == T0 + S + 5 * MS
    # Known too late, it still shortens the wait; unknown again, the skew counts from priority 0.
    router.step(Reconfigured(config(1, priority=150)), T0 + S + 1)
    assert router.deadline_ns == T0 + S + SKEW_150
    # A skew that is shorter still stands, and silence is waited for as ever.
    quick = backup(priority=254, heir_wait_ns=50 * MS)
    quick.step(advert(0), T0)
    assert quick.deadline_ns == T0 + skew_ns(3, 254, S)
    assert backup(heir_wait_ns=5 * MS).deadline_ns == T0 + DOWN_150


GONE = MAX_INTERVAL_NS[V3]


def test_who_comes_next_takes_over_at_the_word_that_the_addresses_are_off() -> None:
    router = backup(heir_wait_ns=5 * MS)
    router.step(advert(200), T0)
    router.step(advert(0), T0 + S)
    assert router.deadline_ns == T0 + S + 5 * MS
    assert codes(router.step(advert(0, interval_ns=GONE), T0 + S + MS)) == []
    assert router.deadline_ns == T0 + S + MS
    outputs = router.step(TimePassed(), T0 + S + MS)
    assert code(outputs) == "released-by-peer"
    why = "10.77.0.12 let go (priority 0), and its addresses are off"
    assert change(outputs).reasons[0].text == why


@pytest.mark.parametrize("version", [2, 3])
def test_that_word_is_for_version_3_and_follows_a_farewell(version: int) -> None:
    router = active(version=version)
    assert router.departed is None
    outputs = router.step(Released(WHY), T0 + S)
    assert kinds(outputs) == ["SendAdvertisement", "RemoveAddresses", "RoleChanged"]
    if version == 2:
        assert router.departed is None
        return
    said = router.departed.advertisement
    assert said.departed
    assert (said.priority, said.interval_ns) == (0, GONE)
    assert not outputs[0].advertisement.departed


@pytest.mark.parametrize(
    ("heir_wait_ns", "first", "wait_ns"),
    [
        (None, PEER, SKEW_150),  # others may come before this one
        (5 * MS, LESSER, 5 * MS),  # another one let go
        (5 * MS, None, 5 * MS),  # its priority 0 was lost
    ],
)
def test_else_it_is_a_priority_0_like_any_other(heir_wait_ns, first, wait_ns: int) -> None:
    router = backup(heir_wait_ns=heir_wait_ns)
    router.step(advert(200), T0)
    if first is not None:
        router.step(advert(0, first), T0 + S)
    router.step(advert(0, interval_ns=GONE), T0 + S)
    assert router.deadline_ns == T0 + S + wait_ns


def test_that_word_changes_nothing_for_who_is_active_already() -> None:
    router = active()
    outputs = router.step(advert(0, interval_ns=GONE), T0 + MS)
    assert router.role is Role.ACTIVE
    assert codes(outputs) == []


def test_6_4_2_a_flood_of_priority_0_never_postpones_taking_over():
    router = backup()
    for at in range(10):
        router.step(advert(0), T0 + at * SKEW_150 // 10)
    assert router.deadline_ns == T0 + SKEW_150


def test_6_4_2_an_advert_after_priority_0_ends_the_hurry():
    router = backup()
    router.step(advert(0), T0)
    router.step(advert(200, source=LESSER), T0 + 10 * MS)
    assert router.deadline_ns == T0 + 10 * MS + DOWN_150


@pytest.mark.parametrize("priority", [150, 151, 255])
def test_6_4_2_equal_or_higher_restarts_the_timer(priority):
    router = backup()
    assert router.step(advert(priority), T0 + 2 * S) == ()
    assert router.deadline_ns == T0 + 2 * S + DOWN_150


def test_6_4_2_lower_is_ignored_when_preempting():
    router = backup()
    assert router.step(advert(149), T0 + 3 * S) == ()
    assert router.deadline_ns == T0 + DOWN_150
    outputs = router.step(TimePassed(), T0 + DOWN_150)
    assert code(outputs) == "preempting"
    assert change(outputs).reasons[0].text == ("priority 150 is above 149 of 10.77.0.12")


def test_6_4_2_lower_is_obeyed_when_not_preempting():
    router = backup(preempt=False)
    outputs = router.step(advert(100), T0 + 3 * S)
    assert codes(outputs) == ["preempt-off"]
    assert router.deadline_ns == T0 + 3 * S + DOWN_150
    assert router.step(advert(100), T0 + 4 * S) == ()  # said a second ago
    assert code(router.step(TimePassed(), T0 + 4 * S + DOWN_150)) == "active-router-down"


def test_6_1_the_owner_preempts_in_any_case():
    router = backup(preempt=False)
    router.step(Reconfigured(config(1, priority=255, preempt=False)), T0)
    router.step(advert(100), T0 + S)
    assert router.deadline_ns == T0 + down_ns(3, 255, S)


def test_6_4_2_the_interval_of_the_active_router_is_learned():
    router = backup()
    outputs = router.step(advert(200, interval_ns=100 * MS), T0)
    assert codes(outputs) == ["interval"]
    assert router.deadline_ns == T0 + down_ns(3, 150, 100 * MS)
    router.step(advert(0, interval_ns=100 * MS), T0)
    assert router.deadline_ns == T0 + skew_ns(3, 150, 100 * MS)


def test_6_4_2_shutdown():
    router = backup()
    outputs = router.step(Shutdown(WHY), T0 + S)
    assert outputs == (RoleChanged(Role.BACKUP, Role.INITIALIZE, WHY),)
    assert router.deadline_ns is None


def test_preempt_delay_lets_the_lower_one_be_for_a_while():
    router = backup(preempt_delay_ns=10 * S)
    at = T0
    while at < T0 + 11 * S:
        at += S
        outputs = router.step(advert(100), at)
        assert codes(outputs) == (["preempt-delay"] if at == T0 + S else [])
    # Heard first at 1 s, so held until 11 s; the last advert obeyed came at 10 s.
    assert router.deadline_ns == T0 + 10 * S + DOWN_150
    assert code(router.step(TimePassed(), T0 + 10 * S + DOWN_150)) == "preempting"


def test_preempt_delay_does_not_delay_after_a_death():
    router = backup(preempt_delay_ns=1000 * S)
    router.step(advert(100), T0)
    assert code(router.step(TimePassed(), T0 + DOWN_150)) == "active-router-down"


def test_preempt_delay_counts_anew_after_a_better_router():
    router = backup(preempt_delay_ns=5 * S)
    router.step(advert(100), T0)
    router.step(advert(200), T0 + S)
    router.step(advert(100), T0 + 6 * S)
    assert router.deadline_ns == T0 + 6 * S + DOWN_150


def test_a_peers_word_makes_a_backup_active_at_once():
    outputs = backup().step(PeerReleased(WHY), T0 + 1)
    assert kinds(outputs) == TAKEN
    assert change(outputs).reasons == WHY


def test_a_peers_word_says_nothing_new_to_who_heard_its_priority_0():
    router = active()
    assert router.step(PeerReleased(WHY), T0) == ()
    assert router.role is Role.ACTIVE


def test_a_peers_word_to_who_does_not_contend_is_ignored_and_told():
    router = active()
    router.step(Released(WHY), T0)
    assert codes(router.step(PeerReleased(WHY), T0)) == ["peer-released-ignored"]
    assert router.role is Role.RELEASED


# ---- 6.4.3 active --------------------------------------------------------------------------------


def test_6_4_3_an_advert_per_interval_and_always_the_same_object():
    router = active()
    (first,) = router.step(TimePassed(), T0 + S)
    (second,) = router.step(TimePassed(), T0 + 2 * S + 300_000)
    assert first is second
    # Lateness does not add up.
    assert router.deadline_ns == T0 + 3 * S
    assert router.step(TimePassed(), T0 + 2 * S + 400_000) == ()


def test_6_4_3_priority_0_is_answered_at_once():
    router = active()
    outputs = router.step(advert(0), T0 + 10 * MS)
    assert kinds(outputs) == ["SendAdvertisement"]
    assert router.deadline_ns == T0 + 10 * MS + S


def test_priority_0_of_another_active_one_is_answered_with_an_announcement():
    router = active()
    outputs = router.step(advert(0), T0 + 2 * S)
    assert kinds(outputs) == ["SendAdvertisement", "InstallAddresses", "AnnounceAddresses"]


def test_6_4_3_higher_priority_makes_backup():
    router = active()
    outputs = router.step(advert(151, interval_ns=2 * S), T0 + 10 * MS)
    assert kinds(outputs) == ["SendAdvertisement", "RemoveAddresses", "RoleChanged", "Observed"]
    assert outputs[0].advertisement.priority == 150  # so that the higher one knows, and announces
    assert change(outputs).reasons[0].text == ("priority 150 is below 151 of 10.77.0.12")
    assert router.deadline_ns == T0 + 10 * MS + down_ns(3, 150, 2 * S)


def test_6_4_3_of_equals_the_greater_address_stays():
    outputs = active().step(advert(150, source=PEER), T0 + 500 * MS)
    assert code(outputs) == "greater-address"
    router = active()
    outputs = router.step(advert(150, source=LESSER), T0 + 500 * MS)
    assert router.role is Role.ACTIVE
    assert kinds(outputs) == ["SendAdvertisement"]
    # Addresses are numbers here: .9 is less than .11, whatever the text says.
    router = active()
    router.step(advert(150, source=IPv4Address("10.77.0.9")), T0)
    assert router.role is Role.ACTIVE


def test_6_4_3_lower_is_answered_at_once_and_with_an_announcement():
    router = active()
    outputs = router.step(advert(100), T0 + 2 * S)
    assert kinds(outputs) == [
        "SendAdvertisement",
        "InstallAddresses",
        "AnnounceAddresses",
    ]
    assert router.snapshot().active_router == PEER
    # A second later there may be another announcement, until then an advert has to do.
    assert kinds(router.step(advert(100), T0 + 2 * S + 200 * MS)) == ["SendAdvertisement"]
    assert router.step(advert(100), T0 + 2 * S + 210 * MS) == ()
    assert "AnnounceAddresses" in kinds(router.step(advert(100), T0 + 3 * S))


def test_a_lower_one_that_does_not_yield_is_a_conflict():
    """One that was preempted or cut off advertises until it hears of us: that is no conflict."""
    router = active()
    heard = [router.step(advert(100), T0 + n * S) for n in range(5)]
    assert [codes(outputs) for outputs in heard] == [[], [], [], [], ["conflict"]]
    assert [o.text for o in heard[4] if isinstance(o, Observed)] == [
        "10.77.0.12 is active too, with priority 100, and does not yield to 150"
    ]
    # Heard now and then: each time another overlap.
    router = active()
    assert [codes(router.step(advert(100), T0 + n * 10 * S)) for n in range(1, 9)] == [[]] * 8


def test_6_4_3_the_other_is_forgotten_when_it_is_quiet():
    router = active()
    router.step(advert(100), T0)
    for second in range(1, 5):
        router.step(TimePassed(), T0 + second * S)
    assert router.snapshot().active_router is None


def test_erratum_the_owner_never_yields():
    router = new(priority=255)
    router.step(Started(), T0)
    outputs = [router.step(advert(255), T0 + n * S + 500 * MS) for n in range(5)]
    assert router.role is Role.ACTIVE
    assert [kinds(each) for each in outputs] == [[], [], [], [], ["Observed"]]


@pytest.mark.parametrize(
    ("event", "role"), [(Shutdown(WHY), Role.INITIALIZE), (Released(WHY), Role.RELEASED)]
)
def test_6_4_3_letting_go_says_priority_0_then_removes(event, role):
    router = active()
    farewell = router.farewell
    outputs = router.step(event, T0 + S // 2)
    assert kinds(outputs) == ["SendAdvertisement", "RemoveAddresses", "RoleChanged"]
    assert outputs[0] is farewell
    assert farewell.advertisement.priority == 0
    assert change(outputs) == RoleChanged(Role.ACTIVE, role, WHY)
    assert router.step(event, T0 + S // 2) == ()
    assert router.step(TimePassed(), T0 + 100 * S) == ()


def test_a_release_without_reasons_still_has_one():
    router = active()
    assert code(router.step(Released(), T0)) == "released"
    assert code(router.step(Shutdown(), T0)) == "shutdown"


# ---- 7.1 what is dropped, what is only said ------------------------------------------------------

V2 = {"version": 2}


@pytest.mark.parametrize(
    ("reason", "options", "event"),
    [
        ("own-address", {}, advert(200, source=IPv4Address("10.77.0.11"))),
        ("vrid", {}, advert(200, vrid=52)),
        ("version", {}, advert(200, version=2)),
        ("version", V2, advert(200)),
        ("destination", {}, advert(200, destination=IPv4Address("10.77.0.11"))),
        ("destination", {"unicast_peers": (PEER,)}, advert(200)),
        ("source", {"unicast_peers": (LESSER,)}, advert(200, destination=LESSER)),
        ("auth-type", V2, advert(200, version=2, auth_type=1, auth_data=b"1111")),
        (
            "auth",
            V2 | {"auth_type": 1, "auth_data": b"1111"},
            advert(200, version=2, auth_type=1, auth_data=b"1112"),
        ),
        ("interval", V2, advert(200, version=2, interval_ns=2 * S)),
        ("address-list", V2, advert(200, version=2, addresses=(IPv4Address("10.77.0.101"),))),
    ],
)
def test_7_1_dropped(reason, options, event):
    for router in (active(**options), backup(**options)):
        role, deadline = router.role, router.deadline_ns
        outputs = router.step(event, T0 + S)
        assert outputs[0] == Discarded(reason)
        assert codes(outputs) == [reason]
        assert router.step(event, T0 + S) == (Discarded(reason),)
        assert (router.role, router.deadline_ns) == (role, deadline)
        assert router.snapshot().active_router is None


@pytest.mark.parametrize(
    ("code", "options", "event"),
    [
        ("address-list", {}, advert(200, addresses=(IPv4Address("10.77.0.101"),))),
        ("interval", {}, advert(200, interval_ns=2 * S)),
        ("checksum-form", {}, advert(200, checksum=Checksum.RFC9568)),
        (
            "checksum-form",
            {"checksum": Checksum.RFC9568},
            advert(200, checksum=Checksum.PSEUDO_HEADER),
        ),
    ],
)
def test_7_1_version_3_disagreement_is_said_and_obeyed(code, options, event):
    router = active(**options)
    outputs = router.step(event, T0 + S)
    assert router.role is Role.BACKUP
    assert codes(outputs) == [code]
    assert codes(router.step(event, T0 + 59 * S)) == []
    outputs = router.step(event, T0 + 62 * S)
    assert [o.data["suppressed"] for o in outputs] == [1]


def test_rfc3768_7_1_another_address_list_of_the_owner_is_obeyed():
    event = advert(255, version=2, addresses=(IPv4Address("10.77.0.101"),))
    router = active(version=2)
    assert codes(router.step(event, T0)) == ["address-list"]
    assert router.role is Role.BACKUP


def test_5_2_9_an_ipv6_advert_without_the_link_local_address_first_is_said():
    ours = config(1, family=6)
    event = advert(
        200, source=IPv6Address("fe80::c"), destination=GROUP_V6, addresses=ours.addresses[::-1]
    )
    router = new(family=6)
    router.step(Started(), T0)
    assert codes(router.step(event, T0)) == ["first-address"]


def test_7_1_the_order_of_addresses_is_free():
    two = (IPv4Address("10.77.0.100"), IPv4Address("10.77.0.101"))
    for version in (2, 3):
        router = active(addresses=two, version=version)
        assert codes(router.step(advert(200, version=version, addresses=two[::-1]), T0)) == []
        assert router.role is Role.BACKUP


def test_unicast_goes_to_each_peer_and_is_heard_from_them():
    router = active(unicast_peers=(PEER, LESSER))
    (sent,) = router.step(TimePassed(), T0 + S)
    assert sent.destinations == (PEER, LESSER)
    outputs = router.step(advert(200, destination=IPv4Address("10.77.0.11")), T0 + S)
    assert code(outputs) == "higher-priority"


def test_a_long_address_list_is_told_in_short():
    many = tuple(IPv4Address("10.88.0.0") + i for i in range(255))
    (observed,) = backup().step(advert(200, addresses=many), T0)
    assert "251 more" in observed.text
    assert len(observed.text) < 300
