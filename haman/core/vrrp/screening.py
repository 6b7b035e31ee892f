"""Whether an advert is for this virtual router at all: RFC 9568 section 7.1, second half.

What is dropped here cannot take an address away; what a peer may disagree about without harm is
accepted and said, because two routers that drop each other's adverts are both active.
"""

from haman.core.vrrp.messages import OWNER_PRIORITY, AdvertisementReceived, VirtualRouterConfig
from haman.core.vrrp.packet import V2, IPAddress
from haman.core.vrrp.timers import span


def reason_to_discard(
    config: VirtualRouterConfig, received: AdvertisementReceived
) -> tuple[str, str] | None:
    """Code and text of what is wrong with an advert; None if it is to be processed.

    Sources of unicast are checked against the peers, because such packets may come from anywhere;
    multicast with TTL 255 cannot leave the link. A version 2 advert with another address list is
    dropped unless the owner sent it (RFC 3768 section 7.1).
    """
    advertisement, source = received.advertisement, received.source
    if (wrong := _reason_in_addressing(config, received)) is not None:
        return wrong
    if advertisement.vrid != config.vrid:
        return "vrid", f"{source} sends VRID {advertisement.vrid}, ours is {config.vrid}"
    if advertisement.version != config.version:
        return "version", (
            f"{source} speaks VRRPv{advertisement.version}, this side version {config.version}"
        )
    return _reason_in_version_2(config, received) if config.version == V2 else None


def _reason_in_addressing(
    config: VirtualRouterConfig, received: AdvertisementReceived
) -> tuple[str, str] | None:
    source, multicast = received.source, received.destination.is_multicast
    if source == config.source:
        return "own-address", (
            f"an advert from our own address {source}: looped back, or a second host uses it"
        )
    if config.unicast_peers and source not in config.unicast_peers:
        return "source", f"{source} is not among unicast_peers: add it there, or stop it there"
    if config.unicast_peers and multicast:
        return "destination", f"{source} sends multicast, this side unicast: make both the same"
    if not config.unicast_peers and not multicast:
        return "destination", f"{source} sends unicast, this side multicast: make both the same"
    return None


def _reason_in_version_2(
    config: VirtualRouterConfig, received: AdvertisementReceived
) -> tuple[str, str] | None:
    advertisement, source = received.advertisement, received.source
    if advertisement.auth_type != config.auth_type:
        return "auth-type", (
            f"{source} sends authentication type {advertisement.auth_type}, "
            f"expected {config.auth_type}"
        )
    if advertisement.auth_data != config.auth_data:
        return "auth", f"{source} sends another password"
    if advertisement.interval_ns != config.advert_interval_ns:
        return "interval", (
            f"{source} advertises every {span(advertisement.interval_ns)}, "
            f"this side every {span(config.advert_interval_ns)}: version 2 needs the same"
        )
    if (
        advertisement.priority != OWNER_PRIORITY
        and advertisement.addresses != config.addresses
        and set(advertisement.addresses) != set(config.addresses)
    ):
        return "address-list", _lists(config, received)
    return None


def mismatches(
    config: VirtualRouterConfig, received: AdvertisementReceived
) -> tuple[tuple[str, str], ...]:
    """Code and text of what an accepted advert and this configuration disagree about."""
    advertisement, source = received.advertisement, received.source
    found = []
    if advertisement.interval_ns != config.advert_interval_ns and not advertisement.departed:
        text = (
            f"{source} advertises every {span(advertisement.interval_ns)}, this side every "
            f"{span(config.advert_interval_ns)}: a backup follows the active router"
        )
        found.append(("interval", text))
    if advertisement.checksum not in (None, config.checksum):
        text = (
            f'{source} sends checksums of the form "{advertisement.checksum}", this side '
            f'"{config.checksum}": keepalived and FRR drop the other form and become active too'
        )
        found.append(("checksum-form", text))
    if advertisement.addresses != config.addresses:
        if set(advertisement.addresses) != set(config.addresses):
            found.append(("address-list", _lists(config, received)))
        elif config.addresses[0].is_link_local and not advertisement.addresses[0].is_link_local:
            text = (
                f"{source} advertises {advertisement.addresses[0]} first; "
                f"RFC 9568 section 5.2.9 wants the link-local address there"
            )
            found.append(("first-address", text))
    return tuple(found)


def _lists(config: VirtualRouterConfig, received: AdvertisementReceived) -> str:
    """Both lists, shortened: a packet may carry 255 addresses."""
    theirs, ours = set(received.advertisement.addresses), set(config.addresses)
    return (
        f"{received.source} advertises {len(theirs)} addresses, this side {len(ours)}: "
        f"only there {_some(theirs - ours)}, only here {_some(ours - theirs)}"
    )


def _some(addresses: set[IPAddress], limit: int = 4) -> str:
    names = sorted(str(address) for address in addresses)
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return (", ".join(names[:limit]) or "none") + more
