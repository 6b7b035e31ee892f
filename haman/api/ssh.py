"""A remote agent's unix socket, brought here through SSH, as `ssh -L local.sock:remote.sock` does.

Clients connect to a unix socket in a private folder; each connection becomes a channel to the
remote socket. Host keys must be known already: nothing is trusted on first use.
"""

import contextlib
import getpass
import logging
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import paramiko

from haman.api.targets import Target, parse_target
from haman.core.frozen import dataclass

CONNECT_S = 10.0
KEEPALIVE_S = 15
CONNECTIONS_MAX = 16
CHUNK_BYTES = 32 * 1024
# What goes wrong is raised; paramiko's own lines would stand on the operator's terminal beside it.
logging.getLogger("paramiko").addHandler(logging.NullHandler())

SYSTEM_KNOWN_HOSTS = Path("/etc/ssh/ssh_known_hosts")

STREAMLOCAL = "direct-streamlocal@openssh.com"
_OPENS_SOCKET = (
    paramiko.common.cMSG_CHANNEL_OPEN + len(STREAMLOCAL).to_bytes(4, "big") + STREAMLOCAL.encode()
)


@dataclass(frozen=True, slots=True)
class Identity:
    """How to prove who one is, and whom to believe, whatever the target.

    Attributes:
        key_files: tried beside the target's own, the agent's keys and those of ~/.ssh.
        password: tried when no key is accepted.
        known_hosts: files read beside ~/.ssh/known_hosts and the system's.
    """

    key_files: tuple[str, ...] = ()
    password: str | None = None
    known_hosts: tuple[str, ...] = ()


class SshError(Exception):
    """The remote socket cannot be reached; the text says why, and what to do."""


def find_target(text: str, keys: tuple[str, ...] = (), jump: str = "") -> Target:
    """Read USER@HOST[:PORT], with what ~/.ssh/config says where something is left out.

    That is HostName, User, Port, IdentityFile and ProxyJump.

    Args:
        text: as people write it, or a name from ~/.ssh/config.
        keys: files of private keys, beside those of the SSH agent and of ~/.ssh.
        jump: where to go through, likewise USER@HOST[:PORT].

    Raises:
        ValueError: it is something else.
    """
    plain = parse_target(text)
    try:
        said = ssh_config().lookup(plain.host)
    except SshError as error:
        raise ValueError(str(error)) from error
    via = jump or said.get("proxyjump", "")
    if "," in via:
        raise ValueError(f'"{via}" is more than one jump host; one is supported')
    return Target(
        plain.user if "@" in text else said.get("user") or getpass.getuser(),
        said.get("hostname") or plain.host,
        plain.port if plain.port_given else int(said.get("port", 22)),
        (*keys, *(key for key in said.get("identityfile", ()) if Path(key).exists())),
        find_target(via, keys) if via not in {"", "none", text} else None,
    )


def ssh_config() -> paramiko.SSHConfig:
    """Read ~/.ssh/config; an absent one says nothing.

    Raises:
        SshError: it cannot be understood.
    """
    path = Path.home() / ".ssh/config"
    try:
        return paramiko.SSHConfig.from_path(str(path))
    except FileNotFoundError:
        return paramiko.SSHConfig()
    except (OSError, paramiko.SSHException) as error:
        raise SshError(f"{path}: {error}") from error


@contextmanager
def forward(target: Target, remote_socket: str) -> Iterator[str]:
    """Give the path of a local socket that leads to `remote_socket` while the context lasts.

    Raises:
        SshError: no login, an unknown or changed host key, or nobody behind the remote socket.
    """
    with contextlib.ExitStack() as stack:
        through = None
        if target.jump is not None:
            client, between = login(target.jump)
            stack.callback(client.close)
            through = open_way(between, target.jump, target)
        client, transport = login(target, through=through)
        stack.callback(client.close)
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


class SocketTransport(paramiko.Transport):
    """A transport that can also open channels to a unix socket of the server.

    OpenSSH PROTOCOL, section 2.4: "direct-streamlocal@openssh.com" is opened with the socket's
    path and two reserved fields, which paramiko does not know to add.
    """

    remote_socket = ""

    def open_socket(self, timeout_s: float = CONNECT_S) -> paramiko.Channel:
        """Open a channel to the remote socket."""
        return self.open_channel(STREAMLOCAL, timeout=timeout_s)

    def _send_user_message(self, data: paramiko.Message) -> None:
        if data.asbytes().startswith(_OPENS_SOCKET):
            data.add_string(self.remote_socket)
            data.add_string("")
            data.add_int(0)
        super()._send_user_message(data)  # type: ignore[misc]


def _transport(sock: Any, **options: Any) -> SocketTransport:
    """Build the transport; paramiko 3 and 4 also pass what concerns GSS-API, which is not used."""
    return SocketTransport(sock, disabled_algorithms=options.get("disabled_algorithms"))


def open_way(between: paramiko.Transport, jump: Target, target: Target) -> paramiko.Channel:
    """Open a channel through another host, to log in over.

    Raises:
        SshError: it does not lead there.
    """
    there = (target.host, target.port)
    try:
        return between.open_channel("direct-tcpip", there, ("", 0), timeout=CONNECT_S)
    except (paramiko.SSHException, OSError, EOFError) as error:
        text = f"{jump.host} does not lead to {target.host}:{target.port}: {error}"
        raise SshError(text) from error


def login(
    target: Target, identity: Identity | None = None, through: paramiko.Channel | None = None
) -> tuple[paramiko.SSHClient, SocketTransport]:
    """Log in; the caller closes the client.

    Args:
        target: where, and as whom.
        identity: what is used beside the agent and ~/.ssh.
        through: a channel that leads there [a TCP connection of its own].

    Raises:
        SshError: no way there, no login, or an unknown or changed host key.
    """
    identity = identity or Identity()
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.RejectPolicy())
    try:
        client.load_system_host_keys()
        if SYSTEM_KNOWN_HOSTS.exists():
            client.load_system_host_keys(str(SYSTEM_KNOWN_HOSTS))
        for path in identity.known_hosts:
            client.load_system_host_keys(path)
        client.connect(
            target.host,
            target.port,
            target.user,
            password=identity.password,
            key_filename=[*identity.key_files, *target.keys] or None,  # type: ignore[arg-type]  # its stub forgets lists
            sock=through,
            timeout=CONNECT_S,
            banner_timeout=CONNECT_S,
            auth_timeout=CONNECT_S,
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
        tried = "no key was accepted" if identity.password is None else "no key, nor the password"
        raise SshError(f"{target.user}@{target.host}: {tried}: {error}") from error
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
    if not isinstance(transport, SocketTransport):
        client.close()
        raise SshError(f"{target.host}: the connection was lost")
    transport.set_keepalive(KEEPALIVE_S)
    return client, transport


def _probe(transport: SocketTransport, target: Target) -> None:
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


def _accept(listener: socket.socket, transport: SocketTransport) -> None:
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
    client: socket.socket, transport: SocketTransport, places: threading.BoundedSemaphore
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
