"""What ExaBGP is run with, by the engine as by the controller that validates its configuration."""

from pathlib import Path
from typing import Final

SETTINGS: Final = Path(__file__).with_suffix(".env")
"""The same on every node; without a file of its own, ExaBGP would read the host's, or miss it aloud."""


def exabgp_environment(user: str) -> dict[str, str]:
    """What ExaBGP is told by its environment, on top of what it inherits.

    Args:
        user: that it runs as; it refuses to start as root, unless this says root.
    """
    return {"EXABGP_ENVFILE": str(SETTINGS), "exabgp.daemon.user": user}
