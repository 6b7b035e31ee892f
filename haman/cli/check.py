"""`haman check`: everything that is wrong with a configuration, and what is only doubtful."""

import socket
import sys
from dataclasses import replace
from pathlib import Path

import click

from haman.cli.command import Command
from haman.cli.reach import REFUSED, USAGE
from haman.config.bgp_lint import impossible
from haman.config.facts import Facts
from haman.config.lint import lint
from haman.config.model import Config
from haman.config.reader import read

ANSWER_S = 2.0
"""How long a local agent may take to tell what only it knows."""


@click.command(
    cls=Command,
    examples=(
        "haman check /etc/haman/haman.toml",
        "haman check --strict --offline ci/lb1.toml",
    ),
)
@click.argument("file", default="/etc/haman/haman.toml")
@click.option("--strict", is_flag=True, help="Warnings are failures too: exit 1.")
@click.option(
    "--offline", is_flag=True, help="Look at the file alone, not at this host and its agent."
)
def check(*, file: str, strict: bool, offline: bool) -> None:
    """Check a configuration FILE [/etc/haman/haman.toml].

    Prints every problem (exit 2), or else what is legal and yet doubtful (exit 0, with --strict 1).
    What this host and its running agent know is taken into account.
    """
    config, problems = read(file)
    for problem in problems:
        click.echo(problem)
    if config is None:
        sys.exit(USAGE)
    facts = Facts() if offline else gather(config)
    faults = impossible(config, facts, file)
    for fault in faults:
        click.echo(fault)
    if faults:
        sys.exit(USAGE)
    warnings = lint(config, facts, file)
    for warning in warnings:
        click.echo(warning)
    if not warnings:
        click.echo(f"{file}: ok")
    elif strict:
        sys.exit(REFUSED)


def gather(config: Config) -> Facts:
    """Find out what this host, and its agent if one answers, know."""
    from haman.system import nftables

    found = replace(_host(), unreadable=_unreadable(config), nftables=nftables.installed())
    return _ask_agent(config, found)


def _host() -> Facts:
    """Addresses, and networks of every interface; nothing where the kernel does not tell."""
    from haman.system.netlink_socket import NetlinkFailedError, Requests

    try:
        requests = Requests()
    except OSError:
        return Facts()
    try:
        names = {link.index: link.name for link in requests.links()}
        found: dict[str, list[str]] = {name: [] for name in names.values()}
        addresses = requests.addresses()
        for address in addresses:
            network = f"{address.address}/{address.prefix}"
            if address.prefix < _host_length(address.family) and address.ifindex in names:
                found[names[address.ifindex]].append(network)
    except (NetlinkFailedError, OSError):
        return Facts()
    finally:
        requests.close()
    return Facts(
        interfaces={name: tuple(networks) for name, networks in found.items()},
        addresses=frozenset(address.address for address in addresses),
    )


def _host_length(family: int) -> int:
    return 32 if family == socket.AF_INET else 128


def _unreadable(config: Config) -> dict[str, str]:
    """Find files that the agent would need and that this user cannot read here."""
    found = {}
    if key_file := config.cluster.key_file:
        from haman.cluster.keys import KeyFileError, read_key_file

        try:
            read_key_file(Path(key_file))
        except KeyFileError as error:
            found["cluster.key_file"] = f"{error}; the agent does not start without it"
    hook = config.hooks.on_event
    if hook and not Path(hook).is_file():
        found["hooks.on_event"] = f"{hook} is no file"
    return found


def _ask_agent(config: Config, facts: Facts) -> Facts:
    """Add what the agent of this node knows, if it runs and the node is the one of the file."""
    from haman.api.client import Client, RefusedError, UnreachableError

    try:
        status = Client(config.api.socket, ANSWER_S).status()
    except (UnreachableError, RefusedError):
        return facts
    if status.node != config.node.name:
        return facts
    nodes = {node.name for node in status.nodes}
    own = next((n for n in status.nodes if n.name == status.node), None)
    return replace(
        facts,
        lateness_p99_ms=own.engine.lateness_p99_ms if own else None,
        priorities={
            s.name: {m.node: m.priority for m in s.members if m.node != status.node}
            for s in status.services
        },
        strangers={s.name: h for s in status.services for h in s.holders if h not in nodes},
    )
