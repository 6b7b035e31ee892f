"""What an active router says: its adverts in time, its answers, its announcements."""

from typing import Final

from haman.core.vrrp.messages import (
    AnnounceAddresses,
    InstallAddresses,
    Output,
    RemoveAddresses,
    SendAdvertisement,
    VirtualRouterConfig,
)
from haman.core.vrrp.packet import MAX_INTERVAL_NS, V3, Advertisement
from haman.core.vrrp.timers import ADVERTS_MISSED, NS_PER_S

ANNOUNCE_EVERY_NS: Final = NS_PER_S
# A second answer to lower priorities within this part of an interval tells nobody anything new.
ANSWERS_PER_INTERVAL: Final = 10
# An advert may be this part of an interval early, to leave together with others.
SOON_PER_INTERVAL: Final = 10


class Advertising:
    """The Adver_Timer of RFC 9568 section 6.2, and the adverts ready to be sent.

    Attributes:
        farewell: the advert with priority 0.
        departed: the one that says, after it, that the addresses are off; None in version 2, whose
            routers drop an interval that is not their own.
        deadline: when the next advert is due, while active.
    """

    __slots__ = (
        "_config",
        "_next_announcement",
        "_regular",
        "_sent_at",
        "deadline",
        "departed",
        "farewell",
    )

    def __init__(self, config: VirtualRouterConfig, now: int) -> None:
        self.configure(config)
        self.deadline = now
        self._sent_at = now
        self._next_announcement = now

    def send(self, now: int) -> SendAdvertisement:
        """An advert now, and the next one an interval later."""
        self._sent_at = now
        self.deadline = now + self._config.advert_interval_ns
        return self._regular

    def take(self, now: int) -> tuple[Output, ...]:
        """Become, or make sure to be, the one that holds the addresses."""
        self._next_announcement = now + ANNOUNCE_EVERY_NS
        addresses = self._config.addresses
        return (self.send(now), InstallAddresses(addresses), AnnounceAddresses(addresses))

    def replaced_after(self, late: int) -> bool:
        """Whether a backup may have taken over because an advert was so late."""
        return late > ADVERTS_MISSED * self._config.advert_interval_ns

    def is_due_soon(self, now: int) -> bool:
        """Whether the next advert is due within a tenth of the interval, but not yet."""
        return 0 < self.deadline - now <= self._config.advert_interval_ns // SOON_PER_INTERVAL

    def send_in_time(self, late: int, now: int) -> tuple[Output, ...]:
        """The advert that is due, `late` ns after its time: one, whatever was missed."""
        if self.replaced_after(late):
            return self.take(now)
        advert = self.send(now)
        if late < self._config.advert_interval_ns:
            self.deadline -= late  # keep the cadence
        return (advert,)

    def answer(self, now: int) -> tuple[Output, ...]:
        """To a router of lower priority that is active too.

        The link has learned where that one is, hence an announcement; this one may have slept past
        its kernel lease, hence an installation.
        """
        told = now - self._sent_at < self._config.advert_interval_ns // ANSWERS_PER_INTERVAL
        return () if told and now < self._next_announcement else self.reassure(now)

    def reassure(self, now: int) -> tuple[Output, ...]:
        """Another one that was active lets go: be known again as the one that holds the addresses.

        The announcement is for the link, as in `answer`, and no more often than every second.
        """
        return self.take(now) if now >= self._next_announcement else (self.send(now),)

    def configure(self, config: VirtualRouterConfig) -> None:
        """Have another configuration from the next advert on."""
        self._config = config
        self._regular = _advertisement(config, config.priority, config.advert_interval_ns)
        self.farewell = _advertisement(config, 0, config.advert_interval_ns)
        self.departed: SendAdvertisement | None = None
        if config.version == V3:
            self.departed = _advertisement(config, 0, MAX_INTERVAL_NS[V3])

    def reconfigure(self, config: VirtualRouterConfig, now: int) -> tuple[Output, ...]:
        """Have another configuration while active, and say so; what both have is not touched."""
        old, regular = self._config, self._regular
        self.configure(config)
        outputs: list[Output] = []
        if self._regular != regular:
            outputs.append(self.send(now))
        gone = tuple(a for a in old.addresses if a not in config.addresses)
        new = tuple(a for a in config.addresses if a not in old.addresses)
        if new:
            outputs += [InstallAddresses(config.addresses), AnnounceAddresses(new)]
        if gone:
            outputs.append(RemoveAddresses(gone))
        return tuple(outputs)


def _advertisement(
    config: VirtualRouterConfig, priority: int, interval_ns: int
) -> SendAdvertisement:
    advertisement = Advertisement(
        version=config.version,
        vrid=config.vrid,
        priority=priority,
        addresses=config.addresses,
        interval_ns=interval_ns,
        auth_type=config.auth_type,
        auth_data=config.auth_data,
    )
    return SendAdvertisement(advertisement, config.source, config.destinations, config.checksum)
