"""What is known beyond the file when a configuration is checked."""

from collections.abc import Mapping
from dataclasses import field

from haman.core.frozen import dataclass


@dataclass(frozen=True, slots=True)
class Facts:
    """The defaults say that nothing is known.

    Attributes:
        lateness_p99_ms: of this host's engine, as measured.
        priorities: per VIP, the priority of each other node.
        strangers: per VIP, the address of a router that advertises its VRID and is no node.
        interfaces: of this host by name, with the networks on them in CIDR form.
        addresses: of this host, on any interface, without prefix length.
        nftables: libnftables is installed; None = not looked for.
        unreadable: configured files that cannot be read, by key, and why.
    """

    lateness_p99_ms: float | None = None
    priorities: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    strangers: Mapping[str, str] = field(default_factory=dict)
    interfaces: Mapping[str, tuple[str, ...]] | None = None
    addresses: frozenset[str] | None = None
    unreadable: Mapping[str, str] = field(default_factory=dict)
    nftables: bool | None = None
