"""The socket between engine and controller: bounded, never blocking, never raising on bad bytes."""

import contextlib
import socket
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haman.core.facts import (
    EngineReported,
    EventsReported,
    StancesDeclared,
    TakeoverOrdered,
    VipReport,
    VipStance,
)
from haman.core.words import Event, Reason, Role
from haman.system import link
from haman.system.link import ControllerEnd, EngineEnd, MalformedMessageError

REASON = Reason("code", "text", {"a": 1, "b": 2.5, "c": "x"})
STANCES = StancesDeclared(3, (VipStance("web", True, 100, False, (REASON,)),))
ORDER = TakeoverOrdered("web", (REASON,))
REPORT = EngineReported(
    3, (VipReport("web", Role.ACTIVE, 100, 5, (REASON,), ("10.0.0.1/24",)),), counters={"a": 1}
)
EVENT = Event("vip-acquired", 1, "text", "web", (REASON,), {"took_ms": 1.5})


@pytest.fixture
def ends() -> Iterator[tuple[EngineEnd, ControllerEnd]]:
    engine, controller = link.pair()
    made = EngineEnd(engine), ControllerEnd(controller)
    yield made
    for end in made:
        end.close()


@pytest.mark.parametrize(
    "message", [STANCES, ORDER, REPORT, EventsReported((EVENT,), 4)], ids=lambda m: type(m).__name__
)
def test_what_is_written_is_read(message) -> None:
    assert link.decode(link.encode(message)) == message


@given(st.binary(max_size=100))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    for each in (data, b"S" + data, b"R" + data):
        with contextlib.suppress(MalformedMessageError):
            link.decode(each)


def test_each_end_hears_the_other(ends: tuple[EngineEnd, ControllerEnd]) -> None:
    engine, controller = ends
    assert controller.declare(STANCES)
    assert controller.order(ORDER)
    assert engine.receive().messages == (STANCES, ORDER)
    engine.tell(EVENT)
    engine.report(REPORT)
    events, report = controller.receive().messages
    assert events == EventsReported((EVENT,), 0)
    assert report == REPORT


def test_bad_messages_are_values(ends: tuple[EngineEnd, ControllerEnd]) -> None:
    engine, controller = ends
    for data in (b"?", b"S\xc1", link.encode(REPORT), bytes(10)):
        controller._socket.send(data)
    controller.declare(STANCES)
    received = engine.receive()
    assert len(received.malformed) == 4
    assert received.messages == (STANCES,)
    assert not received.closed


def test_of_reports_that_wait_only_the_newest_is_sent(
    ends: tuple[EngineEnd, ControllerEnd],
) -> None:
    engine, controller = ends
    generation = 0
    while engine.flush():  # until the controller's socket is full
        generation += 1
        engine.report(EngineReported(generation, REPORT.vips * 50))
    for _ in range(1000):
        generation += 1
        engine.report(EngineReported(generation, ()))
    seen = []
    while messages := controller.receive().messages:
        seen += [m.generation for m in messages if isinstance(m, EngineReported)]
        engine.flush()
    assert seen[-1] == generation
    assert len(seen) < generation - 900


def test_events_wait_up_to_a_bound_and_are_counted_beyond(
    ends: tuple[EngineEnd, ControllerEnd],
) -> None:
    engine, controller = ends
    while engine.flush():
        engine.report(EngineReported(0, REPORT.vips * 50))
    for number in range(link.EVENTS_MAX + 10):
        engine.tell(Event("x", number, ""))
    got, dropped = [], 0
    while messages := controller.receive().messages:
        engine.flush()
        for message in messages:
            if isinstance(message, EventsReported):
                got += [e.at_ns for e in message.events]
                dropped += message.dropped
    assert dropped == 10
    assert got == list(range(10, link.EVENTS_MAX + 10))


def test_orders_wait_up_to_a_bound(ends: tuple[EngineEnd, ControllerEnd]) -> None:
    _, controller = ends
    big = StancesDeclared(1, STANCES.vips * 500)
    while controller.declare(big):
        pass
    for _ in range(link.ORDERS_MAX + 5):
        assert not controller.order(TakeoverOrdered("web"))
    assert controller.dropped == 5


def test_a_closed_end_is_said_and_what_was_not_sent_goes_to_the_next(
    ends: tuple[EngineEnd, ControllerEnd],
) -> None:
    engine, controller = ends
    controller.close()
    engine.tell(Event("x", 1, ""))
    assert not engine.flush()
    assert engine.receive().closed
    mine, theirs = link.pair()
    successor, reader = EngineEnd(mine), ControllerEnd(theirs)
    successor.inherit(engine)
    assert successor.flush()
    assert reader.receive().messages == (EventsReported((Event("x", 1, ""),), 0),)
    successor.close()
    reader.close()


def test_a_message_beyond_any_socket_is_dropped_and_counted(
    ends: tuple[EngineEnd, ControllerEnd],
) -> None:
    engine, controller = ends
    engine._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    engine.report(EngineReported(0, REPORT.vips * 5000))
    assert engine.oversized == 1
    for text in ("a", "b" * 100_000, "c" * 2000, "d" * 2000, "e"):
        engine.tell(Event("x", 1, text))
    assert engine.flush()
    heard = [m for m in controller.receive().messages if isinstance(m, EventsReported)]
    assert [e.text[0] for m in heard for e in m.events] == ["a", "c", "d", "e"]
    assert sum(m.dropped for m in heard) == 1
