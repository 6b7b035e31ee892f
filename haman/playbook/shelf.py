"""Where playbooks are found by name: one's own, then those that come with haman."""

import sysconfig
from collections.abc import Iterator
from pathlib import Path

import haman

OWN = Path("/etc/haman/playbooks")


def folders() -> tuple[Path, ...]:
    """Where to look, first things first.

    The last one is beside the package in a checkout, and below the environment's own share/ where haman
    was installed.
    """
    beside = Path(haman.__file__).parent.parent / "playbooks"
    installed = Path(sysconfig.get_path("data"), "share/haman/playbooks")
    return OWN, beside if beside.is_dir() else installed


def find(name: str, near: Path | None = None) -> Path | None:
    """The file of a playbook.

    Args:
        name: of a playbook on the shelf, or a path to a file (ending in .toml).
        near: relative paths are relative to this folder [the current one].
    """
    if name.endswith(".toml"):
        path = (near or Path.cwd()) / name
        return path if path.is_file() else None
    if "/" in name:
        return None
    return next((p for f in folders() if (p := f / f"{name}.toml").is_file()), None)


def everything() -> Iterator[Path]:
    """Every playbook on the shelf; of two with one name the first counts."""
    seen = set()
    for folder in folders():
        for path in sorted(folder.glob("*.toml")):
            if path.stem not in seen:
                seen.add(path.stem)
                yield path
