"""The unix socket that operators talk to: who may, and whose file it is."""

import errno
import grp
import logging
import os
import socket
import stat
from pathlib import Path

from haman.api.access import let_readers_in

MODE = 0o660
BACKLOG = 64
PROBE_S = 1.0
"""A living agent accepts at once; this long is given to one that is starved of CPU."""

log = logging.getLogger(__name__)


class SocketInUseError(Exception):
    """Another agent listens on the socket, or something else has its name."""


def listen(path: Path, group: str, readers: str = "") -> tuple[socket.socket, int]:
    """Bind the API's socket with mode 0660 and its group, replacing the file of a dead agent.

    The group `readers` may connect, too; see `access`.

    A group that does not exist, or that this process may not give, leaves the socket to its owner
    and is logged: an agent without its operators' group is better than none.

    Returns:
        The listening socket, and the inode of its file, for `remove`.

    Raises:
        SocketInUseError: a living process listens there, or the file is no socket.
        OSError: the folder is missing or not writable.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        try:
            _bind(listener, path)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            _remove_dead(path)
            _bind(listener, path)
        inode = path.stat().st_ino
        _give_to_group(path, group)
        if readers:
            let_readers_in(path, readers)
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener, inode


def remove(path: Path, inode: int) -> None:
    """Remove the socket's file, unless a successor has replaced it meanwhile."""
    try:
        if path.stat().st_ino == inode:
            path.unlink()
    except FileNotFoundError:
        pass


def _bind(listener: socket.socket, path: Path) -> None:
    umask = os.umask(0o177)  # nobody else gets in between bind and chmod
    try:
        listener.bind(str(path))
    finally:
        os.umask(umask)


def _remove_dead(path: Path) -> None:
    if not stat.S_ISSOCK(path.stat().st_mode):
        raise SocketInUseError(f"{path}: is no socket; remove it, or set [api] socket elsewhere")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(PROBE_S)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            log.info("%s: replacing the socket of an agent that is gone", path)
            path.unlink(missing_ok=True)
            return
        except OSError as error:
            raise SocketInUseError(f"{path}: somebody holds it: {error.strerror}") from error
    raise SocketInUseError(f"{path}: another agent listens there; stop it first")


def _give_to_group(path: Path, group: str) -> None:
    if group:
        try:
            os.chown(path, -1, grp.getgrnam(group).gr_gid)
        except KeyError:
            log.warning('%s: there is no group "%s"; only the owner gets in', path, group)
        except PermissionError:
            log.warning('%s: cannot be given to the group "%s"', path, group)
    path.chmod(MODE)
