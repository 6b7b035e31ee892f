"""Read /etc/haman/haman.toml, or say everything that is wrong with it at once.

`haman check`, the start of the agent and its reload all come through here, so that none of them
accepts what another refuses.
"""

import socket
from pathlib import Path
from typing import Any

import tomli
from msgspec.structs import replace

from haman.config.bgp_rules import md5_problem, neighbor_labels
from haman.config.forms import FORMS
from haman.config.model import Config
from haman.config.rules import check_rules
from haman.config.vip_rules import vip_labels
from haman.config.walk import Findings, build
from haman.core.frozen import dataclass

FILE_SIZE_MAX = 1 << 20
"""Bytes; a configuration beyond this is some other file."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a configuration file.

    Attributes:
        path: of the file, as given.
        key: dotted, elements of arrays by name or else by place, from 1: `vip[web].addresses[2]`;
            "" when the file as a whole is meant.
        message: what is wrong, and what to write instead.
        line: from 1, where the parser knows it: in syntax errors.
        column: from 1, as `line`.
    """

    path: str
    key: str
    message: str
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        if self.line is not None:
            return f"{self.path}:{self.line}:{self.column}: {self.message}"
        return ": ".join(part for part in (self.path, self.key, self.message) if part)


def read(path: str | Path) -> tuple[Config | None, tuple[Problem, ...]]:
    """Read and check a configuration file, and that the files it must read are there.

    Returns:
        The configuration and no problems, or None and all of them. Expected trouble never raises.
    """
    name = str(path)
    text, problems = read_text(path)
    if text is None:
        return None, problems
    config, problems = parse(text, name)
    if config is None:
        return None, problems
    problems = tuple(Problem(name, key, message) for key, message in _unreadable(config))
    return (None, problems) if problems else (config, ())


def parse(
    text: str, path: str = "haman.toml", *, hostname: str | None = None
) -> tuple[Config | None, tuple[Problem, ...]]:
    """Check the text of a configuration file; no other file is looked at.

    Args:
        text: TOML.
        path: how problems call the file.
        hostname: the default of `node.name`; None asks the system.
    """
    tables, problems = parse_toml(text, path)
    if tables is None:
        return None, problems
    return check(tables, path, hostname=hostname)


def read_text(path: str | Path) -> tuple[str | None, tuple[Problem, ...]]:
    """Read a file of TOML, however unusable; as `read`."""
    name = str(path)
    try:
        with Path(path).open("rb") as file:
            data = file.read(FILE_SIZE_MAX + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        return None, (Problem(name, "", f"cannot be read: {why}"),)
    if len(data) > FILE_SIZE_MAX:
        return None, (Problem(name, "", f"is larger than {FILE_SIZE_MAX} bytes"),)
    try:
        return data.decode(), ()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - (data.rfind(b"\n", 0, error.start) + 1) + 1
        return None, (Problem(name, "", "is not UTF-8 text", line, column),)


def parse_toml(text: str, path: str) -> tuple[dict[str, Any] | None, tuple[Problem, ...]]:
    """Parse TOML; a syntax error is a problem with its place."""
    try:
        return tomli.loads(text), ()
    except tomli.TOMLDecodeError as error:
        return None, (Problem(path, "", error.msg, error.lineno, error.colno),)
    except (ValueError, RecursionError) as error:
        # Python's own limits: digits of a number, depth of nesting.
        return None, (Problem(path, "", f"is not usable TOML: {error}"),)


def check(
    tables: object, path: str = "haman.toml", *, hostname: str | None = None
) -> tuple[Config | None, tuple[Problem, ...]]:
    """Check tables that were parsed already; as `parse`."""
    findings = Findings()
    config: Config = build(Config, tables, findings)
    if not config.node.name:
        name = socket.gethostname() if hostname is None else hostname
        config = replace(config, node=replace(config.node, name=name))
        if FORMS["name"](name):
            findings.add_rule(
                f'is missing, and the host\'s own "{name}" cannot be one', "node.name"
            )
    check_rules(config, findings)
    problems = tuple(Problem(path, key, message) for key, message in findings.found)
    return (None, problems) if problems else (config, ())


def _unreadable(config: Config) -> list[tuple[str, str]]:
    """Find password files that cannot be used (`haman.cluster.keys` reads the key file itself)."""
    found = []
    files = [
        (f"{label}.auth_password_file", vip.auth_password_file, _empty)
        for vip, label in zip(config.vip, vip_labels(config), strict=True)
    ]
    files += [
        (f"{label}.password_file", neighbor.password_file, md5_problem)
        for neighbor, label in zip(
            config.bgp.neighbor if config.bgp else (), neighbor_labels(config), strict=True
        )
    ]
    for key, path, problem in files:
        if not path:
            continue
        try:
            password = Path(path).read_bytes()
        except PermissionError:
            continue  # not for this user to read: VIPs' are the engine's, neighbours' the controller's
        except OSError as error:
            found.append((key, f"{path} cannot be read: {error.strerror}"))
        else:
            if wrong := problem(password):
                found.append((key, f"{path} {wrong}"))
    return found


def _empty(content: bytes) -> str | None:
    return None if content.strip() else "is empty"
