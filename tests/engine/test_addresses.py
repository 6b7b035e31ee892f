"""Reconciliation against a fake kernel, and the worker's thread."""

import errno
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from socket import AF_INET

import pytest

from haman.engine.addresses import AddressWorker, Lease, Orders, Reconciled, Reconciler
from haman.system.netlink import (
    ADDRESS_MARK,
    Acknowledged,
    InterfaceAddress,
    Link,
    delete_address,
    new_address,
)
from tests.engine.net import wait

ETH0 = Link(7, "eth0", 1, 0x43, 6, b"\x02" * 6)
A = InterfaceAddress(7, AF_INET, "10.0.0.1", 24)
B = InterfaceAddress(7, AF_INET, "10.0.0.2", 24)
LEASE = Lease(3)
CONFIGURED = frozenset({("eth0", "10.0.0.1"), ("eth0", "10.0.0.2")})


class FakeKernel:
    """Holds addresses; refuses what it is told to."""

    def __init__(self, *there: InterfaceAddress) -> None:
        self.there = {a.place: a for a in there}
        self.refuse: dict[InterfaceAddress, int] = {}
        self.asked: list[tuple[str, InterfaceAddress]] = []

    def links(self) -> tuple[Link, ...]:
        return (ETH0,)

    def addresses(self) -> tuple[InterfaceAddress, ...]:
        return tuple(self.there.values())

    def change(self, builds: Sequence[Callable[[int], bytes]]) -> list[Acknowledged]:
        return [self._change(n, build) for n, build in enumerate(builds)]

    def _change(self, number: int, build) -> Acknowledged:
        place = build.keywords["address"]
        what = {new_address: "add", delete_address: "remove"}[build.func]
        self.asked.append((what, place))
        code = self.refuse.get(place, 0)
        if not code and what == "add":
            self.there[place] = replace(place, protocol=ADDRESS_MARK)
        elif not code and self.there.pop(place, None) is None:
            code = errno.EADDRNOTAVAIL
        return Acknowledged(number, code)


def orders(generation: int, *wanted: InterfaceAddress, **more: bool) -> Orders:
    return Orders(generation, dict.fromkeys(wanted, LEASE), CONFIGURED, **more)


def test_only_the_difference_is_asked_for() -> None:
    kernel = FakeKernel()
    reconciler = Reconciler(kernel)
    assert reconciler.reconcile(orders(1, A)).held == {A}
    assert reconciler.reconcile(orders(2, A, B)).held == {A, B}
    assert reconciler.reconcile(orders(3, B)).held == {B}
    assert kernel.asked == [("add", A), ("add", B), ("remove", A)]
    reconciler.reconcile(orders(4, B, renew=True))
    assert kernel.asked[3:] == [("add", B)]


def test_at_the_start_every_configured_address_goes() -> None:
    other = InterfaceAddress(7, AF_INET, "10.0.0.9", 24)
    elsewhere = replace(A, ifindex=8)
    marked = InterfaceAddress(8, AF_INET, "10.9.9.9", 32, protocol=ADDRESS_MARK)
    kernel = FakeKernel(A, replace(A, prefix=32), other, elsewhere, marked)
    answer = Reconciler(kernel).reconcile(orders(1, verify=True, initial=True))
    assert set(answer.strays) == {A, replace(A, prefix=32), marked.place}
    assert set(kernel.there) == {other, elsewhere}


def test_later_only_marked_strays_go_and_strangers_are_told() -> None:
    kernel = FakeKernel(A, replace(B, protocol=ADDRESS_MARK))
    answer = Reconciler(kernel).reconcile(orders(1, verify=True))
    assert answer.strays == (B,)
    assert answer.strangers == (A,)
    assert set(kernel.there) == {A}


def test_what_vanished_is_restored() -> None:
    kernel = FakeKernel()
    reconciler = Reconciler(kernel)
    reconciler.reconcile(orders(1, A, B))
    del kernel.there[A]
    answer = reconciler.reconcile(orders(2, A, B, verify=True))
    assert answer.restored == (A,)
    assert answer.held == {A, B}
    del kernel.there[A]
    assert reconciler.reconcile(orders(3, B, verify=True)).restored == ()


def test_refusals_are_told_and_tried_again() -> None:
    kernel = FakeKernel()
    kernel.refuse[A] = errno.EPERM
    reconciler = Reconciler(kernel)
    answer = reconciler.reconcile(orders(1, A, B))
    assert answer.held == {B}
    assert [(r.place, r.errno) for r in answer.refused] == [(A, errno.EPERM)]
    kernel.refuse.clear()
    assert reconciler.reconcile(orders(2, A, B)).held == {A, B}


def test_what_cannot_be_removed_stays_on_the_list() -> None:
    kernel = FakeKernel()
    reconciler = Reconciler(kernel)
    reconciler.reconcile(orders(1, A))
    kernel.refuse[A] = errno.EBUSY
    assert [r.place for r in reconciler.reconcile(orders(2)).stuck] == [A]
    kernel.refuse.clear()
    assert reconciler.reconcile(orders(3)).stuck == ()
    assert not kernel.there


@pytest.mark.parametrize("code", [errno.ENODEV, errno.EADDRNOTAVAIL])
def test_what_is_gone_already_counts_as_removed(code: int) -> None:
    kernel = FakeKernel()
    reconciler = Reconciler(kernel)
    reconciler.reconcile(orders(1, A))
    kernel.refuse[A] = code
    assert reconciler.reconcile(orders(2)).stuck == ()


class SlowReconciler:
    """Waits like for the rtnl lock, until told."""

    def __init__(self) -> None:
        self.go = threading.Semaphore(0)
        self.seen: list[Orders] = []

    def reconcile(self, given: Orders) -> Reconciled:
        self.seen.append(given)
        assert self.go.acquire(timeout=5)
        if given.generation == 99:
            raise ZeroDivisionError("a bug")
        return Reconciled(given.generation)


@pytest.fixture
def worker() -> Iterator[tuple[AddressWorker, SlowReconciler]]:
    slow = SlowReconciler()
    made = AddressWorker(lambda: None)
    made._reconciler = slow  # type: ignore[assignment]
    made.start()
    yield made, slow
    slow.go.release(100)
    assert made.stop(5)


def test_of_orders_that_wait_the_newest_counts_with_all_their_flags(
    worker: tuple[AddressWorker, SlowReconciler],
) -> None:
    made, slow = worker
    made.submit(orders(1, A))
    wait(lambda: slow.seen)
    made.submit(orders(2, verify=True))
    made.submit(orders(3, renew=True))
    made.submit(orders(4, B))
    assert made.collect() == []
    slow.go.release(2)
    wait(lambda: len(slow.seen) == 2)
    assert slow.seen[1] == orders(4, B, verify=True, renew=True)
    answers: list[int] = []

    def both() -> bool:
        answers.extend(a.generation for a in made.collect())
        return answers == [1, 4]

    wait(both)


def test_a_bug_in_the_worker_reaches_the_loop(
    worker: tuple[AddressWorker, SlowReconciler],
) -> None:
    made, slow = worker
    slow.go.release()
    made.submit(orders(99))
    with pytest.raises(RuntimeError, match="worker died"):
        wait(lambda: made.collect() and False, 5)
