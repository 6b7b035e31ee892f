"""Which addresses this node holds: what is wanted, what the kernel has confirmed, and their lease.

The loop's side of `addresses`. Every change is written into the guard's page *before* the worker is
asked to add, and again *after* the kernel has confirmed a removal (see `guard`).

A service's way, VIP or anycast: wanted → (the kernel confirms every address) acquired → dropped →
(the kernel confirms) released. One that is wanted and stays unconfirmed has failed after 3 s, or
after 5 refusals: a virtual router must not go on as if clients were served, nor be announced what
is not there.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import field
from typing import Final, Protocol

from haman.config.lease import RENEWALS_PER_LEASE
from haman.core.frozen import dataclass
from haman.core.vrrp.group import Key
from haman.core.words import Reason
from haman.engine.addresses import Lease, Orders, Reconciled
from haman.engine.claims import Claim, every_address
from haman.engine.interfaces import Interfaces
from haman.engine.loop import EARLY_NS
from haman.engine.reporter import Reporter
from haman.system.netlink import (
    ADDRESS_MARK,
    AddressAdded,
    AddressRemoved,
    InterfaceAddress,
    Message,
)

NS_PER_S: Final = 1_000_000_000
CONFIRM_WITHIN_NS: Final = 3 * NS_PER_S
RETRY_AFTER_NS: Final = 50_000_000
RETRY_AFTER_PROBLEM_NS: Final = NS_PER_S
REFUSALS_MAX: Final = 5


class Worker(Protocol):
    """What is needed of `AddressWorker`."""

    def submit(self, orders: Orders) -> None:
        """Take the newest orders."""


@dataclass(slots=True)
class _Holding:
    """One claim, wanted or on its way out.

    `places` are those asked for last; after a drop, those to be confirmed as gone.
    """

    claim: Claim
    since_ns: int
    wanted: bool = True
    places: frozenset[InterfaceAddress] = frozenset()
    prefix_routes: dict[InterfaceAddress, bool] = field(default_factory=dict)
    generation: int = 0
    refusals: int = 0
    confirmed: bool = False


class Holdings:
    """The addresses of all services.

    Args:
        acquired: called once all addresses of a claim were confirmed.
        removed: called when those of a claim let go of are off, and how many ns that took.
        failed: called when a wanted claim's addresses cannot be had.
        write_page: renews the guard's page for the places given: those that are guarded.
    """

    def __init__(
        self,
        worker: Worker,
        interfaces: Interfaces,
        reporter: Reporter,
        *,
        acquired: Callable[[Key], None],
        removed: Callable[[Key, int], None],
        failed: Callable[[Key, Reason], None],
        write_page: Callable[[Iterable[InterfaceAddress]], None],
    ) -> None:
        self._worker = worker
        self._interfaces = interfaces
        self._reporter = reporter
        self._acquired = acquired
        self._removed = removed
        self._failed = failed
        self._write_page = write_page
        self._configured: frozenset[tuple[str, str]] = frozenset()
        self._families: Counter[str] = Counter()
        self._holdings: dict[Key, _Holding] = {}
        self._held: frozenset[InterfaceAddress] = frozenset()
        self._stuck: frozenset[InterfaceAddress] = frozenset()
        self._told_acquired: dict[str, str] = {}  # and the kind of service
        self._generation = 0
        self._resync_generation: int | None = None
        self._dirty = False
        self._verify = False
        self._initial = True
        self._renew_at_ns: int | None = None
        self._retry_at_ns: int | None = None
        self._all_places: frozenset[InterfaceAddress] | None = None  # None = to be found anew
        self._missing_since_ns: dict[Key, int] = {}  # wanted, and not confirmed; few, as a rule

    # ---- what virtual routers and anycast services ask -----------------------------------------

    def configure(self, claims: Mapping[Key, Claim]) -> None:
        """The claims that may be made from now on."""
        self._configured = every_address(claims.values())
        self._families = Counter(service for service, _ in claims)
        self._dirty = True

    def hold(self, claim: Claim, now_ns: int) -> None:
        """Have this claim's addresses; replaces what was asked for its service and family before."""
        old = self._holdings.get(claim.key)
        if old is not None and old.wanted:
            old.claim = claim
        else:
            routes = old.prefix_routes if old else {}
            self._holdings[claim.key] = _Holding(claim, now_ns, prefix_routes=routes)
            self._all_places = None
        self._dirty = True

    def drop(self, key: Key, now_ns: int) -> None:
        """Have none of this claim's addresses."""
        holding = self._holdings.get(key)
        if holding is None or not holding.wanted:
            return
        holding.wanted = False
        holding.confirmed = False
        holding.since_ns = now_ns
        self._missing_since_ns.pop(key, None)
        holding.generation = self._generation + 1
        self._dirty = True

    def confirmed(self, key: Key) -> bool:
        """Whether all addresses of the claim are on the interface."""
        holding = self._holdings.get(key)
        return holding is not None and holding.wanted and holding.confirmed

    def wants(self, key: Key) -> bool:
        """Whether the claim's addresses are asked for, confirmed or not."""
        holding = self._holdings.get(key)
        return holding is not None and holding.wanted

    def has(self, key: Key) -> bool:
        """Whether any of the claim's addresses may be on its interface."""
        return key in self._holdings

    def held(self, service: str) -> tuple[str, ...]:
        """The confirmed addresses of a service, as "address/length"."""
        places = [p for holding in self._of(service) for p in holding.places]
        return tuple(sorted(f"{p.address}/{p.prefix}" for p in places if p in self._held))

    def _of(self, service: str) -> list[_Holding]:
        both = (self._holdings.get((service, family)) for family in (4, 6))
        return [holding for holding in both if holding is not None]

    @property
    def changed(self) -> bool:
        """`flush` has something to do, whatever the time."""
        return self._dirty

    @property
    def empty(self) -> bool:
        """Nothing is wanted, and everything was confirmed as gone."""
        return not self._holdings and not self._dirty

    # ---- what the kernel says ------------------------------------------------------------------

    def resync(self) -> None:
        """What is known of the host is void: have it all read again."""
        self._resync_generation = self._generation + 1
        self._interfaces.dump_began()
        self._verify = self._dirty = True

    def observed(self, message: Message) -> None:
        """A change that the monitor saw; own ones come by here as well."""
        match message:
            case AddressRemoved(address):
                place = address.place
                if place in self._held:
                    self._held -= {place}
                    self._verify = self._dirty = True
            case AddressAdded(address):
                # Every renewal comes by here: of those held, not more than one look-up.
                place = address.place
                if place in self._held or place in self._places():
                    return
                name = self._interfaces.name(address.ifindex)
                known = (name, address.address) in self._configured
                if known or address.protocol == ADDRESS_MARK:
                    self._verify = self._dirty = True
            case _:
                pass

    def _places(self) -> frozenset[InterfaceAddress]:
        """Those asked for, and those on their way out."""
        if self._all_places is None:
            self._all_places = frozenset(p for h in self._holdings.values() for p in h.places)
        return self._all_places

    def answered(self, answer: Reconciled, now_ns: int) -> None:
        """The worker carried out orders."""
        if answer.problem:
            self._reporter.noise("netlink-failed", answer.problem)
            self._verify = True
            self._retry_at_ns = now_ns + RETRY_AFTER_PROBLEM_NS
            self._judge(now_ns, {})
            return
        self._initial = False
        self._held = answer.held
        self._stuck = frozenset(refusal.place for refusal in answer.stuck)
        if answer.links is not None and answer.addresses is not None:
            self._take_dump(answer)
        self._report(answer)
        if answer.refused or answer.stuck:
            self._retry_at_ns = now_ns + RETRY_AFTER_NS * (1 if answer.refused else 20)
        refusals = {r.place: r.text for r in answer.refused}
        self._judge(now_ns, refusals)
        self._confirm_removals(answer.generation, now_ns)

    def _take_dump(self, answer: Reconciled) -> None:
        wanted = self._resync_generation
        if wanted is None or answer.generation < wanted:
            return
        self._resync_generation = None
        if not self._interfaces.dump_ended(answer.links or (), answer.addresses or ()):
            self.resync()

    def _judge(self, now_ns: int, refusals: Mapping[InterfaceAddress, str]) -> None:
        for key, holding in list(self._holdings.items()):
            if not holding.wanted:
                continue
            missing = holding.places - self._held
            if holding.places and not missing:
                self._missing_since_ns.pop(key, None)
                holding.refusals = 0
                if not holding.confirmed:
                    holding.confirmed = True
                    self._became_acquired(key, now_ns)
                continue
            holding.confirmed = False
            self._missing_since_ns.setdefault(key, now_ns)
            texts = [refusals[place] for place in missing if place in refusals]
            if texts:
                holding.refusals += 1
            if holding.refusals >= REFUSALS_MAX:
                self._fail(key, f"the kernel refuses {_names(missing)}: {texts[0]}")
        self.check_overdue(now_ns)

    def check_overdue(self, now_ns: int) -> None:
        """Give up what the kernel has not confirmed in time."""
        for key, since_ns in list(self._missing_since_ns.items()):
            # To give one up may drop others of its group.
            if now_ns - since_ns >= CONFIRM_WITHIN_NS and key in self._missing_since_ns:
                names = _names(self._holdings[key].places - self._held)
                self._fail(key, f"the kernel has not confirmed {names} for 3 s")

    def _fail(self, key: Key, text: str) -> None:
        self._holdings[key].refusals = 0
        self._missing_since_ns.pop(key, None)
        self._failed(key, Reason("address-not-installed", text))

    def _became_acquired(self, key: Key, now_ns: int) -> None:
        self._acquired(key)
        service = key[0]
        others = self._of(service)
        all_of_it = len(others) == self._families[service]
        complete = all_of_it and all(h.wanted and h.confirmed for h in others)
        if complete and service not in self._told_acquired:
            kind = others[0].claim.kind
            self._told_acquired[service] = kind
            took_ms = (now_ns - min(h.since_ns for h in others)) / 1e6
            text = f"holds {', '.join(self.held(service))}"
            self._reporter.event(
                f"{kind}-acquired", text, service=service, data={"took_ms": took_ms}
            )

    def _confirm_removals(self, generation: int, now_ns: int) -> None:
        gone = [
            key
            for key, holding in self._holdings.items()
            if not holding.wanted
            and generation >= holding.generation
            and not holding.places & self._stuck
        ]
        for key in gone:
            holding = self._holdings.pop(key)
            self._removed(key, now_ns - holding.since_ns)
            self._all_places = None
            service = key[0]
            if service in self._told_acquired and not self._of(service):
                kind = self._told_acquired.pop(service)
                took_ms = (now_ns - holding.since_ns) / 1e6
                text = "the kernel has confirmed that the addresses are gone"
                self._reporter.event(
                    f"{kind}-released", text, service=service, data={"took_ms": took_ms}
                )
        if gone:
            self._write_page(self._covered())

    def _report(self, answer: Reconciled) -> None:
        tell = self._reporter.noise
        for place in answer.restored:
            text = f"{_names([place])} had been removed by somebody else, and is there again"
            tell("address-restored", text, about=_names([place]))
        for place in answer.strays:
            text = f"{_names([place])} was there, though not held; removed it"
            tell("address-removed", text, about=_names([place]))
        for place in answer.strangers:
            text = (
                f"{_names([place])} is a service's address, not held here, and somebody else put "
                "it there; left alone: remove it, it takes traffic from who serves it"
            )
            tell("conflict-detected", text, about=_names([place]))
        for refusal in answer.stuck:
            text = f"{_names([refusal.place])} cannot be removed: {refusal.text}"
            tell("address-stuck", text, about=_names([refusal.place]))

    # ---- what the worker is asked --------------------------------------------------------------

    @property
    def deadline_ns(self) -> int | None:
        """When `flush` has something to do because of time."""
        overdue = (since_ns + CONFIRM_WITHIN_NS for since_ns in self._missing_since_ns.values())
        times = [t for t in (self._renew_at_ns, self._retry_at_ns) if t is not None]
        return min((*times, *overdue), default=None)

    def flush(self, now_ns: int) -> None:
        """Hand the desired set to the worker if it changed, or its leases want to be renewed."""
        renew = self._renew_at_ns is not None and now_ns >= self._renew_at_ns - EARLY_NS
        if self._retry_at_ns is not None and now_ns >= self._retry_at_ns:
            self._retry_at_ns = None
            self._dirty = True
        self.check_overdue(now_ns)
        if not self._dirty and not renew:
            return
        wanted = self._wanted(now_ns)
        if self._dirty:
            self._write_page(self._covered())
        self._generation += 1
        self._worker.submit(
            Orders(
                self._generation,
                wanted,
                self._configured,
                verify=self._verify,
                initial=self._initial,
                renew=renew,
            )
        )
        self._dirty = self._verify = False
        leases = [lease.lease_s for lease in wanted.values()]
        if not leases:
            self._renew_at_ns = None
            return
        next_ns = now_ns + min(leases) * NS_PER_S // RENEWALS_PER_LEASE
        if renew or self._renew_at_ns is None:
            self._renew_at_ns = next_ns
        else:  # what was added now may have a shorter lease than what was there
            self._renew_at_ns = min(self._renew_at_ns, next_ns)

    def _wanted(self, now_ns: int) -> dict[InterfaceAddress, Lease]:
        wanted = {}
        for key, holding in self._holdings.items():
            if not holding.wanted:
                continue
            claim = holding.claim
            link = self._interfaces.link(claim.interface)
            places = claim.places(link.index) if link else frozenset()
            if places != holding.places:
                self._all_places = None
                holding.places = places
                holding.confirmed = False
                self._missing_since_ns[key] = now_ns
            for place in places:
                if place not in holding.prefix_routes:
                    # A tail's has none: the kernel (6.18) does not remove that of IPv6 on `lo` again.
                    covered = claim.kind == "tail" or self._interfaces.covers(place)
                    holding.prefix_routes[place] = not covered
                wanted[place] = Lease(claim.lease_s, holding.prefix_routes[place])
        return wanted

    def _covered(self) -> frozenset[InterfaceAddress]:
        """What the guard shall remove: nothing that is an unguarded claim's, wanted or going."""
        left = {p for h in self._holdings.values() if not h.claim.guarded for p in h.places}
        return (self._places() | self._held) - left


def _names(places: Iterable[InterfaceAddress]) -> str:
    return ", ".join(sorted(f"{p.address}/{p.prefix}" for p in places))
