"""A remote agent's unix socket, brought here through SSH, as `ssh -L local.sock:remote.sock` does.

Clients connect to a unix socket in a private folder; each connection becomes a channel to the
remote socket. Host keys must be known already: nothing is trusted on first use.
"""

import contextlib
import getpass
import logging
import re
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paramiko

CONNECT_S = 10.0
KEEPALIVE_S = 15
CONNECTIONS_MAX = 16
CHUNK_BYTES = 32 * 1024
# What goes wrong is raised; paramiko's own lines would stand on the operator's terminal beside it.
logging.getLogger("paramiko").addHandler(logging.NullHandler())

SYSTEM_KNOWN_HOSTS = Path("/etc/ssh/ssh_known_hosts")

_TARGET = re.compile(
    r"(?:(?P<user>[^@\s]+)@)?(?:\[(?P<six>[0-9a-fA-F:.]+)\]|(?P<host>[^@:\s]+))(?::(?P<port>\d{1,5}))?"
)


class SshError(Exception):
    """The remote socket cannot be reached; the text says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where to log in."""

    user: str
    host: str
    port: int = 22
    keys: tuple[str, ...] = ()
    jump: "Target | None" = None


def parse_target(text: str, keys: tuple[str, ...] = (), jump: str = "") -> Target:
    """Read USER@HOST[:PORT]; IPv6 addresses stand in brackets, the user may be left out.

    What is left out is as ~/.ssh/config has it: HostName, User, Port, IdentityFile and ProxyJump.

    Args:
        text: as people write it, or a name from ~/.ssh/config.
        keys: files of private keys, beside those of the SSH agent and of ~/.ssh.
        jump: where to go through, likewise USER@HOST[:PORT].

    Raises:
        ValueError: it is something else.
    """
    found = _TARGET.fullmatch(text)
    if found is None:
        raise ValueError(f'"{text}" is not USER@HOST[:PORT]')
    host = found["six"] or found["host"]
    settings = _configured(host)
    via = jump or settings.get("proxyjump", "")
    if "," in via:
        raise ValueError(f'"{via}" is more than one jump host; one is supported')
    return Target(
        found["user"] or settings.get("user") or getpass.getuser(),
        settings.get("hostname") or host,
        int(found["port"] or settings.get("port", 22)),
        (*keys, *(key for key in settings.get("identityfile", ()) if Path(key).exists())),
        parse_target(via, keys) if via not in {"", "none", text} else None,
    )


def _configured(host: str) -> dict[str, Any]:
    """What ~/.ssh/config says of a host."""
    path = Path("~/.ssh/config").expanduser()
    try:
        return dict(paramiko.SSHConfig.from_path(str(path)).lookup(host))
    except FileNotFoundError:
        return {}
    except (OSError, paramiko.SSHException) as error:
        raise ValueError(f"{path}: {error}") from error


@contextmanager
def forward(target: Target, remote_socket: str) -> Iterator[str]:
    """Give the path of a local socket that leads to `remote_socket` while the context lasts.

    Raises:
        SshError: no login, an unknown or changed host key, or nobody behind the remote socket.
    """
    with contextlib.ExitStack() as stack:
        transport = _logged_in(target, stack).get_transport()
        if not isinstance(transport, _SocketTransport):
            raise SshError(f"{target.host}: the connection was lost")
        transport.remote_socket = remote_socket
        _probe(transport, target)
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="haman-"))
        path = str(Path(folder, "api.sock"))
        listener = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        listener.bind(path)
        listener.listen(CONNECTIONS_MAX)
        accepting = threading.Thread(
            target=_accept, args=(listener, transport), name="ssh-accept", daemon=True
        )
        accepting.start()
        try:
            yield path
        finally:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
            accepting.join()


class _SocketTransport(paramiko.Transport):
    """A transport whose channels lead to a unix socket of the server.

    OpenSSH PROTOCOL, section 2.4: "direct-streamlocal@openssh.com" is opened with the socket's
    path and two reserved fields, which paramiko does not know to add.
    """

    remote_socket = ""

    def open_socket(self) -> paramiko.Channel:
        """Open a channel to the remote socket."""
        return self.open_channel("direct-streamlocal@openssh.com", timeout=CONNECT_S)

    def _send_user_message(self, data: paramiko.Message) -> None:
        opens = data.asbytes()[:1] == paramiko.common.cMSG_CHANNEL_OPEN
        if opens and self.remote_socket:  # a jump host has none: its channels lead to hosts
            data.add_string(self.remote_socket)
            data.add_string("")
            data.add_int(0)
        super()._send_user_message(data)  # type: ignore[misc]


def _transport(sock: Any, **options: Any) -> _SocketTransport:
    """Build the transport; paramiko 3 and 4 also pass what concerns GSS-API, which is not used."""
    return _SocketTransport(sock, disabled_algorithms=options.get("disabled_algorithms"))


def _logged_in(target: Target, stack: contextlib.ExitStack) -> paramiko.SSHClient:
    """Log in, through the jump host if there is one; `stack` logs out of both."""
    through = None
    if target.jump is not None:
        transport = _logged_in(target.jump, stack).get_transport()
        if transport is None:
            raise SshError(f"{target.jump.host}: the connection was lost")
        there = (target.host, target.port)
        try:
            through = transport.open_channel("direct-tcpip", there, ("", 0), timeout=CONNECT_S)
        except (paramiko.SSHException, OSError, EOFError) as error:
            text = f"{target.jump.host} does not lead to {target.host}:{target.port}: {error}"
            raise SshError(text) from error
    client = _login(target, through)
    stack.callback(client.close)
    return client


def _login(target: Target, through: paramiko.Channel | None) -> paramiko.SSHClient:
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.RejectPolicy())
    try:
        client.load_system_host_keys()
        if SYSTEM_KNOWN_HOSTS.exists():
            client.load_system_host_keys(str(SYSTEM_KNOWN_HOSTS))
        client.connect(
            target.host,
            target.port,
            target.user,
            timeout=CONNECT_S,
            banner_timeout=CONNECT_S,
            auth_timeout=CONNECT_S,
            key_filename=list(target.keys) or None,  # type: ignore[arg-type] # several will do
            sock=through,
            transport_factory=_transport,
        )
    except paramiko.BadHostKeyException as error:
        client.close()
        raise SshError(
            f"{target.host}: its host key has changed; somebody may be in between. "
            "Compare it, then correct known_hosts"
        ) from error
    except paramiko.AuthenticationException as error:
        client.close()
        raise SshError(f"{target.user}@{target.host}: no key was accepted: {error}") from error
    except paramiko.ssh_exception.NoValidConnectionsError as error:
        client.close()
        why = "; ".join(
            dict.fromkeys(getattr(e, "strerror", None) or str(e) for e in error.errors.values())
        )
        raise SshError(f"{target.host}:{target.port}: {why}") from error
    except (paramiko.SSHException, OSError) as error:
        client.close()
        hint = ""
        if "not found in known_hosts" in str(error):
            hint = "; unknown host keys are refused: connect once with ssh and compare it"
        raise SshError(f"{target.host}:{target.port}: {error}{hint}") from error
    transport = client.get_transport()
    if transport is not None:
        transport.set_keepalive(KEEPALIVE_S)
    return client


def _probe(transport: _SocketTransport, target: Target) -> None:
    """Open one channel in advance, so that trouble has a name."""
    try:
        transport.open_socket().close()
    except paramiko.ChannelException as error:
        raise SshError(
            f"{target.host}: {transport.remote_socket} cannot be opened there ({error.text}); is "
            f"the agent running, may {target.user} use its socket, and does sshd_config leave "
            "AllowStreamLocalForwarding on?"
        ) from error
    except (paramiko.SSHException, OSError, EOFError) as error:
        raise SshError(f"{target.host}: {error}") from error


def _accept(listener: socket.socket, transport: _SocketTransport) -> None:
    """Serve clients until the listener is shut down; no more than CONNECTIONS_MAX at once."""
    places = threading.BoundedSemaphore(CONNECTIONS_MAX)
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        places.acquire()
        threading.Thread(
            target=_carry, args=(client, transport, places), name="ssh-carry", daemon=True
        ).start()


def _carry(
    client: socket.socket, transport: _SocketTransport, places: threading.BoundedSemaphore
) -> None:
    """Carry one connection both ways until both sides have finished."""
    try:
        with client:
            try:
                channel = transport.open_socket()
            except (paramiko.SSHException, OSError, EOFError):
                return  # the client sees its connection closed, and says so
            with channel:
                back = threading.Thread(
                    target=_pump_back, args=(channel, client), name="ssh-back", daemon=True
                )
                back.start()
                with contextlib.suppress(OSError, EOFError):
                    while data := client.recv(CHUNK_BYTES):
                        channel.sendall(data)
                    channel.shutdown_write()
                back.join()
    finally:
        places.release()


def _pump_back(channel: paramiko.Channel, client: socket.socket) -> None:
    with contextlib.suppress(OSError, EOFError):
        while data := channel.recv(CHUNK_BYTES):
            client.sendall(data)
    with contextlib.suppress(OSError):
        client.shutdown(socket.SHUT_RDWR)  # wakes the other direction
