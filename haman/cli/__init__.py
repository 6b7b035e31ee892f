"""The command line. This module stays small: what it imports, the guard of the engine carries."""

import sys


def main() -> None:
    """Entry point of `haman`.

    For `haman agent` the guard is forked here, before the rest of the program is loaded.
    """
    arguments = sys.argv[1:]
    if arguments[:1] == ["agent"] and not {"--help", "-h"} & set(arguments):
        from haman.engine.guard import fork_guard

        try:
            guard = fork_guard()
        except OSError:
            guard = None  # the verb asks again, and says what is missing
        import haman.cli.agent as agent_command

        agent_command.inherited_guard = guard
    from haman.cli.root import cli

    cli(prog_name="haman")
