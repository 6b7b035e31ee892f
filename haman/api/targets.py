"""Where to log in through SSH, as people write it."""

import getpass
import re
from dataclasses import field

from haman.core.frozen import dataclass

SSH_PORT = 22
_TARGET = re.compile(
    r"(?:(?P<user>[^@\s]+)@)?(?:\[(?P<six>[0-9a-fA-F:.]+)\]|(?P<host>[^@:\s]+))(?::(?P<port>\d{1,5}))?"
)


@dataclass(frozen=True, slots=True)
class Target:
    """Where to log in.

    Attributes:
        keys: files of private keys, beside those of the SSH agent and of ~/.ssh.
        jump: where to go through; None = directly.
        port_given: it was said, and is not the usual one by default.
    """

    user: str
    host: str
    port: int = SSH_PORT
    keys: tuple[str, ...] = ()
    jump: "Target | None" = None
    port_given: bool = field(default=False, compare=False)


def parse_target(text: str) -> Target:
    """Read USER@HOST[:PORT]; IPv6 addresses stand in brackets, the user may be left out.

    Raises:
        ValueError: it is something else.
    """
    found = _TARGET.fullmatch(text)
    if found is None:
        raise ValueError(f'"{text}" is not USER@HOST[:PORT]')
    host = found["six"] or found["host"]
    user = found["user"] or getpass.getuser()
    return Target(user, host, int(found["port"] or SSH_PORT), port_given=found["port"] is not None)
