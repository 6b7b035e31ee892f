"""Who the controller is: the user `haman`, with the directories that it must write.

It needs no privilege of the kernel's; what it must be allowed is in the unit's comments. Looked up
once, before the loop runs: names may have to be asked for over the network.
"""

import os
import pwd
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

USER: Final = "haman"
OWN_NAME: Final = "haman"
"""What a directory is called that is haman's alone, as the unit makes them."""


@dataclass(frozen=True, slots=True)
class Identity:
    """For `subprocess.Popen`; None = the engine's own.

    Attributes:
        problems: what the user cannot write and has not been given, one line each.
    """

    user: int | None = None
    group: int | None = None
    groups: tuple[int, ...] | None = None
    problems: tuple[str, ...] = ()


def prepare(directories: Iterable[str]) -> Identity:
    """Look the user up and see to it that these directories are there, and are writable for it.

    A directory is given away only if it was made here, or is called `haman`: others, such as /run,
    are not haman's to give.
    """
    try:
        entry = pwd.getpwnam(USER) if os.geteuid() == 0 else None
    except KeyError:
        entry = None
    problems = []
    for name in directories:
        path = Path(name)
        try:
            made = not path.exists()
            path.mkdir(mode=0o750, parents=True, exist_ok=True)
            if entry is None:
                continue
            owner = path.stat().st_uid
            if owner == entry.pw_uid:
                continue
            if owner == os.geteuid() and (made or path.name == OWN_NAME):
                _give(path, entry.pw_uid, entry.pw_gid)
            else:
                problems.append(f"{path} is not writable for the user {USER}: chown {USER} {path}")
        except OSError as error:
            problems.append(f"{path}: {error.strerror}")
    if entry is None:
        return Identity(problems=tuple(problems))
    groups = tuple(os.getgrouplist(entry.pw_name, entry.pw_gid))
    return Identity(entry.pw_uid, entry.pw_gid, groups, tuple(problems))


def _give(directory: Path, uid: int, gid: int) -> None:
    """Hand over what an engine without that user left, then the directory itself.

    In this order nobody else could have put a link there.
    """
    for path in directory.iterdir():
        found = path.lstat()
        if stat.S_ISREG(found.st_mode) and found.st_nlink == 1:
            os.chown(path, uid, gid, follow_symlinks=False)
    os.chown(directory, uid, gid)
