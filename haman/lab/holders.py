"""Who has which address, when: what the kernels of all nodes say, on one clock.

The address notifications (rtnetlink(7), RTNLGRP_IPV4_IFADDR and RTNLGRP_IPV6_IFADDR) of every
node's namespace are an oracle outside the agent: it is not haman that is asked who holds what.
"""

import os
import time
from collections.abc import Iterable, Mapping

from haman.lab import kernel
from haman.lab.listening import Listener, dump, in_real_time, messages
from haman.lab.rtnl import ifaddrmsg
from haman.lab.tenure import AddressChanged

RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR = 0x10, 0x100
LOOPBACK_INDEX = 1
ANY_ADDRESS = bytes(8)


def addresses_now(pids: Mapping[str, int]) -> Mapping[str, frozenset[str]]:
    """The addresses of each node's interfaces, loopback left out."""
    held = {}
    for node, pid in pids.items():
        with kernel.in_netns(pid, lambda: kernel.netlink_socket(0)) as route:
            answers = dump(route, RTM_GETADDR, ANY_ADDRESS)
            held[node] = frozenset(text for data in answers for _, text in _addresses(data))
    return held


class Watch(Listener):
    """Listens to all nodes from `start` to `stop`; `changes` holds what it heard, in order."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        super().__init__(pids, RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR, "holders")
        self.changes: list[AddressChanged] = []
        self._held: dict[str, frozenset[str]] = {}

    def start(self, pids: Mapping[str, int]) -> None:
        """Take the present state down as the first changes, and listen."""
        now = time.monotonic_ns()
        for node, addresses in addresses_now(pids).items():
            self._held[node] = addresses
            self.changes += [AddressChanged(now, node, text, present=True) for text in addresses]
        # Both threads: what is noted late is noted wrong, and one would wait for the other's lock.
        in_real_time()
        self.listen()

    def stop(self) -> list[AddressChanged]:
        """End listening; everything heard."""
        self.end()
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        return self.changes

    def hear(self, node: str, data: bytes, now_ns: int) -> None:
        """Note what appeared or went."""
        for kind, text in _addresses(data):
            present = kind == RTM_NEWADDR
            held = self._held[node]
            if (text in held) != present:  # a renewed lifetime is a RTM_NEWADDR too
                self._held[node] = held | {text} if present else held - {text}
                self.changes.append(AddressChanged(now_ns, node, text, present))


def _addresses(data: bytes) -> Iterable[tuple[int, str]]:
    for kind, _, body in messages(data):
        if kind not in {RTM_NEWADDR, RTM_DELADDR}:
            continue
        message = ifaddrmsg(body)
        message.decode()
        if message["index"] == LOOPBACK_INDEX:
            continue  # a tail's address on lo serves what was there before; it is not held
        text = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
        if text:
            yield kind, text
