"""The sealed channel: whatever arrives becomes a value, and only the peer's own words come out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haman.cluster.channel import (
    DATAGRAM_BYTES_MAX,
    WINDOW,
    Channel,
    Opened,
    OwnName,
    Rejected,
    Unproven,
)
from tests.cluster.pair import KEY, OTHER_KEY, believing, channel, counting_bytes, greet


def test_believed_packets_arrive_as_they_were_sent() -> None:
    one, two = believing()
    for body in (b"", b"x", b"y" * 8000):
        opened = two.open(one.seal("lb2", body))
        assert isinstance(opened, Opened)
        assert (opened.peer, opened.body, opened.repeated) == ("lb1", body, False)


def test_first_packet_of_an_unknown_session_is_unproven_and_delivers_nothing() -> None:
    one, two = channel("lb1", "lb2"), channel("lb2", "lb1")
    assert two.open(one.seal("lb2", b"secret")) == Unproven("lb1")


def test_handshake_takes_one_round_trip_for_each_side() -> None:
    one, two = channel("lb1", "lb2"), channel("lb2", "lb1")
    assert isinstance(two.open(one.seal("lb2", b"")), Unproven)
    answer = one.open(two.seal("lb1", b"believed"))
    assert isinstance(answer, Opened)
    assert answer.greeting
    second = two.open(one.seal("lb2", b"believed"))
    assert isinstance(second, Opened)
    assert second.greeting
    third = one.open(two.seal("lb1", b"quiet"))
    assert isinstance(third, Opened)
    assert not third.greeting


@pytest.mark.parametrize("restarted", ["lb1", "lb2"])
def test_restart_of_either_side_converges(restarted: str) -> None:
    one, two = believing()
    if restarted == "lb1":
        one = channel("lb1", "lb2", seed=7)
    else:
        two = channel("lb2", "lb1", seed=7)
    if restarted == "lb1":
        greet(one, two)
    else:
        assert isinstance(one.open(two.seal("lb1", b"")), Unproven)
        assert isinstance(two.open(one.seal("lb2", b"")), Opened)
        assert isinstance(one.open(two.seal("lb1", b"")), Opened)


def test_recordings_of_an_older_session_prove_nothing() -> None:
    """Not even ones that were held back and never delivered."""
    one, two = believing()
    held_back = [one.seal("lb2", b"old %d" % n) for n in range(3)]
    delivered = one.seal("lb2", b"delivered")
    assert isinstance(two.open(delivered), Opened)
    greet(channel("lb1", "lb2", seed=7), two)
    assert [two.open(old) for old in (*held_back, delivered)] == [Unproven("lb1")] * 4


def test_recording_of_a_session_that_was_never_believed_cannot_replace_the_present_one() -> None:
    _, two = believing()
    second, third = channel("lb1", "lb2", seed=7), channel("lb1", "lb2", seed=8)
    two.open(second.seal("lb2", b""))
    assert isinstance(second.open(two.seal("lb1", b"")), Opened)
    held_back = second.seal("lb2", b"echoes the challenge of its time")
    greet(third, two)
    assert two.open(held_back) == Unproven("lb1")
    assert isinstance(two.open(third.seal("lb2", b"")), Opened)


def test_replay_to_a_restarted_receiver_is_unproven() -> None:
    one, two = believing()
    recorded = one.seal("lb2", b"released web")
    assert isinstance(two.open(recorded), Opened)
    assert channel("lb2", "lb1", seed=7).open(recorded) == Unproven("lb1")


def test_second_copy_is_marked_as_repeated() -> None:
    one, two = believing()
    datagram = one.seal("lb2", b"twice")
    first, second = two.open(datagram), two.open(datagram)
    assert isinstance(first, Opened)
    assert isinstance(second, Opened)
    assert (first.repeated, second.repeated) == (False, True)


@given(st.permutations(range(WINDOW)))
def test_any_order_within_the_window_is_delivered_once(order: list[int]) -> None:
    one, two = believing()
    datagrams = [one.seal("lb2", bytes([n])) for n in range(WINDOW)]
    for n in order:
        opened = two.open(datagrams[n])
        assert isinstance(opened, Opened)
        assert (opened.body, opened.repeated) == (bytes([n]), False)
        again = two.open(datagrams[n])
        assert isinstance(again, Opened)
        assert again.repeated


def test_older_than_the_window_is_replayed() -> None:
    one, two = believing()
    first = one.seal("lb2", b"first")
    for _ in range(WINDOW):
        assert isinstance(two.open(one.seal("lb2", b"")), Opened)
    assert two.open(first) == Rejected("replayed", "lb1")


def test_gap_larger_than_the_window_is_fine() -> None:
    one, two = believing()
    for _ in range(3 * WINDOW):
        one.seal("lb2", b"lost")
    assert isinstance(two.open(one.seal("lb2", b"")), Opened)


@given(st.binary(max_size=300))
def test_any_bytes_become_a_rejection(data: bytes) -> None:
    _, two = believing()
    assert isinstance(two.open(data), Rejected)
    assert isinstance(two.open(b"HM\x01" + data), Rejected)
    assert isinstance(two.open(b"HM\x01" + bytes.fromhex(KEY.id) + data), Rejected)


@given(st.data())
def test_any_bit_changed_is_rejected(data: st.DataObject) -> None:
    one, two = believing()
    datagram = bytearray(one.seal("lb2", b"released web"))
    bit = data.draw(st.integers(0, len(datagram) * 8 - 1))
    datagram[bit // 8] ^= 1 << (bit % 8)
    outcome = two.open(bytes(datagram))
    assert isinstance(outcome, Rejected)
    assert outcome.peer == ""
    header_bytes = 3 + 4 + 16 + 8 + 1 + len("lb1")
    if bit >= header_bytes * 8:
        assert outcome.reason == "bad-tag"


@pytest.mark.parametrize("keep", range(0, 90, 7))
def test_truncated_is_rejected(keep: int) -> None:
    one, two = believing()
    assert isinstance(two.open(one.seal("lb2", b"x" * 60)[:keep]), Rejected)


def test_too_large_is_rejected_before_anything_is_computed() -> None:
    _, two = believing()
    assert two.open(bytes(DATAGRAM_BYTES_MAX + 1)) == Rejected("too-large")


def test_stranger_with_the_key_is_an_unknown_peer() -> None:
    _, two = believing()
    assert two.open(channel("lb9", "lb2").seal("lb2", b"")) == Rejected("unknown-peer")


def test_packet_for_another_node_does_not_open() -> None:
    one = channel("lb1", "lb2", "lb3")
    assert channel("lb2", "lb1").open(one.seal("lb3", b"")) == Rejected("bad-tag")


def test_packet_of_another_cluster_does_not_open() -> None:
    foreign = Channel("core", "lb1", ("lb2",), (KEY,), counting_bytes(1))
    assert channel("lb2", "lb1").open(foreign.seal("lb2", b"")) == Rejected("bad-tag")


def test_own_packet_reflected_is_rejected() -> None:
    one, _ = believing()
    assert one.open(one.seal("lb2", b"")) == Rejected("unknown-peer")


def test_another_node_of_this_name_is_told_from_who_only_says_so() -> None:
    one, _ = believing()
    twin = channel("lb1", "lb2", seed=1)
    datagram = twin.seal("lb2", b"")
    assert one.open(datagram) == OwnName()
    assert one.is_namesake(datagram)
    assert not one.is_namesake(datagram[:-1] + bytes([datagram[-1] ^ 1]))
    stranger = channel("lb1", "lb2", keys=(OTHER_KEY,), seed=1).seal("lb2", b"")
    assert one.open(stranger) == Rejected("unknown-key")
    assert not one.is_namesake(stranger)
    foreign = Channel("core", "lb1", ("lb2",), (KEY,), counting_bytes(1)).seal("lb2", b"")
    assert one.open(foreign) == OwnName()
    assert not one.is_namesake(foreign)
    assert not one.is_namesake(channel("lb1", "lb9", seed=1).seal("lb9", b""))


def test_unknown_key_is_told_apart_from_a_bad_tag() -> None:
    _, two = believing()
    stranger = channel("lb1", "lb2", keys=(OTHER_KEY,))
    assert two.open(stranger.seal("lb2", b"")) == Rejected("unknown-key")


def test_rotation_never_interrupts() -> None:
    """Second line everywhere, first line everywhere, old one removed: in each mixed state."""
    one, two = believing()
    steps = ((KEY, OTHER_KEY), (OTHER_KEY, KEY), (OTHER_KEY,))
    for keys in steps:
        for node, peer in ((one, "lb2"), (two, "lb1")):
            node.reconfigure((peer,), keys)
            assert isinstance(two.open(one.seal("lb2", b"")), Opened)
            assert isinstance(one.open(two.seal("lb1", b"")), Opened)
    retired = channel("lb1", "lb2", keys=(KEY,))
    assert two.open(retired.seal("lb2", b"")) == Rejected("unknown-key")


def test_same_body_never_seals_to_the_same_bytes() -> None:
    one, _ = believing()
    assert len({one.seal("lb2", b"same") for _ in range(100)}) == 100
