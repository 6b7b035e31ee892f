"""The page between engine and guard: what was written whole is in force, whatever was torn."""

import os
from collections.abc import Iterator
from ipaddress import ip_address
from socket import AF_INET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haman.engine import guard, lastwords
from haman.engine.lastwords import LastWords
from haman.system.netlink import InterfaceAddress, delete_address

PLACE = InterfaceAddress(7, AF_INET, "10.0.0.1", 24)
ADVERT = lastwords.advert("eth0", 7, ip_address("224.0.0.18"), b"packet")


@pytest.fixture
def memory() -> Iterator[int]:
    number = os.memfd_create("test")
    os.ftruncate(number, guard.PAGE_BYTES)
    yield number
    os.close(number)


def page(memory: int) -> bytes:
    return os.pread(memory, guard.PAGE_BYTES, 0)


def test_the_guard_reads_what_the_engine_wrote(memory: int) -> None:
    words = LastWords(memory)
    assert guard.last_words(page(memory)) == []
    assert words.write([ADVERT, lastwords.removal(PLACE)]) == 0
    group = ip_address("224.0.0.18").packed.ljust(16, b"\0")
    assert guard.last_words(page(memory)) == [
        (4, 7, b"eth0", group, b"packet"),
        (guard.KIND_REQUEST, 7, b"", bytes(16), delete_address(1, PLACE)),
    ]
    words.write([ADVERT])
    assert len(guard.last_words(page(memory))) == 1
    words.write([])
    assert guard.last_words(page(memory)) == []
    words.close()


@given(st.integers(0, 400), st.binary(min_size=1, max_size=64))
def test_a_torn_write_leaves_the_words_before_it(at: int, garbage: bytes) -> None:
    number = os.memfd_create("test")
    try:
        os.ftruncate(number, guard.PAGE_BYTES)
        words = LastWords(number)
        words.write([ADVERT])
        before = page(number)
        words.write([ADVERT, ADVERT, lastwords.removal(PLACE)])
        after = page(number)
        words.close()
    finally:
        os.close(number)
    # The second write went into the slot at 0, and stopped after `at` bytes, or left garbage there.
    torn = after[:at] + before[at:]
    assert len(guard.last_words(torn)) in (1, 3)
    if torn != after:
        assert guard.last_words(torn) == guard.last_words(before)
    at %= 150
    scrambled = after[:at] + garbage + after[at + len(garbage) :]
    if scrambled != after:
        assert guard.last_words(scrambled) == guard.last_words(before)


@given(st.binary(max_size=300))
def test_no_page_raises(text: bytes) -> None:
    header = guard.SLOT_HEADER.pack(1, len(text), guard.slot_checksum(1, text))
    whole = (header + text).ljust(guard.PAGE_BYTES, b"\0")
    guard.last_words(whole)
    guard.last_words(text.ljust(guard.PAGE_BYTES, b"\xff"))


def test_what_does_not_fit_is_counted(memory: int) -> None:
    words = LastWords(memory)
    many = [ADVERT] * 10_000
    left_out = words.write(many)
    assert 0 < left_out < 10_000
    assert len(guard.last_words(page(memory))) == 10_000 - left_out
    words.close()
