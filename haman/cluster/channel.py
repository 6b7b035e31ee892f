"""Sealed datagrams between two nodes of a cluster: authenticated, encrypted, never replayed.

A datagram is

    "HM" version(1) key id(4) session(16) counter(8) name length(1) sender name   — the header
    ChaCha20-Poly1305 of: challenge(8) echo(8) body                               — sealed

The header is authenticated as associated data. Each (key, sender, receiver, sender's session) has
its own key, by HKDF-SHA256 from the cluster key with the session as salt, so a counter never meets
the same key twice, and a datagram for one node opens on no other. A session is 16 random bytes,
drawn when the channel starts.

A session is believed once one of its packets echoes the present challenge, 8 random bytes that
this node sent to that peer: proof that the session lived after this node asked. Believing one draws
a new challenge, so recordings of older sessions prove nothing, and no clock is needed. Within a
believed session a window of 128 counters keeps replays out.

    the session is   the echo is   becomes    outcome
    ---------------  ------------  ---------  -------------------------------------------------
    believed         any           believed   Opened; or Rejected(replayed)
    another          right         believed   Opened(greeting): answer at once, new challenge
    another          not           unchanged  Unproven: answer at once, echoing its challenge

After a restart: the first packet is unproven, the peer's answer echoes it and is believed, and the
answer to that is believed by the peer: each side in one round trip of its own first packet.

Nothing that arrives raises: `Rejected` carries the reason to count it by. A datagram under this node's
own name, and not of its session, is `OwnName`: whether its sender has the key takes a try with the name
of each peer, which `is_namesake` does on request. A recording of an earlier session of this very node
looks the same.
"""

from collections.abc import Callable
from dataclasses import field
from struct import Struct as Layout

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from haman.cluster.keys import ClusterKey
from haman.core.frozen import dataclass

DATAGRAM_BYTES_MAX = 8 * 1024
WINDOW = 128
COUNTER_MAX = 2**63
SESSION_BYTES = 16
CHALLENGE_BYTES = 8

_MAGIC = b"HM\x01"
_HEADER = Layout("!3s4s16sQB")
_NO_ECHO = bytes(CHALLENGE_BYTES)
_SESSIONS_CACHED = 8

RandomBytes = Callable[[int], bytes]


@dataclass(frozen=True, slots=True)
class Opened:
    """An authenticated datagram of a believed session.

    Attributes:
        repeated: the same one arrived before; on another path that is no replay, but the proof
            that the path works.
        greeting: the peer may not believe this node's session yet: answer at once.
    """

    peer: str
    body: bytes
    counter: int
    repeated: bool = False
    greeting: bool = False


@dataclass(frozen=True, slots=True)
class Unproven:
    """An authenticated datagram of a session that is not proven to be the present one."""

    peer: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """A datagram to drop. `peer` is known only where the tag was good."""

    reason: str
    peer: str = ""


@dataclass(frozen=True, slots=True)
class OwnName:
    """A datagram under this node's own name that another one has sent; not authenticated."""


Outcome = Opened | Unproven | Rejected | OwnName


@dataclass(frozen=True, slots=True)
class _Header:
    raw: bytes
    key_id: str
    session: bytes
    counter: int
    sender: str


@dataclass(slots=True)
class _Window:
    """The highest counter seen and which of the 128 up to it were seen, as bits."""

    highest: int = -1
    bits: int = 0

    def admit(self, counter: int) -> str:
        """Note a counter: `new`, `repeated`, or `old` when it is below the window."""
        ahead = counter - self.highest
        if ahead > 0:
            self.bits = ((self.bits << ahead) | 1) & ((1 << WINDOW) - 1) if ahead < WINDOW else 1
            self.highest = counter
            return "new"
        if -ahead >= WINDOW:
            return "old"
        bit = 1 << -ahead
        if self.bits & bit:
            return "repeated"
        self.bits |= bit
        return "new"


@dataclass(slots=True)
class _Peer:
    challenge: bytes
    counter: int = 0
    session: bytes | None = None
    echo: bytes = _NO_ECHO
    window: _Window = field(default_factory=_Window)
    sealing: ChaCha20Poly1305 | None = None
    opening: dict[tuple[str, bytes], ChaCha20Poly1305] = field(default_factory=dict)


class Channel:
    """One node's end of its conversations with every peer.

    Args:
        cluster: its name; other clusters with the same key do not understand this one.
        name: of this node.
        peers: names of the others.
        keys: the first seals, all open.
        random_bytes: unpredictable bytes, `secrets.token_bytes` in production.
    """

    def __init__(
        self,
        cluster: str,
        name: str,
        peers: tuple[str, ...],
        keys: tuple[ClusterKey, ...],
        random_bytes: RandomBytes,
    ) -> None:
        self._cluster = cluster
        self._name = name
        self._random_bytes = random_bytes
        self._session = random_bytes(SESSION_BYTES)
        self._keys = {key.id: key for key in keys}
        self._first = keys[0]
        self._peers: dict[str, _Peer] = {}
        self.reconfigure(peers, keys)

    def reconfigure(self, peers: tuple[str, ...], keys: tuple[ClusterKey, ...]) -> None:
        """Take over new peers and keys; conversations with peers that stay go on."""
        self._keys = {key.id: key for key in keys}
        self._first = keys[0]
        kept = {name: self._peers[name] for name in peers if name in self._peers}
        for name in peers:
            if name not in kept:
                kept[name] = _Peer(self._random_bytes(CHALLENGE_BYTES))
        for peer in kept.values():
            peer.sealing = None
            peer.opening.clear()
        self._peers = kept

    def seal(self, peer: str, body: bytes) -> bytes:
        """The datagram that carries `body` to `peer`; the same bytes may go over several paths."""
        state = self._peers[peer]
        if state.counter >= COUNTER_MAX:
            raise OverflowError(f"the counter towards {peer} is used up")
        if state.sealing is None:
            state.sealing = self._cipher(self._first, self._name, peer, self._session)
        name = self._name.encode()
        key_id = bytes.fromhex(self._first.id)
        header = _HEADER.pack(_MAGIC, key_id, self._session, state.counter, len(name)) + name
        nonce = state.counter.to_bytes(12)
        state.counter += 1
        return header + state.sealing.encrypt(nonce, state.challenge + state.echo + body, header)

    def open(self, datagram: bytes) -> Outcome:
        """What a datagram is worth; never raises."""
        header = _parse(datagram)
        if isinstance(header, Rejected):
            return header
        key = self._keys.get(header.key_id)
        if key is None:
            return Rejected("unknown-key")
        name, session = header.sender, header.session
        state = self._peers.get(name)
        if state is None:
            another = name == self._name and session != self._session
            return OwnName() if another else Rejected("unknown-peer")
        cipher = state.opening.get((key.id, session)) or self._cipher(
            key, name, self._name, session
        )
        try:
            plain = cipher.decrypt(
                header.counter.to_bytes(12), datagram[len(header.raw) :], header.raw
            )
        except (InvalidTag, ValueError):
            return Rejected("bad-tag")
        if len(plain) < 2 * CHALLENGE_BYTES:
            return Rejected("malformed", name)
        _remember(state.opening, (key.id, session), cipher)
        return self._judge(state, header, plain)

    def is_namesake(self, datagram: bytes) -> bool:
        """Whether an `OwnName` was sealed with a key of this cluster, for one of this node's peers.

        For that is what this node is to another one of its name, on the address where it hears it.
        """
        header = _parse(datagram)
        if isinstance(header, Rejected) or header.key_id not in self._keys:
            return False
        return any(self._opens(header, datagram, peer) for peer in self._peers)

    def _opens(self, header: _Header, datagram: bytes, receiver: str) -> bool:
        key = self._keys[header.key_id]
        cipher = self._cipher(key, header.sender, receiver, header.session)
        sealed = datagram[len(header.raw) :]
        try:
            cipher.decrypt(header.counter.to_bytes(12), sealed, header.raw)
        except (InvalidTag, ValueError):
            return False
        return True

    def _judge(self, state: _Peer, header: _Header, plain: bytes) -> Outcome:
        name, session, counter = header.sender, header.session, header.counter
        challenge = plain[:CHALLENGE_BYTES]
        echo = plain[CHALLENGE_BYTES : 2 * CHALLENGE_BYTES]
        greeting = False
        if session != state.session:
            if echo != state.challenge:
                state.echo = challenge
                return Unproven(name)
            greeting = True
            state.session = session
            state.window = _Window()
            state.challenge = self._random_bytes(CHALLENGE_BYTES)
        admitted = state.window.admit(counter)
        if admitted == "old":
            return Rejected("replayed", name)
        if admitted == "new" and counter == state.window.highest:
            state.echo = challenge
        body = plain[2 * CHALLENGE_BYTES :]
        return Opened(name, body, counter, admitted == "repeated", greeting)

    def _cipher(
        self, key: ClusterKey, sender: str, receiver: str, session: bytes
    ) -> ChaCha20Poly1305:
        parts = (b"haman-1", self._cluster.encode(), sender.encode(), receiver.encode())
        info = b"".join(len(part).to_bytes(2) + part for part in parts)
        return ChaCha20Poly1305(HKDF(SHA256(), 32, session, info).derive(key.secret))


def _parse(datagram: bytes) -> _Header | Rejected:
    if len(datagram) > DATAGRAM_BYTES_MAX:
        return Rejected("too-large")
    if len(datagram) < _HEADER.size:
        return Rejected("malformed")
    magic, key_id, session, counter, length = _HEADER.unpack_from(datagram)
    raw = datagram[: _HEADER.size + length]
    if magic != _MAGIC or len(raw) != _HEADER.size + length or counter >= COUNTER_MAX:
        return Rejected("malformed")
    try:
        return _Header(raw, key_id.hex(), session, counter, raw[_HEADER.size :].decode())
    except UnicodeDecodeError:
        return Rejected("malformed")


def _remember(
    cache: dict[tuple[str, bytes], ChaCha20Poly1305],
    key: tuple[str, bytes],
    cipher: ChaCha20Poly1305,
) -> None:
    """Keep a cipher whose tag was good; the oldest goes first."""
    if key not in cache:
        while len(cache) >= _SESSIONS_CACHED:
            del cache[next(iter(cache))]
        cache[key] = cipher
