"""The ticket sharing check: sessions made at one node, offered at every other."""

from collections.abc import Callable

from haman.controller.calibrate import NotMeasured
from haman.controller.handshakes import HandshakeFailed, TlsClient
from haman.core.tickets import TicketCheck, TicketPair


def check_tickets(
    addresses: tuple[str, ...], client: TlsClient, at_ns: int, progress: Callable[[str], None]
) -> TicketCheck | NotMeasured:
    """Try every ordered pair; n + n² handshakes, one after the other.

    Args:
        addresses: of the nodes' own listeners, not of a VIP: that leads to one node alone.
        client: makes the handshakes.
        at_ns: wall clock.
        progress: told what is tried.
    """
    pairs = []
    for made_at in addresses:
        progress(f"a session at {made_at}")
        made = client.handshake(made_at)
        if isinstance(made, HandshakeFailed):
            return NotMeasured(made.text)
        control = client.handshake(made_at, made.session)
        if isinstance(control, HandshakeFailed):
            return NotMeasured(control.text)
        if not control.resumed:
            return NotMeasured(
                f"{made_at} does not resume even its own sessions: every handshake is full there,"
                " and what its peers do is not known"
            )
        for resumed_at in addresses:
            if resumed_at == made_at:
                continue
            progress(f"from {made_at} to {resumed_at}")
            # A ticket is best used once: the control gave the next one (RFC 8446, appendix C.4).
            offered = client.handshake(resumed_at, control.session)
            if isinstance(offered, HandshakeFailed):
                return NotMeasured(offered.text)
            pairs.append(TicketPair(made_at, resumed_at, offered.resumed))
    return TicketCheck(at_ns, tuple(pairs))
