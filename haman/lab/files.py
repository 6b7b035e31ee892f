"""Files that a lab writes."""

import os
from pathlib import Path


def write(path: Path, text: str) -> None:
    """Replace a file at once; folders above it are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_text(text)
    fresh.replace(path)
