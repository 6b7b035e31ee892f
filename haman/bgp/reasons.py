"""Why a session is not up, in words an operator can act on.

ExaBGP's own word for it is a line like "notification received (6,2)"; the rest is deduced from what
did not happen, with the help of `diagnosis`. Codes of NOTIFICATIONs: RFC 4271 section 4.5, RFC 4486,
RFC 6608, RFC 8538, RFC 9384.
"""

import re
from typing import Final

from haman.bgp.diagnosis import Finding
from haman.bgp.messages import SessionReport
from haman.config.model import Bgp, Neighbor
from haman.core.words import Reason

_NOTIFICATION: Final = re.compile(r"notification (sent|received) \((\d+),(\d+)\)")
_BAD_PEER_AS: Final = (2, 2)
_HOLD_TIMER: Final = 4
_HEADER: Final = 1

_CODES: Final = {
    1: "message header error",
    2: "OPEN message error",
    3: "UPDATE message error",
    4: "hold timer expired",
    5: "finite state machine error",
    6: "cease",
    7: "ROUTE-REFRESH message error",
}
_SUBCODES: Final = {
    (2, 1): "unsupported version number",
    (2, 3): "bad BGP identifier: it is in use, or is the router's own; see bgp.router_id",
    (2, 4): "unsupported optional parameter",
    (2, 6): "unacceptable hold time; see hold_time_s",
    (2, 7): "unsupported capability",
    (2, 11): "role mismatch",
    (6, 1): "maximum number of prefixes reached; raise its limit, or have it cleared there",
    (6, 2): "administrative shutdown: the session is shut down there",
    (6, 3): "peer de-configured: this node is no longer a neighbor there",
    (6, 4): "administrative reset: an operator cleared the session there",
    (6, 5): "connection rejected: this node is not a neighbor there, or is shut down",
    (6, 6): "other configuration change there",
    (6, 7): "connection collision resolution: the other of two connections was kept",
    (6, 8): "out of resources there",
    (6, 9): "hard reset",
    (6, 10): "BFD down: the router no longer heard this node",
}
_SENT: Final = {
    (6, 2): "administrative shutdown: ExaBGP was stopped here",
    (
        6,
        3,
    ): "its settings changed here, or it was removed: a session that is still configured comes back",
    (6, 4): "administrative reset: ExaBGP was told to begin anew",
    (6, 6): "its settings changed here: it comes back with the new ones",
    (6, 8): "out of resources here",
}
"""What a NOTIFICATION means of which this node is the author."""
FLAPS: Final = 3
FLAP_WINDOW_S: Final = 600


def session_word(session: SessionReport | None, finding: Finding | None) -> str:
    """One word for a session, as in `NeighborReport.session`; None = nothing is known of it."""
    if session is None:
        return "connecting"
    if session.state == "up":
        return "up"
    if finding is Finding.ADDRESS_MISSING:
        return "idle"
    if session.state == "connected":
        return "connecting"
    return "down" if session.ups or session.downs else "connecting"


def reasons(
    bgp: Bgp,
    neighbor: Neighbor,
    session: SessionReport | None,
    finding: Finding | None,
    recent_downs: int,
) -> tuple[Reason, ...]:
    """Why it is not up, the present cause first; () if it is up and steady.

    Args:
        bgp: of this node.
        neighbor: the one that is asked about.
        session: what the relay reported of it; None = nothing yet.
        finding: why no TCP connection comes about, if that was found out; None = one does.
        recent_downs: how often it went down within `FLAP_WINDOW_S`.
    """
    found: list[Reason] = []
    if session is None or session.state != "up":
        if finding is not None and (reason := _no_connection(bgp, neighbor, finding)):
            found.append(reason)
        if session is not None and session.state == "connected" and not session.reason:
            text = (
                f"{neighbor.address} accepts TCP and has not sent an OPEN message: it is busy,"
                " or no BGP speaker"
            )
            found.append(Reason("no-open", text))
        if session is not None and spoken(session.reason):
            found.append(_notified(bgp, neighbor, session.reason))
        elif session is not None and session.reason and not found:
            found.append(_closed(neighbor, session.reason, finding))
    if recent_downs >= FLAPS:
        text = f"flapping: went down {recent_downs} times in {FLAP_WINDOW_S // 60} min"
        found.append(Reason("flapping", text, {"downs": recent_downs}))
    return tuple(found)


def _no_connection(bgp: Bgp, neighbor: Neighbor, finding: Finding) -> Reason | None:
    router, here = neighbor.address, neighbor.local_address
    match finding:
        case Finding.ADDRESS_MISSING:
            text = (
                f"local_address {here} is not on this host: ExaBGP does not even try; add it,"
                " or correct local_address"
            )
        case Finding.NO_ROUTE:
            text = (
                f"{router} cannot be reached from {here}: no route, the link is down,"
                " or it does not answer ARP"
            )
        case Finding.REFUSED:
            text = f"{router} refuses TCP connections to port 179: BGP does not run there, or is filtered"
        case Finding.SILENT | Finding.SILENT_NEAR:
            text = _silence(neighbor, near=finding is Finding.SILENT_NEAR)
        case Finding.ANSWERS_TTL:
            text = (
                f"{router} answers only to TTL 255: it demands TTL security; set"
                " ttl_security = true"
            )
        case Finding.ANSWERS if neighbor.password_file:
            text = (
                f"{router} accepts a connection without a password and none with it: set the"
                f" password of neighbor {here} there, or remove password_file"
            )
            return Reason("password-not-set-there", text)
        case Finding.ANSWERS if neighbor.ttl_security:
            text = (
                f"{router} accepts connections, but not with TTL security: set it there for"
                f" neighbor {here}, or ttl_security = false"
            )
            return Reason("ttl-security-not-set-there", text)
        case Finding.ANSWERS:
            return None
    code = Finding.SILENT if finding is Finding.SILENT_NEAR else finding
    return Reason(code.value, text, {"local_as": bgp.local_as})


def _silence(neighbor: Neighbor, *, near: bool) -> str:
    silence = f"no TCP answer from {neighbor.address}"
    password = (
        "its password differs from password_file"
        if neighbor.password_file
        else "it demands a password (password_file is not set)"
    )
    if near:
        return f"{silence}, though it answers ARP: most likely {password}; or port 179 is filtered"
    return f"{silence}: it is down or unreachable, port 179 is filtered, or {password}"


def lasting(reason: Reason) -> bool:
    """Whether a router that said this keeps the session down until somebody there acts.

    It closes every connection that follows without another word.
    """
    said = (reason.data.get("direction"), reason.data.get("code"), reason.data.get("subcode"))
    return said in {("received", 6, 1), ("received", 6, 2), ("received", 6, 3)}


def spoken(reason: str) -> bool:
    """Whether a session ended with a NOTIFICATION; so the TCP connection had come about.

    ExaBGP's events do not tell that: it reports a connection that was refused as connected, and
    then closed.
    """
    return _NOTIFICATION.search(reason) is not None


def _closed(neighbor: Neighbor, reason: str, finding: Finding | None) -> Reason:
    router, data = neighbor.address, {"exabgp": reason}
    if finding is Finding.ANSWERS:
        text = (
            f"{router} accepts the connection and closes it: it does not know"
            f" {neighbor.local_address} as a neighbor, or has just restarted"
        )
        return Reason("closed-by-router", text, {**data})
    text = f"the connection with {router} ended, or did not come about, without a NOTIFICATION"
    return Reason("connection-lost", text, {**data})


def _notified(bgp: Bgp, neighbor: Neighbor, reason: str) -> Reason:
    router = neighbor.address
    found = _NOTIFICATION.search(reason)
    if found is None:
        raise ValueError(f"{reason!r} names no NOTIFICATION")
    sent = found[1] == "sent"
    code, subcode = int(found[2]), int(found[3])
    data: dict[str, int | float | str] = {"code": code, "subcode": subcode, "direction": found[1]}
    if (code, subcode) == _BAD_PEER_AS:
        text = (
            f"{router} is not of AS {neighbor.peer_as}: correct peer_as, or the AS there"
            if sent
            else f"{router} refuses AS {bgp.local_as}: it expects another AS from this node;"
            " correct bgp.local_as, or remote-as there"
        )
        return Reason("wrong-as", text, data)
    if code == _HOLD_TIMER:
        text = (
            f"hold timer expired: nothing was heard from {router} for {neighbor.hold_time_s} s"
            if sent
            else f"hold timer expired: {router} did not hear this node for its hold time"
        )
        return Reason("hold-timer-expired", text, data)
    if code == _HEADER and sent:
        text = f"{router} sent what is not BGP: is another program listening on its port 179?"
        return Reason("not-bgp", text, data)
    words = (sent and _SENT.get((code, subcode))) or _SUBCODES.get((code, subcode))
    words = words or _CODES.get(code, f"code {code}")
    who = f"this node ended the session with {router}" if sent else f"{router} ended the session"
    return Reason("notification", f"{who}: {words} (NOTIFICATION {code}/{subcode})", data)
