"""What the RFC leaves open: late and backward time, reconfiguration, snapshots."""

from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from haman.core.vrrp.messages import (
    AnnounceAddresses,
    InstallAddresses,
    Reconfigured,
    Released,
    RemoveAddresses,
    SendAdvertisement,
    Started,
    TimePassed,
)
from haman.core.vrrp.timers import down_ns
from haman.core.words import Role
from tests.core.vrrp.link import MS, S, config
from tests.core.vrrp.scenes import (
    DOWN_150,
    SKEW_150,
    T0,
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

# ---- time ----------------------------------------------------------------------------------------


def test_a_tick_ten_intervals_late_sends_one_advert():
    router = active()
    outputs = router.step(TimePassed(), T0 + 2 * S + 500 * MS)
    assert kinds(outputs) == ["SendAdvertisement"]
    assert router.deadline_ns == T0 + 3 * S + 500 * MS
    outputs = router.step(TimePassed(), T0 + 14 * S)
    assert kinds(outputs) == [
        "SendAdvertisement",
        "InstallAddresses",
        "AnnounceAddresses",
        "Observed",
    ]
    assert router.deadline_ns == T0 + 15 * S


def test_a_backup_that_slept_listens_again_but_once():
    router = backup()
    router.step(advert(200), T0)
    woke = T0 + DOWN_150 + 4 * S
    assert codes(router.step(TimePassed(), woke)) == ["late"]
    assert router.role is Role.BACKUP
    assert router.deadline_ns == woke + S + SKEW_150
    outputs = router.step(TimePassed(), woke + 10 * S)
    assert code(outputs) == "active-router-down"
    assert "for 17.41 s" in change(outputs).reasons[0].text


def test_a_backup_that_slept_stays_backup_if_the_active_router_lives():
    router = backup()
    woke = T0 + DOWN_150 + 4 * S
    router.step(TimePassed(), woke)
    router.step(advert(200), woke + S)
    assert router.deadline_ns == woke + S + DOWN_150


def test_what_waits_in_the_socket_counts_before_the_timer():
    router = backup()
    woke = T0 + 100 * S
    router.step(advert(200), woke)
    assert router.step(TimePassed(), woke) == ()


@pytest.mark.parametrize("back_ns", [1, S, 40 * S])
def test_time_that_falls_back_is_harmless(back_ns):
    router = active()
    router.step(TimePassed(), T0 + S)
    router.step(TimePassed(), T0 + S + 400 * MS)
    now = T0 + S + 400 * MS - back_ns
    assert router.step(TimePassed(), now) == ()
    # 600 ms were left, and are still: neither a flood of adverts nor a long silence.
    assert router.deadline_ns == now + 600 * MS
    assert kinds(router.step(TimePassed(), now + 600 * MS)) == ["SendAdvertisement"]
    outputs = router.step(Released(WHY), now + 700 * MS)
    assert change(outputs).new is Role.RELEASED
    assert router.snapshot().since_ns == now + 700 * MS


# ---- reconfiguration -----------------------------------------------------------------------------


def test_a_new_priority_is_advertised_at_once_and_holds_the_addresses():
    router = active()
    (sent,) = router.step(Reconfigured(config(1, priority=90)), T0 + 100 * MS)
    assert sent.advertisement.priority == 90
    assert router.role is Role.ACTIVE
    assert router.snapshot().priority == 90


def test_preemption_changes_silently():
    router = active()
    assert router.step(Reconfigured(config(1, priority=150, preempt=False)), T0) == ()
    assert router.step(Reconfigured(config(1, priority=150, preempt=False)), T0) == ()


def test_law_9_changed_addresses_touch_no_address_that_stays():
    a, b, c = (IPv4Address(f"10.77.0.{n}") for n in (100, 101, 102))
    router = active(addresses=(a, b))
    outputs = router.step(Reconfigured(config(1, priority=150, addresses=(b, c))), T0)
    assert outputs[1:] == (InstallAddresses((b, c)), AnnounceAddresses((c,)), RemoveAddresses((a,)))
    assert isinstance(outputs[0], SendAdvertisement)
    assert outputs[0].advertisement.addresses == (b, c)


def test_a_new_interval_counts_from_the_last_advert():
    router = active()
    router.step(Reconfigured(config(1, priority=150, advert_interval_ns=100 * MS)), T0 + 10 * MS)
    assert router.deadline_ns == T0 + 110 * MS


def test_a_backups_new_priority_counts_from_when_its_timer_started():
    router = backup()
    router.step(Reconfigured(config(1, priority=250)), T0 + S)
    assert router.deadline_ns == T0 + down_ns(3, 250, S)
    router.step(advert(0), T0 + S)
    router.step(Reconfigured(config(1, priority=150)), T0 + S)
    assert router.deadline_ns == T0 + S + SKEW_150


def test_a_backups_shorter_interval_waits_until_the_active_router_has_it_too():
    router = backup()
    router.step(advert(200), T0)
    router.step(Reconfigured(config(1, priority=150, advert_interval_ns=100 * MS)), T0)
    assert router.deadline_ns == T0 + DOWN_150
    # Nor does a start begin with an interval that is known to be too short.
    router.step(Released(WHY), T0)
    router.step(Started(), T0)
    assert router.deadline_ns == T0 + DOWN_150


def test_another_vrid_or_family_is_another_router():
    router = backup()
    with pytest.raises(ValueError, match="another router"):
        router.step(Reconfigured(config(1, vrid=52)), T0)
    with pytest.raises(ValueError, match="another router"):
        router.step(Reconfigured(config(1, family=6)), T0)


def test_snapshots_are_values():
    router = active()
    before = router.snapshot()
    assert before == router.snapshot()
    router.step(Released(WHY), T0 + S)
    assert before.role is Role.ACTIVE
    assert replace(before, role=Role.BACKUP) != router.snapshot()


def test_what_was_heard_long_ago_is_no_active_router_at_the_start():
    router = new()
    router.step(advert(200), T0)
    router.step(Started(), T0 + 100 * S)
    assert router.snapshot().active_router is None


def test_a_shorter_interval_that_is_over_already_is_due_now_and_not_late():
    router = backup()
    now = T0 + 3 * S
    router.step(Reconfigured(config(1, priority=150, advert_interval_ns=100 * MS)), now)
    assert router.deadline_ns == now
    assert code(router.step(TimePassed(), now)) == "no-active-router"
