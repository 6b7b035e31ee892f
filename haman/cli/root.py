"""The verbs of `haman`. Each is loaded when it is used, so that help and quick verbs stay quick."""

import difflib
import importlib
from dataclasses import dataclass

import click

import haman


@dataclass(frozen=True, slots=True)
class Verb:
    """Where a verb's command is, and what help says of it."""

    module: str
    section: str
    summary: str
    attribute: str = ""


LOOK, OPERATE, SET_UP, RUN = "Look", "Operate", "Set up", "Run"

VERBS = {
    "status": Verb(
        "haman.cli.status", LOOK, "Who serves, in which condition, with what room left."
    ),
    "why": Verb("haman.cli.why", LOOK, "Why a service is where it is, and not elsewhere."),
    "top": Verb("haman.cli.top", LOOK, "This node's resources, live: which one runs out first."),
    "headroom": Verb("haman.cli.headroom", LOOK, "Would the rest carry the load without a node."),
    "events": Verb("haman.cli.events", LOOK, "What happened, and what happens."),
    "replay": Verb(
        "haman.cli.replay", LOOK, "What was decided, and from what, step by step again."
    ),
    "tui": Verb("haman.cli.tui", LOOK, "The cluster on one screen, live."),
    "drain": Verb("haman.cli.drain", OPERATE, "Take a node out of service."),
    "undrain": Verb("haman.cli.drain", OPERATE, "Put a node back into service."),
    "failover": Verb("haman.cli.failover", OPERATE, "Move a VIP to another node."),
    "pause": Verb("haman.cli.pause", OPERATE, "Hold all automatic moves but faults."),
    "resume": Verb("haman.cli.pause", OPERATE, "Let automatic moves go on."),
    "playbook": Verb(
        "haman.cli.playbook", OPERATE, "Rolling work on all nodes over SSH, watched and guarded."
    ),
    "calibrate": Verb(
        "haman.cli.calibrate", SET_UP, "Measure what a TLS handshake costs, and ticket sharing."
    ),
    "check": Verb("haman.cli.check", SET_UP, "Check a configuration file."),
    "router-config": Verb(
        "haman.cli.router_config",
        SET_UP,
        "What the neighbour router needs, for FRR or BIRD.",
        "router_config",
    ),
    "keygen": Verb("haman.cli.keygen", SET_UP, "Make a cluster key."),
    "simulate": Verb(
        "haman.cli.simulate", SET_UP, "Try decisions out: faulty clusters, and whole fleets."
    ),
    "lab": Verb("haman.cli.lab", SET_UP, "Try it out: real proxies in namespaces, and drills."),
    "agent": Verb("haman.cli.agent", RUN, "Run the agent of this node."),
    "release": Verb("haman.cli.release", RUN, "Give up every address of this node now."),
}


class LazyGroup(click.Group):
    """Knows its verbs by name, and imports one only to run it or to show its own help."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Every verb that people use."""
        return list(VERBS)

    def get_command(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's signature
        cmd_name: str,
    ) -> click.Command | None:
        """Import the verb."""
        verb = VERBS.get(cmd_name)
        if verb is None:
            return None
        command = getattr(importlib.import_module(verb.module), verb.attribute or cmd_name)
        if not isinstance(command, click.Command):
            raise TypeError(f"{verb.module}.{cmd_name} is not a command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Name the verb that was meant, where one is near."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            near = difflib.get_close_matches(args[0], self.list_commands(ctx), n=1)
            if not near:
                raise
            text = f"{error.message} Did you mean {near[0]}?"
            raise click.UsageError(text, ctx) from error

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's signature
        formatter: click.HelpFormatter,
    ) -> None:
        """List the verbs by what they are for, without importing any."""
        for section in (LOOK, OPERATE, SET_UP, RUN):
            rows = [(name, v.summary) for name, v in VERBS.items() if v.section == section]
            with formatter.section(section):
                formatter.write_dl(rows)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(haman.__version__, prog_name="haman")
def cli() -> None:
    """High availability for L7 proxies: VIPs that follow the proxy's health and load.

    Verbs that talk to an agent use its unix socket, or --ssh USER@HOST for another machine's.

    Exit status: 0 done, 1 not so or refused, 2 usage or configuration, 3 agent not reachable.
    """
