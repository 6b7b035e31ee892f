"""How `haman playbook` reaches nodes: the options of its verbs, and what goes wrong there."""

import functools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Concatenate, ParamSpec

import click

from haman.api import schema
from haman.api.client import Client, RefusedError, UnreachableError
from haman.api.ssh import Identity
from haman.cli.reach import REFUSED, UNREACHABLE, fail
from haman.config.model import Api
from haman.playbook.hosts import as_host
from haman.playbook.inventory import Chosen
from haman.playbook.journal import JournalError
from haman.playbook.model import Inventory
from haman.playbook.prepare import UnpreparedError
from haman.playbook.session import NotResumableError
from haman.playbook.ssh import Access, SshHosts

P = ParamSpec("P")


def default_folder() -> Path:
    """Where runs are written down: below $XDG_STATE_HOME, as other programs' state."""
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local/state")
    return Path(state, "haman/runs")


FOLDER = click.option(
    "--journal",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="HAMAN_RUNS",
    default=default_folder,
    show_default="~/.local/state/haman/runs",
    help="Where runs are written down.",
)
OPTIONS = (
    click.option(
        "--socket",
        metavar="PATH",
        envvar="HAMAN_SOCKET",
        default=Api().socket,
        show_default=True,
        help="The agents' unix socket, here and on the nodes.",
    ),
    click.option(
        "--ssh",
        metavar="USER@HOST[:PORT]",
        help="An agent that tells the inventory, if there is none here.",
    ),
    click.option("--user", default="", help="Who logs in, where nothing else says it."),
    click.option(
        "--identity",
        "-i",
        multiple=True,
        type=click.Path(exists=True, dir_okay=False),
        help="A private key, beside the SSH agent's and those of ~/.ssh.",
    ),
    click.option(
        "--known-hosts",
        multiple=True,
        type=click.Path(exists=True, dir_okay=False),
        help="Host keys, beside ~/.ssh/known_hosts and the system's.",
    ),
    click.option("--ask-password", is_flag=True, help="Ask for a password to log in with."),
    click.option(
        "--sudo/--no-sudo",
        default=None,
        help="Run commands through sudo -n [as the playbook says].",
    ),
    click.option("--jump", metavar="USER@HOST[:PORT]", help="A host that leads to all nodes."),
)


@dataclass(frozen=True, slots=True)
class Reach:
    """The options, as given."""

    socket: str
    ssh: str | None
    user: str
    identity: tuple[str, ...]
    known_hosts: tuple[str, ...]
    ask_password: bool
    sudo: bool | None
    jump: str | None

    def access(self, inventory: Inventory) -> Access:
        """How to work on the nodes of a playbook; the command line counts before the playbook."""
        password = (
            click.prompt("Password", hide_input=True, err=True) if self.ask_password else None
        )
        return Access(
            identity=Identity(self.identity, password, self.known_hosts),
            user=self.user or inventory.user,
            sudo=inventory.sudo if self.sudo is None else self.sudo,
            jump=self.jump or inventory.jump,
            socket=self.socket,
        )

    def status(self, access: Access) -> schema.Status:
        """Ask the agent that tells the inventory: this machine's, or another's."""
        if self.ssh is None:
            return Client(self.socket).status()
        try:
            host = as_host(self.ssh, self.ssh)
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--ssh") from error
        hosts = SshHosts({self.ssh: host}, access)
        try:
            return hosts.agent(self.ssh).status()
        finally:
            hosts.close()


def reaching(command: Callable[Concatenate[Reach, P], None]) -> Callable[P, None]:
    """Add the options, and turn what nodes refuse into messages and exit statuses."""

    @functools.wraps(command)
    def with_reach(*args: P.args, **kwargs: P.kwargs) -> None:
        given: dict[str, Any] = dict(kwargs)
        reach = Reach(**{name: given.pop(name) for name in Reach.__slots__})
        try:
            command(reach, *args, **given)
        except UnpreparedError as error:
            fail(UNREACHABLE if error.unreachable else REFUSED, "\n".join(error.problems))
        except UnreachableError as error:
            fail(UNREACHABLE, str(error))
        except (JournalError, NotResumableError, RefusedError) as error:
            fail(REFUSED, str(error))

    wrapped: Callable[P, None] = with_reach
    for option in reversed((*OPTIONS, FOLDER)):
        wrapped = option(wrapped)
    return wrapped


@contextmanager
def connected(chosen: Chosen, access: Access) -> Iterator[SshHosts]:
    """The nodes, while the context lasts."""
    hosts = SshHosts(chosen.hosts, access)
    try:
        yield hosts
    finally:
        hosts.close()
