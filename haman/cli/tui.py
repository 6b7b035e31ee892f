"""`haman tui`: the fleet on one screen, live."""

import asyncio
import os
import shlex
import signal
import sys
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import click

from haman.cli.command import Command
from haman.cli.reach import REFUSED, USAGE, fail, socket_of
from haman.config.forms import split_host_port
from haman.config.model import Api

if TYPE_CHECKING:
    from haman.api.reaching import Way

LOOPBACK = ("127.0.0.1", "::1", "localhost")
SERVE_AT = "127.0.0.1:8470"
HAMAN = (sys.executable, "-m", "haman.cli")
"""The command line itself: playbooks and drills are children of the screen."""
THEMES = ("dark", "light", "contrast")


@click.command(
    cls=Command,
    examples=(
        "haman tui",
        "haman tui --ssh ops@lb1 --ssh ops@lb2 --jump ops@bastion",
        "haman tui --read-only --theme light",
    ),
)
@click.option(
    "--ssh",
    metavar="USER@HOST[:PORT]",
    multiple=True,
    help="Reach the agent of another machine through SSH; its host key must be known. Repeated: "
    "any one is enough, the others are fallbacks.",
)
@click.option("--jump", metavar="USER@HOST[:PORT]", default="", help="Go there through this host.")
@click.option(
    "--identity",
    metavar="FILE",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False),
    help="A private key, beside those of the SSH agent and of ~/.ssh.",
)
@click.option(
    "--socket",
    "socket_path",
    metavar="PATH",
    envvar="HAMAN_SOCKET",
    default=Api().socket,
    show_default=True,
    help="The agent's unix socket.",
)
@click.option(
    "--theme",
    type=click.Choice(THEMES),
    default=THEMES[0],
    show_default=True,
    help="Key t changes it; NO_COLOR is respected.",
)
@click.option("--read-only", is_flag=True, help="Watch only: nothing can be changed.")
@click.option(
    "--serve",
    metavar="ADDRESS:PORT",
    is_flag=False,
    flag_value=SERVE_AT,
    help=f"Serve it to browsers instead, at {SERVE_AT} unless another address is named. Whoever "
    "reaches it may watch, for nothing asks who they are.",
)
@click.option(
    "--serve-actions", is_flag=True, help="With --serve: whoever reaches it may act, too."
)
def tui(
    *,
    ssh: tuple[str, ...],
    jump: str,
    identity: tuple[str, ...],
    socket_path: str,
    theme: str,
    read_only: bool,
    serve: str | None,
    serve_actions: bool,
) -> None:
    """Watch the fleet and act on it, on one screen."""
    if serve:
        _serve(serve, actions=serve_actions)
        return
    if not (sys.stdin.isatty() and sys.stdout.isatty()) and not _is_served():
        fail(REFUSED, "tui needs a terminal; `haman status` prints the same, --watch repeats it")
    ways = _ways(ssh, jump, identity, socket_path)
    shown = _show(
        ways, f"haman-{theme}", _Reach(ssh, jump, identity, socket_path), read_only=read_only
    )
    sys.exit(asyncio.run(shown))


@dataclass(frozen=True, slots=True)
class _Reach:
    """How playbooks reach the cluster that the screen shows: as the screen does."""

    ssh: tuple[str, ...]
    jump: str
    identity: tuple[str, ...]
    socket: str

    def options(self, place: str) -> list[str]:
        """Options of `playbook run`; `place` is the agent that answers the screen now."""
        words = ["--socket", self.socket]
        if self.ssh:
            target = place if place in self.ssh else self.ssh[0]
            user, sign, _ = target.rpartition("@")
            words += ["--ssh", target, *(("--user", user) if sign else ())]
        words += ["--jump", self.jump] if self.jump else []
        return words + [w for file in self.identity for w in ("--identity", file)]


def _ways(
    ssh: tuple[str, ...], jump: str, identity: tuple[str, ...], socket_path: str
) -> "list[Way]":
    from haman.api.reaching import Way

    if not ssh:
        return [Way(socket_path, lambda: nullcontext(socket_path))]
    from haman.api.ssh import find_target

    for target in ssh:
        try:
            find_target(target, identity, jump)
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--ssh or --jump") from error
    return [
        Way(target, partial(socket_of, socket_path, target, jump=jump, keys=identity))
        for target in ssh
    ]


async def _show(ways: "list[Way]", theme: str, reach: _Reach, *, read_only: bool) -> int:
    from haman.api.reaching import Reaching
    from tui.app import FleetApp
    from tui.programs import Children

    source = Reaching(ways)
    place = ", ".join(way.name for way in ways)
    children = Children(HAMAN, lambda: reach.options(source.place))
    app = FleetApp(source, place, theme=theme, read_only=read_only, programs=children)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, app.stop, number)
    try:
        await app.run_async()
    finally:
        await source.close()
    return app.return_code or 0


def _serve(where: str, *, actions: bool) -> None:
    """Serve the same command line, without --serve, to browsers."""
    try:
        host, port = split_host_port(where)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--serve") from error
    try:
        from textual_serve.server import Server
    except ImportError:
        fail(USAGE, "--serve needs the package textual-serve: pip install 'haman[serve]'")
    if host not in LOOPBACK:
        click.echo(f"haman: everybody who reaches {host}:{port} may watch", err=True)
    told = _without_serve(sys.argv[1:])
    if not actions and "--read-only" not in told:
        told.append("--read-only")
    command = shlex.join([*HAMAN, *told])
    Server(command, host=host, port=port, title="haman").serve()


def _without_serve(arguments: list[str]) -> list[str]:
    """The arguments but --serve, its address, and --serve-actions."""
    kept: list[str] = []
    skip = False
    for argument in arguments:
        if skip and not argument.startswith("-"):
            skip = False
            continue
        skip = argument == "--serve"
        if not skip and argument != "--serve-actions" and not argument.startswith("--serve="):
            kept.append(argument)
    return kept


def _is_served() -> bool:
    """Whether textual-serve runs this: it talks to it through pipes."""
    return bool(os.environ.get("TEXTUAL_DRIVER"))
