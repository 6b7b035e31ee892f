"""Where to log in through SSH, as people write it."""

import getpass
import re
from dataclasses import dataclass

_TARGET = re.compile(
    r"(?:(?P<user>[^@\s]+)@)?(?:\[(?P<six>[0-9a-fA-F:.]+)\]|(?P<host>[^@:\s]+))(?::(?P<port>\d{1,5}))?"
)


@dataclass(frozen=True, slots=True)
class Target:
    """Where to log in."""

    user: str
    host: str
    port: int = 22


def parse_target(text: str) -> Target:
    """Read USER@HOST[:PORT]; IPv6 addresses stand in brackets, the user may be left out.

    Raises:
        ValueError: it is something else.
    """
    found = _TARGET.fullmatch(text)
    if found is None:
        raise ValueError(f'"{text}" is not USER@HOST[:PORT]')
    host = found["six"] or found["host"]
    return Target(found["user"] or getpass.getuser(), host, int(found["port"] or 22))
