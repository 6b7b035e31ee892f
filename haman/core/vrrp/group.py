"""Virtual routers that move together: the VIPs of one group, and both families of one VIP.

Whoever runs virtual routers runs groups; a group of one member is just that virtual router.

Rules
    contend   The group contends when every member was told to; one that is released holds back all.
    priority  All members advertise the least priority of any, preempt only if all may, and wait the
              longest preempt_delay; they come next only if all do.
    take      A member whose timer ran out is *willing*; when all are, all become active in one step.
    yield     When one becomes backup, all let go, saying priority 0.
    ties      Equal priorities are decided by one member alone, the lead: the one of the least
              (VRID, family), which is the same on every node.

Why it cannot ping-pong or dead-lock
    Were members to elect by themselves and the others to follow, two nodes with crosswise
    priorities (a higher here, b higher there) would take turns for ever: each wins one member and
    drags along the other, which the peer wins back. With one priority per node and one tie-break,
    all members of a node agree which of two nodes is the better: the better one never yields to the
    lesser, so between any two that hear each other at all, one keeps the group.
    A member that cannot hear the active router becomes willing, and waits; as long as another
    member hears it, the group stays backup. So a link lost on one member moves nothing (keepalived
    has the same rule; that link's own interface is tracked elsewhere), and none waits in vain:
    when the active router is gone, the timer of every member runs out.
    Of two nodes of equal priority that cannot hear each other on the lead's link alone, both stay
    active: a conflict that each member observes. Unequal priorities avoid it; `haman check` says so.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from haman.core.vrrp import explain
from haman.core.vrrp.messages import (
    GroupLetGo,
    GroupTookOver,
    Input,
    Output,
    Reconfigured,
    Released,
    RouterSnapshot,
    SendAdvertisement,
    Shutdown,
    Started,
    TimePassed,
    VirtualRouterConfig,
)
from haman.core.vrrp.packet import IPAddress
from haman.core.vrrp.router import VirtualRouter
from haman.core.words import Reason, Role

Key = tuple[str, int]
"""A member: name of the VIP, and family (4 or 6)."""

Tagged = tuple[Key, Output]


class Group:
    """Members keyed by VIP and family.

    Args:
        name: for reasons.
        configs: of the members, each with its own priority; at least one.
        now_ns: the monotonic clock.
    """

    __slots__ = ("_configs", "_contending", "_deadline_ns", "_name", "_routers")

    def __init__(self, name: str, configs: Mapping[Key, VirtualRouterConfig], now_ns: int) -> None:
        if not configs:
            raise ValueError(f"group {name} has no members")
        self._name = name
        self._configs = dict(configs)
        self._contending: set[Key] = set()
        lead = min(configs, key=lambda key: (configs[key].vrid, configs[key].family, key))
        self._routers = {
            key: VirtualRouter(config, now_ns, gated=True, breaks_ties=key == lead)
            for key, config in self._agreed().items()
        }
        self._deadline_ns = self._first_deadline_ns()

    def _agreed(self) -> dict[Key, VirtualRouterConfig]:
        """Each member's configuration with what the group has in common."""
        configs = self._configs.values()
        waits = [c.heir_wait_ns for c in configs if c.heir_wait_ns is not None]
        return {
            key: replace(
                config,
                priority=min(c.priority for c in configs),
                preempt=all(c.preempt for c in configs),
                preempt_delay_ns=max(c.preempt_delay_ns for c in configs),
                heir_wait_ns=max(waits) if len(waits) == len(configs) else None,
            )
            for key, config in self._configs.items()
        }

    # ---- surface -------------------------------------------------------------------------------

    def step(self, key: Key | None, event: Input, now_ns: int) -> tuple[Tagged, ...]:
        """Take one input in, for one member or for all (None).

        `TimePassed` is given to all, `Shutdown` ends all. `PeerReleased` makes that member willing:
        the group takes over when its other members are as well. `GroupTookOver` and `GroupLetGo`
        are made here and not given from outside.

        Raises:
            KeyError: no such member.
            ValueError: `Reconfigured` to another VRID or family.
        """
        if key is not None and key not in self._routers:
            raise KeyError(f"group {self._name} has no member {key}")
        waited = [member for member, router in self._routers.items() if router.willing]
        outputs = self._apply(key, event, now_ns)
        followed = self._follow(waited, now_ns)
        self._deadline_ns = self._first_deadline_ns()
        return (*outputs, *followed)

    @property
    def deadline_ns(self) -> int | None:
        """The first deadline of any member; only `step` changes it."""
        return self._deadline_ns

    def _first_deadline_ns(self) -> int | None:
        deadlines = [d for r in self._routers.values() if (d := r.deadline_ns) is not None]
        return min(deadlines, default=None)

    def farewells(self) -> dict[Key, SendAdvertisement]:
        """The priority 0 advert of every member."""
        return {key: router.farewell for key, router in self._routers.items()}

    def departed(self, key: Key) -> SendAdvertisement | None:
        """What a member says when its addresses are off; None = nothing."""
        return self._routers[key].departed

    def snapshot(self) -> dict[Key, RouterSnapshot]:
        """The present state of every member."""
        return {key: router.snapshot() for key, router in self._routers.items()}

    def rival(self, key: Key) -> IPAddress | None:
        """Another active router that a member hears, active itself."""
        state = self._routers[key].snapshot()
        return state.active_router if state.role is Role.ACTIVE else None

    # ---- rules ---------------------------------------------------------------------------------

    def _apply(self, key: Key | None, event: Input, now_ns: int) -> tuple[Tagged, ...]:
        """What the event itself does, before the members follow each other."""
        everybody = tuple(self._routers)
        keys = everybody if key is None else (key,)
        match event:
            case TimePassed():
                return self._together(self._tell(everybody, event, now_ns), now_ns)
            case Shutdown():
                self._contending.clear()
                return self._tell(everybody, event, now_ns)
            case Started():
                self._contending.update(keys)
                return self._contend(now_ns)
            case Released():
                self._contending.difference_update(keys)
                return (*self._tell(keys, event, now_ns), *self._contend(now_ns))
            case Reconfigured(config):
                for changed in keys:
                    self._check(changed, config)
                    self._configs[changed] = config
                return self._agree(now_ns)
            case _:
                return self._tell(keys, event, now_ns)

    def _tell(self, keys: Iterable[Key], event: Input, now_ns: int) -> tuple[Tagged, ...]:
        return tuple(
            (key, output) for key in keys for output in self._routers[key].step(event, now_ns)
        )

    def _together(self, outputs: tuple[Tagged, ...], now_ns: int) -> tuple[Tagged, ...]:
        """With one member's advert those of the others that are due soon: one wake-up for all."""
        if not any(isinstance(output, SendAdvertisement) for _, output in outputs):
            return outputs
        along = [
            (key, advert)
            for key, router in self._routers.items()
            for advert in router.advertise_along(now_ns)
        ]
        return (*outputs, *along)

    def _check(self, key: Key, config: VirtualRouterConfig) -> None:
        old = self._configs[key]
        if (config.vrid, config.family) != (old.vrid, old.family):
            raise ValueError(f"{_name(key)}: another VRID or family is another virtual router")

    def _agree(self, now_ns: int) -> tuple[Tagged, ...]:
        outputs: list[Tagged] = []
        for key, config in self._agreed().items():
            outputs += self._tell((key,), Reconfigured(config), now_ns)
        return tuple(outputs)

    def _contend(self, now_ns: int) -> tuple[Tagged, ...]:
        """Start all members if all were told to; else let none contend."""
        missing = [key for key in self._routers if key not in self._contending]
        if not missing:
            return self._tell(self._routers, Started(), now_ns)
        # Members that were told nothing yet hold back as well, but there is nothing to say of it.
        blocker = next((k for k in missing if self._routers[k].role is Role.RELEASED), None)
        if blocker is None:
            return ()
        reason = self._follows(blocker, "is released")
        followers = [key for key in self._routers if key in self._contending]
        return self._tell(followers, Released((reason,)), now_ns)

    def _follow(self, waited: list[Key], now_ns: int) -> tuple[Tagged, ...]:
        """Move the others where one member of the group has moved, or where the last one can."""
        routers = self._routers
        if all(router.willing for router in routers.values()):
            last = [key for key in routers if key not in waited]
            outputs = self._tell(last, GroupTookOver(), now_ns)
            # The families of one VIP tell one story; between VIPs it matters who was waited for.
            if not waited or not last or len({vip for vip, _ in routers}) == 1:
                return (*outputs, *self._tell(waited, GroupTookOver(), now_ns))
            reason = self._follows(last[0], "could take over last")
            return (*outputs, *self._tell(waited, GroupTookOver((reason,)), now_ns))
        active = [key for key, router in routers.items() if router.role is Role.ACTIVE]
        backup = next((key for key, r in routers.items() if r.role is Role.BACKUP), None)
        if active and backup is not None:
            reason = self._follows(backup, "became backup")
            return self._tell(active, GroupLetGo((reason,)), now_ns)
        return ()

    def _follows(self, key: Key, what: str) -> Reason:
        reasons = self._routers[key].reasons
        return explain.follows(self._name, _name(key), what, reasons[0] if reasons else None)


def _name(key: Key) -> str:
    return f"{key[0]}/IPv{key[1]}"
