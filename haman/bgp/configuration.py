"""The ExaBGP configuration: composed from numbers and addresses, validated by ExaBGP, then in force.

The first one of a node is in force at once: there is no session that it could end, and ExaBGP's own start is
its trial. So is the one that an agent left to the next. To have it validated before would be one more start of
ExaBGP, 0.3 s of a core.

One session per neighbour, for the family of its own address: IPv4 prefixes go over IPv4 sessions,
IPv6 ones over IPv6 sessions. Graceful restart is never offered: with it, a router goes on sending to
a node that is gone, for the whole of its timer (60 s measured, after SIGKILL and SIGTERM alike).
"""

import asyncio
import contextlib
import hashlib
import os
import pwd
import re
import signal
import sys
import tempfile
from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from haman.config.bgp_rules import md5_problem
from haman.config.exabgp import exabgp_environment
from haman.config.model import Anycast, Bgp, Neighbor
from haman.core.announcements import RELAY_SOCKET

VALIDATE_S: Final = 30.0
"""ExaBGP takes 0.3 s to start and look; a busy host some seconds."""
_MS_PER_S: Final = 1000
_PLAIN_WORD: Final = re.compile(r"[A-Za-z0-9_./+@%=:~-]+")


class RefusedError(Exception):
    """No configuration can be written from this; the text says what to do."""


def compose(config: Bgp, directory: Path, passwords: Mapping[str, str]) -> str:
    """The text of `exabgp.conf`.

    Args:
        config: of this node.
        directory: where the relay listens.
        passwords: of the neighbours that have one, by name, as `read_passwords` lets them through.

    Raises:
        RefusedError: a path cannot be written down safely.
    """
    relay = [sys.executable, "-P", "-m", "haman.bgp.relay", str(directory / RELAY_SOCKET)]
    relay += [f"{_ms(config.lease_shut_s):d}", f"{_ms(config.lease_withdraw_s):d}"]
    for word in relay:
        if not _PLAIN_WORD.fullmatch(word):
            text = (
                f"{word}: ExaBGP cannot be given this path; use letters, digits and ._+@%=:~- only"
            )
            raise RefusedError(text)
    process = (
        f"process haman {{\n    run {' '.join(relay)};\n    encoder json;\n    respawn true;\n}}\n"
    )
    blocks = (_neighbor(config, n, passwords.get(n.name, "")) for n in config.neighbor)
    return "\n".join([process, *blocks])


def _ms(seconds: float) -> int:
    return round(seconds * _MS_PER_S)


def _neighbor(config: Bgp, neighbor: Neighbor, password: str) -> str:
    address = ip_address(neighbor.address)
    lines = [
        f"neighbor {address} {{",
        f"    router-id {ip_address(config.router_id)};",
        f"    local-address {ip_address(neighbor.local_address)};",
        f"    local-as {config.local_as:d};",
        f"    peer-as {neighbor.peer_as:d};",
        f"    hold-time {neighbor.hold_time_s:d};",
        "    group-updates false;",
        "    adj-rib-out true;",
    ]
    if password:
        lines += [f"    md5-password {_quoted(password)};", "    md5-base64 false;"]
    if neighbor.ttl_security:
        lines += ["    outgoing-ttl 255;", "    incoming-ttl 255;"]
    lines += [
        f"    family {{\n        ipv{address.version:d} unicast;\n    }}",
        (
            "    capability {\n        asn4 enable;\n        route-refresh enable;\n"
            "        graceful-restart disable;\n    }"
        ),
        "    api {\n        processes [ haman ];\n        neighbor-changes;\n    }",
        "}\n",
    ]
    return "\n".join(lines)


def _quoted(password: str) -> str:
    """The password as ExaBGP's tokeniser reads it back: it unescapes first, and quotes end at any."""
    escaped = password.replace("\\", "\\\\")
    return f'"{escaped}"'


def read_passwords(neighbors: Iterable[Neighbor]) -> dict[str, str]:
    """The passwords of those that have a file of one, by name; a line's end at the end is dropped.

    Raises:
        RefusedError: a file cannot be read, or holds what neither kernel nor ExaBGP can be given.
    """
    passwords: dict[str, str] = {}
    for neighbor in neighbors:
        if not neighbor.password_file:
            continue
        place = f"bgp.neighbor.{neighbor.name}.password_file: {neighbor.password_file}"
        try:
            content = Path(neighbor.password_file).read_bytes()
        except OSError as error:
            raise RefusedError(f"{place}: {error.strerror}") from error
        if problem := md5_problem(content):
            raise RefusedError(f"{place} {problem}")
        passwords[neighbor.name] = content.rstrip(b"\r\n").decode("ascii")
    return passwords


def uncarried(bgp: Bgp | None, services: Iterable[Anycast]) -> tuple[str, ...]:
    """Prefixes that no neighbour hears of, for none has a session of their family."""
    families = {ip_address(n.address).version for n in bgp.neighbor} if bgp else set()
    prefixes = [p for service in services for p in service.prefixes]
    return tuple(p for p in prefixes if ip_address(p.split("/")[0]).version not in families)


class Installation:
    """The file that ExaBGP runs with.

    Attributes:
        path: of the file; only this user may read what is written.
        digest: of what is in force; "" = nothing is.
        on_trial: that was not validated, for nobody has run it yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.digest = ""
        self.on_trial = False
        self._refused = False

    async def put(self, text: str, secrets: Iterable[str]) -> None:
        """Put a text in force, atomically; ExaBGP validates it before, unless it replaces no other.

        Args:
            text: of the configuration.
            secrets: never repeated in what is raised.

        Raises:
            RefusedError: it cannot be written, ExaBGP refuses it, or does not answer. What was in force
                before stays, unless it was this very text, on trial.
        """
        draft = self.path.with_name(f"{self.path.name}.new")
        trial = not (self._refused or self.on_trial) and self._is_no_news(text)
        try:
            _write(draft, text)
            complaint = "" if trial else await _complaint(draft)
            if complaint:
                for secret in secrets:
                    complaint = complaint.replace(secret, "(password)")
                raise RefusedError(f"ExaBGP refuses its configuration: {complaint}")  # noqa: TRY301 - told below
            draft.replace(self.path)
        except OSError as error:
            raise RefusedError(f"{self.path}: {error.strerror}") from error
        except RefusedError:
            self._refused = True
            if self.on_trial and self.digest == _digest(text):
                self.on_trial, self.digest = False, ""
                self.path.unlink(missing_ok=True)
            raise
        finally:
            draft.unlink(missing_ok=True)
        self.digest, self.on_trial, self._refused = _digest(text), trial, False

    def _is_no_news(self, text: str) -> bool:
        """Whether no other text is there: none at all, or this one, left by an agent that ran with it."""
        try:
            return self.path.read_text("ascii") == text
        except FileNotFoundError:
            return True
        except (OSError, ValueError):
            return False

    def proven(self) -> None:
        """ExaBGP has started with what is in force."""
        self.on_trial = False


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _write(path: Path, text: str) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
    with open(os.open(path, flags, 0o600), "w", encoding="ascii") as file:  # noqa: PTH123
        os.fchmod(file.fileno(), 0o600)  # a leftover may have had another mode
        file.write(text)


async def _complaint(path: Path) -> str:
    """What `exabgp validate` finds wrong; "" if nothing. Its output goes to a file: no pipe to hang on."""
    user = pwd.getpwuid(os.geteuid()).pw_name
    with tempfile.TemporaryFile() as output:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "exabgp", "validate", str(path)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, **exabgp_environment(user)},
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(VALIDATE_S):
                status = await process.wait()
        except TimeoutError:
            return f"it was not validated within {VALIDATE_S:.0f} s"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
        if status == 0:
            return ""
        output.seek(0)
        words = output.read(4096).decode("ascii", "replace").split()
    return " ".join(words)[-400:] or f"exit status {status}"
