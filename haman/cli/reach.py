"""How verbs reach an agent, and what they say and exit with when it does not work out."""

import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn, ParamSpec

import click

from haman.api.client import Client, RefusedError, UnreachableError
from haman.config.model import Api

REFUSED, USAGE, UNREACHABLE = 1, 2, 3
"""Exit statuses of the contract, beside 0."""
UNSAFE = "unsafe"
"""Code of a refusal that --force overrides."""

P = ParamSpec("P")


def agent_options(command: Callable[P, None]) -> Callable[P, None]:
    """Add --socket and --ssh."""
    for option in (
        click.option(
            "--ssh",
            metavar="USER@HOST[:PORT]",
            help="Reach the agent of another machine through SSH; its host key must be known.",
        ),
        click.option(
            "--socket",
            "socket_path",
            metavar="PATH",
            envvar="HAMAN_SOCKET",
            default=Api().socket,
            show_default=True,
            help="The agent's unix socket.",
        ),
    ):
        command = option(command)

    @functools.wraps(command)
    def quiet(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except UnreachableError as error:
            fail(UNREACHABLE, str(error))
        except RefusedError as error:
            problem = error.problem
            told = [problem.message, *(f"  {r.code}: {r.text}" for r in problem.reasons)]
            if problem.code == UNSAFE:
                told.append("--force does it all the same")
            fail(REFUSED, "\n".join(told))

    return quiet


@contextmanager
def socket_of(
    socket_path: str, ssh: str | None, *, jump: str = "", keys: tuple[str, ...] = ()
) -> Iterator[str]:
    """Give the path of a local socket that leads to the agent, here or through SSH.

    Args:
        socket_path: the agent's socket, on its machine.
        ssh: where that is; None = here.
        jump: go there through this host.
        keys: files of private keys to log in with, beside the usual ones.
    """
    if ssh is None:
        yield socket_path
        return
    from haman.api.ssh import SshError, find_target, forward

    try:
        target = find_target(ssh, keys, jump)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--ssh") from error
    try:
        with forward(target, socket_path) as path:
            yield path
    except SshError as error:
        raise UnreachableError(str(error)) from error


@contextmanager
def reach(socket_path: str, ssh: str | None) -> Iterator[Client]:
    """Give a client of the agent."""
    with socket_of(socket_path, ssh) as path:
        yield Client(path)


def fail(status: int, text: str) -> NoReturn:
    """Say why on stderr, and exit."""
    click.echo(f"haman: {text}", err=True)
    sys.exit(status)
