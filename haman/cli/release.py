"""`haman release`: give up every address of this node, whoever put it there.

For the time after the agent's death (systemd runs it then), when even the guard is gone. It needs
neither agent nor controller: only the configuration and the kernel.
"""

import sys

import click

from haman.config.model import Config
from haman.config.reader import read


@click.command()
@click.option(
    "-c",
    "--config",
    "path",
    default="/etc/haman/haman.toml",
    show_default=True,
    type=click.Path(dir_okay=False),
    help="The configuration.",
)
@click.option(
    "--force", is_flag=True, help="Even while the agent runs, which will take them again."
)
def release(path: str, *, force: bool) -> None:
    """Give up every address now: priority 0 on the wire, addresses off the interfaces."""
    from haman.engine.release import give_up

    config, problems = read(path)
    if config is None:
        for problem in problems:
            click.echo(str(problem), err=True)
        sys.exit(2)
    if not force and _agent_answers(config):
        click.echo(
            "haman release: the agent runs and would take the addresses again; use "
            '"haman drain", or stop it, or --force',
            err=True,
        )
        sys.exit(1)
    try:
        done, failed = give_up(config)
    except OSError as error:
        click.echo(f"haman release: {error}; it needs CAP_NET_ADMIN and CAP_NET_RAW", err=True)
        sys.exit(1)
    for line in done or ("nothing to give up",):
        click.echo(line)
    for line in failed:
        click.echo(f"haman release: {line}", err=True)
    sys.exit(1 if failed else 0)


def _agent_answers(config: Config) -> bool:
    """Whether something listens on the API's socket; a file left behind does not."""
    import socket

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(config.api.socket)
        except OSError:
            return False
    return True
