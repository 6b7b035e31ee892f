"""`haman router-config`: what the router beside the nodes needs, from the nodes' own configuration."""

import sys
from pathlib import Path

import click

from haman.cli.command import Command
from haman.cli.reach import USAGE
from haman.config.model import Config
from haman.config.reader import Problem, parse
from haman.config.routers.bird import bird
from haman.config.routers.frr import frr, objections
from haman.config.routers.peering import NodeFile, peering

UNQUOTABLE = {"bird": '"\n', "frr": "\n"}
"""What a password must not hold: neither program knows a way to write it."""


@click.command(
    "router-config",
    cls=Command,
    examples=(
        "haman router-config frr",
        "haman router-config frr -c lb1.toml -c lb2.toml -c lb3.toml >frr.conf",
        "haman router-config bird -c lb1.toml --neighbor tor1 --neighbor tor1-v6",
    ),
)
@click.argument("router", type=click.Choice(["frr", "bird"]))
@click.option(
    "-c",
    "--config",
    "files",
    multiple=True,
    type=click.Path(path_type=Path),
    help="A node's configuration; several: one result for all of them [/etc/haman/haman.toml].",
)
@click.option(
    "--neighbor",
    "names",
    multiple=True,
    metavar="NAME",
    help="What the nodes call the router; several where they have several sessions with it.",
)
@click.option(
    "--with-passwords",
    is_flag=True,
    help="Print the TCP MD5 passwords; otherwise a comment says which file holds each.",
)
def router_config(
    *, router: str, files: tuple[Path, ...], names: tuple[str, ...], with_passwords: bool
) -> None:
    """Print what the neighbour ROUTER needs, for FRR 8 or BIRD 2.

    Filters that admit exactly the anycast prefixes, equal-cost paths, timers, BFD, TTL security,
    and the floor: static routes to all nodes, used only while none announces. The text is complete
    and accepted as it is; comments say what must be set outside of it.

    A router is known by what the nodes call it in bgp.neighbor.name. Without --neighbor, each file
    may name one router per address family, and all files the same. With --neighbor, the sessions of
    those names are taken from every file. Either way all must agree on peer_as, each node must
    have its own name, router_id and local_address, and what does not fit is refused with its key.
    """
    read = [
        _read(path, router, with_passwords) for path in files or (Path("/etc/haman/haman.toml"),)
    ]
    problems = [problem for _, found in read for problem in found]
    nodes = [node for node, _ in read if node is not None]
    result = None
    if not problems:
        result, between = peering(nodes, names)
        problems += between
    if result is not None and router == "frr":
        problems += objections(result)
    for problem in problems:
        click.echo(problem, err=True)
    if result is None or problems:
        sys.exit(USAGE)
    click.echo(frr(result) if router == "frr" else bird(result), nl=False)


def _read(
    path: Path, router: str, with_passwords: bool
) -> tuple[NodeFile | None, tuple[Problem, ...]]:
    """Read one node's file. Other files it names are of that node, and need not be here."""
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        return None, (Problem(str(path), "", f"cannot be read: {why}"),)
    config, problems = parse(text, str(path))
    if config is None:
        return None, problems
    passwords, problems = _passwords(path, config, router) if with_passwords else ({}, ())
    return NodeFile(str(path), config, passwords), problems


def _passwords(
    path: Path, config: Config, router: str
) -> tuple[dict[str, str], tuple[Problem, ...]]:
    """Read the password files of a node's sessions."""
    found: dict[str, str] = {}
    problems = []
    for neighbor in config.bgp.neighbor if config.bgp else ():
        if not (file := neighbor.password_file):
            continue
        key = f"bgp.neighbor[{neighbor.name}].password_file"
        try:
            found[file] = Path(file).read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            problems.append(Problem(str(path), key, f"{file} cannot be read: {why}"))
            continue
        if not found[file] or any(c in UNQUOTABLE[router] for c in found[file]):
            what = (
                "is empty"
                if not found[file]
                else f"holds what {router} cannot be told: quote or line end"
            )
            problems.append(Problem(str(path), key, f"{file} {what}"))
    return found, tuple(problems)
