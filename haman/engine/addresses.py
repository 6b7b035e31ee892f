"""The one hand that adds and removes services' addresses: a worker thread of the engine.

A request for an address may wait for the kernel's rtnl lock, for seconds on a busy host. So it
waits here, and adverts go out meanwhile. The loop gives the whole desired set (`Orders`), never a
change of it; the worker compares it with the kernel, asks for the difference, and answers with what
the kernel confirmed (`Reconciled`). Of several orders that wait only the newest counts.

Whose address is it? Haman's mark (IFA_PROTO 0x68) says: ours; so does its being a service's address
that we have added. Ours and not desired → removed, whenever it is seen. A service's address *without*
the mark that appears while we run was put there by somebody else, who may know why: it is left and
reported, once. Only at start, when nobody is served yet, are these removed as well: leftovers of an
engine on an old kernel, or of the keepalived that was replaced.

The kernel removes addresses on its own, too: with a primary IPv4 address go all secondaries of its
subnet, a VIP among them. The monitor sees that, and the next orders look at the kernel first.

The dead-man's lease: an address is added with a finite lifetime, and the *loop* has it renewed
(`Orders.renew`). The worker on its own renews nothing: when the loop stands still the kernel takes
the addresses away.
"""

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Protocol

from haman.core.frozen import dataclass
from haman.system import netlink
from haman.system.netlink import Acknowledged, InterfaceAddress, Link
from haman.system.netlink_socket import NetlinkFailedError, Requests

_ENODEV, _EADDRNOTAVAIL = 19, 99
_STACK_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Lease:
    """How an address is to be held.

    Attributes:
        lease_s: lifetime from each renewal, whole seconds.
        prefix_route: the kernel may add the route to the prefix. Off where an address of the
            interface's own has made that route already (IPv6): it must not come to share in our
            finite lifetime.
    """

    lease_s: int
    prefix_route: bool = True


@dataclass(frozen=True, slots=True)
class Orders:
    """The whole desired set.

    Attributes:
        generation: echoed in the answer.
        wanted: what shall be held, keyed by `InterfaceAddress.place`.
        configured: (interface name, address) of every VIP and anycast service, held or not.
        verify: look at what the kernel has before, and remove what should not be.
        initial: nothing is served yet: remove configured addresses without the mark as well.
        renew: begin every lease anew.
    """

    generation: int
    wanted: Mapping[InterfaceAddress, Lease]
    configured: frozenset[tuple[str, str]] = frozenset()
    verify: bool = False
    initial: bool = False
    renew: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """An address that the kernel would not add or remove."""

    place: InterfaceAddress
    errno: int
    text: str


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What the kernel holds now.

    Attributes:
        generation: of the orders carried out.
        held: wanted, and confirmed.
        refused: wanted, and not added.
        stuck: not wanted, and not removed; tried again with the next orders.
        restored: were held and had vanished; added again.
        strays: removed though this engine had not added them.
        strangers: a service's address that somebody else put there; left.
        links: of the host; None unless `verify` was asked.
        addresses: of the host, before the changes; None unless `verify` was asked.
        problem: netlink failed as a whole; the rest is then as before.
    """

    generation: int
    held: frozenset[InterfaceAddress] = frozenset()
    refused: tuple[Refusal, ...] = ()
    stuck: tuple[Refusal, ...] = ()
    restored: tuple[InterfaceAddress, ...] = ()
    strays: tuple[InterfaceAddress, ...] = ()
    strangers: tuple[InterfaceAddress, ...] = ()
    links: tuple[Link, ...] | None = None
    addresses: tuple[InterfaceAddress, ...] | None = None
    problem: str = ""


class Kernel(Protocol):
    """What reconciliation needs of `Requests`."""

    def links(self) -> tuple[Link, ...]:
        """All interfaces."""

    def addresses(self) -> tuple[InterfaceAddress, ...]:
        """All addresses."""

    def change(self, builds: Sequence[Callable[[int], bytes]]) -> list[Acknowledged]:
        """Send requests; answers in their order."""


class Reconciler:
    """Makes the kernel's set the desired one. May wait for the kernel; not thread-safe."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._present: set[InterfaceAddress] = set()

    def reconcile(self, orders: Orders) -> Reconciled:
        """Carry out the orders.

        Raises:
            NetlinkFailedError: the kernel cannot be talked to.
        """
        links, addresses = None, None
        vanished: set[InterfaceAddress] = set()
        strays: list[InterfaceAddress] = []
        strangers: list[InterfaceAddress] = []
        if orders.verify:
            links, addresses = self._kernel.links(), self._kernel.addresses()
            names = {link.index: link.name for link in links}
            there = {a.place for a in addresses}
            vanished = self._present - there
            self._present &= there
            for address in addresses:
                place = address.place
                if place in self._present or place in orders.wanted:
                    continue
                configured = (names.get(place.ifindex), place.address) in orders.configured
                if address.protocol == netlink.ADDRESS_MARK or (configured and orders.initial):
                    strays.append(place)
                elif configured:
                    strangers.append(place)
        stuck = self.remove([*(p for p in self._present if p not in orders.wanted), *strays])
        missing = [p for p in orders.wanted if orders.renew or p not in self._present]
        refused = self._add({place: orders.wanted[place] for place in missing})
        held = frozenset(self._present & orders.wanted.keys())
        still_there = {refusal.place for refusal in stuck}
        return Reconciled(
            orders.generation,
            held,
            refused,
            stuck,
            restored=tuple(p for p in vanished if p in held),
            strays=tuple(p for p in strays if p not in still_there),
            strangers=tuple(strangers),
            links=links,
            addresses=addresses,
        )

    def remove(self, places: Sequence[InterfaceAddress]) -> tuple[Refusal, ...]:
        """Remove these, whosever they are; gives those that are still there.

        Raises:
            NetlinkFailedError: the kernel cannot be talked to.
        """
        answers = self._kernel.change(
            [partial(netlink.delete_address, address=place) for place in places]
        )
        stuck = []
        for place, answer in zip(places, answers, strict=True):
            if answer.errno in (0, _ENODEV, _EADDRNOTAVAIL):
                self._present.discard(place)
            else:
                self._present.add(place)  # so that the next orders try again
                stuck.append(_refusal(place, answer))
        return tuple(stuck)

    def _add(self, wanted: Mapping[InterfaceAddress, Lease]) -> tuple[Refusal, ...]:
        answers = self._kernel.change(
            [
                partial(
                    netlink.new_address,
                    address=place,
                    lease_s=lease.lease_s,
                    prefix_route=lease.prefix_route,
                )
                for place, lease in wanted.items()
            ]
        )
        refused = []
        for place, answer in zip(wanted, answers, strict=True):
            if answer.errno:
                self._present.discard(place)
                refused.append(_refusal(place, answer))
            else:
                self._present.add(place)
        return tuple(refused)


def _refusal(place: InterfaceAddress, answer: Acknowledged) -> Refusal:
    return Refusal(place, answer.errno, answer.text or os.strerror(answer.errno))


class AddressWorker:
    """The thread. `submit` and `collect` never wait.

    Args:
        on_start: called in the thread before anything else, to raise its priority.

    Raises:
        OSError: no netlink socket.
    """

    def __init__(self, on_start: Callable[[], None]) -> None:
        self._on_start = on_start
        self._requests = Requests()
        self._reconciler = Reconciler(self._requests)
        self._lock = threading.Lock()
        self._orders: Orders | None = None
        self._answers: list[Reconciled] = []
        self._failure: BaseException | None = None
        self._stopping = False
        self._asked = os.eventfd(0, os.EFD_CLOEXEC)
        self._answered = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        # A locked stack of the default 8 MiB would be most of the engine's memory.
        threading.stack_size(_STACK_BYTES)
        self._thread = threading.Thread(target=self._run, name="addresses", daemon=True)

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def fileno(self) -> int:
        """Readable when there is something to collect."""
        return self._answered

    def submit(self, orders: Orders) -> None:
        """Hand over the whole desired set; it replaces one that still waits, but not its flags."""
        with self._lock:
            waiting = self._orders
            if waiting is not None:
                orders = replace(
                    orders,
                    verify=orders.verify or waiting.verify,
                    initial=orders.initial or waiting.initial,
                    renew=orders.renew or waiting.renew,
                )
            self._orders = orders
        os.eventfd_write(self._asked, 1)

    def collect(self) -> list[Reconciled]:
        """Answers since the last call; at most one per `submit`.

        Raises:
            RuntimeError: the worker died; the engine cannot go on without it.
        """
        try:
            os.eventfd_read(self._answered)
        except BlockingIOError:
            return []
        with self._lock:
            answers, self._answers = self._answers, []
            failure = self._failure
        if failure is not None:
            raise RuntimeError("the address worker died") from failure
        return answers

    def stop(self, timeout_s: float) -> bool:
        """End the thread; False = it still waits for the kernel after that time."""
        self._stopping = True
        os.eventfd_write(self._asked, 1)
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            return False
        self._requests.close()
        os.close(self._asked)
        os.close(self._answered)
        return True

    def _run(self) -> None:
        try:
            self._on_start()
            while True:
                os.eventfd_read(self._asked)
                if self._stopping:
                    return
                with self._lock:
                    orders, self._orders = self._orders, None
                if orders is not None:
                    self._answer(self._carry_out(orders))
        except BaseException as error:  # noqa: BLE001 - handed to the loop, which raises it
            self._failure = error
            os.eventfd_write(self._answered, 1)

    def _carry_out(self, orders: Orders) -> Reconciled:
        try:
            return self._reconciler.reconcile(orders)
        except NetlinkFailedError as error:
            return Reconciled(orders.generation, problem=str(error))

    def _answer(self, answer: Reconciled) -> None:
        with self._lock:
            self._answers.append(answer)
        os.eventfd_write(self._answered, 1)
