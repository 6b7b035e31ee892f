"""Who may do what on the API's socket.

The file lets in its owner, root and the operators' group, and by an access control list the readers'
group. Whoever is in and no operator may read: that is asked of the kernel, for each connection, by what it
noted of the peer when it connected. Over SSH that peer is the user's own sshd process.
"""

import grp
import logging
import os
import pwd
import socket
import struct
from functools import lru_cache
from pathlib import Path

from haman.config.model import Api

SO_PEERGROUPS = getattr(socket, "SO_PEERGROUPS", 59)
"""Linux 4.13; Python does not name it."""
GROUPS_BYTES_MAX = 1024
"""The most that Python asks for: 256 groups; who is in more of them only reads."""
CREDENTIALS = struct.Struct("iII")  # pid, uid, gid
ACL = "system.posix_acl_access"
_USER, _GROUP_OWNER, _GROUP, _MASK, _OTHER = 0x01, 0x04, 0x08, 0x10, 0x20
_READ_WRITE = 6
_NOBODY = 0xFFFFFFFF

log = logging.getLogger(__name__)


class Access:
    """The rule, by the configuration; groups are looked up once, for that may take its time."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._operators = _gid(api.group)

    def read_only(self, peer: socket.socket) -> str:
        """Why the process at the other end may only read; "" = it may act."""
        if not self._api.readers:
            return ""  # the file's mode has let in operators alone
        try:
            uid, gids = _credentials(peer)
        except OSError as error:
            return f"the groups of who asks cannot be told: {error.strerror or error}"
        if uid in {0, os.geteuid()}:
            return ""
        if self._operators in gids:
            return ""
        return f"{_name(uid)} is not in the group {self._api.group or 'of operators: none is set'}"


def let_readers_in(path: Path, group: str) -> None:
    """Let members of a group connect to a socket that its mode keeps them from.

    Where that cannot be, it is logged, and they stay out.
    """
    gid = _gid(group)
    if gid is None:
        log.warning('%s: there is no group "%s"; readers do not get in', path, group)
        return
    entries = (
        (_USER, _READ_WRITE, _NOBODY),
        (_GROUP_OWNER, _READ_WRITE, _NOBODY),
        (_GROUP, _READ_WRITE, gid),  # to connect is to write, for the kernel
        (_MASK, _READ_WRITE, _NOBODY),
        (_OTHER, 0, _NOBODY),
    )
    data = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
    try:
        os.setxattr(path, ACL, data)
    except OSError as error:
        log.warning("%s: %s: readers (group %s) do not get in", path, error.strerror, group)


def _credentials(peer: socket.socket) -> tuple[int, frozenset[int]]:
    """The user of the process that connected, and all of its groups."""
    raw = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
    _, uid, gid = CREDENTIALS.unpack(raw)
    more = peer.getsockopt(socket.SOL_SOCKET, SO_PEERGROUPS, GROUPS_BYTES_MAX)
    return uid, frozenset((gid, *struct.unpack(f"{len(more) // 4}I", more)))


def _gid(group: str) -> int | None:
    try:
        return grp.getgrnam(group).gr_gid if group else None
    except KeyError:
        return None


@lru_cache(maxsize=64)
def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
