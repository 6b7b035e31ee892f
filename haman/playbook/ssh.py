"""Machines reached through SSH: paramiko, and nothing clever.

A node's connection is made when it is first needed, kept alive, and made again when it was lost. Host
keys must be known. ~/.ssh/config counts: HostName, User, Port, IdentityFile, ProxyJump.
"""

import contextlib
import functools
import shlex
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import paramiko

from haman.api.client import Client
from haman.api.ssh import (
    CHUNK_BYTES,
    CONNECT_S,
    Identity,
    SocketTransport,
    SshError,
    login,
    open_way,
    ssh_config,
)
from haman.api.targets import Target, parse_target
from haman.config.model import Api
from haman.playbook.hosts import CutError, Done, Host, HostError, Tell, as_host

OUTPUT_CHARS_MAX = 64 * 1024
LINE_CHARS_MAX = 4096
SUDO_ASKS = ("a password is required", "a terminal is required", "must have a tty")
NOT_FOUND = 127
ANSWER_S = 5.0
Take = Callable[[bytes], None]


@dataclass(frozen=True, slots=True)
class Access:
    """How to work on nodes.

    Attributes:
        identity: keys, password and known hosts beside ssh's own.
        user: where neither the host nor ~/.ssh/config says one.
        sudo: commands run through `sudo -n`.
        jump: [USER@]HOST[:PORT] that leads to all of them.
        socket: of the agents.
    """

    identity: Identity = field(default_factory=Identity)
    user: str = ""
    sudo: bool = False
    jump: str = ""
    socket: str = Api().socket


class SshHosts:
    """The nodes of an inventory, each behind one SSH connection."""

    def __init__(self, hosts: Mapping[str, Host], access: Access) -> None:
        self._access = access
        self._links = {name: _Link(host, access) for name, host in hosts.items()}

    def run(
        self,
        node: str,
        text: str,
        timeout_s: float,
        *,
        given: bytes = b"",
        tell: Tell | None = None,
    ) -> Done:
        """As `Hosts`."""
        kept = Tail(tell)
        status = self._links[node].execute(self._command(text), given, timeout_s, kept.take)
        kept.end()
        return self._done(node, status, kept.text)

    def fetch(self, node: str, text: str, timeout_s: float, bytes_max: int) -> tuple[int, bytes]:
        """As `Hosts`."""
        parts = bytearray()

        def take(data: bytes) -> None:
            parts.extend(data)
            if len(parts) > bytes_max:
                raise HostError(f"{node}: there is more than {bytes_max} bytes of it")

        status = self._links[node].execute(self._command(text), b"", timeout_s, take)
        self._done(node, status, parts.decode(errors="replace") if status else "")
        return status, bytes(parts)

    def probe(self, node: str, address: str, port: int, timeout_s: float) -> str:
        """As `Hosts`."""
        try:
            transport = self._links[node].transport()
            channel = transport.open_channel(
                "direct-tcpip", (address, port), ("127.0.0.1", 0), timeout=timeout_s
            )
        except paramiko.ChannelException as error:
            return error.text or "refused"
        except (paramiko.SSHException, OSError, EOFError) as error:
            return str(error) or type(error).__name__
        channel.close()
        return ""

    def agent(self, node: str) -> Client:
        """As `Hosts`."""
        dial = functools.partial(self._dial, node)
        where = f"{node}: {self._access.socket}"
        return Client(where, ANSWER_S, dial)

    def close(self) -> None:
        """As `Hosts`."""
        for link in self._links.values():
            link.close()

    def _dial(self, node: str, timeout_s: float) -> socket.socket:
        try:
            channel = self._links[node].transport().open_socket(timeout_s)
        except HostError as error:
            raise OSError(str(error)) from error
        except paramiko.ChannelException as error:
            raise OSError(
                f"cannot be opened there ({error.text}); is the agent running?"
            ) from error
        except (paramiko.SSHException, EOFError) as error:
            raise OSError(str(error) or type(error).__name__) from error
        channel.settimeout(timeout_s)
        return cast(socket.socket, channel)

    def _command(self, text: str) -> str:
        inside = f"sh -c {shlex.quote(text)}"
        return f"sudo -n -- {inside}" if self._access.sudo else inside

    def _done(self, node: str, status: int, output: str) -> Done:
        if self._access.sudo and status:
            if any(words in output for words in SUDO_ASKS):
                raise HostError(
                    f"{node}: sudo asks for a password; allow it without (NOPASSWD in sudoers), or log "
                    "in as root"
                )
            if status == NOT_FOUND and "sudo" in output:
                raise HostError(f"{node}: there is no sudo; log in as root, or install it")
        return Done(status, output)


class Tail:
    """Keeps the last of an output, and passes whole lines on as they come."""

    def __init__(self, tell: Tell | None) -> None:
        self._tell = tell
        self._begun = ""
        self.text = ""

    def take(self, data: bytes) -> None:
        """Take what came."""
        new = data.decode(errors="replace")
        self.text = (self.text + new)[-OUTPUT_CHARS_MAX:]
        if self._tell is None:
            return
        *lines, self._begun = (self._begun + new).split("\n")
        for line in lines:
            self._tell(line[:LINE_CHARS_MAX])
        if len(self._begun) > LINE_CHARS_MAX:
            self.end()

    def end(self) -> None:
        """Pass on what has no end of line."""
        if self._tell is not None and self._begun:
            self._tell(self._begun[:LINE_CHARS_MAX])
        self._begun = ""


class _Link:
    """The connection to one node."""

    def __init__(self, host: Host, access: Access) -> None:
        self._host = host
        self._access = access
        self._making = threading.Lock()
        self._clients: list[paramiko.SSHClient] = []
        self._transport: SocketTransport | None = None

    def transport(self) -> SocketTransport:
        """Give the connection, made anew if it was lost.

        Raises:
            HostError: it cannot be made.
        """
        with self._making:
            if self._transport is None or not self._transport.is_active():
                self._end()
                try:
                    self._transport = self._connect()
                except SshError as error:
                    self._end()
                    raise HostError(f"{self._host.node}: {error}") from error
            return self._transport

    def close(self) -> None:
        """Let it go."""
        with self._making:
            self._end()

    def execute(self, command: str, given: bytes, timeout_s: float, take: Take) -> int:
        """Run a command; its exit status. As `Hosts.run`."""
        node = self._host.node
        try:
            channel = self.transport().open_session(timeout=CONNECT_S)
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise HostError(f"{node}: no session: {error or type(error).__name__}") from error
        with channel:
            channel.set_combine_stderr(combine=True)
            try:
                channel.exec_command(command)
                return self._follow(channel, given, timeout_s, take)
            except TimeoutError:
                raise CutError(f"{node}: nothing came of it within {timeout_s:g} s") from None
            except (paramiko.SSHException, OSError, EOFError) as error:
                why = str(error) or type(error).__name__
                raise CutError(f"{node}: the connection was lost: {why}") from error

    def _follow(self, channel: paramiko.Channel, given: bytes, timeout_s: float, take: Take) -> int:
        """Give it its input, take its output, until it ends."""
        deadline = time.monotonic() + timeout_s
        channel.settimeout(timeout_s)
        with contextlib.suppress(OSError):  # who does not read to the end says why by itself
            channel.sendall(given)
        with contextlib.suppress(OSError):
            channel.shutdown_write()
        while True:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise TimeoutError
            channel.settimeout(left_s)
            data = channel.recv(CHUNK_BYTES)
            if not data:
                break
            take(data)
        if not channel.status_event.wait(max(0.0, deadline - time.monotonic())):
            raise TimeoutError
        status = channel.recv_exit_status()
        if status < 0:
            raise CutError(f"{self._host.node}: the connection was lost before it ended")
        return status

    def _connect(self) -> SocketTransport:
        config = ssh_config()
        target, keys, jump = resolve(self._host, self._access, config)
        identity = replace(
            self._access.identity, key_files=(*self._access.identity.key_files, *keys)
        )
        through = self._jump(jump, target, config) if jump else None
        client, transport = login(target, identity, through)
        self._clients.append(client)
        transport.remote_socket = self._access.socket
        return transport

    def _jump(self, jump: str, target: Target, config: paramiko.SSHConfig) -> paramiko.Channel:
        """Open the way through another host."""
        hop = as_host(jump, jump)
        near, keys, _ = resolve(hop, self._access, config)
        mine = self._access.identity
        client, between = login(near, replace(mine, key_files=(*mine.key_files, *keys)))
        self._clients.append(client)
        return open_way(between, near, target)

    def _end(self) -> None:
        for client in reversed(self._clients):
            client.close()
        self._clients.clear()
        self._transport = None


def resolve(
    host: Host, access: Access, config: paramiko.SSHConfig
) -> tuple[Target, tuple[str, ...], str]:
    """Where to log in, with which key files, and through whom; the host's own word counts first."""
    # The name of the node is what people write into ~/.ssh/config; else the address.
    said = config.lookup(host.node)
    if not set(said) - {"hostname"} and said.get("hostname", host.node) == host.node:
        said = config.lookup(host.address)
    named = said.get("hostname", "")
    address = named if named and named not in {host.node, host.address} else host.address
    fallback = parse_target(address if ":" not in address else f"[{address}]")
    user = host.user or access.user or said.get("user", "") or fallback.user
    port = host.port or int(said.get("port", 22))
    keys = tuple(str(Path(k).expanduser()) for k in said.get("identityfile", ()))
    jump = access.jump or said.get("proxyjump", "")
    return Target(user, address, port), keys, "" if jump == "none" else jump
