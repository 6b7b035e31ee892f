"""The anycast services of this node: whether their addresses are on the interface.

Addresses go on before the first route is announced, and off some time after the last one was
withdrawn. When that is, the controller knows (`AnycastStance.held`). What it does not know of are
the engine's own changes, and there the same order holds: what a reload takes out of the
configuration stays for `LINGER_NS`, until the controller has read the same file and had its route
withdrawn; and an end goes through `ending`.

An address that the kernel refuses is asked for again every `HOLD_OFF_NS`. Meanwhile the service is
incomplete, and nobody shall announce it.
"""

from dataclasses import replace
from typing import Final

from haman.core.announcements import AnycastStance, HeldAddresses
from haman.core.frozen import dataclass
from haman.core.vrrp.group import Key
from haman.core.words import Reason
from haman.engine.child import NS_PER_S
from haman.engine.claims import Claim
from haman.engine.holdings import Holdings
from haman.engine.interfaces import Interfaces
from haman.engine.reporter import Reporter

LINGER_NS: Final = 5 * NS_PER_S
"""The controller validates what it writes for ExaBGP, half a second; a router needs a tenth."""
HOLD_OFF_NS: Final = 10 * NS_PER_S


@dataclass(frozen=True, slots=True)
class _Failure:
    """Why an address could not be had, and when it is tried again."""

    reason: Reason
    until_ns: int


class Anycast:
    """All services. Nothing here waits."""

    def __init__(self, interfaces: Interfaces, reporter: Reporter, holdings: Holdings) -> None:
        self._interfaces = interfaces
        self._reporter = reporter
        self._holdings = holdings
        self._claims: dict[str, dict[Key, Claim]] = {}
        self._held: dict[str, bool] = {}
        self._lingering: dict[Key, tuple[Claim, int]] = {}
        self._failures: dict[Key, _Failure] = {}
        self._host_known = False
        self._ending = False

    # ---- inputs --------------------------------------------------------------------------------

    def configure(self, services: tuple[str, ...], claims: dict[Key, Claim], now_ns: int) -> None:
        """Have exactly these services; what they no longer claim stays for a while if it is held."""
        before = {
            key: self._with_lingering(claim)
            for own in self._claims.values()
            for key, claim in own.items()
            if self._wants(key)
        }
        self._claims = {
            name: {key: claim for key, claim in claims.items() if key[0] == name}
            for name in services
        }
        self._held = {name: self._held.get(name, False) for name in services}
        self._failures = {k: f for k, f in self._failures.items() if k in claims}
        for key, old in before.items():
            new = claims.get(key)
            if new is None or not _covers(new, old):
                self._lingering[key] = (old, now_ns + LINGER_NS)
        self._apply(now_ns)

    def declare(self, stances: tuple[AnycastStance, ...], now_ns: int) -> None:
        """The controller's wish; services that it does not name keep theirs."""
        before = dict(self._held)
        for stance in stances:
            if stance.service in self._held:
                self._held[stance.service] = stance.held
            else:
                text = f"the controller declares a service that is not configured: {stance.service}"
                self._reporter.noise("stance-ignored", text, about=stance.service)
        if before != self._held:
            self._reporter.changed = True
            self._apply(now_ns)

    def host_known(self, now_ns: int) -> None:
        """Leftovers are gone: addresses may be asked for."""
        self._host_known = True
        self._apply(now_ns)

    def evaluate(self, now_ns: int) -> None:
        """An interface came, went or changed."""
        self._reporter.changed = True
        self._apply(now_ns)

    def failed(self, key: Key, reason: Reason, now_ns: int) -> None:
        """The addresses cannot be had: try again later."""
        text = f"{reason.text}; tries again in {HOLD_OFF_NS // NS_PER_S} s"
        again = Reason(reason.code, text, {"retry_s": HOLD_OFF_NS // NS_PER_S})
        self._failures[key] = _Failure(again, now_ns + HOLD_OFF_NS)
        self._reporter.event("address-failed", text, service=key[0], reasons=(again,))
        self._holdings.drop(key, now_ns)

    def end(self, now_ns: int) -> None:
        """Let go of everything for good."""
        self._ending = True
        for key in self._lingering:
            self._holdings.drop(key, now_ns)
        self._lingering.clear()
        self._apply(now_ns)

    # ---- time ----------------------------------------------------------------------------------

    @property
    def deadline_ns(self) -> int | None:
        """When `turn` is due at the latest."""
        times = [until_ns for _, until_ns in self._lingering.values()]
        times += [failure.until_ns for failure in self._failures.values()]
        return min(times, default=None)

    def turn(self, now_ns: int) -> None:
        """End what has lingered, and hold-offs."""
        due_ns = self.deadline_ns
        if due_ns is None or now_ns < due_ns:
            return
        kept = {k: each for k, each in self._lingering.items() if now_ns < each[1]}
        over = self._lingering.keys() - kept.keys()
        self._lingering = kept
        self._failures = {k: f for k, f in self._failures.items() if now_ns < f.until_ns}
        for key in over:
            if not self.concerns(key):
                self._holdings.drop(key, now_ns)
        self._apply(now_ns)

    # ---- what comes of it ----------------------------------------------------------------------

    @property
    def holding(self) -> bool:
        """Addresses are on an interface, or about to be."""
        keys = [key for own in self._claims.values() for key in own]
        return bool(self._lingering) or any(self._wants(key) for key in keys)

    def concerns(self, key: Key) -> bool:
        """Whether the claim is one of these services'."""
        return key in self._claims.get(key[0], ()) or key in self._lingering

    def _wants(self, key: Key) -> bool:
        return self._held.get(key[0], False) and not self._ending

    def _apply(self, now_ns: int) -> None:
        if not self._host_known:
            return
        for own in self._claims.values():
            for key, claim in own.items():
                there = self._interfaces.link(claim.interface) is not None
                if self._wants(key) and there and key not in self._failures:
                    self._holdings.hold(self._with_lingering(claim), now_ns)
                elif key not in self._lingering:
                    self._holdings.drop(key, now_ns)

    def _with_lingering(self, claim: Claim) -> Claim:
        """Old addresses and new; on another interface the new ones replace the old at once."""
        old = self._lingering.get(claim.key, (claim, 0))[0]
        if old.interface != claim.interface:
            return claim
        return replace(claim, addresses=tuple(dict.fromkeys((*claim.addresses, *old.addresses))))

    def reports(self) -> tuple[HeldAddresses, ...]:
        """What is held of each service."""
        return tuple(self._report(name, own) for name, own in self._claims.items())

    def _report(self, name: str, claims: dict[Key, Claim]) -> HeldAddresses:
        held = self._holdings.held(name)
        reasons = self._reasons(claims) if self._held[name] else ()
        there = {text for c in claims.values() for text in map(str, c.addresses)} <= set(held)
        complete = self._held[name] and there and not reasons
        return HeldAddresses(name, held, complete, reasons)

    def _reasons(self, claims: dict[Key, Claim]) -> tuple[Reason, ...]:
        """Why not, the worst first."""
        found = [self._interfaces.trouble(claim.interface) for claim in claims.values()]
        found += [self._failures[key].reason for key in claims if key in self._failures]
        missing = [key for key in claims if not self._holdings.confirmed(key)]
        if missing and not any(found):
            text = "the kernel has yet to confirm the addresses"
            found.append(Reason("address-not-confirmed", text))
        return tuple({reason.text: reason for reason in found if reason is not None}.values())


def _covers(new: Claim, old: Claim) -> bool:
    return new.interface == old.interface and set(old.addresses) <= set(new.addresses)
