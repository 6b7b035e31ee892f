"""Who the engine's children are: the user `haman`, with the directories that it must write.

It needs no privilege of the kernel's; what it must be allowed is in the unit's comments. Looked up
once, before the loop runs: names may have to be asked for over the network.
"""

import os
import pwd
import stat
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from haman.core.frozen import dataclass
from haman.system.spawn import Confinement

USER: Final = "haman"
OWN_NAME: Final = "haman"
"""What a directory is called that is haman's alone, as the unit makes them."""
TRIAL_S: Final = 10


@dataclass(frozen=True, slots=True)
class Identity:
    """None = the engine's own user, and its groups.

    Attributes:
        name: of the user.
        problems: what the user cannot do and has not been given, one line each.
    """

    user: int | None = None
    group: int | None = None
    groups: tuple[int, ...] = ()
    name: str = ""
    problems: tuple[str, ...] = ()

    def confinement(self, *, powerless: bool = False) -> Confinement:
        """A child that is this user; see `Confinement`."""
        return Confinement(self.user, self.group, self.groups, powerless)


def prepare(directories: Iterable[str], trial: Sequence[str] = ()) -> Identity:
    """Look the user up and see to it that these directories are there, and are writable for it.

    A directory is given away only if it was made here, or is called `haman`: others, such as /run,
    are not haman's to give.

    Args:
        directories: that the children write.
        trial: a command that ends soon, with status 0 if the user can run what the children are: an
            interpreter below /root is out of reach of everybody else. If it cannot, the children
            run as the engine's own user.
    """
    try:
        entry = pwd.getpwnam(USER) if os.geteuid() == 0 else None
    except KeyError:
        entry = None
    problems = []
    if entry is not None and trial:
        why = _cannot_run(entry, trial)
        if why:
            problems.append(
                f"the user {USER} cannot run {trial[0]} ({why}): what should be {USER}'s is root's; "
                "install haman where every user may read it"
            )
            entry = None
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
        return Identity(name=_own_name(), problems=tuple(problems))
    return Identity(
        entry.pw_uid, entry.pw_gid, _groups(entry), entry.pw_name, problems=tuple(problems)
    )


def _groups(entry: pwd.struct_passwd) -> tuple[int, ...]:
    return tuple(os.getgrouplist(entry.pw_name, entry.pw_gid))


def _own_name() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # as in a container that was given a bare number
        return str(os.geteuid())


def _cannot_run(entry: pwd.struct_passwd, command: Sequence[str]) -> str:
    """Why the user cannot run a command; "" = it can."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            user=entry.pw_uid,
            group=entry.pw_gid,
            extra_groups=_groups(entry),
            timeout=TRIAL_S,
            check=False,
        )
    except OSError as error:
        return error.strerror or str(error)
    except subprocess.TimeoutExpired:
        return f"it took longer than {TRIAL_S} s"
    return f"status {done.returncode}" if done.returncode else ""


def _give(directory: Path, uid: int, gid: int) -> None:
    """Hand over what an engine without that user left, then the directory itself.

    In this order nobody else could have put a link there.
    """
    for path in directory.iterdir():
        found = path.lstat()
        if stat.S_ISREG(found.st_mode) and found.st_nlink == 1:
            os.chown(path, uid, gid, follow_symlinks=False)
    os.chown(directory, uid, gid)
