"""The command line. This module stays small: what it imports, the guard of the engine carries."""

import gc
import sys
from collections.abc import Sequence


def main() -> None:
    """Entry point of `haman`.

    For `haman agent` the guard is forked here, before the rest of the program is loaded. What an agent is
    started with, by systemd or by itself, is read without click, which neither process needs.
    """
    arguments = sys.argv[1:]
    if arguments[:1] == ["controller"]:
        from haman.cli import controller

        sys.exit(controller.main(arguments[1:]))
    if arguments[:1] == ["agent"] and not {"--help", "-h"} & set(arguments):
        _agent(arguments[1:])
    from haman.cli.root import cli

    cli(prog_name="haman")


def _agent(arguments: Sequence[str]) -> None:
    """Fork the guard; and run the agent, if nothing but its configuration is named."""
    from haman.engine.guard import fork_guard

    try:
        guard = fork_guard()
    except OSError:
        guard = None  # the verb asks again, and says what is missing
    # Hardly anything of what is loaded is garbage; the engine lets it collect when it has loaded all.
    gc.disable()
    from haman.cli import agent_process

    agent_process.inherited_guard = guard
    if len(arguments) == 2 and arguments[0] in {"-c", "--config"}:
        sys.exit(agent_process.run(arguments[1]))
    gc.enable()
